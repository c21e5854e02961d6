//! What a source warns of while it runs, at most once an hour, and the share of the backfill between polls.

use std::time::Duration;

use tokio::time::Instant;

use super::ranges;
use super::rate::Priority;
use super::scheduler::{CLOCK_TOLERANCE, Work};
use crate::journal::{NewWindow, WindowKind};
use crate::vendors::ApiSpec;

/// A warning is repeated after this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(3_600);

/// Between live windows, backfill may read a page for so many pages of the last one.
const LIVE_PAGES_PER_BACKFILL_PAGE: u32 = 3;

/// Warns when the source's clock is behind what is covered already, and that cannot be given up.
#[derive(Debug, Default)]
pub(super) struct ClockMonitor {
    warned: HourlyWarning,
    warned_of_skew: HourlyWarning,
}

impl ClockMonitor {
    /// Warns if the vendor's clock is `behind` this machine's by more than the delay, at most once an hour.
    pub(super) fn check_skew(&mut self, behind: Duration, delay: Duration, at: Instant) -> bool {
        if behind <= delay + CLOCK_TOLERANCE || !self.warned_of_skew.is_due(at) {
            return false;
        }
        tracing::warn!(
            event = "vendor_clock_behind",
            behind_secs = behind.as_secs_f64(),
            delay_secs = delay.as_secs_f64(),
            hint = "check this machine's clock (NTP)",
            "the vendor's clock is behind this machine's: nothing is covered beyond the vendor's"
        );
        true
    }

    /// Whether it has warned within the last hour.
    pub(super) fn has_warned(&self, at: Instant) -> bool {
        self.warned.was_given(at)
    }

    /// Warns if the clock is `behind` the coverage, at most once an hour. Returns whether it warned.
    pub(super) fn check(&mut self, behind: Duration, at: Instant) -> bool {
        if behind <= CLOCK_TOLERANCE || !self.warned.is_due(at) {
            return false;
        }
        tracing::warn!(
            event = "clock_behind_coverage",
            behind_secs = behind.as_secs_f64(),
            hint = "set the clock; if it was ahead before, stop and run `auditflow state rewind` for this source",
            "the clock is behind the collected time: nothing new is read until it catches up, and later events may be missed"
        );
        true
    }
}

/// Gives backfill its share, and warns when polls take longer than their interval.
#[derive(Debug, Default)]
pub(super) struct PollMonitor {
    began: Option<Instant>,
    /// Pages of live windows since backfill had its share.
    live_pages: u32,
    /// Backfill pages to read before the next live window.
    owed: u32,
    warned: HourlyWarning,
}

impl PollMonitor {
    /// The order in which work is tried: live first, unless backfill is owed pages before the next live window: a third of
    /// those that the last one took. They may use the part of the request budget that is reserved for live polls.
    pub(super) fn order(&self, live: Option<Work>, backfill: Option<Work>) -> [(Priority, Priority, Option<Work>); 2] {
        let live_work = (Priority::Live, Priority::Live, live);
        if self.owed > 0 && matches!(live, Some(Work::Begin(_))) {
            return [(Priority::Backfill, Priority::Live, backfill), live_work];
        }
        [live_work, (Priority::Backfill, Priority::Backfill, backfill)]
    }

    /// A live window was opened.
    pub(super) fn live_began(&mut self, at: Instant) {
        self.began = Some(at);
        self.owed = 1;
        self.live_pages = 0;
    }

    /// A page of a window was requested.
    pub(super) fn page_requested(&mut self, kind: WindowKind) {
        if kind == WindowKind::Live {
            self.live_pages = self.live_pages.saturating_add(1);
            self.owed = (self.live_pages / LIVE_PAGES_PER_BACKFILL_PAGE).max(self.owed);
        } else {
            self.owed = self.owed.saturating_sub(1);
        }
    }

    /// A live window completed. Returns whether it warned: not of windows of a whole slice, which catch up.
    pub(super) fn live_completed(&mut self, window: &NewWindow, spec: &ApiSpec, at: Instant) -> bool {
        let Some(took) = self.began.take().map(|began| at.duration_since(began)) else { return false };
        let catches_up = ranges::length(window.covers) >= spec.slice;
        if took <= spec.poll_interval || catches_up || !self.warned.is_due(at) {
            return false;
        }
        tracing::warn!(
            event = "polls_exceed_interval",
            took_secs = took.as_secs_f64(),
            interval_secs = spec.poll_interval.as_secs_f64(),
            hint = "set a longer `poll_interval` or a shorter `overlap` for this source",
            "a poll took longer than poll_interval: backfill gets a quarter of the requests"
        );
        true
    }
}

/// Limits a warning to one an hour.
#[derive(Debug, Default)]
pub(super) struct HourlyWarning {
    warned_at: Option<Instant>,
}

impl HourlyWarning {
    /// Whether the warning may be given now; then it counts as given.
    pub(super) fn is_due(&mut self, at: Instant) -> bool {
        let due = !self.was_given(at);
        if due {
            self.warned_at = Some(at);
        }
        due
    }

    fn was_given(&self, at: Instant) -> bool {
        self.warned_at.is_some_and(|warned| at.duration_since(warned) < WARNING_INTERVAL)
    }
}
