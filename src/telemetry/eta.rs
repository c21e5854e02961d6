//! Rates and estimates: events per second, how far a source is with a backfill or with catching up after an outage, and how
//! long it still takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::format::{count, counted, whole_seconds};
use crate::journal::{JournalStats, SourceStats};
use crate::time::Timestamp;
use crate::units::Span;

/// Reads the backlogs of the named sources; blocks for a moment. Sources without a backlog are left out.
pub(crate) type BacklogReader = Arc<dyn Fn(&[String]) -> Vec<(String, Backlog)> + Send + Sync>;

/// A source whose newest covered time is older than this may have a backlog.
const MAY_BE_BEHIND: Duration = Duration::from_secs(120);

/// Windows with more slices per page than this are long because nothing is in them. They say nothing of the work that is left.
const SLICES_PER_PAGE: f64 = 2.0;

/// Nothing is estimated before this share is done.
const LEAST_SHARE: f64 = 0.02;

/// The time that a source still has to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Backlog {
    /// How much it is.
    pub(crate) remaining: Duration,
    /// Whether older time is read, and not the newest after an outage.
    pub(crate) is_backfill: bool,
    /// The longest time that a window covers, unless windows before it were empty.
    pub(crate) slice: Duration,
    /// Whether the vendor announces how many records the open windows have, so that `remaining` shrinks page by page.
    pub(crate) has_totals: bool,
}

impl Backlog {
    fn slices(&self) -> f64 {
        self.remaining.as_secs_f64() / self.slice.as_secs_f64().max(1.0)
    }
}

/// The progress of one source over successive readings of its backlog. Measured is the work: time that passes quickly because
/// nothing is in it does not count, and nothing is claimed of a window of which nobody knows how many pages it has.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceProgress {
    /// The last reading.
    last: Option<Reading>,
    /// The reading at which the work began that is measured.
    begin: Option<Reading>,
    records: u64,
    pages: u64,
    rate: Rate,
    /// Whether the last reading found no backlog.
    is_live: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reading {
    backlog: Backlog,
    pages: u64,
    at: Instant,
}

impl SourceProgress {
    /// Records the counters of the source.
    pub(super) fn record_stats(&mut self, source: &SourceStats, now: Instant) {
        (self.records, self.pages) = (source.events + source.staged, source.pages);
        self.rate.record(self.records, now);
    }

    /// Records the backlog; `None` if the source has none.
    pub(super) fn record_backlog(&mut self, backlog: Option<Backlog>, now: Instant) {
        self.is_live = backlog.is_none();
        let reading = backlog.map(|backlog| Reading { backlog, pages: self.pages, at: now });
        let before = std::mem::replace(&mut self.last, reading);
        let (Some(before), Some(reading)) = (before, reading) else {
            self.begin = None;
            return;
        };
        let passed = before.backlog.slices() - reading.backlog.slices();
        let pages = reading.pages.saturating_sub(before.pages) as f64;
        let is_empty = passed > pages * SLICES_PER_PAGE;
        let is_other = before.backlog.is_backfill != reading.backlog.is_backfill || passed < -0.5;
        if is_empty || is_other {
            self.begin = None;
        } else if pages > 0.0 {
            self.begin.get_or_insert(before);
        }
    }

    /// The share of the work that is done, 0 to 1; `None` without a backlog, and while it is not known.
    pub(super) fn share(&self) -> Option<f64> {
        let (begin, last) = (self.begin?, self.last?);
        let (all, left) = (begin.backlog.slices(), last.backlog.slices());
        let is_known = all - left >= 1.0 || last.backlog.has_totals;
        let share = (1.0 - left / all).clamp(0.0, 1.0);
        (is_known && share >= LEAST_SHARE).then_some(share)
    }

    /// The estimated time to finish, at the pace since the work began.
    pub(super) fn eta(&self) -> Option<Duration> {
        let share = self.share()?;
        let elapsed = self.last?.at.duration_since(self.begin?.at);
        Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 - share) / share).ok()
    }

    /// Records per second, those of open windows included.
    pub(super) fn records_per_second(&self) -> f64 {
        self.rate.per_second
    }

    /// Whether a backlog is being read.
    pub(super) fn has_backlog(&self) -> bool {
        self.last.is_some()
    }

    /// `backfill 43 %, 3h left`, or `backfill, 1,200 records so far` while the work is not known; `None` without a backlog.
    pub(super) fn summary(&self) -> Option<String> {
        let what = if self.last?.backlog.is_backfill { "backfill" } else { "catching up" };
        let Some(share) = self.share() else {
            return Some(format!("{what}, {} records in {} so far", count(self.records), counted(self.pages, "page")));
        };
        let percent = (share * 100.0 + 1e-6).floor().min(99.0);
        let left = self.eta().map(|left| format!(", {} left", Span(whole_seconds(left)))).unwrap_or_default();
        Some(format!("{what} {percent:.0} %{left}"))
    }
}

/// The sources whose backlog is worth reading: those with a backlog, and those that may have one. Live sources cost nothing.
pub(super) fn sources_to_read(
    progress: &BTreeMap<String, SourceProgress>,
    stats: &JournalStats,
    now: Timestamp,
) -> Vec<String> {
    let due = stats.sources.iter().filter(|source| {
        let may_be_behind = source.covered_to.is_none_or(|to| now.since(to) > MAY_BE_BEHIND);
        may_be_behind || progress.get(&source.name).is_none_or(|progress| !progress.is_live)
    });
    due.map(|source| source.name.clone()).collect()
}

/// Records per second of all sources, and events per second of all sinks.
#[derive(Debug, Default)]
pub(super) struct Rates {
    pub(super) collected: Rate,
    pub(super) delivered: Rate,
}

impl Rates {
    pub(super) fn update(&mut self, stats: &JournalStats, now: Instant) {
        self.collected.record(stats.sources.iter().map(|source| source.events + source.staged).sum(), now);
        self.delivered.record(delivered(stats), now);
    }
}

pub(super) fn collected(stats: &JournalStats) -> u64 {
    stats.sources.iter().map(|source| source.events).sum()
}

pub(super) fn delivered(stats: &JournalStats) -> u64 {
    stats.sinks.iter().filter(|sink| sink.active).map(|sink| sink.delivered).sum()
}

/// How fast a counter grows, smoothed over some seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rate {
    last: Option<(Instant, u64)>,
    pub(super) per_second: f64,
}

impl Rate {
    fn record(&mut self, counter: u64, now: Instant) {
        if let Some((then, before)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let weight = (seconds / 3.0).min(1.0);
            self.per_second += weight * (counter.saturating_sub(before) as f64 / seconds - self.per_second);
        }
        self.last = Some((now, counter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::screen::fixture::stats;

    const HOUR: u64 = 3_600;

    /// A source with slices of an hour, read second by second: the hours that are left, and the pages read so far.
    fn progress(has_totals: bool, readings: &[(f64, u64)]) -> SourceProgress {
        let start = Instant::now();
        let mut progress = SourceProgress::default();
        for (second, (hours, pages)) in (0..).zip(readings) {
            let now = start + Duration::from_secs(second);
            let source = SourceStats { pages: *pages, events: 0, staged: pages * 100, ..stats().sources.remove(0) };
            progress.record_stats(&source, now);
            let (remaining, slice) = (Duration::from_secs(HOUR).mul_f64(*hours), Duration::from_secs(HOUR));
            let backlog = Backlog { remaining, is_backfill: true, slice, has_totals };
            progress.record_backlog((*hours > 0.0).then_some(backlog), now);
        }
        progress
    }

    fn summary(has_totals: bool, readings: &[(f64, u64)]) -> String {
        progress(has_totals, readings).summary().unwrap_or_default()
    }

    #[test]
    fn empty_time_is_not_work() {
        let empty = [(500_000.0, 1), (400_000.0, 10), (50.0, 60)];
        assert_eq!(summary(false, &empty), "backfill, 6,000 records in 60 pages so far");
        let then = [(500_000.0, 1), (50.0, 60), (49.0, 64), (48.0, 68), (40.0, 100)];
        assert_eq!(summary(false, &then), "backfill 20 %, 12s left");
    }

    #[test]
    fn nothing_is_claimed_of_a_window_that_may_have_any_number_of_pages() {
        let open = [(0.9, 1), (0.9, 10), (0.9, 90)];
        assert_eq!(summary(false, &open), "backfill, 9,000 records in 90 pages so far");
        let announced = [(0.9, 1), (0.6, 10), (0.3, 20)];
        assert_eq!(summary(true, &announced), "backfill 66 %, 1s left");
    }

    #[test]
    fn records_of_an_open_window_count_at_once() {
        let progress = progress(false, &[(0.9, 1), (0.9, 10), (0.9, 20)]);
        assert!(progress.records_per_second() > 100.0, "{progress:?}");
    }

    #[test]
    fn another_backlog_starts_at_nothing() {
        let readings = [(10.0, 1), (5.0, 10), (0.0, 20), (9.0, 21), (8.9, 22)];
        assert_eq!(summary(false, &readings), "backfill, 2,200 records in 22 pages so far");
        assert_eq!(summary(false, &readings[..3]), "");
    }
}
