//! `auditflow status`: how it stands with each source and sink, while the pipeline runs and while it does not.

use std::path::PathBuf;

use super::look::{self, Ended};
use crate::pipeline::{Overrides, ValidatedPipeline};
use crate::report::StatusReport;
use crate::units::Span;

/// Show how it stands with each source and sink, whether the pipeline runs or not
///
/// Reads the journal and nothing else; the secrets of the file need not be set. Exit code 0 if all is well, 1 if a source or
/// sink has trouble, the journal is full or cannot be read, 2 if the file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    file: PathBuf,
    /// Print JSON; docs/status.md tells its form
    #[arg(long)]
    json: bool,
    /// Show it again and again, until Ctrl-C: in place on a terminal, else one below the other
    #[arg(long)]
    watch: bool,
    /// With --watch, when not on a terminal: the time between two
    #[arg(long, requires = "watch", default_value = "10s", value_parser = Span::parse)]
    interval: Span,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let pipeline = match look::load(&arguments.file, &arguments.settings) {
        Ok(pipeline) => pipeline,
        Err(Ended(code)) => return code,
    };
    if arguments.watch {
        return look::watch(arguments.interval.0, |in_place| {
            let report = report(&pipeline)?;
            Ok(if arguments.json { look::json(&report, true) } else { spaced(&report, in_place) })
        });
    }
    match report(&pipeline) {
        Ok(report) => {
            look::print(&if arguments.json { look::json(&report, false) } else { report.text() });
            look::verdict(report.healthy)
        }
        Err(Ended(code)) => code,
    }
}

fn report(pipeline: &ValidatedPipeline) -> Result<StatusReport, Ended> {
    Ok(StatusReport::new(pipeline, &look::observe(pipeline)?))
}

/// Reports that stand one below the other have an empty line between them.
fn spaced(report: &StatusReport, in_place: bool) -> String {
    if in_place { report.text() } else { report.text() + "\n" }
}
