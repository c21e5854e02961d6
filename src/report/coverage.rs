//! `coverage`: which time of each source is covered, which is not, and how late its events become visible.

use std::fmt::Write as _;

use serde::Serialize;

use super::observation::{LastErrorReport, Observation, ReportHead, SourceView, TimeSpan, seconds, window_kind};
use super::text::{counted, last_error, name, of_seconds};
use crate::collect::scan::ScanCounts;
use crate::forecast::{Assumption, Gap, forecast};
use crate::format::count;
use crate::journal::{LatenessCounts, OpenWindow, SourceStats};
use crate::pipeline::{ValidatedPipeline, ValidatedSource};
use crate::time::Timestamp;

/// Which time of a pipeline's sources is covered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoverageReport {
    /// What all reports begin with.
    #[serde(flatten)]
    pub head: ReportHead,
    /// Whether no source has an error.
    pub healthy: bool,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceCoverage>,
}

/// A time range that is wanted and not covered.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GapReport {
    /// The range.
    #[serde(flatten)]
    pub span: TimeSpan,
    /// Whether it is the newest time, which the next polls will cover.
    pub at_head: bool,
}

/// A window in progress.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowReport {
    /// `live`, `backfill` or `recheck`.
    pub kind: &'static str,
    /// What it covers once it is complete; empty for a recheck.
    pub covers: TimeSpan,
    /// What it requests.
    pub fetch_range: TimeSpan,
    /// Pages read so far.
    pub pages: u64,
    /// Records read so far, including deduplicated ones.
    pub records_read: u64,
    /// The number of records that the vendor announced.
    pub records_total: Option<u64>,
}

/// How late a source's events became visible in the last seven days.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatenessReport {
    /// Number of measured events: those that polls and rechecks found.
    pub events: u64,
    /// Median, in seconds.
    pub p50_seconds: Option<f64>,
    /// 99th percentile, in seconds.
    pub p99_seconds: Option<f64>,
    /// The overlap of polls, in seconds. Polls miss events that are later.
    pub overlap_seconds: f64,
}

/// A source's coverage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceCoverage {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// Whether it has ever run.
    pub started: bool,
    /// What should be covered by now: from the start of the backfill to the present minus `delay`.
    pub wanted: TimeSpan,
    /// Covered share of that, 0 to 1.
    pub covered_share: f64,
    /// What is covered, merged and in order.
    pub covered: Vec<TimeSpan>,
    /// What is wanted and not covered, in order.
    pub gaps: Vec<GapReport>,
    /// Windows in progress.
    pub in_progress: Vec<WindowReport>,
    /// Number of further windows that are planned.
    pub planned_windows: u64,
    /// Events collected since the first start.
    pub events: u64,
    /// Pages read.
    pub pages: u64,
    /// Requests sent, including failed ones.
    pub requests: u64,
    /// The end of the newest covered time.
    pub covered_to: Option<Timestamp>,
    /// Time from there to now, in seconds.
    pub lag_seconds: Option<f64>,
    /// How late events become visible.
    pub lateness: LatenessReport,
    /// The present error.
    pub last_error: Option<LastErrorReport>,
}

impl CoverageReport {
    /// The report of an observation.
    #[must_use]
    pub fn new(pipeline: &ValidatedPipeline, observation: &Observation) -> Self {
        let sources: Vec<_> = pipeline.sources.iter().map(|plan| source_coverage(plan, observation)).collect();
        Self {
            head: ReportHead::new(pipeline, observation),
            healthy: sources.iter().all(|source| source.last_error.is_none()),
            sources,
        }
    }

    /// The report for people: one block per source, in lines of at most 100 columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.head.text("coverage");
        for source in &self.sources {
            text.push('\n');
            text += &source_block(source, self.head.at);
        }
        text
    }
}

fn source_coverage(plan: &ValidatedSource, observation: &Observation) -> SourceCoverage {
    let view = SourceView::new(plan, observation);
    let stats = observation.source_stats(&plan.name);
    let stat = |of: fn(&SourceStats) -> u64| stats.map_or(0, of);
    let started = view.snapshot.is_some();
    let in_progress: Vec<_> =
        view.snapshot.iter().flat_map(|snapshot| &snapshot.state.open).map(WindowReport::from).collect();
    let covered_to = view.progress.covered_to().filter(|_| started);
    SourceCoverage {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        started,
        wanted: view.progress.wanted.into(),
        covered_share: view.covered_share(),
        covered: view.progress.covered.iter().copied().map(TimeSpan::from).collect(),
        gaps: view.progress.gaps.iter().copied().map(GapReport::from).collect(),
        planned_windows: planned_windows(&view, observation.at).saturating_sub(in_progress.len() as u64),
        in_progress,
        events: stat(|stats| stats.events),
        pages: stat(|stats| stats.pages),
        requests: stat(|stats| stats.requests),
        covered_to,
        lag_seconds: covered_to.map(|to| seconds(observation.at.since(to))),
        lateness: lateness(&view),
        last_error: stats.and_then(|stats| stats.last_error.as_ref()).map(LastErrorReport::from),
    }
}

fn planned_windows(view: &SourceView<'_>, now: Timestamp) -> u64 {
    let state = view.state(now);
    forecast(view.plan.vendor.as_ref(), &view.settings, &state, now, Assumption::Records, 0).windows()
}

fn lateness(view: &SourceView<'_>) -> LatenessReport {
    let none = LatenessCounts::default();
    let counts = view.snapshot.map_or(&none, |snapshot| &snapshot.lateness);
    LatenessReport {
        events: counts.events(),
        p50_seconds: counts.quantile(0.5).map(seconds),
        p99_seconds: counts.quantile(0.99).map(seconds),
        overlap_seconds: seconds(view.settings.spec.overlap),
    }
}

impl From<&OpenWindow> for WindowReport {
    fn from(open: &OpenWindow) -> Self {
        let scan = open.progress.as_ref().and_then(ScanCounts::of);
        Self {
            kind: window_kind(open.window.kind),
            covers: open.window.covers.into(),
            fetch_range: open.window.fetch_range.into(),
            pages: scan.as_ref().map_or(0, |scan| scan.pages),
            records_read: scan.as_ref().map_or(0, |scan| scan.records_read),
            records_total: scan.and_then(|scan| scan.total),
        }
    }
}

impl From<Gap> for GapReport {
    fn from(gap: Gap) -> Self {
        Self { span: gap.range.into(), at_head: gap.at_head }
    }
}

/// Number of ranges shown per list in the text: the newest.
const SHOWN: usize = 12;

fn source_block(source: &SourceCoverage, now: Timestamp) -> String {
    let mut text = format!("{} ({})\n", name(&source.name), source.vendor);
    if !source.started {
        line(&mut text, "covered", "nothing yet: the source has not started");
        return text;
    }
    list(&mut text, "covered", &source.covered, |span| span_text(*span));
    list(&mut text, "gaps", &source.gaps, |gap| {
        span_text(gap.span) + if gap.at_head { "  (covered by the next polls)" } else { "" }
    });
    if !source.in_progress.is_empty() {
        list(&mut text, "in progress", &source.in_progress, window_text);
    }
    if source.planned_windows > 0 {
        line(&mut text, "planned", &counted(source.planned_windows, "more window"));
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
    line(&mut text, "lateness", &lateness_text(&source.lateness));
    if let Some(error) = &source.last_error {
        text += &last_error(&source.name, error, now);
    }
    text
}

fn line(text: &mut String, label: &str, value: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "  {label:<11}  {value}");
}

/// The lines of the newest entries, with the label before the first line; a dash if there are none.
fn list<T>(text: &mut String, label: &str, entries: &[T], entry_text: impl Fn(&T) -> String) {
    let hidden = entries.len().saturating_sub(SHOWN);
    let mut label = label;
    if hidden > 0 {
        line(text, std::mem::take(&mut label), &format!("({} earlier; --json lists all)", count(hidden as u64)));
    }
    for entry in &entries[hidden..] {
        for value in entry_text(entry).lines() {
            line(text, std::mem::take(&mut label), value);
        }
    }
    if entries.is_empty() {
        line(text, label, "-");
    }
}

fn span_text(span: TimeSpan) -> String {
    let (from, to) = (span.from.with_digits(0), span.to.with_digits(0));
    format!("{from} .. {to}  {:>8}", of_seconds(span.seconds))
}

fn window_text(window: &WindowReport) -> String {
    let span = if window.kind == "recheck" { window.fetch_range } else { window.covers };
    let total = window.records_total.map(|total| format!(" of {}", count(total))).unwrap_or_default();
    let read = format!("{}{total} records in {}", count(window.records_read), counted(window.pages, "page"));
    format!("{}  {}\n{read}", span_text(span), window.kind)
}

fn lateness_text(lateness: &LatenessReport) -> String {
    let (Some(p50), Some(p99)) = (lateness.p50_seconds, lateness.p99_seconds) else {
        return "not measured: polls have found no event in the last seven days".to_owned();
    };
    format!(
        "p50 {}, p99 {} ({} in seven days); overlap {}",
        of_seconds(p50),
        of_seconds(p99),
        counted(lateness.events, "event"),
        of_seconds(lateness.overlap_seconds)
    )
}
