//! The command line: one file per command. Standard output carries only a command's result; logs and errors go to standard
//! error.

mod check;
mod completions;
mod coverage;
mod demo;
mod graph;
mod healthcheck;
mod init;
mod man;
mod mapping;
mod normalize;
mod plan;
mod process;
mod raw_input;
mod read_only;
mod run;
mod schema;
mod simulate;
mod state;
mod status;
mod summary;
mod tap;
mod test;
#[cfg(feature = "top")]
mod top;
mod validate;
mod verify;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub use process::{EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_USAGE};

#[derive(Parser, Debug)]
#[command(
    name = "auditflow",
    version,
    about = "Collects audit trails of SaaS vendors, normalizes them, and delivers them exactly once"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Run(run::Arguments),
    Demo(demo::Arguments),
    Init(init::Arguments),
    Check(check::Arguments),
    Validate(validate::Arguments),
    Plan(plan::Arguments),
    Graph(graph::Arguments),
    Tap(tap::Arguments),
    Test(test::Arguments),
    Status(status::Arguments),
    #[cfg(feature = "top")]
    Top(top::Arguments),
    Coverage(coverage::Arguments),
    Verify(verify::Arguments),
    State(state::Arguments),
    Normalize(normalize::Arguments),
    Mapping(mapping::Arguments),
    Simulate(simulate::Arguments),
    Schema(schema::Arguments),
    Completions(completions::Arguments),
    Healthcheck(healthcheck::Arguments),
    #[command(hide = true)]
    Man(man::Arguments),
}

/// The definition of the command line, for tests and tools that inspect it.
#[must_use]
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program with the arguments of this process; returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let code = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Init(arguments) => init::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Validate(arguments) => validate::run(&arguments),
        Command::Plan(arguments) => plan::run(&arguments),
        Command::Graph(arguments) => graph::run(&arguments),
        Command::Tap(arguments) => tap::run(&arguments),
        Command::Test(arguments) => test::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        #[cfg(feature = "top")]
        Command::Top(arguments) => top::run(&arguments),
        Command::Coverage(arguments) => coverage::run(&arguments),
        Command::Verify(arguments) => verify::run(&arguments),
        Command::State(arguments) => state::run(&arguments),
        Command::Normalize(arguments) => normalize::run(&arguments),
        Command::Mapping(arguments) => mapping::run(&arguments),
        Command::Simulate(arguments) => simulate::run(&arguments),
        Command::Schema(arguments) => schema::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments, &mut command()),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Man(arguments) => man::run(&arguments, command()),
    };
    ExitCode::from(code)
}
