//! How far a vendor's clock is behind this machine's.
//!
//! ```text
//! response: Date - time of receipt --> the last 64 of an hour --least--> skew --> the source's clock: nothing is covered beyond it
//! ```
//!
//! `Date` was written before the response arrived and has whole seconds, so each difference is a lower bound of the skew: a
//! slow network makes it smaller, never greater. The least of many is used because an API may have several servers, each
//! with a clock of its own, and the slowest of them has records yet to write.
//!
//! When this machine's clock is set, the answers before it were compared with another clock. They are left out: a source that
//! believed them would wait for hours, without a request that could show how late it is.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::time::Timestamp;

/// How many answers are remembered.
const ANSWERS: usize = 64;
/// How long an answer counts. A source whose clock was held back by a wrong one makes no requests that would show it.
const COUNTS_FOR: Duration = Duration::from_secs(3_600);
/// A clock that is right seems to be behind by so much: `Date` has whole seconds, and answers take time.
const NOISE: Duration = Duration::from_secs(2);

/// A clock that is set moves by more than this against the time that passes, in milliseconds.
const LEAST_JUMP: i64 = 5_000;

/// What is known of a vendor's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ClockSkew {
    /// The oldest first.
    answers: VecDeque<Answer>,
}

/// A moment on this machine's clock, which may be set, and on one that only runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) time: Timestamp,
    pub(super) instant: Instant,
}

/// What an answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    received: Moment,
    /// The vendor's clock minus this machine's, in milliseconds.
    difference: i64,
}

impl Answer {
    /// Whether it still counts: it is recent, and this machine's clock was not set since.
    fn counts(&self, now: Moment) -> bool {
        let passed = now.instant.saturating_duration_since(self.received.instant);
        let by_clock = now.time.as_millis().saturating_sub(self.received.time.as_millis());
        let jumped = by_clock.saturating_sub(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        passed <= COUNTS_FOR && jumped.abs() <= LEAST_JUMP
    }
}

impl ClockSkew {
    /// Records the `Date` of a response that no cache stored in between.
    pub(super) fn record(&mut self, date: Timestamp, received: Moment) {
        if self.answers.len() == ANSWERS {
            self.answers.pop_front();
        }
        let difference = date.as_millis().saturating_sub(received.time.as_millis());
        self.answers.push_back(Answer { received, difference });
    }

    /// The least difference in milliseconds, negative if the vendor's clock is behind; `None` without an answer that counts.
    pub(super) fn millis(&self, now: Moment) -> Option<i64> {
        self.answers.iter().filter(|answer| answer.counts(now)).map(|answer| answer.difference).min()
    }

    /// How far the vendor's clock is behind: zero if it may be right.
    pub(super) fn behind(&self, now: Moment) -> Duration {
        let behind = Duration::from_millis(self.millis(now).map_or(0, |millis| millis.min(0).unsigned_abs()));
        if behind > NOISE { behind } else { Duration::ZERO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment so many seconds after the answers.
    fn later(start: Instant, secs: u64) -> Moment {
        let passed = Duration::from_secs(secs);
        Moment { time: Timestamp::from_secs(1_000_000) + passed, instant: start + passed }
    }

    /// A clock after responses whose `Date` is so many seconds after their receipt.
    fn after(start: Instant, differences: impl IntoIterator<Item = i64>) -> ClockSkew {
        let mut skew = ClockSkew::default();
        for secs in differences {
            skew.record(Timestamp::from_secs(1_000_000 + secs), later(start, 0));
        }
        skew
    }

    #[test]
    fn nothing_is_known_before_the_first_answer() {
        let start = Instant::now();
        assert_eq!(ClockSkew::default().millis(later(start, 0)), None);
        assert_eq!(after(start, [1_800]).millis(later(start, 0)), Some(1_800_000));
    }

    #[test]
    fn the_slowest_server_decides_until_it_is_64_answers_ago() {
        let start = Instant::now();
        let now = later(start, 0);
        assert_eq!(after(start, [-20, 0, -1, 0]).millis(now), Some(-20_000));
        assert_eq!(after(start, [-20, 0, -1, 0]).behind(now), Duration::from_secs(20));
        assert_eq!(after(start, [-1, 30, -2]).behind(now), Duration::ZERO);
        assert_eq!(after(start, std::iter::once(-20).chain([-1; 63])).millis(now), Some(-20_000));
        assert_eq!(after(start, std::iter::once(-20).chain([-1; 64])).millis(now), Some(-1_000));
    }

    #[test]
    fn an_answer_counts_for_an_hour() {
        let start = Instant::now();
        let skew = after(start, [-500_000, -20]);
        assert_eq!(skew.behind(later(start, 3_600)), Duration::from_secs(500_000));
        assert_eq!(skew.behind(later(start, 3_601)), Duration::ZERO);
    }

    #[test]
    fn an_answer_counts_until_this_machines_clock_is_set() {
        let start = Instant::now();
        let skew = after(start, [-7_200]);
        let slewed = Moment { time: later(start, 60).time + Duration::from_secs(4), ..later(start, 60) };
        assert_eq!(skew.behind(slewed), Duration::from_secs(7_200));
        for set in [later(start, 60).time - Duration::from_secs(7_200), later(start, 60).time + Duration::from_secs(6)]
        {
            assert_eq!(skew.behind(Moment { time: set, ..later(start, 60) }), Duration::ZERO);
        }
    }
}
