//! `auditflow state rename`: a source or sink keeps its recorded state under the new name that the pipeline file gives it.

use super::context::{Common, Context, Message, Proposal, Proposed, Refusal};
use crate::format::count;
use crate::journal::{
    CollectJournal, ComponentKind, DeliverJournal, Edit, SinkEdit, SinkHistory, SourceEdit, SourceHistory,
};
use crate::pipeline::{PipelineFiles, ValidatedSink, ValidatedSource};
use crate::report::counted;

/// Move the recorded state of a source or sink to a new name; change the name in the file first
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) files: PipelineFiles,
    /// The old name
    pub(super) old: String,
    /// The new name, as in the file
    #[arg(long, value_name = "NAME")]
    pub(super) to: String,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(context: &Context, arguments: &Arguments) -> Proposed {
    let Arguments { old, to: new, .. } = arguments;
    if context.source(old).is_some() || context.sink(old).is_some() {
        return Err(Refusal(format!(
            "`{old}` is still in {}: the next run would start it without recorded state; change the name to `{new}` there, then repeat this command",
            context.file()
        )));
    }
    if let Some(plan) = context.source(new) {
        return rename_source(context, plan, old).await;
    }
    if let Some(plan) = context.sink(new) {
        return rename_sink(context, plan, old).await;
    }
    Err(Refusal(format!(
        "{} has no source or sink `{new}`; change `{old}` to it there, in inputs too, then repeat this command",
        context.file()
    )))
}

async fn rename_source(context: &Context, plan: &ValidatedSource, old: &str) -> Proposed {
    let Some(past) = context.journal.source_history(old).await? else {
        let is_known = context.journal.source_history(&plan.name).await?.is_some();
        return already_renamed(context, ComponentKind::Source, old, &plan.name, is_known);
    };
    if past.vendor != plan.vendor_name {
        return Err(Refusal(format!(
            "`{old}` was a {} source and `{}` is a {} source; a rename cannot change the vendor",
            past.vendor, plan.name, plan.vendor_name
        )));
    }
    if context.journal.source_history(&plan.name).await?.is_some() {
        return Err(name_is_used(context, ComponentKind::Source, &plan.name));
    }
    // The coverage of one account must not count for another.
    if context.ids_changed(plan, old).await? {
        return Err(Refusal(format!(
            "the account of `{}`, or another setting that determines event ids, differs from that of `{old}`: the coverage of `{old}` is not valid for it; use the settings of `{old}`, or start `{0}` without renaming",
            plan.name
        )));
    }
    Ok(change(ComponentKind::Source, old, &plan.name, source_message(plan, old, &past)))
}

async fn rename_sink(context: &Context, plan: &ValidatedSink, old: &str) -> Proposed {
    let Some(past) = context.journal.sink_history(old).await? else {
        let is_known = context.journal.sink_history(&plan.name).await?.is_some();
        return already_renamed(context, ComponentKind::Sink, old, &plan.name, is_known);
    };
    if past.unfinished_batch {
        return Err(Refusal(format!(
            "`{old}` has an unfinished batch; put `{old}` back into {}, run `auditflow run {0} --once` to finish it, then rename the sink",
            context.file()
        )));
    }
    if context.journal.sink_history(&plan.name).await?.is_some() {
        return Err(name_is_used(context, ComponentKind::Sink, &plan.name));
    }
    Ok(change(ComponentKind::Sink, old, &plan.name, sink_message(plan, old, &past)))
}

fn change(kind: ComponentKind, old: &str, new: &str, message: String) -> Proposal {
    let (old, new_name) = (old.to_owned(), new.to_owned());
    let edit = match kind {
        ComponentKind::Source => Edit::Source(SourceEdit::Rename { source: old, new_name }),
        ComponentKind::Sink => Edit::Sink(SinkEdit::Rename { sink: old, new_name }),
    };
    Proposal::Change { message, edit }
}

/// A script may repeat a rename: that is not an error.
fn already_renamed(context: &Context, kind: ComponentKind, old: &str, new: &str, is_known: bool) -> Proposed {
    if !is_known {
        return Err(context.unknown(&format!("{} `{old}`", kind.as_str())));
    }
    Ok(Proposal::NoChange(format!(
        "nothing to do: no {} `{old}` is recorded, but `{new}` is; it may be renamed already\n",
        kind.as_str()
    )))
}

fn name_is_used(context: &Context, kind: ComponentKind, new: &str) -> Refusal {
    Refusal(format!(
        "the {} `{new}` has recorded state of its own; use another name, or remove `{new}` from the file and its state from the journal first: auditflow state remove {} {new}",
        kind.as_str(),
        context.file()
    ))
}

fn source_message(plan: &ValidatedSource, old: &str, past: &SourceHistory) -> String {
    let new = &plan.name;
    let coverage = past.coverage.last().map_or_else(|| "none yet".to_owned(), |range| format!("up to {}", range.to));
    Message::new(&format!("rename source `{old}` to `{new}`"))
        .with("kept", &format!("coverage ({coverage}), {} and the keys for deduplication: nothing is collected again", counted(past.events, "event")))
        .with("ids", "do not change: the name of the source is not part of them")
        .with("`source`", &format!(
            "is `{new}` in events that are delivered from now on, including undelivered ones among the {} in the journal; delivered events keep `{old}`",
            counted(past.held, "event")
        ))
        .with("inputs", &format!("come from the file: replace `{old}` by `{new}` there"))
        .text()
}

fn sink_message(plan: &ValidatedSink, old: &str, past: &SinkHistory) -> String {
    let new = &plan.name;
    Message::new(&format!("rename sink `{old}` to `{new}`"))
        .with(
            "kept",
            &format!(
                "its position (event {} of the journal) and {} delivered: nothing is delivered again",
                count(past.position),
                counted(past.delivered, "event")
            ),
        )
        .with("target", plan.config.when_renamed())
        .with("dead letter", &format!("goes to dead_letter/{new}.ndjson from now on; dead_letter/{old}.ndjson stays"))
        .text()
}
