//! `auditflow state forget`: a source or sink loses its past. Where it still stands in the pipeline file, it begins anew.

use std::path::PathBuf;

use super::told::Told;
use super::{Common, Desk, Proposal, Proposed, Refusal};
use crate::collect::outlook::begins_at;
use crate::journal::{
    CollectJournal, DeliverJournal, Edit, LogReader, Redeliver, SinkEdit, SinkHistory, SinkStart, SourceEdit,
    SourceHistory,
};
use crate::observe::progress::count;
use crate::pipeline::{SinkPlan, SourcePlan};
use crate::report::counted;

/// Let the journal forget a source or sink; one that still stands in the file begins anew
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    pub(super) file: PathBuf,
    /// The source or sink
    name: String,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(desk: &Desk, arguments: &Arguments) -> Proposed {
    let name = arguments.name.as_str();
    let source = desk.journal.source_history(name).await?;
    let sink = desk.journal.sink_history(name).await?;
    // A name may have been a source's once and be a sink's now: what stands in the file is what is meant.
    match (source, sink) {
        (Some(source), sink) if sink.is_none() || desk.sink(name).is_none() => forget_source(desk, name, &source).await,
        (_, Some(sink)) => forget_sink(desk, name, &sink).await,
        _ => Err(Refusal(format!(
            "nothing called `{name}` has ever run in {}; `auditflow status {}` shows the names that it knows",
            desk.pipeline.settings.data_dir.display(),
            desk.shown()
        ))),
    }
}

fn change(edit: Edit, told: Told) -> Proposal {
    Proposal::Change { text: told.text(), edit }
}

async fn forget_source(desk: &Desk, name: &str, past: &SourceHistory) -> Proposed {
    match desk.source(name).filter(|plan| plan.vendor_name == past.vendor) {
        Some(plan) => Ok(begin_source_anew(desk, plan, past)),
        None => remove_source(desk, name, past).await,
    }
}

fn begin_source_anew(desk: &Desk, plan: &SourcePlan, past: &SourceHistory) -> Proposal {
    let name = &plan.name;
    let settings = plan.options.over(plan.vendor.spec());
    let from = begins_at(&settings, desk.now);
    let sinks = desk.sinks_of(name).join(", ");
    let told = Told::new(&format!("forget the past of source `{name}`, which is in the file and begins anew"))
        .and("forgotten", &format!("{}, and which events were delivered", covered(past)))
        .and(
            "kept",
            &format!("{} in the journal: sinks that have not had them still get them", counted(past.held, "event")),
        );
    let told = if from < desk.now {
        told.and(
            "TWICE",
            &format!("everything from {from} on is read and delivered ONCE MORE to: {sinks}, with the same ids"),
        )
    } else {
        let covered_to = past.coverage.last().map_or(past.first_started_at, |range| range.to);
        told.and("MISSED", &format!(
            "without backfill_start_time it begins at the present: what the vendor logs between {covered_to} and {from} is not collected"
        ))
    };
    let told = told.and(
        "instead",
        &format!(
            "to read again without getting events twice: auditflow state rewind {} {name} --to TIME",
            desk.shown()
        ),
    );
    change(Edit::Source(SourceEdit::Reset { source: name.clone(), at: desk.now }), told)
}

fn covered(past: &SourceHistory) -> String {
    match (past.coverage.first(), past.coverage.last()) {
        (Some(first), Some(last)) => format!("that {} to {} is covered", first.from, last.to),
        _ => "that it was started".to_owned(),
    }
}

async fn remove_source(desk: &Desk, name: &str, past: &SourceHistory) -> Proposed {
    if past.held > 0 {
        expect_no_batches(desk).await?;
    }
    let why = match desk.source(name) {
        Some(plan) => format!("which was a {} source and is a {} source in the file", past.vendor, plan.vendor_name),
        None => "which is not in the file any more".to_owned(),
    };
    let told = Told::new(&format!("forget source `{name}`, {why}"))
        .and("forgotten", &format!("{}, its figures, and which events were delivered", covered(past)))
        .and_if(past.held > 0, "removed", &format!(
            "{} of it in the journal: those that no sink has delivered yet are LOST (while it is not in the file, they reach none)",
            counted(past.held, "event")
        ))
        .and("then", "the name is free: whoever has it next begins with nothing");
    Ok(change(Edit::Source(SourceEdit::Remove { source: name.to_owned() }), told))
}

/// Events may not go from under a batch that is to be written once more.
async fn expect_no_batches(desk: &Desk) -> Result<(), Refusal> {
    for sink in desk.journal.stats().await?.sinks {
        if desk.journal.sink_history(&sink.name).await?.is_some_and(|past| past.unfinished_batch) {
            return Err(desk.unfinished_batch(&sink.name));
        }
    }
    Ok(())
}

async fn forget_sink(desk: &Desk, name: &str, past: &SinkHistory) -> Proposed {
    if past.unfinished_batch {
        return Err(desk.unfinished_batch(name));
    }
    match desk.sink(name) {
        Some(plan) => begin_sink_anew(desk, plan, past).await,
        None => Ok(remove_sink(name, past)),
    }
}

async fn begin_sink_anew(desk: &Desk, plan: &SinkPlan, past: &SinkHistory) -> Proposed {
    let name = &plan.name;
    let summary = desk.journal.stats().await?;
    let told = Told::new(&format!("forget the past of sink `{name}`, which is in the file and begins anew")).and(
        "forgotten",
        &format!("its position, behind event {} of the journal, and its figures", count(past.position)),
    );
    let (behind, told) = match plan.start {
        SinkStart::Beginning => {
            let again = again(desk, plan).await?;
            let behind = summary.oldest.saturating_sub(1);
            let text = format!(
                "it begins at the oldest event held, {}: {} that it has delivered come ONCE MORE, with the same ids; {}",
                count(summary.oldest),
                counted(again, "event"),
                plan.config.when_redelivered()
            );
            (behind, told.and("TWICE", &text))
        }
        SinkStart::Now => {
            let missed = waiting(desk, plan, past).await?;
            let text = format!(
                "it begins behind event {} (`start: now`): {} that wait for it are NEVER delivered to it",
                count(summary.head),
                counted(missed, "event")
            );
            (summary.head, told.and("MISSED", &text))
        }
    };
    Ok(change(Edit::Sink(SinkEdit::Reset { sink: name.clone(), position: behind }), told))
}

/// Events that the sink has delivered and that are held.
async fn again(desk: &Desk, plan: &SinkPlan) -> Result<u64, Refusal> {
    let all = Redeliver { sink: plan.name.clone(), sources: Desk::sources_of(plan), from: None };
    Ok(desk.journal.preview_redeliver(all).await?.map_or(0, |seen| seen.events))
}

/// Events that the sink has not delivered yet.
async fn waiting(desk: &Desk, plan: &SinkPlan, past: &SinkHistory) -> Result<u64, Refusal> {
    let sources = Desk::sources_of(plan);
    let known = desk.journal.sources().await?;
    let ids = known.iter().filter(|source| sources.contains(&source.name)).map(|source| source.id).collect();
    let all = i64::MAX.unsigned_abs();
    Ok(desk.journal.next_batch(past.position, ids, all, all).await?.events)
}

fn remove_sink(name: &str, past: &SinkHistory) -> Proposal {
    let told = Told::new(&format!("forget sink `{name}`, which is not in the file any more"))
        .and(
            "forgotten",
            &format!("its position, behind event {} of the journal, and its figures", count(past.position)),
        )
        .and_if(past.active, "then", "the journal no longer holds events back for it")
        .and("outside", "what it has written stays as it is; a sink that gets this name begins anew");
    change(Edit::Sink(SinkEdit::Remove { sink: name.to_owned() }), told)
}
