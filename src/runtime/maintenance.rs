//! What the runtime does with the journal beside collecting and delivering: it trims the journal, and handles components that
//! were removed from the pipeline file.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::report::{RunError, with_hint};
use crate::clock::SharedClock;
use crate::journal::{DeliverJournal, Journal, RollbackRecord, SinkStart};
use crate::pipeline::{ActiveConfig, ValidatedPipeline};
use crate::sinks::SinkError;
use crate::sinks::claims::claim_files;
use crate::sinks::orphans::{roll_back_orphans, take_back_markers};
use crate::time::Timestamp;

/// How often the journal is trimmed.
const TRIM_INTERVAL: Duration = Duration::from_secs(10);

/// Trims the journal until the task is aborted.
pub(super) async fn trim_regularly(
    journal: Arc<dyn Journal>,
    clock: SharedClock,
    config: watch::Receiver<ActiveConfig>,
) {
    let mut ticks = tokio::time::interval(TRIM_INTERVAL);
    loop {
        ticks.tick().await;
        let now: Timestamp = clock.now();
        let kept = config.borrow().pipeline.settings.journal;
        // Sources pause while the journal is full, so delivered events are then trimmed before their retention ends.
        let visible_before = if *journal.full().borrow() { now } else { now - kept.retention.0 };
        match journal.trim(visible_before, now - kept.key_retention.0).await {
            Ok(0) => {}
            Ok(events) => tracing::debug!(event = "journal_trimmed", events, "journal trimmed"),
            Err(error) => tracing::warn!(event = "journal_trim_failed", %error, "cannot trim the journal"),
        }
    }
}

/// Rolls back the unfinished batches of sinks that were removed from the file or renamed, and claims the files of the
/// others. This happens before any sink starts, since another sink may now write to the same files. Sinks that run already
/// (`runs`) are left alone.
pub(super) async fn roll_back_removed_sinks(
    pipeline: &ValidatedPipeline,
    journal: &dyn DeliverJournal,
    runs: &BTreeSet<String>,
) -> Result<(), RunError> {
    let is_idle = |name: &str| !runs.contains(name);
    for sink in journal.stats().await?.sinks.into_iter().filter(|sink| sink.active && is_idle(&sink.name)) {
        let state = journal.open_sink(&sink.name, SinkStart::Beginning).await?;
        let Some(intent) = state.intent else { continue };
        let records = intent.records;
        if pipeline.sinks.iter().any(|configured| configured.name == sink.name) {
            let pipeline = pipeline.name.clone();
            on_own_thread(move || claim_files(&pipeline, &sink.name, &records)).await;
            continue;
        }
        let keeps_intent = records.iter().any(is_of_table);
        let (name, generation, position) = (sink.name.clone(), state.generation, intent.first.saturating_sub(1));
        on_own_thread(move || {
            roll_back_orphans(&records)?;
            take_back_markers(&records, &name, generation, position)
        })
        .await
        .map_err(|error| RunError::Component { name: sink.name.clone(), reason: explained(&error) })?;
        if !keeps_intent {
            journal.abort_batch(state.id).await?;
        }
        tracing::warn!(
            event = "batch_orphaned",
            sink = sink.name,
            first = intent.first,
            last = intent.last,
            "sink is no longer in the pipeline file and has an unfinished batch"
        );
    }
    Ok(())
}

/// The table may have the batch. Only with its intent does the sink recognize it, if it returns to the pipeline file.
fn is_of_table(record: &RollbackRecord) -> bool {
    matches!(record, RollbackRecord::S3Object(object) if object.table)
}

/// Does what may wait for a file system on a thread of its own: the task that supervises the run must stay responsive.
pub(super) async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

fn explained(error: &SinkError) -> String {
    match error {
        SinkError::Transient { message, hint } | SinkError::Stopped { message, hint } => with_hint(message, hint),
        SinkError::Again { .. } | SinkError::ReaderClosed | SinkError::Journal(_) => error.to_string(),
    }
}

/// Retires the sinks that are no longer in the file, and warns of them and of such sources.
pub(super) async fn retire_removed_components(
    pipeline: &ValidatedPipeline,
    journal: &dyn DeliverJournal,
) -> Result<(), RunError> {
    let configured: Vec<String> = pipeline.sinks.iter().map(|sink| sink.name.clone()).collect();
    for sink in journal.retire_sinks(configured).await? {
        tracing::warn!(
            event = "sink_removed",
            sink,
            "sink is no longer in the pipeline file: its position is kept, and events are trimmed without waiting for it"
        );
    }
    for source in journal.sources().await? {
        if !pipeline.sources.iter().any(|configured| configured.name == source.name) {
            tracing::warn!(
                event = "source_removed",
                source = source.name,
                "source is no longer in the pipeline file: its coverage is kept, and it collects nothing"
            );
        }
    }
    Ok(())
}
