//! What all reports are made of: the journal as seen at one moment, and the values that several reports show.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;

use crate::collect::SourceSettings;
use crate::forecast::{CoverageProgress, initial_state};
use crate::journal::lock::{self, LockOwner};
use crate::journal::{
    JournalError, JournalSnapshot, LastError, SinkStats, SnapshotQuery, SourceSnapshot, SourceState, SourceStats,
    SqliteJournal, WindowKind, shard_dirs,
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
    /// Each shard that was looked at, by number; empty without `shards`. The journal is then that of all of them together.
    pub shards: Vec<ShardObservation>,
    /// The shard whose journal has a source, by the source's name: without the account's variables it may not be that of the
    /// file.
    pub(super) found_in: HashMap<String, u16>,
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
/// The journal exists and cannot be read. That of a shard is [`ShardJournal::Unreadable`] instead, and the others are read.
pub fn observe(pipeline: &ValidatedPipeline, at: Timestamp, with_evidence: bool) -> Result<Observation, JournalError> {
    let owner = |data_dir: &Path| lock::owner(data_dir);
    observe_with(pipeline, at, with_evidence, owner)
}

/// The same in the process that runs the pipeline, or its selected shards, which must not query its own lock: that would release it. `runs` says
/// whether it has started.
///
/// # Errors
/// As [`observe`].
pub fn observe_own(pipeline: &ValidatedPipeline, at: Timestamp, runs: bool) -> Result<Observation, JournalError> {
    observe_with(pipeline, at, false, |_| runs.then(|| LockOwner { pid: Some(std::process::id()) }))
}

fn observe_with(
    pipeline: &ValidatedPipeline,
    at: Timestamp,
    with_evidence: bool,
    owner: impl Fn(&Path) -> Option<LockOwner>,
) -> Result<Observation, JournalError> {
    let data_dir = &pipeline.settings.data_dir;
    if !pipeline.is_sharded() {
        // The directory of one shard says nothing of shards.
        shard_dirs::check(data_dir, None)?;
        let journal = snapshot(pipeline, data_dir, with_evidence)?;
        return Ok(Observation::new(at, owner(data_dir), journal, with_evidence));
    }
    shard_dirs::check(data_dir, pipeline.settings.shards)?;
    let (mut journals, mut shards, mut found_in) = (Vec::new(), Vec::new(), HashMap::new());
    for number in pipeline.shards.iter().copied() {
        let directory = shard_dirs::directory(data_dir, number);
        let journal = snapshot(pipeline, &directory, with_evidence);
        shards.push(ShardObservation::new(number, owner(&directory), &journal));
        let Ok(Some(journal)) = journal else { continue };
        found_in.extend(journal.sources.iter().map(|source| (source.name.clone(), number)));
        journals.push(naming_shard(number, journal));
    }
    let processes: Vec<_> = shards.iter().filter_map(|shard| shard.process.clone()).collect();
    let process = processes.first().map(|first| {
        let is_one = processes.iter().all(|process| process == first);
        LockOwner { pid: first.pid.filter(|_| is_one) }
    });
    let joined = Observation::new(at, process, JournalSnapshot::joined(journals), with_evidence);
    Ok(Observation { shards, found_in, ..joined })
}

/// The errors of sinks say in which shard they are: each sink is in several.
fn naming_shard(number: u16, mut journal: JournalSnapshot) -> JournalSnapshot {
    for error in journal.stats.sinks.iter_mut().filter_map(|sink| sink.last_error.as_mut()) {
        error.message = format!("shard {number}: {}", error.message);
    }
    journal
}

fn snapshot(
    pipeline: &ValidatedPipeline,
    data_dir: &Path,
    with_evidence: bool,
) -> Result<Option<JournalSnapshot>, JournalError> {
    let sinks: Vec<_> = pipeline
        .sinks
        .iter()
        .map(|sink| (sink.name.clone(), sink.routes.iter().map(|route| route.source.clone()).collect()))
        .collect();
    let evidence = with_evidence.then_some(TimeRange::ALL);
    let query = SnapshotQuery { sources: None, sinks: &sinks, evidence };
    SqliteJournal::snapshot(data_dir, &query)
}

/// The journal of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShardJournal {
    /// It was read.
    Here,
    /// It is not in the data directory.
    Elsewhere,
    /// It is there and cannot be read; why.
    Unreadable(String),
}

/// A shard, as seen in the data directory.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardObservation {
    /// Its number.
    pub number: u16,
    /// The process that runs it, if any.
    pub process: Option<LockOwner>,
    /// Its journal.
    pub journal: ShardJournal,
    /// Events that the journal holds.
    pub held: u64,
    /// Their size on disk.
    pub bytes: u64,
    /// What each sink has pending, with the time when the oldest of it became visible.
    pub(super) pending: Vec<(String, Timestamp)>,
}

impl ShardObservation {
    fn new(number: u16, process: Option<LockOwner>, found: &Result<Option<JournalSnapshot>, JournalError>) -> Self {
        let snapshot = found.as_ref().ok().and_then(Option::as_ref);
        let pending = snapshot.iter().flat_map(|journal| &journal.pending);
        let pending = pending.filter_map(|(sink, batch)| Some((sink.clone(), batch.oldest_visible_at?))).collect();
        let (held, bytes) = snapshot.map_or((0, 0), |journal| (journal.held, journal.stats.bytes));
        let journal = match found {
            Ok(Some(_)) => ShardJournal::Here,
            Ok(None) => ShardJournal::Elsewhere,
            Err(error) => ShardJournal::Unreadable(error.to_string()),
        };
        Self { number, process, journal, held, bytes, pending }
    }

    /// Whether its journal was read.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.journal == ShardJournal::Here
    }

    /// Why nothing is known of it; `None` if its journal was read.
    #[must_use]
    pub fn absence(&self) -> Option<String> {
        let number = self.number;
        match &self.journal {
            ShardJournal::Here => None,
            ShardJournal::Elsewhere => Some(format!("the journal of shard {number} is not in this data directory")),
            ShardJournal::Unreadable(error) => Some(format!("the journal of shard {number} cannot be read: {error}")),
        }
    }
}

impl Observation {
    fn new(at: Timestamp, process: Option<LockOwner>, journal: Option<JournalSnapshot>, has_evidence: bool) -> Self {
        let sources = journal.iter().flat_map(|journal| &journal.sources);
        let positions = sources.enumerate().map(|(position, source)| (source.name.clone(), position)).collect();
        Self { at, process, journal, shards: Vec::new(), found_in: HashMap::new(), has_evidence, positions }
    }

    /// The number of a source's shard: that whose journal has it, else that of the file.
    pub(super) fn shard_number(&self, source: &ValidatedSource) -> Option<u16> {
        self.found_in.get(&source.name).copied().or(source.shard)
    }

    /// The shard of a source, if the pipeline has shards.
    pub(super) fn shard_of(&self, source: &ValidatedSource) -> Option<&ShardObservation> {
        let number = self.shard_number(source)?;
        self.shards.iter().find(|shard| shard.number == number)
    }

    /// Whether something has run: whether there is a journal, readable or not.
    #[must_use]
    pub fn has_run(&self) -> bool {
        self.journal.is_some() || !self.is_readable()
    }

    /// Whether every journal that is there was read.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        !self.shards.iter().any(|shard| matches!(shard.journal, ShardJournal::Unreadable(_)))
    }

    /// Whether the journal of each shard was read, or nothing has run yet.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.has_run() || self.shards.iter().all(ShardObservation::is_here)
    }

    /// Whether a process collects the source.
    pub(super) fn runs(&self, source: &ValidatedSource) -> bool {
        self.shard_of(source).map_or(self.process.is_some(), |shard| shard.process.is_some())
    }

    /// The source's shard, if its journal was not read although something has run: nothing is known of the source.
    pub(super) fn absent_shard(&self, source: &ValidatedSource) -> Option<&ShardObservation> {
        self.shard_of(source).filter(|shard| self.has_run() && !shard.is_here())
    }

    /// Why nothing is known of a source; `None` if its journal was read, or nothing has run yet.
    pub(super) fn absence(&self, source: &ValidatedSource) -> Option<String> {
        self.absent_shard(source)?.absence()
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
            has_run: observation.has_run(),
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
