//! The time of day, as a component that can be replaced.
//!
//! Coverage, overlap and backoff all depend on the clock, so no other module asks the operating system for it (a lint
//! forbids it). Tests pass a [`ManualClock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::time::Timestamp;

/// Returns the time of day. Shared by all tasks.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The current time, UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that any component may hold.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the only place that asks the operating system for the time")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// A clock for tests. It starts at a chosen time; clones show and move the same time.
#[derive(Debug, Clone)]
pub struct ManualClock {
    /// Nanoseconds since the epoch, without what tokio's clock adds.
    base: Arc<AtomicI64>,
    /// Since when tokio's clock counts; `None` if only [`ManualClock::advance`] moves the time.
    started: Option<tokio::time::Instant>,
}

impl ManualClock {
    /// A clock that shows `start` now and moves with tokio's clock, so that `tokio::time::advance` (or auto-advance in a
    /// paused runtime) moves the time of day too.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { started: Some(tokio::time::Instant::now()), ..Self::fixed_at(start) }
    }

    /// A clock that shows `now` until [`ManualClock::advance`] is called.
    #[must_use]
    pub fn fixed_at(now: Timestamp) -> Self {
        Self { base: Arc::new(AtomicI64::new(now.as_nanos())), started: None }
    }

    /// Moves the time forward.
    pub fn advance(&self, by: Duration) {
        self.base.fetch_add(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Moves the time back, as a clock that was ahead and is corrected.
    pub fn set_back(&self, by: Duration) {
        self.base.fetch_sub(i64::try_from(by.as_nanos()).unwrap_or(i64::MAX), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let elapsed = self.started.map_or(Duration::ZERO, |started| started.elapsed());
        Timestamp::from_nanos(self.base.load(Ordering::SeqCst)) + elapsed
    }
}
