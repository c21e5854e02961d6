//! `auditflow validate`: checks pipeline files and reports all errors in them at once.

use std::io::{self, Write};
use std::path::PathBuf;

use super::process::{EXIT_DONE, EXIT_USAGE, print};
use crate::pipeline::{self, Diagnostic, Environment, Overrides, ValidatedPipeline};

/// Check pipeline files
///
/// Reads only these files: no network, no data directory; secret files are looked at, and not opened. The environment
/// variables that the files name must be set. Exit code 0 if all files are valid (warnings allowed), 2 if not.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print diagnostics as JSON, one per line
    #[arg(long)]
    json: bool,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let environment = Environment::of_process();
    let mut all_valid = true;
    for file in &arguments.files {
        match pipeline::load(file, &environment, &Overrides::default()) {
            Ok(pipeline) => {
                report(&pipeline.warnings, arguments.json);
                if !arguments.json {
                    print(&format!("{}: {}: ok\n", file.display(), summary(&pipeline)));
                }
            }
            Err(diagnostics) => {
                report(&diagnostics, arguments.json);
                all_valid = false;
            }
        }
    }
    if all_valid { EXIT_DONE } else { EXIT_USAGE }
}

fn report(diagnostics: &[Diagnostic], json: bool) {
    if !json {
        return print_diagnostics(diagnostics);
    }
    for diagnostic in diagnostics {
        print(&(serde_json::to_string(diagnostic).expect("diagnostics hold strings and numbers only") + "\n"));
    }
}

/// Prints diagnostics to standard error, for people.
pub(super) fn print_diagnostics(diagnostics: &[Diagnostic]) {
    let mut stderr = io::stderr().lock();
    for diagnostic in diagnostics {
        drop(writeln!(stderr, "{diagnostic}\n"));
    }
}

fn summary(pipeline: &ValidatedPipeline) -> String {
    let sources = count(pipeline.sources.len(), "source");
    let transforms = count(pipeline.transforms, "transform");
    let sinks = count(pipeline.sinks.len(), "sink");
    format!("{sources}, {transforms}, {sinks}")
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
