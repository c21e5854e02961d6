//! When events happen: a pure function of the seed, the vendor and the event's number.
//!
//! ```text
//! number   0 ........................ events-1 | events ...............
//! time     start - span ............... start  | growth + k / rate .....    evenly, with jitter, then drawn together:
//!          leader  tie(same time)  burst(+10..70 ms)  twin(same time and content)  leader ...
//! ```

use std::time::Duration;

use super::draft::{mix, unit};
use crate::time::{EventTime, Timestamp};

/// Every so many events a new group begins, so that a chain of followers is short.
const LONGEST_CHAIN: u64 = 24;
/// Share of the events that follow the one before within milliseconds, as bulk actions do.
const BURSTS: f64 = 0.08;

/// Where a vendor's events lie in time.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// The seed, already mixed with the vendor.
    pub(super) seed: u64,
    /// The end of the history.
    pub(super) start: Timestamp,
    /// The beginning of growth.
    pub(super) growth: Timestamp,
    /// How far back the history reaches.
    pub(super) span: Duration,
    /// Events in the history.
    pub(super) events: u64,
    /// New events per second from then on.
    pub(super) rate: f64,
    /// When growth stopped; `None` while it goes on.
    pub(super) stopped_at: Option<Timestamp>,
    /// Sub-second digits that the vendor writes, one of them drawn for each group.
    pub(super) digits: &'static [u8],
}

/// How an event is tied to the one before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Link {
    /// It stands for itself.
    Leader,
    /// It has the timestamp of the one before.
    Tie,
    /// It follows the one before by so many milliseconds.
    Burst(u64),
    /// It is the one before, once more.
    Twin,
}

/// Shares of events that are tied or twins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shares {
    pub(super) ties: f64,
    pub(super) twins: f64,
}

impl Timeline {
    /// The time at which event `index` would happen if it stood alone; `None` if there is no such event.
    pub(super) fn nominal(&self, index: u64) -> Option<Timestamp> {
        let jitter = unit(mix(self.seed, 1, index));
        if index < self.events {
            #[expect(clippy::cast_precision_loss, reason = "a place in the history need not be exact")]
            let share = (index as f64 + jitter * 0.9) / self.events as f64;
            return Some(self.start - self.span + self.span.mul_f64(share));
        }
        if self.rate <= 0.0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "a place in the growth need not be exact")]
        let number = (index - self.events) as f64 + jitter * 0.9;
        let at = self.growth + Duration::try_from_secs_f64(number / self.rate).unwrap_or(Duration::MAX);
        self.stopped_at.is_none_or(|stopped| at < stopped).then_some(at)
    }

    /// How event `index` is tied to the one before.
    pub(super) fn link(&self, index: u64, shares: Shares) -> Link {
        if index.is_multiple_of(LONGEST_CHAIN) || index == self.events {
            return Link::Leader;
        }
        let bits = mix(self.seed, 2, index);
        let drawn = unit(bits);
        if drawn < shares.twins {
            Link::Twin
        } else if drawn < shares.twins + shares.ties {
            Link::Tie
        } else if drawn < shares.twins + shares.ties + BURSTS {
            Link::Burst(10 + bits % 61)
        } else {
            Link::Leader
        }
    }

    /// The time of a leader as the vendor writes it: cut to its number of sub-second digits.
    pub(super) fn written(&self, index: u64, at: Timestamp) -> EventTime {
        let choice = mix(self.seed, 3, index) % self.digits.len() as u64;
        let digits = self.digits[usize::try_from(choice).unwrap_or(0)];
        let step = Duration::from_nanos(10_u64.pow(9 - u32::from(digits)));
        EventTime { at: at.floor_to(step), digits }
    }

    /// The number of a random choice of its own for event `index`, from 0 up to 1.
    pub(super) fn draw(&self, lane: u64, index: u64) -> f64 {
        unit(mix(self.seed, lane, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(events: u64, rate: f64) -> Timeline {
        let start = Timestamp::parse_rfc3339("2026-03-02T00:00:00Z").expect("a time");
        Timeline {
            seed: 4,
            start,
            growth: start,
            span: Duration::from_secs(86_400),
            events,
            rate,
            stopped_at: None,
            digits: &[0, 3, 6],
        }
    }

    #[test]
    fn the_history_ends_at_the_start_and_growth_follows_it() {
        let timeline = timeline(100, 2.0);
        for index in 0..100 {
            let at = timeline.nominal(index).expect("an event");
            assert!(at >= timeline.start - timeline.span && at < timeline.start, "{index}");
        }
        let later = timeline.nominal(120).expect("an event");
        assert!(later >= timeline.start + Duration::from_secs(10) && later < timeline.start + Duration::from_secs(11));
    }

    #[test]
    fn without_a_rate_nothing_follows_the_history() {
        assert_eq!(timeline(100, 0.0).nominal(100), None);
    }

    #[test]
    fn growth_can_be_stopped() {
        let mut timeline = timeline(100, 2.0);
        timeline.stopped_at = Some(timeline.start + Duration::from_secs(5));
        assert!(timeline.nominal(108).is_some());
        assert_eq!(timeline.nominal(111), None);
    }

    #[test]
    fn chains_of_followers_are_short() {
        let timeline = timeline(1_000, 0.0);
        let all = Shares { ties: 1.0, twins: 0.0 };
        let leaders = (0..1_000).filter(|index| timeline.link(*index, all) == Link::Leader).count();
        assert!(leaders >= 1_000 / 24, "{leaders}");
    }
}
