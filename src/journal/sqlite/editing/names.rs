//! Names: a source or sink gets another one, or loses the past that stands under its own.

use rusqlite::{Connection, OptionalExtension, params};

use super::rewind::{drop_open_windows, encoded};
use super::{new_generation, unknown};
use crate::journal::editing::{AfterRemoval, ComponentKind, Forget, Rename, SinkPast, SourcePast};
use crate::journal::sqlite::coverage;
use crate::journal::sqlite::fault::SqliteError;
use crate::journal::sqlite::totals::Totals;
use crate::journal::sqlite::values::{Counts, int};
use crate::journal::{Seq, SinkId, SourceId};
use crate::time::Timestamp;

pub(super) fn past_of_source(connection: &Connection, name: &str) -> Result<Option<SourcePast>, SqliteError> {
    let sql = "SELECT id, vendor, events,
                      (SELECT coalesce(sum(count), 0) FROM blocks WHERE source = sources.id AND first IS NOT NULL),
                      (SELECT count(*) FROM windows WHERE source = sources.id), first_started_at FROM sources WHERE name = ?1";
    let found = connection.query_row(sql, [name], |row| {
        let past = SourcePast {
            vendor: row.get(1)?,
            first_started_at: row.get(5)?,
            coverage: Vec::new(),
            events: row.count(2)?,
            held: row.count(3)?,
            open_windows: row.count(4)?,
        };
        Ok((row.get::<_, SourceId>(0)?, past))
    });
    let Some((id, past)) = found.optional()? else { return Ok(None) };
    Ok(Some(SourcePast { coverage: coverage::merged(connection, id)?, ..past }))
}

pub(super) fn past_of_sink(connection: &Connection, name: &str) -> Result<Option<SinkPast>, SqliteError> {
    let sql = "SELECT position, delivered, active, plan_first IS NOT NULL FROM sinks WHERE name = ?1";
    let found = connection.query_row(sql, [name], |row| {
        Ok(SinkPast { position: row.count(0)?, delivered: row.count(1)?, active: row.get(2)?, open_plan: row.get(3)? })
    });
    Ok(found.optional()?)
}

pub(super) fn rename(connection: &Connection, rename: &Rename) -> Result<(), SqliteError> {
    let renamed = match rename.kind {
        ComponentKind::Source => {
            connection.execute("UPDATE sources SET name = ?2 WHERE name = ?1", params![rename.old, rename.new])?
        }
        ComponentKind::Sink => {
            expect_no_plan(connection, &rename.old)?;
            connection.execute(
                "UPDATE sinks SET name = ?2, generation = ?3, active = 1 WHERE name = ?1",
                params![rename.old, rename.new, new_generation(connection)?],
            )?
        }
    };
    if renamed == 1 { Ok(()) } else { Err(unknown(rename.kind, &rename.old)) }
}

fn expect_no_plan(connection: &Connection, sink: &str) -> Result<(), SqliteError> {
    match past_of_sink(connection, sink)? {
        Some(past) if past.open_plan => {
            Err(SqliteError::invalid_state("a sink is renamed or forgotten in the middle of a batch"))
        }
        _ => Ok(()),
    }
}

pub(super) fn forget(connection: &Connection, forget: &Forget) -> Result<(), SqliteError> {
    let id = |table: &str| -> Result<i64, SqliteError> {
        let sql = format!("SELECT id FROM {table} WHERE name = ?1");
        let found = connection.query_row(&sql, [&forget.name], |row| row.get(0)).optional()?;
        found.ok_or_else(|| unknown(forget.kind, &forget.name))
    };
    match (forget.kind, forget.then) {
        (ComponentKind::Source, AfterRemoval::SourceBegins(at)) => {
            begin_source_anew(connection, SourceId(id("sources")?), at)
        }
        (ComponentKind::Source, _) => remove_source(connection, SourceId(id("sources")?)),
        (ComponentKind::Sink, then) => {
            expect_no_plan(connection, &forget.name)?;
            let id = SinkId(id("sinks")?);
            match then {
                AfterRemoval::SinkBegins(behind) => begin_sink_anew(connection, id, behind),
                _ => remove_sink(connection, id),
            }
        }
    }
}

/// As at its first start. Its events that are held stay, to be delivered, and so do the figures that count them.
fn begin_source_anew(connection: &Connection, id: SourceId, at: Timestamp) -> Result<(), SqliteError> {
    drop_open_windows(connection, id)?;
    connection.execute("DELETE FROM covered WHERE source = ?1", [id])?;
    connection.execute("DELETE FROM lateness WHERE source = ?1", [id])?;
    forget_keys(connection, id)?;
    connection.execute(
        "UPDATE sources SET first_started_at = ?2, last_recheck_at = NULL, overlap = 0, rewound_from = NULL,
                            rewound_to = NULL, forgotten_to = NULL, trouble = NULL WHERE id = ?1",
        params![id, at],
    )?;
    Ok(())
}

/// Keys of events that are held are emptied and not deleted, so that a later rewind does not make them again from the
/// records: what was forgotten stays so.
fn forget_keys(connection: &Connection, source: SourceId) -> Result<(), SqliteError> {
    let without_keys = "INSERT INTO keys (block, source, asks_from, asks_to, min_time, max_time, data)
                        SELECT id, source, coalesce(min_time, visible_at), coalesce(max_time, visible_at), min_time,
                               max_time, x'' FROM blocks
                        WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM keys WHERE block = blocks.id)";
    connection.execute(
        "DELETE FROM keys WHERE source = ?1 AND NOT EXISTS (SELECT 1 FROM blocks WHERE id = keys.block)",
        [source],
    )?;
    connection.execute(without_keys, [source])?;
    connection.execute("UPDATE keys SET data = ?2 WHERE source = ?1", params![source, encoded(&[])?])?;
    Ok(())
}

fn any_plan(connection: &Connection) -> Result<bool, SqliteError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sinks WHERE plan_first IS NOT NULL)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

/// All that hangs on it, events that are held included.
fn remove_source(connection: &Connection, id: SourceId) -> Result<(), SqliteError> {
    drop_open_windows(connection, id)?;
    let sql = "SELECT coalesce(sum(bytes), 0), count(*) FROM blocks WHERE source = ?1";
    let (bytes, blocks) = connection.query_row(sql, [id], |row| Ok((row.count(0)?, row.count(1)?)))?;
    if blocks > 0 && any_plan(connection)? {
        return Err(SqliteError::invalid_state("events are removed in the middle of a batch"));
    }
    for sql in [
        "DELETE FROM block_data WHERE block IN (SELECT id FROM blocks WHERE source = ?1)",
        "DELETE FROM blocks WHERE source = ?1",
        "DELETE FROM keys WHERE source = ?1",
        "DELETE FROM covered WHERE source = ?1",
        "DELETE FROM sources WHERE id = ?1",
    ] {
        connection.execute(sql, [id])?;
    }
    let mut totals = Totals::read(connection)?;
    totals.visible_bytes = totals.visible_bytes.saturating_sub(bytes);
    totals.write(connection)
}

fn begin_sink_anew(connection: &Connection, id: SinkId, behind: Seq) -> Result<(), SqliteError> {
    let totals = Totals::read(connection)?;
    if behind < totals.trimmed_to || behind > totals.head {
        return Err(SqliteError::invalid_state(format!("a sink begins behind event {behind}, which is not held")));
    }
    connection.execute(
        "UPDATE sinks SET position = ?2, generation = ?3, active = 1, delivered = 0, filtered = 0, dead_lettered = 0,
                          bytes = 0, redelivered = 0, trouble = NULL WHERE id = ?1",
        params![id, int(behind), new_generation(connection)?],
    )?;
    Ok(())
}

/// The generation goes forward all the same: whoever gets this name later must not be taken for this one.
fn remove_sink(connection: &Connection, id: SinkId) -> Result<(), SqliteError> {
    new_generation(connection)?;
    connection.execute("DELETE FROM sinks WHERE id = ?1", [id])?;
    Ok(())
}
