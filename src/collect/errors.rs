//! The errors of a source: the pauses after them, and how they are reported.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::Priority;
use super::retrying_journal::{RetryingJournal, StopReason};
use crate::clock::SharedClock;
use crate::journal::{LastError, SourceId};
use crate::vendors::{ApiError, ApiErrorKind};

/// An error is reported after this many failures in a row.
const FAILURES_TO_REPORT: u32 = 3;

/// Whether this many failures in a row are reported.
pub(super) fn is_reportable(failures: u32) -> bool {
    failures >= FAILURES_TO_REPORT
}

/// The errors of a source, per priority.
///
/// An error in a live window pauses everything: it comes from the vendor, the network or the credentials. An error that
/// only backfill meets (a date that the API rejects, a window that times out) leaves live polls alone.
#[derive(Debug)]
pub(super) struct SourceErrors {
    source: SourceId,
    clock: SharedClock,
    live: ErrorState,
    backfill: ErrorState,
}

#[derive(Debug)]
struct ErrorState {
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

impl SourceErrors {
    /// Without errors.
    pub(super) fn new(source: SourceId, clock: SharedClock, now: Instant) -> Self {
        let state = || ErrorState { retry_at: now, failures: 0, last_error: None, cleared_by: ClearedBy::Page };
        Self { source, clock, live: state(), backfill: state() }
    }

    /// When the pauses allow the next request of `priority`.
    pub(super) fn ready_at(&self, priority: Priority) -> Instant {
        match priority {
            Priority::Live => self.live.retry_at,
            Priority::Backfill => self.backfill.retry_at.max(self.live.retry_at),
        }
    }

    /// How many requests of `priority` failed in a row.
    pub(super) fn failures(&self, priority: Priority) -> u32 {
        match priority {
            Priority::Live => self.live.failures,
            Priority::Backfill => self.backfill.failures,
        }
    }

    /// Counts a failed request. Returns how many failed in a row, and the wait that the caller chooses for that number.
    pub(super) fn record_failure(
        &mut self,
        priority: Priority,
        error: &ApiError,
        wait: impl FnOnce(u32) -> Duration,
    ) -> (u32, Duration) {
        let state = self.state(priority);
        state.failures = state.failures.saturating_add(1);
        let failures = state.failures;
        let wait = wait(failures);
        let (error, retry_in_secs) = (&error.message, wait.as_secs_f64());
        tracing::debug!(event = "request_failed", ?priority, error, failures, retry_in_secs, "request failed");
        (failures, wait)
    }

    /// No request of `priority` for `wait`.
    pub(super) fn pause(&mut self, priority: Priority, wait: Duration) {
        self.state(priority).retry_at = Instant::now() + wait;
    }

    /// Stores an error as the source's last error, and logs it once. `retry_in` is `None` if the source ends.
    pub(super) async fn report(
        &mut self,
        journal: &mut RetryingJournal,
        priority: Priority,
        error: &ApiError,
        cleared_by: ClearedBy,
        retry_in: Option<Duration>,
    ) -> Result<(), StopReason> {
        let kind = error.kind;
        if !self.is_new(priority, error, cleared_by) {
            return Ok(());
        }
        let (error, hint) = (&error.message, Some(error.hint.as_str()).filter(|hint| !hint.is_empty()));
        let retry_in_secs = retry_in.map(|wait| wait.as_secs_f64());
        if kind == ApiErrorKind::Permanent {
            tracing::error!(event = "source_stopped", error, hint, retry_in_secs, "source stopped");
        } else {
            tracing::warn!(event = "source_retrying", error, hint, retry_in_secs, "source is retrying");
        }
        self.store(journal).await
    }

    /// Stores a wait that the vendor asks for as the source's last error, and logs it once.
    pub(super) async fn report_wait(
        &mut self,
        journal: &mut RetryingJournal,
        priority: Priority,
        error: &ApiError,
        wait: Duration,
    ) -> Result<(), StopReason> {
        let wait_secs = wait.as_secs_f64();
        let hint = format!("the vendor asks for a wait of {wait_secs:.0}s; if it lasts, lower `rate_limit`");
        if !self.is_new(priority, &ApiError { hint, ..error.clone() }, ClearedBy::Page) {
            return Ok(());
        }
        tracing::info!(event = "waiting_for_vendor", wait_secs, error = error.message, "waiting as the vendor asks");
        self.store(journal).await
    }

    /// Whether an error differs from the last one; then it is the last one now.
    fn is_new(&mut self, priority: Priority, error: &ApiError, cleared_by: ClearedBy) -> bool {
        let ApiError { message, hint, .. } = error.clone();
        let last_error = LastError { message, hint, since: self.clock.now() };
        let state = self.state(priority);
        if state.last_error.as_ref().is_some_and(|known| known.message == last_error.message) {
            return false;
        }
        state.last_error = Some(last_error);
        state.cleared_by = cleared_by;
        true
    }

    /// A page was read or a window completed: clears the error that this ends.
    pub(super) async fn record_success(
        &mut self,
        journal: &mut RetryingJournal,
        priority: Priority,
        what: ClearedBy,
    ) -> Result<(), StopReason> {
        let state = self.state(priority);
        state.failures = 0;
        let over = what == state.cleared_by || what == ClearedBy::Window;
        let Some(LastError { message, since, .. }) = state.last_error.take_if(|_| over) else { return Ok(()) };
        tracing::info!(event = "source_recovered", error = message, %since, "source recovered");
        self.store(journal).await
    }

    async fn store(&self, journal: &mut RetryingJournal) -> Result<(), StopReason> {
        let last_error = self.live.last_error.clone().or_else(|| self.backfill.last_error.clone());
        journal.retry(|journal| journal.set_source_error(self.source, last_error.clone())).await
    }

    fn state(&mut self, priority: Priority) -> &mut ErrorState {
        match priority {
            Priority::Live => &mut self.live,
            Priority::Backfill => &mut self.backfill,
        }
    }
}
