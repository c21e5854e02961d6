//! What deliver and the collector read back: blocks in order, and keys.

use rusqlite::{Connection, params};

use super::fault::SqliteError;
use super::totals::Totals;
use super::values::{Counts, int};
use crate::journal::block::decode_keys;
use crate::journal::{PendingBatch, RecordBlock, SeenKey, Seq, SourceId, SourceInfo};
use crate::time::{TimeRange, Timestamp};

/// The sequence number of the block that holds ?1, or of the first one after it: blocks before it are of no interest.
const FROM_BLOCK_OF: &str = "first >= coalesce((SELECT max(first) FROM blocks WHERE first <= ?1), 0)";

/// A visible block without its records.
struct BlockHead {
    first: Seq,
    count: u64,
    source: SourceId,
    raw_bytes: u64,
    visible_at: Timestamp,
}

impl BlockHead {
    fn last(&self) -> Seq {
        self.first + self.count.saturating_sub(1)
    }
}

/// Limits of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchLimits {
    pub(super) max_events: u64,
    pub(super) max_bytes: u64,
}

pub(super) fn next_batch(
    connection: &Connection,
    after: Seq,
    sources: &[SourceId],
    limits: BatchLimits,
) -> Result<PendingBatch, SqliteError> {
    let head = Totals::read(connection)?.head;
    let mut batch = PendingBatch {
        first: after + 1,
        last: head.max(after),
        events: 0,
        raw_bytes: 0,
        oldest_visible_at: None,
        full: false,
    };
    let sql =
        format!("SELECT first, count, source, raw_bytes, visible_at FROM blocks WHERE {FROM_BLOCK_OF} ORDER BY first");
    let mut blocks = connection.prepare_cached(&sql)?;
    let mut rows = blocks.query([int(batch.first)])?;
    while let Some(row) = rows.next()? {
        let block = BlockHead {
            first: row.count(0)?,
            count: row.count(1)?,
            source: row.get(2)?,
            raw_bytes: row.count(3)?,
            visible_at: row.get(4)?,
        };
        if sources.contains(&block.source) && block.last() > after && take(&mut batch, &block, limits) {
            return Ok(batch);
        }
    }
    Ok(batch)
}

/// Adds what fits of a block. Returns whether that closes the batch.
fn take(batch: &mut PendingBatch, block: &BlockHead, limits: BatchLimits) -> bool {
    let from = block.first.max(batch.first);
    let available = block.last() - from + 1;
    let room = limits.max_events.max(1) - batch.events;
    let taken = available.min(room);
    batch.events += taken;
    batch.raw_bytes += (block.raw_bytes * taken).div_ceil(block.count.max(1));
    let visible_at = batch.oldest_visible_at.map_or(block.visible_at, |oldest| oldest.min(block.visible_at));
    batch.oldest_visible_at = Some(visible_at);
    batch.full = taken == room || batch.raw_bytes >= limits.max_bytes;
    if batch.full {
        batch.last = from + taken - 1;
    }
    batch.full
}

pub(super) fn read(
    connection: &Connection,
    first: Seq,
    last: Seq,
    sources: &[SourceId],
    limit: usize,
) -> Result<Vec<RecordBlock>, SqliteError> {
    let sql = format!(
        "SELECT id, first, count, source, observed_at, visible_at FROM blocks
         WHERE {FROM_BLOCK_OF} AND first <= ?2 ORDER BY first"
    );
    let mut blocks = connection.prepare_cached(&sql)?;
    let mut data = connection.prepare_cached("SELECT data FROM block_data WHERE block = ?1")?;
    let mut rows = blocks.query(params![int(first), int(last)])?;
    let mut found = Vec::new();
    while found.len() < limit
        && let Some(row) = rows.next()?
    {
        let mut block = RecordBlock {
            first: row.count(1)?,
            count: row.get(2)?,
            source: row.get(3)?,
            observed_at: row.get(4)?,
            visible_at: row.get(5)?,
            data: Vec::new(),
        };
        if sources.contains(&block.source) && block.last() >= first {
            block.data = data.query_row([row.get::<_, i64>(0)?], |row| row.get(0))?;
            found.push(block);
        }
    }
    Ok(found)
}

pub(super) fn keys_within(
    connection: &Connection,
    source: SourceId,
    range: TimeRange,
) -> Result<Vec<SeenKey>, SqliteError> {
    let mut pages = connection.prepare_cached(
        "SELECT data FROM keys WHERE source = ?1 AND max_time >= ?2 AND min_time < ?3
         UNION ALL
         SELECT data FROM keys WHERE source = ?1 AND max_time IS NULL",
    )?;
    let mut rows = pages.query(params![source, range.from, range.to])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        decode_keys(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?, &mut keys)
            .map_err(SqliteError::Damaged)?;
    }
    Ok(keys)
}

pub(super) fn sources(connection: &Connection) -> Result<Vec<SourceInfo>, SqliteError> {
    let mut rows = connection.prepare_cached("SELECT id, name, vendor, profile FROM sources ORDER BY id")?;
    let mut rows = rows.query([])?;
    let mut sources = Vec::new();
    while let Some(row) = rows.next()? {
        let normalizer_config: String = row.get(3)?;
        sources.push(SourceInfo {
            id: row.get(0)?,
            name: row.get(1)?,
            vendor: row.get(2)?,
            normalizer_config: serde_json::from_str(&normalizer_config)
                .map_err(|error| SqliteError::Damaged(format!("a profile: {error}")))?,
        });
    }
    Ok(sources)
}
