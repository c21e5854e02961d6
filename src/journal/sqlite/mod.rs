//! The journal in one SQLite file.
//!
//! ```text
//!   collect, deliver  --calls that change--> [Writer]   one thread, one connection; calls share commits
//!                     --calls that read----> [Readers]  a few connections, one unchanging state each
//!                                               |
//!                     <--head, full------- [Publisher]  after each commit
//! ```
//!
//! | File | Contents |
//! |---|---|
//! | `schema` | the data directory, the tables, opening |
//! | `connections` | writer and readers |
//! | `collecting`, `staging` | sources, windows, scans, pages; blocks of open windows |
//! | `coverage` | states of time, with evidence |
//! | `delivering` | sinks, positions, batch intents |
//! | `hourly` | events per hour |
//! | `log`, `snapshot` | reads; reading a journal that may be in use |
//! | `known_ids` | finds keys by their ids |
//! | `trimming` | deletes events and keys while a pipeline runs |
//! | `admin` | what an operator changes while none does |
//!
//! SQLite ensures durability: a write-ahead log with `synchronous = FULL`, so that a commit survives power loss.

mod admin;
#[cfg(test)]
mod admin_tests;
mod by_source;
mod collecting;
mod connections;
mod coverage;
#[cfg(test)]
mod crash_tests;
mod delivering;
mod hourly;
mod known_ids;
mod log;
mod schema;
mod sink_inputs;
mod snapshot;
mod sql;
mod staging;
#[cfg(test)]
mod tests;
mod totals;
mod trimming;
mod unwritten;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::watch;

use super::data_dir;
use super::lock::DirectoryLock;
use super::{
    BatchCommit, BlockVisitor, CollectJournal, DeliverJournal, DueRecheck, EvidenceRow, JournalError, JournalFuture,
    JournalSnapshot, JournalStats, KnownRecords, LastError, LatenessCounts, LogReader, NewWindow, PageCommit,
    PendingBatch, PendingSource, RecordBlock, Redeliver, RedeliverPreview, RequestCounts, Rewind, RewindPreview,
    RollbackRecord, ScanSpec, SeenKey, Seq, SinkEdit, SinkHistory, SinkId, SinkProgress, SinkStart, SinkState,
    SnapshotQuery, SourceEdit, SourceHistory, SourceId, SourceInfo, SourceRegistration, SourceState, WindowId,
};
use crate::event::EventId;
use crate::time::{TimeRange, Timestamp};
use crate::units::ByteSize;

use connections::{Readers, Writer};
use known_ids::KnownIds;
use log::BatchLimits;
use sql::SqliteError;
use totals::{Publisher, Totals};
use unwritten::{Component, UnwrittenErrors};

pub use schema::JOURNAL_FILE;

/// Where the journal is and how large it may become.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The directory of the journal and its lock; created if it does not exist.
    pub data_dir: PathBuf,
    /// Bytes of compressed events at which [`CollectJournal::full`] becomes true. Keys and indexes come on top: about 35
    /// bytes per event for as long as the overlap needs its key.
    pub max_size: ByteSize,
}

/// The journal in one SQLite file. Share it as `Arc<dyn Journal>`; dropping the last one finishes the queued calls, closes
/// the file and unlocks the directory.
#[derive(Debug)]
pub struct SqliteJournal {
    // Fields are dropped in this order: readers and writer close the file before the lock is released.
    readers: Arc<Readers>,
    writer: Writer,
    known_ids: Arc<KnownIds>,
    head: watch::Receiver<Seq>,
    full: watch::Receiver<bool>,
    unwritten: Arc<UnwrittenErrors>,
    path: String,
    _lock: DirectoryLock,
}

impl SqliteJournal {
    /// Opens the journal of a directory, or creates one. Blocks for a few disk accesses, or for a recovery after a crash.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another process uses the directory, [`JournalError::Unsafe`] if others could change it,
    /// [`JournalError::Damaged`] if the file is damaged or
    /// is not a journal, [`JournalError::OtherVersion`] if another version of auditflow wrote it,
    /// [`JournalError::NotOpened`] if the file system returns an error. Nothing is deleted in any case.
    pub fn open(options: &JournalOptions) -> Result<Self, JournalError> {
        let shown_path = options.data_dir.join(JOURNAL_FILE).display().to_string();
        let io_error = |error: std::io::Error| SqliteError::Storage(error.to_string()).at_open(&shown_path);
        let directory = data_dir::open(&options.data_dir)?;
        schema::warn_of_network(&directory);
        let lock = DirectoryLock::take(&directory)?;
        let path = directory.join(JOURNAL_FILE);
        // SQLite takes an empty file as a new database and gives its other files the same permissions.
        data_dir::open_file(&path)?;
        data_dir::sync(&directory).map_err(io_error)?;
        let (connection, totals) = open_file(&path).map_err(|error| error.at_open(&shown_path))?;
        let publisher = Publisher::new(options.max_size.0, totals);
        let (head, full) = (publisher.head(), publisher.full());
        let writer = Writer::start(connection, publisher).map_err(io_error)?;
        let readers = Arc::new(Readers::new(path));
        let unwritten = Arc::new(UnwrittenErrors::open(&options.data_dir));
        Ok(Self { readers, writer, known_ids: Arc::default(), head, full, unwritten, path: shown_path, _lock: lock })
    }

    /// Reads a snapshot of the journal of a directory without opening it for work: takes no lock, changes nothing, and
    /// works whether a pipeline runs or not. `None` if no pipeline has run there yet. Blocks for a few disk accesses.
    ///
    /// # Errors
    /// [`JournalError::NotRead`] if the file cannot be read, [`JournalError::OtherVersion`] if another version of
    /// auditflow wrote it, [`JournalError::Damaged`] if it is damaged or is not a journal.
    pub fn snapshot(data_dir: &Path, query: &SnapshotQuery<'_>) -> Result<Option<JournalSnapshot>, JournalError> {
        snapshot::snapshot(data_dir, query)
    }

    /// What the journal of a directory knows of a sink, with the same care as [`Self::snapshot`]. Do not call it in the process
    /// that has the journal open (see [`lock::owner`](super::lock::owner)).
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub fn sink_progress(data_dir: &Path, sink: &str) -> Result<SinkProgress, JournalError> {
        snapshot::sink_progress(data_dir, sink)
    }

    /// Passes the events that the journal of a directory holds to a visitor, with the same care as [`Self::snapshot`].
    /// Returns whether there is a journal. Blocks for as long as reading all of it takes.
    ///
    /// # Errors
    /// As [`Self::snapshot`].
    pub fn visit(data_dir: &Path, visitor: &mut dyn BlockVisitor) -> Result<bool, JournalError> {
        snapshot::visit(data_dir, visitor)
    }

    /// A call that changes the journal: done and durable when it returns.
    fn write<T, W>(&self, work: W) -> JournalFuture<'_, T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        Box::pin(async move { self.writer.run(work).await.map_err(|error| error.at(&self.path)) })
    }

    /// A call that only reads.
    fn query<T, W>(&self, work: W) -> JournalFuture<'_, T>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        Box::pin(async move { self.readers.clone().run(work).await.map_err(|error| error.at(&self.path)) })
    }

    /// Stores the last error of a component, beside the journal if the journal cannot be written.
    fn set_last_error<W>(&self, component: Component, error: Option<LastError>, work: W) -> JournalFuture<'_, ()>
    where
        W: FnOnce(&Connection) -> Result<(), SqliteError> + Send + 'static,
    {
        Box::pin(async move {
            match self.write(work).await {
                Ok(()) => self.unwritten.stored(component),
                Err(JournalError::Storage { .. }) => self.unwritten.set(component, error),
                Err(other) => return Err(other),
            }
            Ok(())
        })
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
        let mut next = Some(trimming::FIRST_KEYS);
        while let Some(after) = next {
            next = self.write(move |file| trimming::trim_keys(file, keys_before, after)).await?;
        }
        self.known_ids.trimmed();
        Ok(trimmed)
    }
}

fn open_file(path: &Path) -> Result<(Connection, Totals), SqliteError> {
    let connection = schema::open_writer(path)?;
    let totals = Totals::read(&connection)?;
    Ok((connection, totals))
}

impl CollectJournal for SqliteJournal {
    fn open_source(&self, source: SourceRegistration) -> JournalFuture<'_, SourceState> {
        self.write(move |file| collecting::open_source(file, &source))
    }

    fn add_windows(&self, source: SourceId, windows: Vec<NewWindow>) -> JournalFuture<'_, Vec<WindowId>> {
        self.write(move |file| collecting::add_windows(file, source, &windows))
    }

    fn begin_scan(&self, window: WindowId, scan: ScanSpec, requests: RequestCounts) -> JournalFuture<'_, ()> {
        self.write(move |file| collecting::begin_scan(file, window, &scan, requests))
    }

    fn commit_page(&self, page: PageCommit) -> JournalFuture<'_, ()> {
        self.write(move |file| collecting::commit_page(file, &page))
    }

    fn restart_window(&self, window: WindowId, requests: RequestCounts) -> JournalFuture<'_, ()> {
        self.write(move |file| collecting::restart_window(file, window, requests))
    }

    fn split_window(&self, window: WindowId, parts: [NewWindow; 2]) -> JournalFuture<'_, [WindowId; 2]> {
        self.write(move |file| collecting::split_window(file, window, parts))
    }

    fn discard_windows(&self, source: SourceId) -> JournalFuture<'_, ()> {
        self.write(move |file| collecting::delete_open_windows(file, source))
    }

    fn keys_within(&self, source: SourceId, range: TimeRange) -> JournalFuture<'_, Vec<SeenKey>> {
        self.query(move |file| collecting::keys_within(file, source, range))
    }

    fn known_records(&self, source: SourceId, ids: Vec<EventId>) -> JournalFuture<'_, KnownRecords> {
        let known_ids = self.known_ids.clone();
        self.query(move |file| {
            let keys = known_ids.find(file, source, &ids)?;
            Ok(KnownRecords { keys, forgotten: trimming::forgotten(file, source)? })
        })
    }

    fn due_rechecks(&self, source: SourceId, now: Timestamp, limit: usize) -> JournalFuture<'_, Vec<DueRecheck>> {
        self.query(move |file| coverage::due_rechecks(file, source, now, limit))
    }

    fn lateness(&self, source: SourceId) -> JournalFuture<'_, LatenessCounts> {
        self.query(move |file| Ok(collecting::lateness_of(file, Some(source))?.take(source)))
    }

    fn cut_coverage(&self, source: SourceId, from: Timestamp) -> JournalFuture<'_, ()> {
        self.write(move |file| admin::cut_coverage(file, source, from))
    }

    fn set_source_error(&self, source: SourceId, last_error: Option<LastError>) -> JournalFuture<'_, ()> {
        let error = last_error.clone();
        self.set_last_error(source.into(), error, move |file| collecting::set_error(file, source, last_error.as_ref()))
    }

    fn full(&self) -> watch::Receiver<bool> {
        self.full.clone()
    }

    fn source_history(&self, name: &str) -> JournalFuture<'_, Option<SourceHistory>> {
        let name = name.to_owned();
        self.query(move |file| admin::source_history(file, &name))
    }

    fn preview_rewind(&self, rewind: Rewind) -> JournalFuture<'_, Option<RewindPreview>> {
        self.query(move |file| admin::preview_rewind(file, &rewind))
    }

    fn blocks_without_keys(
        &self,
        source: SourceId,
        from: Timestamp,
        after: Seq,
        limit: usize,
    ) -> JournalFuture<'_, Vec<RecordBlock>> {
        self.query(move |file| admin::blocks_without_keys(file, source, from, after, limit))
    }

    fn evidence(&self, source: &str, range: TimeRange) -> JournalFuture<'_, Vec<EvidenceRow>> {
        let source = source.to_owned();
        self.query(move |file| admin::evidence(file, &source, range))
    }

    fn accept(&self, source: &str, range: TimeRange) -> JournalFuture<'_, u64> {
        let source = source.to_owned();
        self.write(move |file| admin::accept(file, &source, range))
    }

    fn edit_source(&self, edit: SourceEdit) -> JournalFuture<'_, ()> {
        Box::pin(async move {
            self.write(move |file| admin::edit_source(file, &edit)).await?;
            self.known_ids.clear();
            Ok(())
        })
    }
}

impl LogReader for SqliteJournal {
    fn sources(&self) -> JournalFuture<'_, Vec<SourceInfo>> {
        self.query(log::sources)
    }

    fn next_batch(
        &self,
        after: Seq,
        sources: Vec<SourceId>,
        max_events: u64,
        max_bytes: u64,
    ) -> JournalFuture<'_, PendingBatch> {
        let limits = BatchLimits { max_events, max_bytes };
        self.query(move |file| log::next_batch(file, after, &sources, limits))
    }

    fn read(&self, first: Seq, last: Seq, sources: Vec<SourceId>, limit: usize) -> JournalFuture<'_, Vec<RecordBlock>> {
        self.query(move |file| log::read(file, first, last, &sources, limit))
    }

    fn head(&self) -> watch::Receiver<Seq> {
        self.head.clone()
    }

    fn identity(&self) -> JournalFuture<'_, String> {
        self.query(totals::identity)
    }

    fn stats(&self) -> JournalFuture<'_, JournalStats> {
        let unwritten = Arc::clone(&self.unwritten);
        self.query(move |file| {
            let mut stats = log::stats(file)?;
            unwritten.apply(file, &mut stats)?;
            Ok(stats)
        })
    }
}

impl DeliverJournal for SqliteJournal {
    fn open_sink(&self, name: &str, start: SinkStart) -> JournalFuture<'_, SinkState> {
        let name = name.to_owned();
        self.write(move |file| delivering::open_sink(file, &name, start))
    }

    fn set_sink_inputs(&self, sink: SinkId, inputs: Vec<String>, passed: Seq) -> JournalFuture<'_, Vec<PendingSource>> {
        self.write(move |file| sink_inputs::set_inputs(file, sink, &inputs, passed))
    }

    fn retire_sinks(&self, active: Vec<String>) -> JournalFuture<'_, Vec<String>> {
        self.write(move |file| delivering::retire_sinks(file, &active))
    }

    fn prepare_batch(&self, sink: SinkId, first: Seq, last: Seq, fingerprint: String) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::prepare_batch(file, sink, first, last, &fingerprint))
    }

    fn add_rollback_records(&self, sink: SinkId, records: Vec<RollbackRecord>) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::add_rollback_records(file, sink, &records))
    }

    fn commit_batch(&self, sink: SinkId, batch: BatchCommit) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::commit_batch(file, sink, &batch))
    }

    fn abort_batch(&self, sink: SinkId) -> JournalFuture<'_, ()> {
        self.write(move |file| delivering::abort_batch(file, sink))
    }

    fn set_sink_error(&self, sink: SinkId, last_error: Option<LastError>) -> JournalFuture<'_, ()> {
        let error = last_error.clone();
        self.set_last_error(sink.into(), error, move |file| delivering::set_error(file, sink, last_error.as_ref()))
    }

    fn pass_through(&self) -> JournalFuture<'_, ()> {
        self.write(|_| Ok(()))
    }

    fn trim(&self, visible_before: Timestamp, keys_before: Timestamp) -> JournalFuture<'_, u64> {
        Box::pin(self.trim_in_steps(visible_before, keys_before))
    }

    fn sink_history(&self, name: &str) -> JournalFuture<'_, Option<SinkHistory>> {
        let name = name.to_owned();
        self.query(move |file| admin::sink_history(file, &name))
    }

    fn preview_redeliver(&self, redeliver: Redeliver) -> JournalFuture<'_, Option<RedeliverPreview>> {
        self.query(move |file| admin::preview_redeliver(file, &redeliver))
    }

    fn edit_sink(&self, edit: SinkEdit) -> JournalFuture<'_, ()> {
        self.write(move |file| admin::edit_sink(file, &edit))
    }
}
