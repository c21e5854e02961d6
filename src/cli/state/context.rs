//! What the `state` commands share: the pipeline and its locked journal, proposals, refusals, and their texts.

use std::path::Path;

use super::shard_search::{ShardSearch, Target};
use crate::cli::process::{EXIT_FAILED, EXIT_USAGE, print_stderr};
use crate::cli::read_only::{self, Exit};
use crate::clock::{Clock, SystemClock};
use crate::journal::lock::{self, LockOwner};
use crate::journal::sqlite::JOURNAL_FILE;
use crate::journal::{ComponentKind, Edit, shard_dirs};
use crate::journal::{JournalError, JournalOptions, SqliteJournal};
use crate::pipeline::{self, Environment, Overrides, PipelineFiles, ValidatedPipeline, ValidatedSink, ValidatedSource};
use crate::report::wrapped;
use crate::sinks::SinkError;
use crate::time::{TimeRange, Timestamp};

/// Options of every `state` command.
#[derive(clap::Args, Debug)]
pub(super) struct Common {
    /// Make the change without asking for confirmation
    #[arg(long, conflicts_with = "dry_run")]
    pub(super) yes: bool,
    /// Print what would change, and change nothing
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Of a pipeline with `shards`: the one whose journal changes; without it, that of the source
    #[arg(long, value_name = "NUMBER")]
    pub(super) shard: Option<u16>,
    #[command(flatten)]
    pub(super) settings: Overrides,
}

/// The outcome of a command's checks.
pub(super) enum Proposal {
    /// This will change.
    Change {
        /// What changes, for people.
        message: String,
        /// The change of the journal.
        edit: Edit,
    },
    /// This time will count as covered.
    Accept {
        /// What changes, for people.
        message: String,
        /// The source.
        source: String,
        /// The time.
        range: TimeRange,
    },
    /// The output of a sink will belong to this journal.
    Adopt {
        /// What changes, for people.
        message: String,
        /// The sink.
        sink: Box<ValidatedSink>,
    },
    /// The shards will not know a source any more, which no journal has.
    Forget {
        /// What changes, for people.
        message: String,
        /// The source.
        source: String,
    },
    /// There is nothing to change; why.
    NoChange(String),
}

/// Why a change is not made, and what to do.
pub(super) struct Refusal(pub(super) String);

impl From<JournalError> for Refusal {
    fn from(error: JournalError) -> Self {
        Self(error.to_string())
    }
}

impl From<SinkError> for Refusal {
    fn from(error: SinkError) -> Self {
        match error {
            SinkError::Transient { message, hint } | SinkError::Stopped { message, hint } => {
                Self(format!("{message}; {hint}"))
            }
            other => Self(other.to_string()),
        }
    }
}

impl Refusal {
    /// Prints the reason and ends the command.
    pub(super) fn print(&self) -> Exit {
        print_stderr(&format!("error: {}\n", self.0));
        Exit(EXIT_FAILED)
    }
}

/// What a command proposes.
pub(super) type Proposed = Result<Proposal, Refusal>;

/// The pipeline and its journal, locked for this process.
pub(super) struct Context {
    files: PipelineFiles,
    /// The pipeline of the journal: the whole one, or that of a shard.
    pub(super) pipeline: ValidatedPipeline,
    /// The sources of the whole file: one of another shard is in the file too.
    sources: Vec<ValidatedSource>,
    /// Whether all variables of the file are set. If not, placeholders stand in for secrets and account ids.
    pub(super) environment_is_complete: bool,
    pub(super) journal: SqliteJournal,
    pub(super) now: Timestamp,
}

impl Context {
    /// Loads the pipeline and locks the journal that `target` is in.
    pub(super) fn open(files: &PipelineFiles, target: Target<'_>, common: &Common) -> Result<Self, Exit> {
        let overrides = &common.settings;
        let complete = pipeline::load(files, &Environment::of_process(), overrides).ok();
        let environment_is_complete = complete.is_some();
        let whole = complete.map_or_else(|| read_only::load(files, overrides), Ok)?;
        check_shard_option(&whole, common.shard).map_err(|mistake| {
            print_stderr(&format!("error: {mistake}\n"));
            Exit(EXIT_USAGE)
        })?;
        shard_dirs::check(&whole.settings.data_dir, whole.settings.shards)
            .map_err(|error| Refusal::from(error).print())?;
        let sources = whole.sources.clone();
        let pipeline = if whole.is_sharded() {
            let search = ShardSearch { files, pipeline: &whole, environment_is_complete, option: common.shard };
            whole.of_shard(search.shard(target).map_err(|reason| Refusal(reason).print())?)
        } else {
            whole
        };
        let journal = open_journal(&pipeline).map_err(|refusal| refusal.print())?;
        Ok(Self { files: files.clone(), pipeline, sources, environment_is_complete, journal, now: SystemClock.now() })
    }

    /// The data directory of all shards; `None` without shards.
    pub(super) fn data_dir_of_shards(&self) -> Option<&Path> {
        self.pipeline.shard.and_then(|_| self.pipeline.settings.data_dir.parent())
    }

    /// A source of the pipeline file.
    pub(super) fn source(&self, name: &str) -> Option<&ValidatedSource> {
        self.sources.iter().find(|source| source.name == name)
    }

    /// A source of the pipeline file, or why there is none.
    pub(super) fn expect_source(&self, name: &str) -> Result<&ValidatedSource, Refusal> {
        let known = || -> Vec<&str> { self.sources.iter().map(|source| source.name.as_str()).collect() };
        self.source(name).ok_or_else(|| self.not_in_file(ComponentKind::Source, name, &known()))
    }

    /// A sink of the pipeline file.
    pub(super) fn sink(&self, name: &str) -> Option<&ValidatedSink> {
        self.pipeline.sinks.iter().find(|sink| sink.name == name)
    }

    /// The names of the sinks that read a source.
    pub(super) fn sinks_of(&self, source: &str) -> String {
        let reads = |sink: &&ValidatedSink| sink.routes.iter().any(|route| route.source == source);
        let names: Vec<_> = self.pipeline.sinks.iter().filter(reads).map(|sink| sink.name.as_str()).collect();
        names.join(", ")
    }

    /// The files of the pipeline as the user wrote them.
    pub(super) fn file(&self) -> &PipelineFiles {
        &self.files
    }

    /// The option that names the shard, after a space; empty without shards.
    pub(super) fn shard_option(&self) -> String {
        self.pipeline.shard.map_or_else(String::new, |shard| format!(" --shard {shard}"))
    }

    /// The pipeline file has no such component; `known` are those that it has.
    pub(super) fn not_in_file(&self, kind: ComponentKind, name: &str, known: &[&str]) -> Refusal {
        Refusal(format!("{} has no {} `{name}`; it has: {}", self.file(), kind.as_str(), known.join(", ")))
    }

    /// The journal knows no such component; `what` names it, such as "source `acme`".
    pub(super) fn unknown(&self, what: &str) -> Refusal {
        Refusal(format!(
            "{what} has never run in {}; `auditflow status {}` lists the names that are recorded there",
            self.pipeline.settings.data_dir.display(),
            self.file()
        ))
    }

    /// The sink has an unfinished batch, which has to be completed or rolled back first.
    pub(super) fn unfinished_batch(&self, sink: &str) -> Refusal {
        let (file, shard) = (self.file(), self.shard_option());
        let action = match self.sink(sink) {
            // What a table's log may have is never rolled back.
            Some(plan) if plan.config.is_table() => {
                format!(
                    "run `auditflow run {file} --once{shard}` to finish it, then repeat this command (docs/s3.md, Delta table)"
                )
            }
            Some(_) => format!(
                "run `auditflow run {file} --once{shard}` to finish it, then repeat this command; if it cannot be finished, remove the sink from the file and run once: that rolls the batch back"
            ),
            None => format!(
                "run `auditflow run {file} --once{shard}` without the sink to roll it back (put the sink back into the file first to finish it instead), then repeat this command"
            ),
        };
        Refusal(format!("`{sink}` has an unfinished batch; {action}"))
    }

    /// The settings that determine event ids have changed since the source `recorded` ran. Unknown, and so `false`, while
    /// variables of the file are not set.
    pub(super) async fn ids_changed(&self, plan: &ValidatedSource, recorded: &str) -> Result<bool, Refusal> {
        use crate::journal::LogReader as _;
        let sources = self.journal.sources().await?;
        let mut same_name = sources.iter().filter(|source| source.name == recorded);
        let differs = same_name.any(|source| source.normalizer_config != plan.vendor.normalizer_config());
        Ok(differs && self.environment_is_complete)
    }
}

/// What is wrong with `--shard`.
fn check_shard_option(pipeline: &ValidatedPipeline, shard: Option<u16>) -> Result<(), String> {
    match (shard, pipeline.settings.shards) {
        (Some(_), None) => Err("the pipeline has no `shards`; leave out --shard".to_owned()),
        (Some(shard), Some(count)) if shard >= count.get() => {
            Err(format!("there is no shard {shard}; the shards are 0 to {}", count.get() - 1))
        }
        _ => Ok(()),
    }
}

fn open_journal(pipeline: &ValidatedPipeline) -> Result<SqliteJournal, Refusal> {
    let data_dir = &pipeline.settings.data_dir;
    if let Some(LockOwner { pid }) = lock::owner(data_dir) {
        let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        return Err(Refusal(format!("{} is running{process}; stop it, then repeat this command", pipeline.name)));
    }
    if !data_dir.join(JOURNAL_FILE).exists() {
        if let Some(shard) = pipeline.shard {
            return Err(Refusal(format!(
                "there is no journal of shard {shard} in {}: it has not run yet, or its journal is elsewhere; run this command where it is",
                data_dir.display()
            )));
        }
        return Err(Refusal(format!("nothing has run yet in {}: there is no state to change", data_dir.display())));
    }
    let options = JournalOptions { data_dir: data_dir.clone(), max_size: pipeline.settings.journal.max_size };
    Ok(SqliteJournal::open(&options)?)
}

/// The names of the sources that a sink reads.
pub(super) fn sources_of(plan: &ValidatedSink) -> Vec<String> {
    plan.routes.iter().map(|route| route.source.clone()).collect()
}

/// Column in which the texts of a message begin.
const COLUMN: usize = 18;

/// The description of a change: a title, then labeled texts, in lines of at most 100 columns.
pub(super) struct Message(String);

impl Message {
    pub(super) fn new(title: &str) -> Self {
        Self(format!("{title}\n"))
    }

    /// Adds a text under a label.
    pub(super) fn with(mut self, label: &str, text: &str) -> Self {
        // The label is inserted after wrapping: the wrapping would collapse its padding.
        let lines = wrapped(&format!("{}{text}", " ".repeat(COLUMN)), &" ".repeat(COLUMN));
        self.0 += &format!("  {label:<width$}", width = COLUMN - 2);
        self.0 += &lines[COLUMN..];
        self
    }

    /// Adds a text under a label if `condition` holds.
    pub(super) fn with_if(self, condition: bool, label: &str, text: &str) -> Self {
        if condition { self.with(label, text) } else { self }
    }

    pub(super) fn text(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped_in_their_column() {
        let text = Message::new("title").with("what", &"word ".repeat(30)).with_if(false, "not", "shown").text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(
            lines[1].starts_with("  what            word word") && lines[2].starts_with("                  word"),
            "{text}"
        );
        assert!(lines.iter().all(|line| line.len() <= 100), "{text}");
    }
}
