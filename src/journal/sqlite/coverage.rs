//! Covered time: one row per complete window, merged so that rows stay few.
//!
//! A source that polls every minute completes half a million windows a year. Rows older than a day are therefore merged
//! with the rows that touch them, of the same kind and the same day (UTC):
//!
//! ```text
//! |--|--|--|--|--|  |--|      today: one row per window
//! |=============|  |==|      older: one row per contiguous range and day; the gap stays
//! ```
//!
//! Merging does not change which time is covered.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::sql::{Counts, SqliteError, int};
use crate::journal::{SourceId, WindowKind};
use crate::time::{TimeRange, Timestamp};

const DAY: Duration = Duration::from_secs(86_400);

/// Rows merged per completion at most: more than are completed, so that merging keeps up.
const MERGES_AT_ONCE: u32 = 16;

/// A complete window, or several that were merged.
#[derive(Clone, Debug)]
pub(super) struct Covered {
    pub(super) kind: WindowKind,
    pub(super) covers: TimeRange,
    pub(super) windows: u64,
    pub(super) pages: u64,
    pub(super) records_read: u64,
    pub(super) events: u64,
    pub(super) first_time: Option<Timestamp>,
    pub(super) last_time: Option<Timestamp>,
    pub(super) completed_at: Timestamp,
}

const COLUMNS: &str =
    "kind, covers_from, covers_to, windows, pages, records_read, events, first_time, last_time, completed_at";

impl Covered {
    fn from_row(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            kind: row.get(0)?,
            covers: TimeRange::new(row.get(1)?, row.get(2)?),
            windows: row.count(3)?,
            pages: row.count(4)?,
            records_read: row.count(5)?,
            events: row.count(6)?,
            first_time: row.get(7)?,
            last_time: row.get(8)?,
            completed_at: row.get(9)?,
        })
    }

    fn insert(&self, connection: &Connection, source: SourceId, merged: bool) -> Result<(), SqliteError> {
        let sql = format!(
            "INSERT INTO covered (source, merged, {COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)"
        );
        connection.prepare_cached(&sql)?.execute(params![
            source,
            merged,
            self.kind,
            self.covers.from,
            self.covers.to,
            int(self.windows),
            int(self.pages),
            int(self.records_read),
            int(self.events),
            self.first_time,
            self.last_time,
            self.completed_at,
        ])?;
        Ok(())
    }

    /// One row for two that touch.
    fn merge(self, other: &Self) -> Self {
        Self {
            kind: self.kind,
            covers: TimeRange::new(self.covers.from.min(other.covers.from), self.covers.to.max(other.covers.to)),
            windows: self.windows + other.windows,
            pages: self.pages + other.pages,
            records_read: self.records_read + other.records_read,
            events: self.events + other.events,
            first_time: [self.first_time, other.first_time].into_iter().flatten().min(),
            last_time: self.last_time.max(other.last_time),
            completed_at: self.completed_at.max(other.completed_at),
        }
    }
}

/// Adds a complete window, and merges rows that have become older than a day.
pub(super) fn add(connection: &Connection, source: SourceId, covered: &Covered) -> Result<(), SqliteError> {
    if covered.covers.is_empty() {
        return Ok(());
    }
    covered.insert(connection, source, false)?;
    merge_old(connection, source, covered.completed_at - DAY)
}

fn merge_old(connection: &Connection, source: SourceId, completed_before: Timestamp) -> Result<(), SqliteError> {
    let sql = format!(
        "SELECT {COLUMNS}, id FROM covered WHERE source = ?1 AND merged = 0 AND completed_at < ?2
         ORDER BY completed_at, id LIMIT ?3"
    );
    let mut old = connection.prepare_cached(&sql)?;
    let old = old.query_map(params![source, completed_before, MERGES_AT_ONCE], numbered)?;
    for row in old.collect::<Result<Vec<_>, _>>()? {
        merge_with_neighbors(connection, source, row)?;
    }
    Ok(())
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<(i64, Covered)> {
    Ok((row.get(10)?, Covered::from_row(row)?))
}

fn merge_with_neighbors(connection: &Connection, source: SourceId, old: (i64, Covered)) -> Result<(), SqliteError> {
    let (id, mut merged) = old;
    let mut delete = connection.prepare_cached("DELETE FROM covered WHERE id = ?1")?;
    delete.execute([id])?;
    let earlier = neighbor(connection, source, "covers_to", merged.covers.from, &merged)?;
    let later = neighbor(connection, source, "covers_from", merged.covers.to, &merged)?;
    for (id, neighbor) in [earlier, later].into_iter().flatten() {
        delete.execute([id])?;
        merged = merged.merge(&neighbor);
    }
    merged.insert(connection, source, true)
}

/// The merged row of the same kind and day that touches `row` where its column `end` is `at`.
fn neighbor(
    connection: &Connection,
    source: SourceId,
    end: &str,
    at: Timestamp,
    row: &Covered,
) -> Result<Option<(i64, Covered)>, SqliteError> {
    let sql =
        format!("SELECT {COLUMNS}, id FROM covered WHERE source = ?1 AND {end} = ?2 AND kind = ?3 AND merged = 1");
    let found = connection.prepare_cached(&sql)?.query_row(params![source, at, row.kind], numbered).optional()?;
    let day = |covered: &Covered| covered.covers.from.floor_to(DAY);
    Ok(found.filter(|(_, neighbor)| day(neighbor) == day(row)))
}

/// All covered time of a source, merged and in order.
pub(super) fn merged(connection: &Connection, source: SourceId) -> Result<Vec<TimeRange>, SqliteError> {
    let sql = "SELECT covers_from, covers_to FROM covered WHERE source = ?1 ORDER BY covers_from, covers_to";
    let mut rows = connection.prepare_cached(sql)?;
    let mut merged: Vec<TimeRange> = Vec::new();
    for range in rows.query_map([source], |row| Ok(TimeRange::new(row.get(0)?, row.get(1)?)))? {
        let range = range?;
        match merged.last_mut() {
            Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
            _ => merged.push(range),
        }
    }
    Ok(merged)
}

/// Whether any moment of `range` is covered, or belongs to an open window.
pub(super) fn is_taken(connection: &Connection, source: SourceId, range: TimeRange) -> Result<bool, SqliteError> {
    let sql = "SELECT EXISTS (SELECT 1 FROM covered WHERE source = ?1 AND covers_from < ?3 AND covers_to > ?2)
               OR EXISTS (SELECT 1 FROM windows WHERE source = ?1 AND kind <> 'recheck'
                          AND covers_from < covers_to AND covers_from < ?3 AND covers_to > ?2)";
    if range.is_empty() {
        return Ok(false);
    }
    Ok(connection.prepare_cached(sql)?.query_row(params![source, range.from, range.to], |row| row.get(0))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    use crate::journal::sqlite::schema;

    const HOUR: i64 = 3_600;
    const SOURCE: SourceId = SourceId(1);

    fn empty_file() -> Connection {
        let mut connection = Connection::open_in_memory().expect("opens");
        schema::create_tables(&mut connection).expect("creates the tables");
        let source =
            "INSERT INTO sources (name, vendor, normalizer_config, first_started_at) VALUES ('a', 'v', '{}', 0)";
        connection.execute(source, []).expect("inserts");
        connection
    }

    fn window(kind: WindowKind, from: i64, to: i64, completed_at: i64) -> Covered {
        Covered {
            kind,
            covers: TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(to)),
            windows: 1,
            pages: 2,
            records_read: 3,
            events: 1,
            first_time: Some(Timestamp::from_secs(from)),
            last_time: Some(Timestamp::from_secs(to - 1)),
            completed_at: Timestamp::from_secs(completed_at),
        }
    }

    /// Windows that never overlap, completed in random order.
    fn any_windows() -> impl Strategy<Value = Vec<Covered>> {
        let step = (1..9 * HOUR, prop_oneof![3 => Just(0), 1 => 1..HOUR], any::<bool>());
        let spans = prop::collection::vec(step, 1..60).prop_map(|steps| {
            let mut from = 0;
            let mut spans = Vec::new();
            for (length, gap, live) in steps {
                let kind = if live { WindowKind::Live } else { WindowKind::Backfill };
                spans.push((kind, from + gap, from + gap + length));
                from += gap + length;
            }
            spans
        });
        (spans.prop_shuffle(), 1..4 * HOUR).prop_map(|(spans, pace)| {
            (0..).zip(spans).map(|(index, (kind, from, to))| window(kind, from, to, index * pace)).collect()
        })
    }

    fn union_of(windows: &[Covered]) -> Vec<TimeRange> {
        let mut ranges: Vec<TimeRange> = windows.iter().map(|window| window.covers).collect();
        ranges.sort();
        ranges.chunk_by(|a, b| a.to == b.from).map(|run| TimeRange::new(run[0].from, run[run.len() - 1].to)).collect()
    }

    fn contiguous_ranges_per_day(windows: &[Covered]) -> i64 {
        let mut windows: Vec<&Covered> = windows.iter().collect();
        windows.sort_by_key(|window| window.covers);
        let day = |window: &Covered| window.covers.from.floor_to(DAY);
        let joined = |a: &&Covered, b: &&Covered| a.covers.to == b.covers.from && a.kind == b.kind && day(a) == day(b);
        i64::try_from(windows.chunk_by(joined).count()).expect("fits")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn merging_old_rows_keeps_the_covered_time_and_leaves_few_rows(windows in any_windows()) {
            let file = empty_file();
            for (done, window) in windows.iter().enumerate() {
                add(&file, SOURCE, window).expect("adds");
                prop_assert_eq!(merged(&file, SOURCE).expect("reads"), union_of(&windows[..=done]));
            }
            for _ in &windows {
                merge_old(&file, SOURCE, Timestamp::MAX).expect("merges");
            }
            prop_assert_eq!(merged(&file, SOURCE).expect("reads"), union_of(&windows));
            let sums = "SELECT count(*), sum(windows), sum(pages), sum(events), min(first_time) FROM covered";
            let (rows, count, pages, events, first): (i64, i64, i64, i64, Timestamp) = file
                .query_row(sums, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
                .expect("sums up");
            let all = i64::try_from(windows.len()).expect("fits");
            prop_assert_eq!((count, pages, events), (all, 2 * all, all));
            prop_assert_eq!(Some(first), windows.iter().filter_map(|window| window.first_time).min());
            prop_assert_eq!(rows, contiguous_ranges_per_day(&windows));
        }

        #[test]
        fn time_is_taken_if_a_window_covers_it(windows in any_windows(), from in 0..200 * HOUR, length in 0..30 * HOUR) {
            let file = empty_file();
            for window in &windows {
                add(&file, SOURCE, window).expect("adds");
            }
            let range = TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(from + length));
            let wanted = windows.iter().any(|window| {
                window.covers.from.max(range.from) < window.covers.to.min(range.to)
            });
            prop_assert_eq!(is_taken(&file, SOURCE, range).expect("reads"), wanted);
        }
    }
}
