//! Runs a pipeline from start to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::backlog::{backlog_reader, remaining_times};
use super::deadline::{RunningComponents, give_up};
use super::doubt::{accept_ignored, doubts, doubts_of_run};
use super::maintenance::{Retention, retire_removed_components, roll_back_removed_sinks, trim_regularly};
use super::report::{RunError, RunReport};
use super::start::{RunOptions, Tasks, start_sinks, start_sources};
use super::writer_watch::watch_writer;
use crate::collect::SourceEnd;
use crate::deliver::SinkEnd;
use crate::journal::Journal;
use crate::journal::sqlite::{JournalOptions, SqliteJournal};
use crate::pipeline::{LogFormat, ValidatedPipeline};
use crate::sinks::claims::protect;
use crate::sinks::orphans::own_journal;
use crate::telemetry::progress;

/// Runs a pipeline to its end.
///
/// # Errors
/// The pipeline cannot be started. Later errors of one source or sink are in the report.
pub async fn run(pipeline: ValidatedPipeline, options: RunOptions) -> Result<RunReport, RunError> {
    let began = options.clock.now();
    let journal = open_journal(&pipeline)?;
    let writer_watch = tokio::spawn(watch_writer(journal.head(), options.writer_ended.clone()));
    protect(&pipeline.own_paths);
    own_journal(&journal.identity().await?);
    roll_back_removed_sinks(&pipeline, journal.as_ref()).await?;
    retire_removed_components(&pipeline, journal.as_ref()).await?;
    accept_ignored(&pipeline, journal.as_ref()).await?;
    let doubts_before = doubts(&pipeline, journal.as_ref()).await?;
    let mut report = RunReport::new(journal.stats().await?);
    let display_stop = CancellationToken::new();
    if options.show_progress {
        let backlogs = backlog_reader(&pipeline, &options.clock);
        let json = pipeline.settings.log.format == LogFormat::Json;
        tokio::spawn(progress::show(journal.clone(), Arc::clone(&options.clock), backlogs, display_stop.clone(), json));
    }
    let maintenance =
        tokio::spawn(trim_regularly(journal.clone(), Arc::clone(&options.clock), Retention::of(&pipeline)));

    let deadline = pipeline.settings.shutdown_timeout.0;
    let stop = options.shutdown.clone();
    // Cancelled by the caller, or when a bounded run gives up.
    let options = RunOptions { shutdown: options.shutdown.child_token(), ..options };
    let drain = CancellationToken::new();
    let mut sinks = start_sinks(&pipeline, &journal, &options, &drain)?;
    let mut sources = start_sources(&pipeline, &journal, &options)?;
    options.started.cancel();
    let running = RunningComponents::of(&pipeline);
    let watch = tokio::spawn(give_up(journal.clone(), options.clone(), running.clone(), began));
    let closed = AtomicBool::new(false);
    let finish = async {
        let collecting = async {
            gather(&mut sources, &mut report.sources, &running, |_| ()).await;
            drain.cancel();
        };
        // Nobody reads what a sink writes any more: what was asked for is done.
        let sink_ended = |end: &SinkEnd| {
            if end.reader_closed {
                closed.store(true, Ordering::Relaxed);
                options.shutdown.cancel();
            }
        };
        tokio::join!(collecting, gather(&mut sinks, &mut report.sinks, &running, sink_ended));
    };
    let cut_short = tokio::select! {
        () = finish => false,
        () = past_deadline(&options.shutdown, deadline) => true,
    };
    watch.abort();
    (report.cut_short, report.stopped) = (cut_short, stop.is_cancelled() || closed.into_inner());
    maintenance.abort();
    display_stop.cancel();
    sort_in_file_order(&mut report.sources, pipeline.sources.iter().map(|source| source.name.as_str()));
    sort_in_file_order(&mut report.sinks, pipeline.sinks.iter().map(|sink| sink.name.as_str()));
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

fn open_journal(pipeline: &ValidatedPipeline) -> Result<Arc<dyn Journal>, RunError> {
    let data_dir = pipeline.settings.data_dir.clone();
    Ok(Arc::new(SqliteJournal::open(&JournalOptions { data_dir, max_size: pipeline.settings.journal.max_size })?))
}

/// Collects the results of tasks as they end.
async fn gather<T: 'static, E: std::fmt::Display + 'static>(
    tasks: &mut Tasks<Result<T, E>>,
    ends: &mut Vec<(String, Result<T, E>)>,
    running: &RunningComponents,
    ended: impl Fn(&T),
) {
    while let Some(joined) = tasks.join_next().await {
        let (name, end) = joined.unwrap_or_else(resume_panic);
        if let Err(error) = &end {
            tracing::error!(event = "component_failed", component = name, %error, "component failed");
        }
        if let Ok(end) = &end {
            ended(end);
        }
        running.remove(&name);
        ends.push((name, end));
    }
}

/// A panic of a task is a defect: it ends the process with its message, so that it cannot leave a silent gap.
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

fn sort_in_file_order<'a, T>(ends: &mut [(String, T)], names: impl Iterator<Item = &'a str>) {
    let order: Vec<&str> = names.collect();
    ends.sort_by_key(|(name, _)| order.iter().position(|known| known == name));
}
