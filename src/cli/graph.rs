//! `auditflow graph`: a picture of a pipeline, in Mermaid or DOT.

use super::process::{EXIT_DONE, print_data};
use super::read_only::{self, Exit};
use crate::pipeline::{Overrides, PipelineFiles};
use crate::report::graph::{self, GraphFormat};

/// Draw the sources, transforms and sinks of a pipeline, with the conditions of filters on the edges
///
/// The secrets of the file need not be set and are never shown. Exit code 0 on success, 2 if the file is wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// The language of the picture
    #[arg(long, value_enum, default_value_t = Format::Mermaid)]
    format: Format,
    #[command(flatten)]
    settings: Overrides,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// A flowchart that GitHub, GitLab and most wikis draw
    Mermaid,
    /// For Graphviz: `auditflow graph FILE --format dot | dot -Tsvg`
    Dot,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let pipeline = match read_only::load(&arguments.files, &arguments.settings) {
        Ok(pipeline) => pipeline,
        Err(Exit(code)) => return code,
    };
    let format = match arguments.format {
        Format::Mermaid => GraphFormat::Mermaid,
        Format::Dot => GraphFormat::Dot,
    };
    print_data(&graph::graph(&pipeline, format));
    EXIT_DONE
}
