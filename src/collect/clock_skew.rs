//! How far a vendor's clock is behind this machine's.
//!
//! ```text
//! response: Date - time of receipt --> the last 64 --least--> skew --> now() of the source
//! ```
//!
//! `Date` was written before the response arrived and has whole seconds, so each difference is a lower bound of the skew: a
//! slow network makes it smaller, never greater. The least of many is used because an API may have several servers, each
//! with a clock of its own, and no record may be claimed that the slowest of them has yet to write.

use std::collections::VecDeque;
use std::time::Duration;

use super::transport::Response;
use crate::time::Timestamp;

/// How many answers are remembered.
const ANSWERS: usize = 64;

/// What is known of a vendor's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClockSkew {
    /// The vendor's clock minus this machine's at the time of receipt, in milliseconds, oldest first.
    differences: VecDeque<i64>,
}

impl ClockSkew {
    /// Takes note of a response. One without `Date`, or that was stored in between, says nothing about the clock.
    pub fn record(&mut self, response: &Response, received_at: Timestamp) {
        let Some(date) = response.date.filter(|_| !response.is_cached) else { return };
        if self.differences.len() == ANSWERS {
            self.differences.pop_front();
        }
        self.differences.push_back(date.as_millis().saturating_sub(received_at.as_millis()));
    }

    /// The least difference in milliseconds, negative if the vendor's clock is behind; `None` before the first answer.
    #[must_use]
    pub fn millis(&self) -> Option<i64> {
        self.differences.iter().min().copied()
    }

    /// The source's clock: the earlier of this machine's and the vendor's.
    #[must_use]
    pub fn now(&self, machine: Timestamp) -> Timestamp {
        let behind = self.millis().map_or(0, |millis| millis.min(0).unsigned_abs());
        machine - Duration::from_millis(behind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000_000);

    /// A clock after responses whose `Date` is so many seconds after their receipt.
    fn after(differences: impl IntoIterator<Item = i64>) -> ClockSkew {
        let mut skew = ClockSkew::default();
        for secs in differences {
            skew.record(&dated(secs), START);
        }
        skew
    }

    fn dated(secs: i64) -> Response {
        Response { date: Some(Timestamp::from_secs(1_000_000 + secs)), ..Response::default() }
    }

    #[test]
    fn without_an_answer_the_machines_clock_counts() {
        assert_eq!(ClockSkew::default().millis(), None);
        assert_eq!(ClockSkew::default().now(START), START);
    }

    #[test]
    fn the_earlier_clock_counts() {
        assert_eq!(after([-1_800]).now(START), START - Duration::from_secs(1_800));
        assert_eq!(after([-1_800]).millis(), Some(-1_800_000));
        assert_eq!(after([1_800]).now(START), START);
        assert_eq!(after([1_800]).millis(), Some(1_800_000));
    }

    #[test]
    fn the_slowest_server_decides_until_it_is_64_answers_ago() {
        assert_eq!(after([-20, 0, -1, 0]).millis(), Some(-20_000));
        assert_eq!(after(std::iter::once(-20).chain([-1; 63])).millis(), Some(-20_000));
        assert_eq!(after(std::iter::once(-20).chain([-1; 64])).millis(), Some(-1_000));
    }

    #[test]
    fn answers_from_a_cache_or_without_a_date_say_nothing() {
        let mut skew = after([-2]);
        skew.record(&Response { is_cached: true, ..dated(-300) }, START);
        skew.record(&Response::default(), START);
        assert_eq!(skew, after([-2]));
    }
}
