//! How much time each source still has to read, for the progress display: looked up in the journal from outside, so that it
//! keeps nobody from working.

use std::sync::Arc;
use std::time::Duration;

use super::plan::Pipeline;
use crate::clock::SharedClock;
use crate::collect::SourceSettings;
use crate::collect::outlook::{Outlook, Phase};
use crate::journal::{OpenWindow, SnapshotQuery, SourceSnapshot, SqliteJournal};
use crate::observe::stretch::{Stretch, Survey};

/// A survey of the sources of a pipeline.
pub(super) fn survey(pipeline: &Pipeline, clock: &SharedClock) -> Survey {
    let data_dir = pipeline.settings.data_dir.clone();
    let settings = |plan: &super::plan::SourcePlan| (plan.name.clone(), plan.options.over(plan.vendor.spec()));
    let sources: Vec<(String, SourceSettings)> = pipeline.sources.iter().map(settings).collect();
    let clock = Arc::clone(clock);
    Arc::new(move |names| {
        let look = SnapshotQuery { now: clock.now(), sources: Some(names), sinks: &[] };
        // What cannot be read now is read the next time; those who work with the journal report its troubles.
        let Ok(Some(picture)) = SqliteJournal::snapshot(&data_dir, &look) else { return Vec::new() };
        let settings_of = |name: &str| sources.iter().find(|(known, _)| known == name).map(|(_, settings)| settings);
        let stretches = picture.sources.iter().filter_map(|source| {
            let outlook = Outlook::new(settings_of(&source.name)?, &source.state, look.now);
            Some((source.name.clone(), stretch(source, &outlook)?))
        });
        stretches.collect()
    })
}

fn stretch(source: &SourceSnapshot, outlook: &Outlook) -> Option<Stretch> {
    let missing = outlook.missing().saturating_sub(source.state.open.iter().map(records_read).sum());
    match outlook.phase {
        Phase::Backfill => Some(Stretch::backfill(missing, outlook.wanted.to.since(outlook.wanted.from))),
        Phase::Behind => Some(Stretch::catch_up(missing)),
        Phase::Live | Phase::Done => None,
    }
}

/// The part of an open window that is read, as far as the vendor tells how much there is.
fn records_read(open: &OpenWindow) -> Duration {
    let Some(progress) = &open.progress else { return Duration::ZERO };
    let Some(total) = progress.total.filter(|total| *total > 0) else { return Duration::ZERO };
    let covers = open.window.covers;
    covers.to.since(covers.from).mul_f64((progress.records_read as f64 / total as f64).min(1.0))
}
