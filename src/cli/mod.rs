//! The command line: one file a command. Standard output carries only what a command promises; logs go to stderr.

mod check;
mod completions;
mod coverage;
mod demo;
mod look;
mod normalize;
mod plan;
mod run;
mod schema;
mod simulate;
mod state;
mod status;
mod summary;
mod validate;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

/// Everything was done.
pub const EXIT_DONE: u8 = 0;
/// Something failed while running; the message says what.
pub const EXIT_FAILED: u8 = 1;
/// The arguments or the pipeline file are wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// `run --once` ended, but a source or sink could not finish its work; the summary says which.
pub const EXIT_INCOMPLETE: u8 = 3;

#[derive(Parser, Debug)]
#[command(
    name = "auditflow",
    version,
    about = "Collects the audit trails of SaaS vendors into one schema: nothing lost, nothing twice."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::Arguments),
    Demo(demo::Arguments),
    Check(check::Arguments),
    Validate(validate::Arguments),
    Plan(plan::Arguments),
    Status(status::Arguments),
    Coverage(coverage::Arguments),
    State(state::Arguments),
    Normalize(normalize::Arguments),
    Simulate(simulate::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
}

/// The command line as a value: for tests of what the docs say, and for whoever wants to describe it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Says something to the person who started the command, on standard error. If nobody reads it, nobody is told.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Runs the program on this process's arguments.
#[must_use]
pub fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::State(arguments) => state::run(&arguments),
        Command::Normalize(arguments) => normalize::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    ExitCode::from(code)
}
