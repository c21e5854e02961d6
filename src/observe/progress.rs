//! Progress: what has been collected and delivered so far, drawn in place on a terminal, a plain line elsewhere.
//!
//! ```text
//! journal.stats() --every half second--> events, rates, what is behind --+--> terminal: a row a source and sink, a bar
//! survey()          --every two seconds--> time that is still to be read --+    for each source that backfills or catches up
//!                                                                          +--> elsewhere: a log line every ten seconds
//! ```

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::screen::Screen;
use super::stretch::{Course, Survey, courses_due};
use crate::clock::SharedClock;
use crate::journal::{JournalStats, LogReader, SinkStats, SourceStats};
use crate::time::Timestamp;
use crate::units::{ByteSize, Span};

const REDRAW: Duration = Duration::from_millis(500);
const PLAIN_LINE: Duration = Duration::from_secs(10);
/// How often it is looked up how much time is still to be read.
const SURVEY: Duration = Duration::from_secs(2);
/// The plain line names so many sources that backfill or catch up.
const NAMED_IN_LINE: usize = 3;

/// Shows progress until `stop` is cancelled. Troubles of reading the journal are left to those who work with it.
pub async fn show(journal: Arc<dyn LogReader>, clock: SharedClock, survey: Survey, stop: CancellationToken) {
    let progress =
        Progress { journal, clock, survey, rates: Rates::default(), courses: BTreeMap::new(), surveyed: None };
    if std::io::stderr().is_terminal() {
        progress.draw(stop).await;
    } else {
        progress.log_lines(stop).await;
    }
}

/// What is known from one look to the next.
struct Progress {
    journal: Arc<dyn LogReader>,
    clock: SharedClock,
    survey: Survey,
    rates: Rates,
    /// How far each source has come, by name.
    courses: BTreeMap<String, Course>,
    surveyed: Option<Instant>,
}

impl Progress {
    async fn draw(mut self, stop: CancellationToken) {
        let mut screen = Screen::default();
        let mut ticks = tokio::time::interval(REDRAW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while next(&mut ticks, &stop).await {
            let Some(summary) = self.look().await else { continue };
            screen.show(&summary, &self.rates, &self.courses, self.clock.now());
        }
        screen.clear();
    }

    async fn log_lines(mut self, stop: CancellationToken) {
        // The first line already tells a rate: that since the beginning.
        self.look().await;
        let mut ticks = tokio::time::interval_at(Instant::now() + PLAIN_LINE, PLAIN_LINE);
        while next(&mut ticks, &stop).await {
            let Some(summary) = self.look().await else { continue };
            tracing::info!("{}", line(&summary, &self.rates, &self.courses));
        }
    }

    async fn look(&mut self) -> Option<JournalStats> {
        let summary = self.journal.stats().await.ok()?;
        let now = Instant::now();
        self.rates.update(&summary, now);
        for source in &summary.sources {
            self.courses.entry(source.name.clone()).or_default().count(source.events, now);
        }
        if self.surveyed.is_none_or(|at| now.duration_since(at) >= SURVEY) {
            self.surveyed = Some(now);
            self.survey_again(&summary, now).await;
        }
        Some(summary)
    }

    async fn survey_again(&mut self, summary: &JournalStats, now: Instant) {
        let due = courses_due(&self.courses, summary, self.clock.now());
        if due.is_empty() {
            return;
        }
        let (survey, names) = (Arc::clone(&self.survey), due.clone());
        let Ok(stretches) = tokio::task::spawn_blocking(move || survey(&names)).await else { return };
        for name in due {
            let stretch = stretches.iter().find(|(source, _)| *source == name).map(|(_, stretch)| *stretch);
            self.courses.entry(name).or_default().go_on(stretch, now);
        }
    }
}

async fn next(ticks: &mut tokio::time::Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        _ = ticks.tick() => true,
    }
}

/// Events a second, smoothed over some seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, u64, u64)>,
    pub(super) collected: f64,
    pub(super) delivered: f64,
}

impl Rates {
    fn update(&mut self, summary: &JournalStats, now: Instant) {
        let (collected, delivered) = (collected(summary), delivered(summary));
        if let Some((then, collected_then, delivered_then)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let weight = (seconds / 3.0).min(1.0);
            let blend = |old: f64, count: u64| old + weight * (count as f64 / seconds - old);
            self.collected = blend(self.collected, collected.saturating_sub(collected_then));
            self.delivered = blend(self.delivered, delivered.saturating_sub(delivered_then));
        }
        self.last = Some((now, collected, delivered));
    }
}

fn collected(summary: &JournalStats) -> u64 {
    summary.sources.iter().map(|source| source.events).sum()
}

fn delivered(summary: &JournalStats) -> u64 {
    summary.sinks.iter().filter(|sink| sink.active).map(|sink| sink.delivered).sum()
}

fn line(summary: &JournalStats, rates: &Rates, courses: &BTreeMap<String, Course>) -> String {
    let mut line = format!("collected {} events ({:.0}/s)", count(collected(summary)), rates.collected);
    for sink in summary.sinks.iter().filter(|sink| sink.active) {
        line += &format!(
            "; {}: {} delivered, {} behind",
            sink.name,
            count(sink.delivered),
            count(summary.head.saturating_sub(sink.position))
        );
    }
    let under_way: Vec<_> = courses.iter().filter_map(|(name, course)| Some((name, course.told()?))).collect();
    for (name, told) in under_way.iter().take(NAMED_IN_LINE) {
        line += &format!("; {name}: {told}");
    }
    if under_way.len() > NAMED_IN_LINE {
        line += &format!("; {} more sources backfill or catch up", under_way.len() - NAMED_IN_LINE);
    }
    for (name, last_error) in troubles(summary) {
        line += &format!("; {name}: {last_error}");
    }
    line
}

fn troubles(summary: &JournalStats) -> Vec<(&str, &str)> {
    let of_sources = summary.sources.iter().map(|source| (source.name.as_str(), source.last_error.as_ref()));
    let of_sinks =
        summary.sinks.iter().filter(|sink| sink.active).map(|sink| (sink.name.as_str(), sink.last_error.as_ref()));
    of_sources.chain(of_sinks).filter_map(|(name, last_error)| Some((name, last_error?.message.as_str()))).collect()
}

/// What is told of a source beside its name.
pub(super) fn source_row(source: &SourceStats, course: &Course, now: Timestamp) -> String {
    if let Some(last_error) = &source.last_error {
        return format!("{:>12} events  ! {}", count(source.events), last_error.message);
    }
    if course.share().is_some() {
        let left = course.time_left().map(|left| format!(", {} left", Span(whole_seconds(left)))).unwrap_or_default();
        return format!("{:>12} events, {:.0}/s{left}", count(source.events), course.events_per_second());
    }
    let state = match source.covered_to {
        Some(covered_to) => format!("covered to {} ago", Span(whole_seconds(now.since(covered_to)))),
        None => "first pages".to_owned(),
    };
    format!("{:>12} events {:>8} pages  {state}", count(source.events), count(source.pages))
}

/// What is told of a sink beside its name.
pub(super) fn sink_row(sink: &SinkStats, head: u64) -> String {
    let state = match &sink.last_error {
        Some(last_error) => format!("! {}", last_error.message),
        None => format!("{} behind", count(head.saturating_sub(sink.position))),
    };
    format!("{:>12} delivered {:>11}  {state}", count(sink.delivered), ByteSize(sink.bytes).to_string())
}

pub(super) fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// A number with thousands set apart: `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::stretch::Stretch;
    use super::*;
    use crate::journal::LastError;

    fn summary() -> JournalStats {
        JournalStats {
            sources: vec![SourceStats {
                name: "acme".into(),
                vendor: "clumio".into(),
                events: 1_234,
                raw_bytes: 1,
                pages: 13,
                requests: 14,
                covered_to: Some(Timestamp::from_secs(100)),
                open_windows: 0,
                last_error: None,
            }],
            sinks: vec![SinkStats {
                name: "out".into(),
                active: true,
                position: 1_000,
                delivered: 1_000,
                filtered: 0,
                dead_lettered: 0,
                bytes: 2_048,
                redelivered: 0,
                last_error: None,
            }],
            head: 1_234,
            oldest: 1,
            bytes: 0,
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }

    #[test]
    fn the_plain_line_tells_what_is_behind_and_what_is_wrong() {
        let mut summary = summary();
        let rates = Rates::default();
        assert_eq!(
            line(&summary, &rates, &BTreeMap::new()),
            "collected 1,234 events (0/s); out: 1,000 delivered, 234 behind"
        );
        summary.sources[0].last_error =
            Some(LastError { message: "clumio answered 401".into(), hint: String::new(), since: Timestamp::EPOCH });
        assert!(line(&summary, &rates, &BTreeMap::new()).ends_with("; acme: clumio answered 401"));
    }

    #[test]
    fn rows_say_how_far_the_coverage_reaches() {
        let summary = summary();
        let row = source_row(&summary.sources[0], &Course::default(), Timestamp::from_secs(190));
        assert!(row.contains("1,234 events") && row.contains("covered to 1m30s ago"), "{row}");
        let row = sink_row(&summary.sinks[0], summary.head);
        assert!(row.contains("234 behind") && row.contains("2 KiB"), "{row}");
    }

    #[test]
    fn what_is_under_way_has_its_speed_and_the_time_left() {
        let start = Instant::now();
        let mut course = Course::default();
        for (second, missing, events) in [(0, 1_000, 0), (10, 900, 5_000), (20, 800, 10_000)] {
            let now = start + Duration::from_secs(second);
            course.count(events, now);
            course.go_on(Some(Stretch::backfill(Duration::from_secs(missing), Duration::from_secs(2_000))), now);
        }
        let mut summary = summary();
        let row = source_row(&summary.sources[0], &course, Timestamp::from_secs(190));
        assert_eq!(row.trim(), "1,234 events, 500/s, 1m20s left");
        let courses = BTreeMap::from([("acme".to_owned(), course)]);
        let told = line(&summary, &Rates::default(), &courses);
        assert!(told.ends_with("234 behind; acme: backfill 60 %, 1m20s left"), "{told}");
        summary.sources[0].last_error =
            Some(LastError { message: "clumio answered 401".into(), hint: String::new(), since: Timestamp::EPOCH });
        let row = source_row(&summary.sources[0], &courses["acme"], Timestamp::from_secs(190));
        assert!(row.ends_with("! clumio answered 401"), "{row}");
    }
}
