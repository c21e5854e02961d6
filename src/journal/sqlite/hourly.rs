//! How many events became visible in each hour of the last two days, for the status page. A row per source and hour with
//! events, so that a source without any costs nothing.

use std::time::Duration;

use rusqlite::{Connection, params};

use super::by_source::BySource;
use super::sql::{Counts, SqliteError, int};
use crate::journal::{HourlyEvents, SourceId};
use crate::time::Timestamp;

const HOUR: Duration = Duration::from_secs(3_600);

/// The oldest hours are deleted once they are older than this.
const KEPT: Duration = Duration::from_secs(48 * 3_600);

/// Adds to the hour of `at`, and deletes hours that are too old.
pub(super) fn add(connection: &Connection, source: SourceId, events: u64, at: Timestamp) -> Result<(), SqliteError> {
    if events == 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO hourly_events (source, hour, events) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET events = events + excluded.events",
        )?
        .execute(params![source, at.floor_to(HOUR), int(events)])?;
    connection
        .prepare_cached("DELETE FROM hourly_events WHERE source = ?1 AND hour <= ?2")?
        .execute(params![source, at.floor_to(HOUR) - KEPT])?;
    Ok(())
}

/// The hours that have events, in order, by source.
pub(super) fn all(connection: &Connection) -> Result<BySource<Vec<HourlyEvents>>, SqliteError> {
    let mut rows = connection.prepare_cached("SELECT source, hour, events FROM hourly_events ORDER BY source, hour")?;
    let mut rows = rows.query([])?;
    let mut by_source = BySource::<Vec<HourlyEvents>>::default();
    while let Some(row) = rows.next()? {
        by_source.of(row.get(0)?).push(HourlyEvents { hour: row.get(1)?, events: row.count(2)? });
    }
    Ok(by_source)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::sqlite::schema;

    #[test]
    fn hours_are_counted_kept_for_two_days_and_deleted_with_their_source() {
        let mut file = Connection::open_in_memory().expect("opens");
        file.pragma_update(None, "foreign_keys", true).expect("sets");
        schema::create_tables(&mut file).expect("creates the tables");
        let source =
            "INSERT INTO sources (name, vendor, normalizer_config, first_started_at) VALUES ('a', 'v', '{}', 0)";
        file.execute(source, []).expect("inserts");
        let source = SourceId(1);
        let at = |hour: i64, minute: i64| Timestamp::from_secs(hour * 3_600 + minute * 60);
        let hours = |file: &Connection| {
            let hours = all(file).expect("reads").take(source).into_iter();
            hours.map(|HourlyEvents { hour, events }| (hour, events)).collect::<Vec<_>>()
        };
        for (hour, minute, events) in [(100, 0, 3), (100, 59, 4), (101, 0, 5), (102, 0, 0)] {
            add(&file, source, events, at(hour, minute)).expect("adds");
        }
        assert_eq!(hours(&file), [(at(100, 0), 7), (at(101, 0), 5)]);
        add(&file, source, 1, at(148, 30)).expect("adds");
        assert_eq!(hours(&file), [(at(101, 0), 5), (at(148, 0), 1)]);
        file.execute("DELETE FROM sources", []).expect("deletes");
        assert_eq!(hours(&file), []);
    }
}
