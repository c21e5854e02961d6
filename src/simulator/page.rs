//! Choosing the records of a request and cutting pages from them.

use std::ops::Range;

use super::draft::mix;
use super::store::{Record, Store, Window};
use super::switches::Order;

/// The records that match a request, in the order of the answer.
#[derive(Debug)]
pub(super) struct Selection {
    picked: Picked,
    order: Order,
}

#[derive(Debug)]
enum Picked {
    Range(Range<usize>),
    List(Vec<usize>),
}

/// A test of a record beyond its time.
pub(super) type Filter<'a> = &'a dyn Fn(&Record) -> bool;

impl Selection {
    /// The records of a window that pass the filter. Without a filter no record is looked at.
    pub(super) fn of(store: &Store, window: Window, order: Order, filter: Option<Filter<'_>>) -> Self {
        let range = store.range(window);
        let Some(filter) = filter else { return Self::ordered(Picked::Range(range), store, order) };
        let list = range.filter(|index| filter(&store.visible()[*index])).collect();
        Self::ordered(Picked::List(list), store, order)
    }

    /// These records, which stand in ascending order.
    pub(super) fn of_list(store: &Store, list: Vec<usize>, order: Order) -> Self {
        Self::ordered(Picked::List(list), store, order)
    }

    fn ordered(picked: Picked, store: &Store, order: Order) -> Self {
        if order != Order::Unordered {
            return Self { picked, order };
        }
        let mut list: Vec<usize> = match picked {
            Picked::Range(range) => range.collect(),
            Picked::List(list) => list,
        };
        list.sort_by_key(|index| mix(0, 23, store.visible()[*index].sequence));
        Self { picked: Picked::List(list), order }
    }

    pub(super) fn len(&self) -> usize {
        match &self.picked {
            Picked::Range(range) => range.len(),
            Picked::List(list) => list.len(),
        }
    }

    /// The record at a place in the order of the answer.
    pub(super) fn get(&self, place: usize) -> Option<usize> {
        let length = self.len();
        if place >= length {
            return None;
        }
        let place = if self.order == Order::NewestFirst { length - 1 - place } else { place };
        Some(match &self.picked {
            Picked::Range(range) => range.start + place,
            Picked::List(list) => list[place],
        })
    }

    /// A page.
    pub(super) fn page(&self, offset: usize, limit: usize) -> Vec<usize> {
        (offset..offset.saturating_add(limit)).map_while(|place| self.get(place)).collect()
    }
}

/// Pastes the records of a page between commas, as they stand, and notes that they were served.
pub(super) fn paste(store: &mut Store, page: &[usize]) -> String {
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
    use crate::simulator::store::Pending;
    use crate::time::Timestamp;

    fn store() -> Store {
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
    fn pages_follow_the_order_and_end_at_the_end() {
        let mut store = store();
        let newest = Selection::of(&store, Window::ALL, Order::NewestFirst, None);
        assert_eq!(newest.page(0, 2), [4, 3]);
        assert_eq!(newest.page(4, 2), [0]);
        assert!(newest.page(5, 2).is_empty());
        let oldest = Selection::of(&store, Window::ALL, Order::OldestFirst, None);
        let page = oldest.page(1, 3);
        assert_eq!(paste(&mut store, &page), "1,2,3");
    }

    #[test]
    fn a_filter_and_a_window_both_hold() {
        let store = store();
        let window = Window { from: Timestamp::from_secs(1), to: Timestamp::from_secs(4) };
        let odd = Selection::of(&store, window, Order::NewestFirst, Some(&|record| record.sequence % 2 == 1));
        assert_eq!(odd.page(0, 9), [3, 1]);
    }

    #[test]
    fn the_unordered_order_is_the_same_every_time_and_complete() {
        let store = store();
        let page = |()| Selection::of(&store, Window::ALL, Order::Unordered, None).page(0, 9);
        assert_eq!(page(()), page(()));
        let mut sorted = page(());
        assert_ne!(sorted, [0, 1, 2, 3, 4]);
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2, 3, 4]);
    }
}
