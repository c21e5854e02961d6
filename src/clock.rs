//! The time of day, as a part that can be exchanged.
//!
//! Coverage, overlap and back-off all hang on the clock, so no other module asks the operating system for it (a lint
//! forbids it). Tests hand in [`ManualClock`], which moves with tokio's paused time.

use std::sync::Arc;

use crate::time::Timestamp;

/// Tells the time of day. Cheap to clone and shared by all tasks.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The present moment, UTC.
    fn now(&self) -> Timestamp;
}

/// A clock that any part may hold on to.
pub type SharedClock = Arc<dyn Clock>;

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the operating system for the time")]
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_nanos(i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX))
    }
}

/// A clock for tests: it starts at a chosen moment and moves with tokio's clock, so that
/// `tokio::time::advance` (or auto-advance in a paused runtime) moves the time of day too.
#[derive(Debug, Clone, Copy)]
pub struct ManualClock {
    start: Timestamp,
    started: tokio::time::Instant,
}

impl ManualClock {
    /// A clock that shows `start` now.
    #[must_use]
    pub fn starting_at(start: Timestamp) -> Self {
        Self { start, started: tokio::time::Instant::now() }
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.start + self.started.elapsed()
    }
}
