//! Reads a snapshot of a journal, whether a pipeline uses it or not. Takes no lock and changes nothing.
//!
//! ```text
//! journal.db-wal has content    a process runs, or was killed    read like the process's own readers
//! journal.db-wal is empty or    closed properly                  read as `immutable`, so that SQLite creates no files
//! does not exist                                                 beside it; repeated if it changed meanwhile
//! ```

use std::collections::HashSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::log::{self, BatchLimits};
use super::schema::{self, JOURNAL_FILE};
use super::sql::{Counts, SqliteError};
use super::{collecting, coverage, hourly, unwritten};
use crate::journal::lock::owner;
use crate::journal::{
    BlockVisitor, JournalError, JournalSnapshot, PendingBatch, Seq, SinkProgress, SnapshotQuery, SourceId, SourceInfo,
    SourceSnapshot,
};
use crate::time::Timestamp;

/// Attempts at an immutable read. After these, a journal that keeps changing is read like the process's own readers.
const IMMUTABLE_ATTEMPTS: u32 = 3;

/// Blocks read at once when all are visited.
const BLOCKS_AT_ONCE: usize = 16;

/// Characters with a meaning of their own in SQLite's file URIs.
const IN_URI: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');

/// Reads the journal of a data directory; `None` if no pipeline has run there yet.
pub(super) fn snapshot(data_dir: &Path, query: &SnapshotQuery<'_>) -> Result<Option<JournalSnapshot>, JournalError> {
    let path = data_dir.join(JOURNAL_FILE);
    read(&path, |connection| snapshot_of(connection, &path, query)).map_err(|error| not_read(error, &path))
}

/// What the journal of a data directory knows of a sink.
pub(super) fn sink_progress(data_dir: &Path, sink: &str) -> Result<SinkProgress, JournalError> {
    let path = data_dir.join(JOURNAL_FILE);
    let in_use = owner(data_dir).is_some();
    let found =
        read(&path, |connection| progress_of(connection, &path, sink)).map_err(|error| not_read(error, &path))?;
    let progress = found.unwrap_or_default();
    Ok(if in_use { SinkProgress { up_to: Seq::MAX, ..progress } } else { progress })
}

fn not_read(error: SqliteError, path: &Path) -> JournalError {
    match error.at(&path.display().to_string()) {
        JournalError::Storage { path, reason } => JournalError::NotRead { path, reason },
        other => other,
    }
}

fn read<T>(path: &Path, of: impl Fn(&Connection) -> Result<Option<T>, SqliteError>) -> Result<Option<T>, SqliteError> {
    for _ in 0..IMMUTABLE_ATTEMPTS {
        let Some(before) = metadata(path)? else { return Ok(None) };
        if is_in_use(path)? {
            break;
        }
        let found = of(&open_immutable(path)?);
        let after = metadata(path)?;
        if !is_in_use(path)? && after.is_some_and(|after| is_same(&before, &after)) {
            return found;
        }
    }
    of(&schema::open_reader(path)?)
}

fn progress_of(connection: &Connection, path: &Path, sink: &str) -> Result<Option<SinkProgress>, SqliteError> {
    if !schema::is_journal(connection, path)? {
        return Ok(None);
    }
    let sql = "SELECT identity, coalesce(sinks.generation, totals.generation), state, coalesce(position, 0),
                      coalesce(batch_last, 0)
               FROM totals LEFT JOIN sinks ON name = ?1";
    Ok(connection.prepare_cached(sql)?.query_row([sink], |row| {
        let (position, batch_last) = (row.count(3)?, row.count(4)?);
        Ok(Some(SinkProgress {
            journal: row.get(0)?,
            generation: row.count(1)?,
            state: row.get(2)?,
            position,
            up_to: position.max(batch_last),
        }))
    })?)
}

/// Passes the events that the journal of a data directory holds to a visitor, a page at a time, in their order. Whether there
/// is a journal.
pub(super) fn visit(data_dir: &Path, visitor: &mut dyn BlockVisitor) -> Result<bool, JournalError> {
    let path = data_dir.join(JOURNAL_FILE);
    visit_file(&path, visitor).map_err(|error| not_read(error, &path))
}

fn visit_file(path: &Path, visitor: &mut dyn BlockVisitor) -> Result<bool, SqliteError> {
    for _ in 0..IMMUTABLE_ATTEMPTS {
        let Some(before) = metadata(path)? else { return Ok(false) };
        if is_in_use(path)? {
            break;
        }
        visitor.restart();
        let visited = visit_connection(&open_immutable(path)?, path, visitor);
        let after = metadata(path)?;
        if !is_in_use(path)? && after.is_some_and(|after| is_same(&before, &after)) {
            return visited;
        }
    }
    visitor.restart();
    visit_connection(&schema::open_reader(path)?, path, visitor)
}

fn visit_connection(connection: &Connection, path: &Path, visitor: &mut dyn BlockVisitor) -> Result<bool, SqliteError> {
    let snapshot = connection.unchecked_transaction()?;
    if !schema::is_journal(&snapshot, path)? {
        return Ok(false);
    }
    let known = log::sources(&snapshot)?;
    let ids: Vec<SourceId> = known.iter().map(|source| source.id).collect();
    let mut next = visitor.first().max(1);
    loop {
        let blocks = log::read(&snapshot, next, i64::MAX.unsigned_abs(), &ids, BLOCKS_AT_ONCE)?;
        let Some(last) = blocks.last() else { return Ok(true) };
        next = last.last() + 1;
        for block in &blocks {
            let Some(source) = known.iter().find(|source| source.id == block.source) else { continue };
            visitor.block(source, block);
        }
    }
}

fn metadata(path: &Path) -> Result<Option<Metadata>, SqliteError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => {
            Err(SqliteError::Storage("it is a symbolic link, which is not followed".to_owned()))
        }
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SqliteError::Storage(error.to_string())),
    }
}

/// Whether the write-ahead log has changes that may not be in the file yet. The file never changes without them.
fn is_in_use(path: &Path) -> Result<bool, SqliteError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    Ok(metadata(&PathBuf::from(log))?.is_some_and(|found| found.len() > 0))
}

fn is_same(before: &Metadata, after: &Metadata) -> bool {
    let stamp = |found: &Metadata| (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
    stamp(before) == stamp(after)
}

fn open_immutable(path: &Path) -> Result<Connection, SqliteError> {
    let absolute = std::path::absolute(path).map_err(|error| SqliteError::Storage(error.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| SqliteError::Storage("its path is not valid UTF-8".to_owned()))?;
    let uri = format!("file:{}?immutable=1", utf8_percent_encode(text, IN_URI));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(uri, flags)?)
}

fn snapshot_of(
    connection: &Connection,
    path: &Path,
    query: &SnapshotQuery<'_>,
) -> Result<Option<JournalSnapshot>, SqliteError> {
    let snapshot = connection.unchecked_transaction()?;
    if !schema::is_journal(&snapshot, path)? {
        return Ok(None);
    }
    let known = log::sources(&snapshot)?;
    let sources = source_snapshots(&snapshot, &known, query)?;
    let mut pending = Vec::new();
    for (sink, routed) in query.sinks {
        let routed: HashSet<&String> = routed.iter().collect();
        let ids: Vec<_> = known.iter().filter(|source| routed.contains(&source.name)).map(|source| source.id).collect();
        pending.extend(pending_of(&snapshot, sink, &ids)?.map(|batch| (sink.clone(), batch)));
    }
    let held = snapshot
        .prepare_cached("SELECT coalesce(sum(count), 0) FROM blocks WHERE first IS NOT NULL")?
        .query_row([], |row| row.count(0))?;
    let mut stats = log::stats(&snapshot)?;
    if let Some(data_dir) = path.parent() {
        unwritten::apply_file(data_dir, &snapshot, &mut stats)?;
    }
    Ok(Some(JournalSnapshot { stats, held, sources, pending }))
}

fn source_snapshots(
    connection: &Connection,
    known: &[SourceInfo],
    query: &SnapshotQuery<'_>,
) -> Result<Vec<SourceSnapshot>, SqliteError> {
    let states = collecting::source_states(connection, None)?;
    let mut lateness = collecting::lateness_of(connection, None)?;
    let mut hourly = hourly::all(connection)?;
    let newest = newest_events(connection)?;
    let wanted: Option<HashSet<&String>> = query.sources.map(|wanted| wanted.iter().collect());
    let mut sources = Vec::with_capacity(known.len());
    for ((source, state), newest_event_at) in known.iter().zip(states).zip(newest) {
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&source.name)) {
            continue;
        }
        let evidence = query.evidence.map(|range| coverage::evidence(connection, source.id, range)).transpose()?;
        sources.push(SourceSnapshot {
            name: source.name.clone(),
            state,
            lateness: lateness.take(source.id),
            newest_event_at,
            hourly: hourly.take(source.id),
            evidence: evidence.unwrap_or_default(),
        });
    }
    Ok(sources)
}

/// The latest time of an event of each source, in the order of their ids.
fn newest_events(connection: &Connection) -> Result<Vec<Option<Timestamp>>, SqliteError> {
    let mut rows = connection.prepare_cached("SELECT newest_event_at FROM sources ORDER BY id")?;
    let newest = rows.query_map([], |row| row.get(0))?;
    Ok(newest.collect::<Result<_, _>>()?)
}

fn pending_of(connection: &Connection, sink: &str, sources: &[SourceId]) -> Result<Option<PendingBatch>, SqliteError> {
    let sql = "SELECT position FROM sinks WHERE name = ?1";
    let position = connection.prepare_cached(sql)?.query_row([sink], |row| row.count(0)).optional()?;
    let everything = BatchLimits { max_events: u64::MAX, max_bytes: u64::MAX };
    position.map(|position| log::next_batch(connection, position, sources, everything)).transpose()
}
