//! What a sink does when it starts: logs its position, rolls back an unfinished batch, and compares its position with the one
//! that the target stores.

use super::contract::StepError;
use crate::journal::{BatchCommit, BatchIntent, PendingBatch, PendingSource, RollbackRecord, Seq, SinkState};
use crate::sinks::{BatchRange, SinkError};

/// A batch that is started and not finished.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) range: BatchRange,
    /// Events in it; unknown for a batch that an earlier process started.
    pub(super) events: Option<u64>,
    /// Whether it is written again; otherwise it is only rolled back, because the settings have changed.
    pub(super) is_wanted: bool,
    /// Whether the journal has stored its intent.
    pub(super) is_prepared: bool,
    /// Whether the target may hold a part of it.
    pub(super) is_touched: bool,
    /// The outputs that it has touched or is about to touch.
    pub(super) records: Vec<RollbackRecord>,
    /// Set when the target is durable and the journal is not updated yet.
    pub(super) delivery: Option<BatchCommit>,
}

impl OpenBatch {
    fn new(pending: &PendingBatch) -> Self {
        Self {
            range: BatchRange { first: pending.first, last: pending.last },
            events: Some(pending.events),
            is_wanted: true,
            is_prepared: false,
            is_touched: false,
            records: Vec::new(),
            delivery: None,
        }
    }

    /// A batch of the pending events that ends at the target's position, if that is inside: the sink counts the events up to
    /// there and does not write them.
    pub(super) fn up_to(pending: &PendingBatch, sink_position: Seq) -> Self {
        let mut batch = Self::new(pending);
        if (pending.first..pending.last).contains(&sink_position) {
            batch.range.last = sink_position;
            batch.events = None;
        }
        batch
    }

    /// A batch that an earlier process left unfinished.
    pub(super) fn unfinished(intent: BatchIntent, fingerprint: &str) -> Self {
        Self {
            range: BatchRange { first: intent.first, last: intent.last },
            events: None,
            is_wanted: intent.fingerprint == fingerprint,
            is_prepared: true,
            is_touched: true,
            records: intent.records,
            delivery: None,
        }
    }
}

/// Logs the sink's position and what happens to its unfinished batch.
pub(super) fn log_start(sink: &str, state: &SinkState, fingerprint: &str) {
    tracing::info!(event = "sink_started", sink, position = state.position, "sink started");
    if state.missed > 0 {
        tracing::warn!(
            event = "sink_events_missed",
            sink,
            events = state.missed,
            "events were trimmed from the journal while this sink was not in the pipeline file; they are not delivered to it"
        );
    }
    if let Some(intent) = &state.intent {
        log_unfinished(sink, intent, fingerprint);
    }
}

/// Warns of events that the sink is about to skip.
pub(super) fn log_skipped(sink: &str, leaving: &[PendingSource]) {
    if leaving.is_empty() {
        return;
    }
    let sources: Vec<_> = leaving.iter().map(|source| source.name.as_str()).collect();
    tracing::warn!(
        event = "sink_events_skipped",
        sink,
        events = leaving.iter().map(|source| source.events).sum::<u64>(),
        sources = sources.join(", "),
        "pending events of sources that are not inputs of this sink any more are skipped"
    );
}

fn log_unfinished(sink: &str, intent: &BatchIntent, fingerprint: &str) {
    let outputs: Vec<_> = intent.records.iter().map(RollbackRecord::to_string).collect();
    let outputs = outputs.join(", ");
    let (first, last) = (intent.first, intent.last);
    if intent.fingerprint == fingerprint {
        tracing::info!(
            event = "batch_recovered",
            sink,
            first,
            last,
            outputs,
            "unfinished batch is rolled back and written again"
        );
    } else {
        tracing::warn!(
            event = "batch_reconfigured",
            sink,
            first,
            last,
            outputs,
            "unfinished batch has other settings; it is rolled back, and its events are delivered with the new settings"
        );
    }
}

/// Checks that the target's position is in the journal. Events are durable in the journal before they are delivered, so a
/// target that is ahead of the journal was written from another state of it.
pub(super) fn expect_in_journal(sink: &str, sink_position: Seq, head: Seq) -> Result<(), StepError> {
    if sink_position <= head {
        return Ok(());
    }
    Err(StepError::from(SinkError::Stopped {
        message: format!(
            "`{sink}` has delivered up to event {sink_position}, and the journal ends at {head}: the journal was restored from a backup or is a copy"
        ),
        hint: "restore the newest data_dir, or rename the sink: it then delivers everything in the journal, and consumers see some events twice, with the same id".to_owned(),
    }))
}
