//! Errors of the loop of a source: what follows a failed attempt.

use std::time::Duration;

use tokio::time::Instant;

use super::super::errors::{ClearedBy, is_reportable};
use super::super::fetch::FetchError;
use super::super::rate::Priority;
use super::super::retrying_journal::StopReason;
use super::super::source::{CollectMode, SourceEnd};
use super::SourceLoop;
use crate::journal::WindowId;
use crate::vendors::{ApiError, ApiErrorKind};

/// A wait that the vendor asks for is shown if it is longer.
const LONG_WAIT: Duration = Duration::from_secs(60);

impl SourceLoop {
    /// Handles a failed attempt. Returns the end of the source if it must not continue.
    pub(super) async fn handle_error(
        &mut self,
        id: WindowId,
        failed: FetchError,
    ) -> Result<Option<SourceEnd>, StopReason> {
        let Some(scan) = self.scans.get(&id) else { return Ok(None) };
        let priority = self.priority_of(id, &scan.window());
        let kind = failed.error.kind;
        if failed.must_restart || kind == ApiErrorKind::CursorExpired {
            return self.handle_expired_cursor(id, &failed.error).await.map(|()| None);
        }
        if kind == ApiErrorKind::PageTooLarge
            && let Some(size) = scan.smaller_page()
        {
            return self.reduce_page_size(id, size, &failed.error).await.map(|()| None);
        }
        let asks_to_wait = kind == ApiErrorKind::RateLimited;
        if failed.may_be_request && !asks_to_wait {
            return self.resist(id, priority, failed).await;
        }
        let FetchError { error, retry_after, .. } = failed;
        let is_refused_again = kind == ApiErrorKind::Unauthorized && self.errors.failures(priority) > 0;
        if is_refused_again || matches!(kind, ApiErrorKind::Permanent | ApiErrorKind::PageTooLarge) {
            return self.stop(priority, error).await;
        }
        self.back_off(priority, &error, retry_after).await.map(|()| None)
    }

    /// Scans a window again in smaller pages. Other windows keep theirs.
    pub(super) async fn reduce_page_size(
        &mut self,
        id: WindowId,
        page_size: u32,
        error: &ApiError,
    ) -> Result<(), StopReason> {
        let error = &error.message;
        tracing::info!(
            event = "page_size_reduced",
            window = id.0,
            page_size,
            error,
            "window restarts in smaller pages"
        );
        self.failing.set_page_size(id, page_size);
        self.start_scan(id, false, page_size).await
    }

    /// Pauses after a transient error, or the whole budget after a rate limit error.
    pub(super) async fn back_off(
        &mut self,
        priority: Priority,
        error: &ApiError,
        requested: Option<Duration>,
    ) -> Result<(), StopReason> {
        let rate_limited = error.kind == ApiErrorKind::RateLimited;
        let least = self.settings.spec.default_rate_limit_wait;
        let (failures, wait) = self.errors.record_failure(priority, error, |failures| match requested {
            Some(requested) => self.backoff.as_requested(requested),
            None if rate_limited => self.backoff.after_rate_limit(failures, least),
            None => self.backoff.after_failure(failures),
        });
        if rate_limited {
            self.budget.hold_until(Instant::now() + wait);
        } else {
            self.errors.pause(priority, wait);
        }
        if (rate_limited || requested.is_some()) && wait > LONG_WAIT {
            return self.errors.report_wait(&mut self.journal, priority, error, wait).await;
        }
        if !is_reportable(failures) {
            return Ok(());
        }
        self.errors.report(&mut self.journal, priority, error, ClearedBy::Page, Some(wait)).await
    }

    /// Only the user can fix this error: reports it, and retries later. A run that is to end, ends.
    pub(super) async fn stop(&mut self, priority: Priority, error: ApiError) -> Result<Option<SourceEnd>, StopReason> {
        let error = ApiError { kind: ApiErrorKind::Permanent, ..error };
        let ends = matches!(self.mode, CollectMode::Once { .. });
        let (_, wait) = self.errors.record_failure(priority, &error, |_| self.settings.error_retry_interval);
        self.errors.pause(priority, wait);
        self.errors.report(&mut self.journal, priority, &error, ClearedBy::Page, (!ends).then_some(wait)).await?;
        Ok(ends.then_some(SourceEnd::Stopped(error)))
    }
}
