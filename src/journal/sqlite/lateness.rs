//! How late events became visible: counts for each source and day, for seven days.

use rusqlite::{Connection, params};

use super::fault::Fault;
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
) -> Result<(), Fault> {
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
pub(super) fn of_source(connection: &Connection, source: SourceId) -> Result<LatenessCounts, Fault> {
    let mut rows = connection.prepare_cached("SELECT bucket, events FROM lateness WHERE source = ?1")?;
    let mut rows = rows.query([source])?;
    let mut counts = LatenessCounts::default();
    while let Some(row) = rows.next()? {
        counts.put(row.get(0)?, row.count(1)?);
    }
    Ok(counts)
}
