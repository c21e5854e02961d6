//! What an operator can change while no pipeline runs: read again, deliver again, rename, reset, remove.
//!
//! ```text
//! Rewind, Redeliver, ... --preview--> what it would do, in numbers --confirm--> edit: ONE transaction
//! ```
//!
//! A process that is killed leaves a change applied as a whole or not at all. A preview stays true as long as no other
//! process opens the journal, which its lock ensures.

use std::time::Duration;

use super::block::{BlockKeys, Seq};
use crate::time::{TimeRange, Timestamp};

/// A source or a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    /// A source.
    Source,
    /// A sink.
    Sink,
}

impl ComponentKind {
    /// `source` or `sink`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Sink => "sink",
        }
    }
}

/// A change.
#[derive(Clone, Debug, PartialEq)]
pub enum Edit {
    /// Of a source.
    Source(SourceEdit),
    /// Of a sink.
    Sink(SinkEdit),
}

/// A change of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum SourceEdit {
    /// It reads past time again.
    Rewind {
        /// From when on.
        rewind: Rewind,
        /// The keys of all blocks without keys that may hold events at or after [`Rewind::reads_from`].
        keys: Vec<BlockKeys>,
    },
    /// It keeps its history under another name.
    Rename {
        /// The present name.
        source: String,
        /// The new name.
        new_name: String,
    },
    /// It starts over as at a first start: coverage and keys are deleted; events held are still delivered.
    Reset {
        /// Its name.
        source: String,
        /// The time of its new first start.
        at: Timestamp,
    },
    /// Everything about it is deleted, events held included. The name is free.
    Remove {
        /// Its name.
        source: String,
    },
}

/// A change of a sink. A sink with an unfinished batch cannot be changed.
#[derive(Clone, Debug, PartialEq)]
pub enum SinkEdit {
    /// It delivers events again.
    Redeliver(Redeliver),
    /// It keeps its position under another name.
    Rename {
        /// The present name.
        sink: String,
        /// The new name.
        new_name: String,
    },
    /// It starts over: counters and last error are deleted.
    Reset {
        /// Its name.
        sink: String,
        /// Its new position: the event before the first one that it delivers.
        position: Seq,
    },
    /// Everything about it is deleted. The name is free.
    Remove {
        /// Its name.
        sink: String,
    },
}

/// A source reads all time from a moment on again.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewind {
    /// The source.
    pub source: String,
    /// The moment. Coverage after it is removed.
    pub to: Timestamp,
    /// How much further back the first window may read.
    pub reach_back: Duration,
    /// Whether known events of that time count as new and are delivered again to every sink.
    pub redeliver: bool,
    /// The present time: coverage after it, from a clock that was wrong, is removed and not planned again.
    pub now: Timestamp,
}

impl Rewind {
    /// The earliest moment that is read again.
    #[must_use]
    pub fn reads_from(&self) -> Timestamp {
        self.to - self.reach_back
    }
}

/// What a [`Rewind`] would do.
#[derive(Clone, Debug, PartialEq)]
pub struct RewindPreview {
    /// The time that would be a gap again, in order: covered, in doubt or unreadable. Empty: there is nothing to rewind.
    pub removed_coverage: Vec<TimeRange>,
    /// Open windows that would start over.
    pub open_windows: u64,
    /// Staged events of these windows, never visible: they are read again.
    pub staged_events: u64,
    /// Known events at or after the moment: by their keys, or by records whose keys were derived again.
    pub known_events: u64,
    /// The latest time of an event of which neither key nor record is held; `None` if all are known.
    pub forgotten_to: Option<Timestamp>,
}

impl RewindPreview {
    /// Whether every event that is read again is known, so that none is delivered twice.
    #[must_use]
    pub fn is_exact(&self, rewind: &Rewind) -> bool {
        self.forgotten_to.is_none_or(|forgotten| rewind.reads_from() > forgotten)
    }

    /// The earliest moment to which a rewind is exact; `None` if any is.
    #[must_use]
    pub fn exact_from(&self, rewind: &Rewind) -> Option<Timestamp> {
        let forgotten = self.forgotten_to?;
        Some((forgotten + rewind.reach_back + Duration::from_nanos(1)).ceil_to(Duration::from_secs(1)))
    }
}

/// A sink delivers again what it has delivered already.
#[derive(Clone, Debug, PartialEq)]
pub struct Redeliver {
    /// The sink.
    pub sink: String,
    /// The names of the sources that it reads.
    pub sources: Vec<String>,
    /// From the first block on that has an event at or after this moment; `None`: from the oldest event held.
    pub from: Option<Timestamp>,
}

/// What a [`Redeliver`] would do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RedeliverPreview {
    /// The sink's position.
    pub position: Seq,
    /// The new position; the present one if no event would be delivered again.
    pub back_to: Seq,
    /// Events between the two that would be delivered again.
    pub events: u64,
    /// The times of these events, first and last; `None` if one of them has no time.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The latest time of an event of these sources that was trimmed; `None` if none was.
    pub trimmed_time: Option<Timestamp>,
    /// Whether a batch is unfinished.
    pub unfinished_batch: bool,
}

impl RedeliverPreview {
    /// Whether every event at or after `from` that the sink has passed is still held.
    #[must_use]
    pub fn is_complete(&self, from: Timestamp) -> bool {
        self.trimmed_time.is_none_or(|trimmed| from > trimmed)
    }

    /// The earliest moment from which on all events are held; `None` if it is any.
    #[must_use]
    pub fn complete_from(&self) -> Option<Timestamp> {
        Some((self.trimmed_time? + Duration::from_nanos(1)).ceil_to(Duration::from_secs(1)))
    }
}

/// What an operator needs to know of a source before changing it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceHistory {
    /// Its vendor.
    pub vendor: String,
    /// The time of its first start.
    pub first_started_at: Timestamp,
    /// All time that is covered, in doubt or unreadable, merged and in order.
    pub coverage: Vec<TimeRange>,
    /// Events collected since its first start.
    pub events: u64,
    /// Of these, events that the journal still holds.
    pub held: u64,
    /// Windows that are not complete.
    pub open_windows: u64,
}

/// What an operator needs to know of a sink before changing it.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkHistory {
    /// The last event that it has passed.
    pub position: Seq,
    /// Events that it has delivered.
    pub delivered: u64,
    /// Whether it keeps events from being trimmed.
    pub active: bool,
    /// Whether a batch is unfinished.
    pub unfinished_batch: bool,
}
