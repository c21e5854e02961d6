//! Progress: what has been collected and delivered so far, drawn in place on a terminal, a plain line elsewhere.
//!
//! ```text
//! journal.summary() --every half second--> rows --> terminal: redrawn in place
//!                                               --> elsewhere: one log line every ten seconds
//! ```

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::logging::display;
use crate::clock::SharedClock;
use crate::journal::{Journal, JournalSummary, SinkSummary, SourceSummary};
use crate::time::Timestamp;
use crate::units::{ByteSize, Span};

const REDRAW: Duration = Duration::from_millis(500);
const PLAIN_LINE: Duration = Duration::from_secs(10);

/// Shows progress until `stop` is cancelled. Troubles of reading the journal are left to those who work with it.
pub async fn show(journal: Arc<dyn Journal>, clock: SharedClock, stop: CancellationToken) {
    if std::io::stderr().is_terminal() {
        draw(journal, clock, stop).await;
    } else {
        log_lines(journal, stop).await;
    }
}

async fn draw(journal: Arc<dyn Journal>, clock: SharedClock, stop: CancellationToken) {
    let bar = display().add(ProgressBar::new_spinner().with_style(plain_style()));
    let mut rates = Rates::default();
    let mut ticks = tokio::time::interval(REDRAW);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while next(&mut ticks, &stop).await {
        let Ok(summary) = journal.summary().await else { continue };
        rates.update(&summary, Instant::now());
        bar.set_message(rows(&summary, &rates, clock.now()).join("\n"));
        bar.tick();
    }
    bar.finish_and_clear();
}

async fn log_lines(journal: Arc<dyn Journal>, stop: CancellationToken) {
    let mut rates = Rates::default();
    let mut ticks = tokio::time::interval_at(Instant::now() + PLAIN_LINE, PLAIN_LINE);
    while next(&mut ticks, &stop).await {
        let Ok(summary) = journal.summary().await else { continue };
        rates.update(&summary, Instant::now());
        tracing::info!("{}", line(&summary, &rates));
    }
}

async fn next(ticks: &mut tokio::time::Interval, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = stop.cancelled() => false,
        _ = ticks.tick() => true,
    }
}

fn plain_style() -> ProgressStyle {
    ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// Events a second, smoothed over some seconds.
#[derive(Debug, Default)]
struct Rates {
    last: Option<(Instant, u64, u64)>,
    collected: f64,
    delivered: f64,
}

impl Rates {
    fn update(&mut self, summary: &JournalSummary, now: Instant) {
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

fn collected(summary: &JournalSummary) -> u64 {
    summary.sources.iter().map(|source| source.events).sum()
}

fn delivered(summary: &JournalSummary) -> u64 {
    summary.sinks.iter().filter(|sink| sink.active).map(|sink| sink.delivered).sum()
}

fn line(summary: &JournalSummary, rates: &Rates) -> String {
    let mut line = format!("collected {} events ({:.0}/s)", count(collected(summary)), rates.collected);
    for sink in summary.sinks.iter().filter(|sink| sink.active) {
        line += &format!(
            "; {}: {} delivered, {} behind",
            sink.name,
            count(sink.delivered),
            count(summary.head.saturating_sub(sink.position))
        );
    }
    for (name, trouble) in troubles(summary) {
        line += &format!("; {name}: {trouble}");
    }
    line
}

fn troubles(summary: &JournalSummary) -> Vec<(&str, &str)> {
    let of_sources = summary.sources.iter().map(|source| (source.name.as_str(), source.trouble.as_ref()));
    let of_sinks =
        summary.sinks.iter().filter(|sink| sink.active).map(|sink| (sink.name.as_str(), sink.trouble.as_ref()));
    of_sources.chain(of_sinks).filter_map(|(name, trouble)| Some((name, trouble?.message.as_str()))).collect()
}

fn rows(summary: &JournalSummary, rates: &Rates, now: Timestamp) -> Vec<String> {
    let mut rows =
        vec![format!("  collecting {:.0} events/s, delivering {:.0} events/s", rates.collected, rates.delivered)];
    rows.extend(summary.sources.iter().map(|source| source_row(source, now)));
    rows.extend(summary.sinks.iter().filter(|sink| sink.active).map(|sink| sink_row(sink, summary.head)));
    rows
}

fn source_row(source: &SourceSummary, now: Timestamp) -> String {
    let state = match (&source.trouble, source.covered_to) {
        (Some(trouble), _) => format!("! {}", trouble.message),
        (None, Some(covered_to)) => format!("covered to {} ago", Span(whole_seconds(now.since(covered_to)))),
        (None, None) => "first pages".to_owned(),
    };
    format!(
        "  source {:<20} {:>12} events {:>8} pages  {state}",
        source.name,
        count(source.events),
        count(source.pages)
    )
}

fn sink_row(sink: &SinkSummary, head: u64) -> String {
    let state = match &sink.trouble {
        Some(trouble) => format!("! {}", trouble.message),
        None => format!("{} behind", count(head.saturating_sub(sink.position))),
    };
    format!(
        "  sink   {:<20} {:>12} delivered {:>11}  {state}",
        sink.name,
        count(sink.delivered),
        ByteSize(sink.bytes).to_string()
    )
}

fn whole_seconds(duration: Duration) -> Duration {
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
    use super::*;
    use crate::journal::Trouble;

    fn summary() -> JournalSummary {
        JournalSummary {
            sources: vec![SourceSummary {
                name: "acme".into(),
                vendor: "clumio".into(),
                events: 1_234,
                raw_bytes: 1,
                pages: 13,
                requests: 14,
                covered_to: Some(Timestamp::from_secs(100)),
                open_windows: 0,
                trouble: None,
            }],
            sinks: vec![SinkSummary {
                name: "out".into(),
                active: true,
                position: 1_000,
                delivered: 1_000,
                filtered: 0,
                dead_lettered: 0,
                bytes: 2_048,
                trouble: None,
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
        assert_eq!(line(&summary, &rates), "collected 1,234 events (0/s); out: 1,000 delivered, 234 behind");
        summary.sources[0].trouble =
            Some(Trouble { message: "clumio answered 401".into(), hint: String::new(), since: Timestamp::EPOCH });
        assert!(line(&summary, &rates).ends_with("; acme: clumio answered 401"));
    }

    #[test]
    fn rows_say_how_far_the_coverage_reaches() {
        let rows = rows(&summary(), &Rates::default(), Timestamp::from_secs(190));
        assert!(rows[1].contains("acme") && rows[1].contains("covered to 1m30s ago"), "{rows:?}");
        assert!(rows[2].contains("234 behind") && rows[2].contains("2 KiB"), "{rows:?}");
    }
}
