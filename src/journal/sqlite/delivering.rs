//! What delivering writes: sinks, their positions and batch intents. Each function is one call inside its transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::sink_inputs;
use super::sql::{Count, Counts, SqliteError, from_json, int, to_json};
use super::totals::Totals;
use crate::journal::{
    BatchCommit, BatchIntent, LastError, NormalizeFindings, RollbackRecord, Seq, SinkId, SinkStart, SinkState,
};

/// A sink's row.
struct SinkRow {
    position: Seq,
    furthest: Seq,
    /// First and last event of the open intent, and its fingerprint.
    intent: Option<(Seq, Seq, String)>,
    state: Option<String>,
    generation: u64,
}

pub(super) fn open_sink(connection: &Connection, name: &str, start: SinkStart) -> Result<SinkState, SqliteError> {
    let totals = Totals::read(connection)?;
    let begin = match start {
        SinkStart::Beginning => totals.trimmed_to,
        SinkStart::Now => totals.head,
    };
    let is_new = !connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sinks WHERE name = ?1)")?
        .query_row([name], |row| row.get::<_, bool>(0))?;
    connection.execute(
        "INSERT INTO sinks (name, active, position, generation) VALUES (?1, 1, ?2, (SELECT generation FROM totals))
         ON CONFLICT (name) DO UPDATE SET active = 1 WHERE active = 0",
        params![name, int(begin)],
    )?;
    let id = connection.query_row("SELECT id FROM sinks WHERE name = ?1", [name], |row| row.get(0))?;
    let SinkRow { position, furthest, intent, state, generation } = sink_row(connection, id)?;
    let intent = intent
        .map(|(first, last, fingerprint)| {
            Ok::<_, SqliteError>(BatchIntent { first, last, fingerprint, records: rollback_records(connection, id)? })
        })
        .transpose()?;
    let missed = totals.trimmed_to.saturating_sub(position);
    Ok(SinkState { is_new, id, position, furthest, intent, state, generation, missed })
}

fn sink_row(connection: &Connection, sink: SinkId) -> Result<SinkRow, SqliteError> {
    let sql = "SELECT position, batch_first, batch_last, batch_fingerprint, state, generation, max(position, furthest)
               FROM sinks WHERE id = ?1";
    let found = connection.prepare_cached(sql)?.query_row([sink], |row| {
        let first: Option<Count> = row.get(1)?;
        let intent = first.map(|first| Ok::<_, rusqlite::Error>((first.0, row.count(2)?, row.get(3)?))).transpose()?;
        let furthest = row.count(6)?;
        Ok(SinkRow { position: row.count(0)?, furthest, intent, state: row.get(4)?, generation: row.count(5)? })
    });
    found.optional()?.ok_or_else(|| SqliteError::invalid_state(format!("there is no sink {}", sink.0)))
}

fn rollback_records(connection: &Connection, sink: SinkId) -> Result<Vec<RollbackRecord>, SqliteError> {
    let mut rows = connection.prepare_cached("SELECT record FROM rollback_records WHERE sink = ?1 ORDER BY id")?;
    let mut rows = rows.query([sink])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(from_json("a rollback record", &row.get::<_, String>(0)?)?);
    }
    Ok(records)
}

pub(super) fn retire_sinks(connection: &Connection, active: &[String]) -> Result<Vec<String>, SqliteError> {
    let mut names = connection.prepare_cached("SELECT name FROM sinks WHERE active = 1 ORDER BY name")?;
    let names = names.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let retired: Vec<String> = names.into_iter().filter(|name| !active.contains(name)).collect();
    for name in &retired {
        connection.execute("UPDATE sinks SET active = 0 WHERE name = ?1", [name])?;
    }
    Ok(retired)
}

pub(super) fn prepare_batch(
    connection: &Connection,
    sink: SinkId,
    first: Seq,
    last: Seq,
    fingerprint: &str,
) -> Result<(), SqliteError> {
    let head = Totals::read(connection)?.head;
    let SinkRow { position, intent, .. } = sink_row(connection, sink)?;
    if intent.is_some() {
        return Err(SqliteError::invalid_state("a sink prepares a batch while another one is open"));
    }
    if first <= position || last < first || last > head {
        return Err(SqliteError::invalid_state(format!(
            "a batch from {first} to {last} of a sink at position {position}, with the head at {head}"
        )));
    }
    connection
        .prepare_cached("UPDATE sinks SET batch_first = ?2, batch_last = ?3, batch_fingerprint = ?4 WHERE id = ?1")?
        .execute(params![sink, int(first), int(last), fingerprint])?;
    Ok(())
}

pub(super) fn add_rollback_records(
    connection: &Connection,
    sink: SinkId,
    records: &[RollbackRecord],
) -> Result<(), SqliteError> {
    if sink_row(connection, sink)?.intent.is_none() {
        return Err(SqliteError::invalid_state("a sink adds rollback records without an open batch"));
    }
    let mut insert = connection.prepare_cached("INSERT INTO rollback_records (sink, record) VALUES (?1, ?2)")?;
    for record in records {
        insert.execute(params![sink, to_json(record)?])?;
    }
    Ok(())
}

pub(super) fn commit_batch(connection: &Connection, sink: SinkId, batch: &BatchCommit) -> Result<(), SqliteError> {
    let head = Totals::read(connection)?.head;
    let position = sink_row(connection, sink)?.position;
    if batch.position < position || batch.position > head {
        return Err(SqliteError::invalid_state(format!(
            "a sink at position {position} moves to {}, with the head at {head}",
            batch.position
        )));
    }
    let skipped = sink_inputs::pass(connection, sink, batch.position)?;
    connection
        .prepare_cached(
            "UPDATE sinks SET position = ?2, furthest = max(furthest, ?2), delivered = delivered + ?3, filtered = filtered + ?4,
             dead_lettered = dead_lettered + ?5, bytes = bytes + ?6, state = coalesce(?7, state),
             delivered_at = coalesce(?8, delivered_at), skipped = skipped + ?9 WHERE id = ?1",
        )?
        .execute(params![
            sink,
            int(batch.position),
            int(batch.delivered),
            int(batch.filtered),
            int(batch.dead_lettered),
            int(batch.bytes),
            batch.state,
            batch.delivered_at,
            int(skipped)
        ])?;
    for findings in &batch.findings {
        add_findings(connection, sink, *findings)?;
    }
    abort_batch(connection, sink)
}

fn add_findings(connection: &Connection, sink: SinkId, findings: NormalizeFindings) -> Result<(), SqliteError> {
    let NormalizeFindings { source, normalize_errors, unmapped_actions, at } = findings;
    connection
        .prepare_cached(
            "INSERT INTO normalize_findings VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE SET
             normalize_errors = normalize_errors + ?3, unmapped_actions = unmapped_actions + ?4,
             last_error_at = coalesce(?5, last_error_at)",
        )?
        .execute(params![
            sink,
            source,
            int(normalize_errors),
            int(unmapped_actions),
            (normalize_errors > 0).then_some(at)
        ])?;
    Ok(())
}

pub(super) fn abort_batch(connection: &Connection, sink: SinkId) -> Result<(), SqliteError> {
    connection
        .prepare_cached(
            "UPDATE sinks SET batch_first = NULL, batch_last = NULL, batch_fingerprint = NULL WHERE id = ?1",
        )?
        .execute([sink])?;
    connection.prepare_cached("DELETE FROM rollback_records WHERE sink = ?1")?.execute([sink])?;
    Ok(())
}

pub(super) fn set_error(
    connection: &Connection,
    sink: SinkId,
    last_error: Option<&LastError>,
) -> Result<(), SqliteError> {
    let last_error = last_error.map(to_json).transpose()?;
    connection.prepare_cached("UPDATE sinks SET last_error = ?2 WHERE id = ?1")?.execute(params![sink, last_error])?;
    Ok(())
}
