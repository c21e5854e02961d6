//! How fast a source sends requests: their priority, and the request budget, which sources of one account may share.
//!
//! Nothing here waits: the budget returns a moment, and the source loop sleeps.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::WindowKind;
use crate::units::Rate;

/// A live request that is this late does not hold back others any more: its source has ended, or waits for something else.
const LIVE_WAITS: Duration = Duration::from_secs(1);
/// Others come this much later than a live request that waits.
const AFTER_LIVE: Duration = Duration::from_millis(1);

/// Which work a request belongs to. Each priority has its own errors and pauses; live goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// Live windows.
    Live,
    /// Backfill slices, gaps and rechecks.
    Backfill,
}

impl Priority {
    /// The priority of windows of this kind.
    pub(super) fn of(kind: WindowKind) -> Self {
        if kind == WindowKind::Live { Self::Live } else { Self::Backfill }
    }
}

/// The request budget of a source: several rates that hold at once.
///
/// Each rate is kept exactly: no span of its length sees more requests than it allows. To that end the moments of the
/// latest requests are kept (as many as the rate allows), and the next request may go when the oldest of them has left
/// the span. A tenth of every rate of ten requests or more is reserved for live polls, so that a backfill cannot use up
/// an hourly quota. What the vendor asks for (`Retry-After`) moves the budget forward.
#[derive(Debug)]
struct RequestBudget {
    rates: Vec<RateWindow>,
    held_until: Option<Instant>,
    /// When a live request that waits may go.
    live_at: Option<Instant>,
}

/// The request budget of a source, or of all sources of a group. Each source asks and takes on its own; the moments of
/// requests and the waits that the vendor asks for are shared.
#[derive(Clone, Debug)]
pub(super) struct SharedBudget(Arc<Mutex<RequestBudget>>);

/// The request budgets that several sources of one account share, by the name of their `rate_limit_group`.
#[derive(Clone, Debug, Default)]
pub struct RateLimitGroups(Arc<Mutex<HashMap<String, SharedBudget>>>);

impl RateLimitGroups {
    /// The budget of a source: one of its own, or that of its group. All rates of a group's sources hold at once.
    pub(super) fn budget(&self, group: Option<&str>, rates: &[Rate]) -> SharedBudget {
        let Some(group) = group else { return SharedBudget::new(rates) };
        let mut groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = groups.entry(group.to_owned()).or_insert_with(|| SharedBudget::new(&[])).clone();
        budget.lock().add(rates);
        budget
    }

    /// Forgets the rates of `group` that none of its sources has any more.
    pub fn keep_rates(&self, group: &str, rates: &[Rate]) {
        let groups = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(budget) = groups.get(group) else { return };
        let is_kept = |known: &RateWindow| rates.iter().any(|rate| known.is_of(rate));
        budget.lock().rates.retain(is_kept);
    }
}

impl SharedBudget {
    /// A full budget.
    pub(super) fn new(rates: &[Rate]) -> Self {
        Self(Arc::new(Mutex::new(RequestBudget::new(rates))))
    }

    fn lock(&self) -> MutexGuard<'_, RequestBudget> {
        // No call leaves it half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moment from which a request of `priority` is within all rates; `now` if it is already.
    pub(super) fn ready_at(&self, priority: Priority, now: Instant) -> Instant {
        self.lock().ready_at(priority, now)
    }

    /// Counts a request that is made now; else says when it can be made.
    pub(super) fn try_take(&self, priority: Priority, now: Instant) -> Result<(), Instant> {
        let mut budget = self.lock();
        let ready = budget.ready_at(priority, now);
        if ready > now {
            return Err(ready);
        }
        budget.take(now);
        Ok(())
    }

    /// The vendor asked for no requests until then.
    pub(super) fn hold_until(&self, until: Instant) {
        self.lock().hold_until(until);
    }
}

#[derive(Debug)]
struct RateWindow {
    allowed: usize,
    per: Duration,
    requests: VecDeque<Instant>,
}

fn allowed(rate: &Rate) -> usize {
    usize::try_from(rate.requests.max(1)).unwrap_or(usize::MAX)
}

impl RequestBudget {
    fn new(rates: &[Rate]) -> Self {
        let mut budget = Self { rates: Vec::new(), held_until: None, live_at: None };
        budget.add(rates);
        budget
    }

    fn add(&mut self, rates: &[Rate]) {
        for rate in rates {
            if !self.rates.iter().any(|known| known.is_of(rate)) {
                self.rates.push(RateWindow { allowed: allowed(rate), per: rate.per, requests: VecDeque::new() });
            }
        }
    }

    fn ready_at(&mut self, priority: Priority, now: Instant) -> Instant {
        let free = self.rates.iter().filter_map(|rate| rate.free_at(priority));
        let ready = free.chain(self.held_until).fold(now, Instant::max);
        match priority {
            Priority::Live => {
                self.live_at = (ready > now).then_some(ready).or(self.live_at);
                ready
            }
            Priority::Backfill => {
                let live = self.live_at.filter(|at| now < *at + LIVE_WAITS);
                live.map_or(ready, |live| ready.max(live + AFTER_LIVE))
            }
        }
    }

    fn take(&mut self, now: Instant) {
        self.live_at = self.live_at.filter(|at| *at > now);
        for rate in &mut self.rates {
            rate.requests.push_back(now);
            if rate.requests.len() > rate.allowed {
                rate.requests.pop_front();
            }
        }
    }

    fn hold_until(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }
}

impl RateWindow {
    fn is_of(&self, rate: &Rate) -> bool {
        (self.allowed, self.per) == (allowed(rate), rate.per)
    }

    fn free_at(&self, priority: Priority) -> Option<Instant> {
        let allowed = match priority {
            Priority::Live => self.allowed,
            Priority::Backfill => self.allowed - self.allowed / 10,
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
        /// Whatever the pattern of requests, no span of a rate's length sees more requests than it allows.
        #[test]
        fn no_rate_is_ever_exceeded(pauses in prop::collection::vec(0_u64..900, 1..200)) {
            let rates = [rate(2, 1), rate(30, 60)];
            let mut budget = RequestBudget::new(&rates);
            let mut now = Instant::now();
            let mut made = Vec::new();
            for pause in pauses {
                now = budget.ready_at(Priority::Live, now + Duration::from_millis(pause));
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
    fn a_rate_that_no_source_of_a_group_has_any_more_no_longer_holds() {
        let (groups, now) = (RateLimitGroups::default(), Instant::now());
        let budget = groups.budget(Some("acme"), &[rate(1, 3_600), rate(2, 60)]);
        budget.try_take(Priority::Live, now).expect("the first request");
        budget.try_take(Priority::Live, now).expect_err("one an hour");
        groups.keep_rates("acme", &[rate(2, 60)]);
        budget.try_take(Priority::Live, now).expect("two a minute");
        budget.try_take(Priority::Live, now).expect_err("the earlier requests count");
    }

    #[test]
    fn backfill_leaves_a_tenth_to_live_polls() {
        let mut budget = RequestBudget::new(&[rate(100, 3_600)]);
        let now = Instant::now();
        for _ in 0..90 {
            assert_eq!(budget.ready_at(Priority::Backfill, now), now);
            budget.take(now);
        }
        assert_eq!(budget.ready_at(Priority::Backfill, now), now + Duration::from_secs(3_600));
        assert_eq!(budget.ready_at(Priority::Live, now), now);
    }

    #[test]
    fn a_wait_that_the_vendor_asks_for_moves_the_budget_forward() {
        let mut budget = RequestBudget::new(&[rate(100, 1)]);
        let now = Instant::now();
        budget.hold_until(now + Duration::from_secs(30));
        budget.hold_until(now + Duration::from_secs(10));
        assert_eq!(budget.ready_at(Priority::Live, now), now + Duration::from_secs(30));
    }

    #[test]
    fn sources_of_a_group_share_one_budget_and_a_live_request_that_waits_goes_first() {
        let groups = RateLimitGroups::default();
        let [polls, backfill] = [(); 2].map(|()| groups.budget(Some("acme"), &[rate(1, 10)]));
        let now = Instant::now();
        assert_eq!(groups.budget(None, &[rate(1, 10)]).try_take(Priority::Live, now), Ok(()));
        assert_eq!(backfill.try_take(Priority::Backfill, now), Ok(()));
        let free = now + Duration::from_secs(10);
        assert_eq!(polls.try_take(Priority::Live, now), Err(free));
        assert_eq!(backfill.try_take(Priority::Backfill, free), Err(free + AFTER_LIVE));
        assert_eq!(polls.try_take(Priority::Live, free), Ok(()));
        assert_eq!(backfill.try_take(Priority::Backfill, free), Err(free + Duration::from_secs(10)));
        polls.hold_until(now + Duration::from_secs(60));
        assert_eq!(backfill.ready_at(Priority::Backfill, free), now + Duration::from_secs(60));
    }
}
