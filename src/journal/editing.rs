//! What an operator may change of a journal's past while nothing runs: asked first, told what it comes to, then done.
//!
//! ```text
//! Rewind, Redeliver, Rename, Forget --preview--> what it would do, in figures --consent--> apply: ONE transaction
//! ```
//!
//! A kill leaves a change wholly done or not at all. What was foreseen holds as long as nobody else opens the journal, which
//! its lock sees to.

use std::time::Duration;

use super::Seq;
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
    /// The word for it.
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
    /// A source asks again.
    Rewind(Rewind),
    /// A sink delivers again.
    Redeliver(Redeliver),
    /// A source or sink gets another name.
    Rename(Rename),
    /// A source or sink loses its past.
    Forget(Forget),
}

/// A source asks its vendor again for all time from a moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewind {
    /// The source.
    pub source: String,
    /// The moment. Coverage behind it is given up.
    pub to: Timestamp,
    /// How much further back the first window from there may ask.
    pub reach_back: Duration,
    /// Whether what is known of that time is taken as new, and delivered once more to every sink.
    pub redeliver: bool,
    /// The present: coverage that lies ahead of it, from a clock that was wrong, is given up for good.
    pub now: Timestamp,
}

impl Rewind {
    /// The earliest moment that is asked for again.
    #[must_use]
    pub fn reads_from(&self) -> Timestamp {
        self.to - self.reach_back
    }
}

/// What a [`Rewind`] would do.
#[derive(Clone, Debug, PartialEq)]
pub struct RewindPreview {
    /// The covered time that would be given up, in order. Empty: there is nothing to rewind.
    pub given_up: Vec<TimeRange>,
    /// Half-read windows that would begin again.
    pub open_windows: u64,
    /// Events of these windows that were never visible: they are read again.
    pub staged_events: u64,
    /// Events of the time from the moment on that are known by their keys, or by their records in the journal.
    pub known_events: u64,
    /// The latest time of an event of which neither key nor record is held; `None` if all are known.
    pub forgotten_to: Option<Timestamp>,
}

impl RewindPreview {
    /// Whether every event that can come back is known.
    #[must_use]
    pub fn is_exact(&self, rewind: &Rewind) -> bool {
        self.forgotten_to.is_none_or(|forgotten| rewind.reads_from() > forgotten)
    }

    /// The earliest moment to rewind to without meeting an event that is not known any more; `None` if it is any.
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
    /// The names of the sources that it gets.
    pub sources: Vec<String>,
    /// From the first block on that has an event at or after this moment; `None`: from the oldest event held.
    pub from: Option<Timestamp>,
}

/// What a [`Redeliver`] would do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RedeliverPreview {
    /// The last event that the sink has passed.
    pub position: Seq,
    /// The event behind which it would go on; the position itself if nothing would come again.
    pub back_to: Seq,
    /// Events between the two that would come again.
    pub events: u64,
    /// The times of these events, first and last; `None` if one of them has no time.
    pub times: Option<(Timestamp, Timestamp)>,
    /// The latest time of an event of these sources that was removed from the journal; `None` if none was.
    pub trimmed_time: Option<Timestamp>,
    /// Whether a batch was begun and not finished.
    pub open_plan: bool,
}

impl RedeliverPreview {
    /// Whether every event at or after `from` that the sink has passed is still held.
    #[must_use]
    pub fn is_whole(&self, from: Timestamp) -> bool {
        self.trimmed_time.is_none_or(|trimmed| from > trimmed)
    }

    /// The earliest moment from which on all events are held; `None` if it is any.
    #[must_use]
    pub fn whole_from(&self) -> Option<Timestamp> {
        Some((self.trimmed_time? + Duration::from_nanos(1)).ceil_to(Duration::from_secs(1)))
    }
}

/// A source or sink keeps its past under another name.
#[derive(Clone, Debug, PartialEq)]
pub struct Rename {
    /// Which of the two.
    pub kind: ComponentKind,
    /// The name it has.
    pub old: String,
    /// The name it gets.
    pub new: String,
}

/// A source or sink loses its past.
#[derive(Clone, Debug, PartialEq)]
pub struct Forget {
    /// Which of the two.
    pub kind: ComponentKind,
    /// Its name.
    pub name: String,
    /// What is left.
    pub then: AfterRemoval,
}

/// What is left of what was forgotten.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AfterRemoval {
    /// Nothing: the name is free, and the events of a source that are held are removed.
    Gone,
    /// A source begins anew at this moment; its events that are held are still delivered.
    SourceBegins(Timestamp),
    /// A sink begins anew behind this event.
    SinkBegins(Seq),
}

/// What the journal knows of a source, for a change of its name or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcePast {
    /// Its vendor.
    pub vendor: String,
    /// When it was started for the first time.
    pub first_started_at: Timestamp,
    /// All covered time, merged and in order.
    pub coverage: Vec<TimeRange>,
    /// Events collected since its first start.
    pub events: u64,
    /// Of these, events that the journal still holds.
    pub held: u64,
    /// Half-read windows.
    pub open_windows: u64,
}

/// What the journal knows of a sink, for a change of its name or its end.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkPast {
    /// The last event that it has passed.
    pub position: Seq,
    /// Events that it has delivered.
    pub delivered: u64,
    /// Whether the journal holds events back for it.
    pub active: bool,
    /// Whether a batch was begun and not finished.
    pub open_plan: bool,
}
