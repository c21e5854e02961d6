//! One page of the loop of a source: read, judged, filtered, stored.

use tokio::time::Instant;

use super::super::by_id::IdMap;
use super::super::clock_skew::Moment;
use super::super::errors::ClearedBy;
use super::super::fetch::FetchedPage;
use super::super::filter::{ExtraRecord, FilteredPage};
use super::super::learned;
use super::super::rate::{Priority, SharedBudget};
use super::super::recheck::{self, Reading};
use super::super::retrying_journal::{RetryingJournal, StopReason};
use super::super::scan::PageScan;
use super::super::scheduler::is_due_recheck;
use super::super::source::SourceEnd;
use super::super::verdict::{Reason, Verdict};
use super::SourceLoop;
use crate::event::EventId;
use crate::journal::{
    AfterPage, Completion, CoverageState, EncodedBlock, LatenessCounts, NewWindow, PageCommit, WindowEvidence,
    WindowId, WindowKind,
};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::RecordKey;

/// Waits until the budget allows a request, and takes it. What it leaves to live polls was considered before.
pub(super) async fn take_request(budget: &SharedBudget, journal: &RetryingJournal) -> Result<(), StopReason> {
    while let Err(ready) = budget.try_take(Priority::Live, Instant::now()) {
        journal.sleep_until(ready).await?;
    }
    Ok(())
}

impl SourceLoop {
    /// Makes one attempt at the next page of a window.
    pub(super) async fn read_page(&mut self, id: WindowId) -> Result<Option<SourceEnd>, StopReason> {
        if !self.scans.contains_key(&id) {
            match self.interrupted.remove(&id) {
                Some(progress) => self.resume_scan(id, progress).await?,
                None => self.start_scan(id, false, self.first_page_size(id)).await?,
            }
        }
        let Some(scan) = self.scans.get_mut(&id) else { return Ok(None) };
        self.polls.page_requested(scan.window().kind);
        if is_due_recheck(&scan.window()) {
            // A part of it is free, or the page is prefetched.
            let _ = self.recheck_budget.try_take(Priority::Live, Instant::now());
        }
        if !scan.is_prefetched() {
            take_request(&self.budget, &self.journal).await?;
        }
        match self.journal.unless_shut_down(scan.attempt()).await? {
            Ok(page) => self.handle_page(id, page).await.map(|()| None),
            Err(error) => self.handle_error(id, error).await,
        }
    }

    /// A recheck reads with another page size than the scans before: what is wrong about a page may be cached.
    fn first_page_size(&self, id: WindowId) -> u32 {
        let is_recheck = self.scheduler.window_of(id).is_some_and(|window| is_due_recheck(&window));
        (self.page_size_of(id) - u32::from(is_recheck)).max(1)
    }

    /// Stores a page, or splits or repeats its window.
    pub(super) async fn handle_page(&mut self, id: WindowId, page: FetchedPage) -> Result<(), StopReason> {
        let Some(window) = self.scans.get(&id).map(PageScan::window) else { return Ok(()) };
        let priority = self.priority_of(id, &window);
        self.failing.page_read(id);
        self.errors.record_success(&mut self.journal, priority, ClearedBy::Page).await?;
        let Some(scan) = self.scans.get(&id) else { return Ok(()) };
        let staged_bytes = self.windows.get(&id).map_or(0, |state| state.staged_bytes);
        if scan.is_deeper_than(self.settings.spec.max_window_records) || staged_bytes > self.max_staged_bytes {
            if let Some(parts) = self.scheduler.bisect(window) {
                let reason = "it holds too many records";
                return self.split(id, parts, reason).await.map(drop);
            }
            let records = scan.records_read();
            tracing::debug!(event = "window_too_deep", window = id.0, records, "window cannot be split");
        }
        self.report_damaged(id, page.damaged);
        if let Some(vendor_time) = page.vendor_time {
            let received = Moment { time: page.observed_at, instant: page.received };
            self.skew.record(vendor_time, received);
            let behind = self.skew.behind(self.moment());
            self.scheduler.set_clock_behind(behind);
            self.clock_monitor.check_skew(behind, self.settings.spec.delay, Instant::now());
        }
        let normalizer = self.fetcher.vendor.normalizer();
        let keys: Vec<RecordKey> = page.records().map(|raw| normalizer.key_of(raw)).collect();
        if self.windows.get(&id).is_some_and(|state| state.pages == 0) {
            let expected = self.filter.expected(&mut self.journal, &window, self.clock.now()).await?;
            self.windows.entry(id).or_default().expected = expected;
        }
        let (Some(scan), Some(state)) = (self.scans.get_mut(&id), self.windows.get_mut(&id)) else { return Ok(()) };
        let (taken, mut evidence) = scan.take(&page, &keys);
        evidence.held = state.note_page(&page, &keys, taken, scan.has_ids());
        let (over, by_piece) = (scan.is_over(), scan.is_by_piece());
        let result = (over && !by_piece).then(|| scan.result());
        if !over {
            self.prefetch(id, priority);
        }
        let is_numbered = !self.settings.spec.has_ids;
        let on_one_page = result.as_ref().filter(|_| is_numbered).and_then(|result| result.on_one_page.clone());
        let verdict = result.map(|result| self.judge(id, &window, result));
        let extra = on_one_page.map_or_else(Vec::new, |on_one_page| self.extra_records(id, &on_one_page));
        let filtered = self.filter.filter(&mut self.journal, (&page, keys), (id, &window), taken, &extra).await?;
        let FilteredPage { block, stored, new_times } = filtered;
        let overlap = self.scheduler.overlap();
        evidence.found = !new_times.is_empty();
        if let (Some(scan), Some(state)) = (self.scans.get_mut(&id), self.windows.get_mut(&id)) {
            state.found += new_times.len() as u64;
            state.staged_bytes += block.as_ref().map_or(0, |block| (block.data.len() + block.keys.len()) as u64);
            let covered = |at| self.scheduler.is_covered(at);
            self.lateness.record_page(&window, page.observed_at, &new_times, overlap, covered, &mut scan.lateness);
        }
        let verdict = self.found_by_recheck(id, &window, verdict);
        let covers = self.decided(&window);
        let then = self.after_page(id, &window, covers, verdict.as_ref());
        self.commit_page(id, evidence.encode(), block, then).await?;
        let records = page.records().len();
        tracing::debug!(event = "page_stored", window = id.0, records, stored, "page stored");
        match verdict {
            None if over => self.end_pieces(id, &window).await,
            None => Ok(()),
            Some(Verdict::Rescan { by_time, smaller_by, pause_secs }) => {
                self.rescan(id, (by_time, smaller_by, pause_secs)).await
            }
            Some(Verdict::Covered { .. }) => {
                self.reported.clear();
                self.complete(id, &window, covers).await
            }
            Some(Verdict::InDoubt { reasons }) => {
                self.report_doubt(id, &window, &reasons);
                self.complete(id, &window, covers).await
            }
        }
    }

    /// Identical records on several pages, once the scan has proved that they exist.
    fn extra_records(&self, id: WindowId, on_one_page: &IdMap<EventId, usize>) -> Vec<ExtraRecord> {
        let Some(state) = self.windows.get(&id) else { return Vec::new() };
        let mut extra = Vec::new();
        for (id, held) in &state.held {
            let on_one_page = on_one_page.get(id).copied().unwrap_or(0);
            let count = state.verdict.union().get(id).copied().unwrap_or(0);
            for number in on_one_page..count {
                let occurrence = u32::try_from(number).unwrap_or(u32::MAX);
                extra.push(ExtraRecord { raw: held.raw.clone(), key: held.key, occurrence });
            }
        }
        extra
    }

    /// A recheck that finds new records in covered time puts it in doubt, although its scan agrees.
    pub(super) fn found_by_recheck(
        &self,
        id: WindowId,
        window: &NewWindow,
        verdict: Option<Verdict<EventId>>,
    ) -> Option<Verdict<EventId>> {
        let found = self.windows.get(&id).is_some_and(|state| state.found > 0);
        let was_covered = self.scheduler.due_of(window).is_some_and(|due| due.state == CoverageState::Covered);
        match verdict {
            Some(Verdict::Covered { .. }) if found && was_covered => {
                Some(Verdict::InDoubt { reasons: vec![Reason::Found] })
            }
            other => other,
        }
    }

    /// What follows a page: another one, or the end of its window.
    pub(super) fn after_page(
        &self,
        id: WindowId,
        window: &NewWindow,
        covers: TimeRange,
        verdict: Option<&Verdict<EventId>>,
    ) -> AfterPage {
        let (state, reasons, gone) = match verdict {
            None | Some(Verdict::Rescan { .. }) => return AfterPage::Continue,
            Some(Verdict::Covered { gone }) => (CoverageState::Covered, Vec::new(), gone.len() as u64),
            Some(Verdict::InDoubt { reasons }) => {
                let names = reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
                (CoverageState::InDoubt, names, 0)
            }
        };
        let next_recheck_at = self.next_recheck_at(id, window, verdict);
        let mut evidence = self.evidence_of(id, window, gone);
        evidence.checks.clone_from(&reasons);
        let at = self.clock.now();
        let learned = self.newly_learned();
        AfterPage::Complete(Completion { at, state, reasons, covers, next_recheck_at, evidence, learned })
    }

    /// What the journal does not hold yet of what was learned.
    pub(super) fn newly_learned(&self) -> Option<String> {
        Some(learned::stored(&self.learned, self.traits)).filter(|learned| *learned != self.learned_before)
    }

    /// The time that a verdict is about: nothing beyond the source's clock, which may be known only since the window was
    /// opened.
    pub(super) fn decided(&self, window: &NewWindow) -> TimeRange {
        let covers = window.covers;
        if window.kind == WindowKind::Recheck {
            return covers;
        }
        TimeRange::new(covers.from, covers.to.min(self.now() - self.settings.spec.delay).max(covers.from))
    }

    /// When the time of a window is read again.
    pub(super) fn next_recheck_at(
        &self,
        id: WindowId,
        window: &NewWindow,
        verdict: Option<&Verdict<EventId>>,
    ) -> Option<Timestamp> {
        let state = self.windows.get(&id)?;
        let is_empty = state.verdict.union().is_empty() && state.expected.is_empty();
        recheck::next(&self.reading(window, is_empty), verdict, &self.settings)
    }

    /// When time that could not be read is read again.
    pub(super) fn next_try_at(&self, id: WindowId, window: &NewWindow) -> Option<Timestamp> {
        let stays_covered = self.scheduler.due_of(window).is_some_and(|due| due.state == CoverageState::Covered);
        if stays_covered {
            let verdict = Verdict::<EventId>::Covered { gone: Vec::new() };
            return recheck::next(&self.reading(window, true), Some(&verdict), &self.settings);
        }
        self.next_recheck_at(id, window, Some(&Verdict::InDoubt { reasons: Vec::new() }))
    }

    fn reading(&self, window: &NewWindow, is_empty: bool) -> Reading {
        Reading {
            at: self.clock.now(),
            covers: window.covers,
            before: self.scheduler.due_of(window).map(|due| (due.doubts, due.completed_at)),
            is_empty,
            distrusts_total: self.learned.distrusts_total(),
        }
    }

    pub(super) fn evidence_of(&self, id: WindowId, window: &NewWindow, gone: u64) -> WindowEvidence {
        let (Some(scan), Some(state)) = (self.scans.get(&id), self.windows.get(&id)) else {
            return WindowEvidence::default();
        };
        let (first_total, last_total) = scan.totals();
        WindowEvidence {
            pages: state.pages,
            requests: state.requests + scan.requests.total(),
            records_read: state.records,
            keys: state.verdict.union().len() as u64,
            scans: state.number,
            first_total,
            last_total,
            shift: scan.shift(),
            gone,
            ended_by: if scan.spec().by_time { "time" } else { "pages" }.to_owned(),
            checks: Vec::new(),
            kept: window.kept,
            settings_hash: scan.spec().request_fingerprint.clone(),
            skew_millis: self.skew.millis(self.moment()).unwrap_or(0),
        }
    }

    /// Reports the first page of a window with records that are not valid JSON.
    pub(super) fn report_damaged(&mut self, id: WindowId, records: u32) {
        if records == 0 || std::mem::replace(&mut self.windows.entry(id).or_default().damaged_reported, true) {
            return;
        }
        tracing::warn!(
            event = "records_damaged",
            window = id.0,
            records,
            "records of a page are not valid JSON; they are delivered with normalize_error and their bytes in raw"
        );
    }

    /// Requests the next page while this one is stored, if that is what would come next and the budget allows it now.
    pub(super) fn prefetch(&mut self, id: WindowId, priority: Priority) {
        let now = Instant::now();
        let is_next = priority == Priority::Live || now < self.next_poll;
        let is_limited =
            |scan: &PageScan| is_due_recheck(&scan.window()) && self.recheck_budget.ready_at(priority, now) > now;
        let can_wait = self.scans.get(&id).is_none_or(is_limited);
        let ready = is_next && !can_wait && self.errors.ready_at(priority) <= now && self.journal.has_room();
        if let Some(scan) = self.scans.get_mut(&id).filter(|_| ready)
            && self.budget.try_take(priority, now).is_ok()
        {
            scan.prefetch();
        }
    }

    pub(super) async fn commit_page(
        &mut self,
        id: WindowId,
        evidence: Vec<u8>,
        block: Option<EncodedBlock>,
        then: AfterPage,
    ) -> Result<(), StopReason> {
        let Some(scan) = self.scans.get_mut(&id) else { return Ok(()) };
        let requests = std::mem::take(&mut scan.requests);
        let ends = matches!(then, AfterPage::Complete(_));
        if let AfterPage::Complete(Completion { learned: Some(learned), .. }) = &then {
            self.learned_before.clone_from(learned);
        }
        let lateness = if ends { std::mem::take(&mut scan.lateness) } else { LatenessCounts::default() };
        if let Some(state) = self.windows.get_mut(&id) {
            state.requests += requests.total();
        }
        let commit = PageCommit { window: id, block, requests, lateness, evidence, then };
        self.journal.retry(|journal| journal.commit_page(commit.clone())).await
    }
}
