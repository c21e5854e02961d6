//! The rows of a file before it is written: texts one after the other, their lengths beside them.
//!
//! ```text
//! chunk   text:  c l u m i o a c m e ...          a text is a cell with its length, null a cell of its own value;
//!         cells: 6 4 NULL 12 ...                  numbers and list lengths are cells too
//! places  (time, chunk, where in text, where in cells)   sorted instead of the rows
//! ```
//!
//! Growing one large buffer would copy it and hold twice its size meanwhile, so it grows by chunks.

use crate::time::Timestamp;

/// A chunk gets no further row when its text is this long.
const CHUNK_BYTES: usize = 1 << 20;

/// The most that a row may take, so that neither the 32-bit offsets of an arrow array nor the 32-bit sizes of a Parquet
/// page can overflow.
pub(super) const MAX_ROW_BYTES: usize = 1 << 30;

const NULL: u32 = u32::MAX;

#[derive(Debug, Default)]
struct Chunk {
    text: String,
    cells: Vec<u32>,
}

impl Chunk {
    fn held_bytes(&self) -> usize {
        self.text.capacity() + self.cells.capacity() * size_of::<u32>()
    }
}

/// Where a row is, and its time.
#[derive(Clone, Copy, Debug)]
struct Place {
    time: Timestamp,
    chunk: usize,
    text: usize,
    cell: usize,
}

/// The rows of one file.
#[derive(Debug)]
pub(super) struct Rows {
    max_row_bytes: usize,
    full: Vec<Chunk>,
    full_bytes: usize,
    current: Chunk,
    places: Vec<Place>,
}

impl Rows {
    /// No rows yet; each may take `max_row_bytes`.
    pub(super) fn new(max_row_bytes: usize) -> Self {
        Self { max_row_bytes, full: Vec::new(), full_bytes: 0, current: Chunk::default(), places: Vec::new() }
    }

    /// Adds a row that `fill` writes. False, and nothing added, if it is too large.
    pub(super) fn add(&mut self, time: Timestamp, fill: impl FnOnce(&mut RowWriter<'_>)) -> bool {
        if self.current.text.len() >= CHUNK_BYTES {
            self.begin_chunk();
        }
        let (text, cell) = (self.current.text.len(), self.current.cells.len());
        let mut row = RowWriter { chunk: &mut self.current, left: self.max_row_bytes, fits: true };
        fill(&mut row);
        if !row.fits {
            self.current.text.truncate(text);
            self.current.cells.truncate(cell);
            self.current.text.shrink_to_fit();
            return false;
        }
        self.places.push(Place { time, chunk: self.full.len(), text, cell });
        true
    }

    fn begin_chunk(&mut self) {
        let mut chunk = std::mem::take(&mut self.current);
        chunk.text.shrink_to_fit();
        chunk.cells.shrink_to_fit();
        self.full_bytes += chunk.held_bytes();
        self.full.push(chunk);
    }

    /// Bytes of memory that are taken, unused room included.
    pub(super) fn held_bytes(&self) -> usize {
        let chunks = self.full.capacity() * size_of::<Chunk>();
        self.full_bytes + self.current.held_bytes() + chunks + self.places.capacity() * size_of::<Place>()
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Rows of equal time keep their order.
    pub(super) fn sort_by_time(&mut self) {
        self.places.sort_by_key(|place| place.time);
    }

    /// Time of the first row.
    pub(super) fn first_time(&self) -> Option<Timestamp> {
        self.places.first().map(|place| place.time)
    }

    /// Time of the last row.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        self.places.last().map(|place| place.time)
    }

    /// The rows in their present order.
    pub(super) fn iter(&self) -> impl Iterator<Item = StoredRow<'_>> {
        self.places.iter().map(|place| {
            let chunk = self.full.get(place.chunk).unwrap_or(&self.current);
            StoredRow { time: place.time, text: &chunk.text[place.text..], cells: &chunk.cells[place.cell..] }
        })
    }
}

/// Writes the values of one row.
#[derive(Debug)]
pub(super) struct RowWriter<'a> {
    chunk: &'a mut Chunk,
    left: usize,
    fits: bool,
}

impl RowWriter<'_> {
    /// Writes a text or null. A row that has become too large takes nothing more.
    pub(super) fn text(&mut self, text: Option<&str>) {
        let text_bytes = text.map_or(0, str::len);
        let Some(left) = self.left.checked_sub(text_bytes + size_of::<u32>()) else {
            self.fits = false;
            return;
        };
        self.left = left;
        self.chunk.text.push_str(text.unwrap_or_default());
        let cell = if text.is_some() { u32::try_from(text_bytes).unwrap_or(NULL) } else { NULL };
        self.chunk.cells.push(cell);
    }

    /// Writes how many things follow. Each is at least a cell, so more than fit into a row are caught there.
    pub(super) fn count(&mut self, count: usize) {
        self.chunk.cells.push(u32::try_from(count).unwrap_or(NULL));
    }

    /// Writes a number.
    pub(super) fn number(&mut self, number: i64) {
        for half in [number >> 32, number & i64::from(u32::MAX)] {
            let bytes = half.to_le_bytes();
            self.chunk.cells.push(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
        }
    }
}

/// Reads the values of one row, in the order in which they were written.
#[derive(Debug)]
pub(super) struct StoredRow<'a> {
    /// When the event happened.
    pub(super) time: Timestamp,
    text: &'a str,
    cells: &'a [u32],
}

impl<'a> StoredRow<'a> {
    fn cell(&mut self) -> u32 {
        let (cell, rest) = self.cells.split_first().expect("every row is read as it was written");
        self.cells = rest;
        *cell
    }

    /// Bytes of text from the next value on, later rows of the chunk included.
    pub(super) fn text_bytes_left(&self) -> usize {
        self.text.len()
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let cell = self.cell();
        if cell == NULL {
            return None;
        }
        let (text, rest) = self.text.split_at(cell as usize);
        self.text = rest;
        Some(text)
    }

    pub(super) fn count(&mut self) -> usize {
        self.cell() as usize
    }

    pub(super) fn number(&mut self) -> i64 {
        let (high, low) = (i64::from(self.cell()), i64::from(self.cell()));
        high << 32 | low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(texts: &[(i64, Option<&str>)]) -> Rows {
        let mut rows = Rows::new(MAX_ROW_BYTES);
        for (secs, text) in texts {
            assert!(rows.add(Timestamp::from_secs(*secs), |row| row.text(*text)));
        }
        rows
    }

    #[test]
    fn reads_back_what_was_written() {
        let mut rows = Rows::new(MAX_ROW_BYTES);
        for number in [i64::MIN, -1, 0, 1, 1 << 32, i64::MAX] {
            rows.add(Timestamp::EPOCH, |row| {
                row.text(Some("é"));
                row.number(number);
                row.text(None);
                row.count(3);
                row.text(Some(""));
            });
            let mut row = rows.iter().last().expect("a row");
            assert_eq!((row.text(), row.number(), row.text()), (Some("é"), number, None));
            assert_eq!((row.count(), row.text()), (3, Some("")));
        }
    }

    #[test]
    fn sorts_by_time_and_keeps_the_order_of_ties_across_chunks() {
        let long = "x".repeat(CHUNK_BYTES);
        let texts = [(5, Some("a")), (3, Some(long.as_str())), (5, Some("b")), (3, Some("c")), (4, None)];
        let mut rows = rows_of(&texts);
        assert_eq!(rows.full.len(), 1);
        rows.sort_by_time();
        let order: Vec<_> = rows.iter().map(|mut row| row.text()).collect();
        assert_eq!(order, [Some(long.as_str()), Some("c"), None, Some("a"), Some("b")]);
        assert_eq!(
            (rows.first_time(), rows.last_time()),
            (Some(Timestamp::from_secs(3)), Some(Timestamp::from_secs(5)))
        );
    }

    #[test]
    fn counts_what_it_holds() {
        let mut rows = Rows::new(MAX_ROW_BYTES);
        assert_eq!(rows.held_bytes(), 0);
        let text = "x".repeat(1_000);
        for _ in 0..10_000 {
            rows.add(Timestamp::EPOCH, |row| row.text(Some(&text)));
        }
        let held = rows.held_bytes();
        assert!((10_000_000..12_500_000).contains(&held), "{held}");
    }

    #[test]
    fn a_row_that_is_too_large_leaves_no_trace() {
        let mut rows = rows_of(&[(1, Some("before"))]);
        rows.max_row_bytes = 100_000;
        let half = "x".repeat(50_000);
        let added = rows.add(Timestamp::EPOCH, |row| {
            row.text(Some(&half));
            row.text(Some(&half));
            row.text(Some("after"));
        });
        assert!(!added);
        assert!(rows.held_bytes() < 1_000, "{}", rows.held_bytes());
        rows.add(Timestamp::EPOCH, |row| row.text(Some("next")));
        let texts: Vec<_> = rows.iter().map(|mut row| row.text()).collect();
        assert_eq!(texts, [Some("before"), Some("next")]);
    }
}
