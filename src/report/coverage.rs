//! `coverage`: which time of each source is read, which is not, and how late its events become visible.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::status::figures_of_source;
use super::{FORMAT, Observation, Process, TroubleReport, Watched, coverage_text, covered_share, seconds};
use crate::forecast::{Assumption, Gap, forecast};
use crate::journal::{LatenessCounts, OpenWindow, WindowKind};
use crate::pipeline::{Pipeline, SourcePlan};
use crate::time::{TimeRange, Timestamp};

/// Which time of a pipeline's sources is covered.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CoverageReport {
    /// The version of this form: [`FORMAT`].
    pub format: u32,
    /// When.
    pub at: Timestamp,
    /// The pipeline's name.
    pub pipeline: String,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Whether it runs.
    pub process: Process,
    /// Whether no source has trouble.
    pub healthy: bool,
    /// Whether anything has run yet.
    pub has_run: bool,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceCoverage>,
}

/// A half-open span of time: `to` does not belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Span {
    /// Its first moment.
    pub from: Timestamp,
    /// The moment after its last.
    pub to: Timestamp,
    /// Its length.
    pub seconds: f64,
}

/// A span that is to be covered and is not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct GapReport {
    /// The span.
    #[serde(flatten)]
    pub span: Span,
    /// Whether it is the growing end, which the next polls take.
    pub at_head: bool,
}

/// A window that is being walked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowReport {
    /// `live`, `backfill` or `recheck`.
    pub kind: &'static str,
    /// What is covered once it is complete; empty for a recheck.
    pub covers: Span,
    /// What is asked for.
    pub fetch_range: Span,
    /// Pages read so far.
    pub pages: u64,
    /// Records read so far, known ones included.
    pub records: u64,
    /// How many the vendor says there are.
    pub records_total: Option<u64>,
}

/// How late a source's events become visible, over the last seven days.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LatenessReport {
    /// Events that it was measured on: those that polls and rechecks found in time.
    pub events: u64,
    /// Half of them were not later, in seconds.
    pub p50_seconds: Option<f64>,
    /// 99 of 100 were not later, in seconds.
    pub p99_seconds: Option<f64>,
    /// What each poll reads again, in seconds: later events are missed by polls.
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
    /// What is to be covered by now: from the start of the backfill to the present less `delay`.
    pub wanted: Span,
    /// Covered share of that, 0 to 1.
    pub covered_share: f64,
    /// What is covered, merged and in order.
    pub covered: Vec<Span>,
    /// What is wanted and not covered, in order.
    pub gaps: Vec<GapReport>,
    /// Windows in progress.
    pub in_progress: Vec<WindowReport>,
    /// How many more windows are planned, those in progress not counted.
    pub planned_windows: u64,
    /// Events collected since the first start.
    pub events: u64,
    /// Pages read.
    pub pages: u64,
    /// Requests made, failed ones included.
    pub requests: u64,
    /// The end of the newest covered time.
    pub covered_to: Option<Timestamp>,
    /// From there to now, in seconds.
    pub lag_seconds: Option<f64>,
    /// How late events become visible.
    pub lateness: LatenessReport,
    /// The present trouble.
    pub last_error: Option<TroubleReport>,
}

impl CoverageReport {
    /// The report of what was seen.
    #[must_use]
    pub fn new(pipeline: &Pipeline, seen: &Observation) -> Self {
        let sources: Vec<_> = pipeline.sources.iter().map(|plan| source_coverage(plan, seen)).collect();
        Self {
            format: FORMAT,
            at: seen.at,
            pipeline: pipeline.name.clone(),
            data_dir: pipeline.settings.data_dir.clone(),
            process: Process::of(seen),
            healthy: sources.iter().all(|source| source.last_error.is_none()),
            has_run: seen.journal.is_some(),
            sources,
        }
    }

    /// The report for people, in lines of at most 100 columns.
    #[must_use]
    pub fn text(&self) -> String {
        coverage_text::text(self)
    }
}

fn source_coverage(plan: &SourcePlan, seen: &Observation) -> SourceCoverage {
    let watched = Watched::new(plan, seen);
    let figures = figures_of_source(seen, &plan.name);
    let figure = |of: fn(&crate::journal::SourceStats) -> u64| figures.map_or(0, of);
    let started = watched.picture.is_some();
    let in_progress: Vec<_> =
        watched.picture.iter().flat_map(|picture| &picture.state.open).map(window_report).collect();
    let covered_to = watched.outlook.covered_to().filter(|_| started);
    SourceCoverage {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        started,
        wanted: watched.outlook.wanted.into(),
        covered_share: covered_share(&watched),
        covered: watched.outlook.covered.iter().copied().map(Span::from).collect(),
        gaps: watched.outlook.gaps.iter().copied().map(GapReport::from).collect(),
        planned_windows: planned(&watched, seen.at).saturating_sub(in_progress.len() as u64),
        in_progress,
        events: figure(|figures| figures.events),
        pages: figure(|figures| figures.pages),
        requests: figure(|figures| figures.requests),
        covered_to,
        lag_seconds: covered_to.map(|to| seconds(seen.at.since(to))),
        lateness: lateness(&watched),
        last_error: figures.and_then(|figures| figures.last_error.as_ref()).map(TroubleReport::from),
    }
}

fn planned(watched: &Watched<'_>, now: Timestamp) -> u64 {
    let state = watched.state(now);
    forecast(watched.plan.vendor.as_ref(), &watched.settings, &state, now, Assumption::Records, 0).windows()
}

fn lateness(watched: &Watched<'_>) -> LatenessReport {
    let none = LatenessCounts::default();
    let counts = watched.picture.map_or(&none, |picture| &picture.lateness);
    LatenessReport {
        events: counts.events(),
        p50_seconds: counts.quantile(0.5).map(seconds),
        p99_seconds: counts.quantile(0.99).map(seconds),
        overlap_seconds: seconds(watched.settings.spec.overlap),
    }
}

fn window_report(open: &OpenWindow) -> WindowReport {
    let progress = open.progress.as_ref();
    WindowReport {
        kind: kind_word(open.window.kind),
        covers: open.window.covers.into(),
        fetch_range: open.window.fetch_range.into(),
        pages: progress.map_or(0, |progress| progress.pages),
        records: progress.map_or(0, |progress| progress.records_read),
        records_total: progress.and_then(|progress| progress.total),
    }
}

pub(super) const fn kind_word(kind: WindowKind) -> &'static str {
    match kind {
        WindowKind::Live => "live",
        WindowKind::Backfill => "backfill",
        WindowKind::Recheck => "recheck",
    }
}

impl From<TimeRange> for Span {
    fn from(range: TimeRange) -> Self {
        let length: Duration = range.to.since(range.from);
        Self { from: range.from, to: range.to, seconds: seconds(length) }
    }
}

impl From<Gap> for GapReport {
    fn from(gap: Gap) -> Self {
        Self { span: gap.range.into(), at_head: gap.at_head }
    }
}
