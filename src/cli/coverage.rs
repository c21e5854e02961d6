//! `auditflow coverage`: which time of each source is read, and which is not.

use std::path::PathBuf;

use super::look::{self, Ended};
use crate::pipeline::Overrides;
use crate::report::CoverageReport;

/// Show which time of each source is covered, its gaps, and how late its events become visible
///
/// Reads the journal and nothing else, whether the pipeline runs or not; the secrets of the file need not be set. Exit code 0
/// if all is well (gaps that are still to be read are), 1 if a source has trouble or the journal cannot be read, 2 if the
/// file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
    /// Print JSON; docs/status.md tells its form
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    show(arguments).unwrap_or_else(|Ended(code)| code)
}

fn show(arguments: &Arguments) -> Result<u8, Ended> {
    let pipeline = look::load(&arguments.file, &arguments.settings)?;
    let report = CoverageReport::new(&pipeline, &look::observe(&pipeline)?);
    look::print(&if arguments.json { look::json(&report, false) } else { report.text() });
    Ok(look::verdict(report.healthy))
}
