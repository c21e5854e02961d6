//! Cursors that the vendor refuses.
//!
//! | A cursor of the window was refused | What follows |
//! |---|---|
//! | once | the window from its first page |
//! | again | two shorter windows, if most of what they request is their own time |
//! | | else a scan by time, which needs no cursors, where the vendor allows one; then larger pages |
//! | and again | the window is in doubt, and what came is delivered |

use super::super::by_time;
use super::super::errors::{ClearedBy, is_reportable};
use super::super::facts::Check;
use super::super::retrying_journal::StopReason;
use super::super::verdict::{Reason, Verdict};
use super::SourceLoop;
use crate::journal::{NewWindow, WindowId};
use crate::vendors::{ApiError, ApiErrorKind};

impl SourceLoop {
    /// A request that carried a cursor was refused.
    pub(super) async fn handle_expired_cursor(&mut self, id: WindowId, error: &ApiError) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        let state = self.windows.entry(id).or_default();
        state.restarts = state.restarts.saturating_add(1);
        let restarts = state.restarts;
        if restarts > 1
            && let Some(parts) = self.scheduler.bisect(window)
        {
            let ids = self.split(id, parts, &error.message).await?;
            // What was learned about the whole holds for its parts: the next refusal splits them.
            ids.into_iter().for_each(|part| self.windows.entry(part).or_default().restarts = 1);
            return Ok(());
        }
        let spec = &self.settings.spec;
        let by_time = by_time::may_apply(spec);
        let largest = spec.max_page_size.max(spec.page_size);
        match restarts {
            1 => self.restart_after(id, &window, restarts, error, (false, self.page_size_of(id))).await,
            2 if by_time => self.restart_after(id, &window, restarts, error, (true, self.page_size_of(id))).await,
            2 | 3 if largest > self.page_size_of(id) && (restarts == 3 || !by_time) => {
                self.restart_after(id, &window, restarts, error, (false, largest)).await
            }
            _ => self.end_in_doubt(id, &window).await,
        }
    }

    async fn restart_after(
        &mut self,
        id: WindowId,
        window: &NewWindow,
        restarts: u32,
        error: &ApiError,
        (by_time, page_size): (bool, u32),
    ) -> Result<(), StopReason> {
        let (wait, priority) = (self.backoff.after_failure(restarts), self.priority_of(id, window));
        let (reason, retry_in_secs) = (&error.message, wait.as_secs_f64());
        tracing::debug!(event = "window_restarted", window = id.0, restarts, retry_in_secs, reason, "window restarts");
        self.errors.pause(priority, wait);
        self.start_scan(id, by_time, page_size).await?;
        if !is_reportable(restarts) {
            return Ok(());
        }
        let hint = "set a shorter `backfill_slice` for this source".to_owned();
        let error = ApiError { kind: ApiErrorKind::Transient, message: reason.clone(), hint };
        self.errors.report(&mut self.journal, priority, &error, ClearedBy::Window, Some(wait)).await
    }

    /// Nothing helps: what came is delivered, and its time is in doubt.
    async fn end_in_doubt(&mut self, id: WindowId, window: &NewWindow) -> Result<(), StopReason> {
        let reasons = vec![Reason::Check(Check::End)];
        self.report_doubt(id, window, &reasons);
        let covers = self.decided(window);
        let then = self.after_page(id, window, covers, Some(&Verdict::InDoubt { reasons }));
        self.commit_page(id, Vec::new(), None, then).await?;
        self.complete(id, window, covers).await
    }
}
