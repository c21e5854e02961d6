//! What all reports are made of: the journal as seen at one moment, and the values that several reports show.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use crate::collect::SourceSettings;
use crate::forecast::{CoverageProgress, initial_state};
use crate::journal::lock::{self, LockOwner};
use crate::journal::{
    JournalError, JournalSnapshot, LastError, SinkStats, SnapshotQuery, SourceSnapshot, SourceState, SourceStats,
    SqliteJournal, WindowKind,
};
use crate::pipeline::{ValidatedPipeline, ValidatedSource};
use crate::time::{TimeRange, Timestamp};

/// The version of the JSON format of all reports.
pub const FORMAT: u32 = 1;

/// What reports are made of, beside the pipeline file.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When it was made.
    pub at: Timestamp,
    /// The process that runs a pipeline on the data directory, if any.
    pub process: Option<LockOwner>,
    /// What the journal holds; `None` if nothing has run yet.
    pub journal: Option<JournalSnapshot>,
    /// Whether the evidence for the sources' time was read.
    pub has_evidence: bool,
    /// Where each source is in the journal's counters and in its snapshots, which have the same order. A search per source
    /// would take seconds for thousands of them.
    pub(super) positions: HashMap<String, usize>,
}

/// Reads a pipeline's journal, whether the pipeline runs or not, and if wanted the evidence for all time. Changes nothing and
/// blocks nobody.
///
/// # Errors
/// The journal exists and cannot be read.
pub fn observe(pipeline: &ValidatedPipeline, at: Timestamp, with_evidence: bool) -> Result<Observation, JournalError> {
    let journal = snapshot(pipeline, with_evidence)?;
    let process = lock::owner(&pipeline.settings.data_dir);
    Ok(Observation::new(at, process, journal, with_evidence))
}

/// The same in the process that runs the pipeline, which must not query its own lock: that would release it. `runs` says
/// whether it has started.
///
/// # Errors
/// The journal exists and cannot be read.
pub fn observe_own(pipeline: &ValidatedPipeline, at: Timestamp, runs: bool) -> Result<Observation, JournalError> {
    let journal = snapshot(pipeline, false)?;
    let process = runs.then(|| LockOwner { pid: Some(std::process::id()) });
    Ok(Observation::new(at, process, journal, false))
}

fn snapshot(pipeline: &ValidatedPipeline, with_evidence: bool) -> Result<Option<JournalSnapshot>, JournalError> {
    let sinks: Vec<_> = pipeline
        .sinks
        .iter()
        .map(|sink| (sink.name.clone(), sink.routes.iter().map(|route| route.source.clone()).collect()))
        .collect();
    let evidence = with_evidence.then_some(TimeRange::ALL);
    let query = SnapshotQuery { sources: None, sinks: &sinks, evidence };
    SqliteJournal::snapshot(&pipeline.settings.data_dir, &query)
}

impl Observation {
    fn new(at: Timestamp, process: Option<LockOwner>, journal: Option<JournalSnapshot>, has_evidence: bool) -> Self {
        let sources = journal.iter().flat_map(|journal| &journal.sources);
        let positions = sources.enumerate().map(|(position, source)| (source.name.clone(), position)).collect();
        Self { at, process, journal, has_evidence, positions }
    }

    /// The sources of the file, in its order.
    pub(super) fn views<'o>(&'o self, pipeline: &'o ValidatedPipeline) -> Vec<SourceView<'o>> {
        pipeline.sources.iter().map(|plan| SourceView::new(plan, self)).collect()
    }

    /// The statistics of a source; `None` if it has never run.
    pub(super) fn source_stats(&self, name: &str) -> Option<&SourceStats> {
        self.journal.as_ref()?.stats.sources.get(*self.positions.get(name)?)
    }

    /// The snapshot of a source; `None` if it has never run.
    pub(super) fn source_snapshot(&self, name: &str) -> Option<&SourceSnapshot> {
        self.journal.as_ref()?.sources.get(*self.positions.get(name)?)
    }

    /// The statistics of a sink; `None` if it has never run.
    pub(super) fn sink_stats(&self, name: &str) -> Option<&SinkStats> {
        self.journal.as_ref()?.stats.sinks.iter().find(|sink| sink.name == name)
    }
}

/// A source of the pipeline file with what the journal knows of it.
pub(super) struct SourceView<'o> {
    pub(super) plan: &'o ValidatedSource,
    pub(super) settings: SourceSettings,
    /// `None` if it has never run.
    pub(super) snapshot: Option<&'o SourceSnapshot>,
    pub(super) progress: CoverageProgress,
}

impl<'o> SourceView<'o> {
    pub(super) fn new(plan: &'o ValidatedSource, observation: &'o Observation) -> Self {
        let settings = plan.options.over(plan.vendor.spec());
        let snapshot = observation.source_snapshot(&plan.name);
        let progress = match snapshot {
            Some(snapshot) => CoverageProgress::new(&settings, &snapshot.state, observation.at),
            None => CoverageProgress::new(&settings, &initial_state(observation.at), observation.at),
        };
        Self { plan, settings, snapshot, progress }
    }

    /// The state that its collector would start with.
    pub(super) fn state(&self, now: Timestamp) -> SourceState {
        self.snapshot.map_or_else(|| initial_state(now), |snapshot| snapshot.state.clone())
    }

    /// The covered share of the wanted time, rounded down to four decimals: 1 means all of it.
    pub(super) fn covered_share(&self) -> f64 {
        let share = if self.snapshot.is_some() { self.progress.share() } else { 0.0 };
        (share * 10_000.0).floor() / 10_000.0
    }
}

/// The fields that all reports begin with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReportHead {
    /// The version of the JSON format: [`FORMAT`].
    pub format: u32,
    /// When the report was made.
    pub at: Timestamp,
    /// The pipeline's name.
    pub pipeline: String,
    /// Its data directory.
    pub data_dir: PathBuf,
    /// The process that runs the pipeline.
    pub process: Process,
    /// Whether anything has run yet: whether there is a journal.
    pub has_run: bool,
}

/// The process that runs a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Whether the pipeline runs.
    pub running: bool,
    /// The process id, if it is known.
    pub pid: Option<u32>,
}

impl ReportHead {
    pub(super) fn new(pipeline: &ValidatedPipeline, observation: &Observation) -> Self {
        let lock_owner = observation.process.as_ref();
        Self {
            format: FORMAT,
            at: observation.at,
            pipeline: pipeline.name.clone(),
            data_dir: pipeline.settings.data_dir.clone(),
            process: Process { running: lock_owner.is_some(), pid: lock_owner.and_then(|owner| owner.pid) },
            has_run: observation.journal.is_some(),
        }
    }

    /// The first line of a report for people.
    pub(super) fn text(&self, title: &str) -> String {
        let state = match self.process {
            _ if !self.has_run => format!("nothing has run yet in {}", self.data_dir.display()),
            Process { running: false, .. } => "not running".to_owned(),
            Process { pid: Some(pid), .. } => format!("running (process {pid})"),
            Process { pid: None, .. } => "running".to_owned(),
        };
        format!("{title} of {} at {}: {state}\n", self.pipeline, self.at.with_digits(0))
    }
}

/// The present error of a source or sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastErrorReport {
    /// What is wrong, without secrets.
    pub message: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// Since when.
    pub since: Timestamp,
}

impl From<&LastError> for LastErrorReport {
    fn from(error: &LastError) -> Self {
        Self { message: error.message.clone(), hint: error.hint.clone(), since: error.since }
    }
}

/// A half-open time range: `to` is not included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TimeSpan {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Its length, in seconds.
    pub seconds: f64,
}

impl From<TimeRange> for TimeSpan {
    fn from(range: TimeRange) -> Self {
        Self { from: range.from, to: range.to, seconds: seconds(range.to.since(range.from)) }
    }
}

/// The kind of a window in JSON.
pub(super) const fn window_kind(kind: WindowKind) -> &'static str {
    match kind {
        WindowKind::Live => "live",
        WindowKind::Backfill => "backfill",
        WindowKind::Recheck => "recheck",
    }
}

/// Seconds with three decimals, the JSON form of durations.
pub(super) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}
