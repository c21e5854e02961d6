//! How a run ends: its report, and the errors that keep it from starting or from continuing.

use std::time::Duration;

use crate::collect::{CollectError, SourceEnd};
use crate::deliver::{DeliverError, SinkEnd};
use crate::journal::{DoubtfulTime, JournalError, JournalStats, LastError};

/// How a run ended.
#[derive(Debug)]
pub struct RunReport {
    /// How each source ended, by name, in the order of the file.
    pub sources: Vec<(String, Result<SourceEnd, CollectError>)>,
    /// How each sink ended, by name, in the order of the file.
    pub sinks: Vec<(String, Result<SinkEnd, DeliverError>)>,
    /// The statistics of the journal at the start.
    pub before: JournalStats,
    /// The statistics of the journal at the end.
    pub stats: JournalStats,
    /// Sources that stopped during a backfill or while catching up, with the time that is still to be read.
    pub backlogs: Vec<(String, Duration)>,
    /// Time that this run read and that is in doubt or unreadable at its end, by source.
    pub doubts: Vec<(String, DoubtfulTime)>,
    /// Whether the shutdown deadline passed before all components had stopped. The next start repeats their unfinished work.
    pub cut_short: bool,
    /// Whether a signal, the caller or a closed standard output stopped the run.
    pub stopped: bool,
    /// The reports of the shards, by number. Then `sources` and `sinks` are empty, and all else is that of all shards together.
    pub shards: Vec<(u16, RunReport)>,
}

impl RunReport {
    /// The report of a run that has just begun on a journal with these statistics.
    pub(crate) fn new(before: JournalStats) -> Self {
        Self {
            sources: Vec::new(),
            sinks: Vec::new(),
            stats: before.clone(),
            before,
            backlogs: Vec::new(),
            doubts: Vec::new(),
            cut_short: false,
            stopped: false,
            shards: Vec::new(),
        }
    }

    /// The report of a run of several shards.
    pub(super) fn of_shards(shards: Vec<(u16, Self)>) -> Self {
        let reports = || shards.iter().map(|(_, report)| report);
        Self {
            sources: Vec::new(),
            sinks: Vec::new(),
            before: JournalStats::joined(reports().map(|report| report.before.clone()).collect()),
            stats: JournalStats::joined(reports().map(|report| report.stats.clone()).collect()),
            backlogs: reports().flat_map(|report| report.backlogs.clone()).collect(),
            doubts: reports().flat_map(|report| report.doubts.clone()).collect(),
            cut_short: reports().any(|report| report.cut_short),
            stopped: reports().any(|report| report.stopped),
            shards,
        }
    }

    /// Whether a source took part.
    pub(crate) fn ran(&self, source: &str) -> bool {
        self.sources.iter().any(|(name, _)| name == source) || self.shards.iter().any(|(_, shard)| shard.ran(source))
    }

    /// Names of sources and sinks that could not finish their work, with the reason.
    #[must_use]
    pub fn unfinished(&self) -> Vec<(&str, String)> {
        let of_shards = self.shards.iter().flat_map(|(shard, report)| {
            report.unfinished().into_iter().map(move |(name, reason)| (name, format!("shard {shard}: {reason}")))
        });
        let of_shards: Vec<_> = of_shards.collect();
        if !of_shards.is_empty() {
            return of_shards;
        }
        let sources = self.sources.iter().filter_map(|(name, end)| match end {
            Ok(SourceEnd::Stopped(error)) => Some((name.as_str(), with_hint(&error.message, &error.hint))),
            Ok(_) => None,
            Err(error) => Some((name.as_str(), error.to_string())),
        });
        let sinks = self.sinks.iter().filter_map(|(name, end)| match end {
            Ok(_) => None,
            Err(error) => Some((name.as_str(), error.to_string())),
        });
        let mut unfinished: Vec<_> = sources.chain(sinks).collect();
        for (name, last_error) in self.last_errors() {
            if !unfinished.iter().any(|(known, _)| *known == name) {
                unfinished.push((name, with_hint(&last_error.message, &last_error.hint)));
            }
        }
        for (name, what) in self.ended_early() {
            if !unfinished.iter().any(|(known, _)| *known == name) {
                unfinished.push((name, format!("ended before it had {what} everything; the next run continues")));
            }
        }
        unfinished
    }

    /// Components that ended although nobody stopped the run and work was left, as after giving up; and what they do.
    fn ended_early(&self) -> Vec<(&str, &'static str)> {
        if self.stopped {
            return Vec::new();
        }
        let head = self.stats.head;
        let sources = self.sources.iter().filter(|(_, end)| matches!(end, Ok(SourceEnd::Shutdown)));
        let sinks = self.sinks.iter().filter(|(_, end)| matches!(end, Ok(end) if !end.drained && end.position < head));
        let sources = sources.map(|(name, _)| (name.as_str(), "read"));
        sources.chain(sinks.map(|(name, _)| (name.as_str(), "delivered"))).collect()
    }

    /// The errors of this run's sources and sinks that were unresolved at the end.
    fn last_errors(&self) -> Vec<(&str, &LastError)> {
        let of_source = |name: &str| self.stats.sources.iter().find(|source| source.name == name)?.last_error.as_ref();
        let of_sink = |name: &str| self.stats.sinks.iter().find(|sink| sink.name == name)?.last_error.as_ref();
        let sources = self.sources.iter().filter_map(|(name, _)| Some((name.as_str(), of_source(name)?)));
        let sinks = self.sinks.iter().filter_map(|(name, _)| Some((name.as_str(), of_sink(name)?)));
        sources.chain(sinks).collect()
    }
}

pub(super) fn with_hint(message: &str, hint: &str) -> String {
    if hint.is_empty() { message.to_owned() } else { format!("{message}; {hint}") }
}

/// Why a pipeline could not be started, or could not continue.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal could not be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A component could not be built from its settings.
    #[error("{name}: {reason}")]
    Component {
        /// The source or sink.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The shards that the process is to run do not fit the pipeline.
    #[error("{0}")]
    Shards(String),
    /// A shard could not be started, or could not continue.
    #[error("shard {shard}: {error}")]
    Shard {
        /// The shard.
        shard: u16,
        /// Why.
        error: Box<RunError>,
    },
    /// The journal's writing thread has ended while the pipeline ran.
    #[error(
        "the journal's writing thread has ended, so nothing can be collected or delivered; the journal is intact up to its last commit: restart auditflow, which continues there, and report the panic in the log"
    )]
    JournalWriterEnded,
}
