//! `status`: the state of each source and sink, one line each.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use serde::Serialize;

use super::doubt::{self, DoubtReport};
use super::freshness::SinceNewestEvent;
use super::observation::{
    LastErrorReport, Observation, ReportHead, ShardJournal, ShardObservation, SourceView, seconds,
};
use crate::forecast::Phase;
use crate::journal::{CoverageState, JournalSnapshot, SinkStats};
use crate::pipeline::{ValidatedPipeline, ValidatedSink};
use crate::sinks::table_state::TableState;
use crate::time::Timestamp;

/// So long ago an event with `normalize_error` no longer counts against a pipeline's health.
const DAY: Duration = Duration::from_secs(86_400);

const HOUR: Duration = Duration::from_secs(3_600);

/// The state of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusReport {
    /// What all reports begin with.
    #[serde(flatten)]
    pub head: ReportHead,
    /// Whether no source or sink has an error, no time is in doubt or unreadable, no event of the last 24 hours has
    /// `normalize_error`, the journal is not full, and each that is there can be read.
    pub healthy: bool,
    /// Whether the journals of all shards were read, so that the report is of the whole pipeline; absent without `shards`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete: Option<bool>,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceStatus>,
    /// Each sink of the file, in its order.
    pub sinks: Vec<SinkStatus>,
    /// The journal's size; `None` if nothing has run yet. With shards: that of all their journals together.
    pub journal: Option<JournalStatus>,
    /// Each shard; absent without `shards`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<ShardStatus>,
    /// Sources and sinks of the journal that are no longer in the file.
    pub not_in_file: Vec<String>,
}

/// The state of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// It has never run.
    NotStarted,
    /// An error keeps it from collecting.
    Error,
    /// The journal is full; it waits for the sinks.
    Paused,
    /// It collects older time.
    Backfill,
    /// More of the newest time is missing than between two polls.
    Behind,
    /// Its polls are on time.
    Live,
    /// All time up to its `end_time` is covered.
    Done,
    /// The pipeline does not run; the next run collects what is missing.
    Stopped,
    /// The journal of its shard is not in this data directory: nothing is known of it here.
    Elsewhere,
    /// The journal of its shard cannot be read: nothing is known of it.
    Unreadable,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// The shard that it belongs to; absent without `shards`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<u16>,
    /// Its state.
    pub state: SourceState,
    /// Covered share of the time that should be covered by now, 0 to 1.
    pub covered_share: f64,
    /// The end of the newest covered time.
    pub covered_to: Option<Timestamp>,
    /// Time from there to now, in seconds.
    pub lag_seconds: Option<f64>,
    /// The latest time of an event, at most when it was read.
    pub newest_event_at: Option<Timestamp>,
    /// What is known of the time since then; `None` if it never ran.
    pub since_newest_event: Option<SinceNewestEvent>,
    /// Events collected since the first start.
    pub events: u64,
    /// Of these, events that became visible in the present hour and the 23 before it.
    pub events_last_24h: u64,
    /// Time that is in doubt: read and delivered, but perhaps not complete, in seconds.
    pub in_doubt_seconds: f64,
    /// Why, each reason once.
    pub in_doubt_reasons: Vec<String>,
    /// Time that the vendor rejects every request for, in seconds.
    pub unreadable_seconds: f64,
    /// Delivered events with `normalize_error`, since the first start.
    pub normalize_errors: u64,
    /// When the last of them was delivered.
    pub normalize_error_at: Option<Timestamp>,
    /// Other delivered events whose action is `other`: the vendor's word is not known.
    pub unmapped_actions: u64,
    /// The present error.
    pub last_error: Option<LastErrorReport>,
    /// Whether time before the newest covered time is missing.
    #[serde(skip)]
    pub(super) has_holes: bool,
    /// Whether an event with `normalize_error` was delivered in the last 24 hours.
    #[serde(skip)]
    pub(super) fails_to_normalize: bool,
}

/// The state of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkState {
    /// It has never run.
    NotStarted,
    /// An error keeps it from delivering.
    Error,
    /// It has events to deliver.
    Pending,
    /// It has delivered all events.
    Idle,
}

/// A sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkStatus {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Its state.
    pub state: SinkState,
    /// Sequence number of the last event that it has delivered, filtered or dead-lettered.
    pub position: u64,
    /// Events of its sources after that.
    pub pending_events: u64,
    /// Bytes of their raw records.
    pub pending_bytes: u64,
    /// Time since the oldest of them became visible in the journal, in seconds.
    pub oldest_pending_seconds: Option<f64>,
    /// The shard that this event is in; absent without `shards`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending_shard: Option<u16>,
    /// How long an event may wait for others, so that batches are large: `batch.timeout_secs`.
    pub batch_timeout_seconds: f64,
    /// Every event that became visible before is delivered, filtered or dead-lettered; `None` if it never ran, or if
    /// the journal of a shard was not read.
    pub delivered_to: Option<Timestamp>,
    /// When it last delivered an event.
    pub last_delivered_at: Option<Timestamp>,
    /// Events delivered since the first start.
    pub delivered: u64,
    /// Events dropped by a filter.
    pub filtered: u64,
    /// Events in the dead letter.
    pub dead_lettered: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Events that `auditflow state redeliver` made it deliver again.
    pub redelivered: u64,
    /// Events that it did not deliver because their source had left its inputs.
    pub skipped: u64,
    /// The table that it writes, as its last commit left it.
    pub table: Option<TableState>,
    /// The present error.
    pub last_error: Option<LastErrorReport>,
}

/// A shard.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ShardStatus {
    /// Its number.
    pub shard: u16,
    /// Its state.
    pub state: ShardState,
    /// Why its journal cannot be read.
    pub error: Option<String>,
    /// The process that runs it, if it is known.
    pub pid: Option<u32>,
    /// Size of its journal on disk, in bytes.
    pub journal_bytes: u64,
    /// Whether its journal has reached the size at which its sources pause.
    pub journal_full: bool,
}

/// The state of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// A process runs it.
    Running,
    /// No process of this machine runs it.
    Stopped,
    /// Its journal is not in this data directory.
    Elsewhere,
    /// Its journal is there and cannot be read.
    Unreadable,
}

/// The journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalStatus {
    /// Number of events.
    pub events: u64,
    /// Their size on disk.
    pub bytes: u64,
    /// Size at which the sources pause.
    pub max_bytes: u64,
    /// Whether that size is reached.
    pub full: bool,
    /// Sequence number of the newest event.
    pub head: u64,
    /// Sequence number of the oldest event; `head + 1` if there is none.
    pub oldest: u64,
}

impl StatusReport {
    /// The report of an observation.
    #[must_use]
    pub fn new(pipeline: &ValidatedPipeline, observation: &Observation) -> Self {
        Self::of_views(pipeline, observation, &observation.views(pipeline))
    }

    /// The same of sources that were looked at before.
    pub(super) fn of_views(pipeline: &ValidatedPipeline, observation: &Observation, views: &[SourceView<'_>]) -> Self {
        let shards: Vec<_> = observation.shards.iter().map(|shard| shard_status(pipeline, shard)).collect();
        let journal = observation.journal.as_ref().map(|journal| journal_status(pipeline, journal, &shards));
        let full = journal.as_ref().is_some_and(|journal| journal.full);
        let is_full = |view: &SourceView<'_>| match observation.shard_number(view.plan) {
            Some(number) => shards.iter().any(|shard| shard.shard == number && shard.journal_full),
            None => full,
        };
        let sources: Vec<_> = views.iter().map(|view| source_status(view, observation, is_full(view))).collect();
        let sinks: Vec<_> = pipeline.sinks.iter().map(|plan| sink_status(plan, observation)).collect();
        Self {
            head: ReportHead::new(pipeline, observation),
            healthy: !full
                && observation.is_readable()
                && sources.iter().all(SourceStatus::is_healthy)
                && sinks.iter().all(|sink| sink.last_error.is_none()),
            complete: (!shards.is_empty()).then(|| observation.is_complete()),
            sources,
            sinks,
            journal,
            shards,
            not_in_file: not_in_file(pipeline, observation),
        }
    }
}

impl SourceStatus {
    pub(super) fn is_healthy(&self) -> bool {
        self.last_error.is_none() && !self.has_doubt() && !self.fails_to_normalize
    }

    pub(super) fn has_doubt(&self) -> bool {
        self.in_doubt_seconds > 0.0 || self.unreadable_seconds > 0.0
    }
}

fn shard_status(pipeline: &ValidatedPipeline, shard: &ShardObservation) -> ShardStatus {
    ShardStatus {
        shard: shard.number,
        state: match (&shard.journal, &shard.process) {
            (ShardJournal::Unreadable(_), _) => ShardState::Unreadable,
            (_, Some(_)) => ShardState::Running,
            (ShardJournal::Here, None) => ShardState::Stopped,
            (ShardJournal::Elsewhere, None) => ShardState::Elsewhere,
        },
        error: match &shard.journal {
            ShardJournal::Unreadable(error) => Some(error.clone()),
            ShardJournal::Here | ShardJournal::Elsewhere => None,
        },
        pid: shard.process.as_ref().and_then(|process| process.pid),
        journal_bytes: shard.bytes,
        journal_full: shard.held > 0 && shard.bytes >= pipeline.settings.journal.max_size.0,
    }
}

fn journal_status(pipeline: &ValidatedPipeline, journal: &JournalSnapshot, shards: &[ShardStatus]) -> JournalStatus {
    let stats = &journal.stats;
    let has_size = |shard: &&ShardStatus| !matches!(shard.state, ShardState::Elsewhere | ShardState::Unreadable);
    let journals = shards.iter().filter(has_size).count().max(1);
    let max_bytes = pipeline.settings.journal.max_size.0.saturating_mul(journals as u64);
    JournalStatus {
        events: journal.held,
        bytes: stats.bytes,
        max_bytes,
        full: (journal.held > 0 && stats.bytes >= max_bytes) || shards.iter().any(|shard| shard.journal_full),
        head: stats.head,
        oldest: stats.oldest,
    }
}

fn source_status(view: &SourceView<'_>, observation: &Observation, full: bool) -> SourceStatus {
    let plan = view.plan;
    let stats = observation.source_stats(&plan.name);
    let covered_to = view.snapshot.and(view.progress.covered_to());
    let last_error = stats.and_then(|stats| stats.last_error.as_ref()).map(LastErrorReport::from);
    let in_doubt = doubt::doubts(view, CoverageState::InDoubt);
    let normalize_error_at = stats.and_then(|stats| stats.normalize_error_at);
    SourceStatus {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        shard: observation.shard_number(plan),
        state: match observation.absent_shard(plan).map(|shard| &shard.journal) {
            Some(ShardJournal::Unreadable(_)) => SourceState::Unreadable,
            Some(_) => SourceState::Elsewhere,
            None => source_state(view, last_error.is_some(), full, observation.runs(plan)),
        },
        covered_share: view.covered_share(),
        covered_to,
        lag_seconds: covered_to.map(|to| seconds(observation.at.since(to))),
        newest_event_at: view.snapshot.and_then(|snapshot| snapshot.newest_event_at),
        since_newest_event: SinceNewestEvent::new(view, observation.at),
        events: stats.map_or(0, |stats| stats.events),
        events_last_24h: events_last_24h(view, observation.at),
        in_doubt_seconds: doubt::total_seconds(&in_doubt),
        in_doubt_reasons: reasons(&in_doubt),
        unreadable_seconds: doubt::total_seconds(&doubt::doubts(view, CoverageState::Unreadable)),
        normalize_errors: stats.map_or(0, |stats| stats.normalize_errors),
        normalize_error_at,
        unmapped_actions: stats.map_or(0, |stats| stats.unmapped_actions),
        last_error,
        has_holes: view.progress.phase == Phase::Backfill,
        fails_to_normalize: normalize_error_at.is_some_and(|at| observation.at.since(at) < DAY),
    }
}

/// Of the present hour and the 23 before it.
fn events_last_24h(view: &SourceView<'_>, now: Timestamp) -> u64 {
    let since = now.floor_to(HOUR) - (DAY - HOUR);
    let hours = view.snapshot.iter().flat_map(|snapshot| &snapshot.hourly);
    hours.filter(|hour| hour.hour >= since).map(|hour| hour.events).sum()
}

/// Each reason once, in order.
fn reasons(doubts: &[DoubtReport]) -> Vec<String> {
    let reasons: BTreeSet<&String> = doubts.iter().flat_map(|doubt| &doubt.reasons).collect();
    reasons.into_iter().cloned().collect()
}

fn source_state(view: &SourceView<'_>, has_error: bool, full: bool, runs: bool) -> SourceState {
    if view.snapshot.is_none() {
        return SourceState::NotStarted;
    }
    match view.progress.phase {
        _ if has_error => SourceState::Error,
        Phase::Done => SourceState::Done,
        _ if !runs => SourceState::Stopped,
        _ if full => SourceState::Paused,
        Phase::Backfill => SourceState::Backfill,
        Phase::Behind => SourceState::Behind,
        Phase::Live => SourceState::Live,
    }
}

fn sink_status(plan: &ValidatedSink, observation: &Observation) -> SinkStatus {
    let stats = observation.sink_stats(&plan.name);
    let journal = observation.journal.as_ref();
    let pending = journal.and_then(|journal| journal.pending.iter().find(|(name, _)| *name == plan.name));
    let pending = pending.map(|(_, batch)| *batch);
    let oldest = pending.and_then(|batch| batch.oldest_visible_at);
    let last_error = stats.and_then(|stats| stats.last_error.as_ref()).map(LastErrorReport::from);
    let stat = |of: fn(&SinkStats) -> u64| stats.map_or(0, of);
    SinkStatus {
        name: plan.name.clone(),
        type_name: plan.config.type_name(),
        state: match (stats, &last_error, pending) {
            (None, ..) => SinkState::NotStarted,
            (_, Some(_), _) => SinkState::Error,
            (_, _, Some(batch)) if batch.events > 0 => SinkState::Pending,
            _ => SinkState::Idle,
        },
        position: stat(|stats| stats.position),
        pending_events: pending.map_or(0, |batch| batch.events),
        pending_bytes: pending.map_or(0, |batch| batch.raw_bytes),
        oldest_pending_seconds: oldest.map(|oldest| seconds(observation.at.since(oldest))),
        oldest_pending_shard: oldest.and_then(|oldest| oldest_shard(observation, &plan.name, oldest)),
        batch_timeout_seconds: seconds(plan.batch.timeout),
        delivered_to: stats.filter(|_| observation.is_complete()).map(|_| oldest.unwrap_or(observation.at)),
        last_delivered_at: stats.and_then(|stats| stats.delivered_at),
        delivered: stat(|stats| stats.delivered),
        filtered: stat(|stats| stats.filtered),
        dead_lettered: stat(|stats| stats.dead_lettered),
        bytes_written: stat(|stats| stats.bytes),
        redelivered: stat(|stats| stats.redelivered),
        skipped: stat(|stats| stats.skipped),
        table: stats.and_then(|stats| plan.config.table_state(stats.state.as_deref()?)),
        last_error,
    }
}

/// The shard in which the oldest pending event of a sink is.
fn oldest_shard(observation: &Observation, sink: &str, oldest: Timestamp) -> Option<u16> {
    let is_in = |shard: &&ShardObservation| shard.pending.iter().any(|(name, since)| name == sink && *since == oldest);
    observation.shards.iter().find(is_in).map(|shard| shard.number)
}

fn not_in_file(pipeline: &ValidatedPipeline, observation: &Observation) -> Vec<String> {
    let Some(journal) = &observation.journal else { return Vec::new() };
    let in_file: HashSet<&String> = pipeline.sources.iter().map(|plan| &plan.name).collect();
    let sources = journal.stats.sources.iter().map(|source| &source.name).filter(|name| !in_file.contains(name));
    let sinks = journal.stats.sinks.iter().map(|sink| &sink.name);
    let sinks = sinks.filter(|name| !pipeline.sinks.iter().any(|plan| plan.name == **name));
    sources.chain(sinks).cloned().collect()
}
