//! `auditflow run`: runs a pipeline until it is stopped, or once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_USAGE, StopSignals, print_stderr, runtime};
use super::read_only::Exit;
use super::{summary, validate};
use crate::api::{ApiServer, RunState};
use crate::clock::{SharedClock, SystemClock};
use crate::pipeline::{Environment, LogFormat, Overrides, PipelineFiles, ValidatedPipeline};
use crate::runtime::{HealthcheckFailure, HealthcheckResult, LiveConfig};
use crate::runtime::{RunMode, RunOptions, RunReport};
use crate::shard::{ProcessShare, ShardList, ShardSelection, ranges};
use crate::telemetry::logging;
use crate::units::Span;

/// Run a pipeline until it is stopped
///
/// Ctrl-C or SIGTERM stops it after the current page and batch; a second signal ends it at once, and the next run recovers.
/// SIGHUP reads the files of the pipeline again and restarts the sources and sinks that have changed.
/// Exit code 0 if all work is done or the run was stopped, 1 if it failed, 2 if the file is wrong, 3 if a source or sink could
/// not finish its work, or if time that it read with --once is in doubt or unreadable, 130 if Ctrl-C ended the check at the
/// start.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) files: PipelineFiles,
    /// Collect and deliver everything up to now, print a summary, and exit
    #[arg(long)]
    pub(super) once: bool,
    /// With --once: exit after errors have blocked all remaining work for this long
    #[arg(long, requires = "once", default_value = "5m", value_parser = Span::parse, value_name = "TIME")]
    pub(super) give_up_after: Span,
    /// Reload as SIGHUP does when a file of the pipeline, or of a secret or certificate that it names, changes, or a directory
    /// of the pipeline has another file or one less
    #[arg(long, conflicts_with = "once")]
    pub(super) watch_config: bool,
    /// Start without checking the sources and sinks first
    #[arg(long)]
    pub(super) skip_check: bool,
    /// Do not start unless the check of every source and sink succeeds
    #[arg(long, conflicts_with = "skip_check")]
    pub(super) require_healthy: bool,
    /// Run these shards of a pipeline with `shards`: numbers and ranges, such as 0,3-5. Default: all
    #[arg(long, value_parser = ShardList::parse, value_name = "LIST")]
    pub(super) shard: Option<ShardList>,
    /// Run the shards of process I of M, from 0 on: those whose number modulo M is I. I may be a name that ends in -I, as a pod's
    #[arg(long, conflicts_with = "shard", value_parser = ProcessShare::parse, value_name = "I/M")]
    pub(super) process: Option<ProcessShare>,
    #[command(flatten)]
    pub(super) settings: Overrides,
}

impl Arguments {
    fn selection(&self) -> ShardSelection {
        match (&self.shard, self.process) {
            (Some(list), _) => ShardSelection::Listed(list.clone()),
            (None, Some(share)) => ShardSelection::Process(share),
            (None, None) => ShardSelection::All,
        }
    }
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let environment = Environment::of_process();
    let config = match LiveConfig::load(arguments.files.clone(), environment.clone(), arguments.settings.clone()) {
        Ok(config) => config,
        Err(diagnostics) => {
            validate::print_to_log(&diagnostics, arguments.settings.wants_json_log(&environment));
            return EXIT_USAGE;
        }
    };
    if let Err(reason) = config.select(&arguments.selection()) {
        print_stderr(&format!("error: {reason}\n"));
        return EXIT_USAGE;
    }
    let log = config.active().borrow().pipeline.settings.log;
    let json = log.format == LogFormat::Json;
    if let Err(reason) = logging::init(log.level.as_str(), json) {
        print_stderr(&format!("error: {reason}\n"));
        return EXIT_USAGE;
    }
    run_pipeline(&config, arguments, json).unwrap_or_else(|reason| {
        fail(json, &reason);
        EXIT_FAILED
    })
}

fn log_start(pipeline: &ValidatedPipeline) {
    let (version, sources, sinks) = (env!("CARGO_PKG_VERSION"), pipeline.sources.len(), pipeline.sinks.len());
    let shards = pipeline.is_sharded().then(|| ranges(&pipeline.shards));
    tracing::info!(
        event = "run_started",
        version,
        pipeline = pipeline.name,
        shards,
        sources,
        sinks,
        "auditflow starts"
    );
    pipeline.log_warnings();
}

fn fail(json: bool, reason: &str) {
    if json {
        tracing::error!(event = "run_failed", error = reason, "the pipeline cannot run");
    } else {
        print_stderr(&format!("error: {reason}\n"));
    }
}

/// Checks and runs a pipeline on an async runtime of its own until it is done or a signal stops it.
fn run_pipeline(config: &LiveConfig, arguments: &Arguments, json: bool) -> Result<u8, String> {
    let pipeline = Arc::clone(&config.active().borrow().pipeline);
    let give_up_after = arguments.give_up_after.0;
    let mode = if arguments.once { RunMode::Once { give_up_after } } else { RunMode::Continuous };
    let runtime = runtime(pipeline.settings.threads)?;
    let report = runtime.block_on(async {
        let mut signals =
            if arguments.once { StopSignals::install()? } else { StopSignals::install_with_reload(config.clone())? };
        log_start(&pipeline);
        let options = RunOptions {
            show_progress: true,
            config: Some(config.clone()),
            ..RunOptions::new(mode, CancellationToken::new())
        };
        serve_api(config, &options).await?;
        if let Err(Exit(code)) = check(&pipeline, arguments, &mut signals).await? {
            return Ok(Err(code));
        }
        tokio::spawn(signals.stop(options.shutdown.clone()));
        if arguments.watch_config {
            tokio::spawn(config.clone().watch_files());
        }
        crate::runtime::run(pipeline.as_ref().clone(), options).await.map(Ok).map_err(|error| error.to_string())
    });
    runtime.shutdown_background();
    Ok(match report? {
        Ok(report) => conclude(&report, mode, &arguments.files.to_string(), json),
        Err(code) => code,
    })
}

/// Serves metrics and health until the process ends, if the settings ask for it.
async fn serve_api(config: &LiveConfig, options: &RunOptions) -> Result<(), String> {
    let active = config.active();
    let Some(address) = active.borrow().pipeline.settings.api.address else { return Ok(()) };
    let server = ApiServer::bind(address).await.map_err(|error| error.to_string())?;
    tracing::info!(event = "api_started", address = %server.address(), "serving metrics and health");
    let state = RunState {
        started: options.started.clone(),
        shutdown: options.shutdown.clone(),
        writer_ended: options.writer_ended.clone(),
    };
    tokio::spawn(server.serve(active, state));
    Ok(())
}

/// The check at the start: whether the pipeline may run. A signal ends it at once.
async fn check(
    pipeline: &ValidatedPipeline,
    arguments: &Arguments,
    signals: &mut StopSignals,
) -> Result<Result<(), Exit>, String> {
    if arguments.skip_check {
        return Ok(Ok(()));
    }
    let healthy = tokio::select! {
        biased;
        code = signals.next() => return Ok(Err(Exit(code))),
        healthy = is_healthy(pipeline) => healthy,
    };
    if !healthy && arguments.require_healthy {
        return Err("nothing was started: a source or sink failed its check; fix it, or run without --require-healthy"
            .to_owned());
    }
    Ok(Ok(()))
}

/// Checks all sources and sinks, logs those that fail, and returns whether none does.
///
/// A failed check does not stop the other components unless the user asks for that (`--require-healthy`): after a restart,
/// one expired token must not stop all collecting.
async fn is_healthy(pipeline: &ValidatedPipeline) -> bool {
    let clock: SharedClock = Arc::new(SystemClock);
    let mut healthy = true;
    for HealthcheckResult { kind, name, failure } in crate::runtime::healthcheck(pipeline, &clock).await {
        let Some(HealthcheckFailure { message, hint, is_transient }) = failure else { continue };
        healthy = false;
        let (component, kind) = (name, kind.as_str());
        let (error, hint) = (message, Some(hint).filter(|hint| !hint.is_empty()));
        if is_transient {
            tracing::warn!(
                event = "healthcheck_failed",
                kind,
                component,
                error,
                hint,
                "check failed; retrying while the pipeline runs"
            );
        } else {
            tracing::error!(event = "healthcheck_failed", kind, component, error, hint, "check failed");
        }
    }
    healthy
}

fn conclude(report: &RunReport, mode: RunMode, file: &str, json: bool) -> u8 {
    if json {
        summary::log(report, file);
    } else {
        print_stderr(&summary::of(report, file));
    }
    let once = mode != RunMode::Continuous;
    let incomplete = report.cut_short || !report.doubts.is_empty();
    if report.unfinished().is_empty() && !(incomplete && once) { EXIT_DONE } else { EXIT_INCOMPLETE }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::runtime::{CoverageState, DoubtfulTime, JournalStats};
    use crate::time::{TimeRange, Timestamp};

    #[test]
    fn time_in_doubt_ends_a_bounded_run_with_3_and_the_summary_names_it() {
        let (from, to) = (Timestamp::from_secs(1_764_000_000), Timestamp::from_secs(1_764_003_600));
        let doubt = DoubtfulTime {
            range: TimeRange::new(from, to),
            state: CoverageState::InDoubt,
            reasons: vec!["end".to_owned(), "total".to_owned()],
            doubts: 1,
            since: to,
            next_recheck_at: Some(to + Duration::from_secs(900)),
        };
        let stats = JournalStats { sources: Vec::new(), sinks: Vec::new(), head: 0, oldest: 1, bytes: 0 };
        let mut report = RunReport::new(stats);
        let once = RunMode::Once { give_up_after: Duration::ZERO };
        assert_eq!(conclude(&report, once, "acme.yaml", false), EXIT_DONE);
        report.doubts.push(("audit".to_owned(), doubt));
        assert_eq!(conclude(&report, once, "acme.yaml", false), EXIT_INCOMPLETE);
        assert_eq!(conclude(&report, RunMode::Continuous, "acme.yaml", false), EXIT_DONE);
        insta::assert_snapshot!(summary::of(&report, "acme.yaml"), @r"
        in doubt: audit: 2025-11-24T16:00:00Z to 2025-11-24T17:00:00Z: end, total; read again by the first run after 2025-11-24T17:15:00Z
        what came of this time is delivered; `auditflow coverage acme.yaml` says what to do
        ");
    }
}
