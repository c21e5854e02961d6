//! A row per source and per sink.

use std::time::Duration;

use super::bar;
use super::html::Html;
use super::values::{FILE, ago, moment};
use super::verdict::{Level, is_stuck, level_of_sink, level_of_source};
use crate::format::{count, counted};
use crate::journal::CoverageState;
use crate::pipeline::ValidatedPipeline;
use crate::report::coverage::{self, GapReason};
use crate::report::doubt;
use crate::report::observation::{Observation, SourceView, TimeSpan};
use crate::report::status::{SinkState, SinkStatus, SourceStatus, StatusReport};
use crate::report::status_text::source_state_text;
use crate::report::text::{brief, of_seconds};
use crate::time::Timestamp;
use crate::units::ByteSize;

/// Times that are in doubt, unreadable or a gap: so many are named, the newest.
const NAMED_TIMES: usize = 3;

/// A source: its time, its clocks, what it has collected.
pub(super) fn source(
    html: &mut Html,
    pipeline: &ValidatedPipeline,
    view: &SourceView<'_>,
    status: &SourceStatus,
    observation: &Observation,
    report: &StatusReport,
) {
    let now = observation.at;
    let state = source_state_text(status) + if status.has_doubt() { ", time in doubt" } else { "" };
    row_head(html, &status.name, status.vendor, &state, level_of_source(status));
    if view.snapshot.is_some() {
        bar::time_bar(html, view, now);
        times(html, view, observation);
    }
    html.raw("<dl class=\"facts\">");
    clock(html, "Newest event", status.newest_event_at, now);
    fact(html, "Since then", &status.since_newest_event.map_or_else(|| "–".to_owned(), |since| since.text()));
    clock(html, "Vendor read until", status.covered_to, now);
    clock(html, "Delivered until", delivered_to(pipeline, &status.name, report), now);
    fact(html, "Lateness", &lateness(view));
    fact(html, "Events", &format!("{} ({} in 24 h)", count(status.events), count(status.events_last_24h)));
    html.raw("</dl></li>");
}

/// The sink that is farthest behind decides.
fn delivered_to(pipeline: &ValidatedPipeline, source: &str, report: &StatusReport) -> Option<Timestamp> {
    let sinks = pipeline.sinks.iter().zip(&report.sinks);
    let readers = sinks.filter(|(plan, _)| plan.routes.iter().any(|route| route.source == source));
    readers.map(|(_, sink)| sink.delivered_to).min().flatten()
}

fn lateness(view: &SourceView<'_>) -> String {
    let quantile = |quantile| view.snapshot.and_then(|snapshot| snapshot.lateness.quantile(quantile));
    let (Some(half), Some(most)) = (quantile(0.5), quantile(0.99)) else { return "not measured".to_owned() };
    format!("half within {}, 99 % within {}", brief(half), brief(most))
}

/// The times that are not covered, with reasons.
fn times(html: &mut Html, view: &SourceView<'_>, observation: &Observation) {
    let mut times: Vec<(TimeSpan, &str, String)> = Vec::new();
    for (state, word) in [(CoverageState::InDoubt, "In doubt"), (CoverageState::Unreadable, "Unreadable")] {
        for doubt in doubt::doubts(view, state) {
            let why = doubt.error.clone().unwrap_or_else(|| doubt.reasons.join(", "));
            let follows = match doubt.next_recheck_at {
                Some(at) if at > observation.at => format!("read again at {}", moment(at)),
                Some(_) => "due to be read again".to_owned(),
                None => format!("no recheck is left: `auditflow coverage {FILE}` says what you can do"),
            };
            times.push((doubt.span, word, format!("{why}; {follows}")));
        }
    }
    for gap in coverage::gaps(view).into_iter().filter(|gap| !gap.at_head) {
        let why = match gap.reason {
            GapReason::InProgress => "being read",
            GapReason::NotYet => "not read yet; planned",
        };
        times.push((gap.span, "Gap", why.to_owned()));
    }
    if times.is_empty() {
        return;
    }
    times.sort_by_key(|(span, ..)| span.from);
    let hidden = times.len().saturating_sub(NAMED_TIMES);
    html.raw("<ul class=\"times\">");
    for (span, word, why) in times.iter().rev().take(NAMED_TIMES) {
        html.raw("<li><strong>").text(word).raw("</strong> ").text(moment(span.from)).raw(" to ").text(moment(span.to));
        html.text(format!(" ({}): ", of_seconds(span.seconds))).raw("<bdi>").hint(why).raw("</bdi></li>");
    }
    if hidden > 0 {
        html.raw("<li>").text(counted(hidden as u64, "earlier time"));
        html.hint(&format!(": `auditflow coverage {FILE}`")).raw("</li>");
    }
    html.raw("</ul>");
}

/// A sink: its backlog and what it has delivered.
pub(super) fn sink(html: &mut Html, sink: &SinkStatus, now: Timestamp) {
    let state = match sink.state {
        SinkState::NotStarted => "not started",
        SinkState::Error => "error",
        SinkState::Pending if is_stuck(sink) => "stuck",
        SinkState::Pending => "delivering",
        SinkState::Idle => "all delivered",
    };
    row_head(html, &sink.name, sink.type_name, state, level_of_sink(sink));
    html.raw("<dl class=\"facts\">");
    let backlog = match sink.pending_events {
        0 => "none".to_owned(),
        events => format!("{}, {}", counted(events, "event"), ByteSize(sink.pending_bytes)),
    };
    fact(html, "Backlog", &backlog);
    let oldest = sink.oldest_pending_seconds.map_or_else(|| "–".to_owned(), of_seconds);
    fact(html, "Oldest undelivered", &oldest);
    clock(html, "Delivered until", sink.delivered_to, now);
    clock(html, "Last delivery", sink.last_delivered_at, now);
    fact(html, "Delivered", &format!("{}, {}", counted(sink.delivered, "event"), ByteSize(sink.bytes_written)));
    let (filtered, dead) = (count(sink.filtered), count(sink.dead_lettered));
    let skipped = if sink.skipped > 0 { format!(", {} skipped", count(sink.skipped)) } else { String::new() };
    fact(html, "Not written", &format!("{filtered} filtered, {dead} in the dead letter{skipped}"));
    html.raw("</dl></li>");
}

fn row_head(html: &mut Html, name: &str, kind: &str, state: &str, level: Level) {
    html.raw("<li class=\"row ").raw(level.class()).raw("\"><h3>").foreign(name).raw(" <span class=\"quiet\">");
    html.text(kind).raw("</span></h3><p class=\"state\">").raw(level.sign()).text(state).raw("</p>");
}

fn fact(html: &mut Html, label: &'static str, value: &str) {
    html.raw("<div><dt>").raw(label).raw("</dt><dd>").text(value).raw("</dd></div>");
}

/// A time, and how long ago it was.
fn clock(html: &mut Html, label: &'static str, at: Option<Timestamp>, now: Timestamp) {
    let Some(at) = at else { return fact(html, label, "–") };
    html.raw("<div><dt>").raw(label).raw("</dt><dd>").text(ago(at, now));
    if now.since(at) >= Duration::from_secs(1) {
        html.raw(" <span class=\"quiet\">").text(moment(at)).raw("</span>");
    }
    html.raw("</dd></div>");
}
