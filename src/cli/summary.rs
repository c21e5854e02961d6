//! The summary at the end of a run: what was collected, what was delivered, what could not be done.

use std::fmt::Write;

use crate::journal::{JournalSummary, SinkSummary, SourceSummary};
use crate::observe::progress::count;
use crate::pipeline::run::RunReport;
use crate::units::ByteSize;

/// The summary as text, a line each source and sink that ran.
pub(super) fn of(report: &RunReport) -> String {
    let mut text = String::new();
    let ran = |name: &str| report.sources.iter().any(|(source, _)| source == name);
    for source in report.summary.sources.iter().filter(|source| ran(&source.name)) {
        line(&mut text, &source_line(source));
    }
    for sink in report.summary.sinks.iter().filter(|sink| sink.active) {
        line(&mut text, &sink_line(sink, &report.summary));
    }
    for (name, reason) in report.unfinished() {
        line(&mut text, &format!("unfinished: {name}: {reason}"));
    }
    if report.cut_short {
        line(&mut text, "stopped at the deadline: what was in hand is done again at the next start");
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{line}");
}

fn source_line(source: &SourceSummary) -> String {
    let covered = source.covered_to.map_or_else(
        || "nothing yet (without backfill_start_time a source begins at the present)".to_owned(),
        |to| format!("up to {}", to.with_digits(0)),
    );
    format!(
        "source {:<20} {:>12} events in {} pages and {} requests, covered {covered}",
        source.name,
        count(source.events),
        count(source.pages),
        count(source.requests)
    )
}

fn sink_line(sink: &SinkSummary, journal: &JournalSummary) -> String {
    let mut line =
        format!("sink   {:<20} {:>12} events delivered, {}", sink.name, count(sink.delivered), ByteSize(sink.bytes));
    let others = [
        (sink.filtered, "filtered"),
        (sink.dead_lettered, "in the dead letter"),
        (journal.head.saturating_sub(sink.position), "behind"),
    ];
    for (number, what) in others.into_iter().filter(|(number, _)| *number > 0) {
        line += &format!(", {} {what}", count(number));
    }
    line
}
