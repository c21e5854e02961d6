//! `auditflow man`: the manual pages, for packages. Hidden: users read them with `man`.

use std::path::PathBuf;

use super::process::{EXIT_DONE, EXIT_FAILED, print_stderr};

/// Write the manual pages, one per command
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// An existing directory
    directory: PathBuf,
}

/// Runs the command for the command line `program`; returns the exit code.
pub(super) fn run(arguments: &Arguments, program: clap::Command) -> u8 {
    match clap_mangen::generate_to(program, &arguments.directory) {
        Ok(()) => EXIT_DONE,
        Err(reason) => {
            print_stderr(&format!("error: cannot write to {}: {reason}\n", arguments.directory.display()));
            EXIT_FAILED
        }
    }
}
