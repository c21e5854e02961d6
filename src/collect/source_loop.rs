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
//! | transient | backoff, the same page again |
//! | transient or rejected, while other requests succeed | the window is set aside and narrowed, down to one record, which is unreadable |
//! | rate limited | the whole budget waits as long as the vendor asks, or at least the spec's default and longer each time |
//! | cursor expired | the window from its first page, once; then it is split, read by time, or in doubt |
//! | page too large | half the page size, the window from its first page |
//! | permanent | reported once, retried every `error_retry_interval` |

mod cursors;
mod errors;
mod narrowing;
mod pages;
mod windows;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tracing::Instrument;

use super::clock_skew::{ClockSkew, Moment};
use super::errors::SourceErrors;
use super::failing::FailingWindows;
use super::fetch::Fetcher;
use super::filter::PageFilter;
use super::lateness::LatenessMonitor;
use super::learned;
use super::monitors::{ClockMonitor, PollMonitor};
use super::options::SourceSettings;
use super::rate::{Priority, SharedBudget};
use super::retrying_journal::{RetryingJournal, StopReason};
use super::scan::{PageScan, PagingTraits};
use super::scheduler::{Paused, WindowScheduler, Work, has_outdated};
use super::source::{CollectError, CollectMode, Source, SourceContext, SourceEnd, log_start};
use super::transport::ResponseLimits;
use super::verdict::{Learned, Reason};
use super::window_scans::WindowScans;
use crate::backoff::Backoff;
use crate::clock::SharedClock;
use crate::event::EventId;
use crate::journal::{
    JournalError, NewWindow, ScanProgress, SourceId, SourceRegistration, SourceState, WindowId, WindowKind,
};
use crate::time::Timestamp;
use crate::units::Rate;

/// Time that is due to be read again is asked for this often, while none is known.
const DUE_INTERVAL: Duration = Duration::from_secs(60);
/// No more ranges of due time are asked for at once.
const DUE_LIMIT: usize = 1_000;
/// An automatic overlap is adapted this often.
const OVERLAP_INTERVAL: Duration = Duration::from_secs(3_600);
/// No wait of the backoff is longer.
const LONGEST_BACKOFF: Duration = Duration::from_secs(120);

/// Collects from one source until its end.
///
/// Errors of the vendor and full disks are retried. An error that only the user can fix is stored as the source's last
/// error and retried every `error_retry_interval`.
///
/// # Errors
/// The journal is damaged, belongs to another version, or rejects a call as invalid.
pub fn run(source: Source, context: SourceContext) -> BoxFuture<'static, Result<SourceEnd, CollectError>> {
    let span = tracing::error_span!("source", source = %source.name, vendor = source.settings.spec.name);
    let source_name = source.name.clone();
    let opening = Box::pin(open(source, context));
    let collecting = async move {
        match collect(opening).await {
            Ok(end) => Ok(end),
            Err(StopReason::Shutdown) => Ok(SourceEnd::Shutdown),
            Err(StopReason::Journal(error)) => Err(CollectError::Journal { source_name, error }),
        }
    };
    Box::pin(collecting.instrument(span))
}

/// Thousands of sources wait most of the time. What only opening, or a step, needs is in a box of its own, and is freed after it.
async fn collect(opening: BoxFuture<'static, Result<Box<SourceLoop>, StopReason>>) -> Result<SourceEnd, StopReason> {
    let mut opened = opening.await?;
    opened.run().await
}

async fn open(source: Source, context: SourceContext) -> Result<Box<SourceLoop>, StopReason> {
    let backoff = Backoff::new(context.rng_seed ^ 1, LONGEST_BACKOFF);
    let mut journal =
        RetryingJournal::new(context.journal.clone(), backoff, context.shutdown.clone(), context.clock.clone());
    let registration = SourceRegistration {
        name: source.name.clone(),
        vendor: source.settings.spec.name.to_owned(),
        normalizer_config: source.vendor.normalizer_config(),
        now: started_at(&context, source.settings.spec.delay),
    };
    let mut state = journal.retry(|journal| journal.open_source(registration.clone())).await?;
    if has_outdated(&source.settings, &state) {
        discard_windows(&mut journal, &mut state).await?;
    }
    log_start(&state, &registration, &source.settings);
    journal.registered(state.id);
    journal.set_last_error(None).await?;
    Ok(Box::new(SourceLoop::new(source, context, journal, state)))
}

/// Now. A run that ends covers up to `until`: were its first start later than that by the moment that starting took, this
/// moment would be a gap before the first live window.
fn started_at(context: &SourceContext, delay: Duration) -> Timestamp {
    let now = context.clock.now();
    match context.mode {
        CollectMode::Once { until } => now.min(until + delay),
        CollectMode::Continuous => now,
    }
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
    /// What the journal holds of both.
    learned_before: String,
    /// Causes of doubt that were reported since a window was last covered.
    reported: HashSet<Reason>,
    budget: SharedBudget,
    /// The share of the budget for time that is due to be read again.
    recheck_budget: SharedBudget,
    failing: FailingWindows,
    max_staged_bytes: u64,
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
    /// When an automatic overlap was adapted last.
    overlap_at: Option<Instant>,
    skew: ClockSkew,
}

/// A tenth of the budget, so that live polls and the backfill have the rest. A run that ends has no later polls: all of it.
fn recheck_budget(rates: &[Rate], until: Option<Timestamp>) -> SharedBudget {
    let tenth = |rate: &Rate| match rate.requests {
        10.. => Rate { requests: rate.requests / 10, ..*rate },
        few => Rate { requests: few, per: rate.per * 10 },
    };
    let rates: Vec<Rate> = if until.is_some() { Vec::new() } else { rates.iter().map(tenth).collect() };
    SharedBudget::new(&rates)
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
        let (learned, traits) = learned::restored(state.learned.as_deref());
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
            learned_before: learned::stored(&learned, traits),
            learned,
            traits,
            reported: HashSet::new(),
            budget: context.rate_limit_groups.budget(settings.rate_limit_group.as_deref(), &settings.spec.rate_limit),
            recheck_budget: recheck_budget(&settings.spec.rate_limit, until),
            failing: FailingWindows::default(),
            max_staged_bytes: context.max_staged_bytes,
            backoff: Backoff::new(context.rng_seed, LONGEST_BACKOFF),
            errors: SourceErrors::new(clock, now),
            lateness: LatenessMonitor::new(&settings.spec),
            next_poll: now,
            interrupted: state.open.into_iter().filter_map(|open| Some((open.id, open.progress?))).collect(),
            clock_monitor: ClockMonitor::default(),
            polls: PollMonitor::default(),
            due_at: None,
            overlap_at: None,
            skew: ClockSkew::default(),
            settings,
        }
    }

    async fn run(&mut self) -> Result<SourceEnd, StopReason> {
        loop {
            Box::pin(self.look_around()).await?;
            match self.next_step() {
                Step::Begin(window) => Box::pin(self.begin(window)).await?,
                Step::Continue(window) => {
                    if let Some(end) = Box::pin(self.read_page(window)).await? {
                        return Ok(end);
                    }
                }
                Step::Wait(until) => self.journal.sleep_until(until).await?,
                Step::Done => return Ok(SourceEnd::Finished),
            }
        }
    }

    /// What the next step depends on.
    async fn look_around(&mut self) -> Result<(), StopReason> {
        self.journal.wait_for_room().await?;
        self.cut_coverage().await?;
        self.load_due().await?;
        self.adapt_overlap().await
    }

    /// The source's clock: the earlier of this machine's and the vendor's.
    fn now(&self) -> Timestamp {
        let now = self.moment();
        now.time - self.skew.behind(now)
    }

    /// This moment on this machine's clocks.
    fn moment(&self) -> Moment {
        Moment { time: self.clock.now(), instant: Instant::now() }
    }

    /// Gives up coverage that lies ahead of the clock. Where dedup keys are gone, the journal refuses that.
    async fn cut_coverage(&mut self) -> Result<(), StopReason> {
        let (source, now, instant) = (self.id, self.now(), Instant::now());
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

    /// Lets an automatic overlap follow the lateness of the events so far.
    async fn adapt_overlap(&mut self) -> Result<(), StopReason> {
        let (source, instant) = (self.id, Instant::now());
        let adapted_lately = self.overlap_at.is_some_and(|at| instant.duration_since(at) < OVERLAP_INTERVAL);
        if adapted_lately || !self.settings.has_automatic_overlap() {
            return Ok(());
        }
        self.overlap_at = Some(instant);
        let lateness = self.journal.retry(|journal| journal.lateness(source)).await?;
        let overlap = self.settings.overlap(&lateness);
        if self.scheduler.set_overlap(overlap) {
            let (overlap_secs, events) = (overlap.as_secs_f64(), lateness.events());
            tracing::info!(
                event = "overlap_adapted",
                overlap_secs,
                events,
                "the overlap follows the measured lateness"
            );
        }
        Ok(())
    }

    // --- the next step ---

    /// Live work first. If nothing can be done now, the moment at which something may be.
    fn next_step(&mut self) -> Step {
        let (now, instant) = (self.now(), Instant::now());
        let poll_due = instant >= self.next_poll;
        self.scheduler.set_aside(self.failing.set_aside(instant));
        let (paused, pause_ends) = self.paused(instant);
        self.scheduler.set_paused(paused);
        let live = self.scheduler.next_live(now, poll_due);
        // A live window that pauses is the next live work, and the end of its pause wakes.
        let polls_next = live.is_none() && !self.scheduler.live_pauses();
        if polls_next && poll_due {
            self.next_poll = instant + self.until_next_check(now);
        }
        let mut wake: Vec<Instant> = self.last_poll(now, instant).into_iter().collect();
        wake.extend(self.failing.next_retry(instant).into_iter().chain(pause_ends));
        if polls_next {
            wake.push(self.next_poll);
        }
        let (due, due_at) = (self.scheduler.next_due(), self.recheck_budget.ready_at(Priority::Live, instant));
        let past = due.filter(|_| due_at <= instant).or_else(|| self.scheduler.next_backfill(now)).or(due);
        for (priority, budget, work) in self.polls.order(live, past) {
            let Some(work) = work else { continue };
            let due_at = due_at.max(instant);
            let earliest = if Some(work) == due { due_at } else { instant };
            let ready = self.errors.ready_at(priority).max(self.budget.ready_at(budget, instant)).max(earliest);
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

    /// The windows that wait for their next scan, and when each of them goes on.
    fn paused(&self, instant: Instant) -> (Paused, Vec<Instant>) {
        let (mut paused, mut ends) = (Paused::default(), Vec::new());
        for (id, state) in &self.windows {
            paused.begun.push(*id);
            if let Some(until) = state.paused_until.filter(|until| *until > instant) {
                paused.windows.push(*id);
                paused.records += state.verdict.union().len();
                ends.push(until);
            }
        }
        (paused, ends)
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

    /// A window that is set aside does not hold up live ones.
    fn priority_of(&self, id: WindowId, window: &NewWindow) -> Priority {
        if self.failing.is_set_aside(id) { Priority::Backfill } else { Priority::of(window.kind) }
    }

    /// Records to ask for per page.
    fn page_size_of(&self, id: WindowId) -> u32 {
        self.failing.page_size(id).unwrap_or(self.settings.spec.page_size)
    }

    fn is_prefetched(&self, work: &Work) -> bool {
        matches!(work, Work::Resume(id) if self.scans.get(id).is_some_and(PageScan::is_prefetched))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<A, F>(_: impl Fn(A) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_source_that_waits_takes_little_memory() {
        let (waiting, state) = (size_of_future(collect), size_of::<SourceLoop>());
        assert!(
            waiting <= 1 << 10 && state <= 4 << 10,
            "{waiting} and {state} bytes, for each of thousands of sources"
        );
    }
}
