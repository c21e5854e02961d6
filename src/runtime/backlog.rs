//! How much time each source still has to read. It is read from the journal with a connection of its own, so that it delays
//! nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::SharedClock;
use crate::collect::SourceSettings;
use crate::collect::scan::ScanCounts;
use crate::forecast::{CoverageProgress, Phase};
use crate::journal::{OpenWindow, SnapshotQuery, SourceSnapshot, SqliteJournal};
use crate::pipeline::{ActiveConfig, ValidatedPipeline};
use crate::telemetry::{Backlog, BacklogReader};

/// A reader of the backlogs of the sources that run.
pub(super) fn backlog_reader(config: watch::Receiver<ActiveConfig>, clock: &SharedClock) -> BacklogReader {
    let clock = Arc::clone(clock);
    Arc::new(move |names| {
        let pipeline = Arc::clone(&config.borrow().pipeline);
        backlogs(&pipeline, names, &clock)
    })
}

fn backlogs(pipeline: &ValidatedPipeline, names: &[String], clock: &SharedClock) -> Vec<(String, Backlog)> {
    let now = clock.now();
    let look = SnapshotQuery { sources: Some(names), sinks: &[], evidence: None };
    // The components that use the journal report its errors. Here the next reading tries again.
    let Ok(Some(snapshot)) = SqliteJournal::snapshot(&pipeline.settings.data_dir, &look) else { return Vec::new() };
    let sources: HashMap<_, _> = pipeline.sources.iter().map(|source| (&source.name, source)).collect();
    let backlogs = snapshot.sources.iter().filter_map(|source| {
        let configured = sources.get(&source.name)?;
        let settings = configured.options.over(configured.vendor.spec());
        let progress = CoverageProgress::new(&settings, &source.state, now);
        Some((source.name.clone(), backlog(source, &settings, &progress)?))
    });
    backlogs.collect()
}

/// The backlogs of all sources of a pipeline, after a run.
pub(super) async fn remaining_times(pipeline: &Arc<ValidatedPipeline>, clock: &SharedClock) -> Vec<(String, Duration)> {
    let (pipeline, clock) = (Arc::clone(pipeline), Arc::clone(clock));
    let names: Vec<String> = pipeline.sources.iter().map(|source| source.name.clone()).collect();
    let read = tokio::task::spawn_blocking(move || backlogs(&pipeline, &names, &clock));
    let backlogs = read.await.unwrap_or_default();
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
