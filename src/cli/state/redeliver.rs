//! `auditflow state redeliver`: a sink delivers events again that the journal still holds.

use super::context::{Common, Context, Message, Proposal, Proposed, Refusal, sources_of};
use crate::cli::process::point_in_time;
use crate::format::count;
use crate::journal::{ComponentKind, DeliverJournal, Edit, Redeliver, RedeliverPreview, SinkEdit};
use crate::pipeline::{PipelineFiles, ValidatedSink};
use crate::report::counted;
use crate::time::Timestamp;

/// Deliver events again to one sink, from a time on, as far as the journal still holds them
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) files: PipelineFiles,
    /// The sink
    pub(super) sink: String,
    /// Start with the first page of events that has one at or after this time (2026-01-31T00:00:00Z, or a date); `oldest`:
    /// with the oldest event in the journal
    #[arg(long, value_name = "TIME", value_parser = From::parse)]
    from: From,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Where to start.
#[derive(Clone, Copy, Debug)]
enum From {
    Oldest,
    At(Timestamp),
}

impl From {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "oldest" { Ok(Self::Oldest) } else { point_in_time(text).map(Self::At) }
    }

    fn time(self) -> Option<Timestamp> {
        match self {
            Self::Oldest => None,
            Self::At(time) => Some(time),
        }
    }
}

pub(super) async fn propose(context: &Context, arguments: &Arguments) -> Proposed {
    let name = arguments.sink.as_str();
    let plan = context.sink(name).ok_or_else(|| {
        let known: Vec<&str> = context.pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect();
        context.not_in_file(ComponentKind::Sink, name, &known)
    })?;
    let from = arguments.from.time();
    let redeliver = Redeliver { sink: name.to_owned(), sources: sources_of(plan), from };
    let preview = context.journal.preview_redeliver(redeliver.clone()).await?;
    let preview = preview.ok_or_else(|| Refusal(format!("sink `{name}` has not run yet: it has delivered nothing")))?;
    if preview.unfinished_batch {
        return Err(context.unfinished_batch(name));
    }
    expect_held(context, plan, from, &preview)?;
    if preview.back_to == preview.position {
        return Ok(Proposal::NoChange(format!(
            "nothing to do: the journal holds no event of that time that `{name}` has delivered\n"
        )));
    }
    Ok(Proposal::Change { message: message(plan, from, &preview), edit: Edit::Sink(SinkEdit::Redeliver(redeliver)) })
}

fn expect_held(
    context: &Context,
    plan: &ValidatedSink,
    from: Option<Timestamp>,
    preview: &RedeliverPreview,
) -> Result<(), Refusal> {
    let Some(from) = from.filter(|from| !preview.is_complete(*from)) else { return Ok(()) };
    let complete_from = preview.complete_from().unwrap_or(from);
    Err(Refusal(format!(
        "the journal does not hold all events since {from}, only those since {complete_from} (see journal.retention); use --from {complete_from} or later, or --from oldest for all that it holds; to deliver older events again to all sinks, collect them again: auditflow state rewind {} SOURCE --to {from} --redeliver (sources of `{}`: {})",
        context.file(),
        plan.name,
        sources_of(plan).join(", ")
    )))
}

fn message(plan: &ValidatedSink, from: Option<Timestamp>, preview: &RedeliverPreview) -> String {
    let name = &plan.name;
    let title = match from {
        Some(from) => format!("redeliver events since {from} to sink `{name}`"),
        None => format!("redeliver all events in the journal to sink `{name}`"),
    };
    let (first, last) = (count(preview.back_to + 1), count(preview.position));
    let filtered = plan.routes.iter().any(|route| route.condition.is_some());
    let which = if filtered { "Events that pass the filters" } else { "They" };
    let times = preview.times.map_or_else(String::new, |(first, last)| format!(", with times from {first} to {last}"));
    Message::new(&title)
        .with("DUPLICATES", &format!(
            "{} of its inputs, numbers {first} to {last} of the journal{times}. {which} are delivered again, with the same ids, at the next `auditflow run`",
            counted(preview.events, "event")
        ))
        .with_if(from.is_some(), "range", "the journal is in the order of collection: all events from the first page with an event of that time on, including older ones")
        .with("target", plan.config.when_redelivered())
        .with("other sinks", "receive nothing again; the journal keeps these events until this sink has delivered them")
        .text()
}
