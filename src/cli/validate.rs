//! `auditflow validate`: reads pipeline files and says everything that is wrong with them, or that nothing is.

use std::io::{self, Write};
use std::path::PathBuf;

use crate::pipeline::{self, Diagnostic, Environment, Overrides, ValidatedPipeline};

/// Check pipeline files
///
/// Reads the files and nothing else: no network, no data directory, no secret files. Environment variables that the
/// files name must be set. Exit code 0 if all files are right (warnings allowed), 2 if not.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the problems as JSON, one a line
    #[arg(long)]
    json: bool,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let environment = Environment::of_process();
    let mut all_right = true;
    for file in &arguments.files {
        match pipeline::load(file, &environment, &Overrides::default()) {
            Ok(pipeline) => {
                show_problems(&pipeline.warnings, arguments.json);
                show_all_right(&file.display().to_string(), &pipeline, arguments.json);
            }
            Err(problems) => {
                show_problems(&problems, arguments.json);
                all_right = false;
            }
        }
    }
    if all_right { super::EXIT_DONE } else { super::EXIT_USAGE }
}

fn show_problems(problems: &[Diagnostic], json: bool) {
    if !json {
        report(problems);
        return;
    }
    let mut stdout = io::stdout().lock();
    for problem in problems {
        let line = serde_json::to_string(problem).expect("a problem is texts and numbers");
        // A reader that has closed the pipe wants no more lines.
        drop(writeln!(stdout, "{line}"));
    }
}

/// Prints problems to standard error, for people.
pub(super) fn report(problems: &[Diagnostic]) {
    let mut stderr = io::stderr().lock();
    for problem in problems {
        drop(writeln!(stderr, "{problem}\n"));
    }
}

fn show_all_right(file: &str, pipeline: &ValidatedPipeline, json: bool) {
    if json {
        return;
    }
    let sources = count(pipeline.sources.len(), "source");
    let transforms = count(pipeline.transforms, "transform");
    let sinks = count(pipeline.sinks.len(), "sink");
    drop(writeln!(io::stdout().lock(), "{file}: {sources}, {transforms}, {sinks}: ok"));
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
