//! Sinks: where events land. Each makes a second attempt at the same batch harmless in its own way.
//!
//! ```text
//! deliver loop:  begin(range) -> absorb(event)* -> [flush] -> ... -> commit -> journal.commit_batch
//!                                     |               |
//!                                 sync, CPU       before a file or object is touched for the first time in a batch,
//!                                 own buffers     it is recorded with PlanLog::record
//! after a crash, a fault or a changed config:  undo(outputs) -> the same range again
//! ```
//!
//! A sink never sleeps and never retries: the deliver loop does. A sink never sees the journal but through [`PlanLog`].

pub mod batch;
pub(crate) mod blocking;
pub mod compression;
#[cfg(test)]
mod conformance;
pub mod console;
pub mod dead_letter;
pub mod encoding;
pub mod file;
pub mod foreign;
#[cfg(feature = "kafka")]
pub mod kafka;
pub mod manifest;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod registry;
#[cfg(feature = "s3")]
pub mod s3;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;

use futures_util::future::BoxFuture;

pub use batch::{BatchOptions, BatchSettings};

use crate::event::Event;
use crate::event::native::{self, RawForm};
use crate::journal::{JournalError, RollbackRecord, Seq};

/// In which form an event reaches a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventForm {
    /// Normalized: the sink's schema.
    Normalized,
    /// Straight from a source, without a `normalize` transform: the vendor's record alone.
    Raw,
}

/// The range of the journal that a batch is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRange {
    /// First sequence number.
    pub first: Seq,
    /// Last sequence number.
    pub last: Seq,
}

/// What a committed batch amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Events written.
    pub events: u64,
    /// Bytes written, after compression.
    pub bytes: u64,
}

/// An event that the outside will never take: it goes to the dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, in a sentence.
    pub reason: String,
    /// The event in the native form, its record included.
    pub event: Vec<u8>,
}

impl Refused {
    /// An event that is refused for `reason`.
    #[must_use]
    pub fn new(event: &Event<'_>, reason: String) -> Self {
        let mut encoded = Vec::new();
        native::encode(event, RawForm::Keep, &mut encoded);
        Self { reason, event: encoded }
    }
}

/// Where a sink records what it is about to touch, durably, before it touches it.
pub trait PlanLog: Send {
    /// Records outputs. When it returns, a crash can no longer make us forget them.
    fn record(&mut self, outputs: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>>;
}

/// Why a sink could not write.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// May pass by itself or by mending the world outside (disk full, permission, server away): retried for ever.
    #[error("{message}")]
    Transient {
        /// What happened.
        message: String,
        /// What the user can do.
        hint: String,
    },
    /// No fault: the sink has learned something about this batch and wants it again at once. It says so only a bounded
    /// number of times a batch.
    #[error("{reason}")]
    Again {
        /// What it has learned.
        reason: String,
    },
    /// Writing on would break the guarantee, and no retry mends it: the sink stops, its position stays.
    #[error("{message}")]
    Stopped {
        /// What happened.
        message: String,
        /// What the user must do before starting again.
        hint: String,
    },
    /// The plan could not be recorded.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A place where events land.
pub trait Sink: Send {
    /// A text that changes whenever the config would put other bytes, or put them elsewhere.
    fn fingerprint(&self) -> String;

    /// A new batch begins. Whatever an unfinished one has left in memory is dropped.
    fn begin(&mut self, range: BatchRange);

    /// The sequence number of the event that is absorbed next, told before each. Only sinks that name what they write by
    /// it listen.
    fn next_is(&mut self, _seq: Seq) {}

    /// Takes one event into the sink's own buffers. Does not touch the outside.
    ///
    /// # Errors
    /// Only if the event cannot be encoded at all, which no event should cause.
    fn absorb(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), SinkError>;

    /// An event of the batch that a filter has dropped: it is neither written nor counted. For sinks that remember which
    /// events a batch is made of, whatever is written of them.
    fn pass_over(&mut self, _event: &Event<'_>) {}

    /// Bytes that a flush would write out: the deliver loop calls [`Sink::flush`] when they pass [`Sink::flush_bytes`].
    fn buffered_bytes(&self) -> usize;

    /// How many bytes may be in buffers. Less where the outside works on while the next events are absorbed.
    fn flush_bytes(&self) -> usize {
        8 << 20
    }

    /// Writes out the buffers, recording each output before it is touched for the first time in this batch. Not durable
    /// yet.
    fn flush<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<(), SinkError>>;

    /// The events absorbed since [`Sink::begin`] or the last call that will never be taken outside. Asked before
    /// [`Sink::commit`], so that they are in the dead letter before the position moves.
    fn take_refused(&mut self) -> Vec<Refused> {
        Vec::new()
    }

    /// Writes out the rest and makes the batch durable; a batch may have no events, if a filter has dropped them all. [`Written::events`] must be the number of events absorbed since
    /// [`Sink::begin`] and not refused: the deliver loop compares, and stops the sink before its position moves if they differ.
    fn commit<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<Written, SinkError>>;

    /// A line that this sink wants to know again after a restart: asked after each [`Sink::commit`], and kept by the journal
    /// in the same step as the position. `None` keeps the former one.
    fn memo(&self) -> Option<String> {
        None
    }

    /// Which delivery of this journal's events this is: the number grows when the sink is told to deliver again, to go by
    /// another name or to begin anew. Ranges of two generations are different batches, whatever their numbers: what the
    /// outside holds of a former one must be neither overwritten nor taken for this one's. Told once, before anything else.
    fn use_generation(&mut self, _generation: u64) {}

    /// What [`Sink::memo`] said of the last batch that this sink finished, in this process or an earlier one. Told once,
    /// before the first batch; not told if there was none.
    fn remember(&mut self, _memo: &str) {}

    /// Makes the outside as it was before an unfinished batch touched `outputs`. Can be called again after a failure, and
    /// for outputs of another config of this sink. Where an output was recorded twice, it was undone between the two
    /// attempts, and the later record holds.
    fn undo<'a>(&'a mut self, outputs: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Begins, once and before the first batch: how far this sink has come by what is written outside, where the outside
    /// knows; it wins over the journal's position if it is further. `journal` tells this journal from all others.
    ///
    /// # Errors
    /// The outside cannot be reached, or what it knows belongs to another journal.
    fn resume<'a>(&'a mut self, _journal: &'a str) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Reaches the outside with the real credentials, and changes nothing.
    ///
    /// # Errors
    /// What keeps this sink from writing.
    fn check(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
