//! `auditflow status`: the state of each source and sink, whether the pipeline runs or not.

use super::read_only::{self, Exit};
use crate::format::printable;
use crate::pipeline::{Overrides, PipelineFiles, ValidatedPipeline};
use crate::report::StatusReport;
use crate::units::Span;

/// Show the state of each source and sink, whether the pipeline runs or not
///
/// Reads only the journal. The secrets of the file need not be set. Exit code 0 if no source or sink has an error, 1 if one
/// has, time is in doubt or unreadable, the journal is full or it cannot be read, 2 if the file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// Print JSON (format: docs/status.md)
    #[arg(long)]
    json: bool,
    /// Repeat until Ctrl-C: in place on a terminal, else appended
    #[arg(long)]
    watch: bool,
    /// With --watch and no terminal: time between two reports
    #[arg(long, requires = "watch", default_value = "10s", value_parser = Span::parse, value_name = "TIME")]
    interval: Span,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    show(arguments).unwrap_or_else(|Exit(code)| code)
}

fn show(arguments: &Arguments) -> Result<u8, Exit> {
    let pipeline = read_only::load(&arguments.files, &arguments.settings)?;
    let file = arguments.files.to_string();
    if arguments.watch {
        return Ok(read_only::watch(arguments.interval.0, |in_place| {
            let report = report(&pipeline)?;
            let separator = if in_place { "" } else { "\n" };
            Ok(if arguments.json {
                read_only::json_line(&report)
            } else {
                printable(&report.text(&file)).into_owned() + separator
            })
        }));
    }
    let report = report(&pipeline)?;
    read_only::show(arguments.json, &report, || report.text(&file));
    Ok(read_only::exit_code(report.healthy))
}

fn report(pipeline: &ValidatedPipeline) -> Result<StatusReport, Exit> {
    Ok(StatusReport::new(pipeline, &read_only::observe(pipeline, false)?))
}
