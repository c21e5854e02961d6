//! Rates and estimates: events per second, how far a source is with a backfill or with catching up after an outage, and how
//! long it still takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::format::whole_seconds;
use crate::journal::JournalStats;
use crate::time::Timestamp;
use crate::units::Span;

/// Reads the backlogs of the named sources; blocks for a moment. Sources without a backlog are left out.
pub(crate) type BacklogReader = Arc<dyn Fn(&[String]) -> Vec<(String, Backlog)> + Send + Sync>;

/// A source whose newest covered time is older than this may have a backlog.
const MAY_BE_BEHIND: Duration = Duration::from_secs(120);

/// The time constant of smoothed rates, in seconds.
const SMOOTHING_SECS: f64 = 10.0;

/// The time that a source still has to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backlog {
    remaining: Duration,
    /// The whole range of a backfill; `None` for catching up, which is measured from its start.
    total: Option<Duration>,
}

impl Backlog {
    /// A backfill of `total` time with `remaining` still to read.
    #[must_use]
    pub(crate) const fn backfill(remaining: Duration, total: Duration) -> Self {
        Self { remaining, total: Some(total) }
    }

    /// `remaining` time up to now after an outage.
    #[must_use]
    pub(crate) const fn catch_up(remaining: Duration) -> Self {
        Self { remaining, total: None }
    }

    /// The time that is still to be read.
    #[must_use]
    pub(crate) const fn remaining(&self) -> Duration {
        self.remaining
    }
}

/// The progress of one source over successive readings of its backlog.
#[derive(Clone, Debug, Default)]
pub(super) struct SourceProgress {
    backlog: Option<Backlog>,
    /// The largest remaining time since this backlog appeared.
    peak: Duration,
    remaining: SmoothedRate,
    events: SmoothedRate,
    /// Whether the last reading found no backlog.
    is_live: bool,
}

impl SourceProgress {
    /// Records the number of collected events.
    pub(super) fn record_events(&mut self, events: u64, now: Instant) {
        self.events.record(events as f64, now);
    }

    /// Records the backlog; `None` if the source has none.
    pub(super) fn record_backlog(&mut self, backlog: Option<Backlog>, now: Instant) {
        self.is_live = backlog.is_none();
        let same =
            matches!((self.backlog, backlog), (Some(old), Some(new)) if old.total.is_some() == new.total.is_some());
        if !same {
            (self.peak, self.remaining) = (Duration::ZERO, SmoothedRate::default());
        }
        self.backlog = backlog;
        let Some(backlog) = backlog else { return };
        self.peak = self.peak.max(backlog.remaining);
        self.remaining.record(backlog.remaining.as_secs_f64(), now);
    }

    /// The share of the backlog that is done, 0 to 1; `None` without a backlog.
    pub(super) fn share(&self) -> Option<f64> {
        let backlog = self.backlog?;
        let total = backlog.total.unwrap_or(self.peak).as_secs_f64();
        Some(if total > 0.0 { (1.0 - backlog.remaining.as_secs_f64() / total).clamp(0.0, 1.0) } else { 1.0 })
    }

    /// The estimated time to finish at the present rate, if there is one.
    pub(super) fn eta(&self) -> Option<Duration> {
        let backlog = self.backlog?;
        let rate = -self.remaining.per_second;
        (rate > 0.0)
            .then(|| Duration::try_from_secs_f64(backlog.remaining.as_secs_f64() / rate).unwrap_or(Duration::MAX))
    }

    pub(super) fn events_per_second(&self) -> f64 {
        self.events.per_second.max(0.0)
    }

    /// `backfill 43 %, 3h left`; `None` without a backlog.
    pub(super) fn summary(&self) -> Option<String> {
        let what = if self.backlog?.total.is_some() { "backfill" } else { "catching up" };
        let percent = (self.share()? * 100.0).floor().min(99.0);
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

/// Events per second, smoothed over some seconds.
#[derive(Debug, Default)]
pub(super) struct Rates {
    last: Option<(Instant, u64, u64)>,
    pub(super) collected: f64,
    pub(super) delivered: f64,
}

impl Rates {
    pub(super) fn update(&mut self, stats: &JournalStats, now: Instant) {
        let (collected, delivered) = (collected(stats), delivered(stats));
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

pub(super) fn collected(stats: &JournalStats) -> u64 {
    stats.sources.iter().map(|source| source.events).sum()
}

pub(super) fn delivered(stats: &JournalStats) -> u64 {
    stats.sinks.iter().filter(|sink| sink.active).map(|sink| sink.delivered).sum()
}

/// The smoothed rate of change of a number.
#[derive(Clone, Copy, Debug, Default)]
struct SmoothedRate {
    last: Option<(Instant, f64)>,
    measured: bool,
    per_second: f64,
}

impl SmoothedRate {
    fn record(&mut self, value: f64, now: Instant) {
        if let Some((then, before)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let weight = if self.measured { (seconds / SMOOTHING_SECS).min(1.0) } else { 1.0 };
            self.per_second += weight * ((value - before) / seconds - self.per_second);
            self.measured = true;
        }
        self.last = Some((now, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn catching_up_is_measured_from_its_start() {
        let start = Instant::now();
        let mut source = SourceProgress::default();
        assert_eq!(source.share(), None);
        source.record_backlog(Some(Backlog::catch_up(secs(3_600))), start);
        assert_eq!((source.share(), source.eta()), (Some(0.0), None));
        source.record_backlog(Some(Backlog::catch_up(secs(900))), start + secs(27));
        assert_eq!((source.share(), source.eta()), (Some(0.75), Some(secs(9))));
        assert_eq!(source.summary().as_deref(), Some("catching up 75 %, 9s left"));
        source.record_backlog(None, start + secs(36));
        assert_eq!((source.share(), source.summary()), (None, None));
        source.record_backlog(Some(Backlog::catch_up(secs(600))), start + secs(9_000));
        assert_eq!(source.share(), Some(0.0), "another outage starts at 0");
    }

    #[test]
    fn a_source_without_progress_has_no_eta() {
        let start = Instant::now();
        let mut source = SourceProgress::default();
        for second in 0..3 {
            source.record_backlog(Some(Backlog::backfill(secs(500), secs(1_000))), start + secs(second));
        }
        assert_eq!(source.summary().as_deref(), Some("backfill 50 %"));
    }
}
