//! `status`: how it stands with each source and sink, in a line each.

use std::path::PathBuf;

use serde::Serialize;

use super::{FORMAT, Observation, Process, TroubleReport, Watched, covered_share, seconds, status_text};
use crate::collect::outlook::Phase;
use crate::journal::{JournalSnapshot, SinkStats, SourceStats};
use crate::pipeline::{Pipeline, SinkPlan, SourcePlan};
use crate::time::Timestamp;

/// How it stands with a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusReport {
    /// The version of this form: [`FORMAT`].
    pub format: u32,
    /// When.
    pub at: Timestamp,
    /// The pipeline's name.
    pub pipeline: String,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Whether it runs.
    pub process: Process,
    /// Whether nothing has trouble and the journal is not full.
    pub healthy: bool,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceStatus>,
    /// Each sink of the file, in its order.
    pub sinks: Vec<SinkStatus>,
    /// The journal's size; `None` if nothing has run yet.
    pub journal: Option<JournalStatus>,
    /// Sources and sinks that the journal knows and the file does not name.
    pub not_in_file: Vec<String>,
}

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceCondition {
    /// It has never run.
    NotStarted,
    /// Something keeps it from collecting.
    Error,
    /// The journal is full: it waits for the sinks.
    Paused,
    /// Older time is missing and is being read.
    Backfill,
    /// The newest time is missing, more than polls leave.
    Behind,
    /// Polls keep up.
    Live,
    /// All up to its `end_time` is covered.
    Done,
}

/// A source's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// What it is doing.
    pub state: SourceCondition,
    /// Covered share of the time that is to be covered by now, 0 to 1.
    pub covered_share: f64,
    /// The end of the newest covered time.
    pub covered_to: Option<Timestamp>,
    /// From there to now, in seconds.
    pub lag_seconds: Option<f64>,
    /// Events collected since the first start.
    pub events: u64,
    /// Of these, events of windows that were completed in the last 24 hours; rechecks are not counted.
    pub events_last_24h: u64,
    /// The present trouble.
    pub last_error: Option<TroubleReport>,
}

/// What a sink is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkCondition {
    /// It has never run.
    NotStarted,
    /// Something keeps it from delivering.
    Error,
    /// It has events to deliver.
    Pending,
    /// It has delivered all there is.
    Idle,
}

/// A sink's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// What it is doing.
    pub state: SinkCondition,
    /// The sequence number of the last event that it has passed.
    pub position: u64,
    /// Events of its sources behind that.
    pub pending_events: u64,
    /// Bytes of their records as vendors sent them.
    pub pending_bytes: u64,
    /// How long the oldest of them has been in the journal, in seconds.
    pub oldest_pending_seconds: Option<f64>,
    /// Events written since the first start.
    pub delivered: u64,
    /// Events dropped by a filter.
    pub filtered: u64,
    /// Events in the dead letter.
    pub dead_lettered: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Events that it was asked to deliver once more, by `auditflow state redeliver`.
    pub redelivered: u64,
    /// The present trouble.
    pub last_error: Option<TroubleReport>,
}

/// The journal's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalStatus {
    /// Events held.
    pub events: u64,
    /// Their bytes on disk.
    pub bytes: u64,
    /// At so many bytes the sources pause.
    pub max_bytes: u64,
    /// Whether that is reached.
    pub full: bool,
    /// The sequence number of the newest event.
    pub head: u64,
    /// The sequence number of the oldest event held; `head + 1` if none is.
    pub oldest: u64,
}

impl StatusReport {
    /// The report of what was seen.
    #[must_use]
    pub fn new(pipeline: &Pipeline, seen: &Observation) -> Self {
        let journal = seen.journal.as_ref().map(|journal| journal_status(pipeline, journal));
        let full = journal.as_ref().is_some_and(|journal| journal.full);
        let sources: Vec<_> = pipeline.sources.iter().map(|plan| source_status(plan, seen, full)).collect();
        let sinks: Vec<_> = pipeline.sinks.iter().map(|plan| sink_status(plan, seen)).collect();
        let well = |last_error: &Option<TroubleReport>| last_error.is_none();
        Self {
            format: FORMAT,
            at: seen.at,
            pipeline: pipeline.name.clone(),
            data_dir: pipeline.settings.data_dir.clone(),
            process: Process::of(seen),
            healthy: !full
                && sources.iter().all(|source| well(&source.last_error))
                && sinks.iter().all(|sink| well(&sink.last_error)),
            sources,
            sinks,
            journal,
            not_in_file: not_in_file(pipeline, seen),
        }
    }

    /// The report for people, in lines of at most 100 columns.
    #[must_use]
    pub fn text(&self) -> String {
        status_text::text(self)
    }
}

fn journal_status(pipeline: &Pipeline, journal: &JournalSnapshot) -> JournalStatus {
    let summary = &journal.stats;
    let max_bytes = pipeline.settings.journal.max_size.0;
    JournalStatus {
        events: journal.held,
        bytes: summary.bytes,
        max_bytes,
        full: journal.held > 0 && summary.bytes >= max_bytes,
        head: summary.head,
        oldest: summary.oldest,
    }
}

fn source_status(plan: &SourcePlan, seen: &Observation, full: bool) -> SourceStatus {
    let watched = Watched::new(plan, seen);
    let summary = figures_of_source(seen, &plan.name);
    let covered_to = watched.picture.and(watched.outlook.covered_to());
    let last_error = summary.and_then(|summary| summary.last_error.as_ref()).map(TroubleReport::from);
    SourceStatus {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        state: source_condition(&watched, last_error.is_some(), full),
        covered_share: covered_share(&watched),
        covered_to,
        lag_seconds: covered_to.map(|to| seconds(seen.at.since(to))),
        events: summary.map_or(0, |summary| summary.events),
        events_last_24h: watched.picture.map_or(0, |picture| picture.events_last_day),
        last_error,
    }
}

fn source_condition(watched: &Watched<'_>, last_error: bool, full: bool) -> SourceCondition {
    if watched.picture.is_none() {
        return SourceCondition::NotStarted;
    }
    match watched.outlook.phase {
        _ if last_error => SourceCondition::Error,
        Phase::Done => SourceCondition::Done,
        _ if full => SourceCondition::Paused,
        Phase::Backfill => SourceCondition::Backfill,
        Phase::Behind => SourceCondition::Behind,
        Phase::Live => SourceCondition::Live,
    }
}

pub(super) fn figures_of_source<'o>(seen: &'o Observation, name: &str) -> Option<&'o SourceStats> {
    seen.journal.as_ref()?.stats.sources.iter().find(|source| source.name == name)
}

fn figures_of_sink<'o>(seen: &'o Observation, name: &str) -> Option<&'o SinkStats> {
    seen.journal.as_ref()?.stats.sinks.iter().find(|sink| sink.name == name)
}

fn sink_status(plan: &SinkPlan, seen: &Observation) -> SinkStatus {
    let summary = figures_of_sink(seen, &plan.name);
    let pending = seen.journal.as_ref().and_then(|journal| journal.pending.iter().find(|(name, _)| *name == plan.name));
    let pending = pending.map(|(_, batch)| *batch);
    let oldest = pending.and_then(|batch| batch.oldest_visible_at);
    let last_error = summary.and_then(|summary| summary.last_error.as_ref()).map(TroubleReport::from);
    let figure = |of: fn(&SinkStats) -> u64| summary.map_or(0, of);
    SinkStatus {
        name: plan.name.clone(),
        type_name: plan.config.type_name(),
        state: match (summary, &last_error, pending) {
            (None, ..) => SinkCondition::NotStarted,
            (_, Some(_), _) => SinkCondition::Error,
            (_, _, Some(batch)) if batch.events > 0 => SinkCondition::Pending,
            _ => SinkCondition::Idle,
        },
        position: figure(|summary| summary.position),
        pending_events: pending.map_or(0, |batch| batch.events),
        pending_bytes: pending.map_or(0, |batch| batch.raw_bytes),
        oldest_pending_seconds: oldest.map(|oldest| seconds(seen.at.since(oldest))),
        delivered: figure(|summary| summary.delivered),
        filtered: figure(|summary| summary.filtered),
        dead_lettered: figure(|summary| summary.dead_lettered),
        bytes_written: figure(|summary| summary.bytes),
        redelivered: figure(|summary| summary.redelivered),
        last_error,
    }
}

fn not_in_file(pipeline: &Pipeline, seen: &Observation) -> Vec<String> {
    let Some(journal) = &seen.journal else { return Vec::new() };
    let sources = journal.stats.sources.iter().map(|source| &source.name);
    let sources = sources.filter(|name| !pipeline.sources.iter().any(|plan| plan.name == **name));
    let sinks = journal.stats.sinks.iter().map(|sink| &sink.name);
    let sinks = sinks.filter(|name| !pipeline.sinks.iter().any(|plan| plan.name == **name));
    sources.chain(sinks).cloned().collect()
}
