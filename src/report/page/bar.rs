//! Drawings: a source's time as a bar, events per hour as a chart. SVG without a size in its coordinates (percent of the width),
//! so that it fits a phone too. Shapes and patterns differ, not colors alone, and each drawing has a text.

use std::time::Duration;

use super::html::Html;
use super::values::moment;
use crate::collect::ranges;
use crate::format::{count, counted};
use crate::journal::{CoverageState, HourlyEvents};
use crate::report::observation::SourceView;
use crate::report::text::brief;
use crate::time::{TimeRange, Timestamp};

/// Patterns that the bars are filled with, once per page.
pub(super) const PATTERNS: &str = r##"<svg class="patterns" aria-hidden="true" width="0" height="0"><defs>
<pattern id="doubt" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="doubt-ground" width="6" height="6"/><rect class="doubt-line" width="3" height="6"/></pattern>
<pattern id="unreadable" width="6" height="6" patternUnits="userSpaceOnUse"><rect class="unreadable-ground" width="6" height="6"/><path class="unreadable-line" d="M0 0L6 6M6 0L0 6"/></pattern>
</defs></svg>
"##;

/// What the patterns mean.
pub(super) const LEGEND: &str = r##"<ul class="legend" aria-label="Legend of the time bars">
<li><svg width="22" height="12" aria-hidden="true"><rect class="covered" width="22" height="12"/></svg> covered: read, and the answers agree</li>
<li><svg width="22" height="12" aria-hidden="true"><rect fill="url(#doubt)" width="22" height="12"/></svg> in doubt: read, may lack records</li>
<li><svg width="22" height="12" aria-hidden="true"><rect fill="url(#unreadable)" width="22" height="12"/></svg> unreadable: rejected by the vendor</li>
<li><svg width="22" height="12" aria-hidden="true"><rect class="unread" x="1" y="3" width="20" height="6"/></svg> gap: not read yet</li>
</ul>
"##;

/// The width of the bar in its own units.
const UNITS: u64 = 1_000;

/// The least width of what is not covered, so that a short gap in a long time is seen.
const LEAST_UNITS: u64 = 8;

/// The bar of a source's time, from the start of what is wanted to `now`.
pub(super) fn time_bar(html: &mut Html, view: &SourceView<'_>, now: Timestamp) {
    let time = TimeRange::new(view.progress.wanted.from.min(now), now);
    let doubtful = |state: CoverageState| {
        let doubts = view.snapshot.iter().flat_map(|snapshot| &snapshot.state.in_doubt);
        doubts.filter(move |doubtful| doubtful.state == state).map(|doubtful| doubtful.range).collect::<Vec<_>>()
    };
    let (in_doubt, unreadable) = (doubtful(CoverageState::InDoubt), doubtful(CoverageState::Unreadable));
    let holes: Vec<_> = view.progress.gaps.iter().filter(|gap| !gap.at_head).map(|gap| gap.range).collect();
    html.raw("<svg class=\"bar\" role=\"img\" width=\"100%\" height=\"18\" aria-label=\"");
    html.text(bar_text(view, time, &in_doubt, &unreadable)).raw("\">");
    html.raw("<rect class=\"unread\" x=\"0\" y=\"5\" width=\"100%\" height=\"8\"/>");
    for span in spans(time, &view.progress.covered, 0) {
        rect(html, span, "<rect class=\"covered\" y=\"0\" height=\"18\"");
    }
    for span in spans(time, &holes, LEAST_UNITS) {
        rect(html, span, "<rect class=\"ground\" y=\"0\" height=\"18\"");
        rect(html, span, "<rect class=\"unread\" y=\"5\" height=\"8\"");
    }
    for (ranges, markup) in [
        (&in_doubt, "<rect fill=\"url(#doubt)\" y=\"0\" height=\"18\""),
        (&unreadable, "<rect fill=\"url(#unreadable)\" y=\"0\" height=\"18\""),
    ] {
        for span in spans(time, ranges, LEAST_UNITS) {
            rect(html, span, markup);
        }
    }
    html.raw("</svg><div class=\"axis\" aria-hidden=\"true\"><span>").text(moment(time.from));
    html.raw("</span><span>now</span></div>");
}

fn rect(html: &mut Html, (from, to): (u64, u64), markup: &'static str) {
    let percent = |units: u64| format!("{}.{}%", units / 10, units % 10);
    html.raw(markup).raw(" x=\"").text(percent(from)).raw("\" width=\"").text(percent(to - from)).raw("\"/>");
}

/// Ranges in the bar's units, each at least `least` wide, those that touch as one.
fn spans(time: TimeRange, ranges: &[TimeRange], least: u64) -> Vec<(u64, u64)> {
    let whole = ranges::length(time).as_nanos().max(1);
    let units = |at: Timestamp| {
        let units = (at.since(time.from).as_nanos() * u128::from(UNITS) + whole / 2) / whole;
        u64::try_from(units).unwrap_or(UNITS)
    };
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for range in ranges.iter().map(|range| ranges::intersection(*range, time)).filter(|range| !range.is_empty()) {
        let (from, to) = (units(range.from), units(range.to));
        let from = from.min(UNITS - least);
        let to = to.max(from + least).min(UNITS);
        match spans.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => spans.push((from, to)),
        }
    }
    spans.retain(|(from, to)| from < to);
    spans
}

fn bar_text(view: &SourceView<'_>, time: TimeRange, in_doubt: &[TimeRange], unreadable: &[TimeRange]) -> String {
    let length = |ranges: &[TimeRange]| -> Duration {
        ranges.iter().map(|range| ranges::length(ranges::intersection(*range, time))).sum()
    };
    let not_read = ranges::without(time, &ranges::merged([&view.progress.covered, in_doubt, unreadable].concat()));
    let parts = [
        (length(&view.progress.covered), "covered"),
        (length(in_doubt), "in doubt"),
        (length(unreadable), "unreadable"),
        (length(&not_read), "not read"),
    ];
    let parts = parts.into_iter().filter(|(length, _)| *length >= Duration::from_secs(1));
    let parts: Vec<_> = parts.map(|(length, state)| format!("{} {state}", brief(length))).collect();
    format!("Time since {}: {}", moment(time.from), parts.join(", "))
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Hours in the chart.
const HOURS: u32 = 48;

/// Height of the highest bar, in pixels.
const HEIGHT: u64 = 88;

/// The events of all sources by the hour in which they were collected.
pub(super) fn hourly_chart<'h>(html: &mut Html, events: impl Iterator<Item = &'h HourlyEvents>, now: Timestamp) {
    let first = now.floor_to(HOUR) - HOUR * (HOURS - 1);
    let mut hours = vec![0_u64; HOURS as usize];
    for HourlyEvents { hour, events } in events.filter(|hour| hour.hour >= first) {
        let index = hour.since(first).as_secs() / HOUR.as_secs();
        if let Some(hour) = hours.get_mut(usize::try_from(index).unwrap_or(usize::MAX)) {
            *hour += events;
        }
    }
    let (total, most) = (hours.iter().sum::<u64>(), hours.iter().copied().max().unwrap_or(0));
    html.raw("<p>").text(format!("{} in {HOURS} hours; at most {} in an hour.", counted(total, "event"), count(most)));
    html.raw("</p><svg class=\"chart\" role=\"img\" width=\"100%\" height=\"110\" aria-label=\"");
    html.text(format!("Events collected in each of the last {HOURS} hours: {total} in all, at most {most} in an hour"));
    html.raw("\"><line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"0.5\" y2=\"0.5\"/>");
    html.raw("<line class=\"grid\" x1=\"0\" x2=\"100%\" y1=\"88.5\" y2=\"88.5\"/>");
    for (index, events) in (0_u32..).zip(&hours) {
        let begins = first + HOUR * index;
        if *events > 0 {
            let height = (events * HEIGHT).div_ceil(most.max(1)).max(2);
            html.raw(if index + 1 == HOURS { "<rect class=\"present\" x=\"" } else { "<rect x=\"" });
            html.text(x_of(index, 0.2)).raw("\" width=\"1.7%\" y=\"").text(HEIGHT - height);
            html.raw("\" height=\"").text(height).raw("\"><title>");
            html.text(format!("{} to {}: {}", hour_text(begins), hour_text(begins + HOUR), counted(*events, "event")));
            html.raw("</title></rect>");
        }
        let labelled = (begins.as_millis() / 3_600_000).rem_euclid(12) == 0;
        if labelled && index < HOURS - 3 {
            html.raw("<text y=\"105\" x=\"").text(x_of(index, 0.2)).raw("\">").text(hour_text(begins)).raw("</text>");
        }
    }
    html.raw("</svg>");
}

fn x_of(hour: u32, within: f64) -> String {
    format!("{:.2}%", (f64::from(hour) + within) * 100.0 / f64::from(HOURS))
}

/// `03-02 09:00`
fn hour_text(at: Timestamp) -> String {
    moment(at).chars().skip(5).take(11).collect()
}

/// How full the journal is.
pub(super) fn level_bar(html: &mut Html, part: u64, whole: u64) {
    let units = part.min(whole).saturating_mul(UNITS) / whole.max(1);
    html.raw("<svg class=\"bar\" aria-hidden=\"true\" width=\"100%\" height=\"10\"><rect class=\"track\" x=\"0\" y=\"0\" width=\"100%\" height=\"10\"/>");
    rect(html, (0, units.max(2)), "<rect class=\"covered\" y=\"0\" height=\"10\"");
    html.raw("</svg>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(to))
    }

    #[test]
    fn short_spans_stay_visible_within_the_bar_and_many_become_few() {
        let time = range(0, 1_000_000);
        assert_eq!(spans(time, &[range(0, 250_000), range(500_000, 2_000_000)], 0), [(0, 250), (500, 1_000)]);
        assert_eq!(spans(time, &[range(500_000, 500_001)], 8), [(500, 508)]);
        assert_eq!(spans(time, &[range(999_999, 1_000_000)], 8), [(992, 1_000)]);
        assert_eq!(spans(time, &[range(-5, 0), range(1_000_000, 1_000_001), range(10, 11)], 0), []);
        let many: Vec<_> = (0..100_000).map(|at| range(at * 10, at * 10 + 1)).collect();
        assert_eq!(spans(time, &many, 8), [(0, 1_000)]);
        assert_eq!(spans(range(5, 5), &[range(5, 6)], 8), []);
    }
}
