//! What a sink says when it starts: where it stands, what it missed, what it passes over, what it has to undo.

use crate::journal::{BatchIntent, SinkState};

/// Events that wait in the journal and that the sink will pass over.
#[derive(Debug, Default)]
pub(super) struct PassedOver {
    /// How many.
    pub(super) events: u64,
    /// The names of the sources that are not inputs of the sink.
    pub(super) sources: Vec<String>,
}

pub(super) fn start(sink: &str, state: &SinkState, fingerprint: &str, passed_over: &PassedOver) {
    tracing::info!(sink, after_event = state.position, "the sink starts");
    if state.missed > 0 {
        tracing::warn!(
            sink,
            events = state.missed,
            "events were removed from the journal while this sink was not in the pipeline file, and never reach it; it goes on with the oldest event that is held"
        );
    }
    // A new sink was never meant to have them.
    if passed_over.events > 0 && !state.is_new {
        tracing::warn!(
            sink,
            events = passed_over.events,
            sources = passed_over.sources.join(", "),
            "events that wait in the journal are passed over and never reach this sink: their sources are not among its inputs"
        );
    }
    if let Some(plan) = &state.intent {
        open_plan(sink, plan, fingerprint);
    }
}

fn open_plan(sink: &str, plan: &BatchIntent, fingerprint: &str) {
    let outputs: Vec<_> = plan.records.iter().map(|output| output.name.as_str()).collect();
    let outputs = outputs.join(", ");
    let (first, last) = (plan.first, plan.last);
    if plan.fingerprint == fingerprint {
        tracing::info!(sink, first, last, outputs, "a batch was not finished: it is undone and written again");
        return;
    }
    tracing::warn!(
        sink,
        first,
        last,
        outputs,
        "a batch was not finished and the sink's settings have changed since: what it wrote is undone, and its events are delivered by the new settings"
    );
}
