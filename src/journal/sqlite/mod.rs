//! The journal in one SQLite file.
//!
//! ```text
//!   collectors, deliver loops  --calls that change--> [writer]   one thread, one connection, calls share commits
//!                              --calls that read----> [readers]  a few connections, one unchanging state each
//!                                                        |
//!                              <--head, full----------[totals]   told after each commit
//! ```
//!
//! `schema` is the file; `collecting`, `staging` and `delivering` are the changes, `log` and `summary` the reads, `trimming`
//! the only deletion of what was visible while a pipeline runs, `editing` what an operator changes while none does. Durability is SQLite's: write-ahead log with `synchronous = FULL`, so that a commit
//! that was answered survives power loss.

mod collecting;
mod coverage;
#[cfg(test)]
mod crash_tests;
mod delivering;
mod editing;
mod fault;
mod folder;
mod lateness;
mod log;
mod readers;
mod schema;
mod staging;
mod summary;
#[cfg(test)]
mod tests;
mod totals;
mod trimming;
mod values;
mod view;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::watch;

use super::lock::DirectoryLock;
use super::{
    Delivery, Journal, JournalError, JournalFuture, JournalSnapshot, JournalStats, LastError, Look, NewWindow,
    PageCommit, PendingBatch, RecordBlock, RollbackRecord, SeenKey, Seq, SinkId, SinkStart, SinkState, SourceId,
    SourceInfo, SourceRegistration, SourceState, WindowId,
};
use crate::time::{TimeRange, Timestamp};
use crate::units::ByteSize;

use fault::SqliteError;
use log::BatchLimits;
use readers::Readers;
use totals::{Announcer, Totals};
use writer::Writer;

pub use folder::JOURNAL_FILE;

/// Where the journal is and how large it may become.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The folder for the journal and its lock; made if it is not there.
    pub data_dir: PathBuf,
    /// Bytes of compressed events at which [`Journal::full`] becomes true. Keys and indexes come on top: about 25 bytes
    /// an event for as long as the overlap needs its key.
    pub max_size: ByteSize,
}

/// The journal in one SQLite file. Share it as `Arc<dyn Journal>`; dropping the last one finishes what was called, closes
/// the file and frees the folder.
#[derive(Debug)]
pub struct SqliteJournal {
    // Fields are dropped in this order: readers and writer close the file before the lock goes.
    readers: Arc<Readers>,
    writer: Writer,
    head: watch::Receiver<Seq>,
    full: watch::Receiver<bool>,
    path: String,
    _lock: DirectoryLock,
}

impl SqliteJournal {
    /// Opens the journal of a folder, or makes a new one. Blocks for the time of a few disk accesses, or of a recovery
    /// after a crash.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another process has the folder, [`JournalError::Damaged`] if the file is no journal or
    /// is broken, [`JournalError::NewerVersion`] if a newer auditflow has written it, [`JournalError::NotOpened`] if the
    /// file system refuses. Nothing is deleted in any case.
    pub fn open(options: &JournalOptions) -> Result<Self, JournalError> {
        let path = options.data_dir.join(JOURNAL_FILE);
        let told = path.display().to_string();
        let refused = |error: std::io::Error| SqliteError::Storage(error.to_string());
        folder::create_folder(&options.data_dir).map_err(|error| refused(error).at_open(&told))?;
        let lock = DirectoryLock::take(&options.data_dir)?;
        folder::create_file(&path).map_err(|error| refused(error).at_open(&told))?;
        let (connection, totals) = open_file(&path).map_err(|fault| fault.at_open(&told))?;
        let announcer = Announcer::new(options.max_size.0, totals);
        let (head, full) = (announcer.head(), announcer.full());
        let writer = Writer::start(connection, announcer).map_err(|error| refused(error).at_open(&told))?;
        Ok(Self { readers: Arc::new(Readers::new(path)), writer, head, full, path: told, _lock: lock })
    }

    /// Looks into the journal of a folder without opening it for work: takes no lock, changes nothing, and works while a
    /// pipeline runs as well as while none does. `None` if nothing has run there yet. Blocks for a few disk accesses.
    ///
    /// # Errors
    /// [`JournalError::NotRead`] if the file cannot be read, [`JournalError::NewerVersion`] and
    /// [`JournalError::OlderVersion`] if another version of auditflow has written it, [`JournalError::Damaged`] if it is no
    /// journal or is broken.
    pub fn snapshot(data_dir: &Path, look: &Look<'_>) -> Result<Option<JournalSnapshot>, JournalError> {
        view::snapshot(data_dir, look)
    }

    /// A call that changes the journal: done and durable when it answers.
    fn write<T, W>(&self, work: W) -> JournalFuture<'_, T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        Box::pin(async move { self.writer.run(work).await.map_err(|fault| fault.at(&self.path)) })
    }

    /// A call that only reads.
    fn look<T, W>(&self, work: W) -> JournalFuture<'_, T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        Box::pin(async move { self.readers.clone().run(work).await.map_err(|fault| fault.at(&self.path)) })
    }

    async fn trim_in_steps(&self, visible_before: Timestamp, keys_before: Timestamp) -> Result<u64, JournalError> {
        let mut trimmed = 0;
        loop {
            let events = self.write(move |file| trimming::trim_events(file, visible_before)).await?;
            if events == 0 {
                break;
            }
            trimmed += events;
        }
        let mut place = Some(trimming::KEYS_BEGIN);
        while let Some(from) = place {
            place = self.write(move |file| trimming::trim_keys(file, keys_before, from)).await?;
        }
        Ok(trimmed)
    }
}

fn open_file(path: &Path) -> Result<(Connection, Totals), SqliteError> {
    let connection = schema::open_writer(path)?;
    let totals = Totals::read(&connection)?;
    Ok((connection, totals))
}

impl Journal for SqliteJournal {
    fn open_source(&self, source: SourceRegistration) -> JournalFuture<'_, SourceState> {
        self.write(move |file| collecting::open_source(file, &source))
    }

    fn add_windows(&self, source: SourceId, windows: Vec<NewWindow>) -> JournalFuture<'_, Vec<WindowId>> {
        self.write(move |file| collecting::add_windows(file, source, &windows))
    }

    fn commit_page(&self, page: PageCommit) -> JournalFuture<'_, ()> {
        self.write(move |file| collecting::commit_page(file, &page))
    }

    fn restart_window(&self, window: WindowId, requests: u64) -> JournalFuture<'_, ()> {
        self.write(move |file| collecting::restart_window(file, window, requests))
    }

    fn split_window(&self, window: WindowId, parts: [NewWindow; 2]) -> JournalFuture<'_, [WindowId; 2]> {
        self.write(move |file| collecting::split_window(file, window, parts))
    }

    fn keys_within(&self, source: SourceId, range: TimeRange) -> JournalFuture<'_, Vec<SeenKey>> {
        self.look(move |file| log::keys_within(file, source, range))
    }

    fn set_source_error(&self, source: SourceId, last_error: Option<LastError>) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::set_trouble(file, "sources", source.0, last_error.as_ref()))
    }

    fn open_sink(&self, name: &str, start: SinkStart) -> JournalFuture<'_, SinkState> {
        let name = name.to_owned();
        self.write(move |file| delivering::open_sink(file, &name, start))
    }

    fn retire_sinks(&self, active: Vec<String>) -> JournalFuture<'_, Vec<String>> {
        self.write(move |file| delivering::retire_sinks(file, &active))
    }

    fn sources(&self) -> JournalFuture<'_, Vec<SourceInfo>> {
        self.look(log::sources)
    }

    fn next_batch(
        &self,
        after: Seq,
        sources: Vec<SourceId>,
        max_events: u64,
        max_bytes: u64,
    ) -> JournalFuture<'_, PendingBatch> {
        let limits = BatchLimits { max_events, max_bytes };
        self.look(move |file| log::next_batch(file, after, &sources, limits))
    }

    fn read(&self, first: Seq, last: Seq, sources: Vec<SourceId>, limit: usize) -> JournalFuture<'_, Vec<RecordBlock>> {
        self.look(move |file| log::read(file, first, last, &sources, limit))
    }

    fn prepare_batch(&self, sink: SinkId, first: Seq, last: Seq, fingerprint: String) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::prepare_batch(file, sink, first, last, &fingerprint))
    }

    fn add_rollback_records(&self, sink: SinkId, outputs: Vec<RollbackRecord>) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::add_rollback_records(file, sink, &outputs))
    }

    fn commit_batch(&self, sink: SinkId, delivery: Delivery) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::commit_batch(file, sink, &delivery))
    }

    fn abort_batch(&self, sink: SinkId) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::abort_batch(file, sink))
    }

    fn set_sink_error(&self, sink: SinkId, last_error: Option<LastError>) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::set_trouble(file, "sinks", sink.0, last_error.as_ref()))
    }

    fn identity(&self) -> JournalFuture<'_, String> {
        self.look(totals::identity)
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.head.clone()
    }

    fn full(&self) -> watch::Receiver<bool> {
        self.full.clone()
    }

    fn trim(&self, visible_before: Timestamp, keys_before: Timestamp) -> JournalFuture<'_, u64> {
        Box::pin(self.trim_in_steps(visible_before, keys_before))
    }

    fn summary(&self) -> JournalFuture<'_, JournalStats> {
        self.look(summary::summary)
    }
}
