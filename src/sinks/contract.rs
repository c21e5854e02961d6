//! The contract between the deliver loop and a sink, and the values that pass between them.
//!
//! ```text
//! start:      recover_position(journal, generation, state) -> the position that the target stores, if it stores one
//! per batch:  begin(range) -> write(seq, event)* -> [flush] -> ... -> commit -> the journal moves the position
//!                              |                |
//!                              |              before an output is touched for the first time in a batch, the sink
//!                              |              records it with RollbackLog::record
//!                            Buffered | FlushDue | Rejected (goes to the dead letter at once)
//! after a crash or an error:       prepare_retry(records) -> the same range again
//! after a changed configuration:   rollback(records)      -> new batches
//! ```
//!
//! Every method is required: a method that a sink could forget would lose or overwrite data.

use std::time::Duration;

use futures_util::future::BoxFuture;
use serde::Deserialize;

use crate::event::{Event, EventId};
use crate::journal::{JournalError, RollbackRecord, Seq};
#[cfg(any(feature = "kafka", feature = "s3"))]
use crate::secret::SecretMask;
use crate::units::{ByteSize, Span};

/// The form in which an event reaches a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventForm {
    /// Normalized: encoded in the sink's schema.
    Normalized,
    /// Directly from a source, without a `normalize` transform: only the vendor's record.
    Raw,
}

/// The range of journal sequence numbers that a batch covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRange {
    /// First sequence number.
    pub first: Seq,
    /// Last sequence number.
    pub last: Seq,
}

/// What the journal knows about a sink when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPosition<'a> {
    /// The identity of the journal that the sequence numbers belong to; empty if there is no journal yet.
    pub journal: &'a str,
    /// The generation of the sink. It grows when the sink redelivers, is renamed or is reset. The same sequence numbers in
    /// two generations are different batches: what the target holds from an earlier generation must not be overwritten and
    /// does not count as delivered.
    pub generation: u64,
    /// [`Committed::state`] of the last batch that returned one, in this process or an earlier one.
    pub state: Option<&'a str>,
    /// The last event that the journal counts as delivered by this sink.
    pub position: Seq,
    /// The last event that the target may hold: the end of an unfinished batch, or the position.
    pub up_to: Seq,
}

/// What [`Sink::write`] did with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a rejected event belongs in the dead letter"]
pub enum WriteOutcome {
    /// The event is in the sink's buffers.
    Buffered,
    /// The event is in the sink's buffers, and they are full: call [`Sink::flush`] before the next event.
    FlushDue,
    /// The target can never accept the event. It is not in the buffers and belongs in the dead letter.
    Rejected {
        /// Why, in one sentence.
        reason: String,
    },
}

/// The result of a committed batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Events written: all events passed to [`Sink::write`] since [`Sink::begin`] except the rejected ones.
    pub events: u64,
    /// Bytes written, after compression.
    pub bytes: u64,
    /// What this sink needs after a restart. The journal stores it in the same transaction as the position; `None` keeps
    /// the earlier value.
    pub state: Option<String>,
}

/// Where a sink records an output, durably, before it touches it.
pub trait RollbackLog: Send {
    /// Records outputs. They are durable when the future resolves.
    fn record(&mut self, records: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>>;
}

/// Why a sink could not write.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// May pass without a restart (disk full, permission denied, server down): retried without limit.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
        /// What the user can do.
        hint: String,
    },
    /// Not an error: the sink has learned something about this batch and needs it again immediately. It returns this a
    /// bounded number of times per batch.
    #[error("{reason}")]
    Again {
        /// What it has learned.
        reason: String,
    },
    /// Writing more would break the delivery guarantee, and a retry does not help: the sink stops, its position stays.
    #[error("{message}")]
    Stopped {
        /// What happened.
        message: String,
        /// What the user must do before the next start.
        hint: String,
    },
    /// Nobody reads what it prints any more, as after `| head`: the run has done what was asked for.
    #[error("the reader has closed the output")]
    ReaderClosed,
    /// A rollback record could not be stored.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

#[cfg(any(feature = "kafka", feature = "s3"))]
impl SinkError {
    /// The same without secrets, which the answers of a target may repeat.
    #[must_use]
    pub(super) fn masked(self, mask: &SecretMask) -> Self {
        match self {
            Self::Transient { message, hint } => {
                Self::Transient { message: mask.mask(&message), hint: mask.mask(&hint) }
            }
            Self::Stopped { message, hint } => Self::Stopped { message: mask.mask(&message), hint: mask.mask(&hint) },
            Self::Again { reason } => Self::Again { reason: mask.mask(&reason) },
            Self::ReaderClosed | Self::Journal(_) => self,
        }
    }
}

/// A target that events are written to.
///
/// A sink never sleeps and never retries: the deliver loop does. A sink never reads the journal.
pub trait Sink: Send {
    /// A string that changes whenever a changed configuration writes different bytes, or writes them elsewhere.
    fn fingerprint(&self) -> &str;

    /// Connects to the target with the real credentials and changes nothing. An output that names its journal must name the
    /// one of `stored`.
    ///
    /// # Errors
    /// The reason why this sink cannot write, or may not.
    fn healthcheck<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Opens the sink: called before the first batch, and again after an error. Returns the last sequence number that the
    /// target itself stores as delivered, or `None` if the target does not store a position. It takes precedence over the
    /// journal's position if it is higher.
    ///
    /// # Errors
    /// The target cannot be reached, or its position belongs to another journal.
    fn recover_position<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<Option<Seq>, SinkError>>;

    /// Takes over an output that belongs to another journal, or to a later state of this one: from now on it belongs to this
    /// journal. Changes nothing else of it.
    ///
    /// # Errors
    /// The target cannot be reached or written, or must be taken over in another way, which the error names.
    fn adopt<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Starts a batch and discards what an unfinished batch left in memory.
    fn begin(&mut self, range: BatchRange);

    /// Encodes the event with sequence number `seq` into the sink's own buffers. Synchronous; does not touch the target.
    ///
    /// # Errors
    /// Only if the encoder fails, for example because memory ran out. An event that cannot be written is
    /// [`WriteOutcome::Rejected`].
    fn write(&mut self, seq: Seq, event: &Event<'_>, form: EventForm) -> Result<WriteOutcome, SinkError>;

    /// Writes out the buffers and records each output in `log` before it is touched for the first time in this batch. Not
    /// durable yet.
    ///
    /// # Errors
    /// The target cannot be written.
    fn flush<'a>(&'a mut self, log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Writes out the rest and makes the batch durable. A batch may have no events, if filters dropped all of them.
    /// `last_event` is the id of the last event that was read for the batch, whether a filter dropped it or not: sinks that
    /// store a position use it to identify the batch.
    ///
    /// The deliver loop has made the rejected events durable in the dead letter before it calls this. It compares
    /// [`Committed::events`] with its own count and stops the sink, before its position moves, if they differ.
    ///
    /// # Errors
    /// The target cannot be written.
    fn commit<'a>(
        &'a mut self,
        last_event: Option<EventId>,
        log: &'a mut dyn RollbackLog,
    ) -> BoxFuture<'a, Result<Committed, SinkError>>;

    /// The batch of `records` is unfinished and is written again, in the same range and with the same settings. Restores the
    /// target as [`rollback`](Self::rollback) does, but may keep what the next attempt would only write again in the same
    /// bytes. `begin` and the whole batch follow, or `rollback`.
    ///
    /// # Errors
    /// The target cannot be reached, or an output could not be restored.
    fn prepare_retry<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Restores the target to its state before an unfinished batch touched `records`. Can be called again after an error,
    /// by another process, and with the records of another configuration or type of this sink. Records of another type are
    /// passed to [`roll_back_orphans`](super::orphans::roll_back_orphans).
    ///
    /// # Errors
    /// An output could not be restored.
    fn rollback<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>>;
}

/// A batch closes when it reaches the first of these limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// At most this many events.
    pub max_events: u64,
    /// About this many bytes of raw records.
    pub max_bytes: u64,
    /// How long the oldest event waits.
    pub timeout: Duration,
}

/// `batch:` in the pipeline file. Missing values come from the sink's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// Close a batch when it has this many events.
    pub max_events: Option<std::num::NonZeroU64>,
    /// Close a batch when it has about this many bytes of raw records.
    pub max_bytes: Option<ByteSize>,
    /// Close a batch when its oldest event has waited this long: seconds, or a duration such as `15m`.
    pub timeout_secs: Option<Span>,
}

impl BatchSettings {
    /// Applies the settings on top of a sink's defaults.
    #[must_use]
    pub fn over(&self, defaults: BatchOptions) -> BatchOptions {
        BatchOptions {
            max_events: self.max_events.map_or(defaults.max_events, std::num::NonZeroU64::get),
            max_bytes: self.max_bytes.map_or(defaults.max_bytes, |size| size.0.max(1)),
            timeout: self.timeout_secs.map_or(defaults.timeout, |span| span.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_override_defaults() {
        let defaults = BatchOptions { max_events: 10, max_bytes: 100, timeout: Duration::from_secs(1) };
        let settings: BatchSettings =
            serde_json::from_str(r#"{"max_bytes": "64MiB", "timeout_secs": 2.5}"#).expect("settings");
        let expected = BatchOptions { max_events: 10, max_bytes: 64 << 20, timeout: Duration::from_millis(2_500) };
        assert_eq!(settings.over(defaults), expected);
        assert_eq!(BatchSettings::default().over(defaults), defaults);
    }

    #[test]
    fn a_batch_of_no_events_is_rejected() {
        assert!(serde_json::from_str::<BatchSettings>(r#"{"max_events": 0}"#).is_err());
    }
}
