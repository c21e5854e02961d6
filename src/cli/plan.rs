//! `auditflow plan`: what `run` would request and where events would be written, without requesting or writing anything.

use super::read_only::{self, Exit};
use crate::pipeline::{Overrides, PipelineFiles};
use crate::report::PlanReport;

/// Show what `run` would request next and where it would write events, without calling any API
///
/// Starts from the coverage in the journal, if there is one. The secrets of the file need not be set and are never shown. Exit
/// code 0 on success, 1 if the journal cannot be read, 2 if the file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// Print JSON (format: docs/status.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    show(arguments).unwrap_or_else(|Exit(code)| code)
}

fn show(arguments: &Arguments) -> Result<u8, Exit> {
    let pipeline = read_only::load(&arguments.files, &arguments.settings)?;
    let observation = read_only::observe(&pipeline, false)?;
    let report = PlanReport::new(&pipeline, &observation);
    read_only::show(arguments.json, &report, || report.text());
    Ok(read_only::exit_code(observation.is_readable()))
}
