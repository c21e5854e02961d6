//! Which window a source reads next. Pure: the caller passes the time and reports what became of the windows.
//!
//! ```text
//!   start             first start - delay              head (end of coverage)      now - delay
//!     |--- covered ---|.... gap ....|------ covered ------|..... next live window .....|
//!                      ^ backfill: slices, oldest first    ^ live windows, always first
//!
//!   wanted  = [start, now - delay), never beyond end_time
//!   missing = wanted - coverage - what open windows cover
//!
//!   kept         [start, end_time) of the settings with which a window opens; a window covers a part of it
//!   last second  with end_time, polls go on for `overlap` after it, so that late records of the last overlap are read
//!                too: each covers a part of the last second, the last one its end
//!                    ---- covered ----|1s|  end_time --- poll --- poll --- overlap --->| last window
//! ```
//!
//! Coverage is the only cursor: whatever was interrupted, split or reconfigured in between, what is missing is computed
//! afresh each time, so every moment is covered by exactly one window. An earlier `backfill_start_time` opens a gap at
//! the old end, which is filled; a later one leaves the coverage alone. Coverage that a rewind removed is a gap too: live
//! windows do not wait for it.
//!
//! Settings may change while windows are open. If they change what one of them would keep, all open windows are discarded
//! at the start ([`has_outdated`]), and what is wanted of their time is planned afresh. All of them, because a window
//! leaves out what another one has staged.
//!
//! Time filters of whole days: the vendor's days may begin in any zone, from 12 hours west of UTC to 14 hours east of it,
//! and the last day of a request may not count. A window therefore requests the days that its time has in every zone, and
//! the next one if its end is already that day somewhere. So all that a window covers was requested, the present day is
//! read by each poll, and time up to `now - delay` may be covered.
//!
//! A window that is scanned again pauses before. Backfill goes on with other windows meanwhile; live windows wait, since
//! the next one would read the same time again.
//!
//! A window whose requests fail while others succeed is set aside: it counts as backfill, and newer windows leave its time
//! out of their overlap, as they do with time that is unreadable.
//!
//! Within backfill, open windows come first, then a recheck of records that change later, then the next slice: a backfill
//! of months must not delay changed records. Rechecks of time that is due are scheduled apart, one window at a time;
//! they keep only records of the time that they cover. [`PollMonitor`] gives backfill a page after each live window, so that polls that
//! take longer than `poll_interval` do not hold it up.

mod narrowing;
mod rechecks;

use std::time::Duration;

use super::end::{End, LAST_PART};
use super::options::SourceSettings;
use super::ranges;
use super::rate::Priority;
use crate::journal::{CoverageState, DueRecheck, NewWindow, SourceState, WindowId, WindowKind};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::ApiSpec;

/// After empty slices, the next one is at most this many times as long as configured.
const LONGEST_SLICE_FACTOR: u32 = 32;
/// So many windows of the backfill may wait for their next scan at once, with so many records: the keys of what they have
/// read are in memory, and the records are staged.
const MOST_PAUSED: usize = 8;
const MOST_PAUSED_RECORDS: usize = 100_000;
/// No window is split into parts shorter than half of this, and the first live window is not shorter.
const SHORTEST_SPLIT: Duration = Duration::from_secs(1);
/// Coverage ends before the present; a clock that is behind it by more than this was set back.
pub(super) const CLOCK_TOLERANCE: Duration = Duration::from_secs(5);
/// Time filters of this granularity or coarser count in the vendor's own days.
const DAY: Duration = Duration::from_secs(86_400);
/// No zone is further ahead of UTC.
const EASTERNMOST: Duration = Duration::from_secs(14 * 3_600);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Continue an open window.
    Resume(WindowId),
    /// Open this window.
    Begin(NewWindow),
}

/// Windows that wait for their next scan.
#[derive(Clone, Debug, Default)]
pub(super) struct Paused {
    /// Which ones.
    pub(super) windows: Vec<WindowId>,
    /// How many records they hold.
    pub(super) records: usize,
    /// All windows of which pages were read.
    pub(super) begun: Vec<WindowId>,
}

/// Schedules the windows of one source.
#[derive(Debug)]
pub(crate) struct WindowScheduler {
    start: Timestamp,
    /// What new windows keep.
    kept: TimeRange,
    end: Option<End>,
    spec: ApiSpec,
    first_started_at: Timestamp,
    /// No live window begins before this moment.
    live_from: Timestamp,
    coverage: Vec<TimeRange>,
    open: Vec<(WindowId, NewWindow)>,
    last_recheck_at: Option<Timestamp>,
    rechecked: bool,
    /// Time that is due to be read again, in order of urgency.
    due: Vec<DueRecheck>,
    slice_factor: u32,
    /// Windows that are set aside, each with whether it pauses now.
    aside: Vec<(WindowId, bool)>,
    /// Windows that wait for their next scan.
    paused: Paused,
    /// Time that is unreadable.
    unreadable: Vec<TimeRange>,
    /// Windows that read an overlap alone.
    overlaps: Vec<WindowId>,
    configured_end: Option<Timestamp>,
    until: Option<Timestamp>,
}

/// Whether an open window keeps something else of what it reads than today's settings say. Then all open windows are
/// discarded: what of their time is wanted is planned afresh.
pub(crate) fn has_outdated(settings: &SourceSettings, state: &SourceState) -> bool {
    let kept = settings.kept(state.first_started_at);
    state.open.iter().any(|open| {
        let read = time_read(&open.window, settings.longest_overlap());
        ranges::intersection(open.window.kept, read) != ranges::intersection(kept, read)
    })
}

/// The time whose records a window is for.
fn time_read(window: &NewWindow, overlap: Duration) -> TimeRange {
    match window.kind {
        WindowKind::Recheck if window.covers.is_empty() => window.fetch_range,
        WindowKind::Recheck => window.covers,
        WindowKind::Live | WindowKind::Backfill => TimeRange::new(window.covers.from - overlap, window.covers.to),
    }
}

impl WindowScheduler {
    /// From the settings and the journal's state. With `until`, the source is done when everything before it is covered
    /// (and rechecked once, if rechecks are enabled).
    pub(crate) fn new(settings: &SourceSettings, state: &SourceState, until: Option<Timestamp>) -> Self {
        let start = settings.starts_at(state.first_started_at);
        // At the first start, what becomes readable later belongs to live windows, poll by poll: a backfill that went on
        // to `now - delay` would follow it in slices as short as a request.
        let live_since = state.rewound_to.map_or(state.first_started_at, |to| to.max(state.first_started_at));
        let open = if has_outdated(settings, state) { &[] } else { state.open.as_slice() };
        Self {
            start,
            kept: settings.kept(state.first_started_at),
            live_from: (live_since - settings.spec.delay).max(start),
            end: End::of(settings.end_time, &settings.spec, until),
            spec: settings.spec.clone(),
            first_started_at: state.first_started_at,
            coverage: state.decided(),
            open: open.iter().map(|open| (open.id, open.window)).collect(),
            last_recheck_at: state.last_recheck_at,
            rechecked: false,
            due: Vec::new(),
            slice_factor: 1,
            aside: Vec::new(),
            paused: Paused::default(),
            unreadable: unreadable_of(state),
            overlaps: Vec::new(),
            configured_end: settings.end_time,
            until,
        }
    }

    /// Windows that wait for their next scan; replaces what was said before. Backfill goes on meanwhile: a vendor whose
    /// answers disagree would otherwise hold it up for a minute and more with each slice.
    pub(super) fn set_paused(&mut self, paused: Paused) {
        self.paused = paused;
    }

    /// Whether a live window waits for its next scan: no other one begins before it.
    pub(super) fn live_pauses(&self) -> bool {
        self.paused_count(Priority::Live) > 0
    }

    /// How many windows of a priority wait for their next scan.
    fn paused_count(&self, priority: Priority) -> usize {
        let of_priority = |window: NewWindow| Priority::of(window.kind) == priority && !is_due_recheck(&window);
        let paused = self.paused.windows.iter().filter(|id| self.pauses_aside(**id).is_none());
        paused.filter_map(|id| self.window_of(*id)).filter(|window| of_priority(*window)).count()
    }

    /// How much of the recent past new windows read again.
    pub(super) fn overlap(&self) -> Duration {
        self.spec.overlap
    }

    /// Sets how much of the recent past new windows read again. Returns whether that is a change.
    pub(super) fn set_overlap(&mut self, overlap: Duration) -> bool {
        let before = std::mem::replace(&mut self.spec.overlap, overlap);
        self.end = End::of(self.configured_end, &self.spec, self.until);
        before != overlap
    }

    /// The vendor's clock is this much behind. A run that ends at a moment does not wait for the vendor to reach it.
    pub(super) fn set_clock_behind(&mut self, behind: Duration) {
        if let Some(until) = self.until {
            self.end = End::of(self.configured_end, &self.spec, Some(until - behind));
        }
    }

    /// The next live work. `poll_due` tells whether the poll interval has passed; a head that is more than a slice
    /// behind, or that reaches its fixed end, does not wait for it.
    pub(crate) fn next_live(&self, now: Timestamp, poll_due: bool) -> Option<Work> {
        if let Some(id) = self.oldest_open(Priority::Live, |_| true) {
            return Some(Work::Resume(id));
        }
        if self.live_pauses() {
            return None;
        }
        let head = TimeRange::new(self.head(), self.wanted_end(now));
        let catching_up = ranges::length(head) > self.spec.slice;
        let last = self.end.is_some_and(|end| head.to >= end.at);
        if head.is_empty() || !(poll_due || catching_up || last) {
            return None;
        }
        let covers = TimeRange::new(head.from, self.window_end(head, self.spec.slice));
        Some(Work::Begin(self.window(WindowKind::Live, covers)))
    }

    /// The next backfill work: open windows, rechecks of records that change later, gaps.
    pub(crate) fn next_backfill(&self, now: Timestamp) -> Option<Work> {
        let is_full = self.paused_count(Priority::Backfill) >= MOST_PAUSED || self.paused.records > MOST_PAUSED_RECORDS;
        // What was begun holds records already: it is finished before another window adds its own.
        let may_go_on = |id: WindowId| !is_full || self.paused.begun.contains(&id);
        if let Some(id) = self.oldest_open(Priority::Backfill, may_go_on) {
            return Some(Work::Resume(id));
        }
        if is_full {
            return None;
        }
        if let Some(range) = self.recheck_due(now) {
            return Some(Work::Begin(self.lookback_window(range)));
        }
        let covers = self.next_slice(now)?;
        Some(Work::Begin(self.window(WindowKind::Backfill, covers)))
    }

    /// Whether nothing will ever be left to do.
    pub(crate) fn is_done(&self, now: Timestamp) -> bool {
        let Some(end) = self.end else { return false };
        let rechecked = self.until.is_none() || self.rechecked || self.recheck_range(now).is_none();
        rechecked && self.open.is_empty() && self.due.is_empty() && self.missing_until(end.at).is_empty()
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
        self.end.map(|end| end.readable_at)
    }

    /// When enough time beyond the head will be readable for a live window to be worth a request.
    pub(crate) fn next_live_at(&self) -> Timestamp {
        self.head() + self.spec.delay + SHORTEST_SPLIT
    }

    /// A window was opened.
    pub(crate) fn opened(&mut self, id: WindowId, window: NewWindow) {
        self.open.push((id, window));
    }

    /// A window completed, after `records_read` records. `covered` is what it covers, or less: cut off at the clock.
    pub(crate) fn completed(&mut self, id: WindowId, covered: TimeRange, at: Timestamp, records_read: u64) {
        let Some(window) = self.take_open(id) else { return };
        match window.kind {
            WindowKind::Recheck if window.covers.is_empty() => {
                if !self.overlaps.contains(&id) {
                    (self.last_recheck_at, self.rechecked) = (Some(at), true);
                }
                self.overlaps.retain(|overlap| *overlap != id);
                return;
            }
            WindowKind::Recheck => {
                self.note_read(window.covers);
                let left = |due: DueRecheck| {
                    let parts = ranges::without(due.range, &[window.covers]);
                    parts.into_iter().map(move |range| DueRecheck { range, ..due.clone() })
                };
                self.due = std::mem::take(&mut self.due).into_iter().flat_map(left).collect();
                return;
            }
            WindowKind::Backfill if records_read == 0 => {
                self.slice_factor = (self.slice_factor * 2).min(LONGEST_SLICE_FACTOR);
            }
            WindowKind::Backfill | WindowKind::Live => {}
        }
        self.coverage.push(covered);
        self.coverage = ranges::merged(std::mem::take(&mut self.coverage));
    }

    /// From where coverage is to be given up, because it lies ahead of the clock by more than a little: what was read less
    /// than `delay` after its time is read again. `None` too if the clock is behind the first start, and so is wrong now.
    pub(super) fn cut_for_clock(&self, now: Timestamp) -> Option<Timestamp> {
        let is_ahead = self.clock_behind_by(now) > CLOCK_TOLERANCE;
        (is_ahead && now >= self.first_started_at).then(|| now - self.spec.delay)
    }

    /// Coverage at and after `from` was given up.
    pub(super) fn cut(&mut self, from: Timestamp) {
        for range in &mut self.coverage {
            range.to = range.to.min(from);
        }
        self.coverage = ranges::merged(std::mem::take(&mut self.coverage));
    }

    /// A window was replaced by two.
    pub(super) fn split(&mut self, id: WindowId, parts: [(WindowId, NewWindow); 2]) {
        self.take_open(id);
        if self.overlaps.contains(&id) {
            self.overlaps.extend(parts.iter().map(|(part, _)| *part));
        }
        self.open.extend(parts);
        self.slice_factor = 1;
    }

    /// The two windows that a window can be split into, or `None` if splitting would not make the scans shorter: it is
    /// too short already, or most of what it requests is overlap, which both parts would have to request again.
    pub(super) fn bisect(&self, window: NewWindow) -> Option<[NewWindow; 2]> {
        let whole = if window.covers.is_empty() { window.fetch_range } else { window.covers };
        let length = ranges::length(whole);
        let step = self.spec.time_granularity;
        if length < SHORTEST_SPLIT.max(step * 2) || length * 2 < ranges::length(window.fetch_range) {
            return None;
        }
        let middle = floored_inside(whole, whole.from + length / 2, step.max(SHORTEST_SPLIT / 2));
        let parts = [TimeRange::new(whole.from, middle), TimeRange::new(middle, whole.to)];
        Some(parts.map(|part| match window.kind {
            WindowKind::Recheck if window.covers.is_empty() => self.lookback_window(part),
            WindowKind::Recheck => self.recheck_window(part),
            WindowKind::Live | WindowKind::Backfill => self.window(window.kind, part),
        }))
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
        let wanted = self.wanted_end(now);
        let gaps = self.missing_until(wanted.min(self.head()));
        let gap = *gaps.first()?;
        // The vendor's clock is behind: what it has not reached yet is read poll by poll, not request by request.
        let still_grows = gap.to == wanted && wanted < self.head() && self.end.is_none_or(|end| wanted < end.at);
        if still_grows && ranges::length(gap) < self.spec.poll_interval {
            return None;
        }
        let longest = self.spec.slice.saturating_mul(self.slice_factor);
        Some(TimeRange::new(gap.from, self.window_end(gap, longest)))
    }

    fn wanted_end(&self, now: Timestamp) -> Timestamp {
        self.end.map_or(now - self.spec.delay, |end| end.wanted(now, self.spec.delay))
    }

    /// Where the next live window begins.
    fn head(&self) -> Timestamp {
        let covered = self.coverage.last().map(|range| range.to);
        let opened = self.open.iter().map(|(_, window)| window.covers.to).max();
        self.live_from.max(covered.max(opened).unwrap_or(self.start))
    }

    fn oldest_open(&self, priority: Priority, may_go_on: impl Fn(WindowId) -> bool) -> Option<WindowId> {
        let unpaused = self.open.iter().filter(|(id, _)| !self.paused.windows.contains(id) && may_go_on(*id));
        let matching = unpaused.filter(|(id, window)| match self.pauses_aside(*id) {
            Some(pauses) => priority == Priority::Backfill && !pauses && !is_due_recheck(window),
            None => Priority::of(window.kind) == priority && !is_due_recheck(window),
        });
        matching
            .min_by_key(|(id, window)| (window.kind == WindowKind::Recheck, window.covers.from, *id))
            .map(|(id, _)| *id)
    }

    fn take_open(&mut self, id: WindowId) -> Option<NewWindow> {
        let index = self.open.iter().position(|(open, _)| *open == id)?;
        Some(self.open.swap_remove(index).1)
    }

    fn window(&self, kind: WindowKind, covers: TimeRange) -> NewWindow {
        NewWindow { kind, covers, fetch_range: self.fetch_range(covers), kept: self.kept }
    }

    /// Where a window that begins like `range` ends: after `longest` at most, on a whole step of the time filter.
    fn window_end(&self, range: TimeRange, longest: Duration) -> Timestamp {
        if ranges::length(range) <= longest {
            return range.to;
        }
        let longest = longest.max(self.spec.time_granularity);
        floored_inside(range, (range.from + longest).min(range.to), self.spec.time_granularity)
    }

    /// What to request to cover a range: the overlap before it too, but nothing before the start, and nothing that cannot
    /// be read now.
    fn fetch_range(&self, covers: TimeRange) -> TimeRange {
        let from = (covers.from - self.spec.overlap).max(self.start.min(covers.from));
        let from = self.unreadable_until(covers.from).map_or(from, |until| until.max(from));
        // A part of the last second counts with each poll, but all of it is requested.
        let end = self.configured_end.filter(|end| covers.to <= *end && covers.to > *end - LAST_PART);
        self.aligned(TimeRange::new(from, end.unwrap_or(covers.to)))
    }

    /// In whole steps of the time filter. One step more at the old end, even before the start: some filters exclude the
    /// moment that they name, and a vendor's day may begin west of UTC, hours after ours. At the new end, the day that it
    /// is in the easternmost zone. What is not to be kept is dropped by `filter`.
    fn aligned(&self, range: TimeRange) -> TimeRange {
        let step = self.spec.time_granularity;
        let to = if step >= DAY { range.to + EASTERNMOST } else { range.to };
        TimeRange::new(range.from.floor_to(step) - step, to.ceil_to(step))
    }
}

/// The range whose keys a window's scan needs: what it requests, and a margin on both sides, because the bounds of some
/// filters are inclusive.
pub(super) fn key_range(window: &NewWindow, spec: &ApiSpec) -> TimeRange {
    let margin = spec.time_granularity.max(Duration::from_secs(1));
    let to = if window.kind == WindowKind::Live { Timestamp::MAX } else { window.fetch_range.to + margin };
    TimeRange::new(window.fetch_range.from - margin, to)
}

/// Whether a window reads time again that is due, and decides its state anew.
pub(super) fn is_due_recheck(window: &NewWindow) -> bool {
    window.kind == WindowKind::Recheck && !window.covers.is_empty()
}

/// `at` floored to a step, if that is still inside the range; else `at` as it is.
fn floored_inside(range: TimeRange, at: Timestamp, step: Duration) -> Timestamp {
    let floored = at.floor_to(step);
    if floored > range.from { floored } else { at }
}

/// Time of a source that is unreadable.
fn unreadable_of(state: &SourceState) -> Vec<TimeRange> {
    let doubtful = state.in_doubt.iter().filter(|doubtful| doubtful.state == CoverageState::Unreadable);
    ranges::merged(doubtful.map(|doubtful| doubtful.range).collect())
}

#[cfg(test)]
mod tests;
