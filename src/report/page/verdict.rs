//! The page's first lines: is anything missing, twice, or stuck.

use std::time::Duration;

use super::html::Html;
use super::values::FILE;
use crate::format::counted;
use crate::pipeline::ValidatedPipeline;
use crate::report::problems::Problem;
use crate::report::status::{ShardState, SinkState, SinkStatus, SourceState, SourceStatus, StatusReport};
use crate::report::text::of_seconds;

/// A sink whose oldest undelivered event is older than its `batch.timeout_secs` by this much is stuck, as the alert rules say too.
const STUCK_AFTER: Duration = Duration::from_secs(900);

/// How much attention something needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Good,
    /// Worth knowing; nobody needs to act.
    Note,
    Bad,
}

impl Level {
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }

    /// A sign that differs by shape, for those who do not see the color.
    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Good => "<span class=\"sign\" aria-hidden=\"true\">✓</span> ",
            Self::Note => "<span class=\"sign\" aria-hidden=\"true\">○</span> ",
            Self::Bad => "<span class=\"sign\" aria-hidden=\"true\">▲</span> ",
        }
    }
}

/// The answer to one of the three questions.
#[derive(Debug)]
struct Answer {
    question: &'static str,
    /// What is said if there are no findings.
    good: &'static str,
    findings: Vec<(Level, String)>,
}

impl Answer {
    fn new(question: &'static str, good: &'static str) -> Self {
        Self { question, good, findings: Vec::new() }
    }

    fn add(&mut self, level: Level, found: bool, finding: impl FnOnce() -> String) {
        if found {
            self.findings.push((level, finding()));
        }
    }

    fn level(&self) -> Level {
        self.findings.iter().map(|(level, _)| *level).max().unwrap_or(Level::Good)
    }

    fn write(&self, html: &mut Html) {
        let level = self.level();
        html.raw("<div class=\"answer ").raw(level.class()).raw("\"><dt>").raw(self.question).raw("</dt><dd>");
        html.raw(level.sign()).raw("<div>");
        if self.findings.is_empty() {
            html.raw("<span class=\"finding\">No. ").raw(self.good).raw("</span>");
        }
        for (_, finding) in &self.findings {
            html.raw("<span class=\"finding\">").hint(finding).raw("</span> ");
        }
        html.raw("</div></dd></div>");
    }
}

/// Writes the headline and the three answers.
pub(super) fn write(html: &mut Html, pipeline: &ValidatedPipeline, report: &StatusReport, reloaded: bool) {
    let answers = [missing(report), twice(pipeline, report), stuck(report)];
    let mut level = answers.iter().map(Answer::level).max().unwrap_or(Level::Good);
    if !reloaded || has_unreadable_shard(report) {
        level = Level::Bad;
    }
    html.raw("<section class=\"verdict ").raw(level.class()).raw("\"><p class=\"headline\" role=\"status\">");
    html.raw(level.sign()).text(headline(report, level)).raw("</p><dl class=\"answers\">");
    answers.iter().for_each(|answer| answer.write(html));
    html.raw("</dl></section>");
}

/// The page's state in a few words, for its title.
pub(super) fn title(report: &StatusReport, reloaded: bool) -> &'static str {
    if reloaded && report.healthy && missing(report).level().max(stuck(report).level()) < Level::Bad {
        "healthy"
    } else {
        "needs attention"
    }
}

fn headline(report: &StatusReport, level: Level) -> String {
    if level != Level::Bad {
        let nothing = "Nothing needs attention";
        return match level {
            Level::Good => format!("{nothing}: nothing is missing, nothing is twice, nothing is stuck."),
            _ => format!("{nothing}."),
        };
    }
    let sources = report.sources.iter().filter(|source| level_of_source(source) == Level::Bad).count() as u64;
    let sinks = report.sinks.iter().filter(|sink| level_of_sink(sink) == Level::Bad).count() as u64;
    let parts = [(sources, "source"), (sinks, "sink")].into_iter().filter(|(number, _)| *number > 0);
    let parts: Vec<_> = parts.map(|(number, noun)| counted(number, noun)).collect();
    match &parts[..] {
        [] if report.journal.as_ref().is_some_and(|journal| journal.full) => "The journal needs attention.".to_owned(),
        [] if has_unreadable_shard(report) => "A shard needs attention.".to_owned(),
        [] => "The pipeline file needs attention.".to_owned(),
        [one] if one.starts_with("1 ") => format!("{one} needs attention."),
        _ => format!("{} need attention.", parts.join(" and ")),
    }
}

fn has_unreadable_shard(report: &StatusReport) -> bool {
    report.shards.iter().any(|shard| shard.state == ShardState::Unreadable)
}

/// How much attention a source needs.
pub(super) fn level_of_source(source: &SourceStatus) -> Level {
    match source.state {
        _ if !source.is_healthy() => Level::Bad,
        SourceState::Error | SourceState::Behind | SourceState::Paused | SourceState::Unreadable => Level::Bad,
        SourceState::NotStarted | SourceState::Backfill | SourceState::Stopped | SourceState::Elsewhere => Level::Note,
        SourceState::Live | SourceState::Done => Level::Good,
    }
}

/// How much attention a sink needs.
pub(super) fn level_of_sink(sink: &SinkStatus) -> Level {
    if sink.last_error.is_some() || is_stuck(sink) {
        Level::Bad
    } else if sink.dead_lettered > 0 || sink.skipped > 0 || sink.state == SinkState::NotStarted {
        Level::Note
    } else {
        Level::Good
    }
}

/// The pipeline file was changed and cannot be applied.
pub(super) fn failed_reload() -> Problem {
    Problem {
        name: "pipeline file".to_owned(),
        message: "it was changed and cannot be applied: the former one runs on, and the next start would fail"
            .to_owned(),
        hint: format!("`auditflow validate {FILE}` shows every mistake; then reload again"),
        since: None,
    }
}

/// A sink that has delivered nothing for long, whatever the reason.
pub(super) fn stuck_sink(sink: &SinkStatus) -> Option<Problem> {
    let oldest = sink.oldest_pending_seconds.filter(|_| is_stuck(sink))?;
    Some(Problem {
        name: sink.name.clone(),
        message: format!("{} wait, the oldest for {}", counted(sink.pending_events, "event"), of_seconds(oldest)),
        hint: format!("`auditflow check {FILE}` reaches the target; the log says what the sink does"),
        since: None,
    })
}

pub(super) fn is_stuck(sink: &SinkStatus) -> bool {
    let longest = sink.batch_timeout_seconds + STUCK_AFTER.as_secs_f64();
    sink.oldest_pending_seconds.is_some_and(|seconds| seconds > longest)
}

fn missing(report: &StatusReport) -> Answer {
    let mut answer = Answer::new(
        "Is anything missing?",
        "All time since the configured start is read, and the vendors’ answers agree.",
    );
    let sum = |of: fn(&SourceStatus) -> f64| report.sources.iter().map(of).sum::<f64>();
    let number = |is: fn(&&SourceStatus) -> bool| report.sources.iter().filter(is).count() as u64;
    let (in_doubt, unreadable) = (sum(|source| source.in_doubt_seconds), sum(|source| source.unreadable_seconds));
    answer.add(Level::Bad, in_doubt > 0.0, || {
        let sources = counted(number(|source| source.in_doubt_seconds > 0.0), "source");
        format!("Perhaps: {} of {sources} is in doubt; it was read, but may lack records.", of_seconds(in_doubt))
    });
    answer.add(Level::Bad, unreadable > 0.0, || {
        let sources = counted(number(|source| source.unreadable_seconds > 0.0), "source");
        format!("Perhaps: the vendor rejects {} of {sources}.", of_seconds(unreadable))
    });
    let failing = number(|source| source.last_error.is_some() || source.state == SourceState::Behind);
    answer.add(Level::Bad, failing > 0, || format!("{}: not read up to now.", counted(failing, "source")));
    let backfills = number(|source| source.has_holes);
    answer.add(Level::Note, backfills > 0, || {
        format!("{}: a gap that is still to be read.", counted(backfills, "source"))
    });
    let unread = number(|source| source.fails_to_normalize);
    answer.add(Level::Bad, unread > 0, || {
        format!("{}: fields of some events; their records are in `raw`.", counted(unread, "source"))
    });
    let new = number(|source| source.state == SourceState::NotStarted);
    answer.add(Level::Note, new > 0, || format!("{}: not started yet.", counted(new, "source")));
    let dead = report.sinks.iter().map(|sink| sink.dead_lettered).sum::<u64>();
    answer
        .add(Level::Note, dead > 0, || format!("{} rejected by a target: in the dead letter.", counted(dead, "event")));
    let skipped = report.sinks.iter().map(|sink| sink.skipped).sum::<u64>();
    answer.add(Level::Note, skipped > 0, || {
        format!("{} not delivered: their source had left the inputs of the sink.", counted(skipped, "event"))
    });
    answer
}

fn twice(pipeline: &ValidatedPipeline, report: &StatusReport) -> Answer {
    let mut answer = Answer::new(
        "Is anything twice?",
        "Records are deduplicated by id, and an unfinished batch is rolled back before it is written again.",
    );
    let repeats: Vec<_> = pipeline.sinks.iter().filter(|sink| !sink.config.is_exactly_once()).collect();
    answer.add(Level::Note, !repeats.is_empty(), || {
        let names: Vec<_> = repeats.iter().map(|sink| sink.name.as_str()).collect();
        let names = names.join(", ");
        format!("Only after an error or a crash: {names} may then repeat a batch, with the same ids (`at_least_once`).")
    });
    let redelivered = report.sinks.iter().map(|sink| sink.redelivered).sum::<u64>();
    answer.add(Level::Note, redelivered > 0, || {
        format!("{} repeated on request, by `auditflow state redeliver`.", counted(redelivered, "event"))
    });
    answer
}

fn stuck(report: &StatusReport) -> Answer {
    let mut answer = Answer::new("Is anything stuck?", "Every source collects, and every sink delivers.");
    let failing = report.sources.iter().filter(|source| source.last_error.is_some()).count() as u64;
    answer.add(Level::Bad, failing > 0, || format!("{} cannot collect.", counted(failing, "source")));
    let behind = report.sources.iter().filter(|source| source.state == SourceState::Behind).count() as u64;
    answer.add(Level::Bad, behind > 0, || format!("{}: more than three polls missed.", counted(behind, "source")));
    let failing = report.sinks.iter().filter(|sink| sink.last_error.is_some()).count() as u64;
    answer.add(Level::Bad, failing > 0, || format!("{} cannot deliver.", counted(failing, "sink")));
    let slow: Vec<_> = report.sinks.iter().filter(|sink| is_stuck(sink)).collect();
    let pending = slow.iter().map(|sink| sink.pending_events).sum::<u64>();
    let oldest = slow.iter().filter_map(|sink| sink.oldest_pending_seconds).fold(0.0, f64::max);
    answer.add(Level::Bad, !slow.is_empty(), || {
        format!("{} not delivered, the oldest for {}.", counted(pending, "event"), of_seconds(oldest))
    });
    let full = report.journal.as_ref().is_some_and(|journal| journal.full);
    answer.add(Level::Bad, full, || "The journal is full: collecting waits until the sinks have delivered.".to_owned());
    answer
}
