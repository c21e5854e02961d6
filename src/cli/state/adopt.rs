//! `auditflow state adopt`: the output of a sink belongs to this journal from now on.

use super::context::{Common, Context, Message, Proposal, Proposed, Refusal};
use crate::format::count;
use crate::journal::DeliverJournal;
use crate::pipeline::PipelineFiles;

/// Take over the output of a sink from another journal, or from a later state of this one
///
/// A sink stops when its output belongs to another data_dir, or when data_dir was restored from a backup. This command makes
/// the output this journal's. Run it when the other data_dir, or the newer one, is lost, and nothing uses it any more.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) files: PipelineFiles,
    /// The sink
    pub(super) sink: String,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(context: &Context, arguments: &Arguments) -> Proposed {
    let name = arguments.sink.as_str();
    let Some(sink) = context.sink(name) else {
        let known: Vec<&str> = context.pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect();
        return Err(context.not_in_file(crate::journal::ComponentKind::Sink, name, &known));
    };
    let Some(past) = context.journal.sink_history(name).await? else {
        return Err(Refusal(format!(
            "sink `{name}` has not run yet with this data_dir; run `auditflow run {} --once` first: the sink stops before it writes anything",
            context.file()
        )));
    };
    let position = format!("event {} of this journal: later events are delivered", count(past.position));
    let message = Message::new(&format!("adopt the output of sink `{name}`"))
        .with("belongs to", "this journal, whatever its marker says now; another data_dir stops when it finds that")
        .with("delivered up to", &position)
        .with(
            "DUPLICATES",
            "events that the other journal, or the newer state of this one, delivered beyond that and that the vendors or this journal still have are delivered again, with the same ids",
        )
        .with_if(
            past.unfinished_batch,
            "not rolled back",
            "this journal has an unfinished batch: the output has changed since, so the batch is forgotten and its events are delivered again",
        );
    Ok(Proposal::Adopt { message: message.text(), sink: Box::new(sink.clone()) })
}
