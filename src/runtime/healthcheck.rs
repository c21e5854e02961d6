//! The healthcheck before a run: looks at the data directory, and connects to every source and sink with its real credentials, all at the same time. An output
//! that names its journal must name this one. It writes nothing to the journal and leaves nothing in a target.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;

use super::deadline::RunningComponents;
use super::report::RunError;
use super::start::{build_sink, build_transport, read_keys};
use crate::clock::SharedClock;
use crate::collect::{self, HttpClients};
use crate::journal::{SinkProgress, SqliteJournal, data_dir, shard_dirs};
use crate::pipeline::{ValidatedPipeline, ValidatedSink, ValidatedSource};
use crate::sinks::{SinkError, StoredPosition};
use crate::time::Timestamp;

pub use crate::journal::ComponentKind;

/// How long one component may take to answer.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A check that takes longer than this is shown.
const FIRST_PROGRESS: Duration = Duration::from_secs(2);
/// And again this often.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The result for one source or sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthcheckResult {
    /// Whether it is a source or a sink.
    pub kind: ComponentKind,
    /// Its name.
    pub name: String,
    /// Why it does not work, if so.
    pub failure: Option<HealthcheckFailure>,
}

/// Why a source or sink does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthcheckFailure {
    /// What happened.
    pub message: String,
    /// What the user can do; may be empty.
    pub hint: String,
    /// Whether a later attempt may succeed without a change, as after a timeout.
    pub is_transient: bool,
}

/// Checks all sources and sinks of a pipeline. The results are in the order of the file, sources first. A component that
/// cannot be built is a failed check of that component.
pub async fn healthcheck(pipeline: &ValidatedPipeline, clock: &SharedClock) -> Vec<HealthcheckResult> {
    let clients = HttpClients::default();
    let waiting = RunningComponents::of(pipeline);
    let sources = pipeline.sources.iter().map(|source| async {
        let result = check_source(source, &clients, clock).await;
        waiting.remove(&source.name);
        result
    });
    let sinks = pipeline.sinks.iter().map(|sink| async {
        let result = check_sink(pipeline, sink, clock).await;
        waiting.remove(&sink.name);
        result
    });
    let checks = async { tokio::join!(join_all(sources), join_all(sinks)) };
    tokio::select! {
        (sources, sinks) = checks => sources.into_iter().chain(sinks).collect(),
        never = log_waiting(&waiting) => match never {},
    }
}

/// Logs who has not answered yet, again and again.
async fn log_waiting(waiting: &RunningComponents) -> std::convert::Infallible {
    let begin = Instant::now();
    let mut ticks = tokio::time::interval_at(begin + FIRST_PROGRESS, PROGRESS_INTERVAL);
    loop {
        ticks.tick().await;
        let (components, waited_secs) = (waiting.list().join(", "), begin.elapsed().as_secs());
        tracing::info!(event = "healthcheck_waiting", components, waited_secs, "checking sources and sinks");
    }
}

async fn check_source(source: &ValidatedSource, clients: &HttpClients, clock: &SharedClock) -> HealthcheckResult {
    let (kind, name) = (ComponentKind::Source, source.name.clone());
    let settings = source.options.over(source.vendor.spec());
    let transport = match build_transport(source, clients, clock) {
        Ok(transport) => transport,
        Err(error) => return HealthcheckResult { kind, name, failure: Some(not_built(&error)) },
    };
    let check = collect::healthcheck(source.vendor.as_ref(), &settings, &transport, clock.now());
    let failure = match tokio::time::timeout(TIMEOUT, check).await {
        Err(_) => Some(timed_out()),
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            let is_transient = !error.kind.needs_user();
            Some(HealthcheckFailure { message: error.message, hint: error.hint, is_transient })
        }
    };
    HealthcheckResult { kind, name, failure }
}

async fn check_sink(pipeline: &ValidatedPipeline, sink: &ValidatedSink, clock: &SharedClock) -> HealthcheckResult {
    let (kind, name) = (ComponentKind::Sink, sink.name.clone());
    let mut sink = sink.clone();
    if let Some(oldest) = oldest_event(pipeline, &sink, clock) {
        sink.config.expect_events_since(oldest);
        sink.written.expect_events_since(oldest);
    }
    if let Err(error) = read_keys(&mut sink) {
        return HealthcheckResult { kind, name, failure: Some(not_built(&error)) };
    }
    let mut failure = None;
    if !pipeline.is_sharded() {
        failure = check_output(pipeline, &sink, clock).await;
    }
    for shard in checked_shards(pipeline) {
        let of_shard = pipeline.outputs_of_shard(shard);
        let sink = ValidatedSink { config: sink.written.with_shard(&shard.to_string()), ..sink.clone() };
        if let Some(found) = check_output(&of_shard, &sink, clock).await {
            failure = Some(HealthcheckFailure { message: format!("shard {shard}: {}", found.message), ..found });
            break;
        }
    }
    HealthcheckResult { kind, name, failure }
}

/// The shards whose outputs can be checked: those that have a journal here, or one of them before the first start. Of the
/// others the journal that may write them is not here.
fn checked_shards(pipeline: &ValidatedPipeline) -> Vec<u16> {
    if !pipeline.is_sharded() {
        return Vec::new();
    }
    let has_journal = |shard: &u16| shard_dirs::has_journal(&pipeline.settings.data_dir, *shard);
    let here: Vec<u16> = pipeline.shards.iter().copied().filter(has_journal).collect();
    if here.is_empty() { pipeline.shards.iter().copied().take(1).collect() } else { here }
}

/// Checks a sink as the journal of this pipeline writes it.
async fn check_output(
    pipeline: &ValidatedPipeline,
    sink: &ValidatedSink,
    clock: &SharedClock,
) -> Option<HealthcheckFailure> {
    let mut built = match build_sink(pipeline, sink, clock) {
        Ok(built) => built,
        Err(error) => return Some(not_built(&error)),
    };
    let progress = match SqliteJournal::sink_progress(&pipeline.settings.data_dir, &sink.name) {
        Ok(progress) => progress,
        Err(error) => return Some(not_built(&error)),
    };
    let SinkProgress { journal, generation, state, position, up_to } = &progress;
    let (generation, position, up_to) = (*generation, *position, *up_to);
    let stored = StoredPosition { journal, generation, state: state.as_deref(), position, up_to };
    match tokio::time::timeout(TIMEOUT, built.healthcheck(stored)).await {
        Err(_) => Some(timed_out()),
        Ok(Ok(())) => None,
        Ok(Err(SinkError::Transient { message, hint })) => {
            Some(HealthcheckFailure { message, hint, is_transient: true })
        }
        Ok(Err(SinkError::Stopped { message, hint })) => {
            Some(HealthcheckFailure { message, hint, is_transient: false })
        }
        Ok(Err(other)) => {
            Some(HealthcheckFailure { message: other.to_string(), hint: String::new(), is_transient: true })
        }
    }
}

/// Where the earliest backfill of the sink's sources begins.
fn oldest_event(pipeline: &ValidatedPipeline, sink: &ValidatedSink, clock: &SharedClock) -> Option<Timestamp> {
    let is_routed = |source: &&ValidatedSource| sink.routes.iter().any(|route| route.source == source.name);
    let settings = pipeline.sources.iter().filter(is_routed).map(|source| source.options.over(source.vendor.spec()));
    let backfills = settings.filter(|settings| settings.backfill_start_time.is_some());
    backfills.map(|settings| settings.starts_at(clock.now())).min()
}

/// Whether the pipeline can use its data directory; why not, if so. Changes nothing.
///
/// # Errors
/// [`JournalError`](crate::journal::JournalError) says what to do.
pub fn check_data_dir(pipeline: &ValidatedPipeline) -> Result<(), RunError> {
    let root = &pipeline.settings.data_dir;
    data_dir::check(root)?;
    shard_dirs::check(root, pipeline.settings.shards)?;
    if pipeline.is_sharded() {
        pipeline.data_dirs().iter().try_for_each(|directory| data_dir::check(directory))?;
    }
    Ok(())
}

fn not_built(error: &impl std::fmt::Display) -> HealthcheckFailure {
    HealthcheckFailure { message: error.to_string(), hint: String::new(), is_transient: false }
}

fn timed_out() -> HealthcheckFailure {
    HealthcheckFailure {
        message: format!("no answer within {} seconds", TIMEOUT.as_secs()),
        hint: "check the address and the network connection".to_owned(),
        is_transient: true,
    }
}
