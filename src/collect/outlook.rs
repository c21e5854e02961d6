//! What a source has covered, and what it would ask for next: told without asking anything. Pure.
//!
//! ```text
//! settings, what the journal knows, now --> Outlook   covered, gaps, how far behind
//!                                       --> ahead()   the planner, run ahead: each window is taken as answered
//!                                       --> least_time()  what the request budget allows
//! ```

use std::time::Duration;

use super::options::SourceSettings;
use super::planner::{self, Planner, Work};
use super::ranges;
use super::walk::cursor_to_resume;
use crate::journal::{NewWindow, OpenWindow, SourceId, SourceState, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::units::Rate;
use crate::vendors::Vendor;

/// No source is planned further ahead than this many windows.
const MOST_WINDOWS: u64 = 100_000;

/// So many polls in a row are missed before a source counts as behind.
const POLLS_MISSED: u32 = 3;

/// What a source is doing with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Something older than the newest covered time is missing.
    Backfill,
    /// Only the newest time is missing, but more of it than polls leave.
    Behind,
    /// Polls keep up.
    Live,
    /// All that was to be collected is.
    Done,
}

/// A span that is to be covered and is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The span.
    pub range: TimeRange,
    /// Whether it is the growing end, which the next polls take, and no hole in what was covered.
    pub at_head: bool,
}

/// How a source's time is covered.
#[derive(Clone, Debug, PartialEq)]
pub struct Outlook {
    /// What is to be covered by now: from the start of the backfill to the present less `delay`. May be empty.
    pub wanted: TimeRange,
    /// All covered time, merged and in order, older than what is wanted included.
    pub covered: Vec<TimeRange>,
    /// What is wanted and not covered, in order.
    pub gaps: Vec<Gap>,
    /// What it is doing.
    pub phase: Phase,
}

impl Outlook {
    /// How it stands with a source at `now`.
    #[must_use]
    pub fn new(settings: &SourceSettings, state: &SourceState, now: Timestamp) -> Self {
        let planner = Planner::new(settings, state, None);
        let wanted = planner.wanted(now);
        let covered = ranges::merged(state.coverage.clone());
        let head = planner.head_covered();
        let gaps: Vec<Gap> = ranges::without(wanted, &covered).into_iter().flat_map(|gap| cut_at(gap, head)).collect();
        let phase = phase(settings, &gaps, planner.done(now));
        Self { wanted, covered, gaps, phase }
    }

    /// How much of what is wanted is covered, from 0 to 1. 1 if nothing is wanted.
    #[must_use]
    pub fn share(&self) -> f64 {
        let wanted = ranges::length(self.wanted).as_secs_f64();
        if wanted == 0.0 { 1.0 } else { 1.0 - self.missing().as_secs_f64() / wanted }
    }

    /// How much time is wanted and not covered.
    #[must_use]
    pub fn missing(&self) -> Duration {
        self.gaps.iter().map(|gap| ranges::length(gap.range)).sum()
    }

    /// The end of the newest covered time.
    #[must_use]
    pub fn covered_to(&self) -> Option<Timestamp> {
        self.covered.last().map(|range| range.to)
    }
}

/// What lies before `head` is a hole, what lies after it the growing end.
fn cut_at(gap: TimeRange, head: Timestamp) -> impl Iterator<Item = Gap> {
    let hole = TimeRange::new(gap.from, gap.to.min(head));
    let end = TimeRange::new(gap.from.max(head), gap.to);
    let parts = [Gap { range: hole, at_head: false }, Gap { range: end, at_head: true }];
    parts.into_iter().filter(|gap| !gap.range.is_empty())
}

fn phase(settings: &SourceSettings, gaps: &[Gap], done: bool) -> Phase {
    let patience = settings.spec.poll_interval * POLLS_MISSED;
    if gaps.iter().any(|gap| !gap.at_head) {
        Phase::Backfill
    } else if gaps.iter().any(|gap| ranges::length(gap.range) > patience) {
        Phase::Behind
    } else if done {
        Phase::Done
    } else {
        Phase::Live
    }
}

/// Where collecting begins: nothing from before this moment is asked for, but for the overlap.
#[must_use]
pub fn begins_at(settings: &SourceSettings, first_started_at: Timestamp) -> Timestamp {
    planner::floor(settings, first_started_at)
}

/// How much earlier than a moment a window that begins there may ask, at most.
#[must_use]
pub fn reach_back(settings: &SourceSettings) -> Duration {
    planner::reach_back(&settings.spec)
}

/// A source that the journal has never seen, as it would begin now.
#[must_use]
pub fn at_first_start(now: Timestamp) -> SourceState {
    SourceState {
        id: SourceId(0),
        first_started_at: now,
        coverage: Vec::new(),
        open: Vec::new(),
        last_recheck_at: None,
        rewound_to: None,
        former_normalizer_config: None,
    }
}

/// A window that would be walked.
#[derive(Clone, Debug, PartialEq)]
pub struct AheadWindow {
    /// Its kind and spans.
    pub window: NewWindow,
    /// Whether an earlier process began it.
    pub open: bool,
    /// Where its next page is; `None` at its first.
    pub cursor: Option<String>,
    /// Records asked for a page.
    pub page_size: u32,
}

/// Windows that a source would walk from now on, if each were answered at once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ahead {
    /// The first of them, in their order.
    pub first: Vec<AheadWindow>,
    /// How many are at the growing end.
    pub live: u64,
    /// How many are slices of the past.
    pub backfill: u64,
    /// How many are second looks at covered time.
    pub rechecks: u64,
    /// Whether there are more than were counted.
    pub more: bool,
}

impl Ahead {
    /// All that were counted.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.live + self.backfill + self.rechecks
    }
}

/// What the records of windows are assumed to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assume {
    /// Each window has some.
    Records,
    /// No window has any, so that slices grow: there cannot be fewer windows than these.
    Nothing,
}

/// Runs the planner ahead, with the time standing still at `now`.
#[must_use]
pub fn ahead(
    vendor: &dyn Vendor,
    settings: &SourceSettings,
    state: &SourceState,
    now: Timestamp,
    assume: Assume,
    show: usize,
) -> Ahead {
    let mut planner = Planner::new(settings, state, None);
    let mut ahead = Ahead::default();
    let records_read = u64::from(assume == Assume::Records);
    while let Some(work) = planner.live(now, true).or_else(|| planner.past(now)) {
        if ahead.windows() >= MOST_WINDOWS {
            ahead.more = true;
            break;
        }
        let (id, window) = open(&mut planner, work, ahead.windows());
        ahead.count(window.kind);
        if ahead.first.len() < show {
            ahead.first.push(window_ahead(vendor, settings, state, id, window));
        }
        planner.completed(id, now, records_read);
    }
    ahead
}

/// Numbers of windows that are only thought of are below 0.
fn open(planner: &mut Planner, work: Work, number: u64) -> (WindowId, NewWindow) {
    let id = match work {
        Work::Resume(id) => id,
        Work::Begin(window) => {
            let id = WindowId(-1 - i64::try_from(number).unwrap_or(i64::MAX - 1));
            planner.opened(id, window);
            id
        }
    };
    let window = planner.window_of(id).expect("a window that was just opened, or that the planner itself named");
    (id, window)
}

impl Ahead {
    fn count(&mut self, kind: WindowKind) {
        match kind {
            WindowKind::Live => self.live += 1,
            WindowKind::Backfill => self.backfill += 1,
            WindowKind::Recheck => self.rechecks += 1,
        }
    }
}

fn window_ahead(
    vendor: &dyn Vendor,
    settings: &SourceSettings,
    state: &SourceState,
    id: WindowId,
    window: NewWindow,
) -> AheadWindow {
    let begun: Option<&OpenWindow> = state.open.iter().find(|open| open.id == id);
    let progress = begun.and_then(|open| open.progress.as_ref());
    let resumed = progress.and_then(|progress| Some((progress, cursor_to_resume(vendor, &window, progress)?)));
    AheadWindow {
        window,
        open: begun.is_some(),
        cursor: resumed.map(|(_, cursor)| cursor.to_owned()),
        page_size: resumed.map_or(settings.spec.page_size, |(progress, _)| progress.page_size),
    }
}

/// The next poll of a source that has nothing to do at `now`: when it comes and what it asks for, if nothing else does.
#[must_use]
pub fn next_poll(settings: &SourceSettings, state: &SourceState, now: Timestamp) -> Option<(Timestamp, AheadWindow)> {
    let planner = Planner::new(settings, state, None);
    let at = planner.head_settles_at().max(now);
    let Some(Work::Begin(window)) = planner.live(at, true) else { return None };
    Some((at, AheadWindow { window, open: false, cursor: None, page_size: settings.spec.page_size }))
}

/// The least time that so many requests of the past take within a budget: a tenth of every larger rate is kept for polls.
#[must_use]
pub fn least_time(rates: &[Rate], requests: u64) -> Duration {
    let times = rates.iter().map(|rate| {
        let allowed = rate.requests.max(1);
        let rounds = requests.saturating_sub(1) / u64::from(allowed - allowed / 10);
        rate.per.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    });
    times.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_rate_tells_the_least_time() {
        let rate = |text| Rate::parse(text).expect(text);
        assert_eq!(least_time(&[rate("2/s")], 1), Duration::ZERO);
        assert_eq!(least_time(&[rate("2/s")], 2), Duration::ZERO);
        assert_eq!(least_time(&[rate("2/s")], 3), Duration::from_secs(1));
        assert_eq!(least_time(&[rate("10/s")], 19), Duration::from_secs(2));
        assert_eq!(least_time(&[rate("10/s"), rate("100/h")], 181), Duration::from_secs(7_200));
        assert_eq!(least_time(&[], 181), Duration::ZERO);
    }
}
