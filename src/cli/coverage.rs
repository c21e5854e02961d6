//! `auditflow coverage`: which time ranges of each source are covered, and which are not.

use std::path::PathBuf;

use super::process::print;
use super::read_only::{self, Exit};
use crate::pipeline::Overrides;
use crate::report::CoverageReport;

/// Show the covered time of each source, its gaps, and how late its events become visible
///
/// Reads only the journal, whether the pipeline runs or not. The secrets of the file need not be set. Exit code 0 if no source
/// has an error (gaps that are still to be read are not errors), 1 if a source has one or the journal cannot be read, 2 if
/// the file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
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
    let pipeline = read_only::load(&arguments.file, &arguments.settings)?;
    let report = CoverageReport::new(&pipeline, &read_only::observe(&pipeline)?);
    print(&if arguments.json { read_only::json(&report, false) } else { report.text() });
    Ok(read_only::exit_code(report.healthy))
}
