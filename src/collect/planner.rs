//! Which part of time a source reads next. Pure: it is told the time and what became of its windows.
//!
//! ```text
//!   floor             first start - settle             head (end of coverage)      now - settle
//!     |--- covered ---|.... gap ....|------ covered ------|..... next live window .....|
//!                      ^ backfill: slices, oldest first    ^ the live lane, first in everything
//!
//!   desired = [floor, now - settle), never beyond end_time
//!   missing = desired - coverage - what open windows cover
//! ```
//!
//! Coverage is the only cursor: whatever was interrupted, split or configured otherwise in between, what is missing is
//! computed afresh each time, so every moment is covered by exactly one window. An earlier `backfill_start_time` opens a
//! gap at the old end, which is filled; a later one leaves the coverage alone. Coverage that a rewind has given up is a gap
//! too: the present is not kept waiting for it.
//!
//! Within the past, windows that are already open come first, then a recheck that is due, then the next slice: a backfill
//! of months must not keep changed records waiting.

use std::time::Duration;

use super::options::{SourceSettings, StartTime};
use super::ranges;
use crate::journal::{NewWindow, OpenWindow, SourceState, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiSpec, Recheck};

/// With a filter of whole days, a walk asks for whole days and keeps what lies in its window.
pub(super) const DAY: Duration = Duration::from_secs(86_400);
/// A run of empty slices grows each to at most this many times the configured length.
const LONGEST_STRETCH: u32 = 32;
/// No window is cut into parts shorter than half of this, and the first live window is not shorter.
const SHORTEST_CUT: Duration = Duration::from_secs(1);

/// The present or the past: each waits for its own faults, and the present goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Live windows.
    Live,
    /// Backfill slices, gaps and rechecks.
    Past,
}

impl Lane {
    /// The lane that windows of this kind are walked in.
    pub(super) fn of(kind: WindowKind) -> Self {
        if kind == WindowKind::Live { Self::Live } else { Self::Past }
    }
}

/// What to do next in a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Go on with an open window.
    Resume(WindowId),
    /// Open this one.
    Begin(NewWindow),
}

/// Plans the windows of one source.
#[derive(Debug)]
pub(super) struct Planner {
    floor: Timestamp,
    fixed_end: Option<Timestamp>,
    once: bool,
    spec: ApiSpec,
    first_started_at: Timestamp,
    /// The live lane never begins before this moment.
    live_from: Timestamp,
    coverage: Vec<TimeRange>,
    open: Vec<(WindowId, NewWindow)>,
    last_recheck_at: Option<Timestamp>,
    rechecked: bool,
    stretch: u32,
}

impl Planner {
    /// From the settings and what the journal knows. With `until`, the source is done when everything before it is
    /// covered (and rechecked once, if rechecks are set).
    pub(super) fn new(settings: &SourceSettings, state: &SourceState, until: Option<Timestamp>) -> Self {
        let floor = floor(settings, state.first_started_at);
        // At the first start, what settles later is the live lane's, poll by poll: a backfill that went on to
        // `now - delay` would follow it in slices as short as a request.
        let begun = state.rewound_to.map_or(state.first_started_at, |to| to.max(state.first_started_at));
        Self {
            floor,
            live_from: (begun - settings.spec.delay).max(floor),
            fixed_end: settings.end_time.into_iter().chain(until).min(),
            once: until.is_some(),
            spec: settings.spec.clone(),
            first_started_at: state.first_started_at,
            coverage: ranges::merged(state.coverage.clone()),
            open: state.open.iter().map(|open: &OpenWindow| (open.id, open.window)).collect(),
            last_recheck_at: state.last_recheck_at,
            rechecked: false,
            stretch: 1,
        }
    }

    /// What the live lane does next. `poll_due` tells whether the poll interval has passed; a head that lies more than a
    /// slice behind, or that reaches its fixed end, does not wait for it.
    pub(super) fn live(&self, now: Timestamp, poll_due: bool) -> Option<Work> {
        if let Some(id) = self.oldest_open(Lane::Live) {
            return Some(Work::Resume(id));
        }
        let head = TimeRange::new(self.head(), self.desired_end(now));
        let catching_up = ranges::length(head) > self.spec.slice;
        let last = self.fixed_end.is_some_and(|end| head.to >= end);
        if head.is_empty() || !(poll_due || catching_up || last) {
            return None;
        }
        let covers = TimeRange::new(head.from, self.cut(head, self.spec.slice));
        Some(Work::Begin(self.window(WindowKind::Live, covers)))
    }

    /// What the past lane does next.
    pub(super) fn past(&self, now: Timestamp) -> Option<Work> {
        if let Some(id) = self.oldest_open(Lane::Past) {
            return Some(Work::Resume(id));
        }
        if let Some(fetch_range) = self.recheck_due(now) {
            return Some(Work::Begin(self.recheck_window(fetch_range)));
        }
        self.next_slice(now).map(|covers| Work::Begin(self.window(WindowKind::Backfill, covers)))
    }

    /// Whether nothing will ever be left to do.
    pub(super) fn done(&self, now: Timestamp) -> bool {
        let Some(end) = self.fixed_end else { return false };
        let rechecked = !self.once || self.rechecked || self.recheck_span(now).is_none();
        rechecked && self.open.is_empty() && self.missing_until(end).is_empty()
    }

    /// What is to be covered by now; may be empty.
    pub(super) fn wanted(&self, now: Timestamp) -> TimeRange {
        TimeRange::new(self.floor, self.desired_end(now).max(self.floor))
    }

    /// Where live collecting would go on if no window were open: what is missing before is the past's.
    pub(super) fn head_covered(&self) -> Timestamp {
        let covered = self.coverage.last().map_or(self.floor, |range| range.to);
        self.live_from.max(covered)
    }

    /// When the last live window can be opened, if there is a last one.
    pub(super) fn last_poll_at(&self) -> Option<Timestamp> {
        self.fixed_end.map(|end| end + self.spec.delay)
    }

    /// When the head will have moved far enough for a live window to be worth a request.
    pub(super) fn head_settles_at(&self) -> Timestamp {
        self.head() + self.spec.delay + SHORTEST_CUT
    }

    /// A window was opened.
    pub(super) fn opened(&mut self, id: WindowId, window: NewWindow) {
        self.open.push((id, window));
    }

    /// A window is complete, after `records_read` records.
    pub(super) fn completed(&mut self, id: WindowId, at: Timestamp, records_read: u64) {
        let Some(window) = self.take_open(id) else { return };
        match window.kind {
            WindowKind::Backfill if records_read == 0 => self.stretch = (self.stretch * 2).min(LONGEST_STRETCH),
            WindowKind::Recheck => (self.last_recheck_at, self.rechecked) = (Some(at), true),
            WindowKind::Backfill | WindowKind::Live => {}
        }
        self.coverage.push(window.covers);
        self.coverage = ranges::merged(std::mem::take(&mut self.coverage));
    }

    /// A window was replaced by two.
    pub(super) fn split(&mut self, id: WindowId, parts: [(WindowId, NewWindow); 2]) {
        self.take_open(id);
        self.open.extend(parts);
        self.stretch = 1;
    }

    /// The two windows that a window is cut into, or `None` if cutting it would not make the walks shorter: it is too
    /// short already, or most of what it asks for is overlap, which both parts would have to ask for again.
    pub(super) fn halves(&self, window: NewWindow) -> Option<[NewWindow; 2]> {
        let whole = if window.kind == WindowKind::Recheck { window.fetch_range } else { window.covers };
        let length = ranges::length(whole);
        let step = self.spec.time_granularity;
        if length < SHORTEST_CUT.max(step * 2) || length * 2 < ranges::length(window.fetch_range) {
            return None;
        }
        let middle = floored_inside(whole, whole.from + length / 2, step.max(SHORTEST_CUT / 2));
        let [first, second] = [TimeRange::new(whole.from, middle), TimeRange::new(middle, whole.to)];
        if window.kind == WindowKind::Recheck {
            return Some([self.recheck_window(first), self.recheck_window(second)]);
        }
        Some([self.window(window.kind, first), self.window(window.kind, second)])
    }

    /// The spans whose keys are needed in memory: what open windows ask for, and what future live windows and rechecks
    /// will.
    pub(super) fn spans_in_use(&self) -> Vec<TimeRange> {
        let lookback = self.spec.recheck.map_or(Duration::ZERO, |recheck| recheck.lookback);
        let recent = self.head() - self.spec.overlap.max(lookback) - self.spec.time_granularity * 3 - SHORTEST_CUT;
        let mut spans = vec![TimeRange::new(recent, Timestamp::MAX)];
        spans.extend(self.open.iter().map(|(_, window)| span_of_keys(window, &self.spec)));
        ranges::merged(spans)
    }

    /// Whether a moment lies in complete coverage.
    pub(super) fn covers(&self, at: Timestamp) -> bool {
        self.coverage.iter().any(|range| ranges::holds(*range, at))
    }

    /// How far the coverage lies ahead of the clock: the clock was set back.
    pub(super) fn ahead_of(&self, now: Timestamp) -> Duration {
        self.coverage.last().map_or(Duration::ZERO, |range| range.to.since(now))
    }

    /// An open window.
    pub(super) fn window_of(&self, id: WindowId) -> Option<NewWindow> {
        self.open.iter().find(|(open, _)| *open == id).map(|(_, window)| *window)
    }

    /// Every moment that is to be covered, is not, and lies before `end`.
    fn missing_until(&self, end: Timestamp) -> Vec<TimeRange> {
        let mut taken = self.coverage.clone();
        taken.extend(self.open.iter().map(|(_, window)| window.covers));
        ranges::without(TimeRange::new(self.floor, end), &ranges::merged(taken))
    }

    fn next_slice(&self, now: Timestamp) -> Option<TimeRange> {
        let gaps = self.missing_until(self.desired_end(now).min(self.head()));
        let gap = *gaps.first()?;
        Some(TimeRange::new(gap.from, self.cut(gap, self.spec.slice.saturating_mul(self.stretch))))
    }

    fn recheck_due(&self, now: Timestamp) -> Option<TimeRange> {
        let recheck = self.spec.recheck?;
        let due = match self.fixed_end {
            Some(end) if self.once => !self.rechecked && self.open.is_empty() && self.missing_until(end).is_empty(),
            _ => self.interval_passed(recheck, now),
        };
        self.recheck_span(now).filter(|_| due)
    }

    /// What a recheck would look at again: covered time only.
    fn recheck_span(&self, now: Timestamp) -> Option<TimeRange> {
        let from = (now - self.spec.recheck?.lookback).max(self.floor);
        let span = TimeRange::new(from, self.desired_end(now).min(self.head()));
        (!span.is_empty()).then_some(span)
    }

    /// A recheck "in the future" means that the clock was set back: better one too many than none for long.
    fn interval_passed(&self, recheck: Recheck, now: Timestamp) -> bool {
        let last = self.last_recheck_at.unwrap_or(self.first_started_at);
        last > now || now.since(last) >= recheck.interval
    }

    fn desired_end(&self, now: Timestamp) -> Timestamp {
        let settled = now - self.spec.delay;
        self.fixed_end.map_or(settled, |end| end.min(settled))
    }

    /// Where live collecting goes on.
    fn head(&self) -> Timestamp {
        let covered = self.coverage.last().map(|range| range.to);
        let opened = self.open.iter().map(|(_, window)| window.covers.to).max();
        self.live_from.max(covered.max(opened).unwrap_or(self.floor))
    }

    fn oldest_open(&self, lane: Lane) -> Option<WindowId> {
        let of_lane = self.open.iter().filter(|(_, window)| Lane::of(window.kind) == lane);
        of_lane
            .min_by_key(|(id, window)| (window.kind == WindowKind::Recheck, window.covers.from, *id))
            .map(|(id, _)| *id)
    }

    fn take_open(&mut self, id: WindowId) -> Option<NewWindow> {
        let index = self.open.iter().position(|(open, _)| *open == id)?;
        Some(self.open.swap_remove(index).1)
    }

    fn window(&self, kind: WindowKind, covers: TimeRange) -> NewWindow {
        NewWindow { kind, covers, fetch_range: self.fetch_range(covers) }
    }

    fn recheck_window(&self, span: TimeRange) -> NewWindow {
        NewWindow { kind: WindowKind::Recheck, covers: nothing_at(span.from), fetch_range: self.in_steps(span) }
    }

    /// Where a window that begins like `range` ends: after `longest` at most, on a whole step of the filter.
    fn cut(&self, range: TimeRange, longest: Duration) -> Timestamp {
        if ranges::length(range) <= longest {
            return range.to;
        }
        let longest = longest.max(self.spec.time_granularity);
        floored_inside(range, (range.from + longest).min(range.to), self.spec.time_granularity)
    }

    /// What has to be asked for to cover a span: the overlap before it too, but nothing before the floor.
    fn fetch_range(&self, covers: TimeRange) -> TimeRange {
        let from = (covers.from - self.spec.overlap).max(self.floor.min(covers.from));
        self.in_steps(TimeRange::new(from, covers.to))
    }

    /// In whole steps of the filter. One step more at the old end, below the floor too: some filters leave out the moment
    /// they name, and a vendor's day may begin west of UTC, hours after ours. The intake leaves what is too old.
    fn in_steps(&self, fetch_range: TimeRange) -> TimeRange {
        let step = self.spec.time_granularity;
        TimeRange::new(fetch_range.from.floor_to(step) - step, fetch_range.to.ceil_to(step))
    }
}

/// The span whose known keys a window's walk needs: what it asks for, and a little more on both sides, because bounds of
/// filters are inclusive here and not there.
pub(super) fn span_of_keys(window: &NewWindow, spec: &ApiSpec) -> TimeRange {
    let margin = spec.time_granularity.max(Duration::from_secs(1));
    let to = if window.kind == WindowKind::Live { Timestamp::MAX } else { window.fetch_range.to + margin };
    TimeRange::new(window.fetch_range.from - margin, to)
}

/// How much earlier than a moment a window that begins there may ask, at most.
pub(super) fn reach_back(spec: &ApiSpec) -> Duration {
    spec.overlap + spec.time_granularity * 2
}

/// Where collecting begins. `earliest` counts from the first start, so that it stays where it is.
pub(super) fn floor(settings: &SourceSettings, first_started_at: Timestamp) -> Timestamp {
    match settings.backfill_start_time {
        None => first_started_at,
        Some(StartTime::At(at)) => at,
        Some(StartTime::Earliest) => match settings.spec.retention {
            Some(retention) => settings.spec.earliest.max(first_started_at - retention),
            None => settings.spec.earliest,
        },
    }
}

/// `at` floored to a step, if that still lies inside the span; else `at` as it is.
fn floored_inside(range: TimeRange, at: Timestamp, step: Duration) -> Timestamp {
    let floored = at.floor_to(step);
    if floored > range.from { floored } else { at }
}

fn nothing_at(at: Timestamp) -> TimeRange {
    TimeRange::new(at, at)
}

#[cfg(test)]
mod tests;
