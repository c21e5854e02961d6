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

impl SourceLoop {
    /// Handles a failed attempt. Returns the end of the source if it must not continue.
    pub(super) async fn handle_error(
        &mut self,
        id: WindowId,
        failed: FetchError,
    ) -> Result<Option<SourceEnd>, StopReason> {
        let FetchError { error, retry_after, must_restart, .. } = failed;
        let Some(scan) = self.scans.get(&id) else { return Ok(None) };
        let priority = Priority::of(scan.window().kind);
        if must_restart || error.kind == ApiErrorKind::CursorExpired {
            return self.handle_expired_cursor(id, &error).await.map(|()| None);
        }
        match error.kind {
            ApiErrorKind::PageTooLarge => match scan.smaller_page() {
                Some(size) => self.reduce_page_size(id, size, &error).await?,
                None => return self.stop(priority, error).await,
            },
            ApiErrorKind::Permanent => return self.stop(priority, error).await,
            ApiErrorKind::Unauthorized if self.errors.failures(priority) > 0 => {
                return self.stop(priority, error).await;
            }
            ApiErrorKind::RateLimited
            | ApiErrorKind::Transient
            | ApiErrorKind::CursorExpired
            | ApiErrorKind::Unauthorized => {
                let smaller = scan.smaller_page_after_failures(self.page_size.configured());
                let rate_limited = error.kind == ApiErrorKind::RateLimited;
                self.back_off(priority, &error, retry_after).await?;
                if let Some(size) = smaller.filter(|_| !rate_limited) {
                    self.reduce_page_size(id, size, &error).await?;
                }
            }
        }
        Ok(None)
    }

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
        self.page_size.reduce_to(page_size);
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
