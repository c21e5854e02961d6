//! `auditflow check`: reaches every source and sink of a pipeline with the real credentials, and writes nothing.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::{run, validate};
use crate::clock::{SharedClock, SystemClock};
use crate::pipeline::reach::{self, Reached};
use crate::pipeline::{self, Environment, Overrides, Pipeline};

/// Reach every source and sink of a pipeline with the real credentials
///
/// Asks each source for one page and each sink whether it could write. Nothing is written and nothing kept. `run` does the
/// same when it starts. Exit code 0 if all are well, 1 if one is not, 2 if the file is wrong.
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
            eprintln!("error: {reason}");
            super::EXIT_FAILED
        }
    }
}

/// Reaches all parts of a pipeline, on a runtime of its own.
pub(super) fn reach_all(pipeline: &Pipeline) -> Result<Vec<Reached>, String> {
    let runtime = run::runtime(pipeline.settings.threads)?;
    let clock: SharedClock = Arc::new(SystemClock);
    let reached = runtime.block_on(reach::reach(pipeline, &clock)).map_err(|error| error.to_string());
    runtime.shutdown_background();
    reached
}

fn report(reached: &[Reached]) -> u8 {
    let mut stdout = io::stdout().lock();
    for part in reached {
        // A reader that has closed the pipe wants no more lines.
        drop(match &part.obstacle {
            None => writeln!(stdout, "{}: ok", part.name),
            Some(obstacle) if obstacle.hint.is_empty() => writeln!(stdout, "{}: {}", part.name, obstacle.message),
            Some(obstacle) => writeln!(stdout, "{}: {}\n  hint: {}", part.name, obstacle.message, obstacle.hint),
        });
    }
    if reached.iter().all(|part| part.obstacle.is_none()) { super::EXIT_DONE } else { super::EXIT_FAILED }
}
