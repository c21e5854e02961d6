//! `auditflow plan`: what `run` would ask for and where events would land, without asking or writing anything.

use std::path::PathBuf;

use super::look::{self, Ended};
use crate::pipeline::Overrides;
use crate::report::PlanReport;

/// Show what `run` would ask for next and where events would land, without touching any API
///
/// Reads the journal, if there is one, to go on from what is covered; the secrets of the file need not be set and are never
/// shown. Exit code 0, 1 if the journal cannot be read, 2 if the file is wrong.
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
    let report = PlanReport::new(&pipeline, &look::observe(&pipeline)?);
    look::print(&if arguments.json { look::json(&report, false) } else { report.text() });
    Ok(super::EXIT_DONE)
}
