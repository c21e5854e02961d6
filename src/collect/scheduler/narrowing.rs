//! Time that resists: windows that are set aside, the parts that they are split into, and what is unreadable.
//!
//! ```text
//!   |------ overlap ------|---------- covers ----------|    a window of which a page fails again and again
//!   |--- read alone ------|------------|-------|x|-----|    parts read what they cover; x is unreadable
//!                                                ^----|-- covers --|    the overlap of newer windows begins behind it
//! ```

use std::time::Duration;

use super::{WindowScheduler, floored_inside};
use crate::collect::ranges;
use crate::journal::{NewWindow, WindowId};
use crate::time::{TimeRange, Timestamp};

impl WindowScheduler {
    /// Windows that are set aside, each with whether it pauses now; replaces what was said before.
    pub(in crate::collect) fn set_aside(&mut self, windows: Vec<(WindowId, bool)>) {
        self.aside = windows;
    }

    /// This time cannot be read.
    pub(in crate::collect) fn note_unreadable(&mut self, range: TimeRange) {
        self.unreadable.push(range);
        self.unreadable = ranges::merged(std::mem::take(&mut self.unreadable));
    }

    /// This time was read.
    pub(super) fn note_read(&mut self, range: TimeRange) {
        let unreadable = std::mem::take(&mut self.unreadable);
        self.unreadable = unreadable.into_iter().flat_map(|known| ranges::without(known, &[range])).collect();
    }

    /// Whether a window that is set aside pauses now; `None` if it is not set aside.
    pub(super) fn pauses_aside(&self, id: WindowId) -> Option<bool> {
        self.aside.iter().find(|(aside, _)| *aside == id).map(|(_, pauses)| *pauses)
    }

    /// Until when the last time before `at` cannot be read now, and at most a step of the time filter more.
    pub(super) fn unreadable_until(&self, at: Timestamp) -> Option<Timestamp> {
        let failing = self.open.iter().filter(|(id, _)| self.aside.iter().any(|(aside, _)| aside == id));
        let failing =
            failing.map(|(_, window)| if window.covers.is_empty() { window.fetch_range } else { window.covers });
        let ends = failing.chain(self.unreadable.iter().copied()).map(|range| range.to).filter(|to| *to <= at);
        ends.max().map(|to| (to + self.spec.time_granularity).min(at))
    }

    /// The two windows that a window which cannot be read whole is split into, down to steps of the time filter. They
    /// leave out its overlap: [`Self::overlap_window`] reads it.
    pub(in crate::collect) fn narrow(&self, window: NewWindow) -> Option<[NewWindow; 2]> {
        let whole = if window.covers.is_empty() { window.fetch_range } else { window.covers };
        let step = self.spec.time_granularity.max(Duration::from_millis(1));
        if ranges::length(whole) < step * 2 {
            return None;
        }
        let middle = floored_inside(whole, whole.from + ranges::length(whole) / 2, step);
        let parts = [TimeRange::new(whole.from, middle), TimeRange::new(middle, whole.to)];
        Some(parts.map(|part| match window.covers.is_empty() {
            true => NewWindow { fetch_range: self.stepped(part), ..self.lookback_window(part) },
            false => NewWindow { covers: part, fetch_range: self.aligned(part), ..window },
        }))
    }

    /// What reads the overlap of a window that is narrowed; `None` if it has none.
    pub(in crate::collect) fn overlap_window(&self, window: NewWindow) -> Option<NewWindow> {
        let alone = self.aligned(window.covers);
        let overlap = TimeRange::new(window.fetch_range.from, alone.from);
        let has_overlap = !window.covers.is_empty() && overlap.from < overlap.to;
        has_overlap.then(|| NewWindow { fetch_range: overlap, ..self.lookback_window(overlap) })
    }

    /// A window that reads an overlap alone was opened.
    pub(in crate::collect) fn opened_overlap(&mut self, id: WindowId, window: NewWindow) {
        self.overlaps.push(id);
        self.opened(id, window);
    }

    /// In whole steps of the time filter, for windows that cover nothing: their ends need not be met.
    fn stepped(&self, range: TimeRange) -> TimeRange {
        let step = self.spec.time_granularity;
        TimeRange::new(range.from.floor_to(step), range.to.ceil_to(step))
    }
}
