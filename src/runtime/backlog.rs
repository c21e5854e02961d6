//! How much time each source still has to read. It is read from the journal with a connection of its own, so that it delays
//! nothing.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::SharedClock;
use crate::collect::SourceSettings;
use crate::collect::scan::ScanCounts;
use crate::forecast::{CoverageProgress, Phase};
use crate::journal::{OpenWindow, SnapshotQuery, SourceSnapshot, SqliteJournal};
use crate::pipeline::{ValidatedPipeline, ValidatedSource};
use crate::telemetry::{Backlog, BacklogReader};

/// A reader of the backlogs of a pipeline's sources.
pub(super) fn backlog_reader(pipeline: &ValidatedPipeline, clock: &SharedClock) -> BacklogReader {
    let data_dir = pipeline.settings.data_dir.clone();
    let settings = |source: &ValidatedSource| (source.name.clone(), source.options.over(source.vendor.spec()));
    let sources: Vec<(String, SourceSettings)> = pipeline.sources.iter().map(settings).collect();
    let clock = Arc::clone(clock);
    Arc::new(move |names| {
        let now = clock.now();
        let look = SnapshotQuery { sources: Some(names), sinks: &[], evidence: None };
        // The components that use the journal report its errors. Here the next reading tries again.
        let Ok(Some(snapshot)) = SqliteJournal::snapshot(&data_dir, &look) else { return Vec::new() };
        let settings_of = |name: &str| sources.iter().find(|(known, _)| known == name).map(|(_, settings)| settings);
        let backlogs = snapshot.sources.iter().filter_map(|source| {
            let progress = CoverageProgress::new(settings_of(&source.name)?, &source.state, now);
            Some((source.name.clone(), backlog(source, settings_of(&source.name)?, &progress)?))
        });
        backlogs.collect()
    })
}

/// The backlogs of all sources of a pipeline, after a run.
pub(super) async fn remaining_times(pipeline: &ValidatedPipeline, clock: &SharedClock) -> Vec<(String, Duration)> {
    let read = backlog_reader(pipeline, clock);
    let names: Vec<String> = pipeline.sources.iter().map(|source| source.name.clone()).collect();
    let backlogs = tokio::task::spawn_blocking(move || read(&names)).await.unwrap_or_default();
    backlogs.into_iter().map(|(name, backlog)| (name, backlog.remaining)).collect()
}

fn backlog(source: &SourceSnapshot, settings: &SourceSettings, progress: &CoverageProgress) -> Option<Backlog> {
    let open = &source.state.open;
    let read: Vec<Option<Duration>> = open.iter().map(time_read).collect();
    let is_backfill = match progress.phase {
        Phase::Backfill => true,
        Phase::Behind => false,
        Phase::Live | Phase::Done => return None,
    };
    Some(Backlog {
        remaining: progress.missing().saturating_sub(read.iter().flatten().sum()),
        is_backfill,
        slice: settings.spec.slice,
        has_totals: !read.is_empty() && read.iter().all(Option::is_some),
    })
}

/// The part of an open window that is read, if the vendor announces the number of records.
fn time_read(open: &OpenWindow) -> Option<Duration> {
    let scan = open.progress.as_ref().and_then(ScanCounts::of)?;
    let total = scan.total.filter(|total| *total > 0)?;
    let covers = open.window.covers;
    Some(covers.to.since(covers.from).mul_f64((scan.records_read as f64 / total as f64).min(1.0)))
}
