//! What a pipeline's state looks like to people: `status`, `coverage` and `plan`, as text and as JSON.
//!
//! ```text
//! pipeline file --------------------+
//! journal, looked at from outside --+--> Observation --> StatusReport, CoverageReport, PlanReport --> text, JSON
//! lock file: which process runs ----+    (the only part that touches the disk)      pure
//! ```
//!
//! The JSON forms are documented in `docs/status.md` and are stable: fields are added, never changed or taken away
//! without a new [`FORMAT`].

pub mod coverage;
mod coverage_text;
pub mod plan;
mod plan_text;
pub mod status;
mod status_text;
mod text;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use crate::collect::SourceSettings;
use crate::collect::outlook::{Outlook, at_first_start};
use crate::journal::lock::{self, LockOwner};
use crate::journal::{JournalError, JournalSnapshot, SnapshotQuery, SourceSnapshot, SourceState, SqliteJournal};
use crate::pipeline::{Pipeline, SourcePlan};
use crate::time::Timestamp;

pub use coverage::CoverageReport;
pub use plan::PlanReport;
pub use status::StatusReport;
pub(crate) use text::{brief, counted, wrapped};

/// The version of the JSON forms.
pub const FORMAT: u32 = 1;

/// All that a report is made of beside the pipeline file.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When.
    pub at: Timestamp,
    /// The process that runs a pipeline on the data folder, if any.
    pub process: Option<LockOwner>,
    /// What the journal holds; `None` if nothing has run yet.
    pub journal: Option<JournalSnapshot>,
}

/// Looks at a pipeline's journal, whether the pipeline runs or not. Changes nothing and keeps nobody from working.
///
/// # Errors
/// The journal is there and cannot be read.
pub fn observe(pipeline: &Pipeline, at: Timestamp) -> Result<Observation, JournalError> {
    let data_dir = &pipeline.settings.data_dir;
    let sinks: Vec<_> = pipeline
        .sinks
        .iter()
        .map(|sink| (sink.name.clone(), sink.routes.iter().map(|route| route.source.clone()).collect()))
        .collect();
    let journal = SqliteJournal::snapshot(data_dir, &SnapshotQuery { now: at, sources: None, sinks: &sinks })?;
    Ok(Observation { at, process: lock::owner(data_dir), journal })
}

/// A source of the file beside what the journal knows of it.
struct Watched<'o> {
    plan: &'o SourcePlan,
    settings: SourceSettings,
    picture: Option<&'o SourceSnapshot>,
    outlook: Outlook,
}

impl<'o> Watched<'o> {
    fn new(plan: &'o SourcePlan, seen: &'o Observation) -> Self {
        let settings = plan.options.over(plan.vendor.spec());
        let picture = seen.journal.as_ref().and_then(|journal| journal.source(&plan.name));
        let outlook = match picture {
            Some(picture) => Outlook::new(&settings, &picture.state, seen.at),
            None => Outlook::new(&settings, &at_first_start(seen.at), seen.at),
        };
        Self { plan, settings, picture, outlook }
    }

    /// What its collector would begin with.
    fn state(&self, now: Timestamp) -> SourceState {
        self.picture.map_or_else(|| at_first_start(now), |picture| picture.state.clone())
    }
}

/// The process that runs a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Whether one does.
    pub running: bool,
    /// Its number, if it is known.
    pub pid: Option<u32>,
}

impl Process {
    fn of(seen: &Observation) -> Self {
        Self { running: seen.process.is_some(), pid: seen.process.as_ref().and_then(|holder| holder.pid) }
    }
}

/// A trouble, in a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TroubleReport {
    /// What is wrong, without secrets.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Since when.
    pub since: Timestamp,
}

impl From<&crate::journal::LastError> for TroubleReport {
    fn from(last_error: &crate::journal::LastError) -> Self {
        Self { message: last_error.message.clone(), hint: last_error.hint.clone(), since: last_error.since }
    }
}

/// The first line of a report, and what an operator must know before all else.
fn heading(title: &str, pipeline: &str, data_dir: &Path, process: &Process, journal: bool, at: Timestamp) -> String {
    let state = match process {
        _ if !journal => format!("nothing has run yet in {}", data_dir.display()),
        Process { running: false, .. } => "not running".to_owned(),
        Process { pid: Some(pid), .. } => format!("running (process {pid})"),
        Process { pid: None, .. } => "running".to_owned(),
    };
    format!("{title} of {pipeline} at {}: {state}\n", at.with_digits(0))
}

/// The covered share of what a source wants, with four decimals; what is not all is never told as all.
fn covered_share(watched: &Watched<'_>) -> f64 {
    let share = if watched.picture.is_some() { watched.outlook.share() } else { 0.0 };
    (share * 10_000.0).floor() / 10_000.0
}

/// Seconds with three decimals, as JSON has lengths of time.
fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests;
