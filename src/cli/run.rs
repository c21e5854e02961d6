//! `auditflow run`: runs a pipeline until it is stopped, or once.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{check, summary, validate};
use crate::pipeline::{self, Environment, LogFormat, Overrides, ValidatedPipeline};
use crate::runtime::{HealthcheckFailure, HealthcheckResult};
use crate::runtime::{RunMode, RunOptions, RunReport};
use crate::telemetry::logging;
use crate::units::Span;

/// Exit code of a process that a second signal ended: 128 + SIGINT.
const EXIT_SECOND_SIGNAL: i32 = 130;

/// Run a pipeline until it is stopped (Ctrl-C or SIGTERM: finish what is in hand; a second one: end at once)
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    pub(super) file: PathBuf,
    /// Collect and deliver everything up to now, print a summary, and end
    #[arg(long)]
    pub(super) once: bool,
    /// With --once: how long trouble (a vendor or disk that is away) may hold up the rest before the run ends without it
    #[arg(long, requires = "once", default_value = "5m", value_parser = Span::parse)]
    pub(super) give_up_after: Span,
    /// Begin without reaching every source and sink first
    #[arg(long)]
    pub(super) skip_check: bool,
    /// Do not begin unless every source and sink could be reached
    #[arg(long, conflicts_with = "skip_check")]
    pub(super) require_healthy: bool,
    #[command(flatten)]
    pub(super) settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let pipeline = match pipeline::load(&arguments.file, &Environment::of_process(), &arguments.settings) {
        Ok(pipeline) => pipeline,
        Err(problems) => {
            validate::report(&problems);
            return super::EXIT_USAGE;
        }
    };
    let log = pipeline.settings.log;
    if let Err(reason) = logging::init(log.level.as_str(), log.format == LogFormat::Json) {
        eprintln!("error: {reason}");
        return super::EXIT_USAGE;
    }
    for warning in &pipeline.warnings {
        tracing::warn!("{}: {}; {}", warning.key, warning.message, warning.hint);
    }
    if !arguments.skip_check && !all_reached(&pipeline) && arguments.require_healthy {
        super::say(
            "error: nothing was started, since not everything could be reached; mend it, or leave --require-healthy out\n",
        );
        return super::EXIT_FAILED;
    }
    let give_up_after = arguments.give_up_after.0;
    let mode = if arguments.once { RunMode::Once { give_up_after } } else { RunMode::Continuous };
    match run_to_the_end(pipeline, mode) {
        Ok(report) => conclude(&report, mode),
        Err(reason) => {
            super::say(&format!("error: {reason}\n"));
            super::EXIT_FAILED
        }
    }
}

/// Reaches all sources and sinks and logs what stands in the way; whether nothing does.
///
/// A part that cannot be reached does not keep the others from their work, unless the user asks for that: after a restart
/// at night, one expired token must not stop the collecting of all.
fn all_reached(pipeline: &ValidatedPipeline) -> bool {
    let reached = match check::reach_all(pipeline) {
        Ok(reached) => reached,
        Err(reason) => {
            tracing::error!("the check before the start: {reason}");
            return false;
        }
    };
    let mut all = true;
    for HealthcheckResult { kind, name, failure } in reached {
        let Some(HealthcheckFailure { message, hint, is_transient }) = failure else { continue };
        all = false;
        let kind = kind.as_str();
        if is_transient {
            tracing::warn!(
                part = name,
                hint = Some(hint).filter(|hint| !hint.is_empty()),
                "the check before the start: the {kind} cannot be reached: {message}"
            );
        } else {
            tracing::error!(part = name, hint, "the check before the start: the {kind} cannot work: {message}");
        }
    }
    all
}

fn conclude(report: &RunReport, mode: RunMode) -> u8 {
    super::say(&summary::of(report));
    let once = mode != RunMode::Continuous;
    if report.unfinished().is_empty() && !(report.cut_short && once) {
        super::EXIT_DONE
    } else {
        super::EXIT_INCOMPLETE
    }
}

/// Runs `pipeline` on a runtime of its own, with signals as the way to stop it.
pub(super) fn run_to_the_end(pipeline: ValidatedPipeline, mode: RunMode) -> Result<RunReport, String> {
    let runtime = runtime(pipeline.settings.threads)?;
    let report = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(stop_on_signals(shutdown.clone()));
        crate::runtime::run(pipeline, options(mode, shutdown)).await.map_err(|error| error.to_string())
    });
    runtime.shutdown_background();
    report
}

/// The runtime that a pipeline runs on; `threads` as in the settings, all cores if `None`.
pub(super) fn runtime(threads: Option<NonZeroUsize>) -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.get());
    }
    builder.enable_all().build().map_err(|reason| format!("cannot start threads: {reason}"))
}

/// The options of a run on the real clock.
pub(super) fn options(mode: RunMode, shutdown: CancellationToken) -> RunOptions {
    RunOptions { show_progress: true, ..RunOptions::new(mode, shutdown) }
}

/// The first signal asks for an orderly end, the second ends the process at once: the journal makes that safe.
pub(super) async fn stop_on_signals(shutdown: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!("signals cannot be listened to; a signal ends the process at once, and nothing is lost by it");
        return;
    };
    let mut either = async || {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    };
    either().await;
    shutdown.cancel();
    tracing::info!("stopping after what is in hand; a second signal ends at once");
    either().await;
    std::process::exit(EXIT_SECOND_SIGNAL);
}
