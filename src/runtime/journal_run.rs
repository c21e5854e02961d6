//! The run of one journal from start to end: its sources, its sinks, and what keeps the journal.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::backlog::{backlog_reader, remaining_times};
use super::deadline::{RunningComponents, give_up};
use super::doubt::{accept_ignored, doubts, doubts_of_run};
use super::maintenance::{retire_removed_components, roll_back_removed_sinks, trim_regularly};
use super::report::{RunError, RunReport};
use super::start::{RunOptions, Starter};
use super::supervisor::Supervisor;
use super::writer_watch::watch_writer;
use crate::collect::{RateLimitGroups, SourceEnd};
use crate::journal::sqlite::{JournalOptions, SqliteJournal};
use crate::journal::{Journal, LogReader};
use crate::pipeline::{ActiveConfig, LogFormat, ValidatedPipeline};
use crate::sinks::claims::protect;
use crate::sinks::orphans::own_journal;
use crate::telemetry::{ServiceManager, progress};

/// Runs the pipeline of one journal to its end.
pub(super) async fn run_journal(
    journal: Arc<dyn Journal>,
    config: watch::Sender<ActiveConfig>,
    options: RunOptions,
    manager: Arc<ServiceManager>,
) -> Result<RunReport, RunError> {
    let pipeline = Arc::clone(&config.borrow().pipeline);
    let began = options.clock.now();
    let writer_watch = tokio::spawn(watch_writer(journal.head(), options.writer_ended.clone()));
    protect(&pipeline.own_paths);
    own_journal(&journal.identity().await?);
    roll_back_removed_sinks(&pipeline, journal.as_ref(), &BTreeSet::new()).await?;
    retire_removed_components(&pipeline, journal.as_ref()).await?;
    accept_ignored(pipeline.sources.iter(), journal.as_ref()).await?;
    let doubts_before = doubts(&pipeline, journal.as_ref()).await?;
    let mut report = RunReport::new(journal.stats().await?);
    let running = RunningComponents::of(&pipeline);
    let json = pipeline.settings.log.format == LogFormat::Json;
    let display_stop = CancellationToken::new();
    if options.show_progress {
        let backlogs = backlog_reader(config.subscribe(), &options.clock);
        let journals = vec![Arc::clone(&journal) as Arc<dyn LogReader>];
        tokio::spawn(progress::show(journals, Arc::clone(&options.clock), backlogs, display_stop.clone(), json));
    }
    let maintenance = trim_regularly(journal.clone(), Arc::clone(&options.clock), config.subscribe());
    let maintenance = tokio::spawn(maintenance.in_current_span());

    let stop = options.shutdown.clone();
    // Cancelled by the caller, or when a bounded run gives up.
    let options = RunOptions { shutdown: options.shutdown.child_token(), ..options };
    let watch = tokio::spawn(give_up(journal.clone(), options.clone(), running.clone(), began).in_current_span());
    let starter = Starter {
        journal: journal.clone(),
        options: options.clone(),
        rate_limit_groups: RateLimitGroups::default(),
        drain: CancellationToken::new(),
    };
    let mut supervisor = Supervisor::start(starter, config.clone(), running, Arc::clone(&manager));
    let cut_short = tokio::select! {
        biased;
        () = options.writer_ended.cancelled() => Err(RunError::JournalWriterEnded),
        () = supervisor.run() => Ok(false),
        () = past_deadline(&options.shutdown, &config, &manager) => Ok(true),
        never = prove_progress(std::slice::from_ref(&journal), &manager) => match never {},
    };
    manager.stopping();
    watch.abort();
    maintenance.abort();
    display_stop.cancel();
    (report.cut_short, report.stopped) = (cut_short?, stop.is_cancelled() || supervisor.reader_closed);
    let pipeline = Arc::clone(&config.borrow().pipeline);
    report.sources = supervisor.sources.into_ends(pipeline.sources.iter().map(|source| &source.name));
    report.sinks = supervisor.sinks.into_ends(pipeline.sinks.iter().map(|sink| &sink.name));
    report.stats = journal.stats().await?;
    report.backlogs = remaining_times(&pipeline, &options.clock).await;
    report.doubts = doubts_of_run(&doubts_before, doubts(&pipeline, journal.as_ref()).await?);
    let has_finished = |name: &str| {
        report.sources.iter().any(|(source, end)| source == name && matches!(end, Ok(SourceEnd::Finished)))
    };
    report.backlogs.retain(|(name, _)| !has_finished(name));
    writer_watch.abort();
    Ok(report)
}

pub(super) fn open_journal(pipeline: &ValidatedPipeline) -> Result<Arc<dyn Journal>, RunError> {
    let data_dir = pipeline.settings.data_dir.clone();
    Ok(Arc::new(SqliteJournal::open(&JournalOptions { data_dir, max_size: pipeline.settings.journal.max_size })?))
}

/// Ends when a shutdown has taken too long.
async fn past_deadline(shutdown: &CancellationToken, config: &watch::Sender<ActiveConfig>, manager: &ServiceManager) {
    shutdown.cancelled().await;
    manager.stopping();
    let deadline = config.borrow().pipeline.settings.shutdown_timeout.0;
    tokio::time::sleep(deadline).await;
}

/// Tells the service manager again and again that the run makes progress: that the task which supervises it is scheduled, and
/// that the journal's thread, which all collecting and delivering passes through, answers. A vendor, a target or a disk that
/// returns errors is no reason for a restart.
pub(super) async fn prove_progress(
    journals: &[Arc<dyn Journal>],
    manager: &ServiceManager,
) -> std::convert::Infallible {
    let Some(interval) = manager.watchdog_interval() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(interval);
    loop {
        ticks.tick().await;
        for journal in journals {
            // An error is an answer too; the end of the thread ends the run.
            let _ = journal.pass_through().await;
        }
        manager.alive();
    }
}
