//! `status`: the state of each source and sink, one line each.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Serialize;

use super::doubt::{self, DoubtReport};
use super::observation::{LastErrorReport, Observation, ReportHead, SourceView, seconds};
use super::text::{Side, Table, last_error, name, of_seconds, or_dash, short, wrapped};
use crate::forecast::Phase;
use crate::format::{count, counted};
use crate::journal::{CoverageState, JournalSnapshot, SinkStats};
use crate::pipeline::{ValidatedPipeline, ValidatedSink, ValidatedSource};
use crate::sinks::table_state::TableState;
use crate::time::Timestamp;
use crate::units::ByteSize;

/// So long ago an event with `normalize_error` no longer counts against a pipeline's health.
const DAY: Duration = Duration::from_secs(86_400);

/// The state of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusReport {
    /// What all reports begin with.
    #[serde(flatten)]
    pub head: ReportHead,
    /// Whether no source or sink has an error, no time is in doubt or unreadable, no event of the last 24 hours has
    /// `normalize_error`, and the journal is not full.
    pub healthy: bool,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceStatus>,
    /// Each sink of the file, in its order.
    pub sinks: Vec<SinkStatus>,
    /// The journal's size; `None` if nothing has run yet.
    pub journal: Option<JournalStatus>,
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
}

/// A source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// Its state.
    pub state: SourceState,
    /// Covered share of the time that should be covered by now, 0 to 1.
    pub covered_share: f64,
    /// The end of the newest covered time.
    pub covered_to: Option<Timestamp>,
    /// Time from there to now, in seconds.
    pub lag_seconds: Option<f64>,
    /// Events collected since the first start.
    pub events: u64,
    /// Of these, events of windows that were completed in the last 24 hours, without rechecks.
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
    has_holes: bool,
    /// Whether an event with `normalize_error` was delivered in the last 24 hours.
    #[serde(skip)]
    fails_to_normalize: bool,
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
    /// The table that it writes, as its last commit left it.
    pub table: Option<TableState>,
    /// The present error.
    pub last_error: Option<LastErrorReport>,
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
        let journal = observation.journal.as_ref().map(|journal| journal_status(pipeline, journal));
        let full = journal.as_ref().is_some_and(|journal| journal.full);
        let sources: Vec<_> = pipeline.sources.iter().map(|plan| source_status(plan, observation, full)).collect();
        let sinks: Vec<_> = pipeline.sinks.iter().map(|plan| sink_status(plan, observation)).collect();
        Self {
            head: ReportHead::new(pipeline, observation),
            healthy: !full
                && sources.iter().all(SourceStatus::is_healthy)
                && sinks.iter().all(|sink| sink.last_error.is_none()),
            sources,
            sinks,
            journal,
            not_in_file: not_in_file(pipeline, observation),
        }
    }

    /// The report for people: two tables, what is in doubt, the errors, and the journal's size, in lines of at most 100
    /// columns. `file` is the pipeline file as the user names it.
    #[must_use]
    pub fn text(&self, file: &str) -> String {
        let mut text = self.head.text("status") + "\n";
        text += &source_table(&self.sources);
        text.push('\n');
        text += &sink_table(&self.sinks);
        text += &self.sinks.iter().map(table_text).collect::<String>();
        text += &problems(self, file);
        if let Some(journal) = &self.journal {
            text += &format!("\n{}\n", journal_line(journal));
        }
        if !self.not_in_file.is_empty() {
            text += &wrapped(&format!("no longer in the file: {}", self.not_in_file.join(", ")), "  ");
        }
        text
    }
}

impl SourceStatus {
    fn is_healthy(&self) -> bool {
        self.last_error.is_none() && !self.has_doubt() && !self.fails_to_normalize
    }

    fn has_doubt(&self) -> bool {
        self.in_doubt_seconds > 0.0 || self.unreadable_seconds > 0.0
    }
}

fn journal_status(pipeline: &ValidatedPipeline, journal: &JournalSnapshot) -> JournalStatus {
    let stats = &journal.stats;
    let max_bytes = pipeline.settings.journal.max_size.0;
    JournalStatus {
        events: journal.held,
        bytes: stats.bytes,
        max_bytes,
        full: journal.held > 0 && stats.bytes >= max_bytes,
        head: stats.head,
        oldest: stats.oldest,
    }
}

fn source_status(plan: &ValidatedSource, observation: &Observation, full: bool) -> SourceStatus {
    let view = SourceView::new(plan, observation);
    let stats = observation.source_stats(&plan.name);
    let covered_to = view.snapshot.and(view.progress.covered_to());
    let last_error = stats.and_then(|stats| stats.last_error.as_ref()).map(LastErrorReport::from);
    let in_doubt = doubt::doubts(&view, CoverageState::InDoubt);
    let normalize_error_at = stats.and_then(|stats| stats.normalize_error_at);
    SourceStatus {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        state: source_state(&view, last_error.is_some(), full, observation.process.is_some()),
        covered_share: view.covered_share(),
        covered_to,
        lag_seconds: covered_to.map(|to| seconds(observation.at.since(to))),
        events: stats.map_or(0, |stats| stats.events),
        events_last_24h: view.snapshot.map_or(0, |snapshot| snapshot.events_last_day),
        in_doubt_seconds: doubt::total_seconds(&in_doubt),
        in_doubt_reasons: reasons(&in_doubt),
        unreadable_seconds: doubt::total_seconds(&doubt::doubts(&view, CoverageState::Unreadable)),
        normalize_errors: stats.map_or(0, |stats| stats.normalize_errors),
        normalize_error_at,
        unmapped_actions: stats.map_or(0, |stats| stats.unmapped_actions),
        last_error,
        has_holes: view.progress.phase == Phase::Backfill,
        fails_to_normalize: normalize_error_at.is_some_and(|at| observation.at.since(at) < DAY),
    }
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
        delivered: stat(|stats| stats.delivered),
        filtered: stat(|stats| stats.filtered),
        dead_lettered: stat(|stats| stats.dead_lettered),
        bytes_written: stat(|stats| stats.bytes),
        redelivered: stat(|stats| stats.redelivered),
        table: stats.and_then(|stats| plan.config.table_state(stats.state.as_deref()?)),
        last_error,
    }
}

fn not_in_file(pipeline: &ValidatedPipeline, observation: &Observation) -> Vec<String> {
    let Some(journal) = &observation.journal else { return Vec::new() };
    let sources = journal.stats.sources.iter().map(|source| &source.name);
    let sources = sources.filter(|name| !pipeline.sources.iter().any(|plan| plan.name == **name));
    let sinks = journal.stats.sinks.iter().map(|sink| &sink.name);
    let sinks = sinks.filter(|name| !pipeline.sinks.iter().any(|plan| plan.name == **name));
    sources.chain(sinks).cloned().collect()
}

fn source_table(sources: &[SourceStatus]) -> String {
    let mut table = Table::new(&[
        ("SOURCE", Side::Left),
        ("STATE", Side::Left),
        ("COVERED TO", Side::Left),
        ("LAG", Side::Right),
        ("EVENTS", Side::Right),
        ("IN 24 H", Side::Right),
    ]);
    for source in sources {
        table.push(vec![
            name(&source.name),
            source_state_text(source),
            or_dash(source.covered_to.map(|to| to.with_digits(0).to_string())),
            or_dash(source.lag_seconds.map(of_seconds)),
            short(source.events),
            short(source.events_last_24h),
        ]);
    }
    table.render()
}

fn source_state_text(source: &SourceStatus) -> String {
    match source.state {
        SourceState::NotStarted => "not started".to_owned(),
        SourceState::Error => "error".to_owned(),
        SourceState::Paused => "paused".to_owned(),
        SourceState::Backfill => format!("backfill {:.0} %", percent(source.covered_share)),
        SourceState::Behind => "behind".to_owned(),
        SourceState::Live => "live".to_owned(),
        SourceState::Done => "done".to_owned(),
        SourceState::Stopped if source.has_holes => format!("stopped at {:.0} %", percent(source.covered_share)),
        SourceState::Stopped => "stopped".to_owned(),
    }
}

/// Rounds down, to at most 99: 100 % would mean that nothing is missing.
fn percent(share: f64) -> f64 {
    (share * 100.0).floor().clamp(0.0, 99.0)
}

fn sink_table(sinks: &[SinkStatus]) -> String {
    let mut table = Table::new(&[
        ("SINK", Side::Left),
        ("POSITION", Side::Right),
        ("PENDING", Side::Right),
        ("BYTES", Side::Right),
        ("OLDEST", Side::Right),
        ("DELIVERED", Side::Right),
        ("FILTERED", Side::Right),
        ("DEAD", Side::Right),
    ]);
    for sink in sinks {
        let started = sink.state != SinkState::NotStarted;
        let number = |number: u64| or_dash(started.then(|| short(number)));
        table.push(vec![
            name(&sink.name),
            number(sink.position),
            number(sink.pending_events),
            or_dash(started.then(|| ByteSize(sink.pending_bytes).to_string())),
            or_dash(sink.oldest_pending_seconds.map(of_seconds)),
            number(sink.delivered),
            number(sink.filtered),
            number(sink.dead_lettered),
        ]);
    }
    table.render()
}

/// The table of a sink; empty without one.
fn table_text(sink: &SinkStatus) -> String {
    let Some(table) = &sink.table else { return String::new() };
    let checkpoint = table.checkpoint.map_or_else(|| "none".to_owned(), count);
    let (files, rows) = (counted(table.files, "file"), counted(table.rows, "row"));
    let line =
        format!("{}: table version {} (+{files}, {rows}), checkpoint {checkpoint}", sink.name, count(table.version));
    wrapped(&line, "  ")
}

fn problems(report: &StatusReport, file: &str) -> String {
    let in_doubt: String =
        report.sources.iter().filter(|source| source.has_doubt()).map(|source| doubt_text(source, file)).collect();
    let unnormalized: String = report.sources.iter().map(|source| normalize_text(source, file)).collect();
    let sources = report.sources.iter().map(|source| (&source.name, &source.last_error));
    let sinks = report.sinks.iter().map(|sink| (&sink.name, &sink.last_error));
    let errors =
        sources.chain(sinks).filter_map(|(name, error)| Some(last_error(name, error.as_ref()?, report.head.at)));
    let problems = in_doubt + &unnormalized + &errors.collect::<String>();
    if problems.is_empty() { problems } else { format!("\n{problems}") }
}

fn doubt_text(source: &SourceStatus, file: &str) -> String {
    let mut parts = Vec::new();
    if source.in_doubt_seconds > 0.0 {
        parts.push(format!(
            "{} in doubt ({})",
            of_seconds(source.in_doubt_seconds),
            source.in_doubt_reasons.join(", ")
        ));
    }
    if source.unreadable_seconds > 0.0 {
        parts.push(format!("{} unreadable", of_seconds(source.unreadable_seconds)));
    }
    wrapped(&format!("! {}: {}", source.name, parts.join(", ")), "  ")
        + &wrapped(&format!("  hint: `auditflow coverage {file}` shows which time, why, and what to do"), "    ")
}

/// Events that could not be normalized completely; empty without any in the last 24 hours.
fn normalize_text(source: &SourceStatus, file: &str) -> String {
    let Some(at) = source.normalize_error_at.filter(|_| source.fails_to_normalize) else { return String::new() };
    let events = count(source.normalize_errors);
    let at = at.with_digits(0);
    wrapped(&format!("! {}: {events} events could not be normalized completely, the last at {at}", source.name), "  ")
        + &wrapped(
            &format!("  hint: `auditflow mapping --pipeline {file}` shows what is wrong; they are delivered"),
            "    ",
        )
}

fn journal_line(journal: &JournalStatus) -> String {
    let (size, max_size) = (ByteSize(journal.bytes), ByteSize(journal.max_bytes));
    let full = if journal.full { "; FULL: the sources are paused until the sinks have delivered" } else { "" };
    format!("journal: {} events, {size} of {max_size}{full}", count(journal.events))
}
