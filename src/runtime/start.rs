//! Builds the components of a pipeline and starts one task per source and one per sink.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::report::RunError;
use crate::clock::{SharedClock, SystemClock};
use crate::collect::{self, CollectError, HttpClients, HttpTransport, SourceEnd};
use crate::deliver::{self, DeliverError, SinkEnd};
use crate::diagnostic::SettingDiagnostic;
use crate::journal::Journal;
use crate::pipeline::{ValidatedPipeline, ValidatedSink, ValidatedSource};
use crate::sinks::registry::SinkName;
use crate::sinks::{Sink, dead_letter};

/// How long a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunMode {
    /// Until it is stopped, or until every source has reached its `end_time`.
    Continuous,
    /// Until everything that the vendors report up to the start is collected and delivered.
    Once {
        /// The run ends if errors have blocked all remaining work for this long.
        give_up_after: Duration,
    },
}

/// The options of a run.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How long it runs.
    pub mode: RunMode,
    /// The clock.
    pub clock: SharedClock,
    /// Seeds the jitter of all waits.
    pub seed: u64,
    /// Cancelled by the caller: stop after the page or batch in progress.
    pub shutdown: CancellationToken,
    /// Cancelled by the run once the journal is open and every source and sink has started.
    pub started: CancellationToken,
    /// Cancelled by the run if the journal can no longer be written, whatever the disk does: only a restart helps.
    pub writer_ended: CancellationToken,
    /// Whether to show progress on standard error.
    pub show_progress: bool,
}

impl RunOptions {
    /// Options with the system clock, a random seed and no progress.
    #[must_use]
    pub fn new(mode: RunMode, shutdown: CancellationToken) -> Self {
        Self {
            mode,
            clock: Arc::new(SystemClock),
            seed: fastrand::u64(..),
            shutdown,
            started: CancellationToken::new(),
            writer_ended: CancellationToken::new(),
            show_progress: false,
        }
    }
}

/// The running tasks, each with the name of its component.
pub(super) type Tasks<T> = JoinSet<(String, T)>;

/// A window may take this part of the journal before it is complete.
const STAGED_SHARE: u64 = 4;
/// The delay between the starts of sources, so that a thousand of them do not connect at the same moment.
const START_INTERVAL: Duration = Duration::from_millis(5);

pub(super) fn start_sources(
    pipeline: &ValidatedPipeline,
    journal: &Arc<dyn Journal>,
    options: &RunOptions,
) -> Result<Tasks<Result<SourceEnd, CollectError>>, RunError> {
    let now = options.clock.now();
    let mut tasks = JoinSet::new();
    let clients = HttpClients::default();
    let rate_limit_groups = collect::RateLimitGroups::default();
    for (index, source) in pipeline.sources.iter().enumerate() {
        let settings = source.options.over(source.vendor.spec());
        let transport = build_transport(source, &clients, &options.clock)?;
        let delay = settings.spec.delay;
        let task = collect::Source { name: source.name.clone(), vendor: Arc::clone(&source.vendor), settings };
        let parts = collect::SourceContext {
            journal: journal.clone(),
            transport: Arc::new(transport),
            rate_limit_groups: rate_limit_groups.clone(),
            max_staged_bytes: pipeline.settings.journal.max_size.0 / STAGED_SHARE,
            clock: Arc::clone(&options.clock),
            rng_seed: options.seed.wrapping_add(index as u64),
            mode: match options.mode {
                RunMode::Continuous => collect::CollectMode::Continuous,
                // Later events may still change at the vendor; the next run collects them.
                RunMode::Once { .. } => collect::CollectMode::Once { until: now - delay },
            },
            shutdown: options.shutdown.clone(),
        };
        let name = source.name.clone();
        let wait = START_INTERVAL.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        tasks.spawn(async move {
            // A shutdown ends the wait early; the source then stops at once.
            let _ = tokio::time::timeout(wait, parts.shutdown.cancelled()).await;
            (name, collect::run(task, parts).await)
        });
    }
    Ok(tasks)
}

pub(super) fn start_sinks(
    pipeline: &ValidatedPipeline,
    journal: &Arc<dyn Journal>,
    options: &RunOptions,
    drain: &CancellationToken,
) -> Result<Tasks<Result<SinkEnd, DeliverError>>, RunError> {
    let mut tasks = JoinSet::new();
    for (index, sink) in pipeline.sinks.iter().enumerate() {
        let task = deliver::SinkTask {
            name: sink.name.clone(),
            sink: build_sink(pipeline, sink, &options.clock)?,
            routes: sink.routes.clone(),
            batch: sink.batch,
            start: sink.start,
            dead_letter: dead_letter::path(&pipeline.settings.data_dir, &sink.name),
        };
        let context = deliver::SinkContext {
            journal: journal.clone(),
            clock: Arc::clone(&options.clock),
            rng_seed: options.seed.wrapping_add(1_000 + index as u64),
            drain: drain.clone(),
            shutdown: options.shutdown.clone(),
        };
        let name = sink.name.clone();
        tasks.spawn(async move { (name, deliver::run(task, context).await) });
    }
    Ok(tasks)
}

pub(super) fn build_transport(
    source: &ValidatedSource,
    clients: &HttpClients,
    clock: &SharedClock,
) -> Result<HttpTransport, RunError> {
    HttpTransport::sharing(clients, source.vendor.base_url(), &source.options.tls, Arc::clone(clock))
        .map_err(|reason| RunError::Component { name: source.name.clone(), reason: reason.to_string() })
}

pub(super) fn build_sink(
    pipeline: &ValidatedPipeline,
    sink: &ValidatedSink,
    clock: &SharedClock,
) -> Result<Box<dyn Sink>, RunError> {
    let built = sink.config.build(Arc::clone(clock), SinkName { pipeline: &pipeline.name, sink: &sink.name });
    built.map_err(|reported| RunError::Component { name: sink.name.clone(), reason: in_one_line(&reported) })
}

fn in_one_line(reported: &[SettingDiagnostic]) -> String {
    let texts: Vec<String> =
        reported.iter().map(|one| format!("{}: {} ({})", one.key, one.message, one.hint)).collect();
    texts.join("; ")
}
