//! Which sources a sink reads, and what it has not delivered of those that it no longer reads.
//!
//! ```text
//!  set_inputs: a source leaves --> its events after what the sink has passed, up to the head, are pending
//!  commit_batch: the position moves over them --> counted as skipped --> none left: forgotten
//!  set_inputs: the source returns before that --> an input as before, nothing is skipped
//! ```
//!
//! By name, since a sink may start before its sources are registered.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::log::FROM_BLOCK_OF;
use super::sql::{Counts, SqliteError, int};
use super::totals::Totals;
use crate::journal::{PendingSource, Seq, SinkId};

/// The inputs of a sink are these from now on; `passed` is the last event that it has delivered.
pub(super) fn set_inputs(
    connection: &Connection,
    sink: SinkId,
    wanted: &[String],
    passed: Seq,
) -> Result<Vec<PendingSource>, SqliteError> {
    let head = Totals::read(connection)?.head;
    let leaving = leave(connection, sink, &wanted.iter().collect(), passed, head)?;
    let mut insert = connection.prepare_cached(
        "INSERT INTO sink_inputs VALUES (?1, ?2, NULL, NULL) ON CONFLICT DO UPDATE SET after = NULL, last = NULL",
    )?;
    for input in wanted {
        insert.execute(params![sink, input])?;
    }
    Ok(leaving)
}

/// What leaves the inputs, or left them before, and has pending events.
fn leave(
    connection: &Connection,
    sink: SinkId,
    wanted: &HashSet<&String>,
    passed: Seq,
    head: Seq,
) -> Result<Vec<PendingSource>, SqliteError> {
    let mut leaving = Vec::new();
    for mut input in inputs(connection, sink, "TRUE")? {
        if wanted.contains(&input.source) {
            continue;
        }
        let (after, last) = input.pending.unwrap_or((passed, head));
        let pending = (after.max(passed), last);
        input.pending = Some(pending);
        let events = input.events_up_to(connection, head)?;
        if events == 0 {
            input.forget(connection, sink)?;
            continue;
        }
        input.keep(connection, sink, pending)?;
        leaving.push(PendingSource { name: input.source, events });
    }
    Ok(leaving)
}

/// The events of former inputs that a sink passes when it moves to `position`. They are pending no longer.
pub(super) fn pass(connection: &Connection, sink: SinkId, position: Seq) -> Result<u64, SqliteError> {
    let mut skipped = 0;
    for input in inputs(connection, sink, "last IS NOT NULL")? {
        skipped += input.events_up_to(connection, position)?;
        match input.pending {
            Some((_, last)) if last > position => input.keep(connection, sink, (position, last))?,
            _ => input.forget(connection, sink)?,
        }
    }
    Ok(skipped)
}

/// One source that a sink reads, or has read.
struct Input {
    source: String,
    /// Of a source that has left: the events after the first and up to the second one are not delivered.
    pending: Option<(Seq, Seq)>,
}

impl Input {
    /// Its pending events up to `position`.
    fn events_up_to(&self, connection: &Connection, position: Seq) -> Result<u64, SqliteError> {
        let Some((after, last)) = self.pending else { return Ok(0) };
        let last = last.min(position);
        let sql = format!(
            "SELECT coalesce(sum(min(first + count - 1, ?2) - max(first, ?1) + 1), 0) FROM blocks
             WHERE {FROM_BLOCK_OF} AND first <= ?2 AND first + count > ?1
             AND source = (SELECT id FROM sources WHERE name = ?3)"
        );
        let count = connection
            .prepare_cached(&sql)?
            .query_row(params![int(after + 1), int(last), self.source], |row| row.count(0))?;
        Ok(count)
    }

    /// It has left, and these events are pending.
    fn keep(&self, connection: &Connection, sink: SinkId, (after, last): (Seq, Seq)) -> Result<(), SqliteError> {
        connection
            .prepare_cached("UPDATE sink_inputs SET after = ?3, last = ?4 WHERE sink = ?1 AND source = ?2")?
            .execute(params![sink, self.source, int(after), int(last)])?;
        Ok(())
    }

    fn forget(&self, connection: &Connection, sink: SinkId) -> Result<(), SqliteError> {
        connection
            .prepare_cached("DELETE FROM sink_inputs WHERE sink = ?1 AND source = ?2")?
            .execute(params![sink, self.source])?;
        Ok(())
    }
}

/// What a sink reads, or has read, and fulfils a condition.
fn inputs(connection: &Connection, sink: SinkId, condition: &str) -> Result<Vec<Input>, SqliteError> {
    let sql = format!("SELECT source, after, last FROM sink_inputs WHERE sink = ?1 AND {condition}");
    let mut rows = connection.prepare_cached(&sql)?;
    let mut rows = rows.query([sink])?;
    let mut inputs = Vec::new();
    while let Some(row) = rows.next()? {
        let has_left = row.get::<_, Option<i64>>(2)?.is_some();
        let pending = has_left.then(|| Ok::<_, rusqlite::Error>((row.count(1)?, row.count(2)?))).transpose()?;
        inputs.push(Input { source: row.get(0)?, pending });
    }
    Ok(inputs)
}
