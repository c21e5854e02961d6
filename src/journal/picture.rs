//! A journal as it is seen from outside, at one moment: for `status`, `coverage` and `plan`.

use super::{JournalStats, LatenessCounts, PendingBatch, SourceState};
use crate::time::Timestamp;

/// What to look for.
#[derive(Clone, Debug)]
pub struct Look<'a> {
    /// The present moment.
    pub now: Timestamp,
    /// The sources whose coverage is wanted; `None`: all of them.
    pub sources: Option<&'a [String]>,
    /// The sinks of the pipeline file, each with the sources that it gets.
    pub sinks: &'a [(String, Vec<String>)],
}

/// All that was seen, of one unchanging state.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalSnapshot {
    /// The figures.
    pub summary: JournalStats,
    /// Visible events that are held.
    pub held: u64,
    /// More of each source that was asked for, in the order of the figures.
    pub sources: Vec<SourceSnapshot>,
    /// What each sink that was asked for, and that the journal knows, has still to deliver.
    pub pending: Vec<(String, PendingBatch)>,
}

/// A source as the journal knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceSnapshot {
    /// Its name.
    pub name: String,
    /// Coverage and open windows.
    pub state: SourceState,
    /// How late its events became visible, over the last seven days in which any were counted.
    pub lateness: LatenessCounts,
    /// Events of the windows that were completed in the last 24 hours.
    pub events_last_day: u64,
}

impl JournalSnapshot {
    /// The picture of a source by its name.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&SourceSnapshot> {
        self.sources.iter().find(|source| source.name == name)
    }
}
