//! The summary at the end of a run: what was collected and delivered, which work is unfinished, and which time is in doubt.

use std::fmt::Write;
use std::time::Duration;

use crate::format::{count, counted};
use crate::journal::{SinkStats, SourceStats};
use crate::report::reasons_text;
use crate::runtime::{CoverageState, DoubtfulTime, RunReport};
use crate::units::{ByteSize, Span};

/// The summary as text, one line per source and sink that ran. `file` is the pipeline file as the user names it.
pub(super) fn of(report: &RunReport, file: &str) -> String {
    let mut text = String::new();
    for (source, before, unread) in sources(report) {
        line(&mut text, &source_line(source, before, unread));
    }
    for (sink, before) in sinks(report) {
        line(&mut text, &sink_line(sink, before, report.stats.head));
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

/// The same as log lines, for a log in JSON: numbers are numbers.
pub(super) fn log(report: &RunReport, file: &str) {
    for (source, before, unread) in sources(report) {
        tracing::info!(
            event = "source_summary",
            source = source.name,
            events = grown(source, before, |source| source.events),
            pages = grown(source, before, |source| source.pages),
            requests = grown(source, before, |source| source.requests.total()),
            events_total = source.events,
            covered_to = source.covered_to.map(tracing::field::display),
            unread_secs = unread.map(|unread| unread.as_secs_f64()),
            "what this run collected"
        );
    }
    for (sink, before) in sinks(report) {
        tracing::info!(
            event = "sink_summary",
            sink = sink.name,
            delivered = grown(sink, before, |sink| sink.delivered),
            bytes = grown(sink, before, |sink| sink.bytes),
            filtered = grown(sink, before, |sink| sink.filtered),
            dead_lettered = grown(sink, before, |sink| sink.dead_lettered),
            skipped = grown(sink, before, |sink| sink.skipped),
            behind = report.stats.head.saturating_sub(sink.position),
            delivered_total = sink.delivered,
            "what this run delivered"
        );
    }
    for (component, error) in report.unfinished() {
        tracing::error!(event = "work_unfinished", component, error, "the run ended before its work was done");
    }
    for (source, doubtful) in &report.doubts {
        let (from, to) = (doubtful.range.from, doubtful.range.to);
        let reasons = reasons_text(&doubtful.reasons);
        let hint = format!("`auditflow coverage {file}` says what to do");
        let state = state_text(doubtful);
        tracing::warn!(event = "time_in_doubt", source, state, %from, %to, reasons, hint, "time is {state}");
    }
    if report.cut_short {
        tracing::warn!(event = "deadline_passed", "stopped at the deadline: the next run repeats the work in progress");
    }
}

/// The sources that ran, each as it was before and with its time that is not yet read.
fn sources(report: &RunReport) -> impl Iterator<Item = (&SourceStats, Option<&SourceStats>, Option<Duration>)> {
    let ran = |source: &&SourceStats| report.ran(&source.name);
    report.stats.sources.iter().filter(ran).map(|source| {
        let before = report.before.sources.iter().find(|before| before.name == source.name);
        let unread = report.backlogs.iter().find(|(name, _)| *name == source.name).map(|(_, unread)| *unread);
        (source, before, unread)
    })
}

/// The sinks of the pipeline, each as it was before.
fn sinks(report: &RunReport) -> impl Iterator<Item = (&SinkStats, Option<&SinkStats>)> {
    let before = |sink: &SinkStats| report.before.sinks.iter().find(|before| before.name == sink.name);
    report.stats.sinks.iter().filter(|sink| sink.active).map(move |sink| (sink, before(sink)))
}

fn line(text: &mut String, line: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// What a counter has grown by since `before`.
fn grown<T>(now: &T, before: Option<&T>, counter: fn(&T) -> u64) -> u64 {
    counter(now).saturating_sub(before.map_or(0, counter))
}

/// A counter since the first start, if this run did not count all of it.
fn in_all(of_this_run: u64, in_all: u64) -> String {
    if of_this_run == in_all { String::new() } else { format!(", {} since the first start", count(in_all)) }
}

fn source_line(source: &SourceStats, before: Option<&SourceStats>, unread: Option<Duration>) -> String {
    let events = grown(source, before, |source| source.events);
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
        "source {:<20} {:>12} events in {} and {}{}, covered {covered}{unread}",
        source.name,
        count(events),
        counted(grown(source, before, |source| source.pages), "page"),
        counted(grown(source, before, |source| source.requests.total()), "request"),
        in_all(events, source.events),
    )
}

fn sink_line(sink: &SinkStats, before: Option<&SinkStats>, head: u64) -> String {
    let delivered = grown(sink, before, |sink| sink.delivered);
    let bytes = ByteSize(grown(sink, before, |sink| sink.bytes));
    let mut line = format!("sink   {:<20} {:>12} events delivered, {bytes}", sink.name, count(delivered));
    let others = [
        (grown(sink, before, |sink| sink.filtered), "filtered"),
        (grown(sink, before, |sink| sink.dead_lettered), "in the dead letter"),
        (grown(sink, before, |sink| sink.skipped), "skipped"),
        (head.saturating_sub(sink.position), "behind"),
    ];
    for (number, what) in others.into_iter().filter(|(number, _)| *number > 0) {
        line += &format!(", {} {what}", count(number));
    }
    line + &in_all(delivered, sink.delivered)
}

fn state_text(doubtful: &DoubtfulTime) -> &'static str {
    if doubtful.state == CoverageState::Unreadable { "unreadable" } else { "in doubt" }
}

fn doubt_line(source: &str, doubtful: &DoubtfulTime) -> String {
    let state = state_text(doubtful);
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
    use crate::journal::RequestCounts;
    use crate::time::Timestamp;

    #[test]
    fn a_source_stopped_during_a_backfill_shows_the_unread_time() {
        let mut source = SourceStats {
            name: "audit".to_owned(),
            vendor: "clumio".to_owned(),
            events: 30,
            raw_bytes: 0,
            pages: 191,
            requests: RequestCounts::succeeded(230),
            covered_to: Some(Timestamp::from_secs(1_764_000_000)),
            open_windows: 0,
            staged: 0,
            normalize_errors: 0,
            unmapped_actions: 0,
            normalize_error_at: None,
            last_error: None,
        };
        let unread = Duration::from_millis(27 * 86_400_000 + 5);
        assert!(
            source_line(&source, None, Some(unread))
                .ends_with("covered up to 2025-11-24T16:00:00Z, 27d of it not yet read")
        );
        assert!(source_line(&source, None, Some(Duration::from_secs(59))).ends_with("16:00:00Z"));
        assert!(source_line(&source, None, None).contains(" 30 events in 191 pages and 230 requests, covered up to"));
        let before = source.clone();
        (source.events, source.pages, source.requests) = (32, 192, RequestCounts::succeeded(232));
        let line = source_line(&source, Some(&before), None);
        assert!(line.contains(" 2 events in 1 page and 2 requests, 32 since the first start, covered"), "{line}");
    }
}
