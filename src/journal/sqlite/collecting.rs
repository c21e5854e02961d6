//! What the collector writes: sources, windows, pages. Each function is one call's work inside its transaction.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::coverage::{self, Covered};
use super::fault::SqliteError;
use super::lateness;
use super::staging::{self, Shown};
use super::values::{Count, Counts, int};
use crate::journal::block::{decode_keys, encode_keys};
use crate::journal::{
    AfterPage, JournalError, NewWindow, OpenWindow, PageCommit, ScanProgress, SourceId, SourceRegistration,
    SourceState, WindowId, WindowKind,
};
use crate::time::{TimeRange, Timestamp};

pub(super) fn open_source(connection: &Connection, source: &SourceRegistration) -> Result<SourceState, SqliteError> {
    let normalizer_config = serde_json::to_string(&source.normalizer_config)
        .map_err(|error| SqliteError::invalid_state(error.to_string()))?;
    let known: Option<(SourceId, String, String)> = connection
        .prepare_cached("SELECT id, vendor, profile FROM sources WHERE name = ?1")?
        .query_row([&source.name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let mut former_normalizer_config = None;
    match known {
        Some((_, was, _)) if was != source.vendor => {
            return Err(SqliteError::Refused(JournalError::OtherVendor {
                name: source.name.clone(),
                was,
                now: source.vendor.clone(),
            }));
        }
        Some((_, _, was)) if was == normalizer_config => {}
        Some((id, _, was)) => {
            connection.execute("UPDATE sources SET profile = ?2 WHERE id = ?1", params![id, normalizer_config])?;
            former_normalizer_config = serde_json::from_str(&was).ok().filter(|was| *was != source.normalizer_config);
        }
        None => {
            connection.execute(
                "INSERT INTO sources (name, vendor, profile, first_started_at) VALUES (?1, ?2, ?3, ?4)",
                params![source.name, source.vendor, normalizer_config, source.now],
            )?;
        }
    }
    Ok(SourceState { former_normalizer_config, ..source_state(connection, &source.name)? })
}

pub(super) fn source_state(connection: &Connection, name: &str) -> Result<SourceState, SqliteError> {
    let (id, first_started_at, last_recheck_at, rewound_to) = connection
        .prepare_cached("SELECT id, first_started_at, last_recheck_at, rewound_to FROM sources WHERE name = ?1")?
        .query_row([name], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    Ok(SourceState {
        id,
        first_started_at,
        coverage: coverage::merged(connection, id)?,
        open: open_windows(connection, id)?,
        last_recheck_at,
        rewound_to,
        former_normalizer_config: None,
    })
}

fn open_windows(connection: &Connection, source: SourceId) -> Result<Vec<OpenWindow>, SqliteError> {
    let mut rows = connection.prepare_cached(
        "SELECT kind, covers_from, covers_to, asks_from, asks_to, id FROM windows WHERE source = ?1 ORDER BY id",
    )?;
    let windows = rows.query_map([source], |row| Ok((row.get(5)?, window_of(row)?)))?.collect::<Result<Vec<_>, _>>()?;
    let with_progress = |(id, window)| Ok(OpenWindow { id, window, progress: progress_of(connection, id)? });
    windows.into_iter().map(with_progress).collect()
}

fn window_of(row: &Row<'_>) -> rusqlite::Result<NewWindow> {
    Ok(NewWindow {
        kind: row.get(0)?,
        covers: TimeRange::new(row.get(1)?, row.get(2)?),
        fetch_range: TimeRange::new(row.get(3)?, row.get(4)?),
    })
}

fn progress_of(connection: &Connection, window: WindowId) -> Result<Option<ScanProgress>, SqliteError> {
    let sql = "SELECT next_cursor, page_size, pages, walked, total, scan_keys FROM walks WHERE window = ?1";
    let found = connection.prepare_cached(sql)?.query_row([window], |row| {
        let progress = ScanProgress {
            next_cursor: row.get(0)?,
            page_size: row.get(1)?,
            pages: row.count(2)?,
            records_read: row.count(3)?,
            total: row.get::<_, Option<Count>>(4)?.map(|total| total.0),
            scan_keys: Vec::new(),
        };
        Ok((progress, row.get::<_, Option<Vec<u8>>>(5)?))
    });
    let Some((mut progress, keys)) = found.optional()? else { return Ok(None) };
    if let Some(keys) = keys {
        decode_keys(&keys, &mut progress.scan_keys).map_err(SqliteError::Damaged)?;
    }
    Ok(Some(progress))
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
            "a new window covers time from {} to {} that another window covers",
            window.covers.from, window.covers.to
        )));
    }
    let NewWindow { kind, covers, fetch_range } = *window;
    connection
        .prepare_cached(
            "INSERT INTO windows (source, kind, covers_from, covers_to, asks_from, asks_to)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![source, kind, covers.from, covers.to, fetch_range.from, fetch_range.to])?;
    let id = WindowId(connection.last_insert_rowid());
    note_overlap(connection, source, window)?;
    Ok(id)
}

/// Remembers the longest overlap, which tells the trimming which keys the next window will need.
fn note_overlap(connection: &Connection, source: SourceId, window: &NewWindow) -> Result<(), SqliteError> {
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
    let sql = "SELECT kind, covers_from, covers_to, asks_from, asks_to, source FROM windows WHERE id = ?1";
    let found = connection.prepare_cached(sql)?.query_row([id], |row| Ok((row.get(5)?, window_of(row)?))).optional()?;
    found.ok_or_else(|| SqliteError::invalid_state(format!("window {} is not open", id.0)))
}

pub(super) fn commit_page(connection: &Connection, page: &PageCommit) -> Result<(), SqliteError> {
    let (source, window) = open_window(connection, page.window)?;
    if let Some(block) = &page.block {
        staging::stage(connection, source, page.window, window.fetch_range, block)?;
    }
    connection
        .prepare_cached("UPDATE sources SET pages = pages + 1, requests = requests + ?2 WHERE id = ?1")?
        .execute(params![source, int(page.requests)])?;
    match &page.then {
        AfterPage::Continue(progress) => note_progress(connection, page.window, progress),
        &AfterPage::Complete { at, pages, records_read } => {
            let shown = staging::show(connection, page.window, at)?;
            count_events(connection, source, &shown)?;
            lateness::add(connection, source, &page.lateness, at)?;
            delete_window(connection, page.window)?;
            if window.kind == WindowKind::Recheck {
                return note_recheck(connection, source, at);
            }
            coverage::add(connection, source, &covered_by(&window, &shown, at, pages, records_read))
        }
    }
}

fn count_events(connection: &Connection, source: SourceId, shown: &Shown) -> Result<(), SqliteError> {
    connection
        .prepare_cached("UPDATE sources SET events = events + ?2, raw_bytes = raw_bytes + ?3 WHERE id = ?1")?
        .execute(params![source, int(shown.events), int(shown.raw_bytes)])?;
    Ok(())
}

fn note_recheck(connection: &Connection, source: SourceId, at: Timestamp) -> Result<(), SqliteError> {
    connection.prepare_cached("UPDATE sources SET last_recheck_at = ?2 WHERE id = ?1")?.execute(params![source, at])?;
    Ok(())
}

fn covered_by(window: &NewWindow, shown: &Shown, at: Timestamp, pages: u64, records_read: u64) -> Covered {
    Covered {
        kind: window.kind,
        covers: window.covers,
        windows: 1,
        pages,
        records_read,
        events: shown.events,
        first_time: shown.first_time,
        last_time: shown.last_time,
        completed_at: at,
    }
}

fn note_progress(connection: &Connection, window: WindowId, progress: &ScanProgress) -> Result<(), SqliteError> {
    let keys = (!progress.scan_keys.is_empty()).then(|| encode_keys(&progress.scan_keys)).transpose();
    let keys = keys.map_err(|error| SqliteError::Storage(format!("keys cannot be compressed: {error}")))?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO walks (window, next_cursor, page_size, pages, walked, total, scan_keys)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            window,
            progress.next_cursor,
            progress.page_size,
            int(progress.pages),
            int(progress.records_read),
            progress.total.map(int),
            keys
        ])?;
    Ok(())
}

pub(super) fn delete_window(connection: &Connection, window: WindowId) -> Result<(), SqliteError> {
    connection.prepare_cached("DELETE FROM walks WHERE window = ?1")?.execute([window])?;
    connection.prepare_cached("DELETE FROM windows WHERE id = ?1")?.execute([window])?;
    Ok(())
}

pub(super) fn restart_window(connection: &Connection, window: WindowId, requests: u64) -> Result<(), SqliteError> {
    let (source, _) = open_window(connection, window)?;
    connection
        .prepare_cached("UPDATE sources SET requests = requests + ?2 WHERE id = ?1")?
        .execute(params![source, int(requests)])?;
    staging::forget(connection, window)
}

pub(super) fn split_window(
    connection: &Connection,
    window: WindowId,
    parts: [NewWindow; 2],
) -> Result<[WindowId; 2], SqliteError> {
    let (source, original) = open_window(connection, window)?;
    check_parts(&original, &parts)?;
    staging::forget(connection, window)?;
    delete_window(connection, window)?;
    Ok([add_window(connection, source, &parts[0])?, add_window(connection, source, &parts[1])?])
}

/// The parts must cover what the original covers, no more and no less, or a split would make a gap.
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
