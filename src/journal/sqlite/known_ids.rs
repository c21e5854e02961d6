//! Finds keys by their ids. Keys are stored by page and read by time; a vendor that gives a known record another time needs
//! them by id.
//!
//! ```text
//! keys rows --in order, each once--> [filter of 32,768 keys] [filter] [filter] ...      3 bytes of memory per key
//!                                          |
//! ids --------------------------------> may hold one of them? --> its rows are read
//! ```
//!
//! A row per key in a table would answer too, at a hundred times the cost of storing a page. The filters are Bloom filters:
//! one in 70,000 answers "maybe" for an id that it does not hold, and costs a read. They are built when the first unknown
//! record comes, and read only rows that are new since. Filters of trimmed rows are removed.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, params};

use super::sql::SqliteError;
use crate::event::EventId;
use crate::journal::block::decode_keys;
use crate::journal::{SeenKey, SourceId};

/// Keys per filter.
const CAPACITY: usize = 32_768;
const BITS_PER_KEY: usize = 24;
const BITS: u64 = (CAPACITY * BITS_PER_KEY) as u64;
/// Bits that are set per key.
const HASHES: u64 = 12;

/// The filters of all keys, whatever their source.
#[derive(Debug, Default)]
pub(super) struct KnownIds(Mutex<Filters>);

#[derive(Debug, Default)]
struct Filters {
    filters: Vec<Filter>,
    /// The last row that was added.
    last_block: i64,
    /// Whether rows may have been deleted since filters were removed.
    is_trimmed: bool,
}

/// A Bloom filter of the keys in some rows.
#[derive(Debug)]
struct Filter {
    bits: Vec<u64>,
    keys: usize,
    first_block: i64,
    last_block: i64,
}

impl KnownIds {
    /// All keys of a source with one of the ids.
    pub(super) fn find(
        &self,
        connection: &Connection,
        source: SourceId,
        ids: &[EventId],
    ) -> Result<Vec<SeenKey>, SqliteError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let ranges = {
            let mut filters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            filters.catch_up(connection)?;
            filters.ranges_with(source, ids)
        };
        if ranges.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: HashSet<EventId> = ids.iter().copied().collect();
        let mut found = Vec::new();
        let mut keys = Vec::new();
        for (first, last) in ranges {
            let sql = "SELECT data FROM keys WHERE block BETWEEN ?1 AND ?2 AND source = ?3";
            let mut rows = connection.prepare_cached(sql)?;
            let mut rows = rows.query(params![first, last, source])?;
            while let Some(row) = rows.next()? {
                keys.clear();
                decode_keys(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?, &mut keys)
                    .map_err(SqliteError::Damaged)?;
                found.extend(keys.iter().filter(|key| wanted.contains(&key.id)));
            }
        }
        Ok(found)
    }

    /// Rows were deleted: their filters are removed before the next search.
    pub(super) fn trimmed(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_trimmed = true;
    }

    /// Rows have changed: all filters are built again before the next search.
    pub(super) fn clear(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Filters::default();
    }
}

impl Filters {
    fn catch_up(&mut self, connection: &Connection) -> Result<(), SqliteError> {
        if std::mem::take(&mut self.is_trimmed) {
            self.remove_trimmed(connection)?;
        }
        let mut rows =
            connection.prepare_cached("SELECT block, source, data FROM keys WHERE block > ?1 ORDER BY block")?;
        let mut rows = rows.query([self.last_block])?;
        let mut keys = Vec::new();
        while let Some(row) = rows.next()? {
            let (block, source) = (row.get(0)?, row.get(1)?);
            keys.clear();
            decode_keys(row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?, &mut keys)
                .map_err(SqliteError::Damaged)?;
            let filter = self.filter_for(block, keys.len());
            keys.iter().for_each(|key| filter.add(source, key.id));
            self.last_block = block;
        }
        Ok(())
    }

    /// The filter that takes the keys of the next row. A row larger than a filter fills one alone: it answers "maybe" more
    /// often.
    fn filter_for(&mut self, block: i64, keys: usize) -> &mut Filter {
        let is_full = self.filters.last().is_none_or(|last| last.keys > 0 && last.keys + keys > CAPACITY);
        if is_full {
            let bits = vec![0; CAPACITY * BITS_PER_KEY / 64];
            self.filters.push(Filter { bits, keys: 0, first_block: block, last_block: block });
        }
        let last = self.filters.len() - 1;
        let filter = &mut self.filters[last];
        filter.last_block = block;
        filter.keys += keys;
        filter
    }

    fn remove_trimmed(&mut self, connection: &Connection) -> Result<(), SqliteError> {
        let mut exists =
            connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM keys WHERE block BETWEEN ?1 AND ?2)")?;
        let mut kept = Vec::with_capacity(self.filters.len());
        for filter in std::mem::take(&mut self.filters) {
            if exists.query_row([filter.first_block, filter.last_block], |row| row.get(0))? {
                kept.push(filter);
            }
        }
        self.filters = kept;
        Ok(())
    }

    /// The first and last row of each filter that may hold one of the ids.
    fn ranges_with(&self, source: SourceId, ids: &[EventId]) -> Vec<(i64, i64)> {
        let filters = self.filters.iter().filter(|filter| ids.iter().any(|id| filter.may_hold(source, *id)));
        filters.map(|filter| (filter.first_block, filter.last_block)).collect()
    }
}

impl Filter {
    fn add(&mut self, source: SourceId, id: EventId) {
        for bit in bits_of(source, id) {
            self.bits[bit / 64] |= 1 << (bit % 64);
        }
    }

    fn may_hold(&self, source: SourceId, id: EventId) -> bool {
        bits_of(source, id).all(|bit| self.bits[bit / 64] & (1 << (bit % 64)) != 0)
    }
}

/// An id is a part of a cryptographic hash: its halves are two independent hashes.
fn bits_of(source: SourceId, id: EventId) -> impl Iterator<Item = usize> {
    let number = u128::from_le_bytes(id.0);
    #[expect(clippy::cast_possible_truncation, reason = "the halves")]
    let (first, step) = (number as u64, (number >> 64) as u64 | 1);
    let first = first ^ source.0.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (0..HASHES).map(move |n| usize::try_from(first.wrapping_add(step.wrapping_mul(n)) % BITS).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> EventId {
        EventId::of_key("test", None, &number.to_string())
    }

    #[test]
    fn a_filter_holds_what_was_added_and_hardly_anything_else() {
        let mut filters = Filters::default();
        for number in 0..CAPACITY as u64 {
            filters.filter_for(1, 1).add(SourceId(1), id(number));
        }
        assert_eq!(filters.filters.len(), 1);
        let filter = &filters.filters[0];
        assert!((0..CAPACITY as u64).all(|number| filter.may_hold(SourceId(1), id(number))));
        let wrong = |source: i64| (100_000..200_000).filter(|n| filter.may_hold(SourceId(source), id(*n))).count();
        assert!(wrong(1) < 20 && wrong(2) < 20, "{} and {} of 100,000", wrong(1), wrong(2));
        assert!((0..1_000).filter(|number| filter.may_hold(SourceId(2), id(*number))).count() < 10);
    }
}
