//! Blocks of open windows: staged page by page, then published as a whole, or deleted.
//!
//! ```text
//! stage    blocks without sequence numbers, their records and keys
//! publish  blocks get consecutive numbers; the records are not touched
//! unstage  blocks, records and keys are deleted
//! ```

use rusqlite::{Connection, params};

use super::sql::{Counts, SqliteError, int};
use super::totals::Totals;
use crate::journal::block::decode_keys;
use crate::journal::{EncodedBlock, SourceId, WindowId};
use crate::time::{TimeRange, Timestamp};

/// Adds the records and keys of a page, not visible yet.
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
            "INSERT INTO keys (block, source, fetch_from, fetch_to, min_time, max_time, data)
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

/// The events of a window that became visible.
#[derive(Default)]
pub(super) struct Published {
    pub(super) events: u64,
    pub(super) raw_bytes: u64,
    bytes: u64,
    pub(super) first_time: Option<Timestamp>,
    pub(super) last_time: Option<Timestamp>,
}

/// A staged block without its records.
struct StagedBlock {
    id: i64,
    count: u64,
    raw_bytes: u64,
    bytes: u64,
    min_time: Option<Timestamp>,
    max_time: Option<Timestamp>,
}

impl Published {
    pub(super) fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.raw_bytes += other.raw_bytes;
        self.bytes += other.bytes;
        self.first_time = [self.first_time, other.first_time].into_iter().flatten().min();
        self.last_time = self.last_time.max(other.last_time);
    }
}

impl From<&StagedBlock> for Published {
    fn from(block: &StagedBlock) -> Self {
        let StagedBlock { count, raw_bytes, bytes, min_time, max_time, .. } = *block;
        Self { events: count, raw_bytes, bytes, first_time: min_time, last_time: max_time }
    }
}

/// Gives the staged blocks of a window their sequence numbers: earlier times first, then in the order of the pages, which
/// reverses the pages of a vendor that returns the newest first. A block that holds a record without a time comes first.
pub(super) fn publish(connection: &Connection, window: WindowId, at: Timestamp) -> Result<Published, SqliteError> {
    let mut number = connection.prepare_cached("UPDATE blocks SET first = ?2, visible_at = ?3 WHERE id = ?1")?;
    let mut totals = Totals::read(connection)?;
    let mut published = Published::default();
    for block in staged_in_order(connection, window)? {
        number.execute(params![block.id, int(totals.head + 1), at])?;
        totals.head += block.count;
        published.add(&(&block).into());
    }
    totals.staged_bytes = totals.staged_bytes.saturating_sub(published.bytes);
    totals.visible_bytes = totals.visible_bytes.saturating_add(published.bytes);
    totals.write(connection)?;
    Ok(published)
}

fn staged_in_order(connection: &Connection, window: WindowId) -> Result<Vec<StagedBlock>, SqliteError> {
    let mut blocks = connection.prepare_cached(
        "SELECT id, count, raw_bytes, bytes, min_time, max_time FROM blocks WHERE window = ?1 AND first IS NULL
         ORDER BY min_time NULLS FIRST, id",
    )?;
    let blocks = blocks.query_map([window], |row| {
        Ok(StagedBlock {
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

/// Deletes the staged blocks of a window, which were never visible.
pub(super) fn unstage(connection: &Connection, window: WindowId) -> Result<(), SqliteError> {
    const STAGED: &str = "(SELECT id FROM blocks WHERE window = ?1 AND first IS NULL)";
    let mut totals = Totals::read(connection)?;
    let bytes = connection
        .prepare_cached("SELECT coalesce(sum(bytes), 0) FROM blocks WHERE window = ?1 AND first IS NULL")?
        .query_row([window], |row| row.count(0))?;
    for sql in [
        format!("DELETE FROM block_data WHERE block IN {STAGED}"),
        format!("DELETE FROM keys WHERE block IN {STAGED}"),
        "DELETE FROM blocks WHERE window = ?1 AND first IS NULL".to_owned(),
    ] {
        connection.prepare_cached(&sql)?.execute([window])?;
    }
    totals.staged_bytes = totals.staged_bytes.saturating_sub(bytes);
    totals.write(connection)
}

/// The times of the staged records of a window.
pub(super) fn staged_times(connection: &Connection, window: WindowId) -> Result<Vec<Timestamp>, SqliteError> {
    let sql = "SELECT data FROM keys JOIN blocks ON blocks.id = block WHERE window = ?1 AND first IS NULL";
    let mut blobs = connection.prepare_cached(sql)?;
    let mut blobs = blobs.query([window])?;
    let mut keys = Vec::new();
    while let Some(row) = blobs.next()? {
        decode_keys(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?, &mut keys)
            .map_err(SqliteError::Damaged)?;
    }
    Ok(keys.iter().filter_map(|key| key.timestamp).collect())
}
