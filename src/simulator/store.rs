//! A vendor's records: those that are visible, sorted by time, and those that will be.
//!
//! ```text
//! feed, control --add--> pending (by the moment they become visible) --advance(now)--> visible (by time) --> pages
//! ```
//!
//! Each record is rendered once; pages paste its text as it stands.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::time::Timestamp;

/// One record, ready to be served.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its own time: where it stands in the order and what time filters look at.
    pub(super) at: Timestamp,
    /// Tells records of one moment apart, in the order in which they were written.
    pub(super) sequence: u64,
    /// The time of its latest occurrence.
    pub(super) last_at: Timestamp,
    /// From when on it is served.
    pub(super) visible_at: Timestamp,
    /// The text that is served.
    pub(super) raw: Box<str>,
    /// Whether it has no usable time, or is no object.
    pub(super) malformed: bool,
    /// The texts that were served before it changed, oldest first.
    pub(super) earlier: Vec<Box<str>>,
    /// How many of its versions were served in a page.
    pub(super) versions_served: u32,
    /// Whether the present version was served in a page.
    pub(super) served: bool,
}

/// What a record is addressed by: its time and sequence.
pub(super) type Place = (Timestamp, u64);

impl Record {
    pub(super) fn new(at: Timestamp, sequence: u64, visible_at: Timestamp, raw: String) -> Self {
        Self {
            at,
            sequence,
            last_at: at,
            visible_at: visible_at.max(Timestamp::EPOCH),
            raw: raw.into_boxed_str(),
            malformed: false,
            earlier: Vec::new(),
            versions_served: 0,
            served: false,
        }
    }

    pub(super) fn place(&self) -> Place {
        (self.at, self.sequence)
    }
}

/// Something that will happen to the store.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// A record becomes visible.
    Appear(Record),
    /// A visible record becomes another version of itself.
    Change {
        /// Which record.
        place: Place,
        /// Its new text.
        raw: String,
        /// Its new latest occurrence.
        last_at: Timestamp,
    },
}

/// A span of time with its bounds: `from` belongs to it, `to` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) from: Timestamp,
    pub(super) to: Timestamp,
}

impl Window {
    /// All of time.
    pub(super) const ALL: Self = Self { from: Timestamp::from_nanos(i64::MIN), to: Timestamp::MAX };

    pub(super) fn contains(&self, at: Timestamp) -> bool {
        self.from <= at && at < self.to
    }

    /// Without what is older than `oldest`.
    pub(super) fn not_before(self, oldest: Option<Timestamp>) -> Self {
        Self { from: self.from.max(oldest.unwrap_or(self.from)), ..self }
    }
}

/// A vendor's records.
#[derive(Debug, Default)]
pub(super) struct Store {
    visible: Vec<Record>,
    pending: BTreeMap<(Timestamp, u64), Pending>,
    pending_number: u64,
}

impl Store {
    /// Puts something into the future (or into the present, which [`Self::advance`] then does).
    pub(super) fn schedule(&mut self, at: Timestamp, pending: Pending) {
        self.pending_number += 1;
        self.pending.insert((at, self.pending_number), pending);
    }

    /// Whether something is still to appear or to change.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Lets everything happen whose time has come.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > now {
                return;
            }
            match entry.remove() {
                Pending::Appear(record) => self.insert(record),
                Pending::Change { place, raw, last_at } => {
                    self.change(place, raw, Some(last_at));
                }
            }
        }
    }

    fn insert(&mut self, record: Record) {
        let place = record.place();
        if self.visible.last().is_none_or(|last| last.place() < place) {
            self.visible.push(record);
            return;
        }
        let index = self.visible.partition_point(|other| other.place() < place);
        self.visible.insert(index, record);
    }

    /// Gives a visible record another text; false if there is no such record.
    pub(super) fn change(&mut self, place: Place, raw: String, last_at: Option<Timestamp>) -> bool {
        let Ok(index) = self.visible.binary_search_by_key(&place, Record::place) else { return false };
        let record = &mut self.visible[index];
        record.earlier.push(std::mem::replace(&mut record.raw, raw.into_boxed_str()));
        record.last_at = last_at.unwrap_or(record.last_at);
        record.served = false;
        true
    }

    /// The visible records, oldest first.
    pub(super) fn visible(&self) -> &[Record] {
        &self.visible
    }

    /// The visible records of a window, by their place among all.
    pub(super) fn range(&self, window: Window) -> Range<usize> {
        let from = self.visible.partition_point(|record| record.at < window.from);
        let to = self.visible.partition_point(|record| record.at < window.to);
        from..to.max(from)
    }

    /// Finds a visible record by its sequence.
    pub(super) fn find(&self, sequence: u64) -> Option<&Record> {
        self.visible.iter().find(|record| record.sequence == sequence)
    }

    /// Notes that these records were served.
    pub(super) fn mark_served(&mut self, indices: &[usize]) {
        for index in indices {
            let record = &mut self.visible[*index];
            if !record.served {
                record.served = true;
                record.versions_served += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(at: i64, sequence: u64, visible_at: i64) -> Record {
        Record::new(Timestamp::from_secs(at), sequence, Timestamp::from_secs(visible_at), format!("{sequence}"))
    }

    fn store() -> Store {
        let mut store = Store::default();
        for (at, sequence, visible_at) in [(1, 0, 1), (2, 1, 9), (2, 2, 2), (5, 3, 5)] {
            let record = record(at, sequence, visible_at);
            store.schedule(record.visible_at, Pending::Appear(record));
        }
        store
    }

    fn sequences(store: &Store) -> Vec<u64> {
        store.visible().iter().map(|record| record.sequence).collect()
    }

    #[test]
    fn records_appear_at_their_moment_and_in_order_of_time() {
        let mut store = store();
        store.advance(Timestamp::from_secs(5));
        assert_eq!(sequences(&store), [0, 2, 3]);
        store.advance(Timestamp::from_secs(9));
        assert_eq!(sequences(&store), [0, 1, 2, 3]);
    }

    #[test]
    fn a_window_holds_its_start_and_not_its_end() {
        let mut store = store();
        store.advance(Timestamp::from_secs(9));
        assert_eq!(store.range(Window { from: Timestamp::from_secs(2), to: Timestamp::from_secs(5) }), 1..3);
        assert_eq!(store.range(Window { from: Timestamp::from_secs(7), to: Timestamp::from_secs(1) }), 4..4);
    }

    #[test]
    fn a_changed_record_keeps_what_was_served_before() {
        let mut store = store();
        store.advance(Timestamp::from_secs(9));
        store.mark_served(&[0]);
        assert!(store.change((Timestamp::from_secs(1), 0), "new".into(), None));
        store.mark_served(&[0, 1]);
        let record = store.find(0).expect("the record");
        assert_eq!((&*record.raw, &*record.earlier[0], record.versions_served), ("new", "0", 2));
        assert!(!store.change((Timestamp::from_secs(1), 77), "x".into(), None));
    }
}
