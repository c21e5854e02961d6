//! The loop of one source: it takes a step, then schedules the next one afresh.
//!
//! ```text
//!              +--> Begin      a window is added to the journal
//!   next_step -+--> Continue   one page of an open window is requested, then stored or its error handled
//!       ^      +--> Wait       until a pause ends, the budget allows a request, or the next poll is due
//!       |      +--> Done
//!       +--------------------------------------------------------------------------- after each
//! ```
//!
//! | Error | What follows |
//! |---|---|
//! | transient | backoff, the same page again; a smaller page after three errors that may come from its size |
//! | rate limited | the whole budget waits as long as the vendor asks, or at least the spec's default and longer each time |
//! | cursor expired | the window from its first page, once; then the window is split |
//! | page too large | half the page size, the window from its first page |
//! | permanent | reported once, retried every `error_retry_interval` |

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::clock_skew::ClockSkew;
use super::errors::{ClearedBy, SourceErrors, is_reportable};
use super::evidence::Taken;
use super::fetch::{FetchError, FetchedPage, Fetcher, request_fingerprint};
use super::filter::{ExtraRecord, FilteredPage, PageFilter};
use super::lateness::LatenessMonitor;
use super::options::SourceSettings;
use super::rate::{PageSize, Priority, RequestBudget};
use super::retrying_journal::{RetryingJournal, StopReason};
use super::scan::{PageScan, PagingTraits, WindowScans, can_resume};
use super::scheduler::{ClockMonitor, PollMonitor, WindowScheduler, Work, has_outdated};
use super::source::{CollectError, CollectMode, Source, SourceContext, SourceEnd, log_start};
use super::transport::ResponseLimits;
use super::verdict::{Expected, Learned, Reason, Verdict};
use crate::backoff::Backoff;
use crate::clock::SharedClock;
use crate::event::EventId;
use crate::journal::{
    AfterPage, Completion, CoverageState, EncodedBlock, JournalError, LatenessCounts, NewWindow, PageCommit,
    ScanProgress, ScanSpec, SourceId, SourceRegistration, SourceState, WindowEvidence, WindowId, WindowKind,
};
use crate::time::Timestamp;
use crate::vendors::{ApiError, ApiErrorKind, RecordKey, RecordOrder};

/// A time filter of this granularity or coarser cannot be split by time.
const DAY: Duration = Duration::from_secs(86_400);
/// Time in doubt is read again after this.
const FIRST_RECHECK_AFTER: Duration = Duration::from_secs(900);
/// Time that is due to be read again is asked for this often, while none is known.
const DUE_INTERVAL: Duration = Duration::from_secs(60);
/// No more ranges of due time are asked for at once.
const DUE_LIMIT: usize = 1_000;
/// No wait of the backoff is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(120);

/// Collects from one source until its end.
///
/// Errors of the vendor and full disks are retried. An error that only the user can fix is stored as the source's last
/// error and retried every `error_retry_interval`.
///
/// # Errors
/// The journal is damaged, belongs to another version, or rejects a call as invalid.
pub async fn run(source: Source, context: SourceContext) -> Result<SourceEnd, CollectError> {
    let span = tracing::error_span!("source", source = %source.name, vendor = source.settings.spec.name);
    let source_name = source.name.clone();
    match collect(source, context).instrument(span).await {
        Ok(end) => Ok(end),
        Err(StopReason::Shutdown) => Ok(SourceEnd::Shutdown),
        Err(StopReason::Journal(error)) => Err(CollectError::Journal { source_name, error }),
    }
}

async fn collect(source: Source, context: SourceContext) -> Result<SourceEnd, StopReason> {
    let backoff = Backoff::new(context.rng_seed ^ 1, LONGEST_BACKOFF);
    let mut journal = RetryingJournal::new(context.journal.clone(), backoff, context.shutdown.clone());
    let registration = SourceRegistration {
        name: source.name.clone(),
        vendor: source.settings.spec.name.to_owned(),
        normalizer_config: source.vendor.normalizer_config(),
        now: context.clock.now(),
    };
    let mut state = journal.retry(|journal| journal.open_source(registration.clone())).await?;
    if has_outdated(&source.settings, &state) {
        discard_windows(&mut journal, &mut state).await?;
    }
    log_start(&state, &registration, &source.settings);
    journal.retry(|journal| journal.set_source_error(state.id, None)).await?;
    SourceLoop::new(source, context, journal, state).run().await
}

/// Discards the open windows, since the settings no longer say what they keep.
async fn discard_windows(journal: &mut RetryingJournal, state: &mut SourceState) -> Result<(), StopReason> {
    let id = state.id;
    journal.retry(|journal| journal.discard_windows(id)).await?;
    let windows = std::mem::take(&mut state.open).len();
    tracing::info!(
        event = "windows_discarded",
        windows,
        "`backfill_start_time` or `end_time` has changed: open windows are discarded, and their time is scheduled again"
    );
    Ok(())
}

struct SourceLoop {
    id: SourceId,
    settings: SourceSettings,
    mode: CollectMode,
    clock: SharedClock,
    fetcher: Arc<Fetcher>,
    journal: RetryingJournal,
    scheduler: WindowScheduler,
    filter: PageFilter,
    scans: HashMap<WindowId, PageScan>,
    /// The scans of each open window so far.
    windows: HashMap<WindowId, WindowScans>,
    learned: Learned<EventId>,
    traits: PagingTraits,
    /// Causes of doubt that were reported since a window was last covered.
    reported: HashSet<Reason>,
    budget: RequestBudget,
    page_size: PageSize,
    backoff: Backoff,
    errors: SourceErrors,
    lateness: LatenessMonitor,
    next_poll: Instant,
    /// Scans that the last process left unfinished.
    interrupted: HashMap<WindowId, ScanProgress>,
    clock_monitor: ClockMonitor,
    polls: PollMonitor,
    /// When time that is due was asked for last.
    due_at: Option<Instant>,
    skew: ClockSkew,
}

enum Step {
    Begin(NewWindow),
    Continue(WindowId),
    Wait(Instant),
    Done,
}

impl SourceLoop {
    fn new(source: Source, context: SourceContext, journal: RetryingJournal, state: SourceState) -> Self {
        let settings = source.settings;
        let until = match context.mode {
            CollectMode::Continuous => None,
            CollectMode::Once { until } => Some(until),
        };
        let limits = ResponseLimits { timeout: settings.spec.timeout, max_body_bytes: settings.max_body_bytes };
        let clock = context.clock;
        let fetcher = Fetcher { vendor: source.vendor, transport: context.transport, clock: clock.clone(), limits };
        let now = Instant::now();
        Self {
            id: state.id,
            mode: context.mode,
            clock: clock.clone(),
            fetcher: Arc::new(fetcher),
            journal,
            scheduler: WindowScheduler::new(&settings, &state, until),
            filter: PageFilter::new(state.id, &settings.spec),
            scans: HashMap::new(),
            windows: HashMap::new(),
            learned: Learned::default(),
            traits: PagingTraits::default(),
            reported: HashSet::new(),
            budget: RequestBudget::new(&settings.spec.rate_limit),
            page_size: PageSize::new(settings.spec.page_size),
            backoff: Backoff::new(context.rng_seed, LONGEST_BACKOFF),
            errors: SourceErrors::new(state.id, clock, now),
            lateness: LatenessMonitor::new(&settings.spec),
            next_poll: now,
            interrupted: state.open.into_iter().filter_map(|open| Some((open.id, open.progress?))).collect(),
            clock_monitor: ClockMonitor::default(),
            polls: PollMonitor::default(),
            due_at: None,
            skew: ClockSkew::default(),
            settings,
        }
    }

    async fn run(mut self) -> Result<SourceEnd, StopReason> {
        loop {
            self.journal.wait_for_room().await?;
            self.cut_coverage().await?;
            self.load_due().await?;
            match self.next_step() {
                Step::Begin(window) => self.begin(window).await?,
                Step::Continue(window) => {
                    if let Some(end) = self.read_page(window).await? {
                        return Ok(end);
                    }
                }
                Step::Wait(until) => self.journal.sleep_until(until).await?,
                Step::Done => return Ok(SourceEnd::Finished),
            }
        }
    }

    /// Gives up coverage that lies ahead of the clock. Where dedup keys are gone, the journal refuses that.
    async fn cut_coverage(&mut self) -> Result<(), StopReason> {
        let (source, now, instant) = (self.id, self.clock.now(), Instant::now());
        let behind = self.scheduler.clock_behind_by(now);
        let from = self.scheduler.cut_for_clock(now).filter(|_| !self.clock_monitor.has_warned(instant));
        let Some(from) = from else {
            self.clock_monitor.check(behind, instant);
            return Ok(());
        };
        match self.journal.retry(|journal| journal.cut_coverage(source, from)).await {
            Err(StopReason::Journal(JournalError::InvalidState(_))) => {
                self.clock_monitor.check(behind, instant);
                return Ok(());
            }
            other => other?,
        }
        self.scheduler.cut(from);
        let ahead_secs = behind.as_secs_f64();
        tracing::warn!(
            event = "coverage_cut",
            %from,
            ahead_secs,
            hint = "synchronize the clock (NTP)",
            "time ahead of the clock counted as covered: it is read again"
        );
        Ok(())
    }

    /// Asks for time that is due to be read again, if none is known.
    async fn load_due(&mut self) -> Result<(), StopReason> {
        let (source, now, instant) = (self.id, self.clock.now(), Instant::now());
        let asked_lately = self.due_at.is_some_and(|at| instant.duration_since(at) < DUE_INTERVAL);
        if asked_lately || self.scheduler.has_due() {
            return Ok(());
        }
        self.due_at = Some(instant);
        let due = self.journal.retry(|journal| journal.due_rechecks(source, now, DUE_LIMIT)).await?;
        self.scheduler.recheck(&due);
        Ok(())
    }

    // --- the next step ---

    /// Live work first. If nothing can be done now, the moment at which something may be.
    fn next_step(&mut self) -> Step {
        let (now, instant) = (self.clock.now(), Instant::now());
        let poll_due = instant >= self.next_poll;
        let live = self.scheduler.next_live(now, poll_due);
        if live.is_none() && poll_due {
            self.next_poll = instant + self.until_next_check(now);
        }
        let mut wake: Vec<Instant> = self.last_poll(now, instant).into_iter().collect();
        if live.is_none() {
            wake.push(self.next_poll);
        }
        let backfill = self.scheduler.next_backfill(now);
        for (priority, budget, work) in self.polls.order(live, backfill) {
            let Some(work) = work else { continue };
            let ready = self.errors.ready_at(priority).max(self.budget.ready_at(budget, instant));
            if ready <= instant || self.is_prefetched(&work) {
                return self.step_of(work, instant);
            }
            wake.push(ready);
        }
        if self.scheduler.is_done(now) {
            return Step::Done;
        }
        Step::Wait(wake.into_iter().min().unwrap_or(self.next_poll))
    }

    fn step_of(&mut self, work: Work, instant: Instant) -> Step {
        match work {
            Work::Resume(window) => Step::Continue(window),
            Work::Begin(window) => {
                if window.kind == WindowKind::Live {
                    self.next_poll = instant + self.settings.spec.poll_interval;
                    self.polls.live_began(instant);
                }
                Step::Begin(window)
            }
        }
    }

    /// At the first start nothing is older than `delay` yet: the first live window begins as soon as something is, not a
    /// whole poll interval later.
    fn until_next_check(&self, now: Timestamp) -> Duration {
        let readable_in = self.scheduler.next_live_at().since(now);
        readable_in.min(self.settings.spec.poll_interval).max(Duration::from_millis(1))
    }

    /// A source that ends need not wait for the next poll once its end is readable.
    fn last_poll(&self, now: Timestamp, instant: Instant) -> Option<Instant> {
        let at = self.scheduler.last_poll_at()?;
        (at > now).then(|| instant + at.since(now).min(self.settings.spec.poll_interval))
    }

    fn is_prefetched(&self, work: &Work) -> bool {
        matches!(work, Work::Resume(id) if self.scans.get(id).is_some_and(PageScan::is_prefetched))
    }

    // --- windows and scans ---

    async fn begin(&mut self, window: NewWindow) -> Result<(), StopReason> {
        let source = self.id;
        let ids = self.journal.retry(|journal| journal.add_windows(source, vec![window])).await?;
        for id in ids {
            self.scheduler.opened(id, window);
        }
        Ok(())
    }

    /// Starts a scan at the first page of its window. What earlier scans have staged stays.
    async fn start_scan(&mut self, id: WindowId, by_time: bool, page_size: u32) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        let requests = self.scans.remove(&id).map_or(0, |scan| scan.requests);
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
    async fn resume_scan(&mut self, id: WindowId, progress: ScanProgress) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        let Some((last, earlier)) = progress.scans.split_last() else {
            return self.start_scan(id, false, self.page_size.current()).await;
        };
        let replayed = |(spec, pages): &(ScanSpec, Vec<Vec<u8>>)| {
            let mut scan = PageScan::begin(self.fetcher.clone(), window, spec.clone(), self.traits);
            scan.replay(pages).then_some(scan)
        };
        let same_request = can_resume(self.fetcher.vendor.as_ref(), &window, &last.0);
        let (Some(mut scan), true) = (replayed(last), same_request) else {
            let reason = "the source's settings have changed its requests";
            tracing::info!(event = "window_restarted", window = id.0, reason, "window restarts");
            return self.restart_window(id).await;
        };
        let mut state = WindowScans { number: last.0.number, ..WindowScans::default() };
        for scan in earlier.iter().filter_map(replayed) {
            state.verdict.resume(&scan.result());
        }
        // Identical records that waited for the verdict were in memory only: they are read again.
        let incomplete = !scan.has_ids() && scan.result().counts != scan.result().on_one_page;
        let over = scan.is_over();
        if over {
            state.verdict.resume(&scan.result());
        }
        let page_size = last.0.page_size;
        self.windows.insert(id, state);
        if over || incomplete {
            return self.start_scan(id, false, page_size).await;
        }
        self.scans.insert(id, scan);
        Ok(())
    }

    /// Discards what a window has stored and starts it at the first page.
    async fn restart_window(&mut self, id: WindowId) -> Result<(), StopReason> {
        let requests = self.scans.get(&id).map_or(0, |scan| scan.requests);
        self.journal.retry(|journal| journal.restart_window(id, requests)).await?;
        let restarts = self.windows.get(&id).map_or(0, |state| state.restarts);
        self.discard_scans(id);
        self.windows.insert(id, WindowScans { restarts, ..WindowScans::default() });
        self.start_scan(id, false, self.page_size.current()).await
    }

    /// Removes the scans of a window, and the seen records that only its staged pages held.
    fn discard_scans(&mut self, id: WindowId) {
        self.scans.remove(&id);
        self.windows.remove(&id);
        self.filter.clear();
    }

    async fn split(&mut self, id: WindowId, parts: [NewWindow; 2]) -> Result<(), StopReason> {
        let requests = self.scans.get(&id).map_or(0, |scan| scan.requests);
        self.journal.retry(|journal| journal.restart_window(id, requests)).await?;
        let ids = self.journal.retry(|journal| journal.split_window(id, parts)).await?;
        let at = parts[1].covers.from;
        tracing::info!(event = "window_split", window = id.0, %at, "window holds too many records and is split");
        self.discard_scans(id);
        self.scheduler.split(id, [(ids[0], parts[0]), (ids[1], parts[1])]);
        Ok(())
    }

    /// A request that carried a cursor was rejected: the window is scanned from its first page, and split if that happens
    /// again.
    async fn handle_expired_cursor(&mut self, id: WindowId, error: &ApiError) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        let state = self.windows.entry(id).or_default();
        state.restarts = state.restarts.saturating_add(1);
        let restarts = state.restarts;
        if restarts > 1
            && let Some(parts) = self.scheduler.bisect(window)
        {
            return self.split(id, parts).await;
        }
        let (wait, priority, reason) =
            (self.backoff.after_failure(restarts), Priority::of(window.kind), &error.message);
        let retry_in_secs = wait.as_secs_f64();
        tracing::debug!(event = "window_restarted", window = id.0, restarts, retry_in_secs, reason, "window restarts");
        self.errors.pause(priority, wait);
        self.start_scan(id, false, self.page_size.current()).await?;
        if !is_reportable(restarts) {
            return Ok(());
        }
        let hint = "set a shorter `backfill_slice` for this source".to_owned();
        let error = ApiError { kind: ApiErrorKind::Transient, message: reason.clone(), hint };
        self.errors.report(&mut self.journal, priority, &error, ClearedBy::Window, Some(wait)).await
    }

    /// Judges a scan whose last page was read.
    fn judge(&mut self, id: WindowId, window: &NewWindow) -> Verdict<EventId> {
        let (Some(scan), Some(state)) = (self.scans.get(&id), self.windows.get_mut(&id)) else {
            return Verdict::Covered { gone: Vec::new() };
        };
        if scan.offsets_are_rounded() && std::mem::replace(&mut self.traits.offsets_are_exact, false) {
            tracing::info!(event = "offsets_rounded", "the vendor rounds offsets to whole pages; whole pages are read");
        }
        if !scan.applies() {
            return Verdict::Rescan { by_time: false, smaller_by: state.number, pause_secs: 0 };
        }
        let spec = &self.settings.spec;
        let covers = window.covers.to.since(window.covers.from);
        let expected = Expected {
            known: state.expected.clone(),
            is_read_again: window.kind == WindowKind::Live && covers + spec.poll_interval <= spec.overlap,
            is_recheck: window.kind == WindowKind::Recheck,
            found: state.found,
            doubts: 0,
            by_time: spec.time_granularity < DAY && spec.order != RecordOrder::Unknown,
        };
        state.verdict.judge(scan.result(), &expected, &mut self.learned)
    }

    /// Scans a window again, after a pause.
    async fn rescan(
        &mut self,
        id: WindowId,
        window: &NewWindow,
        (by_time, smaller_by, pause_secs): (bool, u32, u64),
    ) -> Result<(), StopReason> {
        // Sources that poll more often than once a minute have less time.
        let factor = self.settings.spec.poll_interval.as_secs_f64().min(60.0) / 60.0;
        let pause = Duration::from_secs(pause_secs).mul_f64(factor);
        tracing::debug!(event = "window_rescanned", window = id.0, by_time, "checks disagree, window is scanned again");
        self.errors.pause(Priority::of(window.kind), pause);
        let page_size = self.page_size.current();
        self.start_scan(id, by_time, page_size.saturating_sub(smaller_by).max(1)).await
    }

    /// Reports doubt once per cause.
    fn report_doubt(&mut self, id: WindowId, window: &NewWindow, reasons: &[Reason]) {
        let (from, to) = (window.covers.from, window.covers.to);
        let names = reasons.iter().map(Reason::as_str).collect::<Vec<_>>().join(", ");
        let is_new = reasons.iter().filter(|reason| self.reported.insert(**reason)).count() > 0;
        if is_new {
            tracing::warn!(event = "window_in_doubt", window = id.0, %from, %to, reasons = names, "the vendor's answers contradict themselves; what came is delivered, and the time is in doubt");
        } else {
            tracing::debug!(event = "window_in_doubt", window = id.0, %from, %to, reasons = names, "window is in doubt");
        }
    }

    async fn complete(&mut self, id: WindowId, window: &NewWindow) -> Result<(), StopReason> {
        self.scans.remove(&id);
        let (pages, records) = self.windows.remove(&id).map_or((0, 0), |state| (state.pages, state.records));
        self.page_size.window_completed();
        self.scheduler.completed(id, window.covers, self.clock.now(), records);
        if window.kind == WindowKind::Live {
            self.polls.live_completed(window, &self.settings.spec, Instant::now());
        }
        self.filter.prune(&self.scheduler.ranges_in_use());
        self.lateness.log_completed(id, window, pages, records);
        self.errors.record_success(&mut self.journal, Priority::of(window.kind), ClearedBy::Window).await
    }

    // --- one page ---

    /// Makes one attempt at the next page of a window.
    async fn read_page(&mut self, id: WindowId) -> Result<Option<SourceEnd>, StopReason> {
        if !self.scans.contains_key(&id) {
            match self.interrupted.remove(&id) {
                Some(progress) => self.resume_scan(id, progress).await?,
                None => self.start_scan(id, false, self.page_size.current()).await?,
            }
        }
        let Some(scan) = self.scans.get_mut(&id) else { return Ok(None) };
        self.polls.page_requested(scan.window().kind);
        if !scan.is_prefetched() {
            self.budget.take(Instant::now());
        }
        match self.journal.unless_shut_down(scan.attempt()).await? {
            Ok(page) => self.handle_page(id, page).await.map(|()| None),
            Err(error) => self.handle_error(id, error).await,
        }
    }

    /// Stores a page, or splits or repeats its window.
    async fn handle_page(&mut self, id: WindowId, page: FetchedPage) -> Result<(), StopReason> {
        let Some(window) = self.scans.get(&id).map(PageScan::window) else { return Ok(()) };
        let priority = Priority::of(window.kind);
        self.errors.record_success(&mut self.journal, priority, ClearedBy::Page).await?;
        let Some(scan) = self.scans.get(&id) else { return Ok(()) };
        if scan.is_deeper_than(self.settings.spec.max_window_records) {
            if let Some(parts) = self.scheduler.bisect(window) {
                return self.split(id, parts).await;
            }
            let records = scan.records_read();
            tracing::debug!(event = "window_too_deep", window = id.0, records, "window cannot be split");
        }
        self.report_damaged(id, page.damaged);
        if let Some(vendor_time) = page.vendor_time {
            self.skew.record(vendor_time, page.observed_at);
            self.clock_monitor.check_skew(self.skew.millis(), self.settings.spec.delay, Instant::now());
        }
        let normalizer = self.fetcher.vendor.normalizer();
        let keys: Vec<RecordKey> = page.records().map(|raw| normalizer.key_of(raw)).collect();
        if self.windows.get(&id).is_some_and(|state| state.pages == 0) {
            let expected = self.filter.expected(&mut self.journal, &window, self.clock.now()).await?;
            self.windows.entry(id).or_default().expected = expected;
        }
        let (Some(scan), Some(state)) = (self.scans.get_mut(&id), self.windows.get_mut(&id)) else { return Ok(()) };
        let (taken, evidence) = scan.take(&page, &keys);
        state.note_page(&page, &keys, taken, scan.has_ids());
        let over = scan.is_over();
        if !over {
            self.prefetch(id, priority);
        }
        let verdict = over.then(|| self.judge(id, &window));
        let extra = self.extra_records(id, verdict.as_ref());
        let filtered = self.filter.filter(&mut self.journal, (&page, &keys), (id, &window), taken, &extra).await?;
        let FilteredPage { block, stored, new_times } = filtered;
        if let (Some(scan), Some(state)) = (self.scans.get_mut(&id), self.windows.get_mut(&id)) {
            state.found += stored as u64;
            let covered = |at| self.scheduler.is_covered(at);
            self.lateness.record_page(&window, page.observed_at, &new_times, covered, &mut scan.lateness);
        }
        let verdict = self.found_by_recheck(id, &window, verdict);
        let then = self.after_page(id, &window, verdict.as_ref());
        self.commit_page(id, evidence, block, then).await?;
        let records = page.records().len();
        tracing::debug!(event = "page_stored", window = id.0, records, stored, "page stored");
        match verdict {
            None => Ok(()),
            Some(Verdict::Rescan { by_time, smaller_by, pause_secs }) => {
                self.rescan(id, &window, (by_time, smaller_by, pause_secs)).await
            }
            Some(Verdict::Covered { .. }) => {
                self.reported.clear();
                self.complete(id, &window).await
            }
            Some(Verdict::InDoubt { reasons }) => {
                self.report_doubt(id, &window, &reasons);
                self.complete(id, &window).await
            }
        }
    }

    /// Identical records on several pages, once the scan has proved that they exist.
    fn extra_records(&self, id: WindowId, verdict: Option<&Verdict<EventId>>) -> Vec<ExtraRecord> {
        let (Some(scan), Some(state)) = (self.scans.get(&id), self.windows.get(&id)) else { return Vec::new() };
        if verdict.is_none() || scan.has_ids() {
            return Vec::new();
        }
        let mut extra = Vec::new();
        for (id, held) in &state.held {
            let on_one_page = scan.result().on_one_page.get(id).copied().unwrap_or(0);
            let count = state.verdict.union().get(id).copied().unwrap_or(0);
            for number in on_one_page..count {
                let occurrence = u32::try_from(number).unwrap_or(u32::MAX);
                extra.push(ExtraRecord { raw: held.raw.clone(), key: held.key, occurrence });
            }
        }
        extra
    }

    /// A recheck that finds new records puts its time in doubt, although its scan agrees.
    fn found_by_recheck(
        &self,
        id: WindowId,
        window: &NewWindow,
        verdict: Option<Verdict<EventId>>,
    ) -> Option<Verdict<EventId>> {
        let found = self.windows.get(&id).is_some_and(|state| state.found > 0);
        match verdict {
            Some(Verdict::Covered { .. })
                if found && window.kind == WindowKind::Recheck && !window.covers.is_empty() =>
            {
                Some(Verdict::InDoubt { reasons: vec![Reason::Found] })
            }
            other => other,
        }
    }

    /// What follows a page: another one, or the end of its window.
    fn after_page(&self, id: WindowId, window: &NewWindow, verdict: Option<&Verdict<EventId>>) -> AfterPage {
        let (state, reasons, gone) = match verdict {
            None | Some(Verdict::Rescan { .. }) => return AfterPage::Continue,
            Some(Verdict::Covered { gone }) => (CoverageState::Covered, Vec::new(), gone.len() as u64),
            Some(Verdict::InDoubt { reasons }) => {
                let names = reasons.iter().map(|reason| reason.as_str().to_owned()).collect();
                (CoverageState::InDoubt, names, 0)
            }
        };
        let at = self.clock.now();
        let next_recheck_at = (state == CoverageState::InDoubt).then(|| at + FIRST_RECHECK_AFTER);
        let mut evidence = self.evidence_of(id, window, gone);
        evidence.checks.clone_from(&reasons);
        AfterPage::Complete(Completion { at, state, reasons, covers: window.covers, next_recheck_at, evidence })
    }

    fn evidence_of(&self, id: WindowId, window: &NewWindow, gone: u64) -> WindowEvidence {
        let (Some(scan), Some(state)) = (self.scans.get(&id), self.windows.get(&id)) else {
            return WindowEvidence::default();
        };
        let (first_total, last_total) = scan.totals();
        WindowEvidence {
            pages: state.pages,
            requests: state.requests + scan.requests,
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
            skew_millis: 0,
        }
    }

    /// Reports the first page of a window with records that are not valid JSON.
    fn report_damaged(&mut self, id: WindowId, records: u32) {
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
    fn prefetch(&mut self, id: WindowId, priority: Priority) {
        let now = Instant::now();
        let is_next = priority == Priority::Live || now < self.next_poll;
        let ready = self.errors.ready_at(priority).max(self.budget.ready_at(priority, now)) <= now;
        if let Some(scan) = self.scans.get_mut(&id).filter(|_| is_next && ready && self.journal.has_room()) {
            self.budget.take(now);
            scan.prefetch();
        }
    }

    async fn commit_page(
        &mut self,
        id: WindowId,
        evidence: Vec<u8>,
        block: Option<EncodedBlock>,
        then: AfterPage,
    ) -> Result<(), StopReason> {
        let Some(scan) = self.scans.get_mut(&id) else { return Ok(()) };
        let requests = std::mem::take(&mut scan.requests);
        let ends = matches!(then, AfterPage::Complete(_));
        let lateness = if ends { std::mem::take(&mut scan.lateness) } else { LatenessCounts::default() };
        if let Some(state) = self.windows.get_mut(&id) {
            state.requests += requests;
        }
        let commit = PageCommit { window: id, block, requests, lateness, evidence, then };
        self.journal.retry(|journal| journal.commit_page(commit.clone())).await
    }

    // --- errors ---

    /// Handles a failed attempt. Returns the end of the source if it must not continue.
    async fn handle_error(&mut self, id: WindowId, failed: FetchError) -> Result<Option<SourceEnd>, StopReason> {
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

    async fn reduce_page_size(&mut self, id: WindowId, page_size: u32, error: &ApiError) -> Result<(), StopReason> {
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
    async fn back_off(
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
    async fn stop(&mut self, priority: Priority, error: ApiError) -> Result<Option<SourceEnd>, StopReason> {
        let error = ApiError { kind: ApiErrorKind::Permanent, ..error };
        let ends = matches!(self.mode, CollectMode::Once { .. });
        let (_, wait) = self.errors.record_failure(priority, &error, |_| self.settings.error_retry_interval);
        self.errors.pause(priority, wait);
        self.errors.report(&mut self.journal, priority, &error, ClearedBy::Page, (!ends).then_some(wait)).await?;
        Ok(ends.then_some(SourceEnd::Stopped(error)))
    }
}
