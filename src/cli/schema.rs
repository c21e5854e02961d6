//! `auditflow schema`: the JSON Schema of the pipeline file, for editors.

use super::process::{EXIT_DONE, print_data};
use crate::config::{options_page, schema};

/// Print the JSON Schema of the pipeline file
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
    /// JSON Schema draft-07, for editors
    Json,
    /// Tables of all options, for people
    Markdown,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let text = match arguments.format {
        Format::Json => format!("{:#}\n", schema::document()),
        Format::Markdown => options_page::page(),
    };
    print_data(&text);
    EXIT_DONE
}
