//! What an operator changes: each change is one call, so one transaction; its preview is a read.
//!
//! ```text
//! rewind      covered  =======================|=========|     before
//!             covered  ============|                          after: what lies behind `to` is a gap, and planned again
//!                           <-+--->|
//!                      the overlap, read again too
//!             keys     known ......................           kept until that time is covered again (see `trimming`)
//!
//! redeliver   a sink's position goes back, its generation forward
//! rename      a row gets another name; a sink's generation goes forward
//! reset       a row starts over; a sink's generation goes forward
//! remove      a row is deleted with everything that belongs to it
//! ```
//!
//! **Keys on rewind.** What is read again is deduplicated by its key. Where keys were trimmed before their records, collecting
//! derives them again and passes them in: this module does not know vendors. With `redeliver` the keys from `to` on are
//! deleted instead, and only those: what the overlap reads stays deduplicated.
//!
//! **Generations.** A sink's output can be named by its range of the journal, and a target can know the last position. Both
//! hold for one generation: a sink that is redelivered, renamed or reset gets a number that no sink of this journal has had,
//! and a sink that the journal does not know begins with the highest so far.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::collecting::delete_open_windows;
use super::sql::{Count, Counts, SqliteError, int};
use super::totals::Totals;
use super::{coverage, log, trimming};
use crate::journal::block::{decode_keys, encode_keys};
use crate::journal::{
    BlockKeys, ComponentKind, EvidenceRow, RecordBlock, Redeliver, RedeliverPreview, Rewind, RewindPreview, SeenKey,
    Seq, SinkEdit, SinkHistory, SourceEdit, SourceHistory, SourceId,
};
use crate::time::{TimeRange, Timestamp};

pub(super) fn edit_source(connection: &Connection, edit: &SourceEdit) -> Result<(), SqliteError> {
    let id = |name: &str| Ok::<_, SqliteError>(SourceId(id_of(connection, ComponentKind::Source, name)?));
    match edit {
        SourceEdit::Rewind { rewind, keys } => apply_rewind(connection, id(&rewind.source)?, rewind, keys),
        SourceEdit::Rename { source, new_name } => rename_source(connection, id(source)?, new_name),
        SourceEdit::Reset { source, at } => reset_source(connection, id(source)?, *at),
        SourceEdit::Remove { source } => remove_source(connection, id(source)?),
    }
}

pub(super) fn edit_sink(connection: &Connection, edit: &SinkEdit) -> Result<(), SqliteError> {
    let (SinkEdit::Redeliver(Redeliver { sink, .. })
    | SinkEdit::Rename { sink, .. }
    | SinkEdit::Reset { sink, .. }
    | SinkEdit::Remove { sink }) = edit;
    let id = id_of(connection, ComponentKind::Sink, sink)?;
    if sink_history(connection, sink)?.is_some_and(|sink| sink.unfinished_batch) {
        return Err(SqliteError::invalid_state("a sink is changed in the middle of a batch"));
    }
    match edit {
        SinkEdit::Redeliver(redeliver) => apply_redeliver(connection, id, redeliver),
        SinkEdit::Rename { new_name, .. } => rename_sink(connection, id, new_name),
        SinkEdit::Reset { position, .. } => reset_sink(connection, id, *position),
        SinkEdit::Remove { .. } => remove_sink(connection, id),
    }
}

fn id_of(connection: &Connection, kind: ComponentKind, name: &str) -> Result<i64, SqliteError> {
    let sql = format!("SELECT id FROM {}s WHERE name = ?1", kind.as_str());
    let found = connection.query_row(&sql, [name], |row| row.get(0)).optional()?;
    found.ok_or_else(|| SqliteError::invalid_state(format!("there is no {} `{name}`", kind.as_str())))
}

/// A generation that no sink has had.
fn new_generation(connection: &Connection) -> Result<i64, SqliteError> {
    connection.execute("UPDATE totals SET generation = generation + 1", [])?;
    Ok(int(connection.query_row("SELECT generation FROM totals", [], |row| row.count(0))?))
}

// --- sources: rewind ---

pub(super) fn preview_rewind(connection: &Connection, rewind: &Rewind) -> Result<Option<RewindPreview>, SqliteError> {
    let sql = "SELECT id, forgotten_to,
                      (SELECT count(*) FROM windows WHERE source = sources.id),
                      (SELECT coalesce(sum(count), 0) FROM blocks WHERE source = sources.id AND first IS NULL)
               FROM sources WHERE name = ?1";
    let found = connection.query_row(sql, [&rewind.source], |row| {
        let preview = RewindPreview {
            removed_coverage: Vec::new(),
            open_windows: row.count(2)?,
            staged_events: row.count(3)?,
            known_events: 0,
            forgotten_to: row.get(1)?,
        };
        Ok((row.get::<_, SourceId>(0)?, preview))
    });
    let Some((id, preview)) = found.optional()? else { return Ok(None) };
    let mut known_events = 0;
    for block in blocks_with_keys(connection, id, rewind.to)? {
        known_events += keys_of(connection, block)?.iter().filter(|key| is_from(key, rewind.to)).count() as u64;
    }
    let removed_coverage = coverage_after(connection, id, rewind.to)?;
    Ok(Some(RewindPreview { removed_coverage, known_events, ..preview }))
}

fn coverage_after(connection: &Connection, source: SourceId, to: Timestamp) -> Result<Vec<TimeRange>, SqliteError> {
    let decided = coverage::decided(connection, source)?.into_iter();
    let after = decided.map(|range| TimeRange::new(range.from.max(to), range.to));
    Ok(after.filter(|range| !range.is_empty()).collect())
}

fn is_from(key: &SeenKey, moment: Timestamp) -> bool {
    key.timestamp.is_some_and(|at| at >= moment)
}

fn apply_rewind(
    connection: &Connection,
    source: SourceId,
    rewind: &Rewind,
    keys: &[BlockKeys],
) -> Result<(), SqliteError> {
    let forgotten_to: Option<Timestamp> =
        connection.query_row("SELECT forgotten_to FROM sources WHERE id = ?1", [source], |row| row.get(0))?;
    let exact = forgotten_to.is_none_or(|forgotten| rewind.reads_from() > forgotten);
    if !exact && !rewind.redeliver {
        return Err(SqliteError::invalid_state("a source is rewound into time whose events are not known any more"));
    }
    let removed = coverage_after(connection, source, rewind.to)?;
    // Time that an earlier rewind removed and that is not covered again may still be redelivered.
    if removed.is_empty() && !rewind.redeliver {
        return Ok(());
    }
    let end = removed.last().map_or(rewind.to, |range| range.to);
    delete_open_windows(connection, source)?;
    coverage::cut(connection, source, rewind.to)?;
    restore_keys(connection, source, rewind.reads_from(), keys)?;
    trimming::recall(connection, source, if exact { rewind.reads_from() } else { rewind.to })?;
    if rewind.redeliver {
        delete_keys_from(connection, source, rewind.to)?;
    }
    store_rewind(connection, source, rewind, end)
}

/// Keys are kept from here on, until all coverage that was removed is back.
fn store_rewind(connection: &Connection, source: SourceId, rewind: &Rewind, end: Timestamp) -> Result<(), SqliteError> {
    let reach_back = i64::try_from(rewind.reach_back.as_nanos()).unwrap_or(i64::MAX);
    connection.execute(
        "UPDATE sources SET rewound_from = min(coalesce(rewound_from, ?2), ?2),
                            rewound_to = max(coalesce(rewound_to, ?3), ?3), overlap = max(overlap, ?4) WHERE id = ?1",
        params![source, rewind.to, end.min(rewind.now).max(rewind.to), reach_back],
    )?;
    Ok(())
}

/// Visible blocks whose keys are gone and that may hold events at or after ?2.
const WITHOUT_KEYS: &str = "blocks.source = ?1 AND (max_time >= ?2 OR max_time IS NULL) AND first > ?3
                            AND NOT EXISTS (SELECT 1 FROM keys WHERE block = blocks.id)";

pub(super) fn blocks_without_keys(
    connection: &Connection,
    source: SourceId,
    from: Timestamp,
    after: Seq,
    limit: usize,
) -> Result<Vec<RecordBlock>, SqliteError> {
    let sql = format!(
        "SELECT first, count, source, observed_at, visible_at, data FROM blocks JOIN block_data ON block = id
         WHERE {WITHOUT_KEYS} ORDER BY first LIMIT ?4"
    );
    let mut rows = connection.prepare_cached(&sql)?;
    let block = |row: &Row<'_>| {
        Ok(RecordBlock {
            first: row.count(0)?,
            count: row.get(1)?,
            source: row.get(2)?,
            observed_at: row.get(3)?,
            visible_at: row.get(4)?,
            data: row.get(5)?,
        })
    };
    let rows = rows.query_map(params![source, from, int(after), int(limit as u64)], block)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Stores the keys that were derived again. Each block without keys must have got some: one that is left out would be
/// delivered twice.
fn restore_keys(
    connection: &Connection,
    source: SourceId,
    from: Timestamp,
    keys: &[BlockKeys],
) -> Result<(), SqliteError> {
    let derived: HashMap<Seq, &[u8]> = keys.iter().map(|block| (block.first, block.keys.as_slice())).collect();
    let mut missing =
        connection.prepare(&format!("SELECT id, first FROM blocks WHERE {WITHOUT_KEYS} ORDER BY first"))?;
    let missing = missing.query_map(params![source, from, 0], |row| Ok((row.get::<_, i64>(0)?, row.count(1)?)))?;
    for (block, first) in missing.collect::<Result<Vec<_>, _>>()? {
        let data = derived.get(&first).ok_or_else(|| {
            SqliteError::invalid_state(format!("a rewind without the keys of the block of event {first}"))
        })?;
        connection
            .prepare_cached(
                "INSERT INTO keys (block, source, fetch_from, fetch_to, min_time, max_time, data)
                 SELECT id, source, coalesce(min_time, visible_at), coalesce(max_time, visible_at), min_time, max_time, ?2
                 FROM blocks WHERE id = ?1",
            )?
            .execute(params![block, data])?;
    }
    Ok(())
}

/// Deletes the keys of all events from `from` on. The rows stay, so that a later rewind does not restore these keys.
fn delete_keys_from(connection: &Connection, source: SourceId, from: Timestamp) -> Result<(), SqliteError> {
    for block in blocks_with_keys(connection, source, from)? {
        let mut keys = keys_of(connection, block)?;
        keys.retain(|key| !is_from(key, from));
        let sql = "UPDATE keys SET data = ?2 WHERE block = ?1";
        connection.prepare_cached(sql)?.execute(params![block, encoded(&keys)?])?;
    }
    Ok(())
}

/// Visible blocks whose keys are held and that may hold events at or after `from`.
fn blocks_with_keys(connection: &Connection, source: SourceId, from: Timestamp) -> Result<Vec<i64>, SqliteError> {
    let sql = "SELECT k.block FROM keys AS k LEFT JOIN blocks AS b ON b.id = k.block
               WHERE k.source = ?1 AND (k.max_time >= ?2 OR k.max_time IS NULL) AND (b.id IS NULL OR b.first IS NOT NULL)
               ORDER BY k.block";
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

fn encoded(keys: &[SeenKey]) -> Result<Vec<u8>, SqliteError> {
    encode_keys(keys).map_err(SqliteError::Rejected)
}

// --- sources: doubt ---

/// Gives up the state of time because a clock was wrong. What is read again is deduplicated, so the keys must be there.
pub(super) fn cut_coverage(connection: &Connection, source: SourceId, from: Timestamp) -> Result<(), SqliteError> {
    let sql = format!(
        "SELECT coalesce(forgotten_to >= ?2, 0) OR EXISTS (SELECT 1 FROM blocks WHERE {WITHOUT_KEYS})
         FROM sources WHERE id = ?1"
    );
    if connection.prepare_cached(&sql)?.query_row(params![source, from, 0], |row| row.get(0))? {
        return Err(SqliteError::invalid_state(format!(
            "the coverage from {from} on cannot be cut, because dedup keys of that time are gone; stop the pipeline and \
             use `auditflow state rewind`"
        )));
    }
    coverage::cut(connection, source, from)
}

pub(super) fn accept(connection: &Connection, name: &str, range: TimeRange) -> Result<u64, SqliteError> {
    coverage::accept(connection, SourceId(id_of(connection, ComponentKind::Source, name)?), range)
}

pub(super) fn evidence(connection: &Connection, name: &str, range: TimeRange) -> Result<Vec<EvidenceRow>, SqliteError> {
    coverage::evidence(connection, SourceId(id_of(connection, ComponentKind::Source, name)?), range)
}

// --- sources: history, rename, reset, remove ---

pub(super) fn source_history(connection: &Connection, name: &str) -> Result<Option<SourceHistory>, SqliteError> {
    let sql = "SELECT id, vendor, events,
                      (SELECT coalesce(sum(count), 0) FROM blocks WHERE source = sources.id AND first IS NOT NULL),
                      (SELECT count(*) FROM windows WHERE source = sources.id), first_started_at
               FROM sources WHERE name = ?1";
    let found = connection.query_row(sql, [name], |row| {
        let history = SourceHistory {
            vendor: row.get(1)?,
            first_started_at: row.get(5)?,
            coverage: Vec::new(),
            events: row.count(2)?,
            held: row.count(3)?,
            open_windows: row.count(4)?,
        };
        Ok((row.get::<_, SourceId>(0)?, history))
    });
    let Some((id, history)) = found.optional()? else { return Ok(None) };
    Ok(Some(SourceHistory { coverage: coverage::decided(connection, id)?, ..history }))
}

fn rename_source(connection: &Connection, id: SourceId, new_name: &str) -> Result<(), SqliteError> {
    connection.execute(
        "UPDATE OR REPLACE sink_inputs SET source = ?2 WHERE source = (SELECT name FROM sources WHERE id = ?1)",
        params![id, new_name],
    )?;
    connection.execute("UPDATE sources SET name = ?2 WHERE id = ?1", params![id, new_name])?;
    Ok(())
}

/// As at its first start. Its events that are held stay, to be delivered, and so do the counters that include them.
fn reset_source(connection: &Connection, id: SourceId, at: Timestamp) -> Result<(), SqliteError> {
    delete_open_windows(connection, id)?;
    connection.execute("DELETE FROM covered WHERE source = ?1", [id])?;
    connection.execute("DELETE FROM lateness WHERE source = ?1", [id])?;
    connection.execute("DELETE FROM hourly_events WHERE source = ?1", [id])?;
    connection.execute("DELETE FROM forgotten_keys WHERE source = ?1", [id])?;
    empty_keys(connection, id)?;
    connection.execute(
        "UPDATE sources SET first_started_at = ?2, last_recheck_at = NULL, learned = NULL, overlap = 0, rewound_from = NULL,
                            rewound_to = NULL, forgotten_to = NULL, newest_event_at = NULL, last_error = NULL
         WHERE id = ?1",
        params![id, at],
    )?;
    Ok(())
}

/// Keys of events that are held are emptied, not deleted, so that a later rewind does not restore them.
fn empty_keys(connection: &Connection, source: SourceId) -> Result<(), SqliteError> {
    connection.execute(
        "DELETE FROM keys WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM blocks WHERE id = keys.block)",
        [source],
    )?;
    connection.execute(
        "INSERT INTO keys (block, source, fetch_from, fetch_to, min_time, max_time, data)
         SELECT id, source, coalesce(min_time, visible_at), coalesce(max_time, visible_at), min_time, max_time, x''
         FROM blocks WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM keys WHERE block = blocks.id)",
        [source],
    )?;
    connection.execute("UPDATE keys SET data = ?2 WHERE source = ?1", params![source, encoded(&[])?])?;
    Ok(())
}

/// Deletes everything that belongs to it, events that are held included.
fn remove_source(connection: &Connection, id: SourceId) -> Result<(), SqliteError> {
    delete_open_windows(connection, id)?;
    let sql = "SELECT coalesce(sum(bytes), 0), count(*),
                      EXISTS (SELECT 1 FROM sinks WHERE batch_first IS NOT NULL) FROM blocks WHERE source = ?1";
    let (bytes, blocks, any_batch) =
        connection.query_row(sql, [id], |row| Ok((row.count(0)?, row.count(1)?, row.get::<_, bool>(2)?)))?;
    if blocks > 0 && any_batch {
        return Err(SqliteError::invalid_state("events are removed in the middle of a batch"));
    }
    for sql in [
        "DELETE FROM block_data WHERE block IN (SELECT id FROM blocks WHERE source = ?1)",
        "DELETE FROM blocks WHERE source = ?1",
        "DELETE FROM keys WHERE source = ?1",
        "DELETE FROM covered WHERE source = ?1",
        "DELETE FROM sink_inputs WHERE source = (SELECT name FROM sources WHERE id = ?1)",
        "DELETE FROM sources WHERE id = ?1",
    ] {
        connection.execute(sql, [id])?;
    }
    let mut totals = Totals::read(connection)?;
    totals.visible_bytes = totals.visible_bytes.saturating_sub(bytes);
    totals.write(connection)
}

// --- sinks: redeliver ---

/// Visible blocks of one source that hold events between ?2 and ?3: number of events, their earliest and latest time, and
/// whether every block has times.
const BETWEEN: &str = "SELECT coalesce(sum(min(first + count - 1, ?3) - max(first, ?2 + 1) + 1), 0),
                              min(min_time), max(max_time), count(*) = count(max_time)
                       FROM blocks WHERE source = ?1 AND first <= ?3 AND first + count - 1 > ?2";

pub(super) fn preview_redeliver(
    connection: &Connection,
    redeliver: &Redeliver,
) -> Result<Option<RedeliverPreview>, SqliteError> {
    let Some(sink) = sink_history(connection, &redeliver.sink)? else { return Ok(None) };
    let (position, unfinished_batch) = (sink.position, sink.unfinished_batch);
    let known = log::sources(connection)?.into_iter();
    let sources: Vec<SourceId> =
        known.filter(|source| redeliver.sources.contains(&source.name)).map(|source| source.id).collect();
    let back_to = back_to(connection, &sources, redeliver.from, position)?;
    let trimmed_time = trimmed_time(connection, &sources)?;
    let mut preview = RedeliverPreview { position, back_to, events: 0, times: None, trimmed_time, unfinished_batch };
    let mut timed = true;
    for source in sources {
        let (events, first, last, all_timed) =
            connection.prepare_cached(BETWEEN)?.query_row(params![source, int(back_to), int(position)], |row| {
                Ok((row.count(0)?, row.get::<_, Option<Timestamp>>(1)?, row.get(2)?, row.get::<_, bool>(3)?))
            })?;
        preview.events += events;
        timed &= all_timed;
        if let (Some(first), Some(last)) = (first, last) {
            let (earliest, latest) = preview.times.unwrap_or((first, last));
            preview.times = Some((earliest.min(first), latest.max(last)));
        }
    }
    preview.times = preview.times.filter(|_| timed);
    Ok(Some(preview))
}

/// The event before the first block of these sources that the sink has begun to pass and that holds an event at or after
/// `from`, or one without a time.
fn back_to(
    connection: &Connection,
    sources: &[SourceId],
    from: Option<Timestamp>,
    position: Seq,
) -> Result<Seq, SqliteError> {
    let from = from.unwrap_or(Timestamp::from_nanos(i64::MIN));
    let mut back_to = position;
    for source in sources {
        let first: Option<Count> = connection
            .prepare_cached(
                "SELECT min(first) FROM blocks
                 WHERE source = ?1 AND first <= ?2 AND (max_time >= ?3 OR max_time IS NULL)",
            )?
            .query_row(params![source, int(position), from], |row| row.get(0))?;
        back_to = first.map_or(back_to, |first| back_to.min(first.0.saturating_sub(1)));
    }
    Ok(back_to)
}

fn trimmed_time(connection: &Connection, sources: &[SourceId]) -> Result<Option<Timestamp>, SqliteError> {
    let mut latest = None;
    for source in sources {
        let sql = "SELECT trimmed_time FROM sources WHERE id = ?1";
        latest = latest.max(connection.prepare_cached(sql)?.query_row([source], |row| row.get(0))?);
    }
    Ok(latest)
}

fn apply_redeliver(connection: &Connection, id: i64, redeliver: &Redeliver) -> Result<(), SqliteError> {
    let Some(preview) = preview_redeliver(connection, redeliver)? else { return Ok(()) };
    if preview.back_to == preview.position {
        return Ok(());
    }
    // Active at once: nothing that the sink is to deliver may be trimmed before it starts.
    connection.execute(
        "UPDATE sinks SET position = ?2, generation = ?3, redelivered = redelivered + ?4, active = 1, last_error = NULL
         WHERE id = ?1",
        params![id, int(preview.back_to), new_generation(connection)?, int(preview.events)],
    )?;
    Ok(())
}

// --- sinks: history, rename, reset, remove ---

pub(super) fn sink_history(connection: &Connection, name: &str) -> Result<Option<SinkHistory>, SqliteError> {
    let sql = "SELECT position, delivered, active, batch_first IS NOT NULL FROM sinks WHERE name = ?1";
    let found = connection.query_row(sql, [name], |row| {
        Ok(SinkHistory {
            position: row.count(0)?,
            delivered: row.count(1)?,
            active: row.get(2)?,
            unfinished_batch: row.get(3)?,
        })
    });
    Ok(found.optional()?)
}

fn rename_sink(connection: &Connection, id: i64, new_name: &str) -> Result<(), SqliteError> {
    connection.execute(
        "UPDATE sinks SET name = ?2, generation = ?3, active = 1 WHERE id = ?1",
        params![id, new_name, new_generation(connection)?],
    )?;
    Ok(())
}

fn reset_sink(connection: &Connection, id: i64, position: Seq) -> Result<(), SqliteError> {
    let totals = Totals::read(connection)?;
    if position < totals.trimmed_to || position > totals.head {
        return Err(SqliteError::invalid_state(format!(
            "a sink is reset to position {position}, outside the events held"
        )));
    }
    connection.execute(
        "UPDATE sinks SET position = ?2, generation = ?3, active = 1, delivered = 0, filtered = 0, dead_lettered = 0,
                          bytes = 0, redelivered = 0, skipped = 0, furthest = 0, delivered_at = NULL, last_error = NULL WHERE id = ?1",
        params![id, int(position), new_generation(connection)?],
    )?;
    connection.execute("DELETE FROM normalize_findings WHERE sink = ?1", [id])?;
    connection.execute("DELETE FROM sink_inputs WHERE sink = ?1", [id])?;
    Ok(())
}

/// The generation goes forward all the same: a later sink of this name must not be taken for this one.
fn remove_sink(connection: &Connection, id: i64) -> Result<(), SqliteError> {
    new_generation(connection)?;
    connection.execute("DELETE FROM sinks WHERE id = ?1", [id])?;
    Ok(())
}
