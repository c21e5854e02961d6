//! `auditflow check`: connects to every source and sink of a pipeline with the real credentials, and writes nothing.

use std::sync::Arc;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, StopSignals, print, print_stderr, runtime};
use super::read_only::Exit;
use super::validate;
use crate::clock::{SharedClock, SystemClock};
use crate::pipeline::{self, Environment, Overrides, PipelineFiles, ValidatedPipeline};
use crate::runtime::{self, HealthcheckFailure, HealthcheckResult};

/// Connect to every source and sink of a pipeline with the real credentials
///
/// Requests one page from each source and asks each sink whether it accepts writes; looks at the data directory, and whether
/// outputs that name their journal (files, S3) name this one. Keeps and writes nothing. `run` does the same before it starts. Exit code 0 if all succeed, 1 if one fails, 2 if the file is wrong,
/// 130 after Ctrl-C.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let pipeline = match pipeline::load(&arguments.files, &Environment::of_process(), &arguments.settings) {
        Ok(pipeline) => pipeline,
        Err(diagnostics) => {
            validate::print_diagnostics(&diagnostics);
            return EXIT_USAGE;
        }
    };
    let data_dir = runtime::check_data_dir(&pipeline);
    if let Err(error) = &data_dir {
        print_stderr(&format!("error: {error}\n"));
    }
    match check_components(&pipeline) {
        Ok(Ok(results)) => report(&results).max(if data_dir.is_ok() { EXIT_DONE } else { EXIT_FAILED }),
        Ok(Err(Exit(code))) => code,
        Err(reason) => {
            print_stderr(&format!("error: {reason}\n"));
            EXIT_FAILED
        }
    }
}

/// Checks all sources and sinks of a pipeline, on an async runtime of its own.
/// A signal ends it.
fn check_components(pipeline: &ValidatedPipeline) -> Result<Result<Vec<HealthcheckResult>, Exit>, String> {
    let runtime = runtime(pipeline.settings.threads)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let results = runtime.block_on(async {
        let mut signals = StopSignals::install()?;
        tokio::select! {
            biased;
            _ = signals.next() => Ok(Err(Exit(EXIT_INTERRUPTED))),
            results = runtime::healthcheck(pipeline, &clock) => Ok(Ok(results)),
        }
    });
    runtime.shutdown_background();
    results
}

fn report(results: &[HealthcheckResult]) -> u8 {
    let width = results.iter().map(|result| result.name.len()).max().unwrap_or(0);
    for result in results {
        let line = format!("{:<6} {:<width$}  {}\n", result.kind.as_str(), result.name, verdict(result));
        if !print(&line) {
            break;
        }
    }
    if results.iter().all(|result| result.failure.is_none()) { EXIT_DONE } else { EXIT_FAILED }
}

fn verdict(result: &HealthcheckResult) -> String {
    match &result.failure {
        None => "ok".to_owned(),
        Some(HealthcheckFailure { message, hint, .. }) if hint.is_empty() => format!("FAILED: {message}"),
        Some(HealthcheckFailure { message, hint, .. }) => format!("FAILED: {message}\n       hint: {hint}"),
    }
}
