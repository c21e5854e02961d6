//! Windows of the loop of a source: opened, scanned, scanned again, split, completed.

use std::time::Duration;

use tokio::time::Instant;

use super::super::by_time;
use super::super::errors::ClearedBy;
use super::super::facts::Check;
use super::super::fetch::request_fingerprint;
use super::super::rate::Priority;
use super::super::retrying_journal::StopReason;
use super::super::scan::{PageScan, can_resume};
use super::super::verdict::{Expected, Reason, ScanResult, Verdict};
use super::super::window_scans::WindowScans;
use super::SourceLoop;
use crate::event::EventId;
use crate::journal::{NewWindow, RequestCounts, ScanProgress, ScanSpec, WindowId, WindowKind};
use crate::time::TimeRange;

impl SourceLoop {
    pub(super) async fn begin(&mut self, window: NewWindow) -> Result<(), StopReason> {
        let source = self.id;
        let ids = self.journal.retry(|journal| journal.add_windows(source, vec![window])).await?;
        for id in ids {
            self.scheduler.opened(id, window);
        }
        Ok(())
    }

    /// Starts a scan at the first page of its window. What earlier scans have staged stays.
    pub(super) async fn start_scan(&mut self, id: WindowId, by_time: bool, page_size: u32) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        let requests = self.scans.remove(&id).map_or_else(RequestCounts::default, |scan| scan.requests);
        let state = self.windows.entry(id).or_default();
        state.begin_scan();
        let request_fingerprint = request_fingerprint(self.fetcher.vendor.as_ref(), window.fetch_range, page_size);
        let spec = ScanSpec { number: state.number, by_time, page_size, request_fingerprint };
        self.journal.retry(|journal| journal.begin_scan(id, spec.clone(), requests)).await?;
        self.scans.insert(id, PageScan::begin(self.fetcher.clone(), window, spec, self.traits));
        Ok(())
    }

    /// Continues the scans of the last process by replaying their evidence, or restarts the window if the request has
    /// changed since.
    pub(super) async fn resume_scan(&mut self, id: WindowId, progress: ScanProgress) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        let Some((last, earlier)) = progress.scans.split_last() else {
            return self.start_scan(id, false, self.page_size_of(id)).await;
        };
        let replayed = |(spec, pages): &(ScanSpec, Vec<Vec<u8>>)| {
            let mut scan = PageScan::begin(self.fetcher.clone(), window, spec.clone(), self.traits);
            let pages = scan.replay(pages)?;
            Some((scan, pages))
        };
        let same_request = can_resume(self.fetcher.vendor.as_ref(), &window, &last.0);
        let (Some((mut scan, pages)), true) = (replayed(last), same_request) else {
            let reason = if same_request {
                "its last scan cannot resume"
            } else {
                "the source's settings have changed its requests"
            };
            tracing::info!(event = "window_restarted", window = id.0, reason, "window restarts");
            return self.restart_window(id).await;
        };
        let mut state = WindowScans { number: last.0.number, found: scan.pages_with_new(), ..WindowScans::default() };
        for (scan, _) in earlier.iter().filter_map(replayed) {
            state.found += scan.pages_with_new();
            state.verdict.resume(scan.result());
        }
        if scan.is_over() {
            state.verdict.resume(scan.result());
            self.windows.insert(id, state);
            return self.start_scan(id, false, last.0.page_size).await;
        }
        state.restore(pages, self.fetcher.vendor.normalizer());
        self.windows.insert(id, state);
        self.scans.insert(id, scan);
        Ok(())
    }

    /// Discards what a window has stored and starts it at the first page.
    pub(super) async fn restart_window(&mut self, id: WindowId) -> Result<(), StopReason> {
        let requests = self.scans.get(&id).map_or_else(RequestCounts::default, |scan| scan.requests);
        self.journal.retry(|journal| journal.restart_window(id, requests)).await?;
        let restarts = self.windows.get(&id).map_or(0, |state| state.restarts);
        self.discard_scans(id);
        self.windows.insert(id, WindowScans { restarts, ..WindowScans::default() });
        self.start_scan(id, false, self.page_size_of(id)).await
    }

    /// Removes the scans of a window, and the seen records that only its staged pages held.
    pub(super) fn discard_scans(&mut self, id: WindowId) {
        self.scans.remove(&id);
        self.windows.remove(&id);
        self.filter.clear();
    }

    /// Replaces a window by two. Returns their ids.
    pub(super) async fn split(
        &mut self,
        id: WindowId,
        parts: [NewWindow; 2],
        reason: &str,
    ) -> Result<[WindowId; 2], StopReason> {
        let requests = self.scans.get(&id).map_or_else(RequestCounts::default, |scan| scan.requests);
        self.journal.retry(|journal| journal.restart_window(id, requests)).await?;
        let ids = self.journal.retry(|journal| journal.split_window(id, parts)).await?;
        let at = parts[1].covers.from;
        tracing::info!(event = "window_split", window = id.0, %at, reason, "window is split");
        self.discard_scans(id);
        self.failing.split(id, &ids);
        self.scheduler.split(id, [(ids[0], parts[0]), (ids[1], parts[1])]);
        Ok(ids)
    }

    /// Judges a scan whose last page was read.
    pub(super) fn judge(&mut self, id: WindowId, window: &NewWindow, result: ScanResult<EventId>) -> Verdict<EventId> {
        let (Some(scan), Some(state)) = (self.scans.get(&id), self.windows.get_mut(&id)) else {
            return Verdict::InDoubt { reasons: vec![Reason::Check(Check::End)] };
        };
        if scan.offsets_are_rounded() && std::mem::replace(&mut self.traits.offsets_are_exact, false) {
            tracing::info!(event = "offsets_rounded", "the vendor rounds offsets to whole pages; whole pages are read");
        }
        self.traits.total_is_proven |= scan.total_is_proven();
        if !scan.applies() {
            return Verdict::Rescan { by_time: false, smaller_by: state.number, pause_secs: 0 };
        }
        let spec = &self.settings.spec;
        let covers = window.covers.to.since(window.covers.from);
        let expected = Expected {
            known: state.expected.clone(),
            expired: self.filter.expired(self.clock.now()),
            is_read_again: window.kind == WindowKind::Live && covers + spec.poll_interval <= self.scheduler.overlap(),
            is_recheck: window.kind == WindowKind::Recheck,
            doubts: self.scheduler.due_of(window).map_or(0, |due| due.doubts),
            ignored: self.settings.ignore_checks.clone(),
            by_time: by_time::may_apply(spec),
        };
        state.verdict.judge(result, &expected, &mut self.learned)
    }

    /// Scans a window again, after a pause of this window alone.
    pub(super) async fn rescan(
        &mut self,
        id: WindowId,
        (by_time, smaller_by, pause_secs): (bool, u32, u64),
    ) -> Result<(), StopReason> {
        // Sources that poll more often than once a minute have less time.
        let factor = self.settings.spec.poll_interval.as_secs_f64().min(60.0) / 60.0;
        let pause = Duration::from_secs(pause_secs).mul_f64(factor);
        tracing::debug!(event = "window_rescanned", window = id.0, by_time, "checks disagree, window is scanned again");
        let page_size = self.page_size_of(id);
        self.start_scan(id, by_time, page_size.saturating_sub(smaller_by).max(1)).await?;
        self.windows.entry(id).or_default().paused_until = Some(Instant::now() + pause);
        Ok(())
    }

    /// Reports doubt once per cause.
    pub(super) fn report_doubt(&mut self, id: WindowId, window: &NewWindow, reasons: &[Reason]) {
        let (from, to) = (window.covers.from, window.covers.to);
        let names = reasons.iter().map(Reason::as_str).collect::<Vec<_>>().join(", ");
        let is_new = reasons.iter().filter(|reason| self.reported.insert(**reason)).count() > 0;
        if is_new {
            tracing::warn!(event = "window_in_doubt", window = id.0, %from, %to, reasons = names, "the vendor's answers contradict themselves; what came is delivered, and the time is in doubt");
        } else {
            tracing::debug!(event = "window_in_doubt", window = id.0, %from, %to, reasons = names, "window is in doubt");
        }
    }

    /// A window is complete, for the time that the journal has given a state.
    pub(super) async fn complete(
        &mut self,
        id: WindowId,
        window: &NewWindow,
        covers: TimeRange,
    ) -> Result<(), StopReason> {
        self.scans.remove(&id);
        let (pages, records) = self.windows.remove(&id).map_or((0, 0), |state| (state.pages, state.records));
        let priority = self.priority_of(id, window);
        self.failing.completed(id);
        self.scheduler.completed(id, covers, self.clock.now(), records);
        if priority == Priority::Live {
            self.polls.live_completed(window, &self.settings.spec, Instant::now());
        }
        self.filter.prune(&self.scheduler.ranges_in_use());
        self.lateness.log_completed(id, window, pages, records);
        self.errors.record_success(&mut self.journal, priority, ClearedBy::Window).await
    }
}
