//! The request budget of a source: several rates that hold at once, shared by live polls and the past, live first.
//!
//! Each rate is kept exactly: in no span of its length are more requests made than it allows. So the moments of the
//! latest requests are remembered (as many as the rate allows), and the next request may go when the oldest of them has
//! left the span. A tenth of every larger rate is kept for live polls, so that a backfill cannot use up an hourly quota
//! and leave the present uncollected. What the vendor says (`Retry-After`) moves the budget forward.
//!
//! The budget itself never waits: it tells when, and the source's loop sleeps.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::planner::Lane;
use crate::units::Rate;

/// When the next request may be made.
#[derive(Debug)]
pub(super) struct Budget {
    rates: Vec<Spent>,
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct Spent {
    allowed: usize,
    per: Duration,
    requests: VecDeque<Instant>,
}

impl Budget {
    /// A full budget.
    pub(super) fn new(rates: &[Rate]) -> Self {
        let rates = rates.iter().map(|rate| Spent {
            allowed: usize::try_from(rate.requests.max(1)).unwrap_or(usize::MAX),
            per: rate.per,
            requests: VecDeque::new(),
        });
        Self { rates: rates.collect(), held_until: None }
    }

    /// The moment from which a request of `lane` is within all rates; `now` if it is already.
    pub(super) fn ready_at(&self, lane: Lane, now: Instant) -> Instant {
        let free = self.rates.iter().filter_map(|spent| spent.free_at(lane));
        free.chain(self.held_until).fold(now, Instant::max)
    }

    /// Notes a request that is made now.
    pub(super) fn take(&mut self, now: Instant) {
        for spent in &mut self.rates {
            spent.requests.push_back(now);
            if spent.requests.len() > spent.allowed {
                spent.requests.pop_front();
            }
        }
    }

    /// The vendor asked for silence until then.
    pub(super) fn hold_until(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }
}

impl Spent {
    fn free_at(&self, lane: Lane) -> Option<Instant> {
        let allowed = match lane {
            Lane::Live => self.allowed,
            Lane::Past => self.allowed - self.allowed / 10,
        };
        let oldest = self.requests.len().checked_sub(allowed)?;
        Some(self.requests[oldest] + self.per)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rate(requests: u32, secs: u64) -> Rate {
        Rate { requests, per: Duration::from_secs(secs) }
    }

    proptest! {
        /// Whatever the pattern of asking, no span of a rate's length sees more requests than it allows.
        #[test]
        fn no_rate_is_ever_exceeded(pauses in prop::collection::vec(0_u64..900, 1..200)) {
            let rates = [rate(2, 1), rate(30, 60)];
            let mut budget = Budget::new(&rates);
            let mut now = Instant::now();
            let mut made = Vec::new();
            for pause in pauses {
                now = budget.ready_at(Lane::Live, now + Duration::from_millis(pause));
                budget.take(now);
                made.push(now);
            }
            for (index, at) in made.iter().enumerate() {
                for rate in rates {
                    let within = made[index..].iter().filter(|other| **other < *at + rate.per).count();
                    prop_assert!(within <= rate.requests as usize);
                }
            }
        }
    }

    #[test]
    fn the_past_leaves_a_tenth_to_live_polls() {
        let mut budget = Budget::new(&[rate(100, 3_600)]);
        let now = Instant::now();
        for _ in 0..90 {
            assert_eq!(budget.ready_at(Lane::Past, now), now);
            budget.take(now);
        }
        assert_eq!(budget.ready_at(Lane::Past, now), now + Duration::from_secs(3_600));
        assert_eq!(budget.ready_at(Lane::Live, now), now);
    }

    #[test]
    fn what_the_vendor_asks_for_moves_it_forward() {
        let mut budget = Budget::new(&[rate(100, 1)]);
        let now = Instant::now();
        budget.hold_until(now + Duration::from_secs(30));
        budget.hold_until(now + Duration::from_secs(10));
        assert_eq!(budget.ready_at(Lane::Live, now), now + Duration::from_secs(30));
    }
}
