//! How late events become visible at the vendor: counted for reports, and compared with what the overlap still catches.

use std::time::Duration;

use tokio::time::Instant;

use super::monitors::HourlyWarning;
use crate::journal::{LatenessCounts, NewWindow, WindowId, WindowKind};
use crate::time::Timestamp;
use crate::vendors::ApiSpec;

/// Monitors the lateness of one source's events.
#[derive(Debug)]
pub(super) struct LatenessMonitor {
    /// A poll that reads its window later than this after the window's start says nothing about lateness.
    timely: Duration,
    greatest: Duration,
    warned: HourlyWarning,
    polled_before: bool,
}

impl LatenessMonitor {
    /// For a source with this spec.
    pub(super) fn new(spec: &ApiSpec) -> Self {
        let timely = (spec.poll_interval + spec.delay) * 2;
        Self { timely, greatest: Duration::ZERO, warned: HourlyWarning::default(), polled_before: false }
    }

    /// Logs a completed window: backfill and the first poll for everybody, further polls with the lateness seen so far.
    pub(super) fn log_completed(&mut self, id: WindowId, window: &NewWindow, pages: u64, records: u64) {
        let (window, kind, from, to) = (id.0, window.kind, window.fetch_range.from, window.fetch_range.to);
        let first_poll = kind == WindowKind::Live && !std::mem::replace(&mut self.polled_before, true);
        if first_poll || kind == WindowKind::Backfill {
            tracing::info!(event = "window_completed", window, ?kind, %from, %to, pages, records, "window completed");
        } else {
            let max_lateness_secs = self.greatest.as_secs_f64();
            tracing::debug!(event = "window_completed", window, ?kind, %from, %to, pages, records, max_lateness_secs, "window completed");
        }
    }

    /// Adds to `counts` how late the new events of a page became visible, and warns about events that the overlap can
    /// miss. Only timely polls and rechecks tell: the age of what a backfill reads, or a poll after an outage, is not the
    /// vendor's lateness.
    pub(super) fn record_page(
        &mut self,
        window: &NewWindow,
        observed_at: Timestamp,
        new_times: &[Timestamp],
        overlap: Duration,
        is_covered: impl Fn(Timestamp) -> bool,
        counts: &mut LatenessCounts,
    ) {
        let timely = observed_at.since(window.covers.from) <= self.timely;
        if window.kind == WindowKind::Backfill || (window.kind == WindowKind::Live && !timely) {
            return;
        }
        for at in new_times {
            let covered = is_covered(*at);
            if covered || *at >= window.covers.from {
                counts.add(observed_at.since(*at));
            }
            if covered && let Some(late) = self.record(*at, observed_at, overlap, Instant::now()) {
                tracing::warn!(
                    event = "lateness_exceeds_overlap",
                    lateness_secs = late.as_secs_f64(),
                    overlap_secs = overlap.as_secs_f64(),
                    hint = "raise `overlap` or set it to `auto`; or raise `recheck_lookback`",
                    "events become visible later than the overlap covers"
                );
            }
        }
    }

    /// A new event of `timestamp` was read at `observed_at`, although its time was covered already. Returns how late it
    /// is if that is worth a warning now: later than the overlap covers, so the next such event may be missed.
    fn record(
        &mut self,
        timestamp: Timestamp,
        observed_at: Timestamp,
        overlap: Duration,
        now: Instant,
    ) -> Option<Duration> {
        let late = observed_at.since(timestamp);
        self.greatest = self.greatest.max(late);
        (late > overlap && self.warned.is_due(now)).then_some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_once_an_hour_about_events_that_the_overlap_hardly_catches() {
        let overlap = Duration::from_secs(60);
        let mut lateness = LatenessMonitor {
            timely: overlap,
            greatest: Duration::ZERO,
            warned: HourlyWarning::default(),
            polled_before: false,
        };
        let start = Instant::now();
        let observed = Timestamp::from_secs(10_000);
        let mut record = |late, after| {
            lateness.record(observed - Duration::from_secs(late), observed, overlap, start + Duration::from_secs(after))
        };
        assert_eq!(record(60, 0), None);
        assert_eq!(record(90, 1), Some(Duration::from_secs(90)));
        assert_eq!(record(95, 2), None);
        assert_eq!(record(70, 3_602), Some(Duration::from_secs(70)));
        assert_eq!(lateness.greatest, Duration::from_secs(95));
    }
}
