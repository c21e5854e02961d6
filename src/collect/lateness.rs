//! How late events become visible at the vendor: counted for people, and compared with what the overlap can still catch.

use std::time::Duration;

use tokio::time::Instant;

use super::pages::Fetched;
use super::source::Collector;
use crate::journal::{WindowId, WindowKind};
use crate::time::Timestamp;
use crate::units::Span;

/// One warning a source in this time.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(3_600);

/// Watches the lateness of one source's events.
#[derive(Debug)]
pub(super) struct Lateness {
    overlap: Duration,
    greatest: Duration,
    warned_at: Option<Instant>,
}

impl Lateness {
    /// For a source with this overlap.
    pub(super) fn new(overlap: Duration) -> Self {
        Self { overlap, greatest: Duration::ZERO, warned_at: None }
    }

    /// A new event of `timestamp` was read at `observed_at`, although its time had been covered already. Tells how late
    /// it is if that is worth a warning now: later than the overlap covers, so the next of its kind may be missed.
    pub(super) fn note(&mut self, timestamp: Timestamp, observed_at: Timestamp, now: Instant) -> Option<Duration> {
        let late = observed_at.since(timestamp);
        self.greatest = self.greatest.max(late);
        let silent = self.warned_at.is_some_and(|at| now.duration_since(at) < BETWEEN_WARNINGS);
        if late <= self.overlap || silent {
            return None;
        }
        self.warned_at = Some(now);
        Some(late)
    }

    /// The greatest lateness met since the start.
    pub(super) fn greatest(&self) -> Duration {
        self.greatest
    }
}

impl Collector {
    /// Counts how late the new events of a page became visible. Only what is read in time tells that: the age of what a
    /// backfill reads, or a poll after an outage, is our own doing.
    pub(super) fn note_lateness(&mut self, id: WindowId, page: &Fetched, new_times: &[Timestamp]) {
        let Some(walk) = self.walks.get_mut(&id) else { return };
        let (window, spec) = (walk.window, &self.settings.spec);
        let on_time = page.observed_at.since(window.covers.from) <= (spec.poll_interval + spec.delay) * 2;
        if window.kind == WindowKind::Backfill || (window.kind == WindowKind::Live && !on_time) {
            return;
        }
        for at in new_times {
            let missed = self.planner.covers(*at);
            if missed || *at >= window.covers.from {
                walk.lateness.add(page.observed_at.since(*at));
            }
            if missed && let Some(late) = self.lateness.note(*at, page.observed_at, Instant::now()) {
                tracing::warn!(
                    late = %Span(late), overlap = %Span(spec.overlap),
                    "events become visible later than the overlap covers; raise `overlap` (or `recheck_lookback`) of this source"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warns_once_an_hour_of_events_that_the_overlap_hardly_catches() {
        let mut lateness = Lateness::new(Duration::from_secs(60));
        let start = Instant::now();
        let observed = Timestamp::from_secs(10_000);
        let mut note = |late, after| {
            lateness.note(observed - Duration::from_secs(late), observed, start + Duration::from_secs(after))
        };
        assert_eq!(note(60, 0), None);
        assert_eq!(note(90, 1), Some(Duration::from_secs(90)));
        assert_eq!(note(95, 2), None);
        assert_eq!(note(70, 3_602), Some(Duration::from_secs(70)));
        assert_eq!(lateness.greatest(), Duration::from_secs(95));
    }
}
