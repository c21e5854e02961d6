//! The summary at the end of a run: what was collected and delivered, which work is unfinished, and which time is in doubt.

use std::fmt::Write;
use std::time::Duration;

use crate::format::count;
use crate::journal::{JournalStats, SinkStats, SourceStats};
use crate::report::reasons_text;
use crate::runtime::{CoverageState, DoubtfulTime, RunReport};
use crate::units::{ByteSize, Span};

/// The summary as text, one line per source and sink that ran. `file` is the pipeline file as the user names it.
pub(super) fn of(report: &RunReport, file: &str) -> String {
    let mut text = String::new();
    let ran = |name: &str| report.sources.iter().any(|(source, _)| source == name);
    for source in report.stats.sources.iter().filter(|source| ran(&source.name)) {
        let unread = report.backlogs.iter().find(|(name, _)| *name == source.name).map(|(_, unread)| *unread);
        line(&mut text, &source_line(source, unread));
    }
    for sink in report.stats.sinks.iter().filter(|sink| sink.active) {
        line(&mut text, &sink_line(sink, &report.stats));
    }
    for (name, reason) in report.unfinished() {
        line(&mut text, &format!("unfinished: {name}: {reason}"));
    }
    for (name, doubtful) in &report.doubts {
        line(&mut text, &doubt_line(name, doubtful));
    }
    if !report.doubts.is_empty() {
        line(&mut text, &format!("what came of this time is delivered; `auditflow coverage {file}` says what to do"));
    }
    if report.cut_short {
        line(&mut text, "stopped at the deadline: the next run repeats the work that was in progress");
    }
    text
}

fn line(text: &mut String, line: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{line}");
}

fn source_line(source: &SourceStats, unread: Option<Duration>) -> String {
    let covered = source.covered_to.map_or_else(
        || "nothing yet (a source without backfill_start_time starts at the present)".to_owned(),
        |to| format!("up to {}", to.with_digits(0)),
    );
    // Up to a minute is the time since the last poll, not a backfill.
    let unread = unread.filter(|unread| *unread > Duration::from_secs(60));
    let unread = unread.map_or_else(String::new, |unread| {
        format!(", {} of it not yet read", Span(Duration::from_secs(unread.as_secs())))
    });
    format!(
        "source {:<20} {:>12} events in {} pages and {} requests, covered {covered}{unread}",
        source.name,
        count(source.events),
        count(source.pages),
        count(source.requests)
    )
}

fn sink_line(sink: &SinkStats, journal: &JournalStats) -> String {
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

fn doubt_line(source: &str, doubtful: &DoubtfulTime) -> String {
    let state = if doubtful.state == CoverageState::Unreadable { "unreadable" } else { "in doubt" };
    let (from, to) = (doubtful.range.from.with_digits(0), doubtful.range.to.with_digits(0));
    let follows = match doubtful.next_recheck_at {
        Some(at) => format!("read again by the first run after {}", at.with_digits(0)),
        None => "not read again".to_owned(),
    };
    format!("{state}: {source}: {from} to {to}: {}; {follows}", reasons_text(&doubtful.reasons))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_source_stopped_during_a_backfill_shows_the_unread_time() {
        let source = SourceStats {
            name: "audit".to_owned(),
            vendor: "clumio".to_owned(),
            events: 30,
            raw_bytes: 0,
            pages: 191,
            requests: 230,
            covered_to: Some(Timestamp::from_secs(1_764_000_000)),
            open_windows: 0,
            last_error: None,
        };
        let unread = Duration::from_millis(27 * 86_400_000 + 5);
        assert!(
            source_line(&source, Some(unread)).ends_with("covered up to 2025-11-24T16:00:00Z, 27d of it not yet read")
        );
        assert!(source_line(&source, Some(Duration::from_secs(59))).ends_with("16:00:00Z"));
        assert!(source_line(&source, None).ends_with("16:00:00Z"));
    }
}
