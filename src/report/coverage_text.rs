//! `coverage` for people: a block a source.

use std::fmt::Write as _;

use super::coverage::{CoverageReport, LatenessReport, SourceCoverage, Span, WindowReport};
use super::heading;
use super::status_text::of_seconds;
use super::text::{counted, last_error, name};
use crate::format::count;
use crate::time::Timestamp;

/// Of spans that are listed, at most so many are shown: the newest.
const MOST_SPANS: usize = 12;

pub(super) fn text(report: &CoverageReport) -> String {
    let mut text = heading("coverage", &report.pipeline, &report.data_dir, &report.process, report.has_run, report.at);
    for source in &report.sources {
        text.push('\n');
        text += &block(source, report.at);
    }
    text
}

fn block(source: &SourceCoverage, now: Timestamp) -> String {
    let mut text = format!("{} ({})\n", name(&source.name), source.vendor);
    if !source.started {
        line(&mut text, "covered", "nothing yet: it has not been started");
        return text;
    }
    for (label, value) in spans("covered", &source.covered, |span| plain(*span)) {
        line(&mut text, &label, &value);
    }
    let gaps = spans("gaps", &source.gaps, |gap| {
        plain(gap.span) + if gap.at_head { "  (left to the next polls)" } else { "" }
    });
    for (label, value) in gaps {
        line(&mut text, &label, &value);
    }
    if !source.in_progress.is_empty() {
        for (label, value) in spans("in progress", &source.in_progress, window) {
            line(&mut text, &label, &value);
        }
    }
    if source.planned_windows > 0 {
        line(&mut text, "planned", &counted(source.planned_windows, "further window"));
    }
    let read = format!(
        "{} in {} and {}",
        counted(source.events, "event"),
        counted(source.pages, "page"),
        counted(source.requests, "request")
    );
    line(&mut text, "read", &read);
    if let Some(lag) = source.lag_seconds {
        line(&mut text, "lag", &of_seconds(lag));
    }
    line(&mut text, "lateness", &lateness(&source.lateness));
    if let Some(known) = &source.last_error {
        text += &last_error(&source.name, known, now);
    }
    text
}

fn line(text: &mut String, label: &str, value: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "  {label:<11}  {value}");
}

/// The lines of the entries; the label stands before the first. Without entries: a dash.
fn spans<T>(label: &str, entries: &[T], told: impl Fn(&T) -> String) -> Vec<(String, String)> {
    let hidden = entries.len().saturating_sub(MOST_SPANS);
    let mut values = Vec::new();
    if hidden > 0 {
        values.push(format!("({} earlier; --json has all)", count(hidden as u64)));
    }
    values.extend(
        entries.iter().skip(hidden).flat_map(|entry| told(entry).lines().map(str::to_owned).collect::<Vec<_>>()),
    );
    if values.is_empty() {
        values.push("-".to_owned());
    }
    let labels = [label.to_owned()].into_iter().chain(std::iter::repeat(String::new()));
    labels.zip(values).collect()
}

fn plain(span: Span) -> String {
    let (from, to) = (span.from.with_digits(0), span.to.with_digits(0));
    format!("{from} .. {to}  {:>8}", of_seconds(span.seconds))
}

fn window(window: &WindowReport) -> String {
    let span = if window.kind == "recheck" { window.fetch_range } else { window.covers };
    let total = window.records_total.map(|total| format!(" of {}", count(total))).unwrap_or_default();
    let read = format!("{}{total} records in {}", count(window.records), counted(window.pages, "page"));
    format!("{}  {}\n{read}", plain(span), window.kind)
}

fn lateness(lateness: &LatenessReport) -> String {
    let (Some(p50), Some(p99)) = (lateness.p50_seconds, lateness.p99_seconds) else {
        return "not measured yet: no event was found by a poll in the last seven days".to_owned();
    };
    let overlap = of_seconds(lateness.overlap_seconds);
    format!(
        "p50 {}, p99 {} ({} in seven days); overlap {overlap}",
        of_seconds(p50),
        of_seconds(p99),
        counted(lateness.events, "event")
    )
}
