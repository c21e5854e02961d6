//! A sink goes back in the log: from the first block on that has an event at or after a moment, all comes again.

use rusqlite::{Connection, OptionalExtension, params};

use super::{ids_of, new_generation, unknown};
use crate::journal::editing::{ComponentKind, Redeliver, RedeliverPreview};
use crate::journal::sqlite::fault::SqliteError;
use crate::journal::sqlite::values::{Count, Counts, int};
use crate::journal::{Seq, SourceId};
use crate::time::Timestamp;

/// Visible blocks of one source that have events between ?2 and ?3: how many events, their earliest and latest time, and
/// whether each block has times.
const BETWEEN: &str = "SELECT coalesce(sum(min(first + count - 1, ?3) - max(first, ?2 + 1) + 1), 0),
                              min(min_time), max(max_time), count(*) = count(max_time)
                       FROM blocks WHERE source = ?1 AND first <= ?3 AND first + count - 1 > ?2";

pub(super) fn preview(connection: &Connection, redeliver: &Redeliver) -> Result<Option<RedeliverPreview>, SqliteError> {
    let sql = "SELECT position, plan_first IS NOT NULL FROM sinks WHERE name = ?1";
    let found = connection.query_row(sql, [&redeliver.sink], |row| Ok((row.count(0)?, row.get(1)?)));
    let Some((position, open_plan)) = found.optional()? else { return Ok(None) };
    let sources = ids_of(connection, &redeliver.sources)?;
    let back_to = back_to(connection, &sources, redeliver.from, position)?;
    let mut seen = RedeliverPreview {
        position,
        back_to,
        events: 0,
        times: None,
        trimmed_time: trimmed_time(connection, &sources)?,
        open_plan,
    };
    let mut timed = true;
    for source in sources {
        let (events, first, last, all_timed) =
            connection.prepare_cached(BETWEEN)?.query_row(params![source, int(back_to), int(position)], |row| {
                Ok((row.count(0)?, row.get::<_, Option<Timestamp>>(1)?, row.get(2)?, row.get::<_, bool>(3)?))
            })?;
        seen.events += events;
        timed &= all_timed;
        if let (Some(first), Some(last)) = (first, last) {
            let (earliest, latest) = seen.times.unwrap_or((first, last));
            seen.times = Some((earliest.min(first), latest.max(last)));
        }
    }
    seen.times = seen.times.filter(|_| timed);
    Ok(Some(seen))
}

/// The event before the first block of these sources that the sink has begun to pass and that has an event at or after
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
                "SELECT min(first) FROM blocks WHERE source = ?1 AND first <= ?2 AND (max_time >= ?3 OR max_time IS NULL)",
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

pub(super) fn apply(connection: &Connection, redeliver: &Redeliver) -> Result<(), SqliteError> {
    let foreseen = preview(connection, redeliver)?.ok_or_else(|| unknown(ComponentKind::Sink, &redeliver.sink))?;
    if foreseen.open_plan {
        return Err(SqliteError::invalid_state("a sink is set back in the middle of a batch"));
    }
    if foreseen.back_to == foreseen.position {
        return Ok(());
    }
    // Active at once: until the sink begins, nothing may be trimmed that it is to deliver.
    connection.execute(
        "UPDATE sinks SET position = ?2, generation = ?3, redelivered = redelivered + ?4, active = 1, trouble = NULL
         WHERE name = ?1",
        params![redeliver.sink, int(foreseen.back_to), new_generation(connection)?, int(foreseen.events)],
    )?;
    Ok(())
}
