//! What is wrong with a pipeline and what to do about it, for `status` and the status page.

use super::observation::LastErrorReport;
use super::status::{ShardStatus, SourceStatus, StatusReport};
use super::text::{brief, of_seconds, wrapped};
use crate::format::count;
use crate::time::Timestamp;

/// Something that is wrong with a source, a sink or a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// The source, sink or shard.
    pub(super) name: String,
    /// What is wrong.
    pub(super) message: String,
    /// What to do; may be empty.
    pub(super) hint: String,
    /// Since when, if it is an error of the present.
    pub(super) since: Option<Timestamp>,
}

/// All problems: journals that cannot be read, time in doubt, events that could not be normalized, errors. `file` is the pipeline file as the user names it.
pub(super) fn problems(report: &StatusReport, file: &str) -> Vec<Problem> {
    let in_doubt = report.sources.iter().filter(|source| source.has_doubt()).map(|source| doubt(source, file));
    let unnormalized = report.sources.iter().filter_map(|source| unnormalized(source, file));
    let sources = report.sources.iter().map(|source| (&source.name, &source.last_error));
    let sinks = report.sinks.iter().map(|sink| (&sink.name, &sink.last_error));
    let errors = sources.chain(sinks).filter_map(|(name, last_error)| Some(error(name, last_error.as_ref()?)));
    let unreadable = report.shards.iter().filter_map(unreadable);
    unreadable.chain(in_doubt).chain(unnormalized).chain(errors).collect()
}

/// A shard whose journal cannot be read.
fn unreadable(shard: &ShardStatus) -> Option<Problem> {
    Some(Problem {
        name: format!("shard {}", shard.shard),
        message: format!("its journal cannot be read: {}", shard.error.as_ref()?),
        hint: "nothing is known of its sources; the other shards are not affected".to_owned(),
        since: None,
    })
}

fn doubt(source: &SourceStatus, file: &str) -> Problem {
    let mut parts = Vec::new();
    if source.in_doubt_seconds > 0.0 {
        let reasons = source.in_doubt_reasons.join(", ");
        parts.push(format!("{} in doubt ({reasons})", of_seconds(source.in_doubt_seconds)));
    }
    if source.unreadable_seconds > 0.0 {
        parts.push(format!("{} unreadable", of_seconds(source.unreadable_seconds)));
    }
    Problem {
        name: source.name.clone(),
        message: parts.join(", "),
        hint: format!("`auditflow coverage {file}` shows which time, why, and what to do"),
        since: None,
    }
}

/// Events that could not be normalized completely; `None` without any in the last 24 hours.
fn unnormalized(source: &SourceStatus, file: &str) -> Option<Problem> {
    let at = source.normalize_error_at.filter(|_| source.fails_to_normalize)?.with_digits(0);
    let events = count(source.normalize_errors);
    Some(Problem {
        name: source.name.clone(),
        message: format!("{events} events could not be normalized completely, the last at {at}"),
        hint: format!("`auditflow mapping --pipeline {file}` shows what is wrong; they are delivered"),
        since: None,
    })
}

pub(super) fn error(name: &str, error: &LastErrorReport) -> Problem {
    Problem {
        name: name.to_owned(),
        message: error.message.clone(),
        hint: error.hint.clone(),
        since: Some(error.since),
    }
}

impl Problem {
    /// In wrapped lines.
    pub(super) fn text(&self, now: Timestamp) -> String {
        let since = self
            .since
            .map(|at| format!(", since {} ({})", at.with_digits(0), brief(now.since(at))))
            .unwrap_or_default();
        let mut text = wrapped(&format!("! {}{since}: {}", self.name, self.message), "  ");
        if !self.hint.is_empty() {
            text += &wrapped(&format!("  hint: {}", self.hint), "    ");
        }
        text
    }
}
