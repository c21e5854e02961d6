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
//! | cursor expired, paging loop | backoff, the window from its first page |
//! | page too large | half the page size, the window from its first page |
//! | permanent | reported once, retried every `error_retry_interval` |

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::errors::{ClearedBy, SourceErrors, is_reportable};
use super::fetch::{FetchError, FetchedPage, Fetcher};
use super::filter::{FilteredPage, PageFilter};
use super::interrupted::InterruptedScan;
use super::lateness::LatenessMonitor;
use super::options::SourceSettings;
use super::rate::{PageSize, Priority, RequestBudget};
use super::retrying_journal::{RetryingJournal, StopReason};
use super::scan::{PageScan, ScanHistory, ScanSetup, ScanVerdict, cursor_to_resume};
use super::scheduler::{ClockMonitor, WindowScheduler, Work};
use super::source::{CollectError, CollectMode, Source, SourceContext, SourceEnd, log_start};
use super::transport::ResponseLimits;
use crate::backoff::Backoff;
use crate::clock::SharedClock;
use crate::journal::{
    EncodedBlock, LatenessCounts, NewWindow, OpenWindow, PageCommit, SourceId, SourceRegistration, SourceState,
    WindowId, WindowKind,
};
use crate::time::Timestamp;
use crate::vendors::{ApiError, ApiErrorKind};

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
    let state = journal.retry(|journal| journal.open_source(registration.clone())).await?;
    log_start(&state, &registration, &source.settings);
    journal.retry(|journal| journal.set_source_error(state.id, None)).await?;
    SourceLoop::new(source, context, journal, state).run().await
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
    histories: HashMap<WindowId, ScanHistory>,
    budget: RequestBudget,
    page_size: PageSize,
    backoff: Backoff,
    errors: SourceErrors,
    lateness: LatenessMonitor,
    next_poll: Instant,
    /// Scans that the last process left unfinished.
    interrupted: HashMap<WindowId, InterruptedScan>,
    polled_before: bool,
    clock_monitor: ClockMonitor,
}

fn interrupted(open: OpenWindow) -> Option<(WindowId, InterruptedScan)> {
    Some((open.id, InterruptedScan::of(&open.progress?)?))
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
            filter: PageFilter::new(state.id, &settings, state.first_started_at),
            scans: HashMap::new(),
            histories: HashMap::new(),
            budget: RequestBudget::new(&settings.spec.rate_limit),
            page_size: PageSize::new(settings.spec.page_size),
            backoff: Backoff::new(context.rng_seed, LONGEST_BACKOFF),
            errors: SourceErrors::new(state.id, clock, now),
            lateness: LatenessMonitor::new(&settings.spec),
            next_poll: now,
            interrupted: state.open.into_iter().filter_map(interrupted).collect(),
            polled_before: false,
            clock_monitor: ClockMonitor::default(),
            settings,
        }
    }

    async fn run(mut self) -> Result<SourceEnd, StopReason> {
        loop {
            self.journal.wait_for_room().await?;
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

    // --- the next step ---

    /// Live work first. If nothing can be done now, the moment at which something may be.
    fn next_step(&mut self) -> Step {
        let (now, instant) = (self.clock.now(), Instant::now());
        self.clock_monitor.check(self.scheduler.clock_behind_by(now), instant);
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
        for (priority, work) in [(Priority::Live, live), (Priority::Backfill, backfill)] {
            let Some(work) = work else { continue };
            let ready = self.errors.ready_at(priority).max(self.budget.ready_at(priority, instant));
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

    /// Starts a scan at the first page of its window, or where it was interrupted.
    fn start_scan(&mut self, id: WindowId, progress: Option<InterruptedScan>) {
        let Some(window) = self.scheduler.window_of(id) else { return };
        let setup = ScanSetup {
            window,
            page_size: self.page_size.current(),
            can_be_split: self.scheduler.bisect(window).is_some(),
            max_records: self.settings.spec.max_window_records,
        };
        self.scans.insert(id, PageScan::begin(self.fetcher.clone(), setup, progress));
    }

    /// Continues a scan of the last process, or restarts it if the request has changed since.
    async fn resume_scan(&mut self, id: WindowId, progress: InterruptedScan) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        if cursor_to_resume(self.fetcher.vendor.as_ref(), &window, &progress).is_some() {
            self.start_scan(id, Some(progress));
            return Ok(());
        }
        let reason = "the source's settings have changed its requests";
        tracing::info!(event = "window_restarted", window = id.0, reason, "window restarts");
        self.restart_scan(id).await
    }

    /// Discards what a scan has stored and starts it at the first page.
    async fn restart_scan(&mut self, id: WindowId) -> Result<(), StopReason> {
        let requests = self.scans.get(&id).map_or(0, |scan| scan.requests);
        self.journal.retry(|journal| journal.restart_window(id, requests)).await?;
        self.discard_scan(id);
        self.start_scan(id, None);
        Ok(())
    }

    /// Removes a scan, and the seen records that only its staged pages held.
    fn discard_scan(&mut self, id: WindowId) {
        self.scans.remove(&id);
        self.filter.clear();
    }

    async fn split(&mut self, id: WindowId, parts: [NewWindow; 2]) -> Result<(), StopReason> {
        let requests = self.scans.get(&id).map_or(0, |scan| scan.requests);
        self.journal.retry(|journal| journal.restart_window(id, requests)).await?;
        let ids = self.journal.retry(|journal| journal.split_window(id, parts)).await?;
        let at = parts[1].covers.from;
        tracing::info!(event = "window_split", window = id.0, %at, "window holds too many records and is split");
        self.discard_scan(id);
        self.scheduler.split(id, [(ids[0], parts[0]), (ids[1], parts[1])]);
        Ok(())
    }

    /// Whether a scan that has ended counts; if not, it is repeated.
    async fn accept_scan(&mut self, id: WindowId) -> Result<bool, StopReason> {
        let Some(scan) = self.scans.get(&id) else { return Ok(false) };
        match self.histories.entry(id).or_default().judge(scan) {
            ScanVerdict::Accept => Ok(true),
            ScanVerdict::AcceptInDoubt(reason) => {
                tracing::warn!(event = "window_in_doubt", window = id.0, reason, "window may lack records");
                Ok(true)
            }
            ScanVerdict::Rescan(reason) => {
                tracing::debug!(event = "window_rescanned", window = id.0, reason, "window is scanned again");
                self.repeat_scan(id, &format!("a window is scanned again: {reason}")).await?;
                Ok(false)
            }
        }
    }

    /// Scans a window again from its first page, after a wait that grows each time.
    async fn repeat_scan(&mut self, id: WindowId, reason: &str) -> Result<(), StopReason> {
        let Some(window) = self.scheduler.window_of(id) else { return Ok(()) };
        let history = self.histories.entry(id).or_default();
        history.restarts = history.restarts.saturating_add(1);
        let restarts = history.restarts;
        let wait = self.backoff.after_failure(restarts);
        let retry_in_secs = wait.as_secs_f64();
        tracing::debug!(event = "window_restarted", window = id.0, restarts, retry_in_secs, reason, "window restarts");
        let priority = Priority::of(window.kind);
        self.errors.pause(priority, wait);
        self.restart_scan(id).await?;
        if !is_reportable(restarts) {
            return Ok(());
        }
        let hint = "set a shorter `backfill_slice` or a longer `delay` for this source".to_owned();
        let error = ApiError { kind: ApiErrorKind::Transient, message: reason.to_owned(), hint };
        self.errors.report(&mut self.journal, priority, &error, ClearedBy::Window, Some(wait)).await
    }

    async fn complete(&mut self, id: WindowId, window: &NewWindow) -> Result<(), StopReason> {
        let (pages, records) = self.scans.remove(&id).map_or((0, 0), |scan| (scan.pages_read(), scan.records_read()));
        self.histories.remove(&id);
        self.page_size.window_completed();
        self.scheduler.completed(id, self.clock.now(), records);
        self.filter.prune(&self.scheduler.ranges_in_use());
        self.log_completed(id, window, pages, records);
        self.errors.record_success(&mut self.journal, Priority::of(window.kind), ClearedBy::Window).await
    }

    fn log_completed(&mut self, id: WindowId, window: &NewWindow, pages: u64, records: u64) {
        let (window, kind, from, to) = (id.0, window.kind, window.fetch_range.from, window.fetch_range.to);
        let first_poll = kind == WindowKind::Live && !std::mem::replace(&mut self.polled_before, true);
        if first_poll || kind == WindowKind::Backfill {
            tracing::info!(event = "window_completed", window, ?kind, %from, %to, pages, records, "window completed");
        } else {
            let max_lateness_secs = self.lateness.greatest().as_secs_f64();
            tracing::debug!(event = "window_completed", window, ?kind, %from, %to, pages, records, max_lateness_secs, "window completed");
        }
    }

    // --- one page ---

    /// Makes one attempt at the next page of a window.
    async fn read_page(&mut self, id: WindowId) -> Result<Option<SourceEnd>, StopReason> {
        if !self.scans.contains_key(&id) {
            match self.interrupted.remove(&id) {
                Some(progress) => self.resume_scan(id, progress).await?,
                None => self.start_scan(id, None),
            }
        }
        let Some(scan) = self.scans.get_mut(&id) else { return Ok(None) };
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
        let Some(window) = self.scans.get(&id).map(|scan| scan.window) else { return Ok(()) };
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
        let last = page.next.is_none();
        if !last {
            self.prefetch(id, priority);
        }
        let occurrences = self.scans.get_mut(&id).and_then(|scan| scan.occurrences.as_mut());
        let vendor = self.fetcher.vendor.as_ref();
        let filtered =
            self.filter.filter(&mut self.journal, &page, (id, &window), vendor.normalizer(), occurrences).await?;
        let FilteredPage { block, stored, new_times } = filtered;
        if last && !self.accept_scan(id).await? {
            return Ok(());
        }
        if let Some(scan) = self.scans.get_mut(&id) {
            let covered = |at| self.scheduler.is_covered(at);
            self.lateness.record_page(&window, page.observed_at, &new_times, covered, &mut scan.lateness);
        }
        self.commit_page(id, &page, block).await?;
        let records = page.records().len();
        tracing::debug!(event = "page_stored", window = id.0, records, stored, "page stored");
        if last { self.complete(id, &window).await } else { Ok(()) }
    }

    /// Reports the first page of a window with records that are not valid JSON.
    fn report_damaged(&mut self, id: WindowId, records: u32) {
        if records == 0 || std::mem::replace(&mut self.histories.entry(id).or_default().damaged_reported, true) {
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
        page: &FetchedPage,
        block: Option<EncodedBlock>,
    ) -> Result<(), StopReason> {
        let at = self.clock.now();
        let Some(scan) = self.scans.get_mut(&id) else { return Ok(()) };
        let requests = std::mem::take(&mut scan.requests);
        let lateness = if page.next.is_none() { std::mem::take(&mut scan.lateness) } else { LatenessCounts::default() };
        let (then, evidence) = scan.after_page(page.next.as_deref(), at);
        if !std::mem::replace(&mut scan.begun, true) && page.next.is_some() {
            let spec = scan.spec();
            self.journal.retry(|journal| journal.begin_scan(id, spec.clone(), 0)).await?;
        }
        let commit = PageCommit { window: id, block, requests, lateness, evidence, then };
        self.journal.retry(|journal| journal.commit_page(commit.clone())).await
    }

    // --- errors ---

    /// Handles a failed attempt. Returns the end of the source if it must not continue.
    async fn handle_error(&mut self, id: WindowId, failed: FetchError) -> Result<Option<SourceEnd>, StopReason> {
        let FetchError { error, retry_after, must_restart, .. } = failed;
        let Some(scan) = self.scans.get(&id) else { return Ok(None) };
        let priority = Priority::of(scan.window.kind);
        if must_restart || error.kind == ApiErrorKind::CursorExpired {
            return self.repeat_scan(id, &error.message).await.map(|()| None);
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
        self.restart_scan(id).await
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
