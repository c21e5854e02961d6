//! All figures at one moment, for people and tests.

use rusqlite::{Connection, Row};

use super::fault::SqliteError;
use super::totals::Totals;
use super::values::Counts;
use crate::journal::{JournalStats, LastError, SinkStats, SourceStats};

pub(super) fn summary(connection: &Connection) -> Result<JournalStats, SqliteError> {
    let totals = Totals::read(connection)?;
    Ok(JournalStats {
        sources: sources(connection)?,
        sinks: sinks(connection)?,
        head: totals.head,
        oldest: totals.oldest(),
        bytes: totals.bytes(),
    })
}

fn sources(connection: &Connection) -> Result<Vec<SourceStats>, SqliteError> {
    let mut rows = connection.prepare_cached(
        "SELECT name, vendor, events, raw_bytes, pages, requests, trouble,
                (SELECT max(covers_to) FROM covered WHERE source = sources.id),
                (SELECT count(*) FROM windows WHERE source = sources.id)
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
            requests: row.count(5)?,
            covered_to: row.get(7)?,
            open_windows: row.count(8)?,
            last_error: last_error(row, 6)?,
        });
    }
    Ok(sources)
}

fn sinks(connection: &Connection) -> Result<Vec<SinkStats>, SqliteError> {
    let mut rows = connection.prepare_cached(
        "SELECT name, active, position, delivered, filtered, dead_lettered, bytes, redelivered, trouble FROM sinks ORDER BY id",
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
            last_error: last_error(row, 8)?,
        });
    }
    Ok(sinks)
}

fn last_error(row: &Row<'_>, index: usize) -> Result<Option<LastError>, SqliteError> {
    let text: Option<String> = row.get(index)?;
    let last_error = text.map(|text| serde_json::from_str(&text)).transpose();
    last_error.map_err(|error| SqliteError::Damaged(format!("a noted trouble: {error}")))
}
