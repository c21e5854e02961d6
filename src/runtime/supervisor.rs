//! Supervises the sources and sinks of a run: starts them, waits for their ends, and replaces those that a reload changes.
//!
//! ```text
//! reload: read, check, build --error--> nothing changes
//!            |
//!         compare, by component --> stop what changed or left --> wait for its end --> start what changed or is new
//!                                                                  (the others never notice)
//! ```
//!
//! A reload is a partial restart: what a component leaves open is in the journal, and the next one continues there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Interval, interval_at, timeout};

use super::changes::{Changes, Configuration, keep_fixed};
use super::deadline::RunningComponents;
use super::doubt::accept_ignored;
use super::live_config::{LiveConfig, Loaded};
use super::maintenance::{on_own_thread, retire_removed_components, roll_back_removed_sinks};
use super::report::RunError;
use super::start::{BuiltComponents, RunMode, Starter};
use super::tasks::Tasks;
use crate::collect::{CollectError, SourceEnd};
use crate::deliver::{DeliverError, SinkEnd};
use crate::journal::{ComponentKind, JournalError};
use crate::pipeline::{ActiveConfig, Diagnostic, FileDigests, ValidatedPipeline, ValidatedSink};
use crate::sinks::claims::{protect, release_files};
use crate::telemetry::ServiceManager;

/// While a reload waits, warnings come no more often than this.
const SHORTEST_WARNING_INTERVAL: Duration = Duration::from_secs(1);

/// What runs, and what it runs with.
pub(super) struct Supervisor {
    pub(super) sources: Tasks<SourceEnd, CollectError>,
    pub(super) sinks: Tasks<SinkEnd, DeliverError>,
    starter: Starter,
    config: watch::Sender<ActiveConfig>,
    files: FileDigests,
    manager: Arc<ServiceManager>,
    running: RunningComponents,
    /// Whether the reader of standard output has closed it.
    pub(super) reader_closed: bool,
}

/// Why a reload changes nothing.
#[derive(Debug)]
pub(super) struct ReloadFailure {
    error: String,
    hint: String,
    /// How many errors there are; the first one is shown.
    errors: usize,
}

impl Supervisor {
    /// Builds and starts all components of the active configuration. One that cannot be built does not keep the others from
    /// starting; a reload tries it again.
    pub(super) fn start(
        starter: Starter,
        config: watch::Sender<ActiveConfig>,
        running: RunningComponents,
        manager: Arc<ServiceManager>,
    ) -> Self {
        let pipeline = Arc::clone(&config.borrow().pipeline);
        let files = starter.options.config.as_ref().map(|live| live.files_of(&pipeline)).unwrap_or_default();
        let built = BuiltComponents::new(&pipeline, |_| true, &starter.options.clock);
        let (mut sources, mut sinks) = (Tasks::new(), Tasks::new());
        starter.start(&pipeline, built, &mut sources, &mut sinks);
        starter.options.started.cancel();
        manager.ready(&status_of(&pipeline));
        Self { sources, sinks, starter, config, files, manager, running, reader_closed: false }
    }

    /// Waits until all components have ended, and reloads on request.
    pub(super) async fn run(&mut self) {
        let live = self.starter.options.config.clone();
        let live = live.filter(|_| self.starter.options.mode == RunMode::Continuous);
        loop {
            if self.sources.is_empty() {
                self.starter.drain.cancel();
            }
            if self.sources.is_empty() && self.sinks.is_empty() {
                return;
            }
            tokio::select! {
                () = self.next_end() => {}
                live = requested(live.as_ref()) => self.reload(live).await,
            }
        }
    }

    /// Waits for the end of a component.
    async fn next_end(&mut self) {
        let name = tokio::select! {
            (name, _) = self.sources.next_end() => name,
            (name, end) = self.sinks.next_end() => {
                // Nobody reads what the sink writes any more: what was asked for is done.
                if end.as_ref().is_ok_and(|end| end.reader_closed) {
                    self.reader_closed = true;
                    self.starter.options.shutdown.cancel();
                }
                name
            }
        };
        self.running.remove(&name);
    }

    /// A run that ends is not changed any more: the next one reads the file.
    fn is_ending(&self) -> bool {
        self.starter.drain.is_cancelled() || self.starter.options.shutdown.is_cancelled()
    }

    async fn reload(&mut self, live: &LiveConfig) {
        if self.is_ending() && live.is_of_shard() {
            // Once it has ended it runs again with what was handed out.
            return;
        }
        self.manager.reloading();
        // The service manager waits for an answer in any case.
        let outcome = if self.is_ending() { Err(ReloadFailure::of_ending_run()) } else { self.try_reload(live).await };
        let now = self.starter.options.clock.now();
        live.answer(outcome.is_ok());
        self.config.send_modify(|config| {
            config.reload_succeeded = outcome.is_ok();
            if outcome.is_ok() {
                config.reload_succeeded_at = now;
            }
        });
        let status = if self.is_ending() { "ending".to_owned() } else { status_of(&self.config.borrow().pipeline) };
        match outcome {
            Ok(changes) => {
                log_reload(&changes);
                self.manager.ready(&status);
            }
            Err(failure) => {
                failure.log();
                self.manager.ready(&format!("{status}; the last reload failed, see the log"));
            }
        }
    }

    /// Applies the pipeline file as it is now. What can be refused is refused before anything is stopped.
    async fn try_reload(&mut self, live: &LiveConfig) -> Result<Changes, ReloadFailure> {
        let before = Arc::clone(&self.config.borrow().pipeline);
        let Loaded { mut pipeline, files } = live.reload().await.map_err(|found| ReloadFailure::of_file(&found))?;
        expect_same_shards(&before, &pipeline)?;
        keep_what_is_fixed(&before, &mut pipeline);
        let has_failed = |kind, name: &str| match kind {
            ComponentKind::Source => self.sources.has_failed(name),
            ComponentKind::Sink => self.sinks.has_failed(name),
        };
        let (old, new) = (
            Configuration { pipeline: &before, files: &self.files },
            Configuration { pipeline: &pipeline, files: &files },
        );
        let changes = Changes::between(old, new, has_failed);
        if !changes.is_empty() {
            self.apply(&before, &pipeline, &changes).await?;
            pipeline.log_warnings();
        }
        live.applied(&files);
        self.files = files;
        self.config.send_modify(|config| config.pipeline = Arc::new(pipeline));
        Ok(changes)
    }

    async fn apply(
        &mut self,
        before: &ValidatedPipeline,
        after: &ValidatedPipeline,
        changes: &Changes,
    ) -> Result<(), ReloadFailure> {
        self.expect_same_vendors(after).await?;
        let clock = Arc::clone(&self.starter.options.clock);
        let built = BuiltComponents::new(after, |name| changes.starts(name), &clock);
        let built = built.or_first_error(&changes.restarted)?;
        let stopped = changes.stopped();
        self.stop(before, &stopped, &losing_an_input(before, after)).await;
        let prepared = warn_while_waiting(before, &stopped, self.prepare(after, changes)).await;
        if let Err(error) = prepared {
            self.restore(before, &stopped);
            return Err(error.into());
        }
        self.starter.keep_rates(after);
        self.starter.start(after, built, &mut self.sources, &mut self.sinks);
        Ok(())
    }

    /// The journal refuses a source whose vendor has changed, and the source would end.
    async fn expect_same_vendors(&self, pipeline: &ValidatedPipeline) -> Result<(), RunError> {
        let sources: HashMap<_, _> = pipeline.sources.iter().map(|source| (&source.name, source)).collect();
        for known in self.starter.journal.sources().await? {
            if let Some(source) = sources.get(&known.name).filter(|source| source.vendor_name != known.vendor) {
                let now = source.vendor_name.to_owned();
                return Err(JournalError::OtherVendor { name: known.name, was: known.vendor, now }.into());
            }
        }
        Ok(())
    }

    /// Ends components in order, as at the end of a run, and waits for them however long that takes: what starts next may
    /// use the same target. Sinks that lose an input first deliver what they have of it; one that does not get there within
    /// the shutdown timeout leaves it to be skipped.
    async fn stop(&mut self, pipeline: &ValidatedPipeline, names: &BTreeSet<String>, drained: &BTreeSet<String>) {
        let at_once: BTreeSet<_> = names.difference(drained).cloned().collect();
        self.signal_stop(&at_once);
        // Only then no more comes of a source that leaves.
        self.ended(pipeline, &at_once).await;
        drained.iter().for_each(|name| self.sinks.drain(name));
        let _ = timeout(pipeline.settings.shutdown_timeout.0, self.ended(pipeline, drained)).await;
        self.signal_stop(drained);
        self.ended(pipeline, names).await;
        names.iter().for_each(|name| release_files(&pipeline.name, name));
    }

    fn signal_stop(&self, names: &BTreeSet<String>) {
        names.iter().for_each(|name| {
            self.sources.stop(name);
            self.sinks.stop(name);
        });
    }

    /// Waits until none of these components runs. Cancelling it loses nothing.
    async fn ended(&mut self, pipeline: &ValidatedPipeline, names: &BTreeSet<String>) {
        let mut ticks = warning_ticks(pipeline);
        loop {
            let running = [self.sources.still_running(names), self.sinks.still_running(names)].concat();
            if running.is_empty() {
                return;
            }
            tokio::select! {
                () = self.next_end() => {}
                _ = ticks.tick() => {
                    let components = running.join(", ");
                    tracing::warn!(event = "reload_waiting", components, "reload waits until these components have ended");
                }
            }
        }
    }

    /// What a start does before its components start.
    async fn prepare(&self, pipeline: &ValidatedPipeline, changes: &Changes) -> Result<(), RunError> {
        let journal = self.starter.journal.as_ref();
        let own_paths = pipeline.own_paths.clone();
        on_own_thread(move || protect(&own_paths)).await;
        let running = self.sinks.running().cloned().collect();
        roll_back_removed_sinks(pipeline, journal, &running).await?;
        if !changes.removed.is_empty() {
            retire_removed_components(pipeline, journal).await?;
        }
        let started = pipeline.sources.iter().filter(|source| changes.starts(&source.name));
        accept_ignored(started, journal).await
    }

    /// Starts what was stopped with its former settings.
    fn restore(&mut self, pipeline: &ValidatedPipeline, names: &BTreeSet<String>) {
        let built = BuiltComponents::new(pipeline, |name| names.contains(name), &self.starter.options.clock);
        self.starter.start(pipeline, built, &mut self.sources, &mut self.sinks);
    }
}

/// The sinks that no longer read a source that they have read.
fn losing_an_input(before: &ValidatedPipeline, after: &ValidatedPipeline) -> BTreeSet<String> {
    let inputs = |sink: &ValidatedSink| sink.routes.iter().map(|route| route.source.clone()).collect::<HashSet<_>>();
    let loses = |old: &&ValidatedSink| {
        let new = after.sinks.iter().find(|new| new.name == old.name);
        new.is_some_and(|new| !inputs(old).is_subset(&inputs(new)))
    };
    before.sinks.iter().filter(loses).map(|sink| sink.name.clone()).collect()
}

/// The number of shards stays as it is: journals are there.
pub(super) fn expect_same_shards(before: &ValidatedPipeline, after: &ValidatedPipeline) -> Result<(), ReloadFailure> {
    let text = |pipeline: &ValidatedPipeline| {
        pipeline.settings.shards.map_or_else(|| "no `shards`".to_owned(), |shards| format!("`shards: {shards}`"))
    };
    if before.settings.shards == after.settings.shards {
        return Ok(());
    }
    Err(ReloadFailure {
        error: format!("the file has {}, and the pipeline runs with {}", text(after), text(before)),
        hint: "set it back: the number of shards cannot be changed, since each has a journal".to_owned(),
        errors: 1,
    })
}

/// Puts back what only a start applies, and warns of it.
pub(super) fn keep_what_is_fixed(before: &ValidatedPipeline, after: &mut ValidatedPipeline) {
    for setting in keep_fixed(&before.settings, &mut after.settings) {
        let hint = "restart auditflow to apply it";
        tracing::warn!(event = "config_setting_kept", setting, hint, "a reload does not change this setting");
    }
    after.name.clone_from(&before.name);
}

/// When a reload that waits warns.
fn warning_ticks(pipeline: &ValidatedPipeline) -> Interval {
    let wait = pipeline.settings.shutdown_timeout.0;
    interval_at(Instant::now() + wait, wait.max(SHORTEST_WARNING_INTERVAL))
}

/// Waits for what follows the end of these components, however long that takes: it may use the file system of a target.
async fn warn_while_waiting<T>(
    pipeline: &ValidatedPipeline,
    ended: &BTreeSet<String>,
    step: impl Future<Output = T>,
) -> T {
    let mut step = std::pin::pin!(step);
    let mut ticks = warning_ticks(pipeline);
    loop {
        tokio::select! {
            done = &mut step => return done,
            _ = ticks.tick() => {
                let components = list(ended);
                tracing::warn!(
                    event = "reload_waiting",
                    components,
                    "these components have ended; reload waits for the journal or for the file system of an unfinished batch"
                );
            }
        }
    }
}

/// Waits for a request, if there can be one.
async fn requested(live: Option<&LiveConfig>) -> &LiveConfig {
    let Some(live) = live else { return std::future::pending().await };
    live.requested().await;
    live
}

impl ReloadFailure {
    /// What was selected at the start is not there.
    pub(super) fn of_selection(error: String) -> Self {
        Self { error, hint: "change the file back, or restart auditflow with other shards".to_owned(), errors: 1 }
    }

    pub(super) fn log(&self) {
        let Self { error, hint, errors } = self;
        tracing::error!(
            event = "config_reload_failed",
            error,
            hint,
            errors,
            "reload failed; the pipeline continues with its former configuration"
        );
    }

    fn of_ending_run() -> Self {
        Self {
            error: "the run is ending".to_owned(),
            hint: "restart auditflow to apply the file".to_owned(),
            errors: 1,
        }
    }

    pub(super) fn of_file(diagnostics: &[Diagnostic]) -> Self {
        let mut errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error());
        let first = errors.next();
        let place = first.map_or_else(String::new, |first| match first.span {
            Some(span) => format!("{}:{}:{}: ", first.file, span.line, span.column),
            None => format!("{}: ", first.file),
        });
        let (message, hint) = first.map(|first| (first.message.clone(), first.hint.clone())).unwrap_or_default();
        let hint = format!("{hint}; `auditflow validate` shows all errors");
        Self { error: place + &message, hint, errors: 1 + errors.count() }
    }
}

impl From<RunError> for ReloadFailure {
    fn from(error: RunError) -> Self {
        let hint = "fix the cause, then send SIGHUP again".to_owned();
        Self { error: error.to_string(), hint, errors: 1 }
    }
}

fn list(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn log_reload(changes: &Changes) {
    if changes.is_empty() {
        tracing::info!(event = "config_unchanged", "the pipeline file was read again: nothing has changed");
        return;
    }
    tracing::info!(
        event = "config_reloaded",
        added = list(&changes.added),
        changed = list(&changes.changed),
        removed = list(&changes.removed),
        restarted = list(&changes.restarted),
        settings = changes.settings.join(", "),
        "the changed pipeline file is applied"
    );
}

/// One line for the service manager.
pub(super) fn status_of(pipeline: &ValidatedPipeline) -> String {
    format!("running: sources {}, sinks {}", pipeline.sources.len(), pipeline.sinks.len())
}
