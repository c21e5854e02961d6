//! How fast a source asks its vendor: the request budget, the pauses after errors, and the page size.
//!
//! Everything here has two priorities: live polls come first, and backfill yields to them. Nothing here waits: it returns
//! moments, and the source loop sleeps.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::journal::{LastError, WindowKind};
use crate::units::Rate;

/// An error is reported after this many failures in a row.
const FAILURES_TO_REPORT: u32 = 3;
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

/// The errors of a source and the pauses after them, per priority.
///
/// An error in a live window pauses everything: it comes from the vendor, the network or the credentials. An error that
/// only backfill meets (a date that the API rejects, a window that times out) leaves live polls alone.
#[derive(Debug)]
pub(super) struct RetryStates {
    live: RetryState,
    backfill: RetryState,
}

#[derive(Debug)]
struct RetryState {
    retry_at: Instant,
    failures: u32,
    last_error: Option<LastError>,
    cleared_by: ClearedBy,
}

/// What shows that an error is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClearedBy {
    /// The next page that is read.
    Page,
    /// The next window that completes.
    Window,
}

impl RetryStates {
    /// Without errors.
    pub(super) fn new(now: Instant) -> Self {
        let state = || RetryState { retry_at: now, failures: 0, last_error: None, cleared_by: ClearedBy::Page };
        Self { live: state(), backfill: state() }
    }

    /// When the next request of `priority` may be made, as far as errors decide.
    pub(super) fn ready_at(&self, priority: Priority) -> Instant {
        match priority {
            Priority::Live => self.live.retry_at,
            Priority::Backfill => self.backfill.retry_at.max(self.live.retry_at),
        }
    }

    /// Counts a failure; returns how many there were in a row.
    pub(super) fn record_failure(&mut self, priority: Priority) -> u32 {
        let state = self.state(priority);
        state.failures = state.failures.saturating_add(1);
        state.failures
    }

    /// No request of `priority` for `wait` from `now` on.
    pub(super) fn pause(&mut self, priority: Priority, now: Instant, wait: Duration) {
        self.state(priority).retry_at = now + wait;
    }

    /// Sets the error to show; returns whether it differs from the one before.
    pub(super) fn set_error(&mut self, priority: Priority, error: LastError, cleared_by: ClearedBy) -> bool {
        let state = self.state(priority);
        if state.last_error.as_ref().is_some_and(|known| known.message == error.message) {
            return false;
        }
        state.last_error = Some(error);
        state.cleared_by = cleared_by;
        true
    }

    /// A page was read or a window completed; returns the error that this ends.
    pub(super) fn record_success(&mut self, priority: Priority, what: ClearedBy) -> Option<LastError> {
        let state = self.state(priority);
        state.failures = 0;
        let over = what == state.cleared_by || what == ClearedBy::Window;
        if over { state.last_error.take() } else { None }
    }

    /// The error to show, if any.
    pub(super) fn last_error(&self) -> Option<LastError> {
        self.live.last_error.clone().or_else(|| self.backfill.last_error.clone())
    }

    fn state(&mut self, priority: Priority) -> &mut RetryState {
        match priority {
            Priority::Live => &mut self.live,
            Priority::Backfill => &mut self.backfill,
        }
    }
}

/// Whether this many failures in a row are reported.
pub(super) fn is_reportable(failures: u32) -> bool {
    failures >= FAILURES_TO_REPORT
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
