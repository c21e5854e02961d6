//! How fresh a source is, by the clock of events and by that of the vendor. The third clock, delivery, is a sink's.
//!
//! ```text
//!   newest event                    covered_to                        now
//!   -----|--- read, really empty ------|--- in doubt ---|--- not read --|
//! ```
//!
//! A quiet vendor and a vendor that was not read look alike in the events. Only the coverage tells them apart.

use serde::Serialize;

use super::observation::{SourceView, seconds};
use super::text::of_seconds;
use crate::collect::ranges;
use crate::forecast::Phase;
use crate::journal::CoverageState;
use crate::time::{TimeRange, Timestamp};

/// What is known of the time since a source's newest event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SinceNewestEvent {
    /// Read, and every check agrees that there is no event, in seconds.
    pub empty_seconds: f64,
    /// Read, but in doubt, in seconds.
    pub in_doubt_seconds: f64,
    /// Rejected by the vendor, in seconds.
    pub unreadable_seconds: f64,
    /// Not read to the end, in seconds.
    pub not_read_seconds: f64,
}

impl SinceNewestEvent {
    /// Of the time up to `now` (up to `end_time` if all is collected), or of all wanted time if there was no event; `None` if
    /// the source never ran.
    pub(super) fn new(view: &SourceView<'_>, now: Timestamp) -> Option<Self> {
        let snapshot = view.snapshot?;
        let wanted = view.progress.wanted;
        let end = if view.progress.phase == Phase::Done { wanted.to } else { now };
        let time = TimeRange::new(snapshot.newest_event_at.unwrap_or(wanted.from), end);
        let doubtful = |state: CoverageState| {
            let doubts = snapshot.state.in_doubt.iter().filter(move |doubtful| doubtful.state == state);
            length_within(time, doubts.map(|doubtful| doubtful.range))
        };
        let empty_seconds = length_within(time, view.progress.covered.iter().copied());
        let (in_doubt_seconds, unreadable_seconds) =
            (doubtful(CoverageState::InDoubt), doubtful(CoverageState::Unreadable));
        let not_read = seconds(ranges::length(time)) - empty_seconds - in_doubt_seconds - unreadable_seconds;
        let not_read_seconds = (not_read.max(0.0) * 1_000.0).round() / 1_000.0;
        Some(Self { empty_seconds, in_doubt_seconds, unreadable_seconds, not_read_seconds })
    }

    /// For people: `1h read and empty, 2m in doubt, 40s not read`.
    pub(super) fn text(&self) -> String {
        let in_doubt = self.in_doubt_seconds + self.unreadable_seconds;
        let parts = [(self.empty_seconds, "empty"), (in_doubt, "in doubt"), (self.not_read_seconds, "not read")];
        let parts = parts.into_iter().filter(|(seconds, _)| *seconds >= 1.0);
        let parts: Vec<_> = parts.map(|(seconds, state)| format!("{} {state}", of_seconds(seconds))).collect();
        if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
    }
}

fn length_within(time: TimeRange, of: impl Iterator<Item = TimeRange>) -> f64 {
    seconds(of.map(|range| ranges::length(ranges::intersection(range, time))).sum())
}
