//! `auditflow validate`: checks the files of a pipeline and reports all errors in them at once.

use super::process::{EXIT_DONE, EXIT_USAGE, print, print_data, print_stderr};
use crate::pipeline::{self, ComponentKind, Diagnostic, Environment, Overrides, PipelineFiles, ValidatedPipeline};

/// Check the files of a pipeline
///
/// Reads only these files: no network, no data directory; secret files are looked at, and not opened. The environment
/// variables that the files name must be set. Exit code 0 if the pipeline is valid (warnings allowed, unless
/// --deny-warnings), 2 if not.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// Print diagnostics as JSON, one per line
    #[arg(long)]
    json: bool,
    /// Treat warnings as errors
    #[arg(long)]
    deny_warnings: bool,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let files = &arguments.files;
    let (diagnostics, found) = match pipeline::load(files, &Environment::of_process(), &Overrides::default()) {
        Ok(pipeline) => match &pipeline.tests {
            Ok(_) => (pipeline.warnings.clone(), summary(&pipeline) + ": ok"),
            Err(mistakes) => ([&pipeline.warnings[..], mistakes].concat(), "invalid".to_owned()),
        },
        Err(diagnostics) => (diagnostics, "invalid".to_owned()),
    };
    report(&diagnostics, arguments.json);
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
    let is_valid = errors == 0 && (diagnostics.is_empty() || !arguments.deny_warnings);
    let line = format!("{files}: {found}{}\n", counted_diagnostics(errors, diagnostics.len() - errors));
    match is_valid {
        _ if arguments.json => {}
        true => drop(print(&line)),
        false => print_stderr(&line),
    }
    if is_valid { EXIT_DONE } else { EXIT_USAGE }
}

/// `, 3 errors, 1 warning`; empty if there is none.
fn counted_diagnostics(errors: usize, warnings: usize) -> String {
    let counts = [(errors, "error"), (warnings, "warning")];
    counts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, noun)| format!(", {}", count(number, noun)))
        .collect()
}

fn report(diagnostics: &[Diagnostic], json: bool) {
    if !json {
        return print_diagnostics(diagnostics);
    }
    for diagnostic in diagnostics {
        print_data(&json_line(diagnostic));
    }
}

fn json_line(diagnostic: &Diagnostic) -> String {
    serde_json::to_string(diagnostic).expect("diagnostics hold strings and numbers only") + "\n"
}

/// Prints diagnostics to standard error, for people.
pub(super) fn print_diagnostics(diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        print_stderr(&format!("{diagnostic}\n\n"));
    }
}

/// Prints diagnostics to standard error in the form of the log, before the log is started.
pub(super) fn print_to_log(diagnostics: &[Diagnostic], json: bool) {
    if !json {
        return print_diagnostics(diagnostics);
    }
    for diagnostic in diagnostics {
        print_stderr(&json_line(diagnostic));
    }
}

fn summary(pipeline: &ValidatedPipeline) -> String {
    let sources = count(pipeline.sources.len(), "source");
    let transforms = pipeline.components.iter().filter(|component| component.kind == ComponentKind::Transform);
    let transforms = count(transforms.count(), "transform");
    let sinks = count(pipeline.sinks.len(), "sink");
    format!("{sources}, {transforms}, {sinks}")
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
