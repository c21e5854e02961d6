//! `auditflow state`: changes the recorded state of a pipeline that does not run.
//!
//! ```text
//! pipeline file, journal (locked) --propose--> Proposal (what will change) --confirm--> apply: one transaction
//!                                              or Refusal (why not, and what to do)
//! ```

mod accept;
mod adopt;
mod context;
mod redeliver;
mod remove;
mod rename;
mod reset;
mod rewind;
mod shard_search;

use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;

use self::context::{Common, Context, Proposal, Refusal};
use self::shard_search::Target;
use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print, print_stderr, runtime};
use super::read_only::Exit;
use crate::clock::{SharedClock, SystemClock};
use crate::journal::{CollectJournal, DeliverJournal, Edit, Journal, LogReader, SourceEdit, shard_dirs};
use crate::pipeline::{PipelineFiles, ValidatedSink};
use crate::sinks::StoredPosition;
use crate::sinks::registry::SinkName;

/// Change the recorded state of a stopped pipeline: rewind, redeliver, accept, rename, reset, remove, adopt
///
/// Each command first prints what it will change. On a terminal it then asks for confirmation; elsewhere it needs --yes. A
/// change is one transaction: if the command is killed, it is made in full or not at all. Exit code 0 if the change is made
/// or there is nothing to change, 1 if it is refused, 2 if the file or the arguments are wrong or --yes is missing.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(subcommand)]
    change: Change,
}

#[derive(clap::Subcommand, Debug)]
enum Change {
    Rewind(rewind::Arguments),
    Redeliver(redeliver::Arguments),
    Accept(accept::Arguments),
    Rename(rename::Arguments),
    Reset(reset::Arguments),
    Remove(remove::Arguments),
    Adopt(adopt::Arguments),
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let (files, common, target): (_, _, Target<'_>) = match &arguments.change {
        Change::Rewind(change) => (&change.files, &change.common, (&change.source).into()),
        Change::Redeliver(change) => (&change.files, &change.common, (&change.sink).into()),
        Change::Accept(change) => (&change.files, &change.common, (&change.source).into()),
        Change::Rename(change) => {
            (&change.files, &change.common, Target { recorded: &change.old, in_file: &change.to })
        }
        Change::Reset(change) => (&change.files, &change.common, (&change.name).into()),
        Change::Remove(change) => (&change.files, &change.common, (&change.name).into()),
        Change::Adopt(change) => (&change.files, &change.common, (&change.sink).into()),
    };
    execute(&arguments.change, files, target, common).unwrap_or_else(|Exit(code)| code)
}

fn execute(change: &Change, files: &PipelineFiles, target: Target<'_>, common: &Common) -> Result<u8, Exit> {
    let context = Context::open(files, target, common)?;
    let runtime = runtime(std::num::NonZeroUsize::new(1)).map_err(|reason| Refusal(reason).print())?;
    let proposed = runtime.block_on(async {
        match change {
            Change::Rewind(change) => rewind::propose(&context, change).await,
            Change::Redeliver(change) => redeliver::propose(&context, change).await,
            Change::Accept(change) => accept::propose(&context, change).await,
            Change::Rename(change) => rename::propose(&context, change).await,
            Change::Reset(change) => reset::propose(&context, change).await,
            Change::Remove(change) => remove::propose(&context, change).await,
            Change::Adopt(change) => adopt::propose(&context, change).await,
        }
    });
    let proposal = proposed.map_err(|refusal| refusal.print())?;
    let (Proposal::Change { message, .. }
    | Proposal::Accept { message, .. }
    | Proposal::Adopt { message, .. }
    | Proposal::Forget { message, .. }
    | Proposal::NoChange(message)) = &proposal;
    print(message);
    if matches!(proposal, Proposal::NoChange(_)) {
        return Ok(EXIT_DONE);
    }
    if common.dry_run {
        print("dry run: nothing was changed\n");
        return Ok(EXIT_DONE);
    }
    if !common.yes {
        confirm()?;
    }
    runtime.block_on(apply(&context, proposal)).map_err(|refusal| refusal.print())?;
    print("done\n");
    Ok(EXIT_DONE)
}

async fn apply(context: &Context, proposal: Proposal) -> Result<(), Refusal> {
    match proposal {
        Proposal::Change { edit, .. } => change_journal(context, edit).await,
        Proposal::Forget { source, .. } => forget_shard(context, &source),
        Proposal::Accept { source, range, .. } => Ok(context.journal.accept(&source, range).await.map(drop)?),
        Proposal::Adopt { sink, .. } => adopt_output(context, &sink).await,
        Proposal::NoChange(_) => Ok(()),
    }
}

/// The journal first: until it has forgotten the source, the shards must know it.
async fn change_journal(context: &Context, edit: Edit) -> Result<(), Refusal> {
    let forgotten = match &edit {
        Edit::Source(SourceEdit::Remove { source } | SourceEdit::Rename { source, .. }) => Some(source.clone()),
        _ => None,
    };
    context.journal.apply(edit).await?;
    forgotten.map_or(Ok(()), |source| forget_shard(context, &source))
}

/// A source of this name may be in any shard from now on.
fn forget_shard(context: &Context, source: &str) -> Result<(), Refusal> {
    let Some(data_dir) = context.data_dir_of_shards() else { return Ok(()) };
    Ok(shard_dirs::forget_source(data_dir, source)?)
}

/// The output first: until the journal has forgotten its unfinished batch, the command can be repeated.
async fn adopt_output(context: &Context, sink: &ValidatedSink) -> Result<(), Refusal> {
    let name = SinkName { pipeline: &context.pipeline.name, sink: &sink.name };
    let clock: SharedClock = Arc::new(SystemClock);
    let mut target =
        sink.config.build(clock, name).map_err(|_| Refusal(format!("sink `{}` cannot be built", sink.name)))?;
    let state = context.journal.open_sink(&sink.name, sink.start).await?;
    let journal = context.journal.identity().await?;
    let stored = StoredPosition {
        journal: &journal,
        generation: state.generation,
        state: state.state.as_deref(),
        position: state.position,
        up_to: state.position,
    };
    target.adopt(stored).await?;
    if state.intent.is_some() {
        context.journal.abort_batch(state.id).await?;
    }
    Ok(())
}

/// Asks for confirmation on the terminal. Ends the command if the answer is no, or if there is no terminal.
fn confirm() -> Result<(), Exit> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        print_stderr(
            "error: nothing was changed: there is no terminal for the confirmation; add --yes to make this change\n",
        );
        return Err(Exit(EXIT_USAGE));
    }
    print_stderr("Make this change? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    print_stderr("nothing was changed\n");
    Err(Exit(EXIT_FAILED))
}
