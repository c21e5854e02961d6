//! `plan`: what `run` would request next and where it would write events. Sends no request and writes nothing.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::observation::{Observation, ReportHead, SourceView, TimeSpan, seconds, window_kind};
use super::text::{counted, of_seconds};
use crate::collect::{RedactedRequest, redacted_request};
use crate::deliver::Route;
use crate::forecast::{Assumption, Forecast, ForecastWindow, forecast, min_duration, next_poll};
use crate::format::count;
use crate::pipeline::{ValidatedPipeline, ValidatedSink, ValidatedSource};
use crate::sinks::EventForm;
use crate::time::{TimeRange, Timestamp};
use crate::units::Rate;
use crate::vendors::{PageRequest, ReadContext};

/// Number of windows shown per source.
const SHOWN: usize = 5;

/// What a run would do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanReport {
    /// What all reports begin with.
    #[serde(flatten)]
    pub head: ReportHead,
    /// Each source of the file, in its order.
    pub sources: Vec<SourceForecast>,
    /// Each sink of the file, in its order.
    pub sinks: Vec<SinkForecast>,
}

/// What a source would request.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceForecast {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: &'static str,
    /// Why it is not known what it would request: the journal of its shard was not read. Absent if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_known: Option<String>,
    /// The first windows, in the order in which they would be scanned.
    pub windows: Vec<WindowForecast>,
    /// The number of all windows.
    pub window_count: WindowCount,
    /// If no window is due: the earliest time of the next poll.
    pub next_poll_at: Option<Timestamp>,
    /// The first request.
    pub first_request: Option<RedactedRequest>,
    /// The rate limits, as the pipeline file writes them.
    pub rate_limit: Vec<String>,
    /// Whether some requests of the rate limit are reserved for polls during the backfill.
    #[serde(skip)]
    reserves_polls: bool,
    /// The backfill; `None` if there is none.
    pub backfill: Option<BackfillForecast>,
}

/// A window that would be scanned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WindowForecast {
    /// `live`, `backfill` or `recheck`.
    pub kind: &'static str,
    /// What it covers; empty for a recheck.
    pub covers: TimeSpan,
    /// What it requests, including the overlap.
    pub fetch_range: TimeSpan,
    /// Whether an earlier run has started it.
    pub in_progress: bool,
}

/// Number of windows until the present is covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowCount {
    /// Live windows.
    pub live: u64,
    /// Backfill windows.
    pub backfill: u64,
    /// Rechecks.
    pub recheck: u64,
    /// Whether there are more than were counted.
    pub more: bool,
}

/// The requests and the time that a backfill takes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BackfillForecast {
    /// The length of a slice, in seconds.
    pub slice_seconds: f64,
    /// Minimum number of requests: if there are no records, slices grow. Every page after a window's first is one more.
    pub min_requests: u64,
    /// Minimum time for these within the rate limit, in seconds.
    pub min_seconds: f64,
    /// Number of requests if each slice has one page of records.
    pub one_page_requests: u64,
    /// Minimum time for these within the rate limit, in seconds.
    pub one_page_seconds: f64,
}

/// Where a sink would write events.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkForecast {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// One example per source that it reads.
    pub examples: Vec<Example>,
}

/// Where an example event would be written.
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
    /// Whether a filter or a route drops it on the way.
    pub filtered: bool,
    /// The destination of one like it that is not dropped, as pairs such as `topic` and its name, or `path` and the file's path.
    pub destination: Vec<(&'static str, String)>,
}

impl PlanReport {
    /// What `run` would do after an observation.
    #[must_use]
    pub fn new(pipeline: &ValidatedPipeline, observation: &Observation) -> Self {
        Self {
            head: ReportHead::new(pipeline, observation),
            sources: pipeline.sources.iter().map(|plan| source_forecast(plan, observation)).collect(),
            sinks: pipeline.sinks.iter().map(|sink| sink_forecast(pipeline, sink, observation.at)).collect(),
        }
    }

    /// The plan for people: one block per source, then one per sink.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.head.text("plan");
        for source in &self.sources {
            text += &source_block(source);
        }
        for sink in &self.sinks {
            text += &sink_block(sink);
        }
        text + "\nNo request was sent and nothing was written.\n"
    }
}

fn source_forecast(plan: &ValidatedSource, observation: &Observation) -> SourceForecast {
    let (view, now) = (SourceView::new(plan, observation), observation.at);
    let state = view.state(now);
    let run = |assumption, show| forecast(plan.vendor.as_ref(), &view.settings, &state, now, assumption, show);
    let (one_page, min) = (run(Assumption::Records, SHOWN), run(Assumption::Empty, 0));
    let poll = if one_page.first.is_empty() { next_poll(&view.settings, &state, now) } else { None };
    let first = one_page.first.first().or(poll.as_ref().map(|(_, window)| window));
    let rates = &view.settings.spec.rate_limit;
    let rate_limit = rates.iter().map(ToString::to_string).collect();
    let not_known = observation.absence(plan);
    if not_known.is_some() {
        return SourceForecast {
            name: plan.name.clone(),
            vendor: plan.vendor_name,
            not_known,
            windows: Vec::new(),
            window_count: WindowCount { live: 0, backfill: 0, recheck: 0, more: false },
            next_poll_at: None,
            first_request: None,
            rate_limit,
            reserves_polls: false,
            backfill: None,
        };
    }
    SourceForecast {
        name: plan.name.clone(),
        vendor: plan.vendor_name,
        not_known,
        first_request: first.map(|window| first_request(plan, window)),
        next_poll_at: poll.as_ref().map(|(at, _)| *at),
        windows: one_page.first.iter().map(WindowForecast::from).collect(),
        window_count: WindowCount::from(&one_page),
        rate_limit,
        reserves_polls: one_page.backfill > 0 && rates.iter().any(|rate| rate.requests >= 10),
        backfill: (one_page.backfill > 0)
            .then(|| backfill_forecast(view.settings.spec.slice, rates, one_page.backfill, min.backfill)),
    }
}

fn backfill_forecast(slice: Duration, rates: &[Rate], one_page: u64, min: u64) -> BackfillForecast {
    BackfillForecast {
        slice_seconds: seconds(slice),
        min_requests: min,
        min_seconds: seconds(min_duration(rates, min)),
        one_page_requests: one_page,
        one_page_seconds: seconds(min_duration(rates, one_page)),
    }
}

fn first_request(plan: &ValidatedSource, window: &ForecastWindow) -> RedactedRequest {
    let fetch_range = window.window.fetch_range;
    let range = TimeRange { from: fetch_range.from, to: fetch_range.to };
    redacted_request(
        plan.vendor.as_ref(),
        &PageRequest { range, cursor: window.cursor.as_deref(), page_size: window.page_size },
    )
}

impl From<&ForecastWindow> for WindowForecast {
    fn from(ahead: &ForecastWindow) -> Self {
        let window = ahead.window;
        Self {
            kind: window_kind(window.kind),
            covers: window.covers.into(),
            fetch_range: window.fetch_range.into(),
            in_progress: ahead.open,
        }
    }
}

impl From<&Forecast> for WindowCount {
    fn from(ahead: &Forecast) -> Self {
        Self { live: ahead.live, backfill: ahead.backfill, recheck: ahead.rechecks, more: ahead.more }
    }
}

fn sink_forecast(pipeline: &ValidatedPipeline, sink: &ValidatedSink, now: Timestamp) -> SinkForecast {
    let sources: HashMap<_, _> = pipeline.sources.iter().map(|source| (&source.name, source)).collect();
    let examples = sink.routes.iter().filter_map(|route| {
        let source = sources.get(&route.source)?;
        Some(example(sink, source, route, now))
    });
    SinkForecast { name: sink.name.clone(), type_name: sink.config.type_name(), examples: examples.collect() }
}

fn example(sink: &ValidatedSink, source: &ValidatedSource, route: &Route, now: Timestamp) -> Example {
    let context = ReadContext { source: &source.name, observed_at: now, occurrence: 0 };
    let mut redacted_raw = String::new();
    let normalizer = source.vendor.normalizer();
    let mut event = normalizer.normalize(normalizer.example(), &context);
    route.redactions.for_preview().redactor(normalizer).apply(&mut event, &mut redacted_raw);
    Example {
        source: source.name.clone(),
        vendor: source.vendor_name,
        form: match route.form {
            EventForm::Normalized => "normalized",
            EventForm::Raw => "raw",
        },
        timestamp: event.timestamp,
        filtered: route.condition.as_ref().is_some_and(|condition| !condition.holds(&event)),
        destination: match source.shard {
            Some(shard) => sink.written.with_shard(&shard.to_string()).example(&event),
            None => sink.config.example(&event),
        },
    }
}

fn source_block(source: &SourceForecast) -> String {
    let mut text = format!("\nsource {} ({})\n", source.name, source.vendor);
    if let Some(reason) = &source.not_known {
        line(&mut text, "not known", reason);
        return text;
    }
    let counts = source.window_count;
    let total = counts.live + counts.backfill + counts.recheck;
    let hidden = total.saturating_sub(source.windows.len() as u64);
    let mut label = "next windows";
    for window in &source.windows {
        line(&mut text, std::mem::take(&mut label), &window_text(window));
    }
    if hidden > 0 {
        let or_more = if counts.more { " or" } else { "" };
        line(&mut text, label, &format!("... and {}{or_more} more", count(hidden)));
    }
    if let Some(at) = source.next_poll_at {
        line(&mut text, label, &format!("none is due; the next poll is at {} or later", at.with_digits(0)));
    }
    line(&mut text, "in total", &counts_text(counts));
    if let Some(request) = &source.first_request {
        request_lines(&mut text, request);
    }
    let reserve = if source.reserves_polls { "; a tenth is reserved for polls" } else { "" };
    line(&mut text, "rate limit", &format!("{}{reserve}", source.rate_limit.join(" and ")));
    if let Some(backfill) = &source.backfill {
        backfill_lines(&mut text, backfill);
    }
    text
}

fn line(text: &mut String, label: &str, value: &str) {
    // Writing into a String cannot fail.
    let _ = writeln!(text, "  {label:<13}  {value}");
}

fn window_text(window: &WindowForecast) -> String {
    let span = if window.kind == "recheck" { window.fetch_range } else { window.covers };
    let length = of_seconds(span.seconds);
    let state = if window.in_progress { "  (in progress)" } else { "" };
    format!("{:<8}  {} .. {}  {length}{state}", window.kind, span.from.with_digits(0), span.to.with_digits(0))
}

fn counts_text(count: WindowCount) -> String {
    let kinds = [(count.live, "live window"), (count.backfill, "backfill window"), (count.recheck, "recheck")];
    let parts: Vec<_> = kinds.into_iter().filter(|(number, _)| *number > 0).map(|(n, noun)| counted(n, noun)).collect();
    if parts.is_empty() { "no windows until then".to_owned() } else { parts.join(", ") }
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

fn backfill_lines(text: &mut String, backfill: &BackfillForecast) {
    let (min, one_page) = (backfill.min_requests, backfill.one_page_requests);
    let empty = if min == one_page { "" } else { " if there are no records: windows without records grow" };
    line(text, "backfill", &format!("at least {} and {}{empty}", counted(min, "request"), time(backfill.min_seconds)));
    let slice = of_seconds(backfill.slice_seconds);
    if min == one_page {
        line(text, "", &format!("each window is {slice} or shorter; every page after its first is one more request"));
        return;
    }
    let total = format!("{} and {}", counted(one_page, "request"), time(backfill.one_page_seconds));
    line(text, "", &format!("{total} if each slice of {slice} has one page; every further page is one more request"));
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { "less than a second".to_owned() } else { of_seconds(seconds) }
}

fn sink_block(sink: &SinkForecast) -> String {
    let mut text = format!("\nsink {} ({})\n", sink.name, sink.type_name);
    for example in &sink.examples {
        let destination: Vec<_> = example.destination.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let what = if example.form == "raw" { "a record" } else { "an event" };
        let goes = if example.filtered { "is dropped by a filter; one that is not goes to" } else { "goes to" };
        let _ = writeln!(
            text,
            "  {what} of {} at {} {goes} {}",
            example.source,
            example.timestamp.with_digits(0),
            destination.join(", ")
        );
    }
    text
}
