//! The run of several shards in one process: one run per journal, and for all of them one progress display, one reload, one
//! service manager and one report.
//!
//! ```text
//!                                +--> run of shard 0: journal, sources, sinks --+
//! pipeline --selected, of_shard--+--> run of shard 3                            +--> RunReport of all
//!                                +--> run of shard 6                          --+
//! reload: read once, hand out the part of each shard, wait until each has applied or refused it; a shard that had nothing to
//!         do any more runs again
//! ```
//!
//! A shard whose sources and sinks fail does not keep the others from working. What ends a run of one journal, as a journal that
//! cannot be written any more, ends the process in order: only a restart helps, and it is better done by whoever watches it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::backlog::backlog_reader;
use super::journal_run::{open_journal, prove_progress, run_journal};
use super::live_config::{LiveConfig, Loaded};
use super::maintenance::on_own_thread;
use super::report::{RunError, RunReport};
use super::start::{RunMode, RunOptions};
use super::supervisor::{ReloadFailure, expect_same_shards, keep_what_is_fixed, status_of};
use crate::journal::{Journal, LogReader, shard_dirs};
use crate::pipeline::{ActiveConfig, FileDigests, LogFormat, ValidatedPipeline};
use crate::sinks::claims::protect;
use crate::telemetry::{BacklogReader, ServiceManager, progress};

/// The seeds of two shards differ by more than those of their components.
const SEEDS_PER_SHARD: u64 = 1 << 32;

type EndOfShard = (u16, Result<RunReport, RunError>);

/// A shard whose journal is open.
#[derive(Clone)]
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
    let shutdown = options.shutdown.child_token();
    let shards = open(&pipeline, &options, &shutdown)?;
    protect(&pipeline.own_paths);
    if let Some(config) = &options.config {
        // Those that are watched.
        config.files_of(&pipeline);
    }
    let json = pipeline.settings.log.format == LogFormat::Json;
    let display_stop = CancellationToken::new();
    if options.show_progress {
        let journals = shards.iter().map(|shard| Arc::clone(&shard.journal) as Arc<dyn LogReader>).collect();
        let backlogs = backlogs(&shards, &options);
        tokio::spawn(progress::show(journals, Arc::clone(&options.clock), backlogs, display_stop.clone(), json));
    }
    let journals: Vec<_> = shards.iter().map(|shard| Arc::clone(&shard.journal)).collect();
    let mut runs = Runs::start(shards, &shutdown, &options);
    tokio::select! {
        () = runs.until_all_ended(&pipeline, &manager) => {}
        never = announce_stop(&shutdown, &manager) => match never {},
        never = prove_progress(&journals, &manager) => match never {},
    }
    display_stop.cancel();
    match runs.first_error {
        Some(error) => Err(error),
        None => Ok(RunReport::of_shards(runs.reports.into_iter().collect())),
    }
}

/// Opens all journals before anything starts: a process that runs one of the shards already keeps this one from starting.
fn open(
    pipeline: &ValidatedPipeline,
    options: &RunOptions,
    shutdown: &CancellationToken,
) -> Result<Vec<Shard>, RunError> {
    let data_dir = &pipeline.settings.data_dir;
    let count = pipeline.settings.shards.ok_or_else(|| RunError::Shards("the pipeline has no shards".to_owned()))?;
    shard_dirs::prepare(data_dir, count, &pipeline.selection, &pipeline.shards, &pipeline.shards_of_sources)?;
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
            writer_ended: CancellationToken::new(),
            show_progress: false,
            config: live.clone(),
            ..options.clone()
        };
        shards.push(Shard { number, journal, config, live, options });
    }
    shard_dirs::note_begun(data_dir, &pipeline.shards)?;
    Ok(shards)
}

fn in_shard(shard: u16, error: RunError) -> RunError {
    RunError::Shard { shard, error: Box::new(error) }
}

/// Tells the service manager once that the process stops.
async fn announce_stop(shutdown: &CancellationToken, manager: &ServiceManager) -> std::convert::Infallible {
    shutdown.cancelled().await;
    manager.stopping();
    std::future::pending().await
}

/// The backlogs of all shards.
fn backlogs(shards: &[Shard], options: &RunOptions) -> BacklogReader {
    let readers: Vec<_> = shards.iter().map(|shard| backlog_reader(shard.config.subscribe(), &options.clock)).collect();
    Arc::new(move |names| readers.iter().flat_map(|reader| reader(names)).collect())
}

/// The shards of a process, the runs of those that work, and the reports of those that have ended.
struct Runs {
    shards: Vec<Shard>,
    running: JoinSet<EndOfShard>,
    reports: BTreeMap<u16, RunReport>,
    first_error: Option<RunError>,
    shutdown: CancellationToken,
    options: RunOptions,
}

impl Runs {
    fn start(shards: Vec<Shard>, shutdown: &CancellationToken, options: &RunOptions) -> Self {
        let mut runs = Self {
            shards,
            running: JoinSet::new(),
            reports: BTreeMap::new(),
            first_error: None,
            shutdown: shutdown.clone(),
            options: options.clone(),
        };
        (0..runs.shards.len()).for_each(|index| runs.spawn(index));
        runs
    }

    fn spawn(&mut self, index: usize) {
        let shard = self.shards[index].clone();
        let number = shard.number;
        let run = run_shard(shard, self.shutdown.clone(), self.options.writer_ended.clone());
        self.running.spawn(run.instrument(tracing::error_span!("shard", shard = number)));
    }

    /// Waits until all shards have ended, and reloads on request. A process whose shards have no sources waits for some.
    async fn until_all_ended(&mut self, pipeline: &ValidatedPipeline, manager: &ServiceManager) {
        let config = self.options.config.clone().filter(|_| self.options.mode == RunMode::Continuous);
        let started: Vec<_> = self.shards.iter().map(|shard| shard.options.started.clone()).collect();
        let mut all_started = std::pin::pin!(async move {
            for started in started {
                started.cancelled().await;
            }
        });
        let shutdown = self.shutdown.clone();
        let mut is_ready = false;
        loop {
            let has_no_sources = |config: &LiveConfig| config.active().borrow().pipeline.sources.is_empty();
            let waits = config.as_ref().is_some_and(has_no_sources) && !shutdown.is_cancelled();
            if self.running.is_empty() && !waits {
                return;
            }
            tokio::select! {
                Some(joined) = self.running.join_next() => self.ended(joined),
                () = shutdown.cancelled(), if waits => {}
                () = &mut all_started, if !is_ready => {
                    is_ready = true;
                    self.options.started.cancel();
                    manager.ready(&status_of(pipeline));
                }
                config = requested(config.as_ref()), if is_ready => self.reload(config, manager).await,
            }
        }
    }

    fn ended(&mut self, joined: Result<EndOfShard, JoinError>) {
        let (number, end) = joined.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        match end {
            Ok(mut report) => {
                // Nobody reads standard output any more: what was asked for is done.
                if report.stopped {
                    self.shutdown.cancel();
                }
                if let Some(earlier) = self.reports.remove(&number) {
                    report.before = earlier.before;
                }
                self.reports.insert(number, report);
            }
            Err(error) => {
                self.first_error.get_or_insert(in_shard(number, error));
            }
        }
    }

    async fn reload(&mut self, config: &LiveConfig, manager: &ServiceManager) {
        manager.reloading();
        let applied = self.apply(config).await;
        if let Err(failure) = &applied {
            failure.log();
        }
        let succeeded = applied.unwrap_or(false);
        let (sender, now) = (config.sender(), self.options.clock.now());
        sender.send_modify(|active| {
            active.reload_succeeded = succeeded;
            if succeeded {
                active.reload_succeeded_at = now;
            }
        });
        let status = status_of(&sender.borrow().pipeline);
        let failed = if succeeded { "" } else { "; the last reload failed, see the log" };
        manager.ready(&format!("{status}{failed}"));
    }

    /// Applies the files as they are now. Whether all shards have; one that has not says why.
    async fn apply(&mut self, config: &LiveConfig) -> Result<bool, ReloadFailure> {
        let Loaded { pipeline, files } = config.reload().await.map_err(|found| ReloadFailure::of_file(&found))?;
        let before = Arc::clone(&config.sender().borrow().pipeline);
        expect_same_shards(&before, &pipeline)?;
        let mut pipeline = pipeline.selected(&before.selection).map_err(ReloadFailure::of_selection)?;
        keep_what_is_fixed(&before, &mut pipeline);
        let (own_paths, data_dir) = (pipeline.own_paths.clone(), pipeline.settings.data_dir.clone());
        let sources = pipeline.shards_of_sources.clone();
        let noted = on_own_thread(move || {
            protect(&own_paths);
            shard_dirs::note_sources(&data_dir, &sources)
        });
        noted.await.map_err(RunError::from)?;
        let refused = self.hand_out(&pipeline, &files).await;
        if refused.is_empty() {
            config.applied(&files);
        }
        // What runs is reported, also if that is of two files.
        let is_refused = |shard: Option<u16>| shard.is_some_and(|shard| refused.contains(&shard));
        pipeline.sources.retain(|source| !is_refused(source.shard));
        pipeline.sources.extend(before.sources.iter().filter(|source| is_refused(source.shard)).cloned());
        config.sender().send_modify(|active| active.pipeline = Arc::new(pipeline));
        Ok(refused.is_empty())
    }

    /// Gives each shard its part; those that have ended run again, if they have sources. Returns those that have refused it.
    async fn hand_out(&mut self, pipeline: &ValidatedPipeline, files: &FileDigests) -> BTreeSet<u16> {
        let answers = self.shards.iter().map(async |shard| match &shard.live {
            Some(live) => live.hand_out(pipeline.of_shard(shard.number), files.clone()).await,
            None => None,
        });
        let answers = join_all(answers).await;
        let mut refused = BTreeSet::new();
        for (index, answer) in answers.into_iter().enumerate() {
            let number = self.shards[index].number;
            match (answer, self.shards[index].live.clone()) {
                (Some(true), _) => {}
                (None, Some(live)) if !self.shutdown.is_cancelled() => {
                    let part = pipeline.of_shard(number);
                    if !part.sources.is_empty() {
                        log_begin(number, &part);
                        live.begin_again(part);
                        self.spawn(index);
                    }
                }
                _ => drop(refused.insert(number)),
            }
        }
        refused
    }
}

fn log_begin(shard: u16, pipeline: &ValidatedPipeline) {
    let added: Vec<_> = pipeline.sources.iter().map(|source| source.name.as_str()).collect();
    let added = added.join(", ");
    tracing::info!(event = "config_reloaded", shard, added, "the shard had nothing to do any more and runs again");
}

/// Waits for a request, if there can be one.
async fn requested(config: Option<&LiveConfig>) -> &LiveConfig {
    let Some(config) = config else { return std::future::pending().await };
    config.requested().await;
    config
}

/// Runs a shard to its end. An error ends the others in order.
async fn run_shard(shard: Shard, shutdown: CancellationToken, writer_ended: CancellationToken) -> EndOfShard {
    let Shard { number, journal, config, live, options } = shard;
    let own = options.writer_ended.clone();
    let report = run_journal(journal, config, options, Arc::default()).await;
    if own.is_cancelled() {
        writer_ended.cancel();
    }
    if report.is_err() {
        shutdown.cancel();
    }
    live.iter().for_each(LiveConfig::end);
    (number, report)
}
