//! Progress on a terminal: one row per source and sink, redrawn in place, with a bar for each source with a backlog.

use std::collections::BTreeMap;

use indicatif::{ProgressBar, ProgressStyle};

use super::eta::{Rates, SourceProgress};
use super::logging::display;
use crate::format::{count, counted, printable, whole_seconds};
use crate::journal::{JournalStats, SinkStats, SourceStats};
use crate::time::Timestamp;
use crate::units::{ByteSize, Span};

/// The most rows that are drawn.
const MAX_ROWS: usize = 24;

/// The steps of a bar.
const STEPS: u64 = 1_000;

const PLAIN: &str = "  {prefix:27!} {wide_msg}";
const BAR: &str = "  {prefix:27!} {bar:20} {percent:>3} % {wide_msg}";

/// The rows that are drawn.
#[derive(Default)]
pub(super) struct Screen {
    rows: Vec<Row>,
}

struct Row {
    bar: ProgressBar,
    has_bar: bool,
}

impl Screen {
    /// Draws the rows.
    pub(super) fn show(
        &mut self,
        stats: &JournalStats,
        rates: &Rates,
        sources: &BTreeMap<String, SourceProgress>,
        now: Timestamp,
    ) {
        let mut lines = vec![Line::plain("", heading(rates))];
        let idle = SourceProgress::default();
        lines.extend(stats.sources.iter().map(|source| {
            let progress = sources.get(&source.name).unwrap_or(&idle);
            let share = progress.share().filter(|_| source.last_error.is_none());
            Line { name: format!("source {}", source.name), share, message: source_row(source, progress, now) }
        }));
        let active = stats.sinks.iter().filter(|sink: &&SinkStats| sink.active);
        lines.extend(active.map(|sink| Line::plain(&format!("sink   {}", sink.name), sink_row(sink, stats.head))));
        self.draw(truncated(lines));
    }

    fn draw(&mut self, lines: Vec<Line>) {
        while self.rows.len() < lines.len() {
            let bar = display().add(ProgressBar::new(STEPS).with_style(style(PLAIN)));
            self.rows.push(Row { bar, has_bar: false });
        }
        for (row, line) in self.rows.iter_mut().zip(lines) {
            row.draw(&line);
        }
    }

    /// Removes all rows.
    pub(super) fn clear(&self) {
        self.rows.iter().for_each(|row| row.bar.finish_and_clear());
    }
}

impl Row {
    fn draw(&mut self, line: &Line) {
        if self.has_bar != line.share.is_some() {
            self.has_bar = line.share.is_some();
            self.bar.set_style(style(if self.has_bar { BAR } else { PLAIN }));
        }
        self.bar.set_prefix(printable(&line.name).into_owned());
        self.bar.set_message(printable(&line.message).into_owned());
        self.bar.set_position(line.share.map_or(0, steps));
        self.bar.tick();
    }
}

/// The contents of one row.
struct Line {
    name: String,
    share: Option<f64>,
    message: String,
}

impl Line {
    fn plain(name: &str, message: String) -> Self {
        Self { name: name.to_owned(), share: None, message }
    }
}

fn heading(rates: &Rates) -> String {
    format!(
        "collecting {:.0} events/s, delivering {:.0} events/s",
        rates.collected.per_second, rates.delivered.per_second
    )
}

/// At most [`MAX_ROWS`] lines; sources with a backlog come first.
fn truncated(mut lines: Vec<Line>) -> Vec<Line> {
    let hidden = lines.len().saturating_sub(MAX_ROWS);
    if hidden == 0 {
        return lines;
    }
    let rest = lines.split_off(1);
    let (with_backlog, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|line| line.share.is_some());
    lines.extend(with_backlog.into_iter().chain(others).take(MAX_ROWS - 2));
    lines.push(Line::plain("", format!("and {} more; `auditflow status` shows all", hidden + 1)));
    lines
}

/// The position of a bar. Only a finished bar would be full, so it stays one step below.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of steps")]
fn steps(share: f64) -> u64 {
    ((share.clamp(0.0, 1.0) * STEPS as f64) as u64).min(STEPS - 1)
}

fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.progress_chars("=> ")
}

/// The row of a source, without its name.
fn source_row(source: &SourceStats, progress: &SourceProgress, now: Timestamp) -> String {
    if let Some(last_error) = &source.last_error {
        return format!("{:>12} events  ! {}", count(source.events), last_error.message);
    }
    if progress.share().is_none() && progress.has_backlog() {
        let (read, rate) = (count(source.events + source.staged), progress.records_per_second());
        return format!("{read:>12} events, {rate:.0}/s, {} so far", counted(source.pages, "page"));
    }
    if progress.share().is_some() {
        let left = progress.eta().map(|left| format!(", {} left", Span(whole_seconds(left)))).unwrap_or_default();
        return format!(
            "{:>12} events, {:.0}/s{left}",
            count(source.events + source.staged),
            progress.records_per_second()
        );
    }
    let state = match source.covered_to {
        Some(covered_to) => format!("covered to {} ago", Span(whole_seconds(now.since(covered_to)))),
        None => "first pages".to_owned(),
    };
    format!("{:>12} events {:>8} pages  {state}", count(source.events), count(source.pages))
}

/// The row of a sink, without its name.
fn sink_row(sink: &SinkStats, head: u64) -> String {
    let state = match &sink.last_error {
        Some(last_error) => format!("! {}", last_error.message),
        None => format!("{} behind", count(head.saturating_sub(sink.position))),
    };
    format!("{:>12} delivered {:>11}  {state}", count(sink.delivered), ByteSize(sink.bytes).to_string())
}

/// The statistics that the tests of progress and screen share.
#[cfg(test)]
pub(super) mod fixture {
    use crate::journal::{JournalStats, RequestCounts, SinkStats, SourceStats};
    use crate::time::Timestamp;

    pub(in crate::telemetry) fn stats() -> JournalStats {
        JournalStats {
            sources: vec![SourceStats {
                name: "acme".into(),
                vendor: "clumio".into(),
                events: 1_234,
                raw_bytes: 1,
                pages: 13,
                requests: RequestCounts::succeeded(14),
                covered_to: Some(Timestamp::from_secs(100)),
                open_windows: 0,
                staged: 0,
                normalize_errors: 0,
                unmapped_actions: 0,
                normalize_error_at: None,
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
                skipped: 0,
                delivered_at: None,
                state: None,
                last_error: None,
            }],
            head: 1_234,
            oldest: 1,
            bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::fixture::stats;
    use super::*;
    use crate::journal::LastError;
    use crate::telemetry::eta::Backlog;

    #[test]
    fn the_templates_are_valid() {
        for template in [PLAIN, BAR] {
            ProgressStyle::with_template(template).expect(template);
        }
    }

    #[test]
    fn many_rows_are_cut_and_sources_with_a_backlog_stay() {
        let mut lines = vec![Line::plain("", "heading".to_owned())];
        lines.extend((0..100).map(|number| Line::plain(&format!("source {number}"), String::new())));
        lines[90].share = Some(0.5);
        let truncated = truncated(lines);
        assert_eq!(truncated.len(), MAX_ROWS);
        assert_eq!((truncated[0].message.as_str(), truncated[1].name.as_str()), ("heading", "source 89"));
        assert_eq!(truncated[MAX_ROWS - 1].message, "and 78 more; `auditflow status` shows all");
    }

    #[test]
    fn an_unfinished_bar_is_not_full() {
        assert_eq!([0.0, 0.5, 0.99999, 1.0].map(steps), [0, 500, 999, 999]);
    }

    #[test]
    fn rows_show_the_end_of_coverage() {
        let stats = stats();
        let row = source_row(&stats.sources[0], &SourceProgress::default(), Timestamp::from_secs(190));
        assert!(row.contains("1,234 events") && row.contains("covered to 1m30s ago"), "{row}");
        let row = sink_row(&stats.sinks[0], stats.head);
        assert!(row.contains("234 behind") && row.contains("2 KiB"), "{row}");
    }

    #[test]
    fn a_source_with_a_backlog_shows_its_rate_and_eta() {
        let start = Instant::now();
        let mut source = SourceProgress::default();
        for (second, remaining, events) in [(0, 1_000, 0), (10, 900, 5_000), (20, 800, 10_000)] {
            let now = start + Duration::from_secs(second);
            source.record_stats(&SourceStats { events, pages: events / 100, ..stats().sources.remove(0) }, now);
            let (remaining, slice) = (Duration::from_secs(remaining), Duration::from_secs(100));
            let backlog = Backlog { remaining, is_backfill: true, slice, has_totals: false };
            source.record_backlog(Some(backlog), now);
        }
        let mut stats = stats();
        let row = source_row(&stats.sources[0], &source, Timestamp::from_secs(190));
        assert_eq!(row.trim(), "1,234 events, 500/s, 1m20s left");
        stats.sources[0].last_error =
            Some(LastError { message: "clumio answered 401".into(), hint: String::new(), since: Timestamp::EPOCH });
        let row = source_row(&stats.sources[0], &source, Timestamp::from_secs(190));
        assert!(row.ends_with("! clumio answered 401"), "{row}");
    }
}
