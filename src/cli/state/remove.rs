//! `auditflow state remove`: deletes the recorded state of a source or sink that is no longer in the pipeline file.

use super::context::{Common, Context, Message, Proposal, Proposed, Refusal};
use super::reset::coverage;
use crate::format::count;
use crate::journal::{
    CollectJournal, DeliverJournal, Edit, LogReader, SinkEdit, SinkHistory, SourceEdit, SourceHistory, shard_dirs,
};
use crate::pipeline::PipelineFiles;
use crate::report::counted;

/// Delete the recorded state of a source or sink that is no longer in the file
///
/// Removing a source deletes its events from the journal. Removing a sink frees the events that the journal keeps for it. What
/// a sink has written stays. For a source or sink that is still in the file, use `state reset`.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) files: PipelineFiles,
    /// The source or sink
    pub(super) name: String,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(context: &Context, arguments: &Arguments) -> Proposed {
    let name = arguments.name.as_str();
    let source = context.journal.source_history(name).await?;
    let sink = context.journal.sink_history(name).await?;
    let was_known = source.is_some() || sink.is_some();
    // A source and a sink may have had the same name at different times. Remove the one that the file no longer has.
    if let Some(past) = source.filter(|past| !is_in_file(context, name, past)) {
        return remove_source(context, name, &past).await;
    }
    if let Some(past) = sink.filter(|_| context.sink(name).is_none()) {
        return remove_sink(context, name, &past);
    }
    if was_known {
        return Err(Refusal(format!(
            "`{name}` is still in {}; remove it from the file first, or let it start over: auditflow state reset {0} {name}{1}",
            context.file(),
            context.shard_option()
        )));
    }
    if context.source(name).is_none() && is_noted(context, name)? {
        let message = Message::new(&format!("forget the shard of source `{name}`, which no journal here has"))
            .with("name", "is free in this data directory; a source that gets it may be in any shard")
            .with("CAUTION", "if another process has its journal, a source of this name would be collected again");
        return Ok(Proposal::Forget { message: message.text(), source: name.to_owned() });
    }
    Err(context.unknown(&format!("`{name}`")))
}

/// Whether the shards know a source of this name.
fn is_noted(context: &Context, name: &str) -> Result<bool, Refusal> {
    let Some(data_dir) = context.data_dir_of_shards() else { return Ok(false) };
    Ok(shard_dirs::shard_of_source(data_dir, name)?.is_some())
}

/// Whether the file has this source, with the vendor that is recorded.
fn is_in_file(context: &Context, name: &str, past: &SourceHistory) -> bool {
    context.source(name).is_some_and(|plan| plan.vendor_name == past.vendor)
}

async fn remove_source(context: &Context, name: &str, past: &SourceHistory) -> Proposed {
    if past.held > 0 {
        expect_no_unfinished_batch(context).await?;
    }
    let reason = match context.source(name) {
        Some(plan) => format!("which was a {} source and is a {} source in the file", past.vendor, plan.vendor_name),
        None => "which is no longer in the file".to_owned(),
    };
    let message = Message::new(&format!("remove source `{name}`, {reason}"))
        .with("deleted", &format!("{}, its statistics and the keys for deduplication", coverage(past)))
        .with_if(
            past.held > 0,
            "LOST",
            &format!(
                "{} of it are deleted from the journal; those that a sink has not delivered yet are never delivered",
                counted(past.held, "event")
            ),
        )
        .with("name", "is free; a source that gets it starts without recorded state");
    let edit = Edit::Source(SourceEdit::Remove { source: name.to_owned() });
    Ok(Proposal::Change { message: message.text(), edit })
}

/// An unfinished batch may have to be written again: its events must not be deleted.
async fn expect_no_unfinished_batch(context: &Context) -> Result<(), Refusal> {
    for sink in context.journal.stats().await?.sinks {
        if context.journal.sink_history(&sink.name).await?.is_some_and(|past| past.unfinished_batch) {
            return Err(context.unfinished_batch(&sink.name));
        }
    }
    Ok(())
}

fn remove_sink(context: &Context, name: &str, past: &SinkHistory) -> Proposed {
    if past.unfinished_batch {
        return Err(context.unfinished_batch(name));
    }
    let message = Message::new(&format!("remove sink `{name}`, which is no longer in the file"))
        .with("deleted", &format!("its position (event {} of the journal) and its statistics", count(past.position)))
        .with_if(past.active, "journal", "no longer keeps events for it")
        .with("target", "what the sink has written stays; a sink that gets this name starts without recorded state");
    let edit = Edit::Sink(SinkEdit::Remove { sink: name.to_owned() });
    Ok(Proposal::Change { message: message.text(), edit })
}
