//! The errors of a source: the pauses after them, and how they are reported.

use std::time::Duration;

use tokio::time::Instant;

use super::rate::Priority;
use super::retrying_journal::{RetryingJournal, StopReason};
use crate::clock::SharedClock;
use crate::journal::LastError;
use crate::time::Timestamp;
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
    clock: SharedClock,
    live: ErrorState,
    backfill: ErrorState,
}

#[derive(Debug)]
struct ErrorState {
    retry_at: Instant,
    failures: u32,
    /// When the first request since the last success failed.
    failing_since: Option<Timestamp>,
    /// The error since then, and its kind.
    outage: Option<(ApiErrorKind, LastError)>,
    cleared_by: ClearedBy,
}

/// What an error is, compared with the one before.
enum Noted {
    New,
    OtherText,
    Known,
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
    pub(super) fn new(clock: SharedClock, now: Instant) -> Self {
        let state = || ErrorState {
            retry_at: now,
            failures: 0,
            failing_since: None,
            outage: None,
            cleared_by: ClearedBy::Page,
        };
        Self { clock, live: state(), backfill: state() }
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
        let now = self.clock.now();
        let state = self.state(priority);
        state.failing_since.get_or_insert(now);
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

    /// Stores an error as the source's last error, and logs it once per kind. `retry_in` is `None` if the source ends.
    pub(super) async fn report(
        &mut self,
        journal: &mut RetryingJournal,
        priority: Priority,
        error: &ApiError,
        cleared_by: ClearedBy,
        retry_in: Option<Duration>,
    ) -> Result<(), StopReason> {
        let kind = error.kind;
        match self.note(priority, error, cleared_by) {
            Noted::Known => return Ok(()),
            Noted::OtherText => return self.store(journal).await,
            Noted::New => {}
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
        let until = (self.clock.now() + wait).with_digits(0);
        let mut hint = format!("the vendor asks for a wait of {wait_secs:.0}s, until {until}");
        if error.kind == ApiErrorKind::RateLimited {
            hint += "; if it lasts, lower `rate_limit`";
        }
        match self.note(priority, &ApiError { hint, ..error.clone() }, ClearedBy::Page) {
            Noted::Known => return Ok(()),
            Noted::OtherText => return self.store(journal).await,
            Noted::New => {}
        }
        tracing::info!(event = "waiting_for_vendor", wait_secs, error = error.message, "waiting as the vendor asks");
        self.store(journal).await
    }

    /// Notes an error. Until the next success it belongs to the same outage, whatever its text: `since` stays.
    fn note(&mut self, priority: Priority, error: &ApiError, cleared_by: ClearedBy) -> Noted {
        let now = self.clock.now();
        let state = self.state(priority);
        let (kind, ApiError { message, hint, .. }) = (error.kind, error.clone());
        let noted = match &state.outage {
            Some((known, last)) if *known == kind && last.message == message && last.hint == hint => Noted::Known,
            Some((known, _)) if *known == kind => Noted::OtherText,
            _ => Noted::New,
        };
        let since = state.outage.as_ref().map(|(_, last)| last.since).or(state.failing_since).unwrap_or(now);
        state.outage = Some((kind, LastError { message, hint, since }));
        state.cleared_by = cleared_by;
        noted
    }

    /// A page was read or a window completed: clears the error that this ends.
    pub(super) async fn record_success(
        &mut self,
        journal: &mut RetryingJournal,
        priority: Priority,
        what: ClearedBy,
    ) -> Result<(), StopReason> {
        let state = self.state(priority);
        (state.failures, state.failing_since) = (0, None);
        let over = what == state.cleared_by || what == ClearedBy::Window;
        let Some(LastError { message, since, .. }) = state.outage.take_if(|_| over).map(|(_, last)| last) else {
            return Ok(());
        };
        tracing::info!(event = "source_recovered", error = message, %since, "source recovered");
        self.store(journal).await
    }

    async fn store(&self, journal: &mut RetryingJournal) -> Result<(), StopReason> {
        let outages = [&self.live.outage, &self.backfill.outage];
        let since = outages.iter().filter_map(|outage| Some(outage.as_ref()?.1.since)).min();
        let last = outages.into_iter().flatten().next().zip(since);
        journal.set_last_error(last.map(|((_, last), since)| LastError { since, ..last.clone() })).await
    }

    fn state(&mut self, priority: Priority) -> &mut ErrorState {
        match priority {
            Priority::Live => &mut self.live,
            Priority::Backfill => &mut self.backfill,
        }
    }
}
