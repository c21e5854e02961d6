//! Windows that resist: a page fails again and again while other requests succeed.
//!
//! ```text
//!   failed three times --> another request (a probe) succeeds? --no--> the vendor is down: back off, try again
//!                                     | yes
//!                                     v
//!   set aside: newer windows go on; it is narrowed after each further failure
//!     smaller pages --> two shorter windows, down to a step of the time filter --> pieces, down to one record
//!                                     | still fails
//!                                     v
//!   unreadable, in the vendor's words; what came is delivered; a recheck tries again
//! ```

use std::time::Duration;

use super::super::fetch::FetchError;
use super::super::rate::Priority;
use super::super::retrying_journal::StopReason;
use super::super::source::SourceEnd;
use super::SourceLoop;
use super::pages::take_request;
use crate::collect::errors::ClearedBy;
use crate::journal::{AfterPage, Completion, CoverageState, NewWindow, WindowId};
use crate::time::TimeRange;
use crate::vendors::{ApiError, ApiErrorKind, PageRequest, Paging};

/// After so many failures in a row another request shows whether the vendor is down.
const PROBE_AFTER: u32 = 3;

impl SourceLoop {
    /// A request failed that may be the only one to fail.
    pub(super) async fn resist(
        &mut self,
        id: WindowId,
        priority: Priority,
        failed: FetchError,
    ) -> Result<Option<SourceEnd>, StopReason> {
        let FetchError { error, retry_after, may_be_size, .. } = failed;
        let is_final = matches!(error.kind, ApiErrorKind::Permanent | ApiErrorKind::PageTooLarge);
        let failures = self.failing.failed(id);
        let is_due = is_final || failures.is_multiple_of(PROBE_AFTER);
        let is_proven = self.failing.is_proven(id) || (is_due && self.probe(id, priority).await?);
        if !is_proven && is_final {
            return self.stop(priority, error).await;
        }
        if !is_proven {
            return self.back_off(priority, &error, retry_after).await.map(|()| None);
        }
        let wait = self.backoff.after_failure(failures);
        let (message, retry_in_secs) = (&error.message, wait.as_secs_f64());
        tracing::debug!(
            event = "request_failed",
            ?priority,
            error = message,
            failures,
            retry_in_secs,
            "request failed"
        );
        self.failing.pause(id, wait);
        if is_final || self.failing.is_persistent(id) {
            self.narrow(id, &error, may_be_size, is_final).await?;
        }
        Ok(None)
    }

    /// Whether another request succeeds now: one record of the latest time. Its answer is not kept.
    async fn probe(&mut self, id: WindowId, priority: Priority) -> Result<bool, StopReason> {
        let spec = &self.settings.spec;
        let step = spec.time_granularity.max(Duration::from_secs(1));
        let to = (self.clock.now() - spec.delay).floor_to(step);
        let request = PageRequest { range: TimeRange::new(to - step, to), cursor: None, page_size: 1 };
        take_request(&self.budget, &self.journal).await?;
        let fetched = self.journal.unless_shut_down(self.fetcher.fetch(&request)).await?;
        if let Some(scan) = self.scans.get_mut(&id) {
            scan.count_request(&fetched);
        }
        if fetched.is_err() {
            return Ok(false);
        }
        self.failing.probed();
        self.errors.record_success(&mut self.journal, priority, ClearedBy::Page).await?;
        Ok(self.failing.is_proven(id))
    }

    /// Narrows a window whose next page fails, or gives up what is left of it.
    async fn narrow(
        &mut self,
        id: WindowId,
        error: &ApiError,
        may_be_size: bool,
        is_final: bool,
    ) -> Result<(), StopReason> {
        let Some(scan) = self.scans.get(&id) else { return Ok(()) };
        let (window, page_size) = (scan.window(), scan.spec().page_size);
        if scan.is_by_piece() {
            return self.narrow_piece(id, &window, error, is_final).await;
        }
        let spent = self.failing.is_spent(id);
        let smaller = scan.smaller_page_after_failures(self.settings.spec.page_size);
        if let Some(size) = smaller.filter(|_| may_be_size && !spent) {
            return self.reduce_page_size(id, size, error).await;
        }
        if !spent && let Some(parts) = self.scheduler.narrow(window) {
            return self.split_failing(id, window, parts, error).await;
        }
        if !is_final && !self.failing.is_hopeless(id) {
            return Ok(());
        }
        if !spent && self.settings.spec.paging != Paging::Cursor {
            self.failing.narrowed(id);
            self.start_scan(id, false, page_size).await?;
            if let Some(scan) = self.scans.get_mut(&id) {
                scan.read_by_piece();
            }
            return Ok(());
        }
        if !spent && page_size > 1 {
            return self.reduce_page_size(id, 1, error).await;
        }
        self.give_up(id, &window, &error.message).await
    }

    async fn split_failing(
        &mut self,
        id: WindowId,
        window: NewWindow,
        parts: [NewWindow; 2],
        error: &ApiError,
    ) -> Result<(), StopReason> {
        let source = self.id;
        if let Some(overlap) = self.scheduler.overlap_window(window) {
            for overlap_id in self.journal.retry(|journal| journal.add_windows(source, vec![overlap])).await? {
                self.scheduler.opened_overlap(overlap_id, overlap);
                self.failing.joins(overlap_id, id);
            }
        }
        self.split(id, parts, &error.message).await.map(drop)
    }

    /// A piece fails: smaller ones, then without its record.
    async fn narrow_piece(
        &mut self,
        id: WindowId,
        window: &NewWindow,
        error: &ApiError,
        is_final: bool,
    ) -> Result<(), StopReason> {
        let is_hopeless = is_final || self.failing.is_hopeless(id);
        let Some(scan) = self.scans.get_mut(&id) else { return Ok(()) };
        if scan.is_one_record() && !is_hopeless {
            return Ok(());
        }
        let is_stepped_over = scan.narrow_piece();
        let is_over = scan.is_over();
        self.failing.narrowed(id);
        if is_stepped_over && let Some(state) = self.windows.get_mut(&id) {
            state.unreadable.get_or_insert_with(|| error.message.clone());
        }
        if is_over || self.failing.is_spent(id) {
            return self.give_up(id, window, &error.message).await;
        }
        Ok(())
    }

    /// A window was read in pieces: it is unreadable where a record was stepped over. If none was, it is scanned anew.
    pub(super) async fn end_pieces(&mut self, id: WindowId, window: &NewWindow) -> Result<(), StopReason> {
        match self.windows.get_mut(&id).and_then(|state| state.unreadable.take()) {
            Some(error) => self.give_up(id, window, &error).await,
            None => self.start_scan(id, false, self.page_size_of(id)).await,
        }
    }

    /// Completes a window as unreadable. What came of it is delivered.
    async fn give_up(&mut self, id: WindowId, window: &NewWindow, error: &str) -> Result<(), StopReason> {
        let (at, covers) = (self.clock.now(), self.decided(window));
        let completion = Completion {
            at,
            state: CoverageState::Unreadable,
            reasons: vec![format!("unreadable:{error}")],
            covers,
            next_recheck_at: self.next_try_at(id, window),
            evidence: self.evidence_of(id, window, 0),
            learned: self.newly_learned(),
        };
        self.commit_page(id, Vec::new(), None, AfterPage::Complete(completion)).await?;
        let range = if window.covers.is_empty() { window.fetch_range } else { window.covers };
        let (from, to) = (range.from, range.to);
        if self.failing.is_new_cause(error) {
            tracing::warn!(event = "time_unreadable", window = id.0, %from, %to, error, "the vendor fails on records of this time alone: it is left out and tried again later");
        } else {
            tracing::debug!(event = "time_unreadable", window = id.0, %from, %to, error, "time is unreadable");
        }
        self.complete(id, window, covers).await?;
        self.scheduler.note_unreadable(range);
        Ok(())
    }
}
