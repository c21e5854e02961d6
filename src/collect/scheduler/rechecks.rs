//! Rechecks: covered time whose records change later, and time that is due to be read again.
//!
//! ```text
//!   lookback   |<-------- read again every interval -------->| now    decides the state of no time
//!   due        |--- in doubt ---|       |- unreadable -|              one window at a time: decides its state anew
//! ```

use super::{TimeRange, Timestamp, WindowKind, WindowScheduler, Work, is_due_recheck, ranges};
use crate::journal::{DueRecheck, NewWindow};
use crate::vendors::Recheck;

impl WindowScheduler {
    /// The next window of time that is due to be read again.
    pub(crate) fn next_due(&self) -> Option<Work> {
        let mut open = self.open.iter().filter(|(_, window)| is_due_recheck(window)).peekable();
        if open.peek().is_some() {
            let ready = open.find(|(id, _)| self.pauses_aside(*id) != Some(true) && !self.paused.windows.contains(id));
            return ready.map(|(id, _)| Work::Resume(*id));
        }
        let due = self.due.first()?.range;
        let covers = TimeRange::new(due.from, self.window_end(due, self.spec.slice));
        Some(Work::Begin(self.recheck_window(covers)))
    }

    /// Time that is due to be read again, in order of urgency; replaces what was due before. Time that is not wanted any
    /// more is left out.
    pub(crate) fn recheck(&mut self, due: &[DueRecheck]) {
        let wanted = |due: &DueRecheck| DueRecheck { range: ranges::intersection(due.range, self.kept), ..due.clone() };
        self.due = due.iter().map(wanted).filter(|due| !due.range.is_empty()).collect();
    }

    /// What is known of the time that a recheck reads again: the state that it was given before.
    pub(in crate::collect) fn due_of(&self, window: &NewWindow) -> Option<&DueRecheck> {
        let is_of = |due: &&DueRecheck| ranges::contains(due.range, window.covers.from);
        self.due.iter().find(is_of).filter(|_| is_due_recheck(window))
    }

    /// Whether time that is due is left.
    pub(in crate::collect) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(super) fn recheck_due(&self, now: Timestamp) -> Option<TimeRange> {
        let recheck = self.spec.recheck?;
        let due = match self.end {
            Some(end) if self.until.is_some() => {
                !self.rechecked && self.open.is_empty() && self.missing_until(end.at).is_empty()
            }
            _ => self.interval_passed(recheck, now),
        };
        self.recheck_range(now).filter(|_| due)
    }

    /// What a recheck would read again: covered time only.
    pub(super) fn recheck_range(&self, now: Timestamp) -> Option<TimeRange> {
        let from = (now - self.spec.recheck?.lookback).max(self.start);
        let range = TimeRange::new(from, self.wanted_end(now).min(self.head()));
        (!range.is_empty()).then_some(range)
    }

    /// A recheck in the future means that the clock was set back: one recheck too many is better than none for long.
    fn interval_passed(&self, recheck: Recheck, now: Timestamp) -> bool {
        let last = self.last_recheck_at.unwrap_or(self.first_started_at);
        last > now || now.since(last) >= recheck.interval
    }

    /// Reads records again that change later. Decides the state of no time.
    pub(super) fn lookback_window(&self, range: TimeRange) -> NewWindow {
        let covers = TimeRange::new(range.from, range.from);
        NewWindow { kind: WindowKind::Recheck, covers, fetch_range: self.aligned(range), kept: self.kept }
    }

    /// Reads time again whose state it decides. It keeps no records of other time: their dedup keys may be gone.
    pub(super) fn recheck_window(&self, covers: TimeRange) -> NewWindow {
        let kept = ranges::intersection(covers, self.kept);
        NewWindow { kind: WindowKind::Recheck, covers, fetch_range: self.aligned(covers), kept }
    }
}
