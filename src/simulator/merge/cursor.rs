//! Cursors that hold a position in time: base64 of `o=<skip>&r=1&p=<datetime>`.
//!
//! Rows inserted during a scan shift nothing: a page begins strictly beyond a position, and rows that share a position
//! are distinguished by the number of rows to skip.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::simulator::store::Record;
use crate::simulator::store::Selection;
use crate::time::{EventTime, Timestamp};

/// A position in the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    /// Rows to skip beyond the position.
    pub(super) skip: usize,
    /// Whether the list is read backwards.
    pub(super) reverse: bool,
    /// Only rows strictly beyond this moment; `None` from the beginning.
    pub(super) position: Option<Timestamp>,
    /// When the cursor was issued, if cursors expire.
    pub(super) issued: Option<Timestamp>,
}

impl Cursor {
    pub(super) fn encode(&self) -> String {
        let mut pairs = url::form_urlencoded::Serializer::new(String::new());
        if self.skip > 0 {
            pairs.append_pair("o", &self.skip.to_string());
        }
        if self.reverse {
            pairs.append_pair("r", "1");
        }
        if let Some(position) = self.position {
            pairs.append_pair("p", &datetime(position));
        }
        if let Some(issued) = self.issued {
            pairs.append_pair("t", &issued.as_nanos().to_string());
        }
        STANDARD.encode(pairs.finish())
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let decoded = STANDARD.decode(text).ok()?;
        let mut cursor = Self::default();
        for (name, value) in url::form_urlencoded::parse(&decoded) {
            match &*name {
                "o" => cursor.skip = value.parse().ok()?,
                "r" => cursor.reverse = value == "1",
                "p" => cursor.position = Some(Timestamp::parse_rfc3339(&value.replacen(' ', "T", 1))?),
                "t" => cursor.issued = Some(Timestamp::from_nanos(value.parse().ok()?)),
                _ => return None,
            }
        }
        (!decoded.is_empty()).then_some(cursor)
    }
}

/// A time as a database prints it: `2021-01-06 03:24:53.434326+00:00`.
fn datetime(at: Timestamp) -> String {
    let digits = if at.as_nanos() % 1_000_000_000 == 0 { 0 } else { 6 };
    let text = EventTime { at, digits }.to_string();
    text.replacen('T', " ", 1).replace('Z', "+00:00")
}

/// The rows that match a request, in the order of the answer.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) selection: &'a Selection,
    pub(super) records: &'a [Record],
    pub(super) newest_first: bool,
}

/// A page with its next and previous cursors.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Paged {
    pub(super) page: Vec<usize>,
    pub(super) next: Option<Cursor>,
    pub(super) previous: Option<Cursor>,
}

impl Rows<'_> {
    fn at(&self, place: usize) -> Timestamp {
        let index = self.selection.get(place).expect("the place lies in the selection");
        self.records[index].at
    }

    /// The number of rows that do not lie beyond `position` in forward order.
    fn up_to(&self, position: Timestamp) -> usize {
        self.partition(|at| if self.newest_first { at >= position } else { at <= position })
    }

    /// The number of rows before `position` in forward order.
    fn before(&self, position: Timestamp) -> usize {
        self.partition(|at| if self.newest_first { at > position } else { at < position })
    }

    fn partition(&self, holds: impl Fn(Timestamp) -> bool) -> usize {
        let (mut low, mut high) = (0, self.selection.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if holds(self.at(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }

    fn indices(&self, places: std::ops::Range<usize>) -> Vec<usize> {
        places.filter_map(|place| self.selection.get(place)).collect()
    }
}

/// The page of a cursor.
pub(super) fn paginate(rows: &Rows<'_>, cursor: Option<&Cursor>, size: usize) -> Paged {
    let cursor = cursor.copied().unwrap_or_default();
    let places = if cursor.reverse { backward(rows, &cursor, size) } else { forward(rows, &cursor, size) };
    let next = (places.end < rows.selection.len()).then(|| beyond(rows, &places, &cursor, size, false));
    let previous = (places.start > 0).then(|| beyond(rows, &places, &cursor, size, true));
    Paged { page: rows.indices(places), next, previous }
}

fn forward(rows: &Rows<'_>, cursor: &Cursor, size: usize) -> std::ops::Range<usize> {
    let first = cursor.position.map_or(0, |position| rows.up_to(position));
    let start = first.saturating_add(cursor.skip).min(rows.selection.len());
    start..start.saturating_add(size).min(rows.selection.len())
}

fn backward(rows: &Rows<'_>, cursor: &Cursor, size: usize) -> std::ops::Range<usize> {
    let last = cursor.position.map_or(rows.selection.len(), |position| rows.before(position));
    let end = last.saturating_sub(cursor.skip);
    end.saturating_sub(size)..end
}

/// The cursor to the rows after (or before) a page: the position of the page's last row whose position differs from that
/// of its neighbor outside the page, and the number of rows between them. If all rows share one position, the old position
/// stays and the skip grows.
fn beyond(rows: &Rows<'_>, page: &std::ops::Range<usize>, cursor: &Cursor, size: usize, reverse: bool) -> Cursor {
    let neighbor = rows.at(if reverse { page.start - 1 } else { page.end });
    let mut compare = neighbor;
    for skip in 0..page.len() {
        let position = rows.at(if reverse { page.start + skip } else { page.end - 1 - skip });
        if position != compare {
            return Cursor { skip, reverse, position: Some(position), issued: None };
        }
        compare = position;
    }
    if cursor.reverse == reverse {
        return Cursor { skip: cursor.skip + size, reverse, position: cursor.position, issued: None };
    }
    // The direction changes inside one position: count from the last different row.
    let (position, skip) = if reverse {
        let last = rows.up_to(neighbor);
        ((last < rows.selection.len()).then(|| rows.at(last)), last - page.start)
    } else {
        let first = rows.before(neighbor);
        ((first > 0).then(|| rows.at(first - 1)), page.end - first)
    };
    Cursor { skip, reverse, position, issued: None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simulator::store::{Pending, Store, Window};
    use crate::simulator::variants::Order;

    #[test]
    fn published_cursors_decode_and_encode_back() {
        let text = "cD0yMDIxLTAxLTA2KzAzJTNBMjQlM0E1My40MzQzMjYlMkIwMCUzQTAw";
        let cursor = Cursor::decode(text).expect("a cursor");
        assert_eq!(cursor.position, Timestamp::parse_rfc3339("2021-01-06T03:24:53.434326Z"));
        assert_eq!(cursor.encode(), text);
    }

    #[test]
    fn invalid_cursors_are_rejected() {
        for text in ["", "x", "%%%", "cD1ub3doZXJl", "https://api.merge.dev/?cursor=1"] {
            assert_eq!(Cursor::decode(text), None, "{text}");
        }
    }

    fn store_of(times: &[u8]) -> Store {
        let mut store = Store::default();
        for (sequence, time) in (0..).zip(times) {
            let at = Timestamp::from_secs(i64::from(*time));
            store.schedule(at, Pending::Appear(Record::new(at, sequence, at, sequence.to_string())));
        }
        store.advance(Timestamp::MAX);
        store
    }

    proptest! {
        #[test]
        fn every_row_is_returned_once_in_order_forwards_and_backwards(
            times in prop::collection::vec(0_u8..6, 0..40), size in 1_usize..7, newest_first: bool
        ) {
            let store = store_of(&times);
            let order = if newest_first { Order::NewestFirst } else { Order::OldestFirst };
            let selection = Selection::of(&store, Window::ALL, order, None);
            let rows = Rows { selection: &selection, records: store.visible(), newest_first };
            let all = selection.page(0, times.len());
            let (mut met, mut cursor, mut last) = (Vec::new(), None, None);
            loop {
                let paged = paginate(&rows, cursor.as_ref(), size);
                met.extend(paged.page);
                last = paged.previous.or(last);
                let Some(next) = paged.next else { break };
                cursor = Cursor::decode(&next.encode());
                prop_assert!(met.len() <= all.len());
            }
            prop_assert_eq!(&met, &all);
            let mut back = Vec::new();
            let mut cursor = paginate(&rows, cursor.as_ref(), size).previous;
            while let Some(previous) = cursor {
                let paged = paginate(&rows, Some(&previous), size);
                back.splice(0..0, paged.page);
                cursor = paged.previous;
            }
            prop_assert_eq!(&back[..], &all[..back.len()]);
            prop_assert!(back.len() + size >= all.len());
        }
    }
}
