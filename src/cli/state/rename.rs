//! `auditflow state rename`: a source or sink keeps its past under the name that the pipeline file gives it now.

use std::path::PathBuf;

use super::told::Told;
use super::{Common, Desk, Proposal, Proposed, Refusal};
use crate::journal::{
    CollectJournal, ComponentKind, DeliverJournal, Edit, LogReader, SinkEdit, SinkHistory, SourceEdit, SourceHistory,
};
use crate::observe::progress::count;
use crate::pipeline::{SinkPlan, SourcePlan};
use crate::report::counted;

/// Let a source or sink keep its past under a new name; write the new name into the file first
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The pipeline file, in which the new name stands instead of the old one
    pub(super) file: PathBuf,
    /// The name that it had
    old: String,
    /// The name that it has in the file now
    new: String,
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) async fn propose(desk: &Desk, arguments: &Arguments) -> Proposed {
    let Arguments { old, new, .. } = arguments;
    if desk.source(old).is_some() || desk.sink(old).is_some() {
        return Err(Refusal(format!(
            "`{old}` still stands in {}: under that name it would begin anew at the next start; write `{new}` instead, then say this again",
            desk.shown()
        )));
    }
    if let Some(plan) = desk.source(new) {
        return rename_source(desk, plan, old).await;
    }
    if let Some(plan) = desk.sink(new) {
        return rename_sink(desk, plan, old).await;
    }
    Err(Refusal(format!(
        "{} has no source or sink `{new}`; write it there instead of `{old}`, wherever that stands, then say this again",
        desk.shown()
    )))
}

async fn rename_source(desk: &Desk, plan: &SourcePlan, old: &str) -> Proposed {
    let Some(past) = desk.journal.source_history(old).await? else {
        let is_known = desk.journal.source_history(&plan.name).await?.is_some();
        return renamed_already(desk, ComponentKind::Source, old, &plan.name, is_known);
    };
    if past.vendor != plan.vendor_name {
        return Err(Refusal(format!(
            "`{old}` was a {} source and `{}` is a {} source: they are not the same",
            past.vendor, plan.name, plan.vendor_name
        )));
    }
    if desk.journal.source_history(&plan.name).await?.is_some() {
        return Err(taken(desk, ComponentKind::Source, &plan.name));
    }
    expect_same_account(desk, plan, old).await?;
    Ok(change(ComponentKind::Source, old, &plan.name, told_of_source(plan, old, &past)))
}

/// Another account must not be taken for read because this one was.
async fn expect_same_account(desk: &Desk, plan: &SourcePlan, old: &str) -> Result<(), Refusal> {
    let known = desk.journal.sources().await?;
    let differs =
        known.iter().any(|source| source.name == old && source.normalizer_config != plan.vendor.normalizer_config());
    if !differs || !desk.whole_environment {
        return Ok(());
    }
    Err(Refusal(format!(
        "the account of `{}` is not that of `{old}` (or another setting that ids are made of has changed): what was read of the one says nothing of the other; put the settings of `{old}` there, or let `{0}` begin anew without renaming",
        plan.name
    )))
}

async fn rename_sink(desk: &Desk, plan: &SinkPlan, old: &str) -> Proposed {
    let Some(past) = desk.journal.sink_history(old).await? else {
        let is_known = desk.journal.sink_history(&plan.name).await?.is_some();
        return renamed_already(desk, ComponentKind::Sink, old, &plan.name, is_known);
    };
    if past.unfinished_batch {
        return Err(Refusal(format!(
            "`{old}` has a batch that was begun and not finished, under that name: put `{old}` back into {}, let `auditflow run {0} --once` finish the batch, and rename it then",
            desk.shown()
        )));
    }
    if desk.journal.sink_history(&plan.name).await?.is_some() {
        return Err(taken(desk, ComponentKind::Sink, &plan.name));
    }
    Ok(change(ComponentKind::Sink, old, &plan.name, told_of_sink(plan, old, &past)))
}

fn change(kind: ComponentKind, old: &str, new: &str, text: String) -> Proposal {
    let (old, new_name) = (old.to_owned(), new.to_owned());
    let edit = match kind {
        ComponentKind::Source => Edit::Source(SourceEdit::Rename { source: old, new_name }),
        ComponentKind::Sink => Edit::Sink(SinkEdit::Rename { sink: old, new_name }),
    };
    Proposal::Change { text, edit }
}

/// So that a script may say it again, whatever became of the first time.
fn renamed_already(desk: &Desk, kind: ComponentKind, old: &str, new: &str, is_known: bool) -> Proposed {
    if !is_known {
        return Err(no_past(desk, kind, old));
    }
    Ok(Proposal::Nothing(format!(
        "nothing to do: no {} `{old}` is known, and `{new}` has a past; perhaps it is renamed already\n",
        kind.as_str()
    )))
}

fn no_past(desk: &Desk, kind: ComponentKind, old: &str) -> Refusal {
    Refusal(format!(
        "no {} `{old}` has ever run in {}; `auditflow status {}` shows the names that it knows",
        kind.as_str(),
        desk.pipeline.settings.data_dir.display(),
        desk.shown()
    ))
}

fn taken(desk: &Desk, kind: ComponentKind, new: &str) -> Refusal {
    Refusal(format!(
        "the {} `{new}` has a past of its own already, which would be lost; choose another name, or give that past up first: auditflow state forget {} {new}",
        kind.as_str(),
        desk.shown()
    ))
}

fn told_of_source(plan: &SourcePlan, old: &str, past: &SourceHistory) -> String {
    let new = &plan.name;
    let covered = past.coverage.last().map_or_else(|| "nothing yet".to_owned(), |range| format!("up to {}", range.to));
    Told::new(&format!("rename source `{old}` to `{new}`"))
        .and("kept", &format!("what is covered ({covered}), {} and all keys: nothing is read anew, nothing comes twice", counted(past.events, "event")))
        .and("ids", "stay as they are: no name of a source is a part of them")
        .and("`source`", &format!(
            "events say `{new}` from now on, {} among them that the journal holds and that some sink may still have to deliver; what was delivered says `{old}`",
            counted(past.held, "event")
        ))
        .and("inputs", &format!("are taken from the file: whatever named `{old}` must name `{new}` now"))
        .text()
}

fn told_of_sink(plan: &SinkPlan, old: &str, past: &SinkHistory) -> String {
    let new = &plan.name;
    Told::new(&format!("rename sink `{old}` to `{new}`"))
        .and(
            "kept",
            &format!(
                "its position, behind event {} of the journal, and {} delivered: nothing comes twice",
                count(past.position),
                counted(past.delivered, "event")
            ),
        )
        .and("outside", plan.config.when_renamed())
        .and("dead letter", &format!("goes to dead_letter/{new}.ndjson from now on; dead_letter/{old}.ndjson stays"))
        .text()
}
