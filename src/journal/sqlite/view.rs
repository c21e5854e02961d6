//! Looking into a journal from outside, whether a pipeline runs on it or not. Takes no lock and changes nothing.
//!
//! ```text
//! journal.db-wal holds something   a process runs, or was killed    read beside it, as its own readers do
//! it is empty or not there         closed in good order             read as it lies (`immutable`), so that SQLite leaves no
//!                                                                   files beside it; if it changed meanwhile: once more
//! ```

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};

use super::fault::SqliteError;
use super::folder::JOURNAL_FILE;
use super::log::{self, BatchLimits};
use super::values::Counts;
use super::{collecting, lateness, schema, summary};
use crate::journal::picture::{JournalSnapshot, Look, SourceSnapshot};
use crate::journal::{JournalError, PendingBatch, SourceId, SourceInfo};
use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// A journal that is closed again and again while it is looked at is read beside its process after so many attempts.
const QUIET_ATTEMPTS: u32 = 3;

/// What has a meaning of its own in SQLite's file URIs.
const IN_URI: &AsciiSet = &CONTROLS.add(b'%').add(b'?').add(b'#').add(b' ');

/// Looks into the journal of a data folder; `None` if nothing has run there yet.
pub(super) fn snapshot(data_dir: &Path, look: &Look<'_>) -> Result<Option<JournalSnapshot>, JournalError> {
    let path = data_dir.join(JOURNAL_FILE);
    read(&path, look).map_err(|fault| match fault.at(&path.display().to_string()) {
        JournalError::Storage { path, reason } => JournalError::NotRead { path, reason },
        other => other,
    })
}

fn read(path: &Path, look: &Look<'_>) -> Result<Option<JournalSnapshot>, SqliteError> {
    for _ in 0..QUIET_ATTEMPTS {
        let Some(before) = metadata(path)? else { return Ok(None) };
        if is_in_use(path)? {
            break;
        }
        let seen = picture(&open_quiet(path)?, path, look);
        let after = metadata(path)?;
        if !is_in_use(path)? && after.is_some_and(|after| is_same(&before, &after)) {
            return seen;
        }
    }
    picture(&schema::open_reader(path)?, path, look)
}

fn metadata(path: &Path) -> Result<Option<Metadata>, SqliteError> {
    match std::fs::metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SqliteError::Storage(error.to_string())),
    }
}

/// Whether changes lie beside the file that may not be in it yet. Nothing is written into the file without them.
fn is_in_use(path: &Path) -> Result<bool, SqliteError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push("-wal");
    Ok(metadata(&PathBuf::from(beside))?.is_some_and(|found| found.len() > 0))
}

fn is_same(before: &Metadata, after: &Metadata) -> bool {
    let stamp = |found: &Metadata| (found.ino(), found.len(), found.mtime(), found.mtime_nsec());
    stamp(before) == stamp(after)
}

fn open_quiet(path: &Path) -> Result<Connection, SqliteError> {
    let absolute = std::path::absolute(path).map_err(|error| SqliteError::Storage(error.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| SqliteError::Storage("its path is no valid text".to_owned()))?;
    let uri = format!("file:{}?immutable=1", utf8_percent_encode(text, IN_URI));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Ok(Connection::open_with_flags(uri, flags)?)
}

fn picture(connection: &Connection, path: &Path, look: &Look<'_>) -> Result<Option<JournalSnapshot>, SqliteError> {
    let snapshot = connection.unchecked_transaction()?;
    if !schema::is_present(&snapshot, path)? {
        return Ok(None);
    }
    let known = log::sources(&snapshot)?;
    let wanted = known.iter().filter(|source| look.sources.is_none_or(|wanted| wanted.contains(&source.name)));
    let sources = wanted.map(|source| source_picture(&snapshot, source, look.now)).collect::<Result<_, _>>()?;
    let mut pending = Vec::new();
    for (sink, routed) in look.sinks {
        let ids: Vec<_> = known.iter().filter(|source| routed.contains(&source.name)).map(|source| source.id).collect();
        pending.extend(pending_of(&snapshot, sink, &ids)?.map(|batch| (sink.clone(), batch)));
    }
    let held = snapshot
        .prepare_cached("SELECT coalesce(sum(count), 0) FROM blocks WHERE first IS NOT NULL")?
        .query_row([], |row| row.count(0))?;
    Ok(Some(JournalSnapshot { summary: summary::summary(&snapshot)?, held, sources, pending }))
}

fn source_picture(connection: &Connection, source: &SourceInfo, now: Timestamp) -> Result<SourceSnapshot, SqliteError> {
    Ok(SourceSnapshot {
        name: source.name.clone(),
        state: collecting::source_state(connection, &source.name)?,
        lateness: lateness::of_source(connection, source.id)?,
        events_last_day: events_since(connection, source.id, now - DAY)?,
    })
}

/// Rows of coverage are merged only a day after their windows were completed, so those of the last day are exact.
fn events_since(connection: &Connection, source: SourceId, since: Timestamp) -> Result<u64, SqliteError> {
    let sql = "SELECT coalesce(sum(events), 0) FROM covered WHERE source = ?1 AND completed_at >= ?2";
    Ok(connection.prepare_cached(sql)?.query_row(params![source, since], |row| row.count(0))?)
}

fn pending_of(connection: &Connection, sink: &str, sources: &[SourceId]) -> Result<Option<PendingBatch>, SqliteError> {
    let sql = "SELECT position FROM sinks WHERE name = ?1";
    let position = connection.prepare_cached(sql)?.query_row([sink], |row| row.count(0)).optional()?;
    let everything = BatchLimits { max_events: u64::MAX, max_bytes: u64::MAX };
    position.map(|position| log::next_batch(connection, position, sources, everything)).transpose()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::journal::conformance::{self, at, complete, live, page};
    use crate::journal::{Journal, JournalOptions, SinkStart, SqliteJournal};
    use crate::units::ByteSize;

    fn open(folder: &Path) -> SqliteJournal {
        let options = JournalOptions { data_dir: folder.to_owned(), max_size: ByteSize(1 << 30) };
        SqliteJournal::open(&options).expect("opens")
    }

    async fn fill(journal: &SqliteJournal) {
        let source = conformance::source(journal, "a").await;
        let windows = journal.add_windows(source, vec![live(0, 10), live(10, 20)]).await.expect("adds");
        journal.commit_page(page(windows[0], &[("1", Some(1)), ("2", Some(2))], complete(100))).await.expect("commits");
        journal.open_sink("files", SinkStart::Beginning).await.expect("opens");
    }

    fn look(folder: &Path) -> Result<Option<JournalSnapshot>, JournalError> {
        let sinks = [("files".to_owned(), vec!["a".to_owned()]), ("unknown".to_owned(), Vec::new())];
        snapshot(folder, &Look { now: at(200), sources: None, sinks: &sinks })
    }

    fn assert_shows_what_was_filled_in(picture: &JournalSnapshot) {
        let source = picture.source("a").expect("known");
        assert_eq!((source.state.coverage.len(), source.state.open.len(), source.events_last_day), (1, 1, 2));
        let (name, pending) = picture.pending.first().expect("a sink");
        assert_eq!((name.as_str(), pending.events, pending.oldest_visible_at), ("files", 2, Some(at(100))));
        assert_eq!(picture.pending.len(), 1, "a sink that never ran has nothing pending");
    }

    fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let paths = std::fs::read_dir(folder).expect("reads").map(|entry| entry.expect("reads").path());
        paths.map(|path| (path.clone(), std::fs::read(path).expect("reads"))).collect()
    }

    #[tokio::test]
    async fn sees_what_is_committed_while_the_journal_is_in_use_and_keeps_nobody_from_writing() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(look(folder.path()).expect("nothing there"), None);
        assert_eq!(look(&folder.path().join("missing")).expect("nothing there"), None);
        let journal = open(folder.path());
        assert!(look(folder.path()).expect("reads").expect("is there").sources.is_empty());
        fill(&journal).await;
        assert_shows_what_was_filled_in(&look(folder.path()).expect("reads").expect("is there"));
        conformance::source(&journal, "b").await;
        assert_eq!(look(folder.path()).expect("reads").expect("is there").sources.len(), 2);
    }

    #[tokio::test]
    async fn a_journal_that_was_closed_stays_byte_for_byte_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        fill(&journal).await;
        drop(journal);
        let before = contents(folder.path());
        assert_shows_what_was_filled_in(&look(folder.path()).expect("reads").expect("is there"));
        assert_eq!(contents(folder.path()), before);
    }

    #[tokio::test]
    async fn what_a_killed_process_left_is_read_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = open(folder.path());
        fill(&journal).await;
        let killed = tempfile::tempdir().expect("a folder");
        for name in ["journal.db", "journal.db-wal"] {
            std::fs::copy(folder.path().join(name), killed.path().join(name)).expect("copies");
        }
        assert_shows_what_was_filled_in(&look(killed.path()).expect("reads").expect("is there"));
        drop(open(killed.path()));
        assert_shows_what_was_filled_in(&look(killed.path()).expect("reads").expect("is there"));
    }

    #[tokio::test]
    async fn other_versions_are_told_and_left_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        drop(open(folder.path()));
        let path = folder.path().join(JOURNAL_FILE);
        let newest: i64 = version(&path);
        for (number, hint) in [(newest - 1, "auditflow run"), (newest + 1, "newer auditflow")] {
            let file = Connection::open(&path).expect("opens");
            file.pragma_update(None, "user_version", number).expect("sets");
            drop(file);
            let error = look(folder.path()).expect_err("another version").to_string();
            assert!(error.contains(hint) && error.contains("journal.db"), "{error}");
            assert_eq!(version(&path), number);
        }
        std::fs::write(&path, "no journal at all, but long enough to be looked at as one").expect("writes");
        let error = look(folder.path()).expect_err("no journal").to_string();
        assert!(error.contains("damaged"), "{error}");
    }

    fn version(path: &Path) -> i64 {
        let file = Connection::open(path).expect("opens");
        file.query_row("PRAGMA user_version", [], |row| row.get(0)).expect("reads")
    }
}
