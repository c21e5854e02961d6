//! The status page: what `status` says, for people with a browser. Made here without a script, a font or an image from
//! elsewhere, so that it works where nothing else can be reached.
//!
//! ```text
//! Observation --> StatusReport --> verdict   is anything missing, twice, stuck
//!             --> SourceView   --> bar       a source's time, events per hour
//!                                 rows       sources and sinks
//!                                 html       escapes all that others wrote
//! ```

mod bar;
mod html;
mod rows;
mod values;
mod verdict;

use html::Html;
use values::{FILE, moment};

use super::observation::{Observation, Process, SourceView};
use super::problems::{Problem, problems};
use super::status::{JournalStatus, StatusReport};
use super::status_text::shards_text;
use super::text::brief;
use crate::format::{count, counted};
use crate::pipeline::{ActiveConfig, ValidatedPipeline};
use crate::units::ByteSize;

/// The style sheet, which the page asks for as `style.css`.
pub const STYLE: &str = include_str!("style.css");

/// Sources on one page.
const SOURCES_PER_PAGE: usize = 100;

/// Problems listed at most; the sources are listed by urgency, so that the rest is found there.
const MAX_PROBLEMS: usize = 50;

/// The page of an observation. `number` is that of the part of the sources to show, from 1.
#[must_use]
pub fn html(config: &ActiveConfig, observation: &Observation, number: usize) -> String {
    let pipeline = config.pipeline.as_ref();
    let views = observation.views(pipeline);
    let report = StatusReport::of_views(pipeline, observation, &views);
    let mut html = Html::default();
    head(&mut html, &report, config.reload_succeeded);
    verdict::write(&mut html, pipeline, &report, config.reload_succeeded);
    problem_list(&mut html, &report, config.reload_succeeded);
    html.raw("<section><h2>Events collected per hour</h2>");
    let hours = observation.journal.iter().flat_map(|journal| &journal.sources).flat_map(|source| &source.hourly);
    bar::hourly_chart(&mut html, hours, observation.at);
    html.raw("</section>");
    sources(&mut html, pipeline, observation, (&report, &views), number);
    html.raw("<section><h2>Sinks</h2><ul class=\"rows\">");
    report.sinks.iter().for_each(|sink| rows::sink(&mut html, sink, observation.at));
    html.raw("</ul></section>");
    if let Some(journal) = &report.journal {
        journal_section(&mut html, journal);
    }
    if !report.shards.is_empty() {
        html.raw("<section><h2>Shards</h2><p>").text(shards_text(&report.shards)).raw("</p></section>");
    }
    foot(&mut html, &report);
    html.finish()
}

fn head(html: &mut Html, report: &StatusReport, reloaded: bool) {
    let head = &report.head;
    html.raw(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><meta http-equiv=\"refresh\" content=\"30\">\
         <link rel=\"stylesheet\" href=\"style.css\"><link rel=\"icon\" href=\"data:,\"><title>",
    );
    html.text(&head.pipeline).raw(": ").raw(verdict::title(report, reloaded)).raw(" – auditflow</title></head><body>");
    html.raw(bar::PATTERNS).raw("<header><h1>").foreign(&head.pipeline).raw("</h1><p>");
    html.text(match head.process {
        _ if !head.has_run => "starting".to_owned(),
        Process { pid: Some(pid), running: true } => format!("running (process {pid})"),
        Process { running: true, .. } => "running".to_owned(),
        Process { .. } => "not running".to_owned(),
    });
    html.raw(" · ").text(moment(head.at)).raw(" UTC</p></header><main>");
}

fn problem_list(html: &mut Html, report: &StatusReport, reloaded: bool) {
    let mut problems = problems(report, FILE);
    if !reloaded {
        problems.push(verdict::failed_reload());
    }
    problems.extend(report.sinks.iter().filter(|sink| sink.last_error.is_none()).filter_map(verdict::stuck_sink));
    if problems.is_empty() {
        return;
    }
    html.raw("<section><h2>What to do</h2><ul class=\"problems\">");
    for Problem { name, message, hint, since } in problems.iter().take(MAX_PROBLEMS) {
        html.raw("<li><strong>").foreign(name).raw("</strong> ");
        if let Some(since) = since {
            html.raw("<span class=\"quiet\">for ").text(brief(report.head.at.since(*since))).raw("</span> ");
        }
        html.foreign(message);
        if !hint.is_empty() {
            html.raw("<p class=\"hint\">→ ").hint(hint).raw("</p>");
        }
        html.raw("</li>");
    }
    html.raw("</ul>");
    if problems.len() > MAX_PROBLEMS {
        let more = counted((problems.len() - MAX_PROBLEMS) as u64, "more problem");
        html.raw("<p>").text(more).raw(": see the sources below.</p>");
    }
    html.raw("</section>");
}

/// The sources that need attention first; else in the order of the file.
fn sources(
    html: &mut Html,
    pipeline: &ValidatedPipeline,
    observation: &Observation,
    (report, views): (&StatusReport, &[SourceView<'_>]),
    number: usize,
) {
    let mut sources: Vec<_> = views.iter().zip(&report.sources).collect();
    sources.sort_by_key(|(_, status)| std::cmp::Reverse(verdict::level_of_source(status)));
    let pages = sources.len().div_ceil(SOURCES_PER_PAGE).max(1);
    let number = number.clamp(1, pages);
    let first = (number - 1) * SOURCES_PER_PAGE;
    let shown = sources.iter().skip(first).take(SOURCES_PER_PAGE);
    html.raw("<section><h2 id=\"sources\">Sources</h2>").raw(bar::LEGEND).raw("<ul class=\"rows\">");
    shown.for_each(|(view, status)| rows::source(html, pipeline, view, status, observation, report));
    html.raw("</ul>");
    if pages > 1 {
        let last = (first + SOURCES_PER_PAGE).min(sources.len());
        html.raw("<nav aria-label=\"More sources\"><p>Sources ").text(count(first as u64 + 1)).raw(" to ");
        html.text(count(last as u64)).raw(" of ").text(count(sources.len() as u64));
        html.raw(", those that need attention first.</p>");
        page_link(html, number > 1, number.saturating_sub(1), "‹ previous");
        page_link(html, number < pages, number + 1, "next ›");
        html.raw("</nav>");
    }
    html.raw("</section>");
}

fn page_link(html: &mut Html, exists: bool, number: usize, label: &'static str) {
    if exists {
        html.raw("<a href=\"?page=").text(number).raw("#sources\">").raw(label).raw("</a> ");
    }
}

fn journal_section(html: &mut Html, journal: &JournalStatus) {
    let (size, max_size) = (ByteSize(journal.bytes), ByteSize(journal.max_bytes));
    html.raw("<section><h2>Journal</h2><p>")
        .text(format!("{} held, {size} of {max_size}", counted(journal.events, "event")));
    html.raw(if journal.full { ": full" } else { "" }).raw(".</p>");
    bar::level_bar(html, journal.bytes, journal.max_bytes);
    html.raw("</section>");
}

fn foot(html: &mut Html, report: &StatusReport) {
    html.raw("</main><footer><p>");
    if !report.not_in_file.is_empty() {
        html.raw("No longer in the file: ").foreign(&report.not_in_file.join(", ")).raw("</p><p>");
    }
    html.raw("auditflow ").raw(env!("CARGO_PKG_VERSION"));
    html.raw(" · <a href=\"status.json\">status.json</a> · <a href=\"metrics\">metrics</a>");
    html.raw(" · all times in UTC · renewed every 30 seconds</p></footer></body></html>\n");
}
