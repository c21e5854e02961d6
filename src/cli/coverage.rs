//! `auditflow coverage`: which time ranges of each source are covered, in doubt, unreadable or not read yet.

use super::read_only::{self, Exit};
use crate::pipeline::{Overrides, PipelineFiles};
use crate::report::CoverageReport;

/// Show which time of each source is covered, in doubt or unreadable, its gaps, and how late its events become visible
///
/// Reads only the journal, whether the pipeline runs or not. The secrets of the file need not be set. Exit code 0 if no source
/// has an error or time in doubt (gaps that are still to be read are not errors), 1 if a source has one, or unreadable time,
/// or if the journal cannot be read, 2 if the file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// Print JSON (format: docs/status.md)
    #[arg(long)]
    json: bool,
    /// Show what the state of the time rests on, by day: pages, totals, checks, rechecks, and the measured loss
    #[arg(long)]
    evidence: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    show(arguments).unwrap_or_else(|Exit(code)| code)
}

fn show(arguments: &Arguments) -> Result<u8, Exit> {
    let pipeline = read_only::load(&arguments.files, &arguments.settings)?;
    let report = CoverageReport::new(&pipeline, &read_only::observe(&pipeline, arguments.evidence)?);
    let file = arguments.files.to_string();
    read_only::show(arguments.json, &report, || report.text(&file));
    Ok(read_only::exit_code(report.healthy))
}
