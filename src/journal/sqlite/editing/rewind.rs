//! A source goes back in time.
//!
//! ```text
//! covered  =======================|=========|     before
//! covered  ============|                          after: what lies behind `to` is missing, and planned again
//!               <-+--->|
//!          the overlap, read again too
//! keys          known ......................      held until that time is covered again (see `trimming`)
//! ```
//!
//! What comes back is known by its key. Keys that were trimmed before their records are made from the records again. With
//! `redeliver` the keys from `to` on are taken away instead, and only those: what the overlap brings stays known.

use rusqlite::{Connection, OptionalExtension, params};

use super::unknown;
use crate::journal::block::{decode_keys, encode_keys};
use crate::journal::editing::{ComponentKind, Rewind, RewindPreview};
use crate::journal::sqlite::fault::SqliteError;
use crate::journal::sqlite::values::Counts;
use crate::journal::sqlite::{collecting, coverage, staging};
use crate::journal::{RecordBlock, SeenKey, SourceId, WindowId};
use crate::time::{TimeRange, Timestamp};
use crate::vendors::{Normalizer, NormalizerConfig, registry};

/// The source, as far as its keys hang on it.
struct Rewound {
    id: SourceId,
    vendor: String,
    normalizer_config: String,
    forgotten_to: Option<Timestamp>,
}

impl Rewound {
    fn find(connection: &Connection, name: &str) -> Result<Option<Self>, SqliteError> {
        let sql = "SELECT id, vendor, profile, forgotten_to FROM sources WHERE name = ?1";
        let found = connection.query_row(sql, [name], |row| {
            Ok(Self { id: row.get(0)?, vendor: row.get(1)?, normalizer_config: row.get(2)?, forgotten_to: row.get(3)? })
        });
        Ok(found.optional()?)
    }

    /// What identifies its records.
    fn records(&self) -> Result<std::sync::Arc<dyn Normalizer>, SqliteError> {
        let normalizer_config: NormalizerConfig = serde_json::from_str(&self.normalizer_config)
            .map_err(|error| SqliteError::Damaged(format!("a profile: {error}")))?;
        registry::normalizer(&self.vendor, &normalizer_config)
            .ok_or_else(|| SqliteError::invalid_state(format!("this auditflow knows no vendor `{}`", self.vendor)))
    }
}

pub(super) fn preview(connection: &Connection, rewind: &Rewind) -> Result<Option<RewindPreview>, SqliteError> {
    let Some(source) = Rewound::find(connection, &rewind.source)? else { return Ok(None) };
    let (open_windows, staged_events) = connection.query_row(
        "SELECT (SELECT count(*) FROM windows WHERE source = ?1),
                (SELECT coalesce(sum(count), 0) FROM blocks WHERE source = ?1 AND first IS NULL)",
        [source.id],
        |row| Ok((row.count(0)?, row.count(1)?)),
    )?;
    Ok(Some(RewindPreview {
        given_up: given_up(connection, source.id, rewind.to)?,
        open_windows,
        staged_events,
        known_events: known_events(connection, &source, rewind)?,
        forgotten_to: source.forgotten_to,
    }))
}

fn given_up(connection: &Connection, source: SourceId, to: Timestamp) -> Result<Vec<TimeRange>, SqliteError> {
    let covered = coverage::merged(connection, source)?.into_iter();
    let behind = covered.map(|range| TimeRange::new(range.from.max(to), range.to));
    Ok(behind.filter(|range| !range.is_empty()).collect())
}

fn known_events(connection: &Connection, source: &Rewound, rewind: &Rewind) -> Result<u64, SqliteError> {
    let mut known = 0;
    let mut count = |keys: &[SeenKey]| known += keys.iter().filter(|key| is_from(key, rewind.to)).count() as u64;
    for block in blocks_with_keys(connection, source.id, rewind.to)? {
        count(&keys_of(connection, block)?);
    }
    let missing = blocks_without_keys(connection, source.id, rewind.to)?;
    if !missing.is_empty() {
        let records = source.records()?;
        for block in missing {
            count(&keys_from_records(connection, block, records.as_ref())?);
        }
    }
    Ok(known)
}

fn is_from(key: &SeenKey, moment: Timestamp) -> bool {
    key.timestamp.is_some_and(|at| at >= moment)
}

pub(super) fn apply(connection: &Connection, rewind: &Rewind) -> Result<(), SqliteError> {
    let source =
        Rewound::find(connection, &rewind.source)?.ok_or_else(|| unknown(ComponentKind::Source, &rewind.source))?;
    let exact = source.forgotten_to.is_none_or(|forgotten| rewind.reads_from() > forgotten);
    if !exact && !rewind.redeliver {
        return Err(SqliteError::invalid_state("a source is rewound into time whose events are not known any more"));
    }
    let given_up = given_up(connection, source.id, rewind.to)?;
    // What was given up before and is not read again yet may still be taken as new.
    if given_up.is_empty() && !rewind.redeliver {
        return Ok(());
    }
    let end = given_up.last().map_or(rewind.to, |range| range.to);
    drop_open_windows(connection, source.id)?;
    cut_coverage(connection, source.id, rewind.to)?;
    rebuild_keys(connection, &source, rewind.reads_from())?;
    if rewind.redeliver {
        strip_keys(connection, source.id, rewind.to)?;
    }
    note(connection, source.id, rewind, end)
}

/// All of them, those before the moment too: what one window has staged, another that overlaps it has left out, so a window
/// can only go on if all that were open beside it go on.
pub(super) fn drop_open_windows(connection: &Connection, source: SourceId) -> Result<(), SqliteError> {
    let mut open = connection.prepare("SELECT id FROM windows WHERE source = ?1")?;
    let open: Vec<WindowId> = open.query_map([source], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for window in open {
        staging::forget(connection, window)?;
        collecting::delete_window(connection, window)?;
    }
    Ok(())
}

fn cut_coverage(connection: &Connection, source: SourceId, to: Timestamp) -> Result<(), SqliteError> {
    connection.execute("DELETE FROM covered WHERE source = ?1 AND covers_from >= ?2", params![source, to])?;
    connection
        .execute("UPDATE covered SET covers_to = ?2 WHERE source = ?1 AND covers_to > ?2", params![source, to])?;
    Ok(())
}

/// Keys are held from here on, until all that was given up is covered again.
fn note(connection: &Connection, source: SourceId, rewind: &Rewind, end: Timestamp) -> Result<(), SqliteError> {
    let reach_back = i64::try_from(rewind.reach_back.as_nanos()).unwrap_or(i64::MAX);
    connection.execute(
        "UPDATE sources SET rewound_from = min(coalesce(rewound_from, ?2), ?2),
                            rewound_to = max(coalesce(rewound_to, ?3), ?3), overlap = max(overlap, ?4) WHERE id = ?1",
        params![source, rewind.to, end.min(rewind.now).max(rewind.to), reach_back],
    )?;
    Ok(())
}

/// Makes keys from records whose keys were trimmed.
fn rebuild_keys(connection: &Connection, source: &Rewound, from: Timestamp) -> Result<(), SqliteError> {
    let missing = blocks_without_keys(connection, source.id, from)?;
    if missing.is_empty() {
        return Ok(());
    }
    let records = source.records()?;
    for block in missing {
        let data = encoded(&keys_from_records(connection, block, records.as_ref())?)?;
        connection
            .prepare_cached(
                "INSERT INTO keys (block, source, asks_from, asks_to, min_time, max_time, data)
                 SELECT id, source, coalesce(min_time, visible_at), coalesce(max_time, visible_at), min_time, max_time, ?2
                 FROM blocks WHERE id = ?1",
            )?
            .execute(params![block, data])?;
    }
    Ok(())
}

/// Takes away the keys of all events from `from` on. The rows stay, so that nobody makes these keys from records again.
fn strip_keys(connection: &Connection, source: SourceId, from: Timestamp) -> Result<(), SqliteError> {
    for block in blocks_with_keys(connection, source, from)? {
        let mut keys = keys_of(connection, block)?;
        keys.retain(|key| !is_from(key, from));
        let sql = "UPDATE keys SET data = ?2 WHERE block = ?1";
        connection.prepare_cached(sql)?.execute(params![block, encoded(&keys)?])?;
    }
    Ok(())
}

/// Visible blocks whose keys are held and that may have events from `from` on.
fn blocks_with_keys(connection: &Connection, source: SourceId, from: Timestamp) -> Result<Vec<i64>, SqliteError> {
    let sql = "SELECT k.block FROM keys AS k LEFT JOIN blocks AS b ON b.id = k.block
               WHERE k.source = ?1 AND (k.max_time >= ?2 OR k.max_time IS NULL) AND (b.id IS NULL OR b.first IS NOT NULL)
               ORDER BY k.block";
    numbers(connection, sql, source, from)
}

/// Visible blocks whose keys are gone and that may have events from `from` on.
fn blocks_without_keys(connection: &Connection, source: SourceId, from: Timestamp) -> Result<Vec<i64>, SqliteError> {
    let sql = "SELECT id FROM blocks WHERE source = ?1 AND (max_time >= ?2 OR max_time IS NULL) AND first IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM keys WHERE block = blocks.id) ORDER BY id";
    numbers(connection, sql, source, from)
}

fn numbers(connection: &Connection, sql: &str, source: SourceId, from: Timestamp) -> Result<Vec<i64>, SqliteError> {
    let mut rows = connection.prepare_cached(sql)?;
    Ok(rows.query_map(params![source, from], |row| row.get(0))?.collect::<Result<_, _>>()?)
}

fn keys_of(connection: &Connection, block: i64) -> Result<Vec<SeenKey>, SqliteError> {
    let sql = "SELECT data FROM keys WHERE block = ?1";
    let data: Vec<u8> = connection.prepare_cached(sql)?.query_row([block], |row| row.get(0))?;
    let mut keys = Vec::new();
    decode_keys(&data, &mut keys).map_err(SqliteError::Damaged)?;
    Ok(keys)
}

pub(super) fn encoded(keys: &[SeenKey]) -> Result<Vec<u8>, SqliteError> {
    encode_keys(keys).map_err(|error| SqliteError::Storage(format!("keys cannot be compressed: {error}")))
}

fn keys_from_records(
    connection: &Connection,
    block: i64,
    records: &dyn Normalizer,
) -> Result<Vec<SeenKey>, SqliteError> {
    let sql = "SELECT first, count, source, observed_at, visible_at, data FROM blocks JOIN block_data ON block = id
               WHERE id = ?1";
    let block = connection.prepare_cached(sql)?.query_row([block], |row| {
        Ok(RecordBlock {
            first: row.count(0)?,
            count: row.get(1)?,
            source: row.get(2)?,
            observed_at: row.get(3)?,
            visible_at: row.get(4)?,
            data: row.get(5)?,
        })
    })?;
    let decoded = block.decode().map_err(SqliteError::Refused)?;
    let keys = decoded.records().map(|record| {
        let identity = records.key_of(record.raw);
        let id = identity.id.nth(record.occurrence);
        SeenKey { id, version: identity.version, timestamp: identity.timestamp }
    });
    Ok(keys.collect())
}
