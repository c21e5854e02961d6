//! `auditflow state`: what an operator changes of a pipeline's past while it does not run.
//!
//! ```text
//! file, journal (locked) --propose--> Proposal: what it would do, in figures --consent--> apply: one transaction
//!                                     or a refusal: why not, and what to do instead
//! ```

mod forget;
mod redeliver;
mod rename;
mod rewind;
mod told;

use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

use super::look::{self, Ended};
use crate::clock::{Clock, SystemClock};
use crate::collect::options::PointInTime;
use crate::journal::lock::{self, LockOwner};
use crate::journal::sqlite::JOURNAL_FILE;
use crate::journal::{Edit, Journal, JournalError, JournalOptions, SqliteJournal};
use crate::pipeline::{self, Environment, Overrides, Pipeline, SinkPlan, SourcePlan};
use crate::time::Timestamp;

/// Change what a pipeline that does not run remembers: read again, deliver again, rename, forget
///
/// Each command first says what it will do. On a terminal it then asks; elsewhere it needs --yes. A change is done wholly or
/// not at all, whenever the command is killed. Exit code 0 if it is done or there is nothing to do, 1 if it is refused, 2 if
/// the file or the arguments are wrong or --yes is missing.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    change: Change,
}

#[derive(clap::Subcommand, Debug)]
enum Change {
    Rewind(rewind::Arguments),
    Redeliver(redeliver::Arguments),
    Rename(rename::Arguments),
    Forget(forget::Arguments),
}

/// What every change is given.
#[derive(clap::Args, Debug)]
struct Common {
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// What a change comes to.
enum Proposal {
    /// This would be done.
    Change {
        /// What it does, for people.
        text: String,
        /// What the journal is told.
        edit: Edit,
    },
    /// It is so already.
    Nothing(String),
}

/// Why a change is not made: a sentence or two, with what to do instead.
struct Refusal(String);

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self(error.to_string())
    }
}

type Proposed = Result<Proposal, Refusal>;

/// What a change is made of.
struct Desk {
    file: PathBuf,
    pipeline: Pipeline,
    /// Whether all variables were set, so that the settings are what `run` would find.
    whole_environment: bool,
    journal: SqliteJournal,
    now: Timestamp,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let (file, common) = match &arguments.change {
        Change::Rewind(change) => (&change.file, &change.common),
        Change::Redeliver(change) => (&change.file, &change.common),
        Change::Rename(change) => (&change.file, &change.common),
        Change::Forget(change) => (&change.file, &change.common),
    };
    carry_out(&arguments.change, file, common).unwrap_or_else(|Ended(code)| code)
}

fn carry_out(change: &Change, file: &Path, common: &Common) -> Result<u8, Ended> {
    let desk = sit_down(file, common)?;
    let runtime = super::run::runtime(std::num::NonZeroUsize::new(1)).map_err(|reason| refuse(&reason))?;
    let proposed = runtime.block_on(async {
        match change {
            Change::Rewind(change) => rewind::propose(&desk, change).await,
            Change::Redeliver(change) => redeliver::propose(&desk, change).await,
            Change::Rename(change) => rename::propose(&desk, change).await,
            Change::Forget(change) => forget::propose(&desk, change).await,
        }
    });
    let (text, edit) = match proposed.map_err(|Refusal(reason)| refuse(&reason))? {
        Proposal::Change { text, edit } => (text, edit),
        Proposal::Nothing(text) => {
            look::print(&text);
            return Ok(super::EXIT_DONE);
        }
    };
    look::print(&text);
    if common.dry_run {
        look::print("nothing was changed: this was a dry run\n");
        return Ok(super::EXIT_DONE);
    }
    if !common.yes {
        ask()?;
    }
    runtime.block_on(desk.journal.apply(edit)).map_err(|error| refuse(&error.to_string()))?;
    look::print("done\n");
    Ok(super::EXIT_DONE)
}

/// Reads the file and takes the journal for its own.
fn sit_down(file: &Path, common: &Common) -> Result<Desk, Ended> {
    let whole = pipeline::load(file, &Environment::of_process(), &common.settings).ok();
    let whole_environment = whole.is_some();
    let pipeline = whole.map_or_else(|| look::load(file, &common.settings), Ok)?;
    let data_dir = &pipeline.settings.data_dir;
    if let Some(LockOwner { pid }) = lock::owner(data_dir) {
        let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        return Err(refuse(&format!("{} runs{process}; stop it first, then say this again", pipeline.name)));
    }
    if !data_dir.join(JOURNAL_FILE).exists() {
        return Err(refuse(&format!("nothing has run yet in {}: there is nothing to change", data_dir.display())));
    }
    let options = JournalOptions { data_dir: data_dir.clone(), max_size: pipeline.settings.journal.max_size };
    let journal = SqliteJournal::open(&options).map_err(|error| refuse(&error.to_string()))?;
    Ok(Desk { file: file.to_owned(), pipeline, whole_environment, journal, now: SystemClock.now() })
}

fn refuse(reason: &str) -> Ended {
    super::say(&format!("error: {reason}\n"));
    Ended(super::EXIT_FAILED)
}

/// Asks on the terminal; ends the command if the answer is no, or if there is no terminal to ask on.
fn ask() -> Result<(), Ended> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        super::say("error: nothing was changed: there is no terminal to ask on; say it again with --yes to do this\n");
        return Err(Ended(super::EXIT_USAGE));
    }
    super::say("Do this? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    super::say("nothing was changed\n");
    Err(Ended(super::EXIT_FAILED))
}

impl Desk {
    fn source(&self, name: &str) -> Option<&SourcePlan> {
        self.pipeline.sources.iter().find(|source| source.name == name)
    }

    fn sink(&self, name: &str) -> Option<&SinkPlan> {
        self.pipeline.sinks.iter().find(|sink| sink.name == name)
    }

    /// The sources that a sink gets.
    fn sources_of(plan: &SinkPlan) -> Vec<String> {
        plan.routes.iter().map(|route| route.source.clone()).collect()
    }

    /// The sinks of the file that get a source.
    fn sinks_of(&self, source: &str) -> Vec<&str> {
        let gets = |sink: &&SinkPlan| sink.routes.iter().any(|route| route.source == source);
        self.pipeline.sinks.iter().filter(gets).map(|sink| sink.name.as_str()).collect()
    }

    fn shown(&self) -> std::path::Display<'_> {
        self.file.display()
    }

    fn has_no(&self, kind: &str, name: &str, known: &[&str]) -> Refusal {
        Refusal(format!("{} has no {kind} `{name}`; it has: {}", self.shown(), known.join(", ")))
    }

    fn unfinished_batch(&self, sink: &str) -> Refusal {
        let way = match self.sink(sink) {
            Some(_) => {
                "finish it, then say this again; if that can never be, take the sink out of the file and let it run once: that gives the batch up"
            }
            None => {
                "run once without the sink: that gives the batch up (put the sink back first, if the batch shall be finished); then say this again"
            }
        };
        Refusal(format!(
            "`{sink}` has a batch that was begun and not finished; let `auditflow run {} --once` {way}",
            self.shown()
        ))
    }
}

fn point_in_time(text: &str) -> Result<Timestamp, String> {
    let hint = || "write a time such as 2026-01-31T00:00:00Z, or a date".to_owned();
    PointInTime::parse(text).map(|point| point.0).ok_or_else(hint)
}
