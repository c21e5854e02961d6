//! `auditflow state rewind`: a source asks its vendor again from a moment on.

use std::path::PathBuf;

use super::told::Told;
use super::{Common, Desk, Proposal, Proposed, Refusal, point_in_time};
use crate::collect::outlook::{begins_at, reach_back};
use crate::collect::rewind;
use crate::journal::{CollectJournal, ComponentKind, LogReader, Rewind, RewindPreview, SourceHistory};
use crate::pipeline::SourcePlan;
use crate::report::{brief, counted};
use crate::time::Timestamp;

/// Let a source ask its vendor again from a time on: what was delivered before is known again and not delivered twice
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    pub(super) file: PathBuf,
    /// The source
    source: String,
    /// From when on to ask again: a time (2026-01-31T00:00:00Z) or a date
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    to: Timestamp,
    /// Take the events of that time as new: deliver them once more to every sink, with the same ids
    #[arg(long)]
    redeliver: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(desk: &Desk, arguments: &Arguments) -> Proposed {
    let name = arguments.source.as_str();
    let plan = desk.source(name).ok_or_else(|| {
        let known: Vec<&str> = desk.pipeline.sources.iter().map(|source| source.name.as_str()).collect();
        desk.has_no(ComponentKind::Source.as_str(), name, &known)
    })?;
    let past = desk.journal.source_history(name).await?;
    let past = past.ok_or_else(|| Refusal(format!("source `{name}` has not run yet: there is nothing to rewind")))?;
    let settings = plan.options.over(plan.vendor.spec());
    let floor = begins_at(&settings, past.first_started_at);
    let (to, reach_back) = (arguments.to.max(floor), reach_back(&settings));
    let redeliver = arguments.redeliver;
    let rewind = Rewind { source: name.to_owned(), to, reach_back, redeliver, now: desk.now };
    let Some(prepared) = rewind::prepare(&desk.journal, rewind.clone()).await? else {
        return Ok(Proposal::Nothing(format!("source `{name}` is not known any more\n")));
    };
    let seen = prepared.preview.clone();
    let taken_as_new = redeliver && seen.known_events > 0;
    if seen.removed_coverage.is_empty() && !taken_as_new {
        return Ok(Proposal::Nothing(format!("nothing to do: no time after {to} is covered by `{name}`\n")));
    }
    if !rewind.redeliver {
        expect_same_ids(desk, plan).await?;
        expect_known(&rewind, &seen)?;
    }
    let text = told(desk, &rewind, &seen, &past, arguments.to < floor);
    Ok(Proposal::Change { text, edit: prepared.into_edit() })
}

/// Records are known again by their ids, which the account and a few settings are a part of.
async fn expect_same_ids(desk: &Desk, plan: &SourcePlan) -> Result<(), Refusal> {
    let known = desk.journal.sources().await?;
    let changed = known
        .iter()
        .any(|source| source.name == plan.name && source.normalizer_config != plan.vendor.normalizer_config());
    if !changed || !desk.whole_environment {
        return Ok(());
    }
    Err(Refusal(format!(
        "the settings of `{}` that ids are made of have changed since it ran: what is read again would have other ids and come twice; put them back, give the new account a source of its own, or add --redeliver if events shall come twice",
        plan.name
    )))
}

fn expect_known(rewind: &Rewind, seen: &RewindPreview) -> Result<(), Refusal> {
    if seen.is_exact(rewind) {
        return Ok(());
    }
    let from = seen.exact_from(rewind).unwrap_or(rewind.to);
    Err(Refusal(format!(
        "which events of `{}` were delivered at the time around {} is not remembered any more (journal.key_retention), so some would come twice; rewind to {from} or later, or add --redeliver if events may come twice",
        rewind.source, rewind.to
    )))
}

fn told(desk: &Desk, rewind: &Rewind, seen: &RewindPreview, past: &SourceHistory, below_floor: bool) -> String {
    let Rewind { source, to, redeliver, .. } = rewind;
    let told = Told::new(&format!("rewind source `{source}` to {to}"))
        .and_if(below_floor, "from", &format!("{to}, where this source begins; nothing before it is asked for"))
        .and_if(!seen.removed_coverage.is_empty(), "given up", &given_up(seen))
        .and_if(seen.open_windows > 0, "half-read", &half_read(seen))
        .and("asked again", &asked_again(rewind));
    let told =
        if *redeliver { told_of_redelivery(told, desk, rewind, seen) } else { told_of_known(told, desk, rewind, seen) };
    let collected = counted(past.events, "event");
    told.and("kept", &format!("{collected} collected so far, every sink's position, and what is covered before {to}"))
        .text()
}

fn asked_again(rewind: &Rewind) -> String {
    let Rewind { to, .. } = rewind;
    let overlap = rewind.reads_from();
    format!("from {to} on, and the overlap before it (not before {overlap}); at the next `auditflow run`")
}

fn told_of_redelivery(told: Told, desk: &Desk, rewind: &Rewind, seen: &RewindPreview) -> Told {
    let (to, from) = (rewind.to, rewind.reads_from());
    let (known, sinks) = (counted(seen.known_events, "event"), desk.sinks_of(&rewind.source).join(", "));
    told.and("delivered again", &format!(
        "what the vendor still has of that time, to: {sinks}. {known} of it are known now and come ONCE MORE, with the same ids and new sequence numbers. Events without a time of their own stay known"
    ))
    .and_if(!seen.is_exact(rewind), "mind", &format!(
        "what was delivered from the overlap before {to} is not wholly remembered any more: some events between {from} and {to} may come once more, too"
    ))
}

fn told_of_known(told: Told, desk: &Desk, rewind: &Rewind, seen: &RewindPreview) -> Told {
    let (known, sinks) = (counted(seen.known_events, "event"), desk.sinks_of(&rewind.source).join(", "));
    let not_checked =
        "whether the settings that ids are made of are those of before: variables of the file are not set here";
    told.and(
        "not twice",
        &format!("{known} of that time are known and will not be delivered again; what is new goes to: {sinks}"),
    )
    .and_if(!desk.whole_environment, "not checked", not_checked)
}

fn given_up(seen: &RewindPreview) -> String {
    let spans = seen.removed_coverage.iter().map(|range| {
        format!("{} to {} ({})", range.from.with_digits(0), range.to.with_digits(0), brief(range.to.since(range.from)))
    });
    const SHOWN: usize = 3;
    let mut text = spans.take(SHOWN).collect::<Vec<_>>().join(", ");
    if seen.removed_coverage.len() > SHOWN {
        text += &format!(" and {} more", seen.removed_coverage.len() - SHOWN);
    }
    text
}

fn half_read(seen: &RewindPreview) -> String {
    format!(
        "{}, read again from the start; {} of them were not visible to any sink yet",
        counted(seen.open_windows, "window"),
        counted(seen.staged_events, "event")
    )
}
