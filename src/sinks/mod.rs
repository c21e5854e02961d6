//! Sinks: where events land. Each makes a second attempt at the same batch harmless in its own way.
//!
//! ```text
//! deliver loop:  begin(range) -> absorb(event)* -> [flush] -> ... -> commit -> journal.finish_plan
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
pub mod encoding;
pub mod file;
pub mod table;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;

use futures_util::future::BoxFuture;

pub use batch::{BatchOptions, BatchSettings};

use crate::event::Event;
use crate::journal::{JournalError, PlannedOutput, Seq};

/// In which form an event reaches a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventForm {
    /// Normalised: the sink's schema.
    Normalised,
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

/// Where a sink records what it is about to touch, durably, before it touches it.
pub trait PlanLog: Send {
    /// Records outputs. When it returns, a crash can no longer make us forget them.
    fn record(&mut self, outputs: Vec<PlannedOutput>) -> BoxFuture<'_, Result<(), JournalError>>;
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

    /// Takes one event into the sink's own buffers. Does not touch the outside.
    ///
    /// # Errors
    /// Only if the event cannot be encoded at all, which no event should cause.
    fn absorb(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), SinkError>;

    /// Bytes in buffers: the deliver loop calls [`Sink::flush`] when they pass its limit.
    fn buffered_bytes(&self) -> usize;

    /// Writes out the buffers, recording each output before it is touched for the first time in this batch. Not durable
    /// yet.
    fn flush<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<(), SinkError>>;

    /// Writes out the rest and makes the batch durable. [`Written::events`] must be the number of events absorbed since
    /// [`Sink::begin`]: the deliver loop compares, and stops the sink before its position moves if they differ.
    fn commit<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<Written, SinkError>>;

    /// Makes the outside as it was before an unfinished batch touched `outputs`. Can be called again after a failure, and
    /// for outputs of another config of this sink. Where an output was recorded twice, it was undone between the two
    /// attempts, and the later record holds.
    fn undo<'a>(&'a mut self, outputs: &'a [PlannedOutput]) -> BoxFuture<'a, Result<(), SinkError>>;
}
