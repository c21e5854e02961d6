//! `auditflow check`: reaches every source and sink of a pipeline with the real credentials, and writes nothing.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::{run, validate};
use crate::clock::{SharedClock, SystemClock};
use crate::pipeline::{self, Environment, Overrides, ValidatedPipeline};
use crate::runtime::{HealthcheckFailure, HealthcheckResult, healthcheck};

/// Reach every source and sink of a pipeline with the real credentials
///
/// Asks each source for one page and each sink whether it could write. Nothing is kept and nothing left behind. `run` does
/// the same when it starts. Exit code 0 if all are well, 1 if one is not, 2 if the file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
    #[command(flatten)]
    settings: Overrides,
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
    match reach_all(&pipeline) {
        Ok(reached) => report(&reached),
        Err(reason) => {
            super::say(&format!("error: {reason}\n"));
            super::EXIT_FAILED
        }
    }
}

/// Reaches all parts of a pipeline, on a runtime of its own.
pub(super) fn reach_all(pipeline: &ValidatedPipeline) -> Result<Vec<HealthcheckResult>, String> {
    let runtime = run::runtime(pipeline.settings.threads)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let reached = runtime.block_on(healthcheck(pipeline, &clock)).map_err(|error| error.to_string());
    runtime.shutdown_background();
    reached
}

fn report(reached: &[HealthcheckResult]) -> u8 {
    let width = reached.iter().map(|part| part.name.len()).max().unwrap_or(0);
    let mut stdout = io::stdout().lock();
    for part in reached {
        // A reader that has closed the pipe wants no more lines.
        let _ = writeln!(stdout, "{:<6} {:<width$}  {}", part.kind.as_str(), part.name, verdict(part));
    }
    if reached.iter().all(|part| part.failure.is_none()) { super::EXIT_DONE } else { super::EXIT_FAILED }
}

fn verdict(part: &HealthcheckResult) -> String {
    match &part.failure {
        None => "ok".to_owned(),
        Some(HealthcheckFailure { message, hint, .. }) if hint.is_empty() => format!("FAILED: {message}"),
        Some(HealthcheckFailure { message, hint, .. }) => format!("FAILED: {message}\n       hint: {hint}"),
    }
}
