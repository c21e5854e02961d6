//! The marker of an output: which journal writes it, and how far. It lies beside the output, where readers ignore it, so that an output knows its journal as a journal knows its outputs.
//!
//! ```text
//! .auditflow/0f3a9c11.json                           {"journal":...,"pipeline":...,"sink":...,"generation":0,"position":4096}
//! s3://bucket/prefix/_auditflow/acme-lake.json
//!
//! start, and each batch before its first write:  the marker of another journal, a later generation, or a position
//!                                                that this journal has not delivered -> the sink stops
//! commit:    output durable -> marker: position = the batch's last event -> the journal moves its position
//! rollback:  output restored -> marker: the journal's position
//! ```
//!
//! A second journal may also have another template that leads to the same output. So a file sink looks, before it writes a file,
//! for markers in each directory above it, and a marker says which files its sink writes; an S3 sink looks for its own name in
//! the directories above its own.
//!
//! So neither a second data directory nor an older copy of this one writes events a second time. A marker that was lost
//! weakens this check and breaks nothing.

use serde::{Deserialize, Serialize};

use super::{BatchRange, SinkError, StoredPosition};
use crate::journal::Seq;
use crate::shard::state_option;

/// The directory of markers in a bucket. Readers of data lakes ignore names that begin with `_`.
pub const DIRECTORY: &str = "_auditflow";
/// The directory of markers of files. Shells and readers ignore names that begin with a dot.
pub(super) const HIDDEN_DIRECTORY: &str = ".auditflow";

/// The contents of a marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The identity of the journal that writes the output.
    pub journal: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name.
    pub sink: String,
    /// The sink's generation.
    pub generation: u64,
    /// The output holds the journal's events up to this one.
    pub position: Seq,
    /// Which files the sink writes: the template of their paths, below the directory that this marker's directory is in. Empty
    /// for objects, whose keys contain the names of pipeline and sink.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub files: String,
}

impl Marker {
    /// As one line of JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("plain fields always become JSON");
        bytes.push(b'\n');
        bytes
    }

    /// The marker in these bytes.
    ///
    /// # Errors
    /// They are something else; `place` names them.
    pub fn decode(bytes: &[u8], place: &str) -> Result<Self, SinkError> {
        serde_json::from_slice(bytes).map_err(|_| SinkError::Transient {
            message: format!("{place} is not a marker of auditflow"),
            hint: "move it away: only auditflow writes in its directory. If it is the answer of a server, that server is not an object store: fix `endpoint`".to_owned(),
        })
    }
}

/// What a sink knows of its output's marker. Empty until the sink knows its journal; then nothing is checked or written.
#[derive(Debug, Default)]
pub(super) struct MarkerState {
    /// Whose output it is. Its position is the last one that the journal has kept.
    own: Option<Marker>,
    /// The end of the batch that the output may hold beyond that.
    latest: Seq,
    /// Whether the current batch has compared the marker.
    pub(super) is_compared: bool,
}

impl MarkerState {
    /// At the start of the sink.
    pub(super) fn restore(&mut self, stored: StoredPosition<'_>, pipeline: &str, sink: &str) {
        self.own = Some(Marker {
            journal: stored.journal.to_owned(),
            pipeline: pipeline.to_owned(),
            sink: sink.to_owned(),
            generation: stored.generation,
            position: stored.position,
            files: String::new(),
        });
        self.latest = stored.up_to;
        self.is_compared = false;
    }

    /// Whether the sink knows its journal.
    pub(super) fn is_known(&self) -> bool {
        self.own.is_some()
    }

    /// The identity of the journal; empty until it is known.
    pub(super) fn journal(&self) -> &str {
        self.own.as_ref().map_or("", |own| own.journal.as_str())
    }

    /// Starts a batch. If it begins after the latest one, that one was kept; otherwise it was rolled back.
    pub(super) fn begin(&mut self, range: BatchRange) {
        self.is_compared = false;
        if let Some(own) = self.own.as_mut().filter(|_| self.latest < range.first) {
            own.position = own.position.max(self.latest);
        }
    }

    /// Compares the marker that was found. Returns the one to write if the output has none of this generation yet.
    ///
    /// # Errors
    /// [`SinkError::Stopped`] if the output belongs to another journal, or is ahead of this one.
    pub(super) fn compare(&self, found: Option<&Marker>, place: &str) -> Result<Option<Marker>, SinkError> {
        let Some(own) = &self.own else { return Ok(None) };
        let Some(found) = found else { return Ok(Some(own.clone())) };
        if found.journal != own.journal {
            return Err(of_another_journal(found, own, place));
        }
        // What another sink of this journal wrote before, or this one before a redelivery, says nothing about this position.
        if found.sink != own.sink || found.generation < own.generation {
            return Ok(Some(own.clone()));
        }
        let delivered = own.position.max(self.latest);
        if found.generation > own.generation || found.position > delivered {
            return Err(of_a_later_state(found, delivered, own, place));
        }
        Ok(None)
    }

    /// The marker of an output that holds the batch too.
    pub(super) fn with_batch(&mut self, range: BatchRange) -> Option<Marker> {
        let own = self.own.as_ref()?;
        self.latest = range.last;
        Some(Marker { position: range.last, ..own.clone() })
    }

    /// The marker of an output from which the latest batch was rolled back, if the one that was found says more.
    pub(super) fn without_batch(&mut self, found: Option<&Marker>) -> Option<Marker> {
        let (own, found) = (self.own.as_ref()?, found?);
        let is_own = found.journal == own.journal && found.generation == own.generation;
        if !is_own || found.position <= own.position {
            return None;
        }
        self.latest = own.position;
        Some(own.clone())
    }

    /// The marker of this journal, whatever the output has.
    pub(super) fn adopted(&self) -> Option<&Marker> {
        self.own.as_ref()
    }
}

/// The output lies where a sink of another journal writes too, under a marker of its own.
pub(super) fn of_overlapping_journals(found: &Marker, place: &str) -> SinkError {
    let Marker { pipeline, sink, .. } = found;
    SinkError::Stopped {
        message: format!(
            "another journal (another data_dir) writes in this place too: {place} names the sink `{sink}` of pipeline `{pipeline}`"
        ),
        hint: format!(
            "give this sink another place to write to; if nothing uses that data_dir any more, delete {place}, after which events that it delivered may be delivered again, with the same ids"
        ),
    }
}

impl Marker {
    /// The command that makes the output that of this journal.
    fn adopt_command(&self) -> String {
        format!("auditflow state adopt FILE {}{}", self.sink, state_option(&self.pipeline))
    }
}

fn of_another_journal(found: &Marker, own: &Marker, place: &str) -> SinkError {
    let Marker { pipeline, sink: other, position, .. } = found;
    SinkError::Stopped {
        message: format!(
            "the output belongs to another journal (another data_dir): {place} names the sink `{other}` of pipeline `{pipeline}`, which delivered up to its event {position}"
        ),
        hint: format!(
            "if that data_dir still exists, set `data_dir` to it; if another auditflow uses it, give this sink another place to write to; if it is lost: `{}`, after which events that the old journal delivered may be delivered again, with the same ids",
            own.adopt_command()
        ),
    }
}

fn of_a_later_state(found: &Marker, delivered: Seq, own: &Marker, place: &str) -> SinkError {
    SinkError::Stopped {
        message: format!(
            "the output holds events up to {} (generation {}), and the journal has delivered up to {delivered}: data_dir was restored from a backup or is a copy ({place})",
            found.position, found.generation
        ),
        hint: format!(
            "restore the newest data_dir; if it is lost: `{}`, after which the events since the backup are delivered again, with the same ids (docs/operating.md, Restore)",
            own.adopt_command()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(journal: &str, generation: u64, position: Seq, up_to: Seq) -> MarkerState {
        let mut state = MarkerState::default();
        state.restore(StoredPosition { journal, generation, state: None, position, up_to }, "acme", "lake");
        state
    }

    fn refusal(state: &MarkerState, found: &Marker) -> String {
        match state.compare(Some(found), ".auditflow/x.json") {
            Err(SinkError::Stopped { message, hint }) => format!("{message} | {hint}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_output_has_one_journal() {
        let mut first = state("j1", 0, 0, 0);
        let marker = first.compare(None, "x").expect("free").expect("to be written");
        assert_eq!((marker.journal.as_str(), marker.position), ("j1", 0));
        assert_eq!(first.compare(Some(&marker), "x").expect("its own"), None);
        let refused = refusal(&state("j2", 0, 0, 0), &marker);
        assert!(refused.contains("another data_dir") && refused.contains("state adopt FILE lake"), "{refused}");
        assert_eq!(Marker::decode(&marker.encode(), "x").expect("a marker"), marker);
        assert!(Marker::decode(b"<html>", "x").is_err());
        assert!(first.with_batch(BatchRange { first: 1, last: 10 }).is_some_and(|marker| marker.position == 10));
    }

    #[test]
    fn a_journal_behind_its_output_was_restored() {
        let mut running = state("j1", 0, 0, 0);
        for range in [BatchRange { first: 1, last: 10 }, BatchRange { first: 11, last: 20 }] {
            running.begin(range);
            let marker = running.with_batch(range).expect("known");
            assert_eq!(running.compare(Some(&marker), "x").expect("its own batch"), None);
            let refused = refusal(&state("j1", 0, range.first - 1, range.first - 1), &marker);
            assert!(refused.contains("restored"), "{refused}");
            let unfinished = state("j1", 0, range.first - 1, range.last);
            assert_eq!(unfinished.compare(Some(&marker), "x").expect("its unfinished batch"), None);
        }
    }

    #[test]
    fn a_sink_that_was_renamed_begins_anew() {
        let marker = Marker { sink: "former".to_owned(), ..state("j1", 0, 7, 7).adopted().expect("known").clone() };
        let renamed = state("j1", 0, 0, 0);
        let own = renamed.compare(Some(&marker), "x").expect("of the same journal").expect("to be written");
        assert_eq!((own.sink.as_str(), own.position), ("lake", 0));
    }

    #[test]
    fn a_rollback_takes_the_position_back() {
        let mut state = state("j1", 0, 10, 20);
        let marker = Marker { position: 20, ..state.compare(None, "x").expect("free").expect("own") };
        let reset = state.without_batch(Some(&marker)).expect("to be written");
        assert_eq!(reset.position, 10);
        assert_eq!(state.without_batch(Some(&reset)), None);
        assert_eq!(state.without_batch(None), None);
    }

    #[test]
    fn a_redelivery_is_ahead_of_what_the_earlier_generation_delivered() {
        let earlier = state("j1", 0, 90, 90).compare(None, "x").expect("free").expect("own");
        let again = state("j1", 1, 5, 5);
        let marker = again.compare(Some(&earlier), "x").expect("a later generation").expect("to be written");
        assert_eq!((marker.generation, marker.position), (1, 5));
        assert!(refusal(&state("j1", 0, 90, 90), &marker).contains("restored"));
    }
}
