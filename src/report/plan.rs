//! `plan`: what `run` would ask for next and where events would land. Asks nobody and writes nothing.

use std::time::Duration;

use serde::Serialize;

use super::coverage::{Span, kind_word};
use super::{FORMAT, Observation, Watched, plan_text, seconds};
use crate::collect::outlook::{Ahead, AheadWindow, Assume, ahead, least_time, next_poll};
use crate::collect::request_shown::{ShownRequest, shown};
use crate::deliver::Route;
use crate::pipeline::{Pipeline, SinkPlan, SourcePlan};
use crate::sinks::EventForm;
use crate::time::{TimeRange, Timestamp};
use crate::units::Rate;
use crate::vendors::{PageRequest, ReadContext};

/// Windows that are shown of a source.
const SHOWN: usize = 5;

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanReport {
    /// The version of this form: [`FORMAT`].
    pub format: u32,
    /// When.
    pub at: Timestamp,
    /// The pipeline's name.
    pub pipeline: String,
    /// Whether a journal was there to go on from.
    pub has_run: bool,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceAhead>,
    /// Each sink of the file, in its order.
    pub sinks: Vec<SinkAhead>,
}

/// What a source would ask for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceAhead {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// The first windows, in the order in which they would be walked.
    pub windows: Vec<WindowAhead>,
    /// How many there are in all.
    pub count: WindowCount,
    /// If no window is due: when the next poll comes, at the earliest.
    pub next_poll_at: Option<Timestamp>,
    /// The first request.
    pub first_request: Option<ShownRequest>,
    /// The request budget, as the pipeline file writes it.
    pub rate_limit: Vec<String>,
    /// Whether the budget keeps some of its requests for polls while a backfill goes on.
    #[serde(skip)]
    pub(super) keeps_some_for_polls: bool,
    /// What the backfill comes to; `None` if there is none.
    pub backfill: Option<BackfillAhead>,
}

/// A window that would be walked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowAhead {
    /// `live`, `backfill` or `recheck`.
    pub kind: &'static str,
    /// What it covers; empty for a recheck.
    pub covers: Span,
    /// What it asks for: the overlap too.
    pub fetch_range: Span,
    /// Whether it was begun before.
    pub in_progress: bool,
}

/// How many windows are to be walked until the present is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowCount {
    /// At the growing end.
    pub live: u64,
    /// Slices of the past.
    pub backfill: u64,
    /// Second looks.
    pub recheck: u64,
    /// Whether there are more than were counted.
    pub more: bool,
}

/// What a backfill comes to, at least.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BackfillAhead {
    /// The length of a slice, in seconds.
    pub slice_seconds: f64,
    /// Requests if there is nothing in it: slices grow where nothing is. Every page beyond a window's first is one more.
    pub least_requests: u64,
    /// How long these take within the budget, in seconds.
    pub least_seconds: f64,
    /// Requests if each slice has a page of records.
    pub requests_of_one_page_each: u64,
    /// How long these take within the budget, in seconds.
    pub seconds_of_one_page_each: f64,
}

/// Where a sink's events would land.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkAhead {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// An example of each source that it gets.
    pub examples: Vec<Example>,
}

/// Where an example event would land.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Example {
    /// The source.
    pub source: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// `normalized`, or `raw` without a `normalize` transform.
    pub form: &'static str,
    /// The time of the example event.
    pub timestamp: Timestamp,
    /// The places, such as `topic` and `key`, or `path`.
    pub places: Vec<(&'static str, String)>,
}

impl PlanReport {
    /// What `run` would do after what was seen.
    #[must_use]
    pub fn new(pipeline: &Pipeline, seen: &Observation) -> Self {
        Self {
            format: FORMAT,
            at: seen.at,
            pipeline: pipeline.name.clone(),
            has_run: seen.journal.is_some(),
            sources: pipeline.sources.iter().map(|plan| source_ahead(plan, seen)).collect(),
            sinks: pipeline.sinks.iter().map(|sink| sink_ahead(pipeline, sink, seen.at)).collect(),
        }
    }

    /// The plan for people.
    #[must_use]
    pub fn text(&self) -> String {
        plan_text::text(self)
    }
}

fn source_ahead(plan: &SourcePlan, seen: &Observation) -> SourceAhead {
    let (watched, now) = (Watched::new(plan, seen), seen.at);
    let state = watched.state(now);
    let run_ahead = |assume, show| ahead(plan.vendor.as_ref(), &watched.settings, &state, now, assume, show);
    let (likely, least) = (run_ahead(Assume::Records, SHOWN), run_ahead(Assume::Nothing, 0));
    let poll = if likely.first.is_empty() { next_poll(&watched.settings, &state, now) } else { None };
    let first = likely.first.first().or(poll.as_ref().map(|(_, window)| window));
    let rates = &watched.settings.spec.rate_limit;
    SourceAhead {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        first_request: first.map(|window| first_request(plan, window)),
        next_poll_at: poll.as_ref().map(|(at, _)| *at),
        windows: likely.first.iter().map(WindowAhead::from).collect(),
        count: WindowCount::from(&likely),
        rate_limit: rates.iter().map(ToString::to_string).collect(),
        keeps_some_for_polls: likely.backfill > 0 && rates.iter().any(|rate| rate.requests >= 10),
        backfill: (likely.backfill > 0)
            .then(|| backfill(watched.settings.spec.slice, rates, likely.backfill, least.backfill)),
    }
}

fn backfill(slice: Duration, rates: &[Rate], likely: u64, least: u64) -> BackfillAhead {
    BackfillAhead {
        slice_seconds: seconds(slice),
        least_requests: least,
        least_seconds: seconds(least_time(rates, least)),
        requests_of_one_page_each: likely,
        seconds_of_one_page_each: seconds(least_time(rates, likely)),
    }
}

fn first_request(plan: &SourcePlan, window: &AheadWindow) -> ShownRequest {
    let fetch_range = window.window.fetch_range;
    let range = TimeRange { from: fetch_range.from, to: fetch_range.to };
    shown(plan.vendor.as_ref(), &PageRequest { range, cursor: window.cursor.as_deref(), page_size: window.page_size })
}

impl From<&AheadWindow> for WindowAhead {
    fn from(ahead: &AheadWindow) -> Self {
        let window = ahead.window;
        Self {
            kind: kind_word(window.kind),
            covers: window.covers.into(),
            fetch_range: window.fetch_range.into(),
            in_progress: ahead.open,
        }
    }
}

impl From<&Ahead> for WindowCount {
    fn from(ahead: &Ahead) -> Self {
        Self { live: ahead.live, backfill: ahead.backfill, recheck: ahead.rechecks, more: ahead.more }
    }
}

fn sink_ahead(pipeline: &Pipeline, sink: &SinkPlan, now: Timestamp) -> SinkAhead {
    let source = |route: &Route| pipeline.sources.iter().find(|source| source.name == route.source);
    let examples = sink.routes.iter().filter_map(|route| Some(example(sink, source(route)?, route.form, now)));
    SinkAhead { name: sink.name.clone(), type_name: sink.config.type_name(), examples: examples.collect() }
}

fn example(sink: &SinkPlan, source: &SourcePlan, form: EventForm, now: Timestamp) -> Example {
    let context = ReadContext { source: &source.name, observed_at: now, occurrence: 0 };
    let event = source.vendor.normalizer().normalize(source.vendor.normalizer().example(), &context);
    Example {
        source: source.name.clone(),
        vendor: source.vendor_name,
        form: match form {
            EventForm::Normalized => "normalized",
            EventForm::Raw => "raw",
        },
        timestamp: event.timestamp.at,
        places: sink.config.example(&event),
    }
}
