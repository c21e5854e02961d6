//! A vendor's records, visible and pending, and the selection of a page from them.
//!
//! ```text
//! generator, control --schedule--> pending (by visible_at) --advance(now)--> visible (by time) --Selection--> page
//! ```
//!
//! Each record is rendered once; pages contain its text unchanged.

use std::collections::BTreeMap;
use std::ops::Range;

use super::meaning::RecordMeaning;
use super::record_builder::mix;
use super::variants::Order;
use crate::time::Timestamp;

/// One record, ready to be served.
#[derive(Clone, Debug)]
pub(super) struct Record {
    /// Its own time, which orders it and which time filters use.
    pub(super) at: Timestamp,
    /// Distinguishes records of the same time, in the order in which they were generated.
    pub(super) sequence: u64,
    /// The time of its latest occurrence.
    pub(super) last_at: Timestamp,
    /// When it becomes visible.
    pub(super) visible_at: Timestamp,
    /// The text that is served.
    pub(super) raw: Box<str>,
    /// What it says, if the simulator wrote it.
    pub(super) meaning: Option<RecordMeaning>,
    /// Whether it has no usable time or is not an object.
    pub(super) malformed: bool,
    /// The texts that were served before it changed, oldest first.
    pub(super) earlier: Vec<Box<str>>,
    /// How many of its versions were served in a page.
    pub(super) versions_served: u32,
    /// Whether the present version was served in a page.
    pub(super) served: bool,
}

/// The position of a record: its time and sequence.
pub(super) type RecordPosition = (Timestamp, u64);

impl Record {
    pub(super) fn new(at: Timestamp, sequence: u64, visible_at: Timestamp, raw: String) -> Self {
        Self {
            at,
            sequence,
            last_at: at,
            visible_at: visible_at.max(Timestamp::EPOCH),
            raw: raw.into_boxed_str(),
            meaning: None,
            malformed: false,
            earlier: Vec::new(),
            versions_served: 0,
            served: false,
        }
    }

    pub(super) fn position(&self) -> RecordPosition {
        (self.at, self.sequence)
    }
}

/// A pending change of the store.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    /// A record becomes visible.
    Appear(Record),
    /// A visible record becomes another version of itself.
    Change {
        /// Which record.
        position: RecordPosition,
        /// Its new text.
        raw: String,
        /// Its new latest occurrence.
        last_at: Timestamp,
    },
}

/// A time range: `from` is inclusive, `to` is exclusive.
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

    /// Restricted to `oldest` and later.
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
    /// Schedules a change, which [`Self::advance`] applies.
    pub(super) fn schedule(&mut self, at: Timestamp, pending: Pending) {
        self.pending_number += 1;
        self.pending.insert((at, self.pending_number), pending);
    }

    /// Whether a change is pending.
    pub(super) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Applies every change that is due.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(entry) = self.pending.first_entry() {
            if entry.key().0 > now {
                return;
            }
            match entry.remove() {
                Pending::Appear(record) => self.insert(record),
                Pending::Change { position, raw, last_at } => {
                    self.change(position, raw, last_at);
                }
            }
        }
    }

    fn insert(&mut self, record: Record) {
        let position = record.position();
        if self.visible.last().is_none_or(|last| last.position() < position) {
            self.visible.push(record);
            return;
        }
        let index = self.visible.partition_point(|other| other.position() < position);
        self.visible.insert(index, record);
    }

    /// Replaces the text of a visible record by one that says the same. Returns the record, if there is one.
    fn change(&mut self, position: RecordPosition, raw: String, last_at: Timestamp) -> Option<&mut Record> {
        let index = self.visible.binary_search_by_key(&position, Record::position).ok()?;
        let record = &mut self.visible[index];
        record.earlier.push(std::mem::replace(&mut record.raw, raw.into_boxed_str()));
        record.last_at = last_at;
        record.served = false;
        Some(record)
    }

    /// Replaces the text of a visible record by any other; false if there is no such record.
    pub(super) fn replace(&mut self, position: RecordPosition, raw: String, last_at: Timestamp) -> bool {
        self.change(position, raw, last_at).map(|record| record.meaning = None).is_some()
    }

    /// The visible records, oldest first.
    pub(super) fn visible(&self) -> &[Record] {
        &self.visible
    }

    /// The visible records of a window, by their position among all.
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

/// The records that match a request, in the order of the answer.
#[derive(Debug)]
pub(super) struct Selection {
    matches: Matches,
    order: Order,
}

#[derive(Debug)]
enum Matches {
    Range(Range<usize>),
    List(Vec<usize>),
}

/// A filter by a record's content.
pub(super) type Filter<'a> = &'a dyn Fn(&Record) -> bool;

impl Selection {
    /// The records of a window that pass the filter. Without a filter no record is parsed.
    pub(super) fn of(store: &Store, window: Window, order: Order, filter: Option<Filter<'_>>) -> Self {
        let range = store.range(window);
        let Some(filter) = filter else { return Self::ordered(Matches::Range(range), store, order) };
        let list = range.filter(|index| filter(&store.visible()[*index])).collect();
        Self::ordered(Matches::List(list), store, order)
    }

    /// These records, given in ascending order.
    pub(super) fn of_list(store: &Store, list: Vec<usize>, order: Order) -> Self {
        Self::ordered(Matches::List(list), store, order)
    }

    fn ordered(matches: Matches, store: &Store, order: Order) -> Self {
        if order != Order::Unordered {
            return Self { matches, order };
        }
        let mut list: Vec<usize> = match matches {
            Matches::Range(range) => range.collect(),
            Matches::List(list) => list,
        };
        list.sort_by_key(|index| mix(0, 23, store.visible()[*index].sequence));
        Self { matches: Matches::List(list), order }
    }

    pub(super) fn len(&self) -> usize {
        match &self.matches {
            Matches::Range(range) => range.len(),
            Matches::List(list) => list.len(),
        }
    }

    /// The record at a position in the order of the answer.
    pub(super) fn get(&self, position: usize) -> Option<usize> {
        let length = self.len();
        if position >= length {
            return None;
        }
        let position = if self.order == Order::NewestFirst { length - 1 - position } else { position };
        Some(match &self.matches {
            Matches::Range(range) => range.start + position,
            Matches::List(list) => list[position],
        })
    }

    /// A page.
    pub(super) fn page(&self, offset: usize, limit: usize) -> Vec<usize> {
        (offset..offset.saturating_add(limit)).map_while(|position| self.get(position)).collect()
    }
}

/// Joins the records of a page with commas and marks them as served.
pub(super) fn join_records(store: &mut Store, page: &[usize]) -> String {
    store.mark_served(page);
    let records = store.visible();
    let mut text = String::with_capacity(page.iter().map(|index| records[*index].raw.len() + 1).sum());
    for (number, index) in page.iter().enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&records[*index].raw);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

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
    fn records_appear_when_visible_and_in_order_of_time() {
        let mut store = store();
        store.advance(Timestamp::from_secs(5));
        assert_eq!(sequences(&store), [0, 2, 3]);
        store.advance(Timestamp::from_secs(9));
        assert_eq!(sequences(&store), [0, 1, 2, 3]);
    }

    #[test]
    fn a_window_includes_its_start_and_not_its_end() {
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
        assert!(store.replace((Timestamp::from_secs(1), 0), "new".into(), Timestamp::from_secs(9)));
        store.mark_served(&[0, 1]);
        let record = store.find(0).expect("the record");
        assert_eq!((&*record.raw, &*record.earlier[0], record.versions_served), ("new", "0", 2));
        assert!(!store.replace((Timestamp::from_secs(1), 77), "x".into(), Timestamp::from_secs(9)));
    }

    fn store_of_five() -> Store {
        let mut store = Store::default();
        for number in 0_u8..5 {
            let at = Timestamp::from_secs(i64::from(number));
            let record = Record::new(at, u64::from(number), at, number.to_string());
            store.schedule(at, Pending::Appear(record));
        }
        store.advance(Timestamp::MAX);
        store
    }

    #[test]
    fn pages_follow_the_order_and_end_with_the_records() {
        let mut store = store_of_five();
        let newest = Selection::of(&store, Window::ALL, Order::NewestFirst, None);
        assert_eq!(newest.page(0, 2), [4, 3]);
        assert_eq!(newest.page(4, 2), [0]);
        assert!(newest.page(5, 2).is_empty());
        let oldest = Selection::of(&store, Window::ALL, Order::OldestFirst, None);
        let page = oldest.page(1, 3);
        assert_eq!(join_records(&mut store, &page), "1,2,3");
    }

    #[test]
    fn a_filter_and_a_window_both_apply() {
        let store = store_of_five();
        let window = Window { from: Timestamp::from_secs(1), to: Timestamp::from_secs(4) };
        let odd = Selection::of(&store, window, Order::NewestFirst, Some(&|record| record.sequence % 2 == 1));
        assert_eq!(odd.page(0, 9), [3, 1]);
    }

    #[test]
    fn the_unordered_order_is_the_same_every_time_and_complete() {
        let store = store_of_five();
        let page = |()| Selection::of(&store, Window::ALL, Order::Unordered, None).page(0, 9);
        assert_eq!(page(()), page(()));
        let mut sorted = page(());
        assert_ne!(sorted, [0, 1, 2, 3, 4]);
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
    }
}
