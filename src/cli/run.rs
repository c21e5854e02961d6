//! `auditflow run`: runs a pipeline until it is stopped, or once.

use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_USAGE, print_stderr, runtime, stop_on_signals};
use super::{check, summary, validate};
use crate::pipeline::{self, Environment, LogFormat, Overrides, ValidatedPipeline};
use crate::runtime::{HealthcheckFailure, HealthcheckResult};
use crate::runtime::{RunMode, RunOptions, RunReport};
use crate::telemetry::logging;
use crate::units::Span;

/// Run a pipeline until it is stopped
///
/// Ctrl-C or SIGTERM stops it after the current page and batch; a second signal ends it at once, and the next run recovers.
/// Exit code 0 if all work is done or the run was stopped, 1 if it failed, 2 if the file is wrong, 3 if a source or sink could
/// not finish its work, or if time that it read with --once is in doubt or unreadable.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    pub(super) file: PathBuf,
    /// Collect and deliver everything up to now, print a summary, and exit
    #[arg(long)]
    pub(super) once: bool,
    /// With --once: exit after errors have blocked all remaining work for this long
    #[arg(long, requires = "once", default_value = "5m", value_parser = Span::parse, value_name = "TIME")]
    pub(super) give_up_after: Span,
    /// Start without checking the sources and sinks first
    #[arg(long)]
    pub(super) skip_check: bool,
    /// Do not start unless the check of every source and sink succeeds
    #[arg(long, conflicts_with = "skip_check")]
    pub(super) require_healthy: bool,
    #[command(flatten)]
    pub(super) settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let pipeline = match pipeline::load(&arguments.file, &Environment::of_process(), &arguments.settings) {
        Ok(pipeline) => pipeline,
        Err(diagnostics) => {
            validate::print_diagnostics(&diagnostics);
            return EXIT_USAGE;
        }
    };
    let log = pipeline.settings.log;
    if let Err(reason) = logging::init(log.level.as_str(), log.format == LogFormat::Json) {
        print_stderr(&format!("error: {reason}\n"));
        return EXIT_USAGE;
    }
    for warning in &pipeline.warnings {
        tracing::warn!(event = "config_warning", setting = warning.key, hint = warning.hint, "{}", warning.message);
    }
    if !arguments.skip_check && !is_healthy(&pipeline) && arguments.require_healthy {
        print_stderr(
            "error: nothing was started: a source or sink failed its check; fix it, or run without --require-healthy\n",
        );
        return EXIT_FAILED;
    }
    let give_up_after = arguments.give_up_after.0;
    let mode = if arguments.once { RunMode::Once { give_up_after } } else { RunMode::Continuous };
    match run_pipeline(pipeline, mode) {
        Ok(report) => conclude(&report, mode, &arguments.file.display().to_string()),
        Err(reason) => {
            print_stderr(&format!("error: {reason}\n"));
            EXIT_FAILED
        }
    }
}

/// Checks all sources and sinks, logs those that fail, and returns whether none does.
///
/// A failed check does not stop the other components unless the user asks for that (`--require-healthy`): after a restart,
/// one expired token must not stop all collecting.
fn is_healthy(pipeline: &ValidatedPipeline) -> bool {
    let results = match check::check_components(pipeline) {
        Ok(results) => results,
        Err(error) => {
            tracing::error!(event = "healthcheck_failed", error, "the sources and sinks cannot be checked");
            return false;
        }
    };
    let mut healthy = true;
    for HealthcheckResult { kind, name, failure } in results {
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

fn conclude(report: &RunReport, mode: RunMode, file: &str) -> u8 {
    print_stderr(&summary::of(report, file));
    let once = mode != RunMode::Continuous;
    let incomplete = report.cut_short || !report.doubts.is_empty();
    if report.unfinished().is_empty() && !(incomplete && once) { EXIT_DONE } else { EXIT_INCOMPLETE }
}

/// Runs `pipeline` on an async runtime of its own until it is done or a signal stops it.
fn run_pipeline(pipeline: ValidatedPipeline, mode: RunMode) -> Result<RunReport, String> {
    let runtime = runtime(pipeline.settings.threads)?;
    let report = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(stop_on_signals(shutdown.clone()));
        let options = RunOptions { show_progress: true, ..RunOptions::new(mode, shutdown) };
        crate::runtime::run(pipeline, options).await.map_err(|error| error.to_string())
    });
    runtime.shutdown_background();
    report
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
        let (sources, sinks, backlogs) = (Vec::new(), Vec::new(), Vec::new());
        let mut report = RunReport { sources, sinks, stats, backlogs, doubts: Vec::new(), cut_short: false };
        let once = RunMode::Once { give_up_after: Duration::ZERO };
        assert_eq!(conclude(&report, once, "acme.yaml"), EXIT_DONE);
        report.doubts.push(("audit".to_owned(), doubt));
        assert_eq!(conclude(&report, once, "acme.yaml"), EXIT_INCOMPLETE);
        assert_eq!(conclude(&report, RunMode::Continuous, "acme.yaml"), EXIT_DONE);
        insta::assert_snapshot!(summary::of(&report, "acme.yaml"), @r"
        in doubt: audit: 2025-11-24T16:00:00Z to 2025-11-24T17:00:00Z: end, total; read again by the first run after 2025-11-24T17:15:00Z
        what came of this time is delivered; `auditflow coverage acme.yaml` says what to do
        ");
    }
}
