//! The journal: the ordered log between collecting and delivering, and the memory of what has been covered.
//!
//! ```text
//!   collector                          journal                                  deliver loop
//!   page + keys + progress --txn-->  staged blocks of the open window
//!   last page of a window  --txn-->  blocks get sequence numbers: visible ---->  read from own position
//!                                    coverage grows in the same transaction      plan --txn--> write --> advance --txn-->
//! ```
//!
//! This module is the contract; [`sqlite`] keeps it in one SQLite file. The contract is narrow on purpose: an existing
//! distributed log could stand behind it when one machine is not enough.
//!
//! Rules that hold for every implementation, and that the conformance suite checks:
//!
//! 1. Each call is one transaction: after a crash all of it is there or none. ([`Journal::trim`] alone is several, so
//!    that nobody waits long for it.) A call that answers an error has changed nothing and can be made again.
//! 2. A call that has returned `Ok` survives power loss.
//! 3. Blocks of an open window are invisible. Completing the window gives all its blocks consecutive sequence numbers,
//!    blocks with earlier times first (a block with a record without a time before them all, equal ones in the order of
//!    their pages), and adds the window to the coverage, in one transaction.
//! 4. Nothing is deleted but by [`Journal::trim`], [`Journal::restart_window`] and [`Journal::split_window`] (the last
//!    two delete only what was never visible).

pub mod block;
mod codec;
mod collecting;
#[cfg(test)]
pub(crate) mod conformance;
mod delivering;
pub mod editing;
mod error;
mod figures;
mod lateness;
pub mod lock;
mod picture;
mod rollback;
pub mod sqlite;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

pub use block::{BlockBuilder, BlockRecord, DecodedBlock, EncodedBlock, RecordBlock, SeenKey};
pub use collecting::{
    AfterPage, NewWindow, OpenWindow, PageCommit, ScanProgress, SourceRegistration, SourceState, WindowKind,
};
pub use delivering::{BatchIntent, Delivery, PendingBatch, SinkStart, SinkState, SourceInfo};
pub use error::JournalError;
pub use figures::{JournalStats, LastError, SinkStats, SourceStats};
pub use lateness::LatenessCounts;
pub use picture::{JournalSnapshot, Look, SourceSnapshot};
pub use rollback::{FileBefore, FileRecord, KafkaRejection, RollbackRecord, S3Location, S3ObjectRecord};
pub use sqlite::{JournalOptions, SqliteJournal};

use crate::time::{TimeRange, Timestamp};

/// A place in the log. The first event has 1; 0 is before the first.
pub type Seq = u64;

/// A source's number in the journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub i64);

/// A sink's number in the journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);

/// A window's number in the journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId(pub i64);

/// A call's answer.
pub type JournalFuture<'a, T> = BoxFuture<'a, Result<T, JournalError>>;

/// The log and its coverage. Shared by all tasks; calls may come at the same time.
pub trait Journal: Send + Sync {
    // --- collecting ---

    /// Begins a source: registers it at its first start and tells what is known of it.
    fn open_source(&self, source: SourceRegistration) -> JournalFuture<'_, SourceState>;

    /// Adds windows, to be walked later: all or, if one of them covers time that is covered or about to be, none. They are
    /// numbered in the order given.
    fn add_windows(&self, source: SourceId, windows: Vec<NewWindow>) -> JournalFuture<'_, Vec<WindowId>>;

    /// Appends one page and notes how far the walk has come, or completes the window. Its events are counted in the
    /// figures when they become visible, its page and requests at once.
    fn commit_page(&self, page: PageCommit) -> JournalFuture<'_, ()>;

    /// Forgets what an open window has staged; its walk begins again. `requests` were made in vain.
    fn restart_window(&self, window: WindowId, requests: u64) -> JournalFuture<'_, ()>;

    /// Replaces an open window by two that meet at `at`; forgets what it has staged. The second asks from `at - overlap`
    /// of the original: the caller gives both windows. They are of its kind and cover together what it covers.
    fn split_window(&self, window: WindowId, parts: [NewWindow; 2]) -> JournalFuture<'_, [WindowId; 2]>;

    /// The keys of all records of the source, visible or staged, whose pages reach into `range` with their records'
    /// times; pages with records without a time are always among them.
    fn keys_within(&self, source: SourceId, range: TimeRange) -> JournalFuture<'_, Vec<SeenKey>>;

    /// Notes, or with `None` clears, the trouble of a source.
    fn set_source_error(&self, source: SourceId, last_error: Option<LastError>) -> JournalFuture<'_, ()>;

    // --- delivering ---

    /// Begins a sink: registers it at its first start and tells where it stands. From now on it holds the journal back.
    /// What it has missed it is told at every start until its position has moved past the gap.
    fn open_sink(&self, name: &str, start: SinkStart) -> JournalFuture<'_, SinkState>;

    /// Marks every sink that is not among `active` as taken out: it no longer holds the journal back. Returns the names
    /// that were active until now.
    fn retire_sinks(&self, active: Vec<String>) -> JournalFuture<'_, Vec<String>>;

    /// Every source ever registered, for normalizing.
    fn sources(&self) -> JournalFuture<'_, Vec<SourceInfo>>;

    /// The next batch after `after` of the given sources, without reading its records.
    ///
    /// It is closed in the middle of a block when it has `max_events` (0 counts as 1), and at the end of the block whose
    /// records reach `max_bytes`; then `full` is true and `last` is its last event. Else it goes to the head: `last` is the
    /// head, whatever sources the last events are of, also when `events` is 0. Trimmed events are passed over. Of a block
    /// that is cut, `raw_bytes` counts its part by the number of events, not by their true lengths.
    fn next_batch(
        &self,
        after: Seq,
        sources: Vec<SourceId>,
        max_events: u64,
        max_bytes: u64,
    ) -> JournalFuture<'_, PendingBatch>;

    /// The blocks of the given sources that have events in `first..=last`, in order, at most `limit` of them. A block may
    /// begin before `first` or end after `last`: the caller cuts. After `limit` blocks it goes on behind the last one's
    /// [`RecordBlock::last`]; fewer blocks mean that there are no more.
    fn read(&self, first: Seq, last: Seq, sources: Vec<SourceId>, limit: usize) -> JournalFuture<'_, Vec<RecordBlock>>;

    /// Begins a batch between the sink's position and the head. A sink has at most one open plan.
    fn prepare_batch(&self, sink: SinkId, first: Seq, last: Seq, fingerprint: String) -> JournalFuture<'_, ()>;

    /// Records what the open plan is about to touch.
    fn add_rollback_records(&self, sink: SinkId, outputs: Vec<RollbackRecord>) -> JournalFuture<'_, ()>;

    /// The batch is durable: moves the position, adds to the counters, forgets the plan. Without an open plan it only
    /// moves the position (over events of other sources). A position never goes back.
    fn commit_batch(&self, sink: SinkId, delivery: Delivery) -> JournalFuture<'_, ()>;

    /// The open plan has been undone, or there is none.
    fn abort_batch(&self, sink: SinkId) -> JournalFuture<'_, ()>;

    /// Notes, or with `None` clears, the trouble of a sink.
    fn set_sink_error(&self, sink: SinkId, last_error: Option<LastError>) -> JournalFuture<'_, ()>;

    // --- both ---

    /// What tells this journal from all others: made with it, and never changed. A copy of the file has the same.
    fn identity(&self) -> JournalFuture<'_, String>;

    /// The newest visible event; changes wake the sinks, before the call that made them answers.
    fn head(&self) -> watch::Receiver<Seq>;

    /// Whether the size limit is reached, until a tenth of it is free again; sources pause while it is. Never true while
    /// nothing is visible: then nothing could be trimmed, and only the end of an open window can help.
    fn full(&self) -> watch::Receiver<bool>;

    /// Deletes events, oldest first and whole blocks, that every active sink has passed and that became visible before
    /// `visible_before` (the present less `retention`). Without an active sink none. Returns how many events went.
    ///
    /// Deletes too the keys of visible records of windows whose asked time ends before `keys_before`: the present less
    /// what the longest recheck looks back. Keys that live and backfill windows can meet again are held beyond that: those
    /// in the time that an open window asks for, and those around each end of the coverage, as far as the longest overlap
    /// of the source and a day more.
    fn trim(&self, visible_before: Timestamp, keys_before: Timestamp) -> JournalFuture<'_, u64>;

    /// All figures.
    fn summary(&self) -> JournalFuture<'_, JournalStats>;
}
