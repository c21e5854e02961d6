//! How fast a source sends requests: their priority, the request budget, and the page size.
//!
//! Nothing here waits: the budget returns a moment, and the source loop sleeps.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::WindowKind;
use crate::units::Rate;

/// After this many complete windows a reduced page size is doubled.
const WINDOWS_UNTIL_LARGER: u32 = 10;

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
pub(super) struct RequestBudget {
    rates: Vec<RateWindow>,
    held_until: Option<Instant>,
}

#[derive(Debug)]
struct RateWindow {
    allowed: usize,
    per: Duration,
    requests: VecDeque<Instant>,
}

impl RequestBudget {
    /// A full budget.
    pub(super) fn new(rates: &[Rate]) -> Self {
        let rates = rates.iter().map(|rate| RateWindow {
            allowed: usize::try_from(rate.requests.max(1)).unwrap_or(usize::MAX),
            per: rate.per,
            requests: VecDeque::new(),
        });
        Self { rates: rates.collect(), held_until: None }
    }

    /// The moment from which a request of `priority` is within all rates; `now` if it is already.
    pub(super) fn ready_at(&self, priority: Priority, now: Instant) -> Instant {
        let free = self.rates.iter().filter_map(|rate| rate.free_at(priority));
        free.chain(self.held_until).fold(now, Instant::max)
    }

    /// Counts a request that is made now.
    pub(super) fn take(&mut self, now: Instant) {
        for rate in &mut self.rates {
            rate.requests.push_back(now);
            if rate.requests.len() > rate.allowed {
                rate.requests.pop_front();
            }
        }
    }

    /// The vendor asked for no requests until then.
    pub(super) fn hold_until(&mut self, until: Instant) {
        self.held_until = self.held_until.max(Some(until));
    }
}

impl RateWindow {
    fn free_at(&self, priority: Priority) -> Option<Instant> {
        let allowed = match priority {
            Priority::Live => self.allowed,
            Priority::Backfill => self.allowed - self.allowed / 10,
        };
        let oldest = self.requests.len().checked_sub(allowed)?;
        Some(self.requests[oldest] + self.per)
    }
}

/// How many records to ask for per page: the configured number, fewer while the vendor cannot return that many.
#[derive(Debug)]
pub(super) struct PageSize {
    configured: u32,
    current: u32,
    windows: u32,
}

impl PageSize {
    pub(super) fn new(configured: u32) -> Self {
        Self { configured, current: configured, windows: 0 }
    }

    /// Records to ask for per page.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    /// What the options or the vendor's spec say.
    pub(super) fn configured(&self) -> u32 {
        self.configured
    }

    /// Larger pages have failed.
    pub(super) fn reduce_to(&mut self, size: u32) {
        self.current = self.current.min(size);
        self.windows = 0;
    }

    /// Counts a complete window.
    pub(super) fn window_completed(&mut self) {
        self.windows += 1;
        if self.windows >= WINDOWS_UNTIL_LARGER {
            self.current = self.current.saturating_mul(2).min(self.configured);
            self.windows = 0;
        }
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
    fn the_page_size_shrinks_at_once_and_grows_back_slowly() {
        let mut size = PageSize::new(100);
        size.reduce_to(25);
        let mut sizes = Vec::new();
        for _ in 0..30 {
            size.window_completed();
            sizes.push(size.current());
        }
        assert_eq!((sizes[8], sizes[9], sizes[19], sizes[29]), (25, 50, 100, 100));
    }
}
