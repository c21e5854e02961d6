//! `auditflow state rewind`: a source collects again from a point in time.

use super::context::{Common, Context, Message, Proposal, Proposed, Refusal};
use crate::cli::process::point_in_time;
use crate::collect::rewind;
use crate::journal::{CollectJournal, Rewind, RewindPreview, SourceHistory};
use crate::pipeline::PipelineFiles;
use crate::report::{brief, counted};
use crate::time::Timestamp;

/// Collect again from a time on; events that were collected before are deduplicated
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) files: PipelineFiles,
    /// The source
    pub(super) source: String,
    /// Collect again from this time (2026-01-31T00:00:00Z, or a date)
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    to: Timestamp,
    /// Do not deduplicate: deliver the events of that time again to every sink, with the same ids
    #[arg(long)]
    redeliver: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(context: &Context, arguments: &Arguments) -> Proposed {
    let name = arguments.source.as_str();
    let plan = context.expect_source(name)?;
    let past = context.journal.source_history(name).await?;
    let past = past.ok_or_else(|| Refusal(format!("source `{name}` has not run yet: it has collected nothing")))?;
    let settings = plan.options.over(plan.vendor.spec());
    let earliest = settings.starts_at(past.first_started_at);
    let (to, reach_back) = (arguments.to.max(earliest), settings.max_lookback());
    let redeliver = arguments.redeliver;
    let rewind = Rewind { source: name.to_owned(), to, reach_back, redeliver, now: context.now };
    let Some(prepared) = rewind::prepare(&context.journal, rewind.clone()).await? else {
        return Ok(Proposal::NoChange(format!("nothing to do: there is no recorded source `{name}`\n")));
    };
    let preview = prepared.preview.clone();
    let redelivers = redeliver && preview.known_events > 0;
    if preview.removed_coverage.is_empty() && !redelivers {
        return Ok(Proposal::NoChange(format!("nothing to do: `{name}` has no coverage after {to}\n")));
    }
    if !redeliver {
        // Records are deduplicated by their ids, which depend on the account and a few settings.
        if context.ids_changed(plan, name).await? {
            return Err(Refusal(format!(
                "settings of `{name}` that determine event ids have changed since it ran: events would get other ids and be delivered twice; restore the settings, configure the new account as a source of its own, or add --redeliver to accept duplicates"
            )));
        }
        expect_keys(&rewind, &preview)?;
    }
    let message = message(context, &rewind, &preview, &past, arguments.to < earliest);
    Ok(Proposal::Change { message, edit: prepared.into_edit() })
}

fn expect_keys(rewind: &Rewind, preview: &RewindPreview) -> Result<(), Refusal> {
    if preview.is_exact(rewind) {
        return Ok(());
    }
    let from = preview.exact_from(rewind).unwrap_or(rewind.to);
    Err(Refusal(format!(
        "the journal no longer holds the deduplication keys of `{}` for the time around {} (see journal.key_retention), so some events would be delivered twice; rewind to {from} or later, or add --redeliver to accept duplicates",
        rewind.source, rewind.to
    )))
}

fn message(
    context: &Context,
    rewind: &Rewind,
    preview: &RewindPreview,
    past: &SourceHistory,
    before_start: bool,
) -> String {
    let Rewind { source, to, redeliver, .. } = rewind;
    let message = Message::new(&format!("rewind source `{source}` to {to}"))
        .with_if(before_start, "from", &format!("{to}, the start of this source; nothing before it is requested"))
        .with_if(!preview.removed_coverage.is_empty(), "uncovered", &uncovered(preview))
        .with_if(preview.open_windows > 0, "restarted", &restarted(preview))
        .with(
            "collected",
            &format!(
                "again from {to} on, with the overlap before it (from {} on), at the next `auditflow run`",
                rewind.reads_from()
            ),
        );
    let message = if *redeliver {
        with_redelivery(message, context, rewind, preview)
    } else {
        with_deduplication(message, context, rewind, preview)
    };
    let collected = counted(past.events, "event");
    message
        .with(
            "kept",
            &format!("{collected} collected so far, the position of every sink, and the coverage before {to}"),
        )
        .text()
}

fn with_redelivery(message: Message, context: &Context, rewind: &Rewind, preview: &RewindPreview) -> Message {
    let (to, from) = (rewind.to, rewind.reads_from());
    let (known, sinks) = (counted(preview.known_events, "event"), context.sinks_of(&rewind.source));
    message.with("DUPLICATES", &format!(
        "all events of that time that the vendor still has are delivered to: {sinks}. {known} of them were collected before and are delivered again, with the same ids and new sequence numbers. Events without a time of their own are deduplicated"
    ))
    .with_if(!preview.is_exact(rewind), "overlap", &format!(
        "the journal no longer holds all deduplication keys from before {to}: some events between {from} and {to} may be delivered again too"
    ))
}

fn with_deduplication(message: Message, context: &Context, rewind: &Rewind, preview: &RewindPreview) -> Message {
    let (known, sinks) = (counted(preview.known_events, "event"), context.sinks_of(&rewind.source));
    message
        .with(
            "deduplicated",
            &format!(
                "{known} of that time were collected before and are not delivered again; new events go to: {sinks}"
            ),
        )
        .with_if(
            !context.environment_is_complete,
            "not checked",
            "whether settings that determine event ids have changed: variables of the file are not set",
        )
}

fn uncovered(preview: &RewindPreview) -> String {
    const SHOWN: usize = 3;
    let ranges = preview.removed_coverage.iter().map(|range| {
        format!("{} to {} ({})", range.from.with_digits(0), range.to.with_digits(0), brief(range.to.since(range.from)))
    });
    let mut text = ranges.take(SHOWN).collect::<Vec<_>>().join(", ");
    if preview.removed_coverage.len() > SHOWN {
        text += &format!(" and {} more", preview.removed_coverage.len() - SHOWN);
    }
    text
}

fn restarted(preview: &RewindPreview) -> String {
    format!(
        "{} in progress, with {} that no sink could read yet",
        counted(preview.open_windows, "window"),
        counted(preview.staged_events, "event")
    )
}
