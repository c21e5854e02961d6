//! How late events became visible: counts for each source and day, for seven days.

use rusqlite::{Connection, params};

use super::fault::SqliteError;
use super::values::{Counts, int};
use crate::journal::{LatenessCounts, SourceId};
use crate::time::Timestamp;

const DAY_MILLIS: i64 = 86_400_000;

/// Days whose counts are kept, the present one included.
const DAYS_KEPT: i64 = 7;

/// Adds counts to the day of `at`, and drops those of days that are too long ago.
pub(super) fn add(
    connection: &Connection,
    source: SourceId,
    counts: &LatenessCounts,
    at: Timestamp,
) -> Result<(), SqliteError> {
    let day = at.as_millis().div_euclid(DAY_MILLIS);
    let mut insert = connection.prepare_cached(
        "INSERT INTO lateness (source, day, bucket, events) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET events = events + excluded.events",
    )?;
    for (bucket, events) in counts.buckets() {
        insert.execute(params![source, day, bucket, int(events)])?;
    }
    connection
        .prepare_cached("DELETE FROM lateness WHERE source = ?1 AND day <= ?2")?
        .execute(params![source, day - DAYS_KEPT])?;
    Ok(())
}

/// All counts that are kept of a source.
pub(super) fn of_source(connection: &Connection, source: SourceId) -> Result<LatenessCounts, SqliteError> {
    let mut rows = connection.prepare_cached("SELECT bucket, events FROM lateness WHERE source = ?1")?;
    let mut rows = rows.query([source])?;
    let mut counts = LatenessCounts::default();
    while let Some(row) = rows.next()? {
        counts.put(row.get(0)?, row.count(1)?);
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::journal::sqlite::schema;

    const SOURCE: SourceId = SourceId(1);

    fn late(seconds: u64, events: usize) -> LatenessCounts {
        let mut counts = LatenessCounts::default();
        (0..events).for_each(|_| counts.add(Duration::from_secs(seconds)));
        counts
    }

    #[test]
    fn the_counts_of_seven_days_are_kept_and_go_with_their_source() {
        let mut file = Connection::open_in_memory().expect("opens");
        file.pragma_update(None, "foreign_keys", true).expect("sets");
        schema::migrate(&mut file, 0).expect("migrates");
        let source = "INSERT INTO sources (name, vendor, profile, first_started_at) VALUES ('a', 'v', '{}', 0)";
        file.execute(source, []).expect("inserts");
        let day = |day: i64| Timestamp::from_millis(day * DAY_MILLIS + 5);
        add(&file, SOURCE, &late(900, 10), day(100)).expect("adds");
        add(&file, SOURCE, &late(60, 1), day(106)).expect("adds");
        add(&file, SOURCE, &late(60, 2), day(106)).expect("adds");
        assert_eq!(of_source(&file, SOURCE).expect("reads").events(), 13);
        add(&file, SOURCE, &late(60, 1), day(107)).expect("adds");
        assert_eq!(of_source(&file, SOURCE).expect("reads"), late(60, 4));
        file.execute("DELETE FROM sources", []).expect("forgets");
        assert_eq!(of_source(&file, SOURCE).expect("reads").events(), 0);
    }
}
