//! Which window a source reads next. Pure: the caller passes the time and reports what became of the windows.
//!
//! ```text
//!   start             first start - delay              head (end of coverage)      now - delay
//!     |--- covered ---|.... gap ....|------ covered ------|..... next live window .....|
//!                      ^ backfill: slices, oldest first    ^ live windows, always first
//!
//!   wanted  = [start, now - delay), never beyond end_time
//!   missing = wanted - coverage - what open windows cover
//! ```
//!
//! Coverage is the only cursor: whatever was interrupted, split or reconfigured in between, what is missing is computed
//! afresh each time, so every moment is covered by exactly one window. An earlier `backfill_start_time` opens a gap at
//! the old end, which is filled; a later one leaves the coverage alone. Coverage that a rewind removed is a gap too: live
//! windows do not wait for it.
//!
//! Within backfill, open windows come first, then a recheck that is due, then the next slice: a backfill of months must
//! not delay changed records.

use std::time::Duration;

use tokio::time::Instant;

use super::options::SourceSettings;
use super::ranges;
use super::rate::Priority;
use crate::journal::{NewWindow, OpenWindow, SourceState, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{ApiSpec, Recheck};

/// After empty slices, the next one is at most this many times as long as configured.
const LONGEST_SLICE_FACTOR: u32 = 32;
/// No window is split into parts shorter than half of this, and the first live window is not shorter.
const SHORTEST_SPLIT: Duration = Duration::from_secs(1);
/// Coverage ends before the present; a clock that is behind it by more than this was set back.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// A clock that was set back is reported again after this time.
const CLOCK_WARNING_INTERVAL: Duration = Duration::from_secs(3_600);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Continue an open window.
    Resume(WindowId),
    /// Open this window.
    Begin(NewWindow),
}

/// Schedules the windows of one source.
#[derive(Debug)]
pub(crate) struct WindowScheduler {
    start: Timestamp,
    fixed_end: Option<Timestamp>,
    once: bool,
    spec: ApiSpec,
    first_started_at: Timestamp,
    /// No live window begins before this moment.
    live_from: Timestamp,
    coverage: Vec<TimeRange>,
    open: Vec<(WindowId, NewWindow)>,
    last_recheck_at: Option<Timestamp>,
    rechecked: bool,
    slice_factor: u32,
}

impl WindowScheduler {
    /// From the settings and the journal's state. With `until`, the source is done when everything before it is covered
    /// (and rechecked once, if rechecks are enabled).
    pub(crate) fn new(settings: &SourceSettings, state: &SourceState, until: Option<Timestamp>) -> Self {
        let start = settings.starts_at(state.first_started_at);
        // At the first start, what becomes readable later belongs to live windows, poll by poll: a backfill that went on
        // to `now - delay` would follow it in slices as short as a request.
        let live_since = state.rewound_to.map_or(state.first_started_at, |to| to.max(state.first_started_at));
        Self {
            start,
            live_from: (live_since - settings.spec.delay).max(start),
            fixed_end: settings.end_time.into_iter().chain(until).min(),
            once: until.is_some(),
            spec: settings.spec.clone(),
            first_started_at: state.first_started_at,
            coverage: state.settled(),
            open: state.open.iter().map(|open: &OpenWindow| (open.id, open.window)).collect(),
            last_recheck_at: state.last_recheck_at,
            rechecked: false,
            slice_factor: 1,
        }
    }

    /// The next live work. `poll_due` tells whether the poll interval has passed; a head that is more than a slice
    /// behind, or that reaches its fixed end, does not wait for it.
    pub(crate) fn next_live(&self, now: Timestamp, poll_due: bool) -> Option<Work> {
        if let Some(id) = self.oldest_open(Priority::Live) {
            return Some(Work::Resume(id));
        }
        let head = TimeRange::new(self.head(), self.wanted_end(now));
        let catching_up = ranges::length(head) > self.spec.slice;
        let last = self.fixed_end.is_some_and(|end| head.to >= end);
        if head.is_empty() || !(poll_due || catching_up || last) {
            return None;
        }
        let covers = TimeRange::new(head.from, self.window_end(head, self.spec.slice));
        Some(Work::Begin(self.window(WindowKind::Live, covers)))
    }

    /// The next backfill work: open windows, rechecks, gaps.
    pub(crate) fn next_backfill(&self, now: Timestamp) -> Option<Work> {
        if let Some(id) = self.oldest_open(Priority::Backfill) {
            return Some(Work::Resume(id));
        }
        if let Some(fetch_range) = self.recheck_due(now) {
            return Some(Work::Begin(self.recheck_window(fetch_range)));
        }
        self.next_slice(now).map(|covers| Work::Begin(self.window(WindowKind::Backfill, covers)))
    }

    /// Whether nothing will ever be left to do.
    pub(crate) fn is_done(&self, now: Timestamp) -> bool {
        let Some(end) = self.fixed_end else { return false };
        let rechecked = !self.once || self.rechecked || self.recheck_range(now).is_none();
        rechecked && self.open.is_empty() && self.missing_until(end).is_empty()
    }

    /// What should be covered by now; may be empty.
    pub(crate) fn wanted(&self, now: Timestamp) -> TimeRange {
        TimeRange::new(self.start, self.wanted_end(now).max(self.start))
    }

    /// Where the next live window would begin if no window were open: what is missing before belongs to backfill.
    pub(crate) fn covered_head(&self) -> Timestamp {
        let covered = self.coverage.last().map_or(self.start, |range| range.to);
        self.live_from.max(covered)
    }

    /// When the last live window can be opened, if there is a last one.
    pub(super) fn last_poll_at(&self) -> Option<Timestamp> {
        self.fixed_end.map(|end| end + self.spec.delay)
    }

    /// When enough time beyond the head will be readable for a live window to be worth a request.
    pub(crate) fn next_live_at(&self) -> Timestamp {
        self.head() + self.spec.delay + SHORTEST_SPLIT
    }

    /// A window was opened.
    pub(crate) fn opened(&mut self, id: WindowId, window: NewWindow) {
        self.open.push((id, window));
    }

    /// A window completed, after `records_read` records.
    pub(crate) fn completed(&mut self, id: WindowId, at: Timestamp, records_read: u64) {
        let Some(window) = self.take_open(id) else { return };
        match window.kind {
            WindowKind::Backfill if records_read == 0 => {
                self.slice_factor = (self.slice_factor * 2).min(LONGEST_SLICE_FACTOR);
            }
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
        self.slice_factor = 1;
    }

    /// The two windows that a window can be split into, or `None` if splitting would not make the scans shorter: it is
    /// too short already, or most of what it requests is overlap, which both parts would have to request again.
    pub(super) fn bisect(&self, window: NewWindow) -> Option<[NewWindow; 2]> {
        let whole = if window.kind == WindowKind::Recheck { window.fetch_range } else { window.covers };
        let length = ranges::length(whole);
        let step = self.spec.time_granularity;
        if length < SHORTEST_SPLIT.max(step * 2) || length * 2 < ranges::length(window.fetch_range) {
            return None;
        }
        let middle = floored_inside(whole, whole.from + length / 2, step.max(SHORTEST_SPLIT / 2));
        let [first, second] = [TimeRange::new(whole.from, middle), TimeRange::new(middle, whole.to)];
        if window.kind == WindowKind::Recheck {
            return Some([self.recheck_window(first), self.recheck_window(second)]);
        }
        Some([self.window(window.kind, first), self.window(window.kind, second)])
    }

    /// The ranges whose keys are needed in memory: what open windows request, and what future live windows and rechecks
    /// will.
    pub(super) fn ranges_in_use(&self) -> Vec<TimeRange> {
        let lookback = self.spec.recheck.map_or(Duration::ZERO, |recheck| recheck.lookback);
        let recent = self.head() - self.spec.overlap.max(lookback) - self.spec.time_granularity * 3 - SHORTEST_SPLIT;
        let mut in_use = vec![TimeRange::new(recent, Timestamp::MAX)];
        in_use.extend(self.open.iter().map(|(_, window)| key_range(window, &self.spec)));
        ranges::merged(in_use)
    }

    /// Whether a moment is in complete coverage.
    pub(super) fn is_covered(&self, at: Timestamp) -> bool {
        self.coverage.iter().any(|range| ranges::contains(*range, at))
    }

    /// How far the clock is behind the coverage: more than a little means that it was set back.
    pub(super) fn clock_behind_by(&self, now: Timestamp) -> Duration {
        self.coverage.last().map_or(Duration::ZERO, |range| range.to.since(now))
    }

    /// An open window.
    pub(crate) fn window_of(&self, id: WindowId) -> Option<NewWindow> {
        self.open.iter().find(|(open, _)| *open == id).map(|(_, window)| *window)
    }

    /// Every moment before `end` that should be covered and is not.
    fn missing_until(&self, end: Timestamp) -> Vec<TimeRange> {
        let mut taken = self.coverage.clone();
        taken.extend(self.open.iter().map(|(_, window)| window.covers));
        ranges::without(TimeRange::new(self.start, end), &ranges::merged(taken))
    }

    fn next_slice(&self, now: Timestamp) -> Option<TimeRange> {
        let gaps = self.missing_until(self.wanted_end(now).min(self.head()));
        let gap = *gaps.first()?;
        let longest = self.spec.slice.saturating_mul(self.slice_factor);
        Some(TimeRange::new(gap.from, self.window_end(gap, longest)))
    }

    fn recheck_due(&self, now: Timestamp) -> Option<TimeRange> {
        let recheck = self.spec.recheck?;
        let due = match self.fixed_end {
            Some(end) if self.once => !self.rechecked && self.open.is_empty() && self.missing_until(end).is_empty(),
            _ => self.interval_passed(recheck, now),
        };
        self.recheck_range(now).filter(|_| due)
    }

    /// What a recheck would read again: covered time only.
    fn recheck_range(&self, now: Timestamp) -> Option<TimeRange> {
        let from = (now - self.spec.recheck?.lookback).max(self.start);
        let range = TimeRange::new(from, self.wanted_end(now).min(self.head()));
        (!range.is_empty()).then_some(range)
    }

    /// A recheck in the future means that the clock was set back: one recheck too many is better than none for long.
    fn interval_passed(&self, recheck: Recheck, now: Timestamp) -> bool {
        let last = self.last_recheck_at.unwrap_or(self.first_started_at);
        last > now || now.since(last) >= recheck.interval
    }

    fn wanted_end(&self, now: Timestamp) -> Timestamp {
        let readable = now - self.spec.delay;
        self.fixed_end.map_or(readable, |end| end.min(readable))
    }

    /// Where the next live window begins.
    fn head(&self) -> Timestamp {
        let covered = self.coverage.last().map(|range| range.to);
        let opened = self.open.iter().map(|(_, window)| window.covers.to).max();
        self.live_from.max(covered.max(opened).unwrap_or(self.start))
    }

    fn oldest_open(&self, priority: Priority) -> Option<WindowId> {
        let matching = self.open.iter().filter(|(_, window)| Priority::of(window.kind) == priority);
        matching
            .min_by_key(|(id, window)| (window.kind == WindowKind::Recheck, window.covers.from, *id))
            .map(|(id, _)| *id)
    }

    fn take_open(&mut self, id: WindowId) -> Option<NewWindow> {
        let index = self.open.iter().position(|(open, _)| *open == id)?;
        Some(self.open.swap_remove(index).1)
    }

    fn window(&self, kind: WindowKind, covers: TimeRange) -> NewWindow {
        NewWindow { kind, covers, fetch_range: self.fetch_range(covers), kept: TimeRange::ALL }
    }

    fn recheck_window(&self, range: TimeRange) -> NewWindow {
        let covers = TimeRange::new(range.from, range.from);
        NewWindow { kind: WindowKind::Recheck, covers, fetch_range: self.aligned(range), kept: TimeRange::ALL }
    }

    /// Where a window that begins like `range` ends: after `longest` at most, on a whole step of the time filter.
    fn window_end(&self, range: TimeRange, longest: Duration) -> Timestamp {
        if ranges::length(range) <= longest {
            return range.to;
        }
        let longest = longest.max(self.spec.time_granularity);
        floored_inside(range, (range.from + longest).min(range.to), self.spec.time_granularity)
    }

    /// What to request to cover a range: the overlap before it too, but nothing before the start.
    fn fetch_range(&self, covers: TimeRange) -> TimeRange {
        let from = (covers.from - self.spec.overlap).max(self.start.min(covers.from));
        self.aligned(TimeRange::new(from, covers.to))
    }

    /// In whole steps of the time filter. One step more at the old end, even before the start: some filters exclude the
    /// moment that they name, and a vendor's day may begin west of UTC, hours after ours. `filter` drops what is too old.
    fn aligned(&self, range: TimeRange) -> TimeRange {
        let step = self.spec.time_granularity;
        TimeRange::new(range.from.floor_to(step) - step, range.to.ceil_to(step))
    }
}

/// The range whose keys a window's scan needs: what it requests, and a margin on both sides, because the bounds of some
/// filters are inclusive.
pub(super) fn key_range(window: &NewWindow, spec: &ApiSpec) -> TimeRange {
    let margin = spec.time_granularity.max(Duration::from_secs(1));
    let to = if window.kind == WindowKind::Live { Timestamp::MAX } else { window.fetch_range.to + margin };
    TimeRange::new(window.fetch_range.from - margin, to)
}

/// `at` floored to a step, if that is still inside the range; else `at` as it is.
fn floored_inside(range: TimeRange, at: Timestamp, step: Duration) -> Timestamp {
    let floored = at.floor_to(step);
    if floored > range.from { floored } else { at }
}

/// Warns when this machine's clock was set back behind what is covered already.
#[derive(Debug, Default)]
pub(super) struct ClockMonitor {
    warned_at: Option<Instant>,
}

impl ClockMonitor {
    /// Warns if the clock is `behind` the coverage, at most once an hour. Returns whether it warned.
    pub(super) fn check(&mut self, behind: Duration, at: Instant) -> bool {
        let warned_lately = self.warned_at.is_some_and(|warned| at.duration_since(warned) < CLOCK_WARNING_INTERVAL);
        if behind <= CLOCK_TOLERANCE || warned_lately {
            return false;
        }
        self.warned_at = Some(at);
        tracing::warn!(
            event = "clock_behind_coverage",
            behind_secs = behind.as_secs_f64(),
            hint = "set the clock, then run `auditflow state rewind` for this source or widen its `overlap`",
            "this machine's clock is behind the collected time: nothing new is read until it catches up, and later events may be missed"
        );
        true
    }
}

#[cfg(test)]
mod tests;
