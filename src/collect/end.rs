//! Where collecting ends, with `end_time` or a run that ends. Pure.

use std::time::Duration;

use crate::time::Timestamp;
use crate::vendors::ApiSpec;

/// With `end_time`, this much before it is left to the last window.
pub(super) const LAST_PART: Duration = Duration::from_secs(1);

/// Where collecting ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) at: Timestamp,
    /// What is left to the last window begins here.
    pub(super) last_part: Timestamp,
    /// When the last window can be opened.
    pub(super) readable_at: Timestamp,
}

impl End {
    /// With `end_time`, the last overlap is read until every record that is late by less than that has been read. A run
    /// that ends before that leaves the last part to the next one.
    pub(super) fn of(configured: Option<Timestamp>, spec: &ApiSpec, until: Option<Timestamp>) -> Option<Self> {
        let (delay, overlap) = (spec.delay, spec.overlap);
        let at_once = |at: Timestamp| Self { at, last_part: at, readable_at: at + delay };
        let configured = configured.map(|at| match overlap > delay {
            true => Self { at, last_part: at - LAST_PART, readable_at: at + overlap },
            false => at_once(at),
        });
        let Some(until) = until else { return configured };
        match configured {
            Some(end) => Some(at_once(end.wanted(until + delay, delay))),
            None => Some(at_once(until)),
        }
    }

    /// Up to where time is wanted at `now`: the last part a little more with each poll.
    pub(super) fn wanted(&self, now: Timestamp, delay: Duration) -> Timestamp {
        let readable = now - delay;
        if now >= self.readable_at || readable <= self.last_part {
            return self.at.min(readable);
        }
        let (waited, whole) = (readable.since(self.last_part), self.readable_at.since(self.last_part + delay));
        let share = waited.as_secs_f64() / whole.as_secs_f64();
        self.last_part + self.at.since(self.last_part).mul_f64(share.min(1.0))
    }
}
