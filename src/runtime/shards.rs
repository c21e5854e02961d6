//! The run of several shards in one process: one run per journal, and for all of them one progress display, one reload, one
//! service manager and one report.
//!
//! ```text
//!                                +--> run of shard 0: journal, sources, sinks --+
//! pipeline --selected, of_shard--+--> run of shard 3                            +--> RunReport of all
//!                                +--> run of shard 6                          --+
//! reload: read once, hand out the part of each shard, wait until each has applied or refused it
//! ```
//!
//! A shard whose sources and sinks fail does not keep the others from working. What ends a run of one journal, as a journal that
//! cannot be written any more, ends the process in order: only a restart helps, and it is better done by whoever watches it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::backlog::backlog_reader;
use super::changes::keep_fixed;
use super::journal_run::{open_journal, prove_progress, run_journal};
use super::live_config::{LiveConfig, Loaded};
use super::maintenance::on_own_thread;
use super::report::{RunError, RunReport};
use super::start::{RunMode, RunOptions};
use super::supervisor::{ReloadFailure, expect_same_shards, status_of};
use crate::clock::SharedClock;
use crate::journal::{Journal, JournalError, LogReader, SnapshotQuery, SqliteJournal, shard_dirs};
use crate::pipeline::{ActiveConfig, LogFormat, ValidatedPipeline};
use crate::sinks::claims::protect;
use crate::telemetry::{BacklogReader, ServiceManager, progress};

/// The seeds of two shards differ by more than those of their components.
const SEEDS_PER_SHARD: u64 = 1 << 32;

/// A shard that is ready to run.
struct Shard {
    number: u16,
    journal: Arc<dyn Journal>,
    config: watch::Sender<ActiveConfig>,
    /// If the pipeline file may be read again.
    live: Option<LiveConfig>,
    options: RunOptions,
}

/// Runs the selected shards of a pipeline to their end.
///
/// # Errors
/// A shard cannot be started, or nothing can write to its journal any more; the others have ended in order.
pub(super) async fn run(
    pipeline: ValidatedPipeline,
    options: RunOptions,
    manager: Arc<ServiceManager>,
) -> Result<RunReport, RunError> {
    let data_dir = pipeline.settings.data_dir.clone();
    let shards = pipeline.settings.shards.ok_or_else(|| RunError::Shards("the pipeline has no shards".to_owned()))?;
    shard_dirs::prepare(&data_dir, shards, &pipeline.selection, &pipeline.shards)?;
    expect_sources_in_place(&pipeline, &data_dir).await?;
    protect(&pipeline.own_paths);
    if let Some(config) = &options.config {
        // Those that are watched.
        config.files_of(&pipeline);
    }
    let shutdown = options.shutdown.child_token();
    let shards = open(&pipeline, &options, &shutdown)?;
    let json = pipeline.settings.log.format == LogFormat::Json;
    let display_stop = CancellationToken::new();
    if options.show_progress {
        let journals = shards.iter().map(|shard| Arc::clone(&shard.journal) as Arc<dyn LogReader>).collect();
        let backlogs = backlogs(&shards, &options);
        tokio::spawn(progress::show(journals, Arc::clone(&options.clock), backlogs, display_stop.clone(), json));
    }
    let started: Vec<_> = shards.iter().map(|shard| shard.options.started.clone()).collect();
    let journals: Vec<_> = shards.iter().map(|shard| Arc::clone(&shard.journal)).collect();
    let live: Vec<_> = shards.iter().filter_map(|shard| Some((shard.number, shard.live.clone()?))).collect();
    let mut runs = JoinSet::new();
    for shard in shards {
        let number = shard.number;
        let run = run_shard(shard, options.writer_ended.clone());
        runs.spawn(run.instrument(tracing::error_span!("shard", shard = number)));
    }
    let status = status_of(&pipeline);
    let reload = async {
        for started in &started {
            started.cancelled().await;
        }
        options.started.cancel();
        manager.ready(&status);
        match &options.config {
            Some(config) if options.mode == RunMode::Continuous => {
                reload_on_request(config, &live, &manager, &options.clock).await
            }
            _ => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = all_ended(runs, &shutdown) => ended,
        never = reload => match never {},
        never = announce_stop(&shutdown, &manager) => match never {},
        never = prove_progress(&journals, &manager) => match never {},
    };
    display_stop.cancel();
    Ok(RunReport::of_shards(ended?))
}

/// Opens all journals before anything starts: a process that runs one of the shards already keeps this one from starting.
fn open(
    pipeline: &ValidatedPipeline,
    options: &RunOptions,
    shutdown: &CancellationToken,
) -> Result<Vec<Shard>, RunError> {
    let mut shards = Vec::with_capacity(pipeline.shards.len());
    for number in pipeline.shards.iter().copied() {
        let of_shard = pipeline.of_shard(number);
        let journal = open_journal(&of_shard).map_err(|error| in_shard(number, error))?;
        let live = options.config.as_ref().map(|live| live.of_shard(of_shard.clone()));
        let config = live.as_ref().map_or_else(|| watch::Sender::new(ActiveConfig::new(of_shard)), LiveConfig::sender);
        let options = RunOptions {
            seed: options.seed.wrapping_add(SEEDS_PER_SHARD * u64::from(number)),
            shutdown: shutdown.child_token(),
            started: CancellationToken::new(),
            show_progress: false,
            config: live.clone(),
            ..options.clone()
        };
        shards.push(Shard { number, journal, config, live, options });
    }
    Ok(shards)
}

async fn run_shard(shard: Shard, writer_ended: CancellationToken) -> (u16, Result<RunReport, RunError>) {
    let Shard { number, journal, config, live, options } = shard;
    let options = RunOptions { writer_ended: CancellationToken::new(), ..options };
    let own = options.writer_ended.clone();
    let report = run_journal(journal, config, options, Arc::default()).await;
    if own.is_cancelled() {
        writer_ended.cancel();
    }
    live.iter().for_each(LiveConfig::end);
    (number, report)
}

/// Tells the service manager once that the process stops.
async fn announce_stop(shutdown: &CancellationToken, manager: &ServiceManager) -> std::convert::Infallible {
    shutdown.cancelled().await;
    manager.stopping();
    std::future::pending().await
}

/// The reports of all shards, by number. The first error ends the others in order.
async fn all_ended(
    mut runs: JoinSet<(u16, Result<RunReport, RunError>)>,
    shutdown: &CancellationToken,
) -> Result<Vec<(u16, RunReport)>, RunError> {
    let (mut reports, mut first_error) = (Vec::new(), None);
    while let Some(joined) = runs.join_next().await {
        let (number, end) = joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match end {
            Ok(report) => {
                // Nobody reads standard output any more: what was asked for is done.
                if report.stopped {
                    shutdown.cancel();
                }
                reports.push((number, report));
            }
            Err(error) => {
                shutdown.cancel();
                first_error.get_or_insert(in_shard(number, error));
            }
        }
    }
    reports.sort_by_key(|(number, _)| *number);
    first_error.map_or(Ok(reports), Err)
}

fn in_shard(shard: u16, error: RunError) -> RunError {
    RunError::Shard { shard, error: Box::new(error) }
}

/// The settings of a source may have changed so that it belongs to another shard. There it would collect everything again.
async fn expect_sources_in_place(pipeline: &ValidatedPipeline, data_dir: &Path) -> Result<(), RunError> {
    let shards: HashMap<_, _> =
        pipeline.sources.iter().filter_map(|source| Some((source.name.clone(), source.shard?))).collect();
    let (data_dir, numbers) = (data_dir.to_owned(), pipeline.settings.shards.map_or(0, |shards| shards.get()));
    on_own_thread(move || {
        let counters = SnapshotQuery { sources: Some(&[]), sinks: &[], evidence: None };
        for was in 0..numbers {
            let Some(journal) = SqliteJournal::snapshot(&shard_dirs::directory(&data_dir, was), &counters)? else {
                continue;
            };
            for name in journal.stats.sources.into_iter().map(|source| source.name) {
                if let Some(now) = shards.get(&name).copied().filter(|now| *now != was) {
                    return Err(JournalError::OtherShard { name, was, now }.into());
                }
            }
        }
        Ok(())
    })
    .await
}

/// The backlogs of all shards.
fn backlogs(shards: &[Shard], options: &RunOptions) -> BacklogReader {
    let readers: Vec<_> = shards.iter().map(|shard| backlog_reader(shard.config.subscribe(), &options.clock)).collect();
    Arc::new(move |names| readers.iter().flat_map(|reader| reader(names)).collect())
}

/// Reads the files when it is asked to, and hands each shard its part.
async fn reload_on_request(
    config: &LiveConfig,
    shards: &[(u16, LiveConfig)],
    manager: &ServiceManager,
    clock: &SharedClock,
) -> std::convert::Infallible {
    loop {
        config.requested().await;
        manager.reloading();
        let succeeded = reload(config, shards).await;
        let sender = config.sender();
        sender.send_modify(|active| {
            active.reload_succeeded = succeeded;
            if succeeded {
                active.reload_succeeded_at = clock.now();
            }
        });
        let status = status_of(&sender.borrow().pipeline);
        let failed = if succeeded { "" } else { "; the last reload failed, see the log" };
        manager.ready(&format!("{status}{failed}"));
    }
}

/// Whether all shards have applied the files as they are now.
async fn reload(config: &LiveConfig, shards: &[(u16, LiveConfig)]) -> bool {
    let Loaded { pipeline, files } = match config.reload().await {
        Ok(loaded) => loaded,
        Err(found) => {
            ReloadFailure::of_file(&found).log();
            return false;
        }
    };
    let sender = config.sender();
    let before = Arc::clone(&sender.borrow().pipeline);
    if let Err(failure) = expect_same_shards(&before, &pipeline) {
        failure.log();
        return false;
    }
    let pipeline = match pipeline.selected(&before.selection) {
        Ok(pipeline) => pipeline,
        Err(error) => {
            tracing::error!(event = "config_reload_failed", error, hint = "", errors = 1, "reload failed");
            return false;
        }
    };
    let own_paths = pipeline.own_paths.clone();
    on_own_thread(move || protect(&own_paths)).await;
    let answers = shards.iter().map(|(number, live)| live.hand_out(pipeline.of_shard(*number), files.clone()));
    // A shard that has ended applies nothing.
    let succeeded = join_all(answers).await.into_iter().all(|answer| answer.unwrap_or(true));
    if succeeded {
        config.applied(&files);
        let mut pipeline = ValidatedPipeline { name: before.name.clone(), ..pipeline };
        // Each shard has warned of them.
        keep_fixed(&before.settings, &mut pipeline.settings);
        sender.send_modify(|active| active.pipeline = Arc::new(pipeline));
    }
    succeeded
}
