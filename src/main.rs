//! The auditflow program: arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    auditflow::cli::main()
}
