//! What delivering tells the journal and learns from it: positions, plans, batches.

use serde::Deserialize;

use super::rollback::RollbackRecord;
use super::{Seq, SinkId, SourceId};
use crate::time::Timestamp;
use crate::vendors::NormalizerConfig;

/// Where a sink begins that the journal does not know.
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
    /// Whether the journal has not known it before.
    pub is_new: bool,
    /// Its number.
    pub id: SinkId,
    /// The last event that it has delivered, filtered or put into the dead letter.
    pub position: Seq,
    /// A batch that was begun and not finished.
    pub plan: Option<BatchIntent>,
    /// What the sink noted when it last finished a batch.
    pub memo: Option<String>,
    /// Grows when the sink is set back, renamed or begun anew: what was written before under the same sequence numbers is
    /// another delivery. 0 if that never happened.
    pub generation: u64,
    /// Events that were trimmed before this sink could deliver them (it had been taken out of the file): the sequence
    /// numbers between its position and the oldest event held.
    pub missed: u64,
}

/// A batch that was begun: what has to be undone or done again.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchIntent {
    /// First sequence number of the batch.
    pub first: Seq,
    /// Last sequence number of the batch.
    pub last: Seq,
    /// The fingerprint of the sink's config that it was begun under.
    pub fingerprint: String,
    /// What it had begun to touch, in the order of touching.
    pub outputs: Vec<RollbackRecord>,
}

/// The next events for a sink, not yet read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingBatch {
    /// First sequence number: the one after the position.
    pub first: Seq,
    /// Last sequence number: after it, either the limit is reached or nothing is there.
    pub last: Seq,
    /// Events of the wanted sources in it.
    pub events: u64,
    /// Bytes of their raw records.
    pub raw_bytes: u64,
    /// When the oldest of them became visible; `None` if `events` is 0.
    pub oldest_visible_at: Option<Timestamp>,
    /// Whether it was closed by a limit: more may follow.
    pub full: bool,
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The new position.
    pub position: Seq,
    /// Events written.
    pub delivered: u64,
    /// Events that a filter of the user dropped.
    pub filtered: u64,
    /// Events that went to the dead letter.
    pub dead_lettered: u64,
    /// Bytes written.
    pub bytes: u64,
    /// What the sink wants to know again after a restart; `None` keeps what it noted before.
    pub memo: Option<String>,
}

/// Which source a record is of, by number: what deliver needs beside its bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceInfo {
    /// Its number.
    pub id: SourceId,
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// How its records are normalized.
    pub normalizer_config: NormalizerConfig,
}
