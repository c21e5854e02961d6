//! `coverage`: which time of each source is covered, in doubt, unreadable or not read yet, and how late its events become
//! visible.

use std::fmt::Write as _;

use serde::Serialize;

use super::doubt::{self, DoubtReport};
use super::evidence::EvidenceReport;
use super::observation::{LastErrorReport, Observation, ReportHead, SourceView, TimeSpan, seconds, window_kind};
use super::problems;
use super::text::{counted, name, of_seconds, span_text, wrapped_value};
use crate::collect::scan::ScanCounts;
use crate::collect::{ranges, recommended_overlap};
use crate::forecast::{Assumption, Gap, forecast};
use crate::format::count;
use crate::journal::{CoverageState, LatenessCounts, OpenWindow, SourceStats};
use crate::pipeline::{ValidatedPipeline, ValidatedSource};
use crate::time::{TimeRange, Timestamp};

/// Which time of a pipeline's sources is covered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoverageReport {
    /// What all reports begin with.
    #[serde(flatten)]
    pub head: ReportHead,
    /// Whether no source has an error, none has time that is in doubt or unreadable, and each journal that is there can be read.
    pub healthy: bool,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceCoverage>,
}

/// Why a gap is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// It will be.
    NotYet,
    /// An open window reads it.
    InProgress,
}

/// A time range that is wanted and not read to the end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GapReport {
    /// The range.
    #[serde(flatten)]
    pub span: TimeSpan,
    /// Why.
    pub reason: GapReason,
    /// Whether it is the newest time, which the next polls will cover.
    pub at_head: bool,
}

/// A window in progress.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowReport {
    /// `live`, `backfill` or `recheck`.
    pub kind: &'static str,
    /// What it covers once it is complete; of a recheck, the covered time whose state it decides anew, or empty.
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
    /// 99.9th percentile, in seconds.
    pub p999_seconds: Option<f64>,
    /// The overlap of polls, in seconds. Polls miss events that are later.
    pub overlap_seconds: f64,
    /// The recommended overlap, in seconds: the 99.9th percentile and half of it, in whole minutes; the present overlap
    /// if that is longer. `None` if nothing was measured.
    pub recommended_overlap_seconds: Option<f64>,
}

/// A source's coverage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceCoverage {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// Why nothing is known of it here: the journal of its shard was not read. Absent if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_known: Option<String>,
    /// Whether it has ever run.
    pub started: bool,
    /// What should be covered by now: from the start of the backfill to the present minus `delay`.
    pub wanted: TimeSpan,
    /// Covered share of that, 0 to 1.
    pub covered_share: f64,
    /// What is covered, merged and in order.
    pub covered: Vec<TimeSpan>,
    /// What was read and delivered, but may lack records, in order: checks of the vendor's answers disagree.
    pub in_doubt: Vec<DoubtReport>,
    /// What the vendor rejects every request for, in order.
    pub unreadable: Vec<DoubtReport>,
    /// What is wanted and not read to the end, in order.
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
    /// What the state of its time rests on; `None` if it was not asked for.
    pub evidence: Option<EvidenceReport>,
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
            healthy: observation.is_readable() && sources.iter().all(SourceCoverage::is_healthy),
            sources,
        }
    }

    /// The report for people: one block per source, in lines of at most 100 columns. `file` is the pipeline file as the
    /// user names it.
    #[must_use]
    pub fn text(&self, file: &str) -> String {
        let mut text = self.head.text("coverage");
        for source in &self.sources {
            text.push('\n');
            text += &source_block(source, file, &self.head);
        }
        text
    }
}

impl SourceCoverage {
    fn is_healthy(&self) -> bool {
        self.last_error.is_none() && self.in_doubt.is_empty() && self.unreadable.is_empty()
    }
}

fn source_coverage(plan: &ValidatedSource, observation: &Observation) -> SourceCoverage {
    let view = SourceView::new(plan, observation);
    let stats = observation.source_stats(&plan.name);
    let stat = |of: fn(&SourceStats) -> u64| stats.map_or(0, of);
    let (started, not_known) = (view.snapshot.is_some(), observation.absence(plan));
    let is_known = not_known.is_none();
    let in_progress: Vec<_> =
        view.snapshot.iter().flat_map(|snapshot| &snapshot.state.open).map(WindowReport::from).collect();
    let covered_to = view.progress.covered_to().filter(|_| started);
    SourceCoverage {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        not_known,
        started,
        wanted: view.progress.wanted.into(),
        covered_share: view.covered_share(),
        covered: view.progress.covered.iter().copied().map(TimeSpan::from).collect(),
        in_doubt: doubt::doubts(&view, CoverageState::InDoubt),
        unreadable: doubt::doubts(&view, CoverageState::Unreadable),
        gaps: if is_known { gaps(&view) } else { Vec::new() },
        planned_windows: if is_known {
            planned_windows(&view, observation.at).saturating_sub(in_progress.len() as u64)
        } else {
            0
        },
        in_progress,
        events: stat(|stats| stats.events),
        pages: stat(|stats| stats.pages),
        requests: stat(|stats| stats.requests.total()),
        covered_to,
        lag_seconds: covered_to.map(|to| seconds(observation.at.since(to))),
        lateness: lateness(&view),
        evidence: view.snapshot.filter(|_| observation.has_evidence).map(|found| EvidenceReport::new(&found.evidence)),
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
    let overlap = view.settings.overlap(counts);
    LatenessReport {
        events: counts.events(),
        p50_seconds: counts.quantile(0.5).map(seconds),
        p99_seconds: counts.quantile(0.99).map(seconds),
        p999_seconds: counts.quantile(0.999).map(seconds),
        overlap_seconds: seconds(overlap),
        recommended_overlap_seconds: recommended_overlap(counts).map(|recommended| seconds(recommended.max(overlap))),
    }
}

/// The gaps, cut where open windows begin and end.
pub(super) fn gaps(view: &SourceView<'_>) -> Vec<GapReport> {
    let open = view.snapshot.iter().flat_map(|snapshot| &snapshot.state.open);
    let open = ranges::merged(open.map(|open| open.window.covers).filter(|covers| !covers.is_empty()).collect());
    let mut reports = Vec::new();
    for Gap { range, at_head } in &view.progress.gaps {
        let report = |range: TimeRange, reason| GapReport { span: range.into(), reason, at_head: *at_head };
        let read = open.iter().map(|open| ranges::intersection(*open, *range)).filter(|part| !part.is_empty());
        reports.extend(read.map(|part| report(part, GapReason::InProgress)));
        let unread = ranges::without(*range, &open);
        reports.extend(unread.into_iter().map(|part| report(part, GapReason::NotYet)));
    }
    reports.sort_by_key(|gap| gap.span.from);
    reports
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

/// Number of ranges shown per list in the text: the newest.
const SHOWN: usize = 12;

fn source_block(source: &SourceCoverage, file: &str, head: &ReportHead) -> String {
    let now = head.at;
    let mut text = format!("{} ({})\n", name(&source.name), source.vendor);
    if let Some(reason) = &source.not_known {
        values(&mut text, "covered", &wrapped_value(&format!("not known: {reason}")));
        return text;
    }
    if !source.started {
        line(&mut text, "covered", "nothing yet: the source has not started");
        return text;
    }
    list(&mut text, "covered", &source.covered, |span| span_text(*span));
    doubt_lists(&mut text, source, file, now);
    // Less than a second at the growing end is the time that this command took.
    let gaps: Vec<_> = source.gaps.iter().filter(|gap| !gap.at_head || gap.span.seconds >= 1.0).collect();
    list(&mut text, "gaps", &gaps, |gap| gap_text(gap, head.process.running));
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
    if let Some(evidence) = &source.evidence {
        evidence_block(&mut text, evidence);
    }
    if let Some(error) = &source.last_error {
        text += &problems::error(&source.name, error).text(now);
    }
    text
}

fn doubt_lists(text: &mut String, source: &SourceCoverage, file: &str, now: Timestamp) {
    for (label, doubts) in [("in doubt", &source.in_doubt), ("unreadable", &source.unreadable)] {
        if doubts.is_empty() {
            continue;
        }
        list(text, label, doubts, |doubt| {
            span_text(doubt.span) + "\n" + &doubt::explanation(doubt, file, &source.name, now)
        });
        if let Some(now) = doubt::ways_out_now(doubts, file, &source.name) {
            values(text, "", &now);
        }
    }
}

fn evidence_block(text: &mut String, evidence: &EvidenceReport) {
    if evidence.rows.is_empty() {
        line(text, "evidence", "-");
    }
    values(text, "evidence", &evidence.text());
    values(text, "loss", &wrapped_value(&evidence.loss.text()));
}

/// The lines of a text in the column of the values, the label before the first one.
fn values(text: &mut String, label: &str, value: &str) {
    let mut label = label;
    for value in value.lines() {
        line(text, std::mem::take(&mut label), value);
    }
}

fn gap_text(gap: &GapReport, runs: bool) -> String {
    let why = match gap.reason {
        GapReason::InProgress if !runs => "(begun)",
        GapReason::InProgress => "(in progress)",
        GapReason::NotYet if !runs => "(read by the next run)",
        GapReason::NotYet if gap.at_head => "(covered by the next polls)",
        GapReason::NotYet => "(not read yet)",
    };
    format!("{}  {why}", span_text(gap.span))
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
        values(text, std::mem::take(&mut label), &entry_text(entry));
    }
    if entries.is_empty() {
        line(text, label, "-");
    }
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
    let measured = format!(
        "p50 {}, p99 {} ({} in seven days); overlap {}",
        of_seconds(p50),
        of_seconds(p99),
        counted(lateness.events, "event"),
        of_seconds(lateness.overlap_seconds)
    );
    match lateness.recommended_overlap_seconds.filter(|overlap| *overlap > lateness.overlap_seconds) {
        Some(overlap) => format!("{measured}, recommended {}", of_seconds(overlap)),
        None => measured,
    }
}
