//! The values of [`DeliverJournal`](super::DeliverJournal): positions, batch intents, batches.

use serde::Deserialize;

use super::block::{Seq, SourceId};
use super::rollback::RollbackRecord;
use crate::time::Timestamp;

/// A sink's id in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SinkId(pub i64);

/// Where a sink that is new to the journal begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkStart {
    /// At the oldest event that the journal still holds.
    #[default]
    Beginning,
    /// At the present: only events that are collected from now on.
    Now,
}

/// What the journal knows of a sink.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkState {
    /// Whether this is the sink's first start.
    pub is_new: bool,
    /// Its id.
    pub id: SinkId,
    /// The last event that it has delivered, filtered or put into the dead letter.
    pub position: Seq,
    /// The highest position that it has had: after a redelivery, events up to here come again.
    pub furthest: Seq,
    /// A batch that was prepared and neither committed nor aborted.
    pub intent: Option<BatchIntent>,
    /// What the sink stored with its last batch.
    pub state: Option<String>,
    /// Grows when the sink is redelivered, renamed or reset: output written before under the same sequence numbers belongs
    /// to another generation. 0 if that never happened.
    pub generation: u64,
    /// Events that were trimmed before this sink could deliver them, while it was not in the pipeline file: the sequence
    /// numbers between its position and the oldest event held.
    pub missed: u64,
}

/// What the journal knows of a sink, read without opening the journal for work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkProgress {
    /// The identity of the journal; empty if there is none yet.
    pub journal: String,
    /// As [`SinkState::generation`]; of a sink that has never started, the generation that it will get.
    pub generation: u64,
    /// What the sink stored with its last batch.
    pub state: Option<String>,
    /// As [`SinkState::position`].
    pub position: Seq,
    /// The last event that the target may hold: the end of a prepared batch, or the position. [`Seq::MAX`] while a process uses
    /// the journal, whose next batch may be there before anybody has read of it.
    pub up_to: Seq,
}

/// A batch that was prepared: it is written again, or rolled back if the sink's config has changed.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchIntent {
    /// First sequence number of the batch.
    pub first: Seq,
    /// Last sequence number of the batch.
    pub last: Seq,
    /// The fingerprint of the sink's config at the time.
    pub fingerprint: String,
    /// What the batch was about to touch, in that order.
    pub records: Vec<RollbackRecord>,
}

/// The next events for a sink, not yet read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingBatch {
    /// First sequence number: the one after the position.
    pub first: Seq,
    /// Last sequence number: a limit is reached there, or it is the head.
    pub last: Seq,
    /// Number of events of the requested sources.
    pub events: u64,
    /// Bytes of their raw records.
    pub raw_bytes: u64,
    /// When the oldest of them became visible; `None` if `events` is 0.
    pub oldest_visible_at: Option<Timestamp>,
    /// Whether a limit closed the batch: more events may follow.
    pub full: bool,
}

/// A source that a sink no longer reads, and of which it has not delivered everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingSource {
    /// Its name.
    pub name: String,
    /// How many of its events the sink has not delivered.
    pub events: u64,
}

impl PendingBatch {
    /// Adds what the same sink has pending in another journal.
    pub(super) fn add(&mut self, other: Self) {
        self.first += other.first;
        self.last += other.last;
        self.events += other.events;
        self.raw_bytes += other.raw_bytes;
        self.oldest_visible_at = [self.oldest_visible_at, other.oldest_visible_at].into_iter().flatten().min();
        self.full |= other.full;
    }
}

/// A batch that is durable in the target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchCommit {
    /// The sink's new position.
    pub position: Seq,
    /// Events written.
    pub delivered: u64,
    /// Events that a filter of the user dropped.
    pub filtered: u64,
    /// Events that went to the dead letter.
    pub dead_lettered: u64,
    /// Bytes written.
    pub bytes: u64,
    /// When, if any events were written.
    pub delivered_at: Option<Timestamp>,
    /// What the sink gets back after a restart; `None` keeps what it stored before.
    pub state: Option<String>,
    /// What normalizing has found in events beyond the sink's furthest position, by source.
    pub findings: Vec<NormalizeFindings>,
}

/// What normalizing has found in events of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NormalizeFindings {
    /// The source.
    pub source: SourceId,
    /// Events with `normalize_error`.
    pub normalize_errors: u64,
    /// Other events whose action is `other`: the vendor's word is not known.
    pub unmapped_actions: u64,
    /// Now.
    pub at: Timestamp,
}
