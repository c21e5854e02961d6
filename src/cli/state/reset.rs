//! `auditflow state reset`: clears the recorded state of a source or sink that is still in the pipeline file. It starts over.

use super::context::{Common, Context, Message, Proposal, Proposed, Refusal, sources_of};
use crate::format::count;
use crate::journal::{
    CollectJournal, DeliverJournal, Edit, LogReader, Redeliver, SinkEdit, SinkHistory, SinkStart, SourceEdit,
    SourceHistory,
};
use crate::pipeline::{PipelineFiles, ValidatedSink, ValidatedSource};
use crate::report::counted;

/// Clear the recorded state of a source or sink of the file; it starts over at the next run
///
/// A reset source collects again from its `backfill_start_time`, or from the present without one. A reset sink delivers again
/// from its `start`. For a source or sink that is no longer in the file, use `state remove`.
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
    if let Some(plan) = context.source(name) {
        let Some(past) = context.journal.source_history(name).await? else {
            return Ok(Proposal::NoChange(format!("nothing to do: source `{name}` has not run yet\n")));
        };
        return reset_source(context, plan, &past);
    }
    if let Some(plan) = context.sink(name) {
        let Some(past) = context.journal.sink_history(name).await? else {
            return Ok(Proposal::NoChange(format!("nothing to do: sink `{name}` has not run yet\n")));
        };
        return reset_sink(context, plan, &past).await;
    }
    Err(Refusal(format!(
        "{} has no source or sink `{name}`; to remove the recorded state of one that is no longer in the file: auditflow state remove {0} {name}{1}",
        context.file(),
        context.shard_option()
    )))
}

fn reset_source(context: &Context, plan: &ValidatedSource, past: &SourceHistory) -> Proposed {
    let name = &plan.name;
    if past.vendor != plan.vendor_name {
        return Err(Refusal(format!(
            "`{name}` was a {} source and is a {} source in the file; remove the recorded state first: auditflow state remove {} {name}",
            past.vendor,
            plan.vendor_name,
            context.file()
        )));
    }
    let from = plan.options.over(plan.vendor.spec()).starts_at(context.now);
    let message = Message::new(&format!("reset source `{name}`"))
        .with("cleared", &format!("{} and the keys for deduplication", coverage(past)))
        .with(
            "kept",
            &format!("{} in the journal; sinks that have not delivered them still do", counted(past.held, "event")),
        );
    let message = if from < context.now {
        message.with(
            "DUPLICATES",
            &format!(
                "all events since {from} are collected and delivered again, with the same ids, to: {}",
                context.sinks_of(name)
            ),
        )
    } else {
        let covered_to = past.coverage.last().map_or(past.first_started_at, |range| range.to);
        message.with("LOST", &format!(
            "events between {covered_to} and {from} are not collected: without backfill_start_time the source starts at the present"
        ))
    };
    let message = message.with(
        "alternative",
        &format!("to read again without duplicates: auditflow state rewind {} {name} --to TIME", context.file()),
    );
    let edit = Edit::Source(SourceEdit::Reset { source: name.clone(), at: context.now });
    Ok(Proposal::Change { message: message.text(), edit })
}

/// The covered time of a source, as the object of "cleared".
pub(super) fn coverage(past: &SourceHistory) -> String {
    match (past.coverage.first(), past.coverage.last()) {
        (Some(first), Some(last)) => format!("coverage from {} to {}", first.from, last.to),
        _ => "its start time".to_owned(),
    }
}

async fn reset_sink(context: &Context, plan: &ValidatedSink, past: &SinkHistory) -> Proposed {
    let name = &plan.name;
    if past.unfinished_batch {
        return Err(context.unfinished_batch(name));
    }
    let journal = context.journal.stats().await?;
    let message = Message::new(&format!("reset sink `{name}`"))
        .with("cleared", &format!("its position (event {} of the journal) and its statistics", count(past.position)));
    let (position, message) = match plan.start {
        SinkStart::Beginning => {
            let duplicates = delivered_and_held(context, plan).await?;
            let text = format!(
                "the sink starts at the oldest event in the journal, {}: {} that it has already delivered are delivered again, with the same ids; {}",
                count(journal.oldest),
                counted(duplicates, "event"),
                plan.config.when_redelivered()
            );
            (journal.oldest.saturating_sub(1), message.with("DUPLICATES", &text))
        }
        SinkStart::Now => {
            let lost = undelivered(context, plan, past).await?;
            let text = format!(
                "the sink starts after event {} (`start: now`): {} that it has not delivered yet are never delivered to it",
                count(journal.head),
                counted(lost, "event")
            );
            (journal.head, message.with("LOST", &text))
        }
    };
    let edit = Edit::Sink(SinkEdit::Reset { sink: name.clone(), position });
    Ok(Proposal::Change { message: message.text(), edit })
}

/// Number of events that the sink has delivered and the journal still holds.
async fn delivered_and_held(context: &Context, plan: &ValidatedSink) -> Result<u64, Refusal> {
    let all = Redeliver { sink: plan.name.clone(), sources: sources_of(plan), from: None };
    Ok(context.journal.preview_redeliver(all).await?.map_or(0, |preview| preview.events))
}

/// Number of events that the sink has not delivered yet.
async fn undelivered(context: &Context, plan: &ValidatedSink, past: &SinkHistory) -> Result<u64, Refusal> {
    let names = sources_of(plan);
    let sources = context.journal.sources().await?;
    let ids = sources.iter().filter(|source| names.contains(&source.name)).map(|source| source.id).collect();
    let no_limit = i64::MAX.unsigned_abs();
    Ok(context.journal.next_batch(past.position, ids, no_limit, no_limit).await?.events)
}
