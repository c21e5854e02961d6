//! The values of the deliver loop: what it gets, how it ends, and why it fails.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::journal::{DeliverJournal, JournalError, LastError, Seq, SinkStart};
use crate::sinks::{BatchOptions, EventForm, Sink, SinkError};
use crate::transform::condition::Condition;
use crate::transform::redact::Redactions;

/// A sink as the pipeline file describes it, ready to run.
pub struct SinkTask {
    /// Its name in the pipeline file. The journal stores its position under this name.
    pub name: String,
    /// The target.
    pub sink: Box<dyn Sink>,
    /// The sources that the sink reads, each once. Events of other sources are skipped.
    pub routes: Vec<Route>,
    /// When a batch closes.
    pub batch: BatchOptions,
    /// Where the sink begins at its first start.
    pub start: SinkStart,
    /// The file for events that the target can never accept.
    pub dead_letter: PathBuf,
}

impl fmt::Debug for SinkTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkTask").field("name", &self.name).field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// One source that a sink reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The source's name in the pipeline file.
    pub source: String,
    /// The form of its events.
    pub form: EventForm,
    /// Which of its events are delivered; `None` for all.
    pub condition: Option<Condition>,
    /// What is redacted of them, after the condition.
    pub redactions: Redactions,
}

/// What a sink's loop works with.
#[derive(Clone)]
pub struct SinkContext {
    /// The source of events.
    pub journal: Arc<dyn DeliverJournal>,
    /// The clock for the age of events.
    pub clock: SharedClock,
    /// The seed for the jitter of retries.
    pub rng_seed: u64,
    /// Cancel it when sources add no more events: everything visible is delivered without waiting for a batch's limits, then
    /// the loop ends.
    pub drain: CancellationToken,
    /// Cancel it to stop: the current batch is finished, no other one is started, and every wait ends.
    pub shutdown: CancellationToken,
}

impl fmt::Debug for SinkContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkContext")
            .field("clock", &self.clock)
            .field("rng_seed", &self.rng_seed)
            .finish_non_exhaustive()
    }
}

/// How a sink's loop ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkEnd {
    /// The sink.
    pub name: String,
    /// Whether everything that was visible has been delivered.
    pub drained: bool,
    /// The last sequence number that was delivered or skipped.
    pub position: Seq,
    /// Batches committed by this run.
    pub batches: u64,
    /// Events delivered by this run.
    pub delivered: u64,
    /// Events that filters dropped in this run.
    pub filtered: u64,
    /// Events that went to the dead letter in this run.
    pub dead_lettered: u64,
    /// Bytes written by this run.
    pub bytes: u64,
    /// The error that blocked delivery when the loop ended.
    pub last_error: Option<LastError>,
    /// Whether it ended because nobody reads what it writes any more.
    pub reader_closed: bool,
}

impl SinkEnd {
    pub(super) fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self {
            name,
            drained: false,
            position: 0,
            batches: 0,
            delivered: 0,
            filtered: 0,
            dead_lettered: 0,
            bytes: 0,
            last_error: None,
            reader_closed: false,
        }
    }
}

/// Why a sink's loop ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    /// The journal is damaged, has another version, or was called in the wrong state.
    #[error(transparent)]
    Journal(JournalError),
    /// The counters of a batch do not add up. The position has not moved.
    #[error(
        "events {first} to {last} for sink `{sink}` do not add up: expected {expected}, found {found}; the sink has stopped before its position moved; please report this bug"
    )]
    Miscounted {
        /// The sink.
        sink: String,
        /// First sequence number of the batch.
        first: Seq,
        /// Last sequence number of the batch.
        last: Seq,
        /// Events that the journal or the loop counted.
        expected: u64,
        /// Events that were found.
        found: u64,
    },
    /// Writing more would break the sink's delivery guarantee.
    #[error("{message}; {hint}")]
    Stopped {
        /// What happened.
        message: String,
        /// What the user must do before the next start.
        hint: String,
    },
    /// The journal has events of a vendor that this build does not support.
    #[error(
        "source `{name}` has the unknown vendor `{vendor}`; run the version of auditflow that collected its events"
    )]
    UnknownVendor {
        /// The source.
        name: String,
        /// Its vendor.
        vendor: String,
    },
    /// The sink cannot be built from its settings.
    #[error("cannot be started: {0}")]
    NotBuilt(String),
}

/// Why a step of the loop failed, by what the loop does about it.
#[derive(Debug)]
pub(super) enum StepError {
    /// Retry after a wait.
    Transient { message: String, hint: String },
    /// Retry immediately.
    Again { reason: String },
    /// Nobody reads what the sink writes any more: the loop ends.
    ReaderClosed,
    /// A retry does not help.
    Fatal(DeliverError),
}

impl From<JournalError> for StepError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Storage { .. } => Self::Transient {
                message: error.to_string(),
                hint: "free space on the disk that holds `data_dir`, or fix the disk".to_owned(),
            },
            other => Self::Fatal(DeliverError::Journal(other)),
        }
    }
}

impl From<SinkError> for StepError {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Transient { message, hint } => Self::Transient { message, hint },
            SinkError::Again { reason } => Self::Again { reason },
            SinkError::Stopped { message, hint } => Self::Fatal(DeliverError::Stopped { message, hint }),
            SinkError::ReaderClosed => Self::ReaderClosed,
            SinkError::Journal(error) => error.into(),
        }
    }
}

impl From<DeliverError> for StepError {
    fn from(error: DeliverError) -> Self {
        Self::Fatal(error)
    }
}
