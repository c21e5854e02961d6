//! The loop of one source: a step is chosen, done, and the plan made anew.
//!
//! ```text
//!          +--> Begin   a window is added to the journal
//!   plan --+--> Turn    one page of an open window is asked for, and stored or the fault dealt with (see `setbacks`)
//!    ^     +--> Wait    until a lane, the budget or the next poll is due
//!    |     +--> Done
//!    +------------------------------------------------------------------ back after each
//! ```

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::announce;
use super::clock_watch::ClockWatch;
use super::intake::{self, Scope, Sifted};
use super::lanes::{Lanes, Relief};
use super::lateness::Lateness;
use super::ledger::{Halt, Ledger};
use super::page_size::PageSize;
use super::pages::{Fetched, Fetcher};
use super::planner::{Lane, Planner, Work, span_of_keys};
use super::rate::Budget;
use super::retry::Backoff;
use super::walk::{Ending, History, Outset, Walk};
use super::{Mode, Parts, Source, SourceEnd, SourceSettings};
use super::{dedupe::Known, options::StartTime};
use crate::clock::SharedClock;
use crate::journal::{
    JournalError, LatenessCounts, NewWindow, PageCommit, ScanProgress, SourceId, SourceRegistration, SourceState,
    WindowId, WindowKind,
};
use crate::time::{TimeRange, Timestamp};

/// One source at work.
pub(super) struct Collector {
    pub(super) id: SourceId,
    pub(super) settings: SourceSettings,
    pub(super) mode: Mode,
    pub(super) clock: SharedClock,
    pub(super) fetcher: Arc<Fetcher>,
    pub(super) ledger: Ledger,
    pub(super) planner: Planner,
    pub(super) known: Known,
    pub(super) walks: HashMap<WindowId, Walk>,
    pub(super) histories: HashMap<WindowId, History>,
    pub(super) budget: Budget,
    pub(super) page_size: PageSize,
    pub(super) backoff: Backoff,
    pub(super) lanes: Lanes,
    first_started_at: Timestamp,
    pub(super) lateness: Lateness,
    next_poll: Instant,
    /// Walks that the last process left unfinished.
    interrupted: HashMap<WindowId, ScanProgress>,
    pub(super) polled_before: bool,
    clock_watch: ClockWatch,
}

enum Step {
    Begin(NewWindow),
    Turn(WindowId),
    Wait(Instant),
    Done,
}

/// Runs a source to its end.
pub(super) async fn run(source: Source, parts: Parts) -> Result<SourceEnd, JournalError> {
    match work(source, parts).await {
        Ok(end) => Ok(end),
        Err(Halt::Shutdown) => Ok(SourceEnd::Shutdown),
        Err(Halt::Journal(error)) => Err(error),
    }
}

async fn work(source: Source, parts: Parts) -> Result<SourceEnd, Halt> {
    let mut ledger = Ledger::new(parts.journal.clone(), Backoff::new(parts.rng_seed ^ 1), parts.shutdown.clone());
    let registration = SourceRegistration {
        name: source.name.clone(),
        vendor: source.settings.spec.name.to_owned(),
        normalizer_config: source.vendor.normalizer_config(),
        now: parts.clock.now(),
    };
    let state = ledger.keep_trying(|journal| journal.open_source(registration.clone())).await?;
    announce::warn_of_other_ids(&state, &registration);
    ledger.keep_trying(|journal| journal.set_source_error(state.id, None)).await?;
    Collector::new(source, parts, ledger, state).collect().await
}

impl Collector {
    fn new(source: Source, parts: Parts, ledger: Ledger, state: SourceState) -> Self {
        let settings = source.settings;
        let until = match parts.mode {
            Mode::Continuous => None,
            Mode::Once { until } => Some(until),
        };
        let limits = super::Limits { timeout: settings.spec.timeout, max_body_bytes: settings.max_body_bytes };
        let fetcher = Fetcher { vendor: source.vendor, transport: parts.transport, clock: parts.clock.clone(), limits };
        let now = Instant::now();
        Self {
            id: state.id,
            mode: parts.mode,
            clock: parts.clock,
            fetcher: Arc::new(fetcher),
            ledger,
            planner: Planner::new(&settings, &state, until),
            known: Known::default(),
            walks: HashMap::new(),
            histories: HashMap::new(),
            budget: Budget::new(&settings.spec.rate_limit),
            page_size: PageSize::new(settings.spec.page_size),
            backoff: Backoff::new(parts.rng_seed),
            lanes: Lanes::new(now),
            first_started_at: state.first_started_at,
            lateness: Lateness::new(settings.spec.overlap),
            next_poll: now,
            interrupted: state.open.into_iter().filter_map(|open| Some((open.id, open.progress?))).collect(),
            polled_before: false,
            clock_watch: ClockWatch::default(),
            settings,
        }
    }

    async fn collect(mut self) -> Result<SourceEnd, Halt> {
        self.say_where_it_begins();
        loop {
            self.ledger.wait_for_room().await?;
            match self.next_step() {
                Step::Begin(window) => self.begin(window).await?,
                Step::Turn(window) => {
                    if let Some(end) = self.turn(window).await? {
                        return Ok(end);
                    }
                }
                Step::Wait(until) => self.ledger.sleep_until(until).await?,
                Step::Done => return Ok(SourceEnd::Finished),
            }
        }
    }

    /// The live lane first. If nothing can be done at once, the moment at which something may be.
    fn next_step(&mut self) -> Step {
        let (now, instant) = (self.clock.now(), Instant::now());
        self.clock_watch.look(self.planner.ahead_of(now), instant);
        let poll_due = instant >= self.next_poll;
        let live = self.planner.live(now, poll_due);
        if live.is_none() && poll_due {
            self.next_poll = instant + self.until_next_look(now);
        }
        let mut wake: Vec<Instant> = self.last_poll(now, instant).into_iter().collect();
        if live.is_none() {
            wake.push(self.next_poll);
        }
        for (lane, work) in [(Lane::Live, live), (Lane::Past, self.planner.past(now))] {
            let Some(work) = work else { continue };
            let ready = self.lanes.ready_at(lane).max(self.budget.ready_at(lane, instant));
            if ready <= instant || self.is_asked_ahead(&work) {
                return self.step_of(work, instant);
            }
            wake.push(ready);
        }
        if self.planner.done(now) {
            return Step::Done;
        }
        Step::Wait(wake.into_iter().min().unwrap_or(self.next_poll))
    }

    fn step_of(&mut self, work: Work, instant: Instant) -> Step {
        match work {
            Work::Resume(window) => Step::Turn(window),
            Work::Begin(window) => {
                if window.kind == WindowKind::Live {
                    self.next_poll = instant + self.settings.spec.poll_interval;
                }
                Step::Begin(window)
            }
        }
    }

    /// At the first start, nothing has settled yet: the first live window comes as soon as something has, not a whole
    /// poll interval later.
    fn until_next_look(&self, now: Timestamp) -> Duration {
        let settling = self.planner.head_settles_at().since(now);
        settling.min(self.settings.spec.poll_interval).max(Duration::from_millis(1))
    }

    /// A source that ends need not wait for the next poll once its end has settled.
    fn last_poll(&self, now: Timestamp, instant: Instant) -> Option<Instant> {
        let at = self.planner.last_poll_at()?;
        (at > now).then(|| instant + at.since(now).min(self.settings.spec.poll_interval))
    }

    async fn begin(&mut self, window: NewWindow) -> Result<(), Halt> {
        let source = self.id;
        let ids = self.ledger.keep_trying(|journal| journal.add_windows(source, vec![window])).await?;
        for id in ids {
            self.planner.opened(id, window);
        }
        Ok(())
    }

    /// Makes one attempt at the next page of a window.
    async fn turn(&mut self, id: WindowId) -> Result<Option<SourceEnd>, Halt> {
        if !self.walks.contains_key(&id) {
            match self.interrupted.remove(&id) {
                Some(progress) => self.resume(id, progress).await?,
                None => self.set_out(id, None),
            }
        }
        let Some(walk) = self.walks.get_mut(&id) else { return Ok(None) };
        if !walk.is_asked_ahead() {
            self.budget.take(Instant::now());
        }
        match self.ledger.unless_shut_down(walk.attempt()).await? {
            Ok(page) => self.take(id, page).await.map(|()| None),
            Err(setback) => self.meet(id, setback).await,
        }
    }

    /// Puts a walk at the beginning of its window, or where it was interrupted.
    pub(super) fn set_out(&mut self, id: WindowId, progress: Option<ScanProgress>) {
        let Some(window) = self.planner.window_of(id) else { return };
        let outset = Outset {
            window,
            page_size: self.page_size.present(),
            can_be_cut: self.planner.halves(window).is_some(),
            max_records: self.settings.spec.max_window_records,
        };
        self.walks.insert(id, Walk::begin(self.fetcher.clone(), outset, progress));
    }

    /// A page has come: the window is split, walked again, or the page stored.
    async fn take(&mut self, id: WindowId, page: Fetched) -> Result<(), Halt> {
        let Some(walk) = self.walks.get(&id) else { return Ok(()) };
        let window = walk.window;
        self.relieve(Lane::of(window.kind), Relief::Page).await?;
        let Some(walk) = self.walks.get(&id) else { return Ok(()) };
        if walk.deeper_than(self.settings.spec.max_window_records) {
            if let Some(parts) = self.planner.halves(window) {
                return self.split(id, parts).await;
            }
            tracing::debug!(records = walk.records_read(), "the window is deep, but cutting it would not help");
        }
        if page.next.is_some() {
            self.ask_ahead(id, Lane::of(window.kind));
        }
        let Sifted { block, stored, new_times } = self.sift(id, &page, &window).await?;
        if page.next.is_none() && !self.accepts(id).await? {
            return Ok(());
        }
        self.note_lateness(id, &page, &new_times);
        self.commit(id, &page, block).await?;
        tracing::debug!(window = id.0, records = page.records().len(), stored, "page stored");
        if page.next.is_none() { self.close(id, &window).await } else { Ok(()) }
    }

    /// Asks for the next page while this one is stored, if it is what would be done next and the budget allows it now.
    fn ask_ahead(&mut self, id: WindowId, lane: Lane) {
        let now = Instant::now();
        let is_next = lane == Lane::Live || now < self.next_poll;
        let allowed = self.lanes.ready_at(lane).max(self.budget.ready_at(lane, now)) <= now && self.ledger.has_room();
        if let Some(walk) = self.walks.get_mut(&id).filter(|_| is_next && allowed) {
            self.budget.take(now);
            walk.ask_ahead();
        }
    }

    fn is_asked_ahead(&self, work: &Work) -> bool {
        matches!(work, Work::Resume(id) if self.walks.get(id).is_some_and(Walk::is_asked_ahead))
    }

    async fn sift(&mut self, id: WindowId, page: &Fetched, window: &NewWindow) -> Result<Sifted, Halt> {
        let scope = Scope::new(self.scope_begins_at(), self.settings.end_time, window, &self.settings.spec);
        let tally = self.walks.get_mut(&id).and_then(|walk| walk.tally.as_mut());
        let candidates = intake::candidates(page, self.fetcher.vendor.normalizer(), &scope, tally);
        let until = window.fetch_range.to;
        self.load_keys(self.known.missing(span_of_keys(window, &self.settings.spec)), until).await?;
        self.load_keys(self.known.missing_around(intake::times(&candidates)), until).await?;
        let out_of_scope = page.records().len() - candidates.len();
        if out_of_scope > 0 {
            tracing::debug!(window = id.0, out_of_scope, "records outside of the time to collect were left");
        }
        intake::sift(page, &candidates, &mut self.known, self.settings.spec.order, until).map_err(Halt::Journal)
    }

    async fn load_keys(&mut self, spans: Vec<TimeRange>, until: Timestamp) -> Result<(), Halt> {
        let source = self.id;
        for span in spans {
            let keys = self.ledger.keep_trying(|journal| journal.keys_within(source, span)).await?;
            self.known.load(span, keys, until);
        }
        Ok(())
    }

    /// Records from before this moment are not collected: nothing from before the first start, unless asked for.
    fn scope_begins_at(&self) -> Option<Timestamp> {
        match self.settings.backfill_start_time {
            None => Some(self.first_started_at),
            Some(StartTime::At(at)) => Some(at),
            Some(StartTime::Earliest) => None,
        }
    }

    /// Whether a walk that has come to its end is believed; if not, it is set out again.
    async fn accepts(&mut self, id: WindowId) -> Result<bool, Halt> {
        let Some(walk) = self.walks.get(&id) else { return Ok(false) };
        match self.histories.entry(id).or_default().judge(walk) {
            Ending::Accept => Ok(true),
            Ending::AcceptInDoubt(reason) => {
                tracing::warn!(window = id.0, "the window is taken as it is, although {reason} each time");
                Ok(true)
            }
            Ending::WalkAgain(reason) => {
                self.walk_again(id, &format!("a window is read again, because {reason}")).await?;
                Ok(false)
            }
        }
    }

    async fn commit(
        &mut self,
        id: WindowId,
        page: &Fetched,
        block: Option<crate::journal::EncodedBlock>,
    ) -> Result<(), Halt> {
        let at = self.clock.now();
        let Some(walk) = self.walks.get_mut(&id) else { return Ok(()) };
        let requests = std::mem::take(&mut walk.requests);
        let lateness = if page.next.is_none() { std::mem::take(&mut walk.lateness) } else { LatenessCounts::default() };
        let then = walk.then(page.next.as_deref(), at);
        let commit = PageCommit { window: id, block, requests, lateness, then };
        self.ledger.keep_trying(|journal| journal.commit_page(commit.clone())).await
    }

    async fn split(&mut self, id: WindowId, parts: [NewWindow; 2]) -> Result<(), Halt> {
        let requests = self.walks.get(&id).map_or(0, |walk| walk.requests);
        self.ledger.keep_trying(|journal| journal.restart_window(id, requests)).await?;
        let ids = self.ledger.keep_trying(|journal| journal.split_window(id, parts)).await?;
        tracing::info!(window = id.0, at = %parts[1].covers.from, "the window holds too many records and is cut in two");
        self.forget_walk(id);
        self.planner.split(id, [(ids[0], parts[0]), (ids[1], parts[1])]);
        Ok(())
    }

    /// The window is complete.
    async fn close(&mut self, id: WindowId, window: &NewWindow) -> Result<(), Halt> {
        let (pages, records_read) =
            self.walks.remove(&id).map_or((0, 0), |walk| (walk.pages_read(), walk.records_read()));
        self.histories.remove(&id);
        self.page_size.window_complete();
        self.planner.completed(id, self.clock.now(), records_read);
        self.known.prune(&self.planner.spans_in_use());
        self.report(id, window, pages, records_read);
        self.relieve(Lane::of(window.kind), Relief::Window).await
    }

    /// Forgets what is known of a walk, and the keys that only its staged pages held.
    pub(super) fn forget_walk(&mut self, id: WindowId) {
        self.walks.remove(&id);
        self.known.clear();
    }
}
