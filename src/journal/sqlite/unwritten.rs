//! Errors of sources and sinks that the journal could not store, because its disk is full or broken.
//!
//! They are kept in memory, and in a file beside the journal, for `status`. The file gets its blocks when the journal is
//! opened and is overwritten in place, so that most file systems accept it on a full disk. Where they do not, the errors are
//! in the log and in the end of the run only.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};

use super::sql::SqliteError;
use crate::journal::{JournalStats, LastError, SinkId, SourceId};

/// The name of the file in the data directory.
const FILE: &str = "journal-errors.json";
/// Its size, in bytes. What does not fit is left out.
const FILE_BYTES: usize = 16 << 10;

/// A source or a sink of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Component {
    Source(i64),
    Sink(i64),
}

impl From<SourceId> for Component {
    fn from(id: SourceId) -> Self {
        Self::Source(id.0)
    }
}

impl From<SinkId> for Component {
    fn from(id: SinkId) -> Self {
        Self::Sink(id.0)
    }
}

/// The error that a component has now, whatever the journal says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    component: Component,
    last_error: Option<LastError>,
}

/// The errors that the journal could not store.
#[derive(Debug)]
pub(super) struct UnwrittenErrors {
    entries: Mutex<Vec<Entry>>,
    file: Option<File>,
}

impl UnwrittenErrors {
    /// None yet. What the last process left in the file is no longer so.
    pub(super) fn open(data_dir: &Path) -> Self {
        let path = data_dir.join(FILE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path).ok();
        let errors = Self { entries: Mutex::default(), file };
        errors.write_file(&[]);
        errors
    }

    /// The journal could not store what error a component has.
    pub(super) fn set(&self, component: Component, last_error: Option<LastError>) {
        let mut entries = self.entries();
        entries.retain(|entry| entry.component != component);
        entries.push(Entry { component, last_error });
        self.write_file(&entries);
    }

    /// The journal has stored what error a component has.
    pub(super) fn stored(&self, component: Component) {
        let mut entries = self.entries();
        let before = entries.len();
        entries.retain(|entry| entry.component != component);
        if entries.len() < before {
            self.write_file(&entries);
        }
    }

    /// Puts the errors into counters that were read from the journal.
    pub(super) fn apply(&self, journal: &Connection, stats: &mut JournalStats) -> Result<(), SqliteError> {
        let entries = self.entries().clone();
        apply(&entries, journal, stats)
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_file(&self, entries: &[Entry]) {
        let Some(file) = &self.file else { return };
        let fits = (0..=entries.len()).rev().find_map(|count| {
            let text = serde_json::to_vec(&entries[..count]).ok()?;
            (text.len() <= FILE_BYTES).then_some(text)
        });
        let mut text = fits.unwrap_or_default();
        text.resize(FILE_BYTES, b' ');
        // A disk that accepts nothing at all: the log and the end of the run tell it.
        let _ = file.write_all_at(&text, 0);
    }
}

/// Puts the errors that a running process has left beside the journal into counters that were read from it.
pub(super) fn apply_file(data_dir: &Path, journal: &Connection, stats: &mut JournalStats) -> Result<(), SqliteError> {
    // No file, or one that is being written: nothing is known beyond the journal.
    let Ok(text) = std::fs::read(data_dir.join(FILE)) else { return Ok(()) };
    let entries: Vec<Entry> = serde_json::from_slice(&text).unwrap_or_default();
    apply(&entries, journal, stats)
}

fn apply(entries: &[Entry], journal: &Connection, stats: &mut JournalStats) -> Result<(), SqliteError> {
    for Entry { component, last_error } in entries {
        let (sql, id) = match component {
            Component::Source(id) => ("SELECT name FROM sources WHERE id = ?1", id),
            Component::Sink(id) => ("SELECT name FROM sinks WHERE id = ?1", id),
        };
        let name: Option<String> = journal.prepare_cached(sql)?.query_row([id], |row| row.get(0)).optional()?;
        let Some(name) = name else { continue };
        let place = match component {
            Component::Source(_) => {
                stats.sources.iter_mut().find(|source| source.name == name).map(|found| &mut found.last_error)
            }
            Component::Sink(_) => {
                stats.sinks.iter_mut().find(|sink| sink.name == name).map(|found| &mut found.last_error)
            }
        };
        if let Some(place) = place {
            place.clone_from(last_error);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{JournalOptions, SqliteJournal};
    use crate::journal::{
        CollectJournal, DeliverJournal, JournalSnapshot, LastError, LogReader, SinkStart, SnapshotQuery,
        SourceRegistration,
    };
    use crate::time::Timestamp;
    use crate::units::ByteSize;
    use crate::vendors::NormalizerConfig;

    fn error(message: &str) -> Option<LastError> {
        Some(LastError { message: message.to_owned(), hint: String::new(), since: Timestamp::from_secs(7) })
    }

    #[tokio::test]
    async fn errors_that_the_journal_cannot_store_are_visible_here_and_in_a_snapshot() {
        let directory = tempfile::tempdir().expect("a directory");
        let options = JournalOptions { data_dir: directory.path().to_owned(), max_size: ByteSize(1 << 20) };
        let journal = SqliteJournal::open(&options).expect("opens");
        let (name, vendor) = ("audit".to_owned(), "clumio".to_owned());
        let normalizer_config = NormalizerConfig::default();
        let registration = SourceRegistration { name, vendor, normalizer_config, now: Timestamp::from_secs(0) };
        let source = journal.open_source(registration).await.expect("opens").id;
        let sink = journal.open_sink("files", SinkStart::Beginning).await.expect("opens").id;
        journal.set_sink_error(sink, error("in the journal")).await.expect("stores");

        journal.unwritten.set(source.into(), error("disk full"));
        journal.unwritten.set(sink.into(), None);
        let look = SnapshotQuery { sources: None, sinks: &[], evidence: None };
        let snapshot = || SqliteJournal::snapshot(directory.path(), &look).expect("reads").expect("exists");
        let errors = |stats: &crate::journal::JournalStats| {
            (stats.sources[0].last_error.clone(), stats.sinks[0].last_error.clone())
        };
        let JournalSnapshot { stats, .. } = snapshot();
        assert_eq!(errors(&stats), (error("disk full"), None));
        assert_eq!(errors(&journal.stats().await.expect("reads")), (error("disk full"), None));

        journal.set_source_error(source, None).await.expect("stores");
        journal.set_sink_error(sink, error("again in the journal")).await.expect("stores");
        assert_eq!(errors(&snapshot().stats), (None, error("again in the journal")));

        journal.unwritten.set(source.into(), error("disk full"));
        drop(journal);
        assert_eq!(snapshot().stats.sources[0].last_error, error("disk full"), "the process ended with it");
        drop(SqliteJournal::open(&options).expect("opens"));
        assert_eq!(snapshot().stats.sources[0].last_error, None, "a new process finds out for itself");
    }
}
