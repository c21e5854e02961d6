//! `verify`: what the outputs of each sink still are, as text and as JSON.

use serde::Serialize;

use super::observation::{Observation, ReportHead};
use super::text::{counted, wrapped};
use crate::format::count;
use crate::pipeline::ValidatedPipeline;
use crate::sinks::verify::{Problem, Verification};
use crate::units::ByteSize;

/// Problems of a sink that the text names; JSON has all.
const SHOWN: usize = 20;

/// The outputs of all sinks that were asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifyReport {
    /// What all reports begin with.
    #[serde(flatten)]
    pub head: ReportHead,
    /// Whether something was verified, of each shard, and all manifests and objects are there, unchanged, up to what the journal knows.
    pub healthy: bool,
    /// The sinks.
    pub sinks: Vec<SinkOutputs>,
    /// Shards whose outputs were not verified.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub not_verified: Vec<ShardNotVerified>,
}

/// A shard whose outputs were not verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ShardNotVerified {
    /// Its number.
    pub shard: u16,
    /// Why.
    pub reason: String,
}

/// The outputs of one sink.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkOutputs {
    /// Its name in the pipeline file.
    pub name: String,
    /// The shard whose outputs these are; absent without `shards`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shard: Option<u16>,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// Where its manifests are; `None` if it writes none.
    pub manifests_at: Option<String>,
    /// What was found; `None` if it writes no manifests, or they cannot be read.
    pub found: Option<Verification>,
    /// Why its outputs could not be read, and what to do.
    pub error: Option<String>,
}

impl SinkOutputs {
    fn is_healthy(&self) -> bool {
        self.error.is_none() && self.found.as_ref().is_none_or(|found| found.problems.is_empty())
    }
}

impl VerifyReport {
    /// The report of these sinks of a pipeline.
    #[must_use]
    pub fn new(pipeline: &ValidatedPipeline, observation: &Observation, sinks: Vec<SinkOutputs>) -> Self {
        // Where nothing was verified, nothing is proved.
        let not_verified = not_verified(observation);
        let healthy = not_verified.is_empty()
            && sinks.iter().all(SinkOutputs::is_healthy)
            && sinks.iter().any(|sink| sink.found.is_some());
        Self { head: ReportHead::new(pipeline, observation), healthy, sinks, not_verified }
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.head.text("outputs");
        if self.sinks.iter().all(|sink| sink.manifests_at.is_none()) {
            text.push_str("nothing was verified: no sink that was asked for writes manifests\n");
        }
        for sink in &self.sinks {
            text.push('\n');
            sink.write(&mut text);
        }
        if !self.not_verified.is_empty() {
            text.push('\n');
        }
        for ShardNotVerified { reason, .. } in &self.not_verified {
            text.push_str(&wrapped(&format!("NOT VERIFIED: {reason}"), "  "));
        }
        text
    }
}

/// Where nothing has run, all shards are verified without a journal.
fn not_verified(observation: &Observation) -> Vec<ShardNotVerified> {
    if !observation.has_run() {
        return Vec::new();
    }
    let absent = observation.shards.iter().filter_map(|shard| Some((shard.number, shard.absence()?)));
    absent.map(|(shard, reason)| ShardNotVerified { shard, reason }).collect()
}

impl SinkOutputs {
    /// The sink, and of which shard it is.
    fn title(&self) -> String {
        let shard = self.shard.map_or_else(String::new, |shard| format!(" of shard {shard}"));
        format!("{}{shard} ({})", self.name, self.type_name)
    }

    fn write(&self, text: &mut String) {
        let Some(place) = &self.manifests_at else {
            let line = format!("{}: it writes no manifests, so it cannot be verified", self.title());
            text.push_str(&wrapped(&line, "  "));
            return;
        };
        text.push_str(&format!("{}: {place}\n", self.title()));
        if let Some(error) = &self.error {
            text.push_str(&wrapped(&format!("  cannot be read: {error}"), "  "));
        }
        let Some(found) = &self.found else { return };
        text.push_str(&wrapped(&figures(found), "  "));
        for (journal, hash) in &found.follows {
            let line = format!(
                "  the first manifest of journal {journal} follows one that is not here: {hash}. It is in an earlier location, \
                 under an earlier name of the sink, or was removed"
            );
            text.push_str(&wrapped(&line, "  "));
        }
        write_problems(text, &found.problems);
        if found.problems.is_empty() {
            text.push_str(&wrapped(&format!("  {}", verdict(found)), "  "));
        }
        for (journal, hash) in &found.newest {
            text.push_str(&format!("  newest manifest of journal {journal}: {hash}\n"));
        }
    }
}

fn figures(found: &Verification) -> String {
    let mut line = format!(
        "  {}, {} in {} ({})",
        counted(found.manifests, "manifest"),
        counted(found.events, "event"),
        counted(found.objects, "object"),
        ByteSize(found.bytes)
    );
    if let (Some(first), Some(last)) = (found.first_time, found.last_time) {
        line.push_str(&format!(", of {} to {}", first.with_digits(0), last.with_digits(0)));
    }
    if found.objects_skipped > 0 {
        line.push_str(&format!("; {} older and not read", count(found.objects_skipped)));
    }
    if found.objects_rewritten > 0 {
        line.push_str(&format!(
            "; {} not there any more, as after a compaction of the table",
            count(found.objects_rewritten)
        ));
    }
    line
}

fn verdict(found: &Verification) -> &'static str {
    match (found.manifests, found.matches_journal) {
        (0, Some(_)) => "nothing was delivered yet, as the journal says too",
        (0, None) => "there are no manifests",
        (_, Some(_)) => {
            "complete: every object has its bytes, no manifest is missing, and the last one is the newest that the journal knows"
        }
        (_, None) => {
            "unbroken: every object has its bytes, and no manifest is missing between two others. There is no journal to compare \
             the end with"
        }
    }
}

fn write_problems(text: &mut String, problems: &[Problem]) {
    for Problem { at, message, .. } in problems.iter().take(SHOWN) {
        text.push_str(&wrapped(&format!("  PROBLEM {at}: {message}"), "    "));
    }
    if problems.len() > SHOWN {
        text.push_str(&format!("  and {} more; --json names all\n", count((problems.len() - SHOWN) as u64)));
    }
}
