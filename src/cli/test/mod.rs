//! `auditflow test`: runs the tests of a pipeline file, without network and without a journal.
//!
//! ```text
//! raw records of a source --normalize--> events --conditions, redaction of the routes of a component--> compared with what is expected
//! ```

mod compare;
mod extract;

use serde::Serialize;

use self::compare::Failure;
use self::extract::Record;
use super::process::{EXIT_USAGE, print_stderr};
use super::read_only::{self, Exit};
use super::validate;
use crate::pipeline::{Overrides, PipelineFiles, UnitTest, ValidatedPipeline};

/// Run the tests of a pipeline
///
/// Each test under `tests:` gives raw records to sources, and says which events must arrive at transforms and sinks
/// (docs/pipelines.md). Reads only the file and what its tests name: no network, no data directory; the secrets of the file need
/// not be set. Exit code 0 if all tests pass, 1 if one fails, 2 if the file is wrong or has no tests.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// Print JSON (format: docs/pipelines.md)
    #[arg(long)]
    json: bool,
}

/// What became of all tests.
#[derive(Serialize)]
struct Report<'t> {
    passed: usize,
    failed: usize,
    /// In the order of the files.
    tests: Vec<TestResult<'t>>,
}

/// What became of one test.
#[derive(Serialize)]
struct TestResult<'t> {
    name: &'t str,
    file: &'t str,
    line: usize,
    passed: bool,
    failures: Vec<Failure>,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    run_tests(&arguments.files, arguments.json).unwrap_or_else(|Exit(code)| code)
}

fn run_tests(files: &PipelineFiles, json: bool) -> Result<u8, Exit> {
    let pipeline = read_only::load(files, &Overrides::default())?;
    let tests = pipeline.tests.as_ref().map_err(|diagnostics| {
        validate::print_diagnostics(diagnostics);
        Exit(EXIT_USAGE)
    })?;
    if tests.is_empty() {
        print_stderr(&format!("error: {files} has no tests; add them under `tests:`\n"));
        return Ok(EXIT_USAGE);
    }
    let tests: Vec<TestResult<'_>> = tests.iter().map(|test| result_of(&pipeline, test)).collect();
    let passed = tests.iter().filter(|test| test.passed).count();
    let report = Report { passed, failed: tests.len() - passed, tests };
    read_only::show(json, &report, || report.text());
    Ok(read_only::exit_code(report.failed == 0))
}

fn result_of<'t>(pipeline: &ValidatedPipeline, test: &'t UnitTest) -> TestResult<'t> {
    let UnitTest { name, file, line, .. } = test;
    let failures = run_test(pipeline, test);
    TestResult { name, file, line: *line, passed: failures.is_empty(), failures }
}

fn run_test(pipeline: &ValidatedPipeline, test: &UnitTest) -> Vec<Failure> {
    let mut records: Vec<Record> = Vec::new();
    for input in &test.inputs {
        if let Err(reason) = extract::read(pipeline, input, &mut records) {
            return vec![Failure::new(&input.insert_at, reason)];
        }
    }
    let mut failures = Vec::new();
    for output in &test.outputs {
        failures.extend(compare::output(
            output,
            &extract::extracted(pipeline, &output.extract_from, &records, &output.conditions),
        ));
    }
    for name in &test.no_outputs_from {
        failures.extend(compare::no_output(name, &extract::extracted(pipeline, name, &records, &[])));
    }
    failures
}

impl Report<'_> {
    /// `passed  NAME` or `FAILED  NAME` per test, below it what differs. A name that two files have is followed by its file.
    fn text(&self) -> String {
        let mut text = String::new();
        for TestResult { name, file, passed, failures, .. } in &self.tests {
            let verdict = if *passed { "passed" } else { "FAILED" };
            let is_ambiguous = self.tests.iter().any(|other| other.name == *name && other.file != *file);
            let place = if is_ambiguous { format!(" ({file})") } else { String::new() };
            let failures: String = failures.iter().map(ToString::to_string).collect();
            text += &format!("{verdict}  {name}{place}\n{failures}");
        }
        text + &format!("{} passed, {} failed\n", self.passed, self.failed)
    }
}
