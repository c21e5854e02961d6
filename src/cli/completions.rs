//! `auditflow completions`: a completion script for the user's shell.

use clap_complete::Shell;

use super::process::EXIT_DONE;

/// Print a shell completion script
///
/// For bash: `auditflow completions bash > /etc/bash_completion.d/auditflow`. For zsh: `auditflow completions zsh >
/// "${fpath[1]}/_auditflow"`. For fish: `auditflow completions fish > ~/.config/fish/completions/auditflow.fish`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Runs the command for the command line `program`; returns the exit code.
pub(super) fn run(arguments: &Arguments, program: &mut clap::Command) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, program, "auditflow", &mut script);
    // A closed pipe is not an error: the reader wants no more.
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), &script);
    EXIT_DONE
}
