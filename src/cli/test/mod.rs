//! `auditflow test`: runs the tests of a pipeline file, without network and without a journal.
//!
//! ```text
//! raw records of a source --normalize--> events --conditions, redaction of the routes of a component--> compared with what is expected
//! ```

mod compare;
mod extract;

use self::compare::Failure;
use self::extract::Record;
use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print_data, print_stderr};
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
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    run_tests(&arguments.files).unwrap_or_else(|Exit(code)| code)
}

fn run_tests(files: &PipelineFiles) -> Result<u8, Exit> {
    let pipeline = read_only::load(files, &Overrides::default())?;
    let tests = pipeline.tests.as_ref().map_err(|diagnostics| {
        validate::print_diagnostics(diagnostics);
        Exit(EXIT_USAGE)
    })?;
    if tests.is_empty() {
        print_stderr(&format!("error: {files} has no tests; add them under `tests:`\n"));
        return Ok(EXIT_USAGE);
    }
    let mut failed = 0;
    for test in tests {
        let failures = run_test(&pipeline, test);
        failed += usize::from(!failures.is_empty());
        print_data(&report(&test.name, &failures));
    }
    print_data(&format!("{} passed, {failed} failed\n", tests.len() - failed));
    Ok(if failed == 0 { EXIT_DONE } else { EXIT_FAILED })
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

/// `passed  NAME`, or `FAILED  NAME` and below it what differs.
fn report(name: &str, failures: &[Failure]) -> String {
    let verdict = if failures.is_empty() { "passed" } else { "FAILED" };
    let failures: String = failures.iter().map(ToString::to_string).collect();
    format!("{verdict}  {name}\n{failures}")
}
