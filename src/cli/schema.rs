//! `auditflow schema`: the JSON Schema of the pipeline file, for editors, or of events, for their consumers.

use super::process::{EXIT_DONE, print_data};
use crate::config::{options_page, schema};
use crate::event;

/// Print the JSON Schema of the pipeline file or of events
///
/// An editor that loads it completes keys, shows their descriptions and marks errors. With the YAML language server (VS Code,
/// Neovim, JetBrains): save it as auditflow.schema.json and begin the pipeline file with
/// `# yaml-language-server: $schema=./auditflow.schema.json`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// JSON Schema of the pipeline file, draft-07, for editors
    Json,
    /// JSON Schema of an event in auditflow's own schema, draft 2020-12, for consumers
    Event,
    /// Tables of all options, for people
    Markdown,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let text = match arguments.format {
        Format::Json => format!("{:#}\n", schema::document()),
        Format::Event => format!("{:#}\n", event::json_schema::document()),
        Format::Markdown => options_page::page(),
    };
    print_data(&text);
    EXIT_DONE
}
