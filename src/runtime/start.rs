//! Builds components of a pipeline, and starts one task per source and one per sink.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::live_config::LiveConfig;
use super::report::RunError;
use super::tasks::{Signals, Tasks};
use crate::clock::{SharedClock, SystemClock};
use crate::collect::{self, CollectError, HttpClients, HttpTransport, SourceEnd};
use crate::deliver::{self, DeliverError, SinkEnd};
use crate::diagnostic::SettingDiagnostic;
use crate::journal::Journal;
use crate::pipeline::{ValidatedPipeline, ValidatedSink, ValidatedSource};
use crate::sinks::registry::SinkName;
use crate::sinks::{Sink, dead_letter};
use crate::units::Rate;

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
    /// The pipeline file, if it is to be read again on request; the run begins with its active pipeline. [`RunMode::Once`]
    /// does not read it again.
    pub config: Option<LiveConfig>,
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
            config: None,
        }
    }
}

/// A window may take this part of the journal before it is complete.
const STAGED_SHARE: u64 = 4;
/// The delay between the starts of sources, so that a thousand of them do not connect at the same moment.
const START_INTERVAL: Duration = Duration::from_millis(5);

type BuiltTransport = Result<HttpTransport, CollectError>;
type BuiltSink = Result<Box<dyn Sink>, DeliverError>;

/// Components that are built, or cannot be built, and are not started. Nothing is open or connected yet.
pub(super) struct BuiltComponents {
    sources: Vec<(ValidatedSource, BuiltTransport)>,
    sinks: Vec<(ValidatedSink, BuiltSink)>,
}

impl BuiltComponents {
    /// Builds those components of a pipeline whose names are `wanted`.
    pub(super) fn new(pipeline: &ValidatedPipeline, wanted: impl Fn(&str) -> bool, clock: &SharedClock) -> Self {
        // New clients, since files of certificates may have changed.
        let clients = HttpClients::default();
        let (mut sources, mut sinks) = (Vec::new(), Vec::new());
        for sink in pipeline.sinks.iter().filter(|sink| wanted(&sink.name)) {
            let mut sink = sink.clone();
            let built = read_keys(&mut sink).and_then(|()| build_sink(pipeline, &sink, clock));
            sinks.push((sink, built));
        }
        for source in pipeline.sources.iter().filter(|source| wanted(&source.name)) {
            sources.push((source.clone(), build_transport(source, &clients, clock)));
        }
        Self { sources, sinks }
    }

    /// # Errors
    /// One of them cannot be built, and it is none of those that had failed before.
    pub(super) fn or_first_error(self, had_failed: &BTreeSet<String>) -> Result<Self, RunError> {
        let of_sinks =
            self.sinks.iter().filter_map(|(sink, built)| Some((&sink.name, built.as_ref().err()?.to_string())));
        let of_sources =
            self.sources.iter().filter_map(|(source, built)| Some((&source.name, built.as_ref().err()?.to_string())));
        let first = of_sinks.chain(of_sources).find(|(name, _)| !had_failed.contains(*name));
        let error = first.map(|(name, reason)| RunError::Component { name: name.clone(), reason });
        error.map_or(Ok(self), Err)
    }
}

/// What the components of a run share.
pub(super) struct Starter {
    pub(super) journal: Arc<dyn Journal>,
    pub(super) options: RunOptions,
    pub(super) rate_limit_groups: collect::RateLimitGroups,
    pub(super) drain: CancellationToken,
}

impl Starter {
    /// Starts components of a pipeline. Those that cannot be built end at once with their error: the others must not wait for
    /// them.
    pub(super) fn start(
        &self,
        pipeline: &ValidatedPipeline,
        built: BuiltComponents,
        sources: &mut Tasks<SourceEnd, CollectError>,
        sinks: &mut Tasks<SinkEnd, DeliverError>,
    ) {
        for (index, (sink, target)) in built.sinks.into_iter().enumerate() {
            let signals = Signals::below(&self.options.shutdown, &self.drain);
            let target = match target {
                Ok(target) => target,
                Err(error) => {
                    let journal = self.journal.clone();
                    sinks.spawn(sink.name.clone(), signals, async move {
                        // Now the journal keeps the events for it.
                        journal.open_sink(&sink.name, sink.start).await.map_err(DeliverError::Journal)?;
                        Err(error)
                    });
                    continue;
                }
            };
            let task = deliver::SinkTask {
                name: sink.name.clone(),
                sink: target,
                routes: sink.routes,
                batch: sink.batch,
                start: sink.start,
                dead_letter: dead_letter::path(&pipeline.settings.data_dir, &sink.name),
            };
            let context = deliver::SinkContext {
                journal: self.journal.clone(),
                clock: Arc::clone(&self.options.clock),
                rng_seed: self.options.seed.wrapping_add(1_000 + index as u64),
                drain: signals.drain.clone(),
                shutdown: signals.stop.clone(),
            };
            sinks.spawn(sink.name, signals, deliver::run(task, context));
        }
        for (index, (source, transport)) in built.sources.into_iter().enumerate() {
            let signals = Signals::below(&self.options.shutdown, &self.drain);
            let transport = match transport {
                Ok(transport) => transport,
                Err(error) => {
                    sources.spawn(source.name, signals, std::future::ready(Err(error)));
                    continue;
                }
            };
            let (name, source, context) = self.source(pipeline, source, transport, index, signals.stop.clone());
            let wait = START_INTERVAL.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
            let (shutdown, collecting) = (signals.stop.clone(), collect::run(source, context));
            sources.spawn(name, signals, async move {
                // A shutdown ends the wait early; the source then stops at once.
                let _ = tokio::time::timeout(wait, shutdown.cancelled()).await;
                collecting.await
            });
        }
    }

    fn source(
        &self,
        pipeline: &ValidatedPipeline,
        source: ValidatedSource,
        transport: HttpTransport,
        index: usize,
        shutdown: CancellationToken,
    ) -> (String, collect::Source, collect::SourceContext) {
        let settings = source.options.over(source.vendor.spec());
        let options = &self.options;
        let context = collect::SourceContext {
            journal: self.journal.clone(),
            transport: Arc::new(transport),
            rate_limit_groups: self.rate_limit_groups.clone(),
            max_staged_bytes: pipeline.settings.journal.max_size.0 / STAGED_SHARE,
            clock: Arc::clone(&options.clock),
            rng_seed: options.seed.wrapping_add(index as u64),
            mode: match options.mode {
                RunMode::Continuous => collect::CollectMode::Continuous,
                // Later events may still change at the vendor; the next run collects them.
                RunMode::Once { .. } => collect::CollectMode::Once { until: options.clock.now() - settings.spec.delay },
            },
            shutdown,
        };
        let task = collect::Source { name: source.name.clone(), vendor: source.vendor, settings };
        (source.name, task, context)
    }

    /// Rates of groups that none of their sources has any more no longer hold.
    pub(super) fn keep_rates(&self, pipeline: &ValidatedPipeline) {
        let mut rates: BTreeMap<String, Vec<Rate>> = BTreeMap::new();
        for source in &pipeline.sources {
            let settings = source.options.over(source.vendor.spec());
            let Some(group) = settings.rate_limit_group else { continue };
            rates.entry(group).or_default().extend(settings.spec.rate_limit);
        }
        rates.iter().for_each(|(group, rates)| self.rate_limit_groups.keep_rates(group, rates));
    }
}

pub(super) fn build_transport(source: &ValidatedSource, clients: &HttpClients, clock: &SharedClock) -> BuiltTransport {
    HttpTransport::sharing(clients, source.vendor.base_url(), &source.options.tls, Arc::clone(clock))
        .map_err(|reason| CollectError::NotBuilt(reason.to_string()))
}

/// Reads the keys of what is redacted before the sink.
pub(super) fn read_keys(sink: &mut ValidatedSink) -> Result<(), DeliverError> {
    for route in &mut sink.routes {
        route.redactions.read_keys().map_err(|reason| {
            DeliverError::NotBuilt(format!(
                "a `redact` transform between source `{}` and this sink: {reason}",
                route.source
            ))
        })?;
    }
    Ok(())
}

pub(super) fn build_sink(pipeline: &ValidatedPipeline, sink: &ValidatedSink, clock: &SharedClock) -> BuiltSink {
    let built = sink.config.build(Arc::clone(clock), SinkName { pipeline: &pipeline.name, sink: &sink.name });
    built.map_err(|reported| DeliverError::NotBuilt(in_one_line(&reported)))
}

fn in_one_line(reported: &[SettingDiagnostic]) -> String {
    let texts: Vec<String> =
        reported.iter().map(|one| format!("{}: {} ({})", one.key, one.message, one.hint)).collect();
    texts.join("; ")
}
