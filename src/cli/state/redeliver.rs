//! `auditflow state redeliver`: a sink delivers once more what the journal still holds.

use std::path::PathBuf;

use super::told::Told;
use super::{Common, Desk, Proposal, Proposed, Refusal, point_in_time};
use crate::journal::{ComponentKind, DeliverJournal, Edit, Redeliver, RedeliverPreview, SinkEdit};
use crate::observe::progress::count;
use crate::pipeline::SinkPlan;
use crate::report::counted;
use crate::time::Timestamp;

/// Let a sink deliver once more what the journal still holds, from a time on
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file
    pub(super) file: PathBuf,
    /// The sink
    sink: String,
    /// From the first block of events on that has one at or after this time (2026-01-31T00:00:00Z, or a date); `oldest`: all
    /// that is held
    #[arg(long, value_name = "TIME", value_parser = From::parse)]
    from: From,
    #[command(flatten)]
    pub(super) common: Common,
}

/// Where to begin.
#[derive(Clone, Copy, Debug)]
enum From {
    Oldest,
    At(Timestamp),
}

impl From {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "oldest" { Ok(Self::Oldest) } else { point_in_time(text).map(Self::At) }
    }

    fn moment(self) -> Option<Timestamp> {
        match self {
            Self::Oldest => None,
            Self::At(moment) => Some(moment),
        }
    }
}

pub(super) async fn propose(desk: &Desk, arguments: &Arguments) -> Proposed {
    let name = arguments.sink.as_str();
    let plan = desk.sink(name).ok_or_else(|| {
        let known: Vec<&str> = desk.pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect();
        desk.has_no(ComponentKind::Sink.as_str(), name, &known)
    })?;
    let from = arguments.from.moment();
    let redeliver = Redeliver { sink: name.to_owned(), sources: Desk::sources_of(plan), from };
    let seen = desk.journal.preview_redeliver(redeliver.clone()).await?;
    let seen =
        seen.ok_or_else(|| Refusal(format!("sink `{name}` has not run yet: there is nothing to deliver again")))?;
    if seen.unfinished_batch {
        return Err(desk.unfinished_batch(name));
    }
    expect_held(desk, plan, from, &seen)?;
    if seen.back_to == seen.position {
        return Ok(Proposal::Nothing(format!(
            "nothing to do: `{name}` has delivered no event of that time that is held\n"
        )));
    }
    Ok(Proposal::Change { text: told(plan, from, &seen), edit: Edit::Sink(SinkEdit::Redeliver(redeliver)) })
}

fn expect_held(desk: &Desk, plan: &SinkPlan, from: Option<Timestamp>, seen: &RedeliverPreview) -> Result<(), Refusal> {
    let Some(from) = from.filter(|from| !seen.is_complete(*from)) else { return Ok(()) };
    let whole_from = seen.complete_from().unwrap_or(from);
    Err(Refusal(format!(
        "not all events from {from} on are still in the journal: all from {whole_from} on are (journal.retention says for how long); give --from {whole_from} or later, or --from oldest for whatever is held; to have the others once more, let a source read them again, for all its sinks: auditflow state rewind {} SOURCE --to {from} --redeliver (sources of `{}`: {})",
        desk.shown(),
        plan.name,
        Desk::sources_of(plan).join(", ")
    )))
}

fn told(plan: &SinkPlan, from: Option<Timestamp>, seen: &RedeliverPreview) -> String {
    let name = &plan.name;
    let title = match from {
        Some(from) => format!("redeliver to sink `{name}` from {from}"),
        None => format!("redeliver to sink `{name}` all that is held"),
    };
    let (first, last) = (count(seen.back_to + 1), count(seen.position));
    let filtered = plan.routes.iter().any(|route| route.condition.is_some());
    let they = if filtered { "Those that the filters let through" } else { "They" };
    let times = seen.times.map_or_else(String::new, |(first, last)| format!(", with times from {first} to {last}"));
    Told::new(&title)
        .and("delivered again", &format!(
            "{}: those of its inputs among the journal's numbers {first} to {last}{times}. {they} come ONCE MORE, with the same ids, at the next `auditflow run`",
            counted(seen.events, "event")
        ))
        .and_if(from.is_some(), "why these", "events stand in the order in which they were collected: from the first block on that has one of that time, all come, older ones among them too")
        .and("how", plan.config.when_redelivered())
        .and("other sinks", "get nothing again; the journal holds these events until this sink has passed them")
        .text()
}
