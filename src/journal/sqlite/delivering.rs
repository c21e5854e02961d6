//! What the deliver loop writes: sinks, their positions and plans. Each function is one call's work inside its transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::fault::SqliteError;
use super::totals::Totals;
use super::values::{Count, Counts, int};
use crate::journal::{BatchIntent, Delivery, LastError, RollbackRecord, Seq, SinkId, SinkStart, SinkState};

/// Where a sink stands.
struct Standing {
    position: Seq,
    plan: Option<(Seq, Seq, String)>,
    memo: Option<String>,
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
        "INSERT INTO sinks (name, active, position, generation) VALUES (?1, 1, ?2, (SELECT generations FROM totals))
         ON CONFLICT (name) DO UPDATE SET active = 1 WHERE active = 0",
        params![name, int(begin)],
    )?;
    let id = connection.query_row("SELECT id FROM sinks WHERE name = ?1", [name], |row| row.get(0))?;
    let Standing { position, plan, memo, generation } = standing(connection, id)?;
    let plan = plan
        .map(|(first, last, fingerprint)| {
            Ok::<_, SqliteError>(BatchIntent { first, last, fingerprint, outputs: plan_outputs(connection, id)? })
        })
        .transpose()?;
    let missed = totals.trimmed_to.saturating_sub(position);
    Ok(SinkState { is_new, id, position, plan, memo, generation, missed })
}

fn standing(connection: &Connection, sink: SinkId) -> Result<Standing, SqliteError> {
    let sql = "SELECT position, plan_first, plan_last, plan_fingerprint, memo, generation FROM sinks WHERE id = ?1";
    let found = connection.prepare_cached(sql)?.query_row([sink], |row| {
        let first: Option<Count> = row.get(1)?;
        let plan = first.map(|first| Ok::<_, rusqlite::Error>((first.0, row.count(2)?, row.get(3)?))).transpose()?;
        Ok(Standing { position: row.count(0)?, plan, memo: row.get(4)?, generation: row.count(5)? })
    });
    found.optional()?.ok_or_else(|| SqliteError::invalid_state(format!("there is no sink {}", sink.0)))
}

fn plan_outputs(connection: &Connection, sink: SinkId) -> Result<Vec<RollbackRecord>, SqliteError> {
    let mut rows = connection.prepare_cached("SELECT before FROM plan_outputs WHERE sink = ?1 ORDER BY id")?;
    let records = rows.query_map([sink], |row| row.get::<_, String>(0))?;
    records
        .map(|json| serde_json::from_str(&json?).map_err(|error| SqliteError::invalid_state(error.to_string())))
        .collect()
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
    let Standing { position, plan, .. } = standing(connection, sink)?;
    if plan.is_some() {
        return Err(SqliteError::invalid_state("a sink begins a plan and has one open"));
    }
    if first <= position || last < first || last > head {
        return Err(SqliteError::invalid_state(format!(
            "a plan from {first} to {last} of a sink at {position}, with the newest event at {head}"
        )));
    }
    connection
        .prepare_cached("UPDATE sinks SET plan_first = ?2, plan_last = ?3, plan_fingerprint = ?4 WHERE id = ?1")?
        .execute(params![sink, int(first), int(last), fingerprint])?;
    Ok(())
}

pub(super) fn add_rollback_records(
    connection: &Connection,
    sink: SinkId,
    outputs: &[RollbackRecord],
) -> Result<(), SqliteError> {
    if standing(connection, sink)?.plan.is_none() {
        return Err(SqliteError::invalid_state("a sink names outputs and has no open plan"));
    }
    let mut insert = connection.prepare_cached("INSERT INTO plan_outputs (sink, name, before) VALUES (?1, ?2, ?3)")?;
    for output in outputs {
        let json = serde_json::to_string(output).map_err(|error| SqliteError::invalid_state(error.to_string()))?;
        insert.execute(params![sink, output.to_string(), json])?;
    }
    Ok(())
}

pub(super) fn commit_batch(connection: &Connection, sink: SinkId, delivery: &Delivery) -> Result<(), SqliteError> {
    let head = Totals::read(connection)?.head;
    let position = standing(connection, sink)?.position;
    if delivery.position < position || delivery.position > head {
        return Err(SqliteError::invalid_state(format!(
            "a sink at {position} moves to {}, with the newest event at {head}",
            delivery.position
        )));
    }
    connection
        .prepare_cached(
            "UPDATE sinks SET position = ?2, delivered = delivered + ?3, filtered = filtered + ?4,
             dead_lettered = dead_lettered + ?5, bytes = bytes + ?6, memo = coalesce(?7, memo) WHERE id = ?1",
        )?
        .execute(params![
            sink,
            int(delivery.position),
            int(delivery.delivered),
            int(delivery.filtered),
            int(delivery.dead_lettered),
            int(delivery.bytes),
            delivery.memo
        ])?;
    abort_batch(connection, sink)
}

pub(super) fn abort_batch(connection: &Connection, sink: SinkId) -> Result<(), SqliteError> {
    connection
        .prepare_cached("UPDATE sinks SET plan_first = NULL, plan_last = NULL, plan_fingerprint = NULL WHERE id = ?1")?
        .execute([sink])?;
    connection.prepare_cached("DELETE FROM plan_outputs WHERE sink = ?1")?.execute([sink])?;
    Ok(())
}

/// Notes the trouble of the row `id` of `table` (`sources` or `sinks`).
pub(super) fn set_trouble(
    connection: &Connection,
    table: &'static str,
    id: i64,
    last_error: Option<&LastError>,
) -> Result<(), SqliteError> {
    let last_error = last_error.map(serde_json::to_string).transpose();
    let last_error = last_error.map_err(|error| SqliteError::invalid_state(error.to_string()))?;
    let sql = format!("UPDATE {table} SET trouble = ?2 WHERE id = ?1");
    connection.prepare_cached(&sql)?.execute(params![id, last_error])?;
    Ok(())
}
