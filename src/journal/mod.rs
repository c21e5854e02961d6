//! The journal: an ordered log of raw events, and the record of which time is covered.
//!
//! ```text
//!   collect                            journal                                  deliver
//!   page + keys + evidence --txn-->  staged blocks of the open window
//!   last page of a window  --txn-->  blocks get sequence numbers: visible ---->  read from the sink's position
//!                                    coverage grows in the same transaction      prepare --txn--> write --> commit --txn-->
//! ```
//!
//! The journal is one SQLite file on a local disk ([`sqlite`]): one process, one writer, transactions that join events,
//! keys and coverage, and nothing else to operate. A second machine gets a journal of its own: a shard is a journal.
//!
//! The contract has three traits, one for each kind of caller, so that a fake implements only what its test needs:
//!
//! ```text
//! CollectJournal   windows, pages, coverage, dedup keys; rewind, reset, rename and remove a source
//! LogReader        sources, batches, blocks, head, identity, stats
//! DeliverJournal   LogReader, positions, batch intents, trimming; redeliver, reset, rename and remove a sink
//! Journal          CollectJournal + DeliverJournal: what the runtime holds
//! ```
//!
//! Rules, which the conformance suite checks:
//!
//! 1. Each call is one transaction: after a crash all of it is there or nothing is. ([`DeliverJournal::trim`] alone is
//!    several, so that no other call waits long.) A call that returns an error has changed nothing and can be repeated.
//! 2. A call that has returned `Ok` survives power loss.
//! 3. Blocks of an open window are invisible. Completing the window gives all its blocks consecutive sequence numbers and
//!    stores the state of its time with the evidence for it, in one transaction. Blocks with earlier times come first; a block that holds a
//!    record without a time comes before all others; equal blocks keep the order of their pages.
//! 4. While a pipeline runs, only [`DeliverJournal::trim`], [`CollectJournal::restart_window`] and
//!    [`CollectJournal::split_window`] delete events; the last two delete only events that were never visible.
//! 5. An operator's change ([`Edit`]) is applied as a whole or not at all.

mod admin;
mod block;
mod codec;
mod collecting;
#[cfg(test)]
pub(crate) mod conformance;
#[cfg(test)]
mod conformance_coverage;
mod contract;
mod coverage;
pub mod data_dir;
mod delivering;
mod error;
mod lateness;
pub mod lock;
mod rollback;
pub mod shard_dirs;
pub mod sqlite;
mod stats;

pub use admin::{
    ComponentKind, Edit, Redeliver, RedeliverPreview, Rewind, RewindPreview, SinkEdit, SinkHistory, SourceEdit,
    SourceHistory,
};
pub use block::{
    BlockBuilder, BlockKeys, BlockRecord, DecodedBlock, EncodedBlock, RecordBlock, SeenKey, Seq, SourceId,
};
pub use collecting::{
    AfterPage, BlockVisitor, KnownRecords, NewWindow, OpenWindow, PageCommit, RequestCounts, ScanProgress, ScanSpec,
    SourceInfo, SourceRegistration, SourceState, WindowId,
};
pub use contract::{CollectJournal, DeliverJournal, Journal, JournalFuture, LogReader};
pub use coverage::{Completion, CoverageState, DoubtfulTime, DueRecheck, EvidenceRow, WindowEvidence, WindowKind};
pub use delivering::{
    BatchCommit, BatchIntent, NormalizeFindings, PendingBatch, PendingSource, SinkId, SinkProgress, SinkStart,
    SinkState,
};
pub use error::JournalError;
pub use lateness::LatenessCounts;
pub use rollback::{FileBefore, FileRecord, KafkaRejection, RollbackRecord, S3Location, S3ObjectRecord};
pub use sqlite::{JournalOptions, SqliteJournal};
pub use stats::{
    HourlyEvents, JournalSnapshot, JournalStats, LastError, SinkStats, SnapshotQuery, SourceSnapshot, SourceStats,
};
