//! `auditflow schema`: the JSON Schema of the pipeline file, for editors.

use std::io::Write;

use crate::config::{options_page, schema};

/// Print the JSON Schema of the pipeline file
///
/// An editor that knows it completes keys, shows what they mean and marks mistakes. With the YAML language server (VS Code,
/// Neovim, JetBrains ...): save it as auditflow.schema.json and begin the pipeline file with
/// `# yaml-language-server: $schema=./auditflow.schema.json`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// As a JSON Schema for editors, or as a page for people
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// JSON Schema, draft-07.
    Json,
    /// Tables of all options.
    Markdown,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let text = match arguments.format {
        Format::Json => format!("{:#}\n", schema::document()),
        Format::Markdown => options_page::page(),
    };
    // A reader that has closed the pipe wants no more.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    super::EXIT_DONE
}
