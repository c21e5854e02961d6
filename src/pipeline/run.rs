//! The running pipeline: starts one task a source and one a sink on a shared journal, and stops them in order.
//!
//! ```text
//!  sources ---pages--->  journal  ---blocks--->  sinks          upkeep: trims the journal
//!     |                                            |
//!     +-- all ended? ---- drain -------------------+-- all ended? --> report
//!  shutdown: both stop after what they have in hand, within the deadline
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::patience::{Running, give_up};
use super::plan::{Pipeline, SinkPlan, SourcePlan};
use super::survey;
use crate::clock::{SharedClock, SystemClock};
use crate::collect::{self, CollectError, HttpClients, HttpTransport, SourceEnd};
use crate::deliver::{self, DeliverError, SinkEnd};
use crate::diagnostic::SettingDiagnostic;
use crate::journal::sqlite::{JournalOptions, SqliteJournal};
use crate::journal::{Journal, JournalError, JournalStats, LastError, SinkStart};
use crate::observe::progress;
use crate::sinks::orphans::roll_back_orphans;
use crate::sinks::registry::SinkName;
use crate::sinks::{Sink, SinkError, dead_letter};
use crate::time::Timestamp;

/// How often the journal is trimmed.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// How long a pipeline runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until it is stopped, or until every source has reached its `end_time`.
    Continuous,
    /// Until everything that has settled by the moment of the start is collected and delivered.
    Once {
        /// How long trouble may keep the rest of the work from being done before the run ends without it.
        give_up_after: Duration,
    },
}

/// What a pipeline is run with.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// How long.
    pub mode: Mode,
    /// The time of day.
    pub clock: SharedClock,
    /// Seeds the jitter of all waits.
    pub seed: u64,
    /// Cancelled by the caller: stop after what is in hand.
    pub shutdown: CancellationToken,
    /// Whether progress is shown on standard error.
    pub show_progress: bool,
}

impl RunOptions {
    /// A run on the real clock, with waits of its own, that shows nothing.
    #[must_use]
    pub fn new(mode: Mode, shutdown: CancellationToken) -> Self {
        Self { mode, clock: Arc::new(SystemClock), seed: fastrand::u64(..), shutdown, show_progress: false }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct RunReport {
    /// Each source's end, by name, in the order of the file.
    pub sources: Vec<(String, Result<SourceEnd, CollectError>)>,
    /// Each sink's end, by name, in the order of the file.
    pub sinks: Vec<(String, Result<SinkEnd, DeliverError>)>,
    /// The journal's figures at the end.
    pub summary: JournalStats,
    /// Sources that were stopped in the middle of a backfill or of catching up, with the time that is still to be read.
    pub unread: Vec<(String, Duration)>,
    /// Whether the deadline cut the shutdown short. Nothing is lost by it: what was in hand is done again at the next start.
    pub cut_short: bool,
}

impl RunReport {
    /// Names of sources and sinks that could not do all of their work, with the reason.
    #[must_use]
    pub fn unfinished(&self) -> Vec<(&str, String)> {
        let sources = self.sources.iter().filter_map(|(name, end)| match end {
            Ok(SourceEnd::Stopped(fault)) => Some((name.as_str(), with_hint(&fault.message, &fault.hint))),
            Ok(_) => None,
            Err(error) => Some((name.as_str(), error.to_string())),
        });
        let sinks = self.sinks.iter().filter_map(|(name, end)| match end {
            Ok(_) => None,
            Err(error) => Some((name.as_str(), error.to_string())),
        });
        let mut unfinished: Vec<_> = sources.chain(sinks).collect();
        for (name, last_error) in self.troubles() {
            if !unfinished.iter().any(|(known, _)| *known == name) {
                unfinished.push((name, with_hint(&last_error.message, &last_error.hint)));
            }
        }
        unfinished
    }

    /// What kept sources and sinks of this run from their work when it ended.
    fn troubles(&self) -> Vec<(&str, &LastError)> {
        let of_source =
            |name: &str| self.summary.sources.iter().find(|source| source.name == name)?.last_error.as_ref();
        let of_sink = |name: &str| self.summary.sinks.iter().find(|sink| sink.name == name)?.last_error.as_ref();
        let sources = self.sources.iter().filter_map(|(name, _)| Some((name.as_str(), of_source(name)?)));
        let sinks = self.sinks.iter().filter_map(|(name, _)| Some((name.as_str(), of_sink(name)?)));
        sources.chain(sinks).collect()
    }
}

fn with_hint(message: &str, hint: &str) -> String {
    if hint.is_empty() { message.to_owned() } else { format!("{message}; {hint}") }
}

/// Why a pipeline could not be started.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal could not be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A part could not be built from its settings.
    #[error("{name}: {reason}")]
    Part {
        /// The source or sink.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Runs a pipeline to its end.
///
/// # Errors
/// Only when it cannot be started. What happens to one source or sink later is in the report.
pub async fn run(pipeline: Pipeline, options: RunOptions) -> Result<RunReport, RunError> {
    let journal = open_journal(&pipeline)?;
    undo_for_sinks_that_left(&pipeline, journal.as_ref()).await?;
    say_who_left(&pipeline, journal.as_ref()).await?;
    let display_stop = CancellationToken::new();
    if options.show_progress {
        let survey = survey::survey(&pipeline, &options.clock);
        tokio::spawn(progress::show(Arc::clone(&journal), Arc::clone(&options.clock), survey, display_stop.clone()));
    }
    let upkeep = tokio::spawn(upkeep(Arc::clone(&journal), Arc::clone(&options.clock), retention(&pipeline)));

    let deadline = pipeline.settings.shutdown_timeout();
    // What stops the parts: the caller's wish, or that a bounded run has to give up.
    let options = RunOptions { shutdown: options.shutdown.child_token(), ..options };
    let drain = CancellationToken::new();
    let mut sinks = start_sinks(&pipeline, &journal, &options, &drain)?;
    let mut sources = start_sources(&pipeline.sources, &journal, &options)?;
    let mut report = RunReport {
        sources: Vec::new(),
        sinks: Vec::new(),
        summary: empty_summary(),
        unread: Vec::new(),
        cut_short: false,
    };
    let running = Running::default();
    running.start(&pipeline);
    let watch = tokio::spawn(give_up(Arc::clone(&journal), options.clone(), running.clone()));
    let finish = async {
        let collecting = async {
            gather(&mut sources, &mut report.sources, &running).await;
            drain.cancel();
        };
        tokio::join!(collecting, gather(&mut sinks, &mut report.sinks, &running));
    };
    let cut_short = tokio::select! {
        () = finish => false,
        () = past_deadline(&options.shutdown, deadline) => true,
    };
    watch.abort();
    report.cut_short = cut_short;
    upkeep.abort();
    display_stop.cancel();
    in_file_order(&mut report.sources, pipeline.sources.iter().map(|source| source.name.as_str()));
    in_file_order(&mut report.sinks, pipeline.sinks.iter().map(|sink| sink.name.as_str()));
    report.summary = journal.summary().await?;
    report.unread = unread(&pipeline, &options.clock).await;
    let has_finished = |name: &str| {
        report.sources.iter().any(|(source, end)| source == name && matches!(end, Ok(SourceEnd::Finished)))
    };
    report.unread.retain(|(name, _)| !has_finished(name));
    Ok(report)
}

/// The time that sources leave unread, where they were stopped in the middle of a backfill or of catching up.
async fn unread(pipeline: &Pipeline, clock: &SharedClock) -> Vec<(String, Duration)> {
    let survey = survey::survey(pipeline, clock);
    let names: Vec<String> = pipeline.sources.iter().map(|source| source.name.clone()).collect();
    let stretches = tokio::task::spawn_blocking(move || survey(&names)).await.unwrap_or_default();
    stretches.into_iter().map(|(name, stretch)| (name, stretch.missing())).collect()
}

fn open_journal(pipeline: &Pipeline) -> Result<Arc<dyn Journal>, RunError> {
    let data_dir = pipeline.settings.data_dir.clone();
    Ok(Arc::new(SqliteJournal::open(&JournalOptions { data_dir, max_size: pipeline.settings.journal.max_size })?))
}

/// A sink that was taken out of the file, or renamed, in the middle of a batch has left unfinished lines behind. They are
/// undone before any sink writes: another one may write to the same files from now on.
async fn undo_for_sinks_that_left(pipeline: &Pipeline, journal: &dyn Journal) -> Result<(), RunError> {
    for sink in journal.summary().await?.sinks.into_iter().filter(|sink| sink.active) {
        if pipeline.sinks.iter().any(|configured| configured.name == sink.name) {
            continue;
        }
        let state = journal.open_sink(&sink.name, SinkStart::Beginning).await?;
        let Some(plan) = state.plan else { continue };
        roll_back_orphans(&plan.outputs)
            .map_err(|error| RunError::Part { name: sink.name.clone(), reason: explained(&error) })?;
        journal.abort_batch(state.id).await?;
        tracing::warn!(
            sink = sink.name,
            first = plan.first,
            last = plan.last,
            "the sink left the pipeline file in the middle of a batch: the batch is given up"
        );
    }
    Ok(())
}

fn explained(error: &SinkError) -> String {
    match error {
        SinkError::Transient { message, hint } | SinkError::Stopped { message, hint } => with_hint(message, hint),
        SinkError::Again { .. } | SinkError::Journal(_) => error.to_string(),
    }
}

/// Sinks and sources that the journal knows and the file no longer names.
async fn say_who_left(pipeline: &Pipeline, journal: &dyn Journal) -> Result<(), RunError> {
    let active: Vec<String> = pipeline.sinks.iter().map(|sink| sink.name.clone()).collect();
    for gone in journal.retire_sinks(active).await? {
        tracing::warn!(
            sink = gone,
            "the sink is no longer in the pipeline file: its position is kept, but events are trimmed without waiting for it"
        );
    }
    for source in journal.sources().await? {
        if !pipeline.sources.iter().any(|configured| configured.name == source.name) {
            tracing::info!(
                source = source.name,
                "the source is no longer in the pipeline file: its coverage is kept, nothing new is collected"
            );
        }
    }
    Ok(())
}

fn in_one_line(problems: &[SettingDiagnostic]) -> String {
    let texts: Vec<String> =
        problems.iter().map(|problem| format!("{}: {} ({})", problem.key, problem.message, problem.hint)).collect();
    texts.join("; ")
}

type Tasks<T> = JoinSet<(String, T)>;

/// Sources begin one after the other, so that a thousand of them do not all ask, connect and wait in the same moment.
const BETWEEN_STARTS: Duration = Duration::from_millis(5);

fn start_sources(
    plans: &[SourcePlan],
    journal: &Arc<dyn Journal>,
    options: &RunOptions,
) -> Result<Tasks<Result<SourceEnd, CollectError>>, RunError> {
    let now = options.clock.now();
    let mut tasks = JoinSet::new();
    let clients = HttpClients::default();
    for (index, plan) in plans.iter().enumerate() {
        let settings = plan.options.over(plan.vendor.spec());
        let transport = HttpTransport::sharing(&clients, plan.vendor.base_url(), Arc::clone(&options.clock))
            .map_err(|reason| RunError::Part { name: plan.name.clone(), reason: reason.to_string() })?;
        let delay = settings.spec.delay;
        let source = collect::Source { name: plan.name.clone(), vendor: Arc::clone(&plan.vendor), settings };
        let parts = collect::Parts {
            journal: Arc::clone(journal),
            transport: Arc::new(transport),
            clock: Arc::clone(&options.clock),
            rng_seed: options.seed.wrapping_add(index as u64),
            mode: match options.mode {
                Mode::Continuous => collect::Mode::Continuous,
                // What has not settled by now may still change at the vendor; the next run covers it.
                Mode::Once { .. } => collect::Mode::Once { until: now - delay },
            },
            shutdown: options.shutdown.clone(),
        };
        let name = plan.name.clone();
        let wait = BETWEEN_STARTS.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
        tasks.spawn(async move {
            // Whoever shuts down meanwhile is heard by the source.
            let _ = tokio::time::timeout(wait, parts.shutdown.cancelled()).await;
            (name, collect::run(source, parts).await)
        });
    }
    Ok(tasks)
}

fn start_sinks(
    pipeline: &Pipeline,
    journal: &Arc<dyn Journal>,
    options: &RunOptions,
    drain: &CancellationToken,
) -> Result<Tasks<Result<SinkEnd, DeliverError>>, RunError> {
    let mut tasks = JoinSet::new();
    for (index, plan) in pipeline.sinks.iter().enumerate() {
        let sink = build_sink(pipeline, plan, &options.clock)?;
        let task = deliver::SinkTask {
            name: plan.name.clone(),
            sink,
            routes: plan.routes.clone(),
            batch: plan.batch,
            start: plan.start,
            dead_letter: dead_letter::path(&pipeline.settings.data_dir, &plan.name),
        };
        let parts = deliver::SinkContext {
            journal: Arc::clone(journal),
            clock: Arc::clone(&options.clock),
            rng_seed: options.seed.wrapping_add(1_000 + index as u64),
            drain: drain.clone(),
            shutdown: options.shutdown.clone(),
        };
        let name = plan.name.clone();
        tasks.spawn(async move { (name, deliver::run(task, parts).await) });
    }
    Ok(tasks)
}

pub(super) fn build_sink(pipeline: &Pipeline, plan: &SinkPlan, clock: &SharedClock) -> Result<Box<dyn Sink>, RunError> {
    let sink = plan.config.build(Arc::clone(clock), SinkName { pipeline: &pipeline.name, sink: &plan.name });
    sink.map_err(|problems| RunError::Part { name: plan.name.clone(), reason: in_one_line(&problems) })
}

async fn gather<T: 'static, E: std::fmt::Display + 'static>(
    tasks: &mut Tasks<Result<T, E>>,
    ends: &mut Vec<(String, Result<T, E>)>,
    running: &Running,
) {
    while let Some(joined) = tasks.join_next().await {
        let (name, end) = joined.unwrap_or_else(resume_panic);
        if let Err(error) = &end {
            tracing::error!(part = name, "stopped: {error}");
        }
        running.ended(&name);
        ends.push((name, end));
    }
}

/// A panic of a part is a defect: it ends the process with its message instead of leaving a silent gap.
fn resume_panic<T>(failed: JoinError) -> T {
    match failed.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(cancelled) => unreachable!("no task is cancelled while it is gathered: {cancelled}"),
    }
}

async fn past_deadline(shutdown: &CancellationToken, deadline: Duration) {
    shutdown.cancelled().await;
    tokio::time::sleep(deadline).await;
}

fn in_file_order<'a, T>(ends: &mut [(String, T)], names: impl Iterator<Item = &'a str>) {
    let order: Vec<&str> = names.collect();
    ends.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
}

#[derive(Clone, Copy, Debug)]
struct Retention {
    events: Duration,
    keys: Duration,
}

fn retention(pipeline: &Pipeline) -> Retention {
    let journal = &pipeline.settings.journal;
    Retention { events: journal.retention.0, keys: journal.key_retention.0 }
}

async fn upkeep(journal: Arc<dyn Journal>, clock: SharedClock, retention: Retention) {
    let mut ticks = tokio::time::interval(UPKEEP_INTERVAL);
    loop {
        ticks.tick().await;
        let now: Timestamp = clock.now();
        // A full journal makes the sources pause: then room goes before retention.
        let visible_before = if *journal.full().borrow() { now } else { now - retention.events };
        match journal.trim(visible_before, now - retention.keys).await {
            Ok(0) => {}
            Ok(events) => tracing::debug!(events, "journal trimmed"),
            Err(error) => tracing::warn!("the journal could not be trimmed: {error}"),
        }
    }
}

fn empty_summary() -> JournalStats {
    JournalStats { sources: Vec::new(), sinks: Vec::new(), head: 0, oldest: 1, bytes: 0 }
}
