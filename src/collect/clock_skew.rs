//! How far a vendor's clock is behind this machine's.
//!
//! ```text
//! response: Date - time of receipt --> the last 64 of an hour --least--> skew --> the source's clock: nothing is covered beyond it
//! ```
//!
//! `Date` was written before the response arrived and has whole seconds, so each difference is a lower bound of the skew: a
//! slow network makes it smaller, never greater. The least of many is used because an API may have several servers, each
//! with a clock of its own, and the slowest of them has records yet to write.

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// How many answers are remembered.
const ANSWERS: usize = 64;
/// How long an answer counts. A source whose clock was held back by a wrong one makes no requests that would show it.
const COUNTS_FOR: Duration = Duration::from_secs(3_600);
/// A clock that is right seems to be behind by so much: `Date` has whole seconds, and answers take time.
const NOISE: Duration = Duration::from_secs(2);

/// What is known of a vendor's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClockSkew {
    /// When an answer was received, and the vendor's clock minus this machine's then, in milliseconds; oldest first.
    differences: VecDeque<(Timestamp, i64)>,
}

impl ClockSkew {
    /// Records the `Date` of a response that no cache stored in between.
    pub(super) fn record(&mut self, date: Timestamp, received_at: Timestamp) {
        if self.differences.len() == ANSWERS {
            self.differences.pop_front();
        }
        let difference = date.as_millis().saturating_sub(received_at.as_millis());
        self.differences.push_back((received_at, difference));
    }

    /// The least difference in milliseconds, negative if the vendor's clock is behind; `None` without an answer of the
    /// last hour.
    pub(super) fn millis(&self, now: Timestamp) -> Option<i64> {
        let recent = self.differences.iter().filter(|(received_at, _)| now.since(*received_at) <= COUNTS_FOR);
        recent.map(|(_, difference)| *difference).min()
    }

    /// How far the vendor's clock is behind: zero if it may be right.
    pub(super) fn behind(&self, now: Timestamp) -> Duration {
        let behind = Duration::from_millis(self.millis(now).map_or(0, |millis| millis.min(0).unsigned_abs()));
        if behind > NOISE { behind } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    /// A clock after responses whose `Date` is so many seconds after their receipt.
    fn after(differences: impl IntoIterator<Item = i64>) -> ClockSkew {
        let mut skew = ClockSkew::default();
        for secs in differences {
            skew.record(Timestamp::from_secs(1_000_000 + secs), NOW);
        }
        skew
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        assert_eq!(ClockSkew::default().millis(NOW), None);
        assert_eq!(after([1_800]).millis(NOW), Some(1_800_000));
    }

    #[test]
    fn the_slowest_server_decides_until_it_is_64_answers_ago() {
        assert_eq!(after([-20, 0, -1, 0]).millis(NOW), Some(-20_000));
        assert_eq!(after([-20, 0, -1, 0]).behind(NOW), Duration::from_secs(20));
        assert_eq!(after([-1, 30, -2]).behind(NOW), Duration::ZERO);
        assert_eq!(after(std::iter::once(-20).chain([-1; 63])).millis(NOW), Some(-20_000));
        assert_eq!(after(std::iter::once(-20).chain([-1; 64])).millis(NOW), Some(-1_000));
    }

    #[test]
    fn an_answer_counts_for_an_hour() {
        let skew = after([-500_000, -20]);
        assert_eq!(skew.behind(NOW + COUNTS_FOR), Duration::from_secs(500_000));
        assert_eq!(skew.behind(NOW + COUNTS_FOR + Duration::from_secs(1)), Duration::ZERO);
    }
}
