//! `auditflow completions`: what a shell needs to complete this program's commands and options.

use clap_complete::Shell;

/// Print a shell's completion script
///
/// For bash: `auditflow completions bash > /etc/bash_completion.d/auditflow`. For zsh: `auditflow completions zsh >
/// "${fpath[1]}/_auditflow"`. For fish: `auditflow completions fish > ~/.config/fish/completions/auditflow.fish`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::command(), "auditflow", &mut script);
    // A reader that has closed the pipe wants no more.
    let _ = std::io::Write::write_all(&mut std::io::stdout().lock(), &script);
    super::EXIT_DONE
}
