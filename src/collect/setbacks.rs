//! What the loop of a source does when an attempt gives no page.
//!
//! | fault | what follows |
//! |---|---|
//! | transient | back-off, the same page again; a smaller page after three that may come from its size |
//! | rate limited | the whole budget waits, as long as the vendor says, or as long as its facts say and more each time |
//! | cursor expired, paging in a circle | back-off, the window from its first page |
//! | page too large | half the page size, the window from its first page |
//! | permanent | said once, looked at again at a slow interval |

use std::time::Duration;

use tokio::time::Instant;

use super::lanes::{Relief, worth_mentioning};
use super::ledger::Halt;
use super::pages::Setback;
use super::planner::Lane;
use super::source::Collector;
use super::walk::can_be_resumed;
use super::{Mode, SourceEnd};
use crate::journal::{LastError, ScanProgress, WindowId};
use crate::vendors::{ApiError, ApiErrorKind};

impl Collector {
    /// Deals with a failed attempt. The end of the source, if it must not go on.
    pub(super) async fn meet(&mut self, id: WindowId, setback: Setback) -> Result<Option<SourceEnd>, Halt> {
        let Setback { fault, asked_wait, astray, .. } = setback;
        let Some(walk) = self.walks.get(&id) else { return Ok(None) };
        let lane = Lane::of(walk.window.kind);
        if astray || fault.kind == ApiErrorKind::CursorExpired {
            return self.walk_again(id, &fault.message).await.map(|()| None);
        }
        match fault.kind {
            ApiErrorKind::PageTooLarge => match walk.smaller_page() {
                Some(size) => self.shrink(id, size, &fault).await?,
                None => return self.stop(lane, fault).await,
            },
            ApiErrorKind::Permanent => return self.stop(lane, fault).await,
            ApiErrorKind::RateLimited => self.slow_down(lane, &fault, asked_wait).await?,
            ApiErrorKind::Transient | ApiErrorKind::CursorExpired => {
                let smaller = walk.smaller_page_after_failures(self.page_size.configured());
                self.back_off(lane, &fault, asked_wait).await?;
                if let Some(size) = smaller {
                    self.shrink(id, size, &fault).await?;
                }
            }
        }
        Ok(None)
    }

    /// Walks a window again from its first page.
    pub(super) async fn walk_again(&mut self, id: WindowId, reason: &str) -> Result<(), Halt> {
        let Some(window) = self.planner.window_of(id) else { return Ok(()) };
        let lane = Lane::of(window.kind);
        let history = self.histories.entry(id).or_default();
        history.restarts = history.restarts.saturating_add(1);
        let restarts = history.restarts;
        let wait = self.backoff.after_failure(restarts);
        tracing::debug!(window = id.0, restarts, ?wait, "{reason}");
        self.lanes.pause(lane, Instant::now(), wait);
        self.restart(id).await?;
        if worth_mentioning(restarts) {
            let hint = "auditflow goes on trying; a shorter backfill_slice or a longer settle may help".to_owned();
            let fault = ApiError { kind: ApiErrorKind::Transient, message: reason.to_owned(), hint };
            self.last_error(lane, &fault, Relief::Window).await?;
        }
        Ok(())
    }

    /// Goes on with a walk of the last process, or begins it again if the request has changed since: other filters,
    /// another order or another address number the pages otherwise.
    pub(super) async fn resume(&mut self, id: WindowId, progress: ScanProgress) -> Result<(), Halt> {
        let Some(window) = self.planner.window_of(id) else { return Ok(()) };
        if can_be_resumed(&self.fetcher, &window, &progress) {
            self.set_out(id, Some(progress));
            return Ok(());
        }
        tracing::info!(window = id.0, "a half-read window is read again from its start: its request has changed");
        self.restart(id).await
    }

    async fn restart(&mut self, id: WindowId) -> Result<(), Halt> {
        let requests = self.walks.get(&id).map_or(0, |walk| walk.requests);
        self.ledger.keep_trying(|journal| journal.restart_window(id, requests)).await?;
        self.forget_walk(id);
        self.set_out(id, None);
        Ok(())
    }

    async fn shrink(&mut self, id: WindowId, page_size: u32, fault: &ApiError) -> Result<(), Halt> {
        tracing::info!(window = id.0, page_size, reason = %fault.message, "the window is read again in smaller pages");
        self.page_size.shrink_to(page_size);
        self.restart(id).await
    }

    async fn back_off(&mut self, lane: Lane, fault: &ApiError, asked: Option<Duration>) -> Result<(), Halt> {
        let failures = self.lanes.failed(lane);
        let wait = match asked {
            Some(asked) => self.backoff.as_asked(asked),
            None => self.backoff.after_failure(failures),
        };
        tracing::debug!(failures, ?wait, "{}", fault.message);
        self.lanes.pause(lane, Instant::now(), wait);
        self.mention(lane, fault, failures).await
    }

    async fn slow_down(&mut self, lane: Lane, fault: &ApiError, asked: Option<Duration>) -> Result<(), Halt> {
        let failures = self.lanes.failed(lane);
        let wait = match asked {
            Some(asked) => self.backoff.as_asked(asked),
            None => self.backoff.after_bare_refusal(failures, self.settings.spec.default_rate_limit_wait),
        };
        tracing::debug!(failures, ?wait, "{}", fault.message);
        self.budget.hold_until(Instant::now() + wait);
        self.mention(lane, fault, failures).await
    }

    async fn mention(&mut self, lane: Lane, fault: &ApiError, failures: u32) -> Result<(), Halt> {
        if worth_mentioning(failures) { self.last_error(lane, fault, Relief::Page).await } else { Ok(()) }
    }

    /// Only the user can mend this: says so, and looks again later. A run that is to end, ends.
    async fn stop(&mut self, lane: Lane, fault: ApiError) -> Result<Option<SourceEnd>, Halt> {
        let fault = ApiError { kind: ApiErrorKind::Permanent, ..fault };
        self.lanes.failed(lane);
        self.lanes.pause(lane, Instant::now(), self.settings.error_retry_interval);
        self.last_error(lane, &fault, Relief::Page).await?;
        Ok(matches!(self.mode, Mode::Once { .. }).then_some(SourceEnd::Stopped(fault)))
    }

    /// Notes a trouble where people look, and logs it once.
    async fn last_error(&mut self, lane: Lane, fault: &ApiError, relieved_by: Relief) -> Result<(), Halt> {
        let last_error =
            LastError { message: fault.message.clone(), hint: fault.hint.clone(), since: self.clock.now() };
        if !self.lanes.troubled(lane, last_error, relieved_by) {
            return Ok(());
        }
        let hint = Some(fault.hint.as_str()).filter(|hint| !hint.is_empty());
        if fault.kind == ApiErrorKind::Permanent {
            let again = crate::units::Span(self.settings.error_retry_interval);
            tracing::error!(hint, looked_at_again_every = %again, "the source stands still: {}", fault.message);
        } else {
            tracing::warn!(hint, "collecting is held up, auditflow goes on trying: {}", fault.message);
        }
        self.show_trouble().await
    }

    /// Clears a trouble that has turned out to be over.
    pub(super) async fn relieve(&mut self, lane: Lane, what: Relief) -> Result<(), Halt> {
        if !self.lanes.succeeded(lane, what) {
            return Ok(());
        }
        tracing::info!("the source works again");
        self.show_trouble().await
    }

    async fn show_trouble(&mut self) -> Result<(), Halt> {
        let (source, last_error) = (self.id, self.lanes.last_error());
        self.ledger.keep_trying(|journal| journal.set_source_error(source, last_error.clone())).await
    }
}
