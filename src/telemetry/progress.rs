//! The progress of a run: drawn in place on a terminal, a log line (`event=progress`) elsewhere.
//!
//! ```text
//! journal.summary()   --every 0.5 s--> events, rates, events not yet delivered --+--> terminal: one row per source and sink, a
//! backlog reader      --every 2 s----> time that is still to be read ------------+    bar for each source with a backlog
//!                                                                                +--> elsewhere: a log line every 10 s
//! ```

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::eta::{BacklogReader, Rates, SourceProgress, collected, delivered, sources_to_read};
use super::screen::Screen;
use crate::clock::SharedClock;
use crate::format::count;
use crate::journal::{JournalStats, LogReader, SinkStats, SourceStats};

const REDRAW_INTERVAL: Duration = Duration::from_millis(500);
const LOG_INTERVAL: Duration = Duration::from_secs(10);
const BACKLOG_INTERVAL: Duration = Duration::from_secs(2);
/// The most sources with a backlog that a log line names.
const MAX_NAMED_SOURCES: usize = 3;

/// Shows the progress of a run with these journals until `stop` is cancelled. Errors of reading the journal are left to the components that use it.
pub(crate) async fn show(
    journals: Vec<Arc<dyn LogReader>>,
    clock: SharedClock,
    backlogs: BacklogReader,
    stop: CancellationToken,
    json: bool,
) {
    let progress =
        Progress { journals, clock, backlogs, rates: Rates::default(), sources: BTreeMap::new(), backlogs_read: None };
    if std::io::stderr().is_terminal() && !json {
        progress.draw(stop).await;
    } else {
        progress.log_lines(stop, json).await;
    }
}

/// What is kept from one update to the next.
struct Progress {
    journals: Vec<Arc<dyn LogReader>>,
    clock: SharedClock,
    backlogs: BacklogReader,
    rates: Rates,
    /// The progress of each source, by name.
    sources: BTreeMap<String, SourceProgress>,
    backlogs_read: Option<Instant>,
}

impl Progress {
    async fn draw(mut self, stop: CancellationToken) {
        let mut screen = Screen::default();
        let mut ticks = tokio::time::interval(REDRAW_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while next(&mut ticks, &stop).await {
            let Some(stats) = self.update().await else { continue };
            screen.show(&stats, &self.rates, &self.sources, self.clock.now());
        }
        screen.clear();
    }

    async fn log_lines(mut self, stop: CancellationToken, json: bool) {
        // Without this update the first line would have no rate.
        self.update().await;
        let mut ticks = tokio::time::interval_at(Instant::now() + LOG_INTERVAL, LOG_INTERVAL);
        while next(&mut ticks, &stop).await {
            let Some(stats) = self.update().await else { continue };
            let line = line(&stats, &self.rates, &self.sources);
            let (collected, delivered, journal_bytes) = (collected(&stats), delivered(&stats), stats.bytes);
            if !json {
                tracing::info!(event = "progress", collected, delivered, journal_bytes, "{line}");
                continue;
            }
            let sources = json_of(&stats.sources.iter().map(|source| self.source_fields(source)).collect::<Vec<_>>());
            let active = stats.sinks.iter().filter(|sink| sink.active);
            let sinks = json_of(&active.map(|sink| SinkFields::of(sink, stats.head)).collect::<Vec<_>>());
            tracing::info!(event = "progress", collected, delivered, journal_bytes, sources, sinks, "{line}");
        }
    }

    fn source_fields<'s>(&self, source: &'s SourceStats) -> SourceFields<'s> {
        let progress = self.sources.get(&source.name);
        let lag = source.covered_to.map(|to| self.clock.now().since(to).as_secs_f64());
        SourceFields {
            name: &source.name,
            events: source.events,
            staged: source.staged,
            pages: source.pages,
            requests: source.requests.total(),
            lag_seconds: lag,
            backlog_share: progress.and_then(SourceProgress::share),
            backlog_seconds: progress.and_then(SourceProgress::eta).map(|eta| eta.as_secs_f64()),
            error: source.last_error.as_ref().map(|error| error.message.as_str()),
        }
    }

    async fn update(&mut self) -> Option<JournalStats> {
        let mut journals = Vec::with_capacity(self.journals.len());
        for journal in &self.journals {
            journals.push(journal.stats().await.ok()?);
        }
        let stats = JournalStats::joined(journals);
        let now = Instant::now();
        self.rates.update(&stats, now);
        for source in &stats.sources {
            self.sources.entry(source.name.clone()).or_default().record_stats(source, now);
        }
        if self.backlogs_read.is_none_or(|at| now.duration_since(at) >= BACKLOG_INTERVAL) {
            self.backlogs_read = Some(now);
            self.read_backlogs(&stats, now).await;
        }
        Some(stats)
    }

    async fn read_backlogs(&mut self, stats: &JournalStats, now: Instant) {
        let names = sources_to_read(&self.sources, stats, self.clock.now());
        if names.is_empty() {
            return;
        }
        let (read, wanted) = (Arc::clone(&self.backlogs), names.clone());
        let Ok(backlogs) = tokio::task::spawn_blocking(move || read(&wanted)).await else { return };
        for name in names {
            let backlog = backlogs.iter().find(|(source, _)| *source == name).map(|(_, backlog)| *backlog);
            self.sources.entry(name).or_default().record_backlog(backlog, now);
        }
    }
}

/// What a progress line in JSON says of a source.
#[derive(Serialize)]
struct SourceFields<'s> {
    name: &'s str,
    events: u64,
    staged: u64,
    pages: u64,
    requests: u64,
    lag_seconds: Option<f64>,
    backlog_share: Option<f64>,
    backlog_seconds: Option<f64>,
    error: Option<&'s str>,
}

/// What it says of a sink.
#[derive(Serialize)]
struct SinkFields<'s> {
    name: &'s str,
    delivered: u64,
    behind: u64,
    filtered: u64,
    dead_lettered: u64,
    bytes: u64,
    error: Option<&'s str>,
}

impl<'s> SinkFields<'s> {
    fn of(sink: &'s SinkStats, head: u64) -> Self {
        Self {
            name: &sink.name,
            delivered: sink.delivered,
            behind: head.saturating_sub(sink.position),
            filtered: sink.filtered,
            dead_lettered: sink.dead_lettered,
            bytes: sink.bytes,
            error: sink.last_error.as_ref().map(|error| error.message.as_str()),
        }
    }
}

/// The log puts it into its line as it is.
fn json_of(fields: &impl Serialize) -> String {
    serde_json::to_string(fields).expect("strings and numbers only")
}

async fn next(ticks: &mut tokio::time::Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        _ = ticks.tick() => true,
    }
}

fn line(stats: &JournalStats, rates: &Rates, sources: &BTreeMap<String, SourceProgress>) -> String {
    let mut line = format!("collected {} events ({:.0}/s)", count(collected(stats)), rates.collected.per_second);
    for sink in stats.sinks.iter().filter(|sink| sink.active) {
        line += &format!(
            "; {}: {} delivered, {} behind",
            sink.name,
            count(sink.delivered),
            count(stats.head.saturating_sub(sink.position))
        );
    }
    let behind: Vec<_> = sources.iter().filter_map(|(name, source)| Some((name, source.summary()?))).collect();
    for (name, summary) in behind.iter().take(MAX_NAMED_SOURCES) {
        line += &format!("; {name}: {summary}");
    }
    if behind.len() > MAX_NAMED_SOURCES {
        line += &format!("; {} more sources with a backlog", behind.len() - MAX_NAMED_SOURCES);
    }
    for (name, message) in last_errors(stats) {
        line += &format!("; {name}: {message}");
    }
    line
}

fn last_errors(stats: &JournalStats) -> Vec<(&str, &str)> {
    let of_sources = stats.sources.iter().map(|source| (source.name.as_str(), source.last_error.as_ref()));
    let of_sinks =
        stats.sinks.iter().filter(|sink| sink.active).map(|sink| (sink.name.as_str(), sink.last_error.as_ref()));
    of_sources.chain(of_sinks).filter_map(|(name, last_error)| Some((name, last_error?.message.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::LastError;
    use crate::telemetry::eta::Backlog;
    use crate::telemetry::screen::fixture::stats;
    use crate::time::Timestamp;

    #[test]
    fn the_log_line_shows_what_is_behind_and_the_last_error() {
        let mut stats = stats();
        let rates = Rates::default();
        assert_eq!(
            line(&stats, &rates, &BTreeMap::new()),
            "collected 1,234 events (0/s); out: 1,000 delivered, 234 behind"
        );
        stats.sources[0].last_error =
            Some(LastError { message: "clumio answered 401".into(), hint: String::new(), since: Timestamp::EPOCH });
        assert!(line(&stats, &rates, &BTreeMap::new()).ends_with("; acme: clumio answered 401"));
    }

    #[test]
    fn the_log_line_shows_a_backlog() {
        let start = Instant::now();
        let mut source = SourceProgress::default();
        for (second, remaining) in [(0, 1_000), (10, 900), (20, 800)] {
            let (remaining, slice) = (Duration::from_secs(remaining), Duration::from_secs(100));
            let backlog = Backlog { remaining, is_backfill: true, slice, has_totals: false };
            let now = start + Duration::from_secs(second);
            source.record_stats(&SourceStats { pages: second, ..stats().sources.remove(0) }, now);
            source.record_backlog(Some(backlog), now);
        }
        let sources = BTreeMap::from([("acme".to_owned(), source)]);
        let text = line(&stats(), &Rates::default(), &sources);
        assert!(text.ends_with("234 behind; acme: backfill 20 %, 1m20s left"), "{text}");
    }
}
