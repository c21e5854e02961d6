//! What a source has covered, and what it would request next, computed without a request. Pure.
//!
//! ```text
//! settings, journal's state, now --> CoverageProgress   covered, gaps, phase
//!                                --> forecast()         runs the scheduler as if each window were read at once
//!                                --> min_duration()     what the request budget allows
//! ```

use std::time::Duration;

use crate::collect::SourceSettings;
use crate::collect::ranges;
use crate::collect::scan::stored_scan;
use crate::collect::scheduler::{WindowScheduler, Work};
use crate::journal::{DueRecheck, NewWindow, OpenWindow, SourceId, SourceState, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::units::Rate;
use crate::vendors::Vendor;

/// No forecast has more windows than this.
const MAX_WINDOWS: u64 = 100_000;

/// A source counts as behind after this many missed polls.
const MISSED_POLLS: u32 = 3;

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Time before the newest covered time is missing.
    Backfill,
    /// Only the newest time is missing, but more of it than polls leave.
    Behind,
    /// Polls keep up.
    Live,
    /// All that was to be collected is.
    Done,
}

/// A time range that should be covered and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The time range.
    pub(crate) range: TimeRange,
    /// Whether it is the growing end, which the next polls cover, and not a hole in the coverage.
    pub(crate) at_head: bool,
}

/// How much of a source's time is covered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CoverageProgress {
    /// What should be covered by now: from the start of the backfill to the present less `delay`. May be empty.
    pub(crate) wanted: TimeRange,
    /// All covered time, merged and in order, including time before what is wanted.
    pub(crate) covered: Vec<TimeRange>,
    /// What is wanted and not read, in order. Not what is in doubt or unreadable.
    pub(crate) gaps: Vec<Gap>,
    /// What the source is doing.
    pub(crate) phase: Phase,
}

impl CoverageProgress {
    /// The progress of a source at `now`.
    #[must_use]
    pub(crate) fn new(settings: &SourceSettings, state: &SourceState, now: Timestamp) -> Self {
        let scheduler = WindowScheduler::new(settings, state, None);
        let wanted = scheduler.wanted(now);
        let covered = ranges::merged(state.coverage.clone());
        let head = scheduler.covered_head();
        let missing = ranges::without(wanted, &state.decided());
        let gaps: Vec<Gap> = missing.into_iter().flat_map(|gap| split_at_head(gap, head)).collect();
        let phase = phase(settings, &gaps, scheduler.is_done(now));
        Self { wanted, covered, gaps, phase }
    }

    /// The covered share of what is wanted, from 0 to 1. 1 if nothing is wanted.
    #[must_use]
    pub(crate) fn share(&self) -> f64 {
        let wanted = ranges::length(self.wanted).as_secs_f64();
        let covered = self.covered.iter().map(|range| ranges::length(ranges::intersection(*range, self.wanted)));
        if wanted == 0.0 { 1.0 } else { covered.sum::<Duration>().as_secs_f64() / wanted }
    }

    /// How much time is wanted and not read.
    #[must_use]
    pub(crate) fn missing(&self) -> Duration {
        self.gaps.iter().map(|gap| ranges::length(gap.range)).sum()
    }

    /// The end of the newest covered time.
    #[must_use]
    pub(crate) fn covered_to(&self) -> Option<Timestamp> {
        self.covered.last().map(|range| range.to)
    }
}

/// What is missing before `head` is a hole, what is missing after it the growing end.
fn split_at_head(gap: TimeRange, head: Timestamp) -> impl Iterator<Item = Gap> {
    let hole = TimeRange::new(gap.from, gap.to.min(head));
    let end = TimeRange::new(gap.from.max(head), gap.to);
    let parts = [Gap { range: hole, at_head: false }, Gap { range: end, at_head: true }];
    parts.into_iter().filter(|gap| !gap.range.is_empty())
}

fn phase(settings: &SourceSettings, gaps: &[Gap], done: bool) -> Phase {
    let tolerance = settings.spec.poll_interval * MISSED_POLLS;
    if gaps.iter().any(|gap| !gap.at_head) {
        Phase::Backfill
    } else if gaps.iter().any(|gap| ranges::length(gap.range) > tolerance) {
        Phase::Behind
    } else if done {
        Phase::Done
    } else {
        Phase::Live
    }
}

/// The state of a source that the journal does not know yet, as if it started at `now`.
#[must_use]
pub(crate) fn initial_state(now: Timestamp) -> SourceState {
    SourceState {
        id: SourceId(0),
        first_started_at: now,
        coverage: Vec::new(),
        in_doubt: Vec::new(),
        open: Vec::new(),
        learned: None,
        last_recheck_at: None,
        rewound_to: None,
        former_normalizer_config: None,
    }
}

/// A window that would be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ForecastWindow {
    /// Its kind and time ranges.
    pub(crate) window: NewWindow,
    /// Whether an earlier process opened it.
    pub(crate) open: bool,
    /// The cursor of its next page; `None` at its first.
    pub(crate) cursor: Option<String>,
    /// Records to ask for per page.
    pub(crate) page_size: u32,
}

/// The windows that a source would read from now on, if each were read at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Forecast {
    /// The first of them, in order.
    pub(crate) first: Vec<ForecastWindow>,
    /// The number of live windows.
    pub(crate) live: u64,
    /// The number of backfill windows.
    pub(crate) backfill: u64,
    /// The number of rechecks.
    pub(crate) rechecks: u64,
    /// Whether there are more than were counted.
    pub(crate) more: bool,
}

impl Forecast {
    /// The number of windows counted.
    #[must_use]
    pub(crate) fn windows(&self) -> u64 {
        self.live + self.backfill + self.rechecks
    }

    fn count(&mut self, kind: WindowKind) {
        match kind {
            WindowKind::Live => self.live += 1,
            WindowKind::Backfill => self.backfill += 1,
            WindowKind::Recheck => self.rechecks += 1,
        }
    }
}

/// What a forecast assumes about the records of windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assumption {
    /// Each window has records.
    Records,
    /// No window has records, so that slices grow: there cannot be fewer windows than these.
    Empty,
}

/// Runs the scheduler with the time fixed at `now`. Returns the first `show` windows and the number of all.
#[must_use]
pub(crate) fn forecast(
    vendor: &dyn Vendor,
    settings: &SourceSettings,
    state: &SourceState,
    now: Timestamp,
    assumption: Assumption,
    show: usize,
) -> Forecast {
    let mut scheduler = WindowScheduler::new(settings, state, None);
    scheduler.recheck(&due_rechecks(state, now));
    let mut forecast = Forecast::default();
    let records_read = u64::from(assumption == Assumption::Records);
    while let Some(work) = scheduler.next_live(now, true).or_else(|| scheduler.next_backfill(now)) {
        if forecast.windows() >= MAX_WINDOWS {
            forecast.more = true;
            break;
        }
        let (id, window) = open(&mut scheduler, work, forecast.windows());
        forecast.count(window.kind);
        if forecast.first.len() < show {
            forecast.first.push(forecast_window(vendor, settings, state, id, window));
        }
        scheduler.completed(id, window.covers, now, records_read);
    }
    forecast
}

/// Time in doubt that is due to be read again.
fn due_rechecks(state: &SourceState, now: Timestamp) -> Vec<DueRecheck> {
    let due = state.in_doubt.iter().filter(|doubtful| doubtful.next_recheck_at.is_some_and(|at| at <= now));
    due.map(|doubtful| DueRecheck {
        range: doubtful.range,
        state: doubtful.state,
        doubts: doubtful.doubts,
        completed_at: doubtful.since,
    })
    .collect()
}

/// The ids of forecast windows are negative.
fn open(scheduler: &mut WindowScheduler, work: Work, number: u64) -> (WindowId, NewWindow) {
    let id = match work {
        Work::Resume(id) => id,
        Work::Begin(window) => {
            let id = WindowId(-1 - i64::try_from(number).unwrap_or(i64::MAX - 1));
            scheduler.opened(id, window);
            id
        }
    };
    let window = scheduler.window_of(id).expect("a window that was just opened, or that the scheduler returned");
    (id, window)
}

fn forecast_window(
    vendor: &dyn Vendor,
    settings: &SourceSettings,
    state: &SourceState,
    id: WindowId,
    window: NewWindow,
) -> ForecastWindow {
    let open: Option<&OpenWindow> = state.open.iter().find(|open| open.id == id);
    let resumed = open.and_then(|open| stored_scan(vendor, &window, open.progress.as_ref()?));
    ForecastWindow {
        window,
        open: open.is_some(),
        page_size: resumed.as_ref().map_or(settings.spec.page_size, |scan| scan.page_size),
        cursor: resumed.and_then(|scan| scan.cursor),
    }
}

/// The next poll of a source that has nothing to do at `now`: its time and its window, if nothing else comes first.
#[must_use]
pub(crate) fn next_poll(
    settings: &SourceSettings,
    state: &SourceState,
    now: Timestamp,
) -> Option<(Timestamp, ForecastWindow)> {
    let scheduler = WindowScheduler::new(settings, state, None);
    let at = scheduler.next_live_at().max(now);
    let Some(Work::Begin(window)) = scheduler.next_live(at, true) else { return None };
    Some((at, ForecastWindow { window, open: false, cursor: None, page_size: settings.spec.page_size }))
}

/// The least time that this many backfill requests take within a budget: a tenth of every rate of ten requests or more is
/// reserved for polls.
#[must_use]
pub(crate) fn min_duration(rates: &[Rate], requests: u64) -> Duration {
    let durations = rates.iter().map(|rate| {
        let allowed = rate.requests.max(1);
        let rounds = requests.saturating_sub(1) / u64::from(allowed - allowed / 10);
        rate.per.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    });
    durations.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_rate_determines_the_least_time() {
        let rate = |text| Rate::parse(text).expect(text);
        assert_eq!(min_duration(&[rate("2/s")], 1), Duration::ZERO);
        assert_eq!(min_duration(&[rate("2/s")], 2), Duration::ZERO);
        assert_eq!(min_duration(&[rate("2/s")], 3), Duration::from_secs(1));
        assert_eq!(min_duration(&[rate("10/s")], 19), Duration::from_secs(2));
        assert_eq!(min_duration(&[rate("10/s"), rate("100/h")], 181), Duration::from_secs(7_200));
        assert_eq!(min_duration(&[], 181), Duration::ZERO);
    }
}
