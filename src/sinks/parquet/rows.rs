//! The rows of a file before it is written: concatenated strings, and their lengths.
//!
//! ```text
//! chunk   text:  c l u m i o a c m e ...          a string is a cell with its length, null a cell with a special value;
//!         cells: 6 4 NULL 12 ...                  numbers and list lengths are cells too
//! index   (time, chunk, offset in text, offset in cells)   sorted instead of the rows
//! ```
//!
//! Growing one large buffer would copy it and need twice its size meanwhile, so the rows are kept in chunks.
//!
//! [`Columns::append`](super::columns::Columns::append) reads the values in the order in which [`store`] writes them.

use crate::event::{Actor, Change, Event, Grant, OnBehalfOf, Related, Target};
use crate::sinks::EventForm;
use crate::time::Timestamp;

/// No row is added to a chunk whose text is this long.
const CHUNK_BYTES: usize = 1 << 20;

/// The size limit of a row, so that neither the 32-bit offsets of an arrow array nor the 32-bit sizes of a Parquet page
/// overflow.
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

/// The time and the offsets of a row.
#[derive(Clone, Copy, Debug)]
struct RowIndex {
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
    index: Vec<RowIndex>,
}

impl Rows {
    /// No rows yet; each can have `max_row_bytes`.
    pub(super) fn new(max_row_bytes: usize) -> Self {
        Self { max_row_bytes, full: Vec::new(), full_bytes: 0, current: Chunk::default(), index: Vec::new() }
    }

    /// Adds a row that `fill` writes. Returns false and adds nothing if it is too large.
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
        self.index.push(RowIndex { time, chunk: self.full.len(), text, cell });
        true
    }

    fn begin_chunk(&mut self) {
        let mut chunk = std::mem::take(&mut self.current);
        chunk.text.shrink_to_fit();
        chunk.cells.shrink_to_fit();
        self.full_bytes += chunk.held_bytes();
        self.full.push(chunk);
    }

    /// Bytes of memory in use, unused capacity included.
    pub(super) fn held_bytes(&self) -> usize {
        let chunks = self.full.capacity() * size_of::<Chunk>();
        self.full_bytes + self.current.held_bytes() + chunks + self.index.capacity() * size_of::<RowIndex>()
    }

    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Sorts the rows by time. Rows of equal time keep their order.
    pub(super) fn sort_by_time(&mut self) {
        self.index.sort_by_key(|row| row.time);
    }

    /// Time of the first row.
    pub(super) fn first_time(&self) -> Option<Timestamp> {
        self.index.first().map(|row| row.time)
    }

    /// Time of the last row.
    pub(super) fn last_time(&self) -> Option<Timestamp> {
        self.index.last().map(|row| row.time)
    }

    /// The rows in their current order.
    pub(super) fn iter(&self) -> impl Iterator<Item = StoredRow<'_>> {
        self.index.iter().map(|row| {
            let chunk = self.full.get(row.chunk).unwrap_or(&self.current);
            StoredRow { time: row.time, text: &chunk.text[row.text..], cells: &chunk.cells[row.cell..] }
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
    /// Writes a string or null. A row that is too large accepts nothing more.
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

    /// Writes the number of elements that follow. Each element has at least one cell, so a row with too many is too large.
    pub(super) fn count(&mut self, count: usize) {
        self.chunk.cells.push(u32::try_from(count).unwrap_or(NULL));
    }

    /// Writes a boolean or null.
    pub(super) fn flag(&mut self, flag: Option<bool>) {
        self.chunk.cells.push(flag.map_or(NULL, u32::from));
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

    /// Bytes of text from the next value on, including later rows of the chunk.
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

    pub(super) fn flag(&mut self) -> Option<bool> {
        let cell = self.cell();
        (cell != NULL).then_some(cell == 1)
    }

    pub(super) fn number(&mut self) -> i64 {
        let (high, low) = (i64::from(self.cell()), i64::from(self.cell()));
        high << 32 | low
    }
}

// --- events ---

/// Writes the values of `event` in the order of the columns, without time and schema version.
pub(super) fn store(event: &Event<'_>, form: EventForm, with_raw: bool, row: &mut RowWriter<'_>) {
    store_identity(event, row);
    match form {
        EventForm::Normalized => store_normalized(event, row),
        EventForm::Raw => row.count(0),
    }
    row.text(event.normalize_error.as_deref());
    row.count(event.redacted.len());
    event.redacted.iter().for_each(|path| row.text(Some(path)));
    if with_raw {
        row.text(Some(event.raw));
    }
}

fn store_identity(event: &Event<'_>, row: &mut RowWriter<'_>) {
    let id = event.id.hex();
    row.text(std::str::from_utf8(&id).ok());
    store_version(event.version, row);
    row.text(Some(event.vendor));
    row.text(Some(event.source));
    row.text(event.tenant.as_deref());
    row.text(event.vendor_event_id.as_deref());
    row.number(event.observed_at.as_micros());
}

/// Query engines have no unsigned numbers. A version is a time in microseconds plus a count, far below the limit.
fn store_version(version: Option<u64>, row: &mut RowWriter<'_>) {
    row.count(usize::from(version.is_some()));
    if let Some(version) = version {
        row.number(i64::try_from(version).unwrap_or(i64::MAX));
    }
}

fn store_normalized(event: &Event<'_>, row: &mut RowWriter<'_>) {
    row.count(1);
    row.text(Some(&event.event_type));
    row.text(Some(event.action.as_str()));
    row.text(Some(event.category.as_str()));
    row.text(Some(event.outcome.as_str()));
    row.text(event.message.as_deref());
    store_actor(&event.actor, row);
    row.count(usize::from(event.target.is_some()));
    event.target.iter().for_each(|target| store_object(target, row));
    row.count(event.grants.len());
    event.grants.iter().for_each(|grant| store_grant(grant, row));
    row.count(event.related.len());
    event.related.iter().for_each(|related| store_related(related, row));
    row.count(event.changes.len());
    event.changes.iter().for_each(|change| store_change(change, row));
}

fn store_actor(actor: &Actor<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(actor.kind.as_str()));
    row.text(actor.id.as_deref());
    row.text(actor.name.as_deref());
    row.text(actor.email.as_deref());
    row.text(actor.ip.as_deref());
    row.text(Some(actor.via.as_str()));
    row.count(usize::from(actor.on_behalf_of.is_some()));
    actor.on_behalf_of.iter().for_each(|user| store_effective_user(user, row));
}

fn store_effective_user(user: &OnBehalfOf<'_>, row: &mut RowWriter<'_>) {
    row.text(user.id.as_deref());
    row.text(user.name.as_deref());
    row.text(user.email.as_deref());
}

fn store_object(object: &Target<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(object.kind.as_str()));
    row.text(object.vendor_type.as_deref());
    row.text(object.id.as_deref());
    row.text(object.name.as_deref());
    row.text(object.email.as_deref());
}

fn store_grant(grant: &Grant<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(grant.effect.as_str()));
    row.text(Some(grant.grantee.kind.as_str()));
    row.text(grant.grantee.id.as_deref());
    row.text(grant.grantee.name.as_deref());
    row.text(grant.grantee.email.as_deref());
    row.text(grant.privilege.as_deref());
    row.flag(grant.admin);
    row.count(usize::from(grant.scope.is_some()));
    if let Some(scope) = &grant.scope {
        row.text(Some(scope.kind.as_str()));
        row.text(scope.id.as_deref());
        row.text(scope.name.as_deref());
    }
}

fn store_related(related: &Related<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(related.role.as_str()));
    store_object(&related.object, row);
}

fn store_change(change: &Change<'_>, row: &mut RowWriter<'_>) {
    row.text(Some(&change.field));
    row.text(change.old.as_deref());
    row.text(change.new.as_deref());
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
                row.flag(Some(true));
                row.flag(None);
                row.text(Some(""));
            });
            let mut row = rows.iter().last().expect("a row");
            assert_eq!((row.text(), row.number(), row.text()), (Some("é"), number, None));
            assert_eq!((row.count(), row.flag(), row.flag(), row.text()), (3, Some(true), None, Some("")));
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
