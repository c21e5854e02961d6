//! What the log's readers get: sources, batches, blocks, counters.

use std::collections::HashSet;

use rusqlite::{Connection, Row, params};

use super::sql::{Counts, SqliteError, from_json, int};
use super::totals::Totals;
use crate::journal::{
    JournalStats, LastError, PendingBatch, RecordBlock, RequestCounts, Seq, SinkStats, SourceId, SourceInfo,
    SourceStats,
};
use crate::time::Timestamp;

/// Blocks from the one that holds ?1 on, or from the first one after it.
pub(super) const FROM_BLOCK_OF: &str = "first >= coalesce((SELECT max(first) FROM blocks WHERE first <= ?1), 0)";

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
    let wanted: HashSet<&SourceId> = sources.iter().collect();
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
        if wanted.contains(&block.source) && block.last() > after && add_block(&mut batch, &block, limits) {
            return Ok(batch);
        }
    }
    Ok(batch)
}

/// Adds what fits of a block. Returns whether that closes the batch.
fn add_block(batch: &mut PendingBatch, block: &BlockHead, limits: BatchLimits) -> bool {
    let from = block.first.max(batch.first);
    let available = block.last() - from + 1;
    let left = limits.max_events.max(1) - batch.events;
    let taken = available.min(left);
    batch.events += taken;
    batch.raw_bytes += (block.raw_bytes * taken).div_ceil(block.count.max(1));
    let visible_at = batch.oldest_visible_at.map_or(block.visible_at, |oldest| oldest.min(block.visible_at));
    batch.oldest_visible_at = Some(visible_at);
    batch.full = taken == left || batch.raw_bytes >= limits.max_bytes;
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

pub(super) fn sources(connection: &Connection) -> Result<Vec<SourceInfo>, SqliteError> {
    let mut rows = connection.prepare_cached("SELECT id, name, vendor, normalizer_config FROM sources ORDER BY id")?;
    let mut rows = rows.query([])?;
    let mut sources = Vec::new();
    while let Some(row) = rows.next()? {
        sources.push(SourceInfo {
            id: row.get(0)?,
            name: row.get(1)?,
            vendor: row.get(2)?,
            normalizer_config: from_json("a normalizer config", &row.get::<_, String>(3)?)?,
        });
    }
    Ok(sources)
}

pub(super) fn stats(connection: &Connection) -> Result<JournalStats, SqliteError> {
    let totals = Totals::read(connection)?;
    Ok(JournalStats {
        sources: source_stats(connection)?,
        sinks: sink_stats(connection)?,
        head: totals.head,
        oldest: totals.oldest(),
        bytes: totals.bytes(),
    })
}

fn source_stats(connection: &Connection) -> Result<Vec<SourceStats>, SqliteError> {
    let mut rows = connection.prepare_cached(
        "SELECT name, vendor, events, raw_bytes, pages, requests_2xx, requests_3xx, requests_4xx, requests_5xx, requests_none,
                last_error,
                (SELECT max(covers_to) FROM covered WHERE source = sources.id AND state = 'covered'),
                (SELECT count(*) FROM windows WHERE source = sources.id),
                (SELECT coalesce(sum(count), 0) FROM blocks
                 WHERE first IS NULL AND window IN (SELECT id FROM windows WHERE source = sources.id)),
                (SELECT coalesce(max(normalize_errors), 0) FROM normalize_findings WHERE source = sources.id),
                (SELECT coalesce(max(unmapped_actions), 0) FROM normalize_findings WHERE source = sources.id),
                (SELECT max(last_error_at) FROM normalize_findings WHERE source = sources.id)
         FROM sources ORDER BY id",
    )?;
    let mut rows = rows.query([])?;
    let mut sources = Vec::new();
    while let Some(row) = rows.next()? {
        sources.push(SourceStats {
            name: row.get(0)?,
            vendor: row.get(1)?,
            events: row.count(2)?,
            raw_bytes: row.count(3)?,
            pages: row.count(4)?,
            requests: RequestCounts {
                success: row.count(5)?,
                redirect: row.count(6)?,
                client_error: row.count(7)?,
                server_error: row.count(8)?,
                unanswered: row.count(9)?,
            },
            last_error: last_error(row, 10)?,
            covered_to: row.get(11)?,
            open_windows: row.count(12)?,
            staged: row.count(13)?,
            normalize_errors: row.count(14)?,
            unmapped_actions: row.count(15)?,
            normalize_error_at: row.get(16)?,
        });
    }
    Ok(sources)
}

fn sink_stats(connection: &Connection) -> Result<Vec<SinkStats>, SqliteError> {
    let mut rows = connection.prepare_cached(
        "SELECT name, active, position, delivered, filtered, dead_lettered, bytes, redelivered, last_error,
                delivered_at, state, skipped
         FROM sinks ORDER BY id",
    )?;
    let mut rows = rows.query([])?;
    let mut sinks = Vec::new();
    while let Some(row) = rows.next()? {
        sinks.push(SinkStats {
            name: row.get(0)?,
            active: row.get(1)?,
            position: row.count(2)?,
            delivered: row.count(3)?,
            filtered: row.count(4)?,
            dead_lettered: row.count(5)?,
            bytes: row.count(6)?,
            redelivered: row.count(7)?,
            skipped: row.count(11)?,
            delivered_at: row.get(9)?,
            state: row.get(10)?,
            last_error: last_error(row, 8)?,
        });
    }
    Ok(sinks)
}

fn last_error(row: &Row<'_>, index: usize) -> Result<Option<LastError>, SqliteError> {
    let text: Option<String> = row.get(index)?;
    text.map(|text| from_json("a last error", &text)).transpose()
}
