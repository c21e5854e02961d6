//! `plan` for people: a block a source, then a block a sink.

use std::fmt::Write as _;

use super::plan::{BackfillAhead, PlanReport, SinkAhead, SourceAhead, WindowAhead, WindowCount};
use super::status_text::of_seconds;
use super::text::counted;
use crate::collect::RedactedRequest;
use crate::observe::progress::count;

pub(super) fn text(report: &PlanReport) -> String {
    let from =
        if report.has_run { "from what the journal holds" } else { "as a first start, since nothing has run yet" };
    let mut text = format!("plan of {} at {}, {from}\n", report.pipeline, report.at.with_digits(0));
    for source in &report.sources {
        text += &source_block(source);
    }
    for sink in &report.sinks {
        text += &sink_block(sink);
    }
    text + "\nNothing was asked and nothing was written.\n"
}

fn source_block(source: &SourceAhead) -> String {
    let mut text = format!("\nsource {} ({})\n", source.name, source.vendor);
    let hidden = total(source.count).saturating_sub(source.windows.len() as u64);
    let mut label = "asks next";
    for window in &source.windows {
        line(&mut text, std::mem::take(&mut label), &window_line(window));
    }
    if hidden > 0 {
        line(
            &mut text,
            label,
            &format!("... and {}{} more", count(hidden), if source.count.more { " or" } else { "" }),
        );
    }
    if let Some(at) = source.next_poll_at {
        line(&mut text, label, &format!("nothing is due; the next poll comes at {} or later", at.with_digits(0)));
    }
    line(&mut text, "in all", &counts(source.count));
    if let Some(request) = &source.first_request {
        request_lines(&mut text, request);
    }
    let reserve = if source.keeps_some_for_polls { "; a tenth of it is kept for polls" } else { "" };
    line(&mut text, "rate budget", &format!("{}{reserve}", source.rate_limit.join(" and ")));
    if let Some(backfill) = &source.backfill {
        backfill_lines(&mut text, backfill);
    }
    text
}

fn total(count: WindowCount) -> u64 {
    count.live + count.backfill + count.recheck
}

fn line(text: &mut String, label: &str, value: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "  {label:<13}  {value}");
}

fn window_line(window: &WindowAhead) -> String {
    let span = if window.kind == "recheck" { window.fetch_range } else { window.covers };
    let length = of_seconds(span.seconds);
    let state = if window.in_progress { "  (begun before)" } else { "" };
    format!("{:<8}  {} .. {}  {length}{state}", window.kind, span.from.with_digits(0), span.to.with_digits(0))
}

fn counts(count: WindowCount) -> String {
    let kinds = [(count.live, "live window"), (count.backfill, "backfill window"), (count.recheck, "recheck")];
    let told: Vec<_> = kinds.into_iter().filter(|(number, _)| *number > 0).map(|(n, noun)| counted(n, noun)).collect();
    if told.is_empty() { "no window until then".to_owned() } else { told.join(", ") }
}

fn request_lines(text: &mut String, request: &RedactedRequest) {
    line(text, "first request", &format!("{} {}", request.method, request.url));
    for (name, value) in &request.query {
        line(text, "", &format!("  {name}={value}"));
    }
    for (name, value) in &request.headers {
        line(text, "", format!("  {name}: {value}").trim_end());
    }
}

fn backfill_lines(text: &mut String, backfill: &BackfillAhead) {
    let (least, likely) = (backfill.least_requests, backfill.requests_of_one_page_each);
    let empty = if least == likely { "" } else { " if there is nothing in it: windows grow where nothing is" };
    let value = format!("at least {} and {}{empty}", counted(least, "request"), time(backfill.least_seconds));
    line(text, "backfill", &value);
    let slice = of_seconds(backfill.slice_seconds);
    if least == likely {
        line(text, "", &format!("each window is {slice} or shorter; every page beyond its first is one more request"));
        return;
    }
    let times = format!("{} and {}", counted(likely, "request"), time(backfill.seconds_of_one_page_each));
    line(text, "", &format!("{times} if each slice of {slice} has one page; every further page is one more request"));
}

/// What the budget asks for.
fn time(seconds: f64) -> String {
    if seconds < 1.0 { "less than a second".to_owned() } else { of_seconds(seconds) }
}

fn sink_block(sink: &SinkAhead) -> String {
    let mut text = format!("\nsink {} ({})\n", sink.name, sink.type_name);
    for example in &sink.examples {
        let places: Vec<_> = example.places.iter().map(|(name, place)| format!("{name} {place}")).collect();
        let what = if example.form == "raw" { "a record" } else { "an event" };
        let _ = writeln!(
            text,
            "  {what} of {} at {} goes to {}",
            example.source,
            example.timestamp.with_digits(0),
            places.join(", ")
        );
    }
    text
}
