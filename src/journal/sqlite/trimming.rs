//! Deletes events and keys that are no longer needed, in small transactions, so that a page never waits long for its
//! commit.
//!
//! Keys stay longer than their events: a later window may read the same time again. Keys older than the age that the
//! caller gives are deleted only in covered time that no window can read again:
//!
//! ```text
//!  covered ===================??========R=|          |=================|     ?? in doubt or unreadable, R recheck to come
//!              deleted -----|              keys kept       |--deleted--|     a gap and all else: kept
//!                           <-+->      the overlap plus a day from each end of what is at rest
//! ```
//!
//! Open windows keep the keys of their whole fetch range. So a source that was off for a month still deduplicates the
//! records before its gap when it returns. After a rewind, all keys from its moment on are kept until the time that lost
//! its coverage is covered again.
//!
//! The time of which keys were deleted is stored, one range per stretch of time that is at rest: a record of it that is
//! read again cannot be distinguished from a collected one. The latest event times trimmed so far are stored for rewind and
//! redeliver.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::coverage;
use super::sql::{Count, Counts, SqliteError};
use super::totals::Totals;
use crate::journal::{Seq, SourceId};
use crate::time::{TimeRange, Timestamp};

/// Blocks deleted per transaction at most.
const BLOCKS_AT_ONCE: u32 = 64;

/// Pages of keys checked per transaction at most.
const KEYS_AT_ONCE: u32 = 256;

/// Added to the overlap: some vendors filter by whole days only.
const MARGIN: Duration = Duration::from_secs(86_400);

/// A block that may be trimmed.
struct OldBlock {
    id: i64,
    count: u64,
    last: Seq,
    bytes: u64,
    visible_at: Timestamp,
    source: SourceId,
    max_time: Option<Timestamp>,
}

/// Deletes some of the oldest blocks, in order, that all active sinks have passed and that became visible before
/// `visible_before`. Returns the number of events deleted; 0 when there is nothing to trim. Without an active sink nothing
/// is trimmed, since no sink has delivered the events.
pub(super) fn trim_events(connection: &Connection, visible_before: Timestamp) -> Result<u64, SqliteError> {
    let passed = passed_by_all(connection)?;
    let mut oldest = connection.prepare_cached(
        "SELECT id, first, count, bytes, visible_at, source, max_time FROM blocks WHERE first IS NOT NULL
         ORDER BY first LIMIT ?1",
    )?;
    let oldest = oldest.query_map([BLOCKS_AT_ONCE], |row| {
        Ok(OldBlock {
            id: row.get(0)?,
            count: row.count(2)?,
            last: row.count(1)? + row.count(2)?.saturating_sub(1),
            bytes: row.count(3)?,
            visible_at: row.get(4)?,
            source: row.get(5)?,
            max_time: row.get(6)?,
        })
    })?;
    let mut totals = Totals::read(connection)?;
    let mut events = 0;
    for block in oldest.collect::<Result<Vec<_>, _>>()? {
        if block.last > passed || block.visible_at >= visible_before {
            break;
        }
        connection.prepare_cached("DELETE FROM block_data WHERE block = ?1")?.execute([block.id])?;
        connection.prepare_cached("DELETE FROM blocks WHERE id = ?1")?.execute([block.id])?;
        store_trimmed(connection, &block)?;
        events += block.count;
        totals.trimmed_to = block.last;
        totals.visible_bytes = totals.visible_bytes.saturating_sub(block.bytes);
    }
    if events > 0 {
        totals.write(connection)?;
    }
    Ok(events)
}

/// Stores the latest time of a trimmed record and, where its keys were deleted before it, of a forgotten event. An event
/// without a time lies in the fetch range of its window, which ends at most a day after the block became visible.
fn store_trimmed(connection: &Connection, block: &OldBlock) -> Result<(), SqliteError> {
    let time = block.max_time.unwrap_or(block.visible_at + MARGIN);
    store_latest(connection, "trimmed_time", block.source, time)?;
    let known = "SELECT EXISTS (SELECT 1 FROM keys WHERE block = ?1)";
    if connection.prepare_cached(known)?.query_row([block.id], |row| row.get(0))? {
        return Ok(());
    }
    store_latest(connection, "forgotten_to", block.source, time)
}

fn store_latest(connection: &Connection, column: &str, source: SourceId, time: Timestamp) -> Result<(), SqliteError> {
    let sql = format!("UPDATE sources SET {column} = ?2 WHERE id = ?1 AND ({column} IS NULL OR {column} < ?2)");
    connection.prepare_cached(&sql)?.execute(params![source, time])?;
    Ok(())
}

fn passed_by_all(connection: &Connection) -> Result<Seq, SqliteError> {
    let slowest = "SELECT min(position) FROM sinks WHERE active = 1";
    let position: Option<Count> = connection.prepare_cached(slowest)?.query_row([], |row| row.get(0))?;
    Ok(position.map_or(0, |position| position.0))
}

/// A place in the order of keys: the end of the fetch range, and the block.
pub(super) type KeysPlace = (Timestamp, i64);

/// The place before all keys.
pub(super) const FIRST_KEYS: KeysPlace = (Timestamp::from_nanos(i64::MIN), 0);

/// Deletes some pages of keys after `after` whose windows end before `keys_before` and that no window can need. Returns
/// the place to continue after; `None` at the end.
pub(super) fn trim_keys(
    connection: &Connection,
    keys_before: Timestamp,
    after: KeysPlace,
) -> Result<Option<KeysPlace>, SqliteError> {
    let mut old = connection.prepare_cached(
        "SELECT k.fetch_to, k.block, k.source, coalesce(k.min_time, k.fetch_from), coalesce(k.max_time, k.fetch_to),
                b.id IS NOT NULL
         FROM keys AS k LEFT JOIN blocks AS b ON b.id = k.block
         WHERE (k.fetch_to, k.block) > (?1, ?2) AND k.fetch_to < ?3 AND (b.id IS NULL OR b.first IS NOT NULL)
         ORDER BY k.fetch_to, k.block LIMIT ?4",
    )?;
    let old = old.query_map(params![after.0, after.1, keys_before, KEYS_AT_ONCE], |row| {
        let times = TimeRange::new(row.get(3)?, row.get(4)?);
        Ok(((row.get(0)?, row.get(1)?), row.get::<_, SourceId>(2)?, times, row.get(5)?))
    })?;
    let mut needed = HashMap::new();
    let mut last_place = None;
    for row in old.collect::<Result<Vec<_>, _>>()? {
        let (place, source, times, has_record): (KeysPlace, _, _, bool) = row;
        last_place = Some(place);
        let needed = match needed.entry(source) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => unknown.insert(needed_times(connection, source)?),
        };
        if let Some(quiet) = needed.release(&times) {
            store_forgotten(connection, source, quiet, times)?;
            connection.prepare_cached("DELETE FROM keys WHERE block = ?1")?.execute([place.1])?;
            if !has_record {
                store_latest(connection, "forgotten_to", source, times.to)?;
            }
        }
    }
    Ok(last_place)
}

/// Adds the time of deleted keys to what was forgotten of the time around it.
fn store_forgotten(
    connection: &Connection,
    source: SourceId,
    quiet: TimeRange,
    times: TimeRange,
) -> Result<(), SqliteError> {
    const WITHIN: &str = "source = ?1 AND to_time > ?2 AND from_time < ?3";
    let known: (Option<Timestamp>, Option<Timestamp>) = connection
        .prepare_cached(&format!("SELECT min(from_time), max(to_time) FROM forgotten_keys WHERE {WITHIN}"))?
        .query_row(params![source, quiet.from, quiet.to], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let from = known.0.map_or(times.from, |from| from.min(times.from));
    let to = known.1.unwrap_or(times.to).max(times.to + Duration::from_nanos(1));
    if known == (Some(from), Some(to)) {
        return Ok(());
    }
    connection
        .prepare_cached(&format!("DELETE FROM forgotten_keys WHERE {WITHIN}"))?
        .execute(params![source, quiet.from, quiet.to])?;
    connection
        .prepare_cached("INSERT INTO forgotten_keys (source, from_time, to_time) VALUES (?1, ?2, ?3)")?
        .execute(params![source, from, to])?;
    Ok(())
}

/// The time of which keys are gone, in order.
pub(super) fn forgotten(connection: &Connection, source: SourceId) -> Result<Vec<TimeRange>, SqliteError> {
    let sql = "SELECT from_time, to_time FROM forgotten_keys WHERE source = ?1 ORDER BY from_time";
    let mut rows = connection.prepare_cached(sql)?;
    let rows = rows.query_map([source], |row| Ok(TimeRange::new(row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Time from `from` on is not forgotten any more: its keys were restored, or are not wanted any more.
pub(super) fn recall(connection: &Connection, source: SourceId, from: Timestamp) -> Result<(), SqliteError> {
    let sql = "DELETE FROM forgotten_keys WHERE source = ?1 AND from_time >= ?2";
    connection.prepare_cached(sql)?.execute(params![source, from])?;
    let sql = "UPDATE forgotten_keys SET to_time = ?2 WHERE source = ?1 AND to_time > ?2";
    connection.prepare_cached(sql)?.execute(params![source, from])?;
    Ok(())
}

/// The time that no present or future window reads, and the open windows and rewind that read it nevertheless.
struct NeededTimes {
    quiet: Vec<TimeRange>,
    needed: Vec<TimeRange>,
}

impl NeededTimes {
    /// The time around `times` that no window reads; `None` if one may read a record of `times`. That includes its end,
    /// unlike other ranges: it is the earliest and the latest time of a record.
    fn release(&self, times: &TimeRange) -> Option<TimeRange> {
        if self.needed.iter().any(|range| times.to >= range.from && times.from <= range.to) {
            return None;
        }
        self.quiet.iter().copied().find(|range| times.from > range.from && times.to < range.to)
    }
}

fn needed_times(connection: &Connection, source: SourceId) -> Result<NeededTimes, SqliteError> {
    let overlap: Option<Count> = connection
        .prepare_cached("SELECT overlap FROM sources WHERE id = ?1")?
        .query_row([source], |row| row.get(0))
        .optional()?;
    let margin = MARGIN.saturating_add(Duration::from_nanos(overlap.map_or(0, |overlap| overlap.0)));
    let inner = |range: TimeRange| TimeRange::new(range.from + margin, range.to - margin);
    let quiet = coverage::at_rest(connection, source)?.into_iter().map(inner).collect();
    let rewound = rewound_from(connection, source)?.map(|from| TimeRange::new(from - margin, Timestamp::MAX));
    let mut needed: Vec<TimeRange> = rewound.into_iter().collect();
    let mut open = connection.prepare_cached("SELECT fetch_from, fetch_to FROM windows WHERE source = ?1")?;
    for range in open.query_map([source], |row| Ok(TimeRange::new(row.get(0)?, row.get(1)?)))? {
        needed.push(range?);
    }
    Ok(NeededTimes { quiet, needed })
}

/// From where on a rewound source reads time again; `None` once all coverage that the rewind removed is back.
fn rewound_from(connection: &Connection, source: SourceId) -> Result<Option<Timestamp>, SqliteError> {
    let sql = "SELECT rewound_from, rewound_to FROM sources WHERE id = ?1 AND rewound_from IS NOT NULL";
    let rewound =
        connection.prepare_cached(sql)?.query_row([source], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let Some((from, to)): Option<(Timestamp, Timestamp)> = rewound else { return Ok(None) };
    if !coverage::decided(connection, source)?.iter().any(|range| range.from <= from && range.to >= to) {
        return Ok(Some(from));
    }
    let done = "UPDATE sources SET rewound_from = NULL, rewound_to = NULL WHERE id = ?1";
    connection.prepare_cached(done)?.execute([source])?;
    Ok(None)
}
