//! The state of time: one row per complete window, merged so that rows stay few.
//!
//! A source that polls every minute completes half a million windows a year. Covered rows older than a day are therefore
//! merged with the rows that touch them, of the same kind, day (UTC) and reasons, whose rechecks are over or due in the
//! same hour:
//!
//! ```text
//! |--|--|--|--|--|  |--|??|      today: one row per window; ?? is in doubt
//! |=============|  |==|??|       older: one row per contiguous range and day; the gap stays, and what is in doubt
//! ```
//!
//! Merging does not change which time has which state. A recheck changes rows; one that ends within a row splits it.

use std::time::Duration;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::by_source::{BySource, of_source};
use super::sql::{Counts, SqliteError, int, to_json};
use crate::journal::{Completion, CoverageState, DoubtfulTime, DueRecheck, EvidenceRow, SourceId, WindowEvidence};
use crate::time::{TimeRange, Timestamp};

const DAY: Duration = Duration::from_secs(86_400);

/// Rechecks that are due in the same hour are made at once.
const SAME_RECHECK: Duration = Duration::from_secs(3_600);

/// Rows merged per completion at most: more than are completed, so that merging keeps up.
const MERGES_AT_ONCE: u32 = 16;

/// The reason of time that an operator has accepted.
const ACCEPTED: &str = "accepted";

const COLUMNS: &str =
    "kind, covers_from, covers_to, state, reasons, doubts, since, next_recheck_at, windows, rechecked,
                       found, events, first_time, last_time, completed_at, evidence";

// --- rows ---

/// A row and its id.
type NumberedRow = (i64, EvidenceRow);

fn row_of(row: &Row<'_>) -> rusqlite::Result<EvidenceRow> {
    Ok(EvidenceRow {
        kind: row.get(0)?,
        covers: TimeRange::new(row.get(1)?, row.get(2)?),
        state: row.get(3)?,
        reasons: json_column(row, 4)?,
        doubts: row.get(5)?,
        since: row.get(6)?,
        next_recheck_at: row.get(7)?,
        windows: row.count(8)?,
        rechecked: row.count(9)?,
        found: row.count(10)?,
        events: row.count(11)?,
        first_time: row.get(12)?,
        last_time: row.get(13)?,
        completed_at: row.get(14)?,
        evidence: json_column(row, 15)?,
    })
}

fn numbered(row: &Row<'_>) -> rusqlite::Result<NumberedRow> {
    Ok((row.get(16)?, row_of(row)?))
}

fn json_column<T: serde::de::DeserializeOwned>(row: &Row<'_>, index: usize) -> rusqlite::Result<T> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text)
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error)))
}

fn insert(connection: &Connection, source: SourceId, row: &EvidenceRow, merged: bool) -> Result<(), SqliteError> {
    let sql = format!(
        "INSERT INTO covered (source, merged, {COLUMNS})
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
    );
    connection.prepare_cached(&sql)?.execute(params![
        source,
        merged,
        row.kind,
        row.covers.from,
        row.covers.to,
        row.state,
        to_json(&row.reasons)?,
        row.doubts,
        row.since,
        row.next_recheck_at,
        int(row.windows),
        int(row.rechecked),
        int(row.found),
        int(row.events),
        row.first_time,
        row.last_time,
        row.completed_at,
        to_json(&row.evidence)?,
    ])?;
    Ok(())
}

fn delete(connection: &Connection, id: i64) -> Result<(), SqliteError> {
    connection.prepare_cached("DELETE FROM covered WHERE id = ?1")?.execute([id])?;
    Ok(())
}

/// Stores a changed row. It may be merged anew.
fn replace(connection: &Connection, source: SourceId, id: i64, row: &EvidenceRow) -> Result<(), SqliteError> {
    delete(connection, id)?;
    insert(connection, source, row, false)
}

/// The rows that lie within `range`, in order.
fn rows_within(connection: &Connection, source: SourceId, range: TimeRange) -> Result<Vec<NumberedRow>, SqliteError> {
    let sql = format!(
        "SELECT {COLUMNS}, id FROM covered WHERE source = ?1 AND covers_from >= ?2 AND covers_to <= ?3
         ORDER BY covers_from"
    );
    let mut rows = connection.prepare_cached(&sql)?;
    let rows = rows.query_map(params![source, range.from, range.to], numbered)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Splits the row that has `moment` inside, if there is one, so that each part can get a state of its own. The counts stay
/// with the first part; each part counts as a window.
fn split_row(connection: &Connection, source: SourceId, moment: Timestamp) -> Result<(), SqliteError> {
    let sql = format!(
        "SELECT {COLUMNS}, id FROM covered WHERE source = ?1 AND covers_from < ?2 ORDER BY covers_from DESC LIMIT 1"
    );
    let before = connection.prepare_cached(&sql)?.query_row(params![source, moment], numbered).optional()?;
    let Some((id, mut row)) = before.filter(|(_, row)| row.covers.to > moment) else { return Ok(()) };
    let rest = EvidenceRow {
        covers: TimeRange::new(moment, row.covers.to),
        windows: 1,
        rechecked: row.rechecked.min(1),
        found: 0,
        events: 0,
        first_time: None,
        last_time: None,
        evidence: WindowEvidence {
            kept: row.evidence.kept,
            checks: row.evidence.checks.clone(),
            settings_hash: row.evidence.settings_hash.clone(),
            ..WindowEvidence::default()
        },
        ..row.clone()
    };
    row.covers.to = moment;
    row.windows = row.windows.saturating_sub(1).max(1);
    row.rechecked = row.rechecked.min(row.windows);
    replace(connection, source, id, &row)?;
    insert(connection, source, &rest, false)
}

// --- complete windows, and merging ---

/// Adds a complete window, and merges rows that have become older than a day.
pub(super) fn add(connection: &Connection, source: SourceId, window: &EvidenceRow) -> Result<(), SqliteError> {
    if window.covers.is_empty() {
        return Ok(());
    }
    insert(connection, source, window, false)?;
    merge_old(connection, source, window.completed_at - DAY)
}

fn merge_old(connection: &Connection, source: SourceId, completed_before: Timestamp) -> Result<(), SqliteError> {
    let sql = format!(
        "SELECT {COLUMNS}, id FROM covered
         WHERE source = ?1 AND merged = 0 AND state = 'covered' AND completed_at < ?2 ORDER BY completed_at, id LIMIT ?3"
    );
    let mut old = connection.prepare_cached(&sql)?;
    let old = old.query_map(params![source, completed_before, MERGES_AT_ONCE], numbered)?;
    for row in old.collect::<Result<Vec<_>, _>>()? {
        merge_with_neighbors(connection, source, row)?;
    }
    Ok(())
}

fn merge_with_neighbors(connection: &Connection, source: SourceId, old: NumberedRow) -> Result<(), SqliteError> {
    let (id, mut row) = old;
    delete(connection, id)?;
    let earlier = neighbor(connection, source, "covers_to", row.covers.from, &row)?;
    let later = neighbor(connection, source, "covers_from", row.covers.to, &row)?;
    for (id, neighbor) in [earlier, later].into_iter().flatten() {
        delete(connection, id)?;
        row = row.merge(&neighbor);
    }
    insert(connection, source, &row, true)
}

/// The merged row that touches `row` where its column `end` is `at`, if the two may be one.
fn neighbor(
    connection: &Connection,
    source: SourceId,
    end: &str,
    at: Timestamp,
    row: &EvidenceRow,
) -> Result<Option<NumberedRow>, SqliteError> {
    let sql = format!(
        "SELECT {COLUMNS}, id FROM covered
         WHERE source = ?1 AND {end} = ?2 AND kind = ?3 AND merged = 1 AND state = 'covered'"
    );
    let found = connection.prepare_cached(&sql)?.query_row(params![source, at, row.kind], numbered).optional()?;
    Ok(found.filter(|(_, neighbor)| may_merge(neighbor, row)))
}

/// Whether two covered rows of one kind that touch may be one.
fn may_merge(one: &EvidenceRow, other: &EvidenceRow) -> bool {
    let day = |row: &EvidenceRow| row.covers.from.floor_to(DAY);
    let due = |row: &EvidenceRow| row.next_recheck_at.map(|at| at.floor_to(SAME_RECHECK));
    day(one) == day(other) && due(one) == due(other) && one.reasons == other.reasons
}

// --- changes of state ---

/// Changes the state of the time that a recheck covers. `found` are the times of the events that only the recheck brought.
pub(super) fn apply_recheck(
    connection: &Connection,
    source: SourceId,
    recheck: &Completion,
    found: &[Timestamp],
) -> Result<(), SqliteError> {
    if recheck.covers.is_empty() {
        return Ok(());
    }
    split_row(connection, source, recheck.covers.from)?;
    split_row(connection, source, recheck.covers.to)?;
    for (id, mut row) in rows_within(connection, source, recheck.covers)? {
        judge_again(&mut row, recheck);
        if found.iter().any(|at| *at >= row.covers.from && *at < row.covers.to) {
            row.found = (row.found + 1).min(row.windows);
        }
        replace(connection, source, id, &row)?;
    }
    Ok(())
}

/// A recheck that could not read the time leaves what an earlier scan showed as it is.
fn judge_again(row: &mut EvidenceRow, recheck: &Completion) {
    row.next_recheck_at = recheck.next_recheck_at;
    let unread = recheck.state == CoverageState::Unreadable;
    let state = if unread { row.state } else { recheck.state };
    row.doubts = if state == CoverageState::Covered { 0 } else { row.doubts.saturating_add(1) };
    if unread && state != CoverageState::Unreadable {
        return;
    }
    if !unread {
        row.rechecked = row.windows;
        row.evidence.checks.clone_from(&recheck.evidence.checks);
    }
    if row.state == CoverageState::Unreadable {
        row.evidence = recheck.evidence.clone();
    }
    if state != row.state {
        row.since = recheck.at;
    }
    row.state = state;
    row.reasons.clone_from(&recheck.reasons);
}

/// Covers all time in doubt within `range`, because an operator says so. Returns the number of windows.
pub(super) fn accept(connection: &Connection, source: SourceId, range: TimeRange) -> Result<u64, SqliteError> {
    split_row(connection, source, range.from)?;
    split_row(connection, source, range.to)?;
    let mut accepted = 0;
    for (id, mut row) in rows_within(connection, source, range)? {
        if row.state == CoverageState::Covered {
            continue;
        }
        accepted += row.windows;
        row.state = CoverageState::Covered;
        row.reasons.push(ACCEPTED.to_owned());
        row.doubts = 0;
        row.next_recheck_at = None;
        replace(connection, source, id, &row)?;
    }
    Ok(accepted)
}

/// Removes the state of all time at and after `from`.
pub(super) fn cut(connection: &Connection, source: SourceId, from: Timestamp) -> Result<(), SqliteError> {
    connection.execute("DELETE FROM covered WHERE source = ?1 AND covers_from >= ?2", params![source, from])?;
    connection
        .execute("UPDATE covered SET covers_to = ?2 WHERE source = ?1 AND covers_to > ?2", params![source, from])?;
    Ok(())
}

// --- reads ---

/// All covered time, merged and in order, by source: of one source, or of all.
pub(super) fn covered(
    connection: &Connection,
    source: Option<SourceId>,
) -> Result<BySource<Vec<TimeRange>>, SqliteError> {
    joined(connection, source, "state = 'covered'")
}

/// All time of a source that has a state, merged and in order.
pub(super) fn decided(connection: &Connection, source: SourceId) -> Result<Vec<TimeRange>, SqliteError> {
    Ok(joined(connection, Some(source), "true")?.take(source))
}

/// All covered time of a source that no recheck will read again, merged and in order.
pub(super) fn at_rest(connection: &Connection, source: SourceId) -> Result<Vec<TimeRange>, SqliteError> {
    Ok(joined(connection, Some(source), "state = 'covered' AND next_recheck_at IS NULL")?.take(source))
}

fn joined(
    connection: &Connection,
    source: Option<SourceId>,
    which: &str,
) -> Result<BySource<Vec<TimeRange>>, SqliteError> {
    let sql = format!(
        "SELECT source, covers_from, covers_to FROM covered WHERE {} AND {which}
         ORDER BY source, covers_from, covers_to",
        of_source(source)
    );
    let mut rows = connection.prepare_cached(&sql)?;
    let mut rows = rows.query([source])?;
    let mut by_source = BySource::<Vec<TimeRange>>::default();
    while let Some(row) = rows.next()? {
        let joined = by_source.of(row.get(0)?);
        let range = TimeRange::new(row.get(1)?, row.get(2)?);
        match joined.last_mut() {
            Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
            _ => joined.push(range),
        }
    }
    Ok(by_source)
}

/// All time in doubt, in order, by source: of one source, or of all.
pub(super) fn in_doubt(
    connection: &Connection,
    source: Option<SourceId>,
) -> Result<BySource<Vec<DoubtfulTime>>, SqliteError> {
    let sql = format!(
        "SELECT {COLUMNS}, source FROM covered WHERE {} AND state <> 'covered' ORDER BY source, covers_from",
        of_source(source)
    );
    let mut rows = connection.prepare_cached(&sql)?;
    let mut rows = rows.query([source])?;
    let mut by_source = BySource::<Vec<DoubtfulTime>>::default();
    while let Some(row) = rows.next()? {
        let doubtful = by_source.of(row.get(16)?);
        let EvidenceRow { covers, state, reasons, doubts, since, next_recheck_at, .. } = row_of(row)?;
        let time = DoubtfulTime { range: covers, state, reasons, doubts, since, next_recheck_at };
        match doubtful.last_mut() {
            Some(last) if is_same_doubt(last, &time) => {
                last.range.to = covers.to;
                last.since = last.since.min(since);
                last.next_recheck_at = [last.next_recheck_at, next_recheck_at].into_iter().flatten().min();
            }
            _ => doubtful.push(time),
        }
    }
    Ok(by_source)
}

fn is_same_doubt(one: &DoubtfulTime, next: &DoubtfulTime) -> bool {
    one.range.to == next.range.from && (one.state, one.doubts, &one.reasons) == (next.state, next.doubts, &next.reasons)
}

/// What is due to be read again: what is in doubt first, then by time.
pub(super) fn due_rechecks(
    connection: &Connection,
    source: SourceId,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<DueRecheck>, SqliteError> {
    let mut rows = connection.prepare_cached(
        "SELECT covers_from, covers_to, state, doubts, completed_at FROM covered
         WHERE source = ?1 AND next_recheck_at <= ?2 ORDER BY state = 'covered', covers_from",
    )?;
    let mut due: Vec<DueRecheck> = Vec::new();
    let found = rows.query_map(params![source, now], |row| {
        let range = TimeRange::new(row.get(0)?, row.get(1)?);
        Ok(DueRecheck { range, state: row.get(2)?, doubts: row.get(3)?, completed_at: row.get(4)? })
    })?;
    for next in found {
        let next = next?;
        let continues = |last: &DueRecheck| {
            last.range.to == next.range.from && (last.state, last.doubts) == (next.state, next.doubts)
        };
        if let Some(last) = due.last_mut().filter(|last| continues(last)) {
            last.range.to = next.range.to;
            last.completed_at = last.completed_at.max(next.completed_at);
            continue;
        }
        if due.len() == limit {
            break;
        }
        due.push(next);
    }
    Ok(due)
}

/// The rows that touch `range`, in order.
pub(super) fn evidence(
    connection: &Connection,
    source: SourceId,
    range: TimeRange,
) -> Result<Vec<EvidenceRow>, SqliteError> {
    let sql = format!(
        "SELECT {COLUMNS} FROM covered WHERE source = ?1 AND covers_from < ?3 AND covers_to > ?2 ORDER BY covers_from"
    );
    let mut rows = connection.prepare_cached(&sql)?;
    let rows = rows.query_map(params![source, range.from, range.to], row_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Whether any moment of `range` has a state, or belongs to an open window.
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

    use crate::journal::WindowKind;
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

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn window(kind: WindowKind, from: i64, to: i64, completed_at: i64) -> EvidenceRow {
        EvidenceRow {
            kind,
            covers: TimeRange::new(at(from), at(to)),
            state: CoverageState::Covered,
            reasons: Vec::new(),
            doubts: 0,
            since: at(completed_at),
            next_recheck_at: None,
            windows: 1,
            rechecked: 0,
            found: 0,
            events: 1,
            first_time: Some(at(from)),
            last_time: Some(at(to - 1)),
            completed_at: at(completed_at),
            evidence: WindowEvidence { pages: 2, records_read: 3, ..WindowEvidence::default() },
        }
    }

    /// Windows that never overlap, completed in random order.
    fn any_windows() -> impl Strategy<Value = Vec<EvidenceRow>> {
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

    fn union_of(windows: &[EvidenceRow]) -> Vec<TimeRange> {
        let mut ranges: Vec<TimeRange> = windows.iter().map(|window| window.covers).collect();
        ranges.sort();
        ranges.chunk_by(|a, b| a.to == b.from).map(|run| TimeRange::new(run[0].from, run[run.len() - 1].to)).collect()
    }

    fn contiguous_ranges_per_day(windows: &[EvidenceRow]) -> i64 {
        let mut windows: Vec<&EvidenceRow> = windows.iter().collect();
        windows.sort_by_key(|window| window.covers);
        let day = |window: &EvidenceRow| window.covers.from.floor_to(DAY);
        let joined =
            |a: &&EvidenceRow, b: &&EvidenceRow| a.covers.to == b.covers.from && a.kind == b.kind && day(a) == day(b);
        i64::try_from(windows.chunk_by(joined).count()).expect("fits")
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
        #[test]
        fn merging_old_rows_keeps_the_covered_time_and_leaves_few_rows(windows in any_windows()) {
            let file = empty_file();
            for (done, window) in windows.iter().enumerate() {
                add(&file, SOURCE, window).expect("adds");
                prop_assert_eq!(covered(&file, Some(SOURCE)).expect("reads").take(SOURCE), union_of(&windows[..=done]));
            }
            for _ in &windows {
                merge_old(&file, SOURCE, Timestamp::MAX).expect("merges");
            }
            prop_assert_eq!(covered(&file, None).expect("reads").take(SOURCE), union_of(&windows));
            let sums = "SELECT count(*), sum(windows), sum(evidence ->> 'pages'), sum(events), min(first_time) FROM covered";
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

    /// Five windows of an hour each: row by row after all merging.
    fn merged_rows(change: impl Fn(usize, &mut EvidenceRow)) -> Vec<EvidenceRow> {
        let file = empty_file();
        for index in 0..5 {
            let from = i64::try_from(index).expect("fits") * HOUR;
            let mut row = window(WindowKind::Live, from, from + HOUR, from);
            change(index, &mut row);
            add(&file, SOURCE, &row).expect("adds");
        }
        merge_old(&file, SOURCE, Timestamp::MAX).expect("merges");
        evidence(&file, SOURCE, TimeRange::ALL).expect("reads")
    }

    #[test]
    fn what_is_in_doubt_is_never_merged() {
        let rows = merged_rows(|index, row| {
            if index == 1 || index == 2 {
                row.state = CoverageState::InDoubt;
            }
        });
        let windows: Vec<_> = rows.iter().map(|row| (row.state, row.windows)).collect();
        let (covered, in_doubt) = (CoverageState::Covered, CoverageState::InDoubt);
        assert_eq!(windows, [(covered, 1), (in_doubt, 1), (in_doubt, 1), (covered, 2)]);
    }

    #[test]
    fn rows_merge_if_their_rechecks_are_over_or_due_in_the_same_hour() {
        let due = [Some(10 * HOUR + 120), Some(10 * HOUR + 60), Some(11 * HOUR), None, None];
        let rows = merged_rows(|index, row| row.next_recheck_at = due[index].map(at));
        let found: Vec<_> = rows.iter().map(|row| (row.windows, row.next_recheck_at)).collect();
        assert_eq!(found, [(2, due[1].map(at)), (1, due[2].map(at)), (2, None)], "the earliest of two counts");
        assert_eq!(rows[0].evidence.pages, 4);
    }

    #[test]
    fn windows_that_were_accepted_stay_apart() {
        let rows = merged_rows(|index, row| row.reasons.extend((index == 4).then(|| ACCEPTED.to_owned())));
        assert_eq!(rows.iter().map(|row| row.windows).collect::<Vec<_>>(), [4, 1]);
    }

    #[test]
    fn a_row_that_a_recheck_changed_is_merged_again() {
        let file = empty_file();
        for (from, due) in [(0, None), (HOUR, Some(at(5)))] {
            let row = EvidenceRow { next_recheck_at: due, ..window(WindowKind::Live, from, from + HOUR, from) };
            add(&file, SOURCE, &row).expect("adds");
        }
        merge_old(&file, SOURCE, Timestamp::MAX).expect("merges");
        let recheck = Completion::covered(TimeRange::new(at(HOUR), at(2 * HOUR)), at(9));
        apply_recheck(&file, SOURCE, &recheck, &[]).expect("applies");
        merge_old(&file, SOURCE, Timestamp::MAX).expect("merges");
        let rows = evidence(&file, SOURCE, TimeRange::ALL).expect("reads");
        assert_eq!(rows.iter().map(|row| (row.windows, row.rechecked)).collect::<Vec<_>>(), [(2, 1)]);
    }
}
