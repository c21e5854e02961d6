//! The two lanes of a source, and how faults hold them up.
//!
//! A fault that a live window meets holds up everything: it is the vendor, the network or the credentials. A fault that
//! only the past meets (a date that the API refuses, a window that times out) leaves live polls alone.

use std::time::Duration;

use tokio::time::Instant;

use super::planner::Lane;
use crate::journal::LastError;

/// So many failures in a row are a trouble that people should see.
const FAILURES_TO_MENTION: u32 = 3;

/// Both lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    live: State,
    past: State,
}

#[derive(Debug)]
struct State {
    retry_at: Instant,
    failures: u32,
    last_error: Option<LastError>,
    relieved_by: Relief,
}

/// What shows that a trouble is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relief {
    /// The next page that is read.
    Page,
    /// The next window that is complete.
    Window,
}

impl Lanes {
    /// Free of faults.
    pub(super) fn new(now: Instant) -> Self {
        let state = || State { retry_at: now, failures: 0, last_error: None, relieved_by: Relief::Page };
        Self { live: state(), past: state() }
    }

    /// From when the lane may go on.
    pub(super) fn ready_at(&self, lane: Lane) -> Instant {
        match lane {
            Lane::Live => self.live.retry_at,
            Lane::Past => self.past.retry_at.max(self.live.retry_at),
        }
    }

    /// Counts a failure; returns how many there were in a row.
    pub(super) fn failed(&mut self, lane: Lane) -> u32 {
        let state = self.state(lane);
        state.failures = state.failures.saturating_add(1);
        state.failures
    }

    /// Holds the lane up.
    pub(super) fn pause(&mut self, lane: Lane, now: Instant, wait: Duration) {
        self.state(lane).retry_at = now + wait;
    }

    /// Notes a trouble; returns whether it is another one than before.
    pub(super) fn troubled(&mut self, lane: Lane, last_error: LastError, relieved_by: Relief) -> bool {
        let state = self.state(lane);
        let same = state.last_error.as_ref().is_some_and(|known| known.message == last_error.message);
        if same {
            return false;
        }
        state.last_error = Some(last_error);
        state.relieved_by = relieved_by;
        true
    }

    /// A page was read, or a window is complete; returns whether that ends a trouble.
    pub(super) fn succeeded(&mut self, lane: Lane, what: Relief) -> bool {
        let state = self.state(lane);
        state.failures = 0;
        let over = what == state.relieved_by || what == Relief::Window;
        over && state.last_error.take().is_some()
    }

    /// The trouble to show, if any.
    pub(super) fn last_error(&self) -> Option<LastError> {
        self.live.last_error.clone().or_else(|| self.past.last_error.clone())
    }

    fn state(&mut self, lane: Lane) -> &mut State {
        match lane {
            Lane::Live => &mut self.live,
            Lane::Past => &mut self.past,
        }
    }
}

/// Whether so many failures in a row should be shown.
pub(super) fn worth_mentioning(failures: u32) -> bool {
    failures >= FAILURES_TO_MENTION
}
