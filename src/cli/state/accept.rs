//! `auditflow state accept`: an operator decides that time in doubt counts as covered.

use super::context::{Common, Context, Message, Proposal, Proposed, Refusal};
use crate::cli::process::point_in_time;
use crate::collect::ranges;
use crate::journal::{CollectJournal, CoverageState, EvidenceRow};
use crate::pipeline::PipelineFiles;
use crate::report::{brief, counted, reasons_text};
use crate::time::{TimeRange, Timestamp};

/// Count time that is in doubt or unreadable as covered, because you have compared it with the vendor's own view
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) files: PipelineFiles,
    /// The source
    pub(super) source: String,
    /// The beginning of the time (2026-01-31T00:00:00Z, or a date)
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    from: Timestamp,
    /// The end of the time, not included
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    to: Timestamp,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(context: &Context, arguments: &Arguments) -> Proposed {
    let Arguments { source: name, from, to, .. } = arguments;
    context.expect_source(name)?;
    if from >= to {
        return Err(Refusal(format!("--to {to} is not after --from {from}; write the beginning of the time first")));
    }
    if context.journal.source_history(name).await?.is_none() {
        return Err(context.unknown(&format!("source `{name}`")));
    }
    let range = TimeRange::new(*from, *to);
    let mut doubtful = context.journal.evidence(name, range).await?;
    doubtful.retain(|row| row.state != CoverageState::Covered);
    if doubtful.is_empty() {
        return Ok(Proposal::NoChange(format!("nothing to do: `{name}` has no time in doubt from {from} to {to}\n")));
    }
    Ok(Proposal::Accept { message: message(context, name, range, &doubtful), source: name.clone(), range })
}

fn message(context: &Context, name: &str, range: TimeRange, doubtful: &[EvidenceRow]) -> String {
    const SHOWN: usize = 12;
    let windows = counted(doubtful.iter().map(|row| row.windows).sum(), "window");
    let mut message = Message::new(&format!("accept {windows} of source `{name}`"));
    for row in doubtful.iter().take(SHOWN) {
        let part = ranges::intersection(row.covers, range);
        let time = format!(
            "{} to {} ({}): {}",
            part.from.with_digits(0),
            part.to.with_digits(0),
            brief(part.to.since(part.from)),
            reasons_text(&row.reasons)
        );
        message = message.with(row.state.as_str(), &time);
    }
    let more = doubtful.len().saturating_sub(SHOWN);
    message
        .with_if(more > 0, "", &format!("and {more} more"))
        .with("then", "this time counts as covered, and no recheck reads it again; its evidence keeps the reasons")
        .with("kept", "what was read of it was delivered, and stays delivered")
        .with(
            "alternative",
            &format!(
                "to read it again without duplicates: auditflow state rewind {} {name} --to {}",
                context.file(),
                range.from
            ),
        )
        .text()
}
