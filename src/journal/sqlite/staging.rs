//! Blocks of open windows: staged page by page, then shown all at once or forgotten.
//!
//! ```text
//! stage, stage, stage ...   rows without sequence numbers
//!   | show                  rows get consecutive numbers; the records are not touched
//!   | forget                rows, records and keys go
//! ```

use rusqlite::{Connection, params};

use super::fault::SqliteError;
use super::totals::Totals;
use super::values::{Counts, int};
use crate::journal::{EncodedBlock, SourceId, WindowId};
use crate::time::{TimeRange, Timestamp};

/// Adds the records and keys of a page, invisible yet.
pub(super) fn stage(
    connection: &Connection,
    source: SourceId,
    window: WindowId,
    fetch_range: TimeRange,
    block: &EncodedBlock,
) -> Result<(), SqliteError> {
    let id = insert_block(connection, source, window, block)?;
    connection
        .prepare_cached("INSERT INTO block_data (block, data) VALUES (?1, ?2)")?
        .execute(params![id, block.data])?;
    connection
        .prepare_cached(
            "INSERT INTO keys (block, source, asks_from, asks_to, min_time, max_time, data)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![id, source, fetch_range.from, fetch_range.to, block.min_time, block.max_time, block.keys])?;
    let mut totals = Totals::read(connection)?;
    totals.staged_bytes = totals.staged_bytes.saturating_add(block.data.len() as u64);
    totals.write(connection)
}

fn insert_block(
    connection: &Connection,
    source: SourceId,
    window: WindowId,
    block: &EncodedBlock,
) -> Result<i64, SqliteError> {
    connection
        .prepare_cached(
            "INSERT INTO blocks (source, window, count, raw_bytes, bytes, observed_at, min_time, max_time)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?
        .execute(params![
            source,
            window,
            block.count,
            int(block.raw_bytes),
            int(block.data.len() as u64),
            block.observed_at,
            block.min_time,
            block.max_time
        ])?;
    Ok(connection.last_insert_rowid())
}

/// What of a window became visible.
#[derive(Default)]
pub(super) struct Shown {
    pub(super) events: u64,
    pub(super) raw_bytes: u64,
    pub(super) bytes: u64,
    pub(super) first_time: Option<Timestamp>,
    pub(super) last_time: Option<Timestamp>,
}

/// A staged block without its records.
struct Staged {
    id: i64,
    count: u64,
    raw_bytes: u64,
    bytes: u64,
    min_time: Option<Timestamp>,
    max_time: Option<Timestamp>,
}

impl Shown {
    fn add(&mut self, block: &Staged) {
        self.events += block.count;
        self.raw_bytes += block.raw_bytes;
        self.bytes += block.bytes;
        self.first_time = [self.first_time, block.min_time].into_iter().flatten().min();
        self.last_time = self.last_time.max(block.max_time);
    }
}

/// Gives the staged blocks of a window their sequence numbers: earlier times first, then in the order of the pages, so
/// that a vendor's pages which come newest first are turned round. A block with a record without a time is put first.
pub(super) fn show(connection: &Connection, window: WindowId, at: Timestamp) -> Result<Shown, SqliteError> {
    let mut number = connection.prepare_cached("UPDATE blocks SET first = ?2, visible_at = ?3 WHERE id = ?1")?;
    let mut totals = Totals::read(connection)?;
    let mut shown = Shown::default();
    for block in staged_in_order(connection, window)? {
        number.execute(params![block.id, int(totals.head + 1), at])?;
        totals.head += block.count;
        shown.add(&block);
    }
    totals.staged_bytes = totals.staged_bytes.saturating_sub(shown.bytes);
    totals.visible_bytes = totals.visible_bytes.saturating_add(shown.bytes);
    totals.write(connection)?;
    Ok(shown)
}

fn staged_in_order(connection: &Connection, window: WindowId) -> Result<Vec<Staged>, SqliteError> {
    let mut blocks = connection.prepare_cached(
        "SELECT id, count, raw_bytes, bytes, min_time, max_time FROM blocks WHERE window = ?1 AND first IS NULL
         ORDER BY min_time NULLS FIRST, id",
    )?;
    let blocks = blocks.query_map([window], |row| {
        Ok(Staged {
            id: row.get(0)?,
            count: row.count(1)?,
            raw_bytes: row.count(2)?,
            bytes: row.count(3)?,
            min_time: row.get(4)?,
            max_time: row.get(5)?,
        })
    })?;
    Ok(blocks.collect::<Result<_, _>>()?)
}

/// Deletes what was never visible: the one deletion of the collector's. The walk begins again.
pub(super) fn forget(connection: &Connection, window: WindowId) -> Result<(), SqliteError> {
    const STAGED: &str = "(SELECT id FROM blocks WHERE window = ?1 AND first IS NULL)";
    let mut totals = Totals::read(connection)?;
    let bytes = connection
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM blocks WHERE window = ?1 AND first IS NULL")?
        .query_row([window], |row| row.count(0))?;
    for sql in [
        format!("DELETE FROM block_data WHERE block IN {STAGED}"),
        format!("DELETE FROM keys WHERE block IN {STAGED}"),
        "DELETE FROM blocks WHERE window = ?1 AND first IS NULL".to_owned(),
        "DELETE FROM walks WHERE window = ?1".to_owned(),
    ] {
        connection.prepare_cached(&sql)?.execute([window])?;
    }
    totals.staged_bytes = totals.staged_bytes.saturating_sub(bytes);
    totals.write(connection)
}
