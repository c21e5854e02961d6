//! What collecting reads and writes: sources, windows, pages, keys, lateness. Each function is one call inside its
//! transaction.
//!
//! ```text
//! begin_scan, commit_page ...    stage: blocks without sequence numbers, their records and keys; evidence, a row per page
//!   | begin_scan                 another scan of the same window; what is staged stays
//!   | commit_page, complete      publish: blocks get consecutive numbers; the records are not touched
//!   | restart_window             unstage: blocks, records, keys and evidence are deleted
//! ```

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::by_source::{BySource, of_source};
use super::sql::{Counts, SqliteError, int, to_json};
use super::staging::{Published, publish, stage, staged_times, unstage};
use super::{coverage, hourly};
use crate::journal::block::decode_keys;
use crate::journal::{
    AfterPage, Completion, CoverageState, EvidenceRow, JournalError, LastError, LatenessCounts, NewWindow, OpenWindow,
    PageCommit, RequestCounts, ScanProgress, ScanSpec, SeenKey, SourceId, SourceRegistration, SourceState, WindowId,
    WindowKind,
};
use crate::time::{TimeRange, Timestamp};

const DAY_MILLIS: i64 = 86_400_000;

/// Days whose lateness counts are kept, the present one included.
const LATENESS_DAYS: i64 = 7;

// --- sources ---

pub(super) fn open_source(connection: &Connection, source: &SourceRegistration) -> Result<SourceState, SqliteError> {
    let normalizer_config = to_json(&source.normalizer_config)?;
    let known: Option<(SourceId, String, String)> = connection
        .prepare_cached("SELECT id, vendor, normalizer_config FROM sources WHERE name = ?1")?
        .query_row([&source.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let mut former_normalizer_config = None;
    match known {
        Some((_, was, _)) if was != source.vendor => {
            return Err(SqliteError::Rejected(JournalError::OtherVendor {
                name: source.name.clone(),
                was,
                now: source.vendor.clone(),
            }));
        }
        Some((_, _, was)) if was == normalizer_config => {}
        Some((id, _, was)) => {
            let sql = "UPDATE sources SET normalizer_config = ?2 WHERE id = ?1";
            connection.execute(sql, params![id, normalizer_config])?;
            former_normalizer_config = serde_json::from_str(&was).ok().filter(|was| *was != source.normalizer_config);
        }
        None => {
            connection.execute(
                "INSERT INTO sources (name, vendor, normalizer_config, first_started_at) VALUES (?1, ?2, ?3, ?4)",
                params![source.name, source.vendor, normalizer_config, source.now],
            )?;
        }
    }
    Ok(SourceState { former_normalizer_config, ..source_state(connection, &source.name)? })
}

pub(super) fn source_state(connection: &Connection, name: &str) -> Result<SourceState, SqliteError> {
    let id: SourceId =
        connection.prepare_cached("SELECT id FROM sources WHERE name = ?1")?.query_row([name], |row| row.get(0))?;
    let state = source_states(connection, Some(id))?.pop();
    state.ok_or_else(|| SqliteError::invalid_state(format!("there is no source {}", id.0)))
}

/// The state of one source, or of all, in the order of their ids.
pub(super) fn source_states(
    connection: &Connection,
    source: Option<SourceId>,
) -> Result<Vec<SourceState>, SqliteError> {
    let mut covered = coverage::covered(connection, source)?;
    let mut in_doubt = coverage::in_doubt(connection, source)?;
    let mut open = open_windows(connection, source)?;
    let sql = format!(
        "SELECT source, first_started_at, last_recheck_at, rewound_to, learned
         FROM (SELECT id AS source, * FROM sources) WHERE {} ORDER BY source",
        of_source(source)
    );
    let mut rows = connection.prepare_cached(&sql)?;
    let states = rows.query_map([source], |row| {
        let id = row.get(0)?;
        Ok(SourceState {
            id,
            first_started_at: row.get(1)?,
            coverage: covered.take(id),
            in_doubt: in_doubt.take(id),
            open: open.take(id),
            last_recheck_at: row.get(2)?,
            rewound_to: row.get(3)?,
            learned: row.get(4)?,
            former_normalizer_config: None,
        })
    })?;
    Ok(states.collect::<Result<_, _>>()?)
}

pub(super) fn set_error(
    connection: &Connection,
    source: SourceId,
    last_error: Option<&LastError>,
) -> Result<(), SqliteError> {
    let last_error = last_error.map(to_json).transpose()?;
    connection
        .prepare_cached("UPDATE sources SET last_error = ?2 WHERE id = ?1")?
        .execute(params![source, last_error])?;
    Ok(())
}

// --- windows ---

fn open_windows(connection: &Connection, source: Option<SourceId>) -> Result<BySource<Vec<OpenWindow>>, SqliteError> {
    let sql = format!("SELECT {WINDOW}, id, source FROM windows WHERE {} ORDER BY source, id", of_source(source));
    let mut rows = connection.prepare_cached(&sql)?;
    let mut rows = rows.query([source])?;
    let mut by_source = BySource::<Vec<OpenWindow>>::default();
    while let Some(row) = rows.next()? {
        let (id, window) = (row.get(7)?, window_of(row)?);
        by_source.of(row.get(8)?).push(OpenWindow { id, window, progress: progress_of(connection, id)? });
    }
    Ok(by_source)
}

const WINDOW: &str = "kind, covers_from, covers_to, fetch_from, fetch_to, kept_from, kept_to";

fn window_of(row: &Row<'_>) -> rusqlite::Result<NewWindow> {
    Ok(NewWindow {
        kind: row.get(0)?,
        covers: TimeRange::new(row.get(1)?, row.get(2)?),
        fetch_range: TimeRange::new(row.get(3)?, row.get(4)?),
        kept: TimeRange::new(row.get(5)?, row.get(6)?),
    })
}

fn progress_of(connection: &Connection, window: WindowId) -> Result<Option<ScanProgress>, SqliteError> {
    let sql = "SELECT number, by_time, page_size, request_fingerprint FROM scans WHERE window = ?1 ORDER BY number";
    let mut rows = connection.prepare_cached(sql)?;
    let specs = rows.query_map([window], |row| {
        Ok(ScanSpec {
            number: row.get(0)?,
            by_time: row.get(1)?,
            page_size: row.get(2)?,
            request_fingerprint: row.get(3)?,
        })
    })?;
    let sql = "SELECT evidence FROM scan_pages WHERE window = ?1 AND scan = ?2 ORDER BY page";
    let mut pages = connection.prepare_cached(sql)?;
    let mut scans = Vec::new();
    for spec in specs {
        let spec = spec?;
        let pages = pages.query_map(params![window, spec.number], |row| row.get(0))?.collect::<Result<_, _>>()?;
        scans.push((spec, pages));
    }
    Ok((!scans.is_empty()).then_some(ScanProgress { scans }))
}

pub(super) fn add_windows(
    connection: &Connection,
    source: SourceId,
    windows: &[NewWindow],
) -> Result<Vec<WindowId>, SqliteError> {
    windows.iter().map(|window| add_window(connection, source, window)).collect()
}

fn add_window(connection: &Connection, source: SourceId, window: &NewWindow) -> Result<WindowId, SqliteError> {
    if window.kind != WindowKind::Recheck && coverage::is_taken(connection, source, window.covers)? {
        return Err(SqliteError::invalid_state(format!(
            "a new window covers time from {} to {} that has a state or belongs to another window",
            window.covers.from, window.covers.to
        )));
    }
    let NewWindow { kind, covers, fetch_range, kept } = *window;
    let sql = format!("INSERT INTO windows (source, {WINDOW}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)");
    connection.prepare_cached(&sql)?.execute(params![
        source,
        kind,
        covers.from,
        covers.to,
        fetch_range.from,
        fetch_range.to,
        kept.from,
        kept.to
    ])?;
    let id = WindowId(connection.last_insert_rowid());
    store_overlap(connection, source, window)?;
    Ok(id)
}

/// Stores the longest overlap so far: trimming keeps the keys that the next window needs.
fn store_overlap(connection: &Connection, source: SourceId, window: &NewWindow) -> Result<(), SqliteError> {
    if window.kind == WindowKind::Recheck {
        return Ok(());
    }
    let overlap = i64::try_from(window.covers.from.since(window.fetch_range.from).as_nanos()).unwrap_or(i64::MAX);
    connection
        .prepare_cached("UPDATE sources SET overlap = ?2 WHERE id = ?1 AND overlap < ?2")?
        .execute(params![source, overlap])?;
    Ok(())
}

fn open_window(connection: &Connection, id: WindowId) -> Result<(SourceId, NewWindow), SqliteError> {
    let sql = format!("SELECT {WINDOW}, source FROM windows WHERE id = ?1");
    let found =
        connection.prepare_cached(&sql)?.query_row([id], |row| Ok((row.get(7)?, window_of(row)?))).optional()?;
    found.ok_or_else(|| SqliteError::invalid_state(format!("window {} is not open", id.0)))
}

fn delete_window(connection: &Connection, window: WindowId) -> Result<(), SqliteError> {
    delete_scans(connection, window)?;
    connection.prepare_cached("DELETE FROM windows WHERE id = ?1")?.execute([window])?;
    Ok(())
}

fn delete_scans(connection: &Connection, window: WindowId) -> Result<(), SqliteError> {
    connection.prepare_cached("DELETE FROM scan_pages WHERE window = ?1")?.execute([window])?;
    connection.prepare_cached("DELETE FROM scans WHERE window = ?1")?.execute([window])?;
    Ok(())
}

/// Deletes all open windows of a source, of a rewind also those before its moment: a window leaves out what another one
/// that overlaps it has staged, so a window can only continue if all windows that were open beside it continue.
pub(super) fn delete_open_windows(connection: &Connection, source: SourceId) -> Result<(), SqliteError> {
    let mut open = connection.prepare("SELECT id FROM windows WHERE source = ?1")?;
    let open: Vec<WindowId> = open.query_map([source], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for window in open {
        unstage(connection, window)?;
        delete_window(connection, window)?;
    }
    Ok(())
}

pub(super) fn restart_window(
    connection: &Connection,
    window: WindowId,
    requests: RequestCounts,
) -> Result<(), SqliteError> {
    let (source, _) = open_window(connection, window)?;
    count_requests(connection, source, requests)?;
    unstage(connection, window)?;
    delete_scans(connection, window)
}

fn count_requests(connection: &Connection, source: SourceId, requests: RequestCounts) -> Result<(), SqliteError> {
    count_pages(connection, source, requests, 0)
}

fn count_pages(
    connection: &Connection,
    source: SourceId,
    requests: RequestCounts,
    pages: u64,
) -> Result<(), SqliteError> {
    let RequestCounts { success, redirect, client_error, server_error, unanswered } = requests;
    connection
        .prepare_cached(
            "UPDATE sources SET pages = pages + ?2, requests_2xx = requests_2xx + ?3, requests_3xx = requests_3xx + ?4,
                    requests_4xx = requests_4xx + ?5, requests_5xx = requests_5xx + ?6, requests_none = requests_none + ?7
             WHERE id = ?1",
        )?
        .execute(params![
            source,
            int(pages),
            int(success),
            int(redirect),
            int(client_error),
            int(server_error),
            int(unanswered)
        ])?;
    Ok(())
}

pub(super) fn split_window(
    connection: &Connection,
    window: WindowId,
    parts: [NewWindow; 2],
) -> Result<[WindowId; 2], SqliteError> {
    let (source, original) = open_window(connection, window)?;
    check_parts(&original, &parts)?;
    unstage(connection, window)?;
    delete_window(connection, window)?;
    Ok([add_window(connection, source, &parts[0])?, add_window(connection, source, &parts[1])?])
}

/// The parts must cover exactly what the original covers, or a split would make a gap.
fn check_parts(original: &NewWindow, [first, second]: &[NewWindow; 2]) -> Result<(), SqliteError> {
    let same_kind = first.kind == original.kind && second.kind == original.kind;
    let joined = first.covers.from == original.covers.from
        && first.covers.to == second.covers.from
        && second.covers.to == original.covers.to;
    let covers_nothing = original.covers.is_empty() && first.covers.is_empty() && second.covers.is_empty();
    if same_kind && (joined || covers_nothing) {
        return Ok(());
    }
    Err(SqliteError::invalid_state("the parts of a split window do not cover what it covers"))
}

// --- scans and pages ---

pub(super) fn begin_scan(
    connection: &Connection,
    window: WindowId,
    scan: &ScanSpec,
    requests: RequestCounts,
) -> Result<(), SqliteError> {
    let (source, _) = open_window(connection, window)?;
    let last = last_scan(connection, window)?.unwrap_or(0);
    if scan.number != last + 1 {
        return Err(SqliteError::invalid_state(format!("scan {} of a window follows its scan {last}", scan.number)));
    }
    count_requests(connection, source, requests)?;
    connection
        .prepare_cached(
            "INSERT INTO scans (window, number, by_time, page_size, request_fingerprint) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![window, scan.number, scan.by_time, scan.page_size, scan.request_fingerprint])?;
    Ok(())
}

fn last_scan(connection: &Connection, window: WindowId) -> Result<Option<u32>, SqliteError> {
    let sql = "SELECT max(number) FROM scans WHERE window = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([window], |row| row.get(0))?)
}

pub(super) fn commit_page(connection: &Connection, page: &PageCommit) -> Result<(), SqliteError> {
    let (source, window) = open_window(connection, page.window)?;
    if let Some(block) = &page.block {
        stage(connection, source, page.window, window.fetch_range, block)?;
    }
    count_pages(connection, source, page.requests, u64::from(!page.is_missing()))?;
    match &page.then {
        AfterPage::Continue => append_evidence(connection, page.window, &page.evidence),
        AfterPage::Complete(completion) => {
            add_lateness(connection, source, &page.lateness, completion.at)?;
            complete(connection, source, (page.window, &window), completion)
        }
    }
}

fn append_evidence(connection: &Connection, window: WindowId, evidence: &[u8]) -> Result<(), SqliteError> {
    let scan = last_scan(connection, window)?
        .ok_or_else(|| SqliteError::invalid_state(format!("window {} has a page before its first scan", window.0)))?;
    connection
        .prepare_cached(
            "INSERT INTO scan_pages (window, scan, page, evidence) VALUES (?1, ?2,
             1 + coalesce((SELECT max(page) FROM scan_pages WHERE window = ?1 AND scan = ?2), 0), ?3)",
        )?
        .execute(params![window, scan, evidence])?;
    Ok(())
}

fn complete(
    connection: &Connection,
    source: SourceId,
    (id, window): (WindowId, &NewWindow),
    completion: &Completion,
) -> Result<(), SqliteError> {
    let covers = completion.covers;
    if !covers.is_empty() && (covers.from < window.covers.from || covers.to > window.covers.to) {
        return Err(SqliteError::invalid_state(format!(
            "window {} is completed for time that it does not cover",
            id.0
        )));
    }
    let is_recheck = window.kind == WindowKind::Recheck;
    let found = if is_recheck { staged_times(connection, id)? } else { Vec::new() };
    let published = publish(connection, id, completion.at)?;
    count_events(connection, source, &published, completion.at)?;
    delete_window(connection, id)?;
    if let Some(learned) = &completion.learned {
        let mut update = connection.prepare_cached("UPDATE sources SET learned = ?2 WHERE id = ?1")?;
        update.execute(params![source, learned])?;
    }
    if is_recheck {
        store_recheck(connection, source, completion.at)?;
        return coverage::apply_recheck(connection, source, completion, &found);
    }
    coverage::add(connection, source, &completed(window.kind, completion, &published))
}

fn count_events(
    connection: &Connection,
    source: SourceId,
    published: &Published,
    at: Timestamp,
) -> Result<(), SqliteError> {
    // A vendor's clock may be ahead; the present is not later than now.
    let newest = published.last_time.map(|time| time.min(at));
    connection
        .prepare_cached(
            "UPDATE sources SET events = events + ?2, raw_bytes = raw_bytes + ?3,
             newest_event_at = coalesce(max(newest_event_at, ?4), newest_event_at, ?4) WHERE id = ?1",
        )?
        .execute(params![source, int(published.events), int(published.raw_bytes), newest])?;
    hourly::add(connection, source, published.events, at)
}

fn store_recheck(connection: &Connection, source: SourceId, at: Timestamp) -> Result<(), SqliteError> {
    connection.prepare_cached("UPDATE sources SET last_recheck_at = ?2 WHERE id = ?1")?.execute(params![source, at])?;
    Ok(())
}

fn completed(kind: WindowKind, completion: &Completion, published: &Published) -> EvidenceRow {
    EvidenceRow {
        kind,
        covers: completion.covers,
        state: completion.state,
        reasons: completion.reasons.clone(),
        doubts: u32::from(completion.state != CoverageState::Covered),
        since: completion.at,
        next_recheck_at: completion.next_recheck_at,
        windows: 1,
        rechecked: 0,
        found: 0,
        events: published.events,
        first_time: published.first_time,
        last_time: published.last_time,
        completed_at: completion.at,
        evidence: completion.evidence.clone(),
    }
}

// --- keys and lateness ---

pub(super) fn keys_within(
    connection: &Connection,
    source: SourceId,
    range: TimeRange,
) -> Result<Vec<SeenKey>, SqliteError> {
    let mut pages = connection.prepare_cached(
        "SELECT data FROM keys WHERE source = ?1 AND max_time >= ?2 AND min_time < ?3
         UNION ALL
         SELECT data FROM keys WHERE source = ?1 AND max_time IS NULL",
    )?;
    let mut rows = pages.query(params![source, range.from, range.to])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        decode_keys(row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?, &mut keys)
            .map_err(SqliteError::Damaged)?;
    }
    Ok(keys)
}

/// Adds counts to the day of `at`, and deletes those of days that are too old.
pub(super) fn add_lateness(
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
        .execute(params![source, day - LATENESS_DAYS])?;
    Ok(())
}

/// All lateness counts, by source: of one source, or of all.
pub(super) fn lateness_of(
    connection: &Connection,
    source: Option<SourceId>,
) -> Result<BySource<LatenessCounts>, SqliteError> {
    let sql = format!("SELECT source, bucket, events FROM lateness WHERE {} ORDER BY source", of_source(source));
    let mut rows = connection.prepare_cached(&sql)?;
    let mut rows = rows.query([source])?;
    let mut by_source = BySource::<LatenessCounts>::default();
    while let Some(row) = rows.next()? {
        by_source.of(row.get(0)?).add_to_bucket(row.get(1)?, row.count(2)?);
    }
    Ok(by_source)
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
    fn lateness_counts_are_kept_for_seven_days_and_deleted_with_their_source() {
        let mut file = Connection::open_in_memory().expect("opens");
        file.pragma_update(None, "foreign_keys", true).expect("sets");
        schema::create_tables(&mut file).expect("creates the tables");
        let source =
            "INSERT INTO sources (name, vendor, normalizer_config, first_started_at) VALUES ('a', 'v', '{}', 0)";
        file.execute(source, []).expect("inserts");
        let day = |day: i64| Timestamp::from_millis(day * DAY_MILLIS + 5);
        add_lateness(&file, SOURCE, &late(900, 10), day(100)).expect("adds");
        add_lateness(&file, SOURCE, &late(60, 1), day(106)).expect("adds");
        add_lateness(&file, SOURCE, &late(60, 2), day(106)).expect("adds");
        assert_eq!(lateness_of(&file, Some(SOURCE)).expect("reads").take(SOURCE).events(), 13);
        add_lateness(&file, SOURCE, &late(60, 1), day(107)).expect("adds");
        assert_eq!(lateness_of(&file, Some(SOURCE)).expect("reads").take(SOURCE), late(60, 4));
        file.execute("DELETE FROM sources", []).expect("deletes");
        assert_eq!(lateness_of(&file, Some(SOURCE)).expect("reads").take(SOURCE).events(), 0);
    }
}
