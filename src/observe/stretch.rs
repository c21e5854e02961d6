//! How far a source has come with a backfill, or with catching up after an outage, and how long it still takes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::progress::whole_seconds;
use crate::journal::JournalStats;
use crate::time::Timestamp;
use crate::units::Span;

/// Looks up how much time the named sources still have to read; blocks for a moment. Sources that keep up are left out.
pub type Survey = Arc<dyn Fn(&[String]) -> Vec<(String, Stretch)> + Send + Sync>;

/// A source whose newest covered time is older than this may have fallen behind.
const MAY_BE_BEHIND: Duration = Duration::from_secs(120);

/// Speeds are smoothed over so long a time.
const SMOOTHED_OVER: f64 = 10.0;

/// Time that a source still has to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    missing: Duration,
    /// All of a backfill; `None` when catching up, which is measured from where it began.
    whole: Option<Duration>,
}

impl Stretch {
    /// `missing` of the `whole` time that is to be covered.
    #[must_use]
    pub const fn backfill(missing: Duration, whole: Duration) -> Self {
        Self { missing, whole: Some(whole) }
    }

    /// Time that is still to be read.
    #[must_use]
    pub const fn missing(&self) -> Duration {
        self.missing
    }

    /// So much of the newest time is missing.
    #[must_use]
    pub const fn catch_up(missing: Duration) -> Self {
        Self { missing, whole: None }
    }
}

/// How far a source has come, from one look to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    stretch: Option<Stretch>,
    /// The most that was missing since this stretch began.
    greatest: Duration,
    missing: Speed,
    events: Speed,
    /// Whether it was looked at and nothing was under way.
    keeps_up: bool,
}

impl Course {
    /// So many events have been collected by now.
    pub(super) fn count(&mut self, events: u64, now: Instant) {
        self.events.note(events as f64, now);
    }

    /// So it stands now; `None` if it keeps up.
    pub(super) fn go_on(&mut self, stretch: Option<Stretch>, now: Instant) {
        self.keeps_up = stretch.is_none();
        let same = matches!((self.stretch, stretch), (Some(before), Some(now)) if before.whole.is_some() == now.whole.is_some());
        if !same {
            (self.greatest, self.missing) = (Duration::ZERO, Speed::default());
        }
        self.stretch = stretch;
        let Some(stretch) = stretch else { return };
        self.greatest = self.greatest.max(stretch.missing);
        self.missing.note(stretch.missing.as_secs_f64(), now);
    }

    /// How much of what is under way is done, 0 to 1; `None` if nothing is.
    pub(super) fn share(&self) -> Option<f64> {
        let stretch = self.stretch?;
        let whole = stretch.whole.unwrap_or(self.greatest).as_secs_f64();
        Some(if whole > 0.0 { (1.0 - stretch.missing.as_secs_f64() / whole).clamp(0.0, 1.0) } else { 1.0 })
    }

    /// How long the rest takes at the present speed, if there is one.
    pub(super) fn time_left(&self) -> Option<Duration> {
        let stretch = self.stretch?;
        let speed = -self.missing.per_second;
        (speed > 0.0)
            .then(|| Duration::try_from_secs_f64(stretch.missing.as_secs_f64() / speed).unwrap_or(Duration::MAX))
    }

    pub(super) fn events_per_second(&self) -> f64 {
        self.events.per_second.max(0.0)
    }

    /// `backfill 43 %, 3h left`; `None` if nothing is under way.
    pub(super) fn told(&self) -> Option<String> {
        let what = if self.stretch?.whole.is_some() { "backfill" } else { "catching up" };
        let percent = (self.share()? * 100.0).floor().min(99.0);
        let left = self.time_left().map(|left| format!(", {} left", Span(whole_seconds(left)))).unwrap_or_default();
        Some(format!("{what} {percent:.0} %{left}"))
    }
}

/// The sources that are worth a survey: those that are under way, and those that may have fallen behind. A thousand sources
/// that keep up cost nothing.
pub(super) fn courses_due(courses: &BTreeMap<String, Course>, summary: &JournalStats, now: Timestamp) -> Vec<String> {
    let due = summary.sources.iter().filter(|source| {
        let may_be_behind = source.covered_to.is_none_or(|to| now.since(to) > MAY_BE_BEHIND);
        may_be_behind || courses.get(&source.name).is_none_or(|course| !course.keeps_up)
    });
    due.map(|source| source.name.clone()).collect()
}

/// How fast a number changes, smoothed.
#[derive(Clone, Copy, Debug, Default)]
struct Speed {
    last: Option<(Instant, f64)>,
    measured: bool,
    per_second: f64,
}

impl Speed {
    fn note(&mut self, value: f64, now: Instant) {
        if let Some((then, before)) = self.last {
            let seconds = now.duration_since(then).as_secs_f64().max(0.001);
            let weight = if self.measured { (seconds / SMOOTHED_OVER).min(1.0) } else { 1.0 };
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
    fn catching_up_is_measured_from_where_it_began() {
        let start = Instant::now();
        let mut course = Course::default();
        assert_eq!(course.share(), None);
        course.go_on(Some(Stretch::catch_up(secs(3_600))), start);
        assert_eq!((course.share(), course.time_left()), (Some(0.0), None));
        course.go_on(Some(Stretch::catch_up(secs(900))), start + secs(27));
        assert_eq!((course.share(), course.time_left()), (Some(0.75), Some(secs(9))));
        assert_eq!(course.told().as_deref(), Some("catching up 75 %, 9s left"));
        course.go_on(None, start + secs(36));
        assert_eq!((course.share(), course.told()), (None, None));
        course.go_on(Some(Stretch::catch_up(secs(600))), start + secs(9_000));
        assert_eq!(course.share(), Some(0.0), "another outage begins anew");
    }

    #[test]
    fn a_source_that_stands_still_has_no_time_left_to_tell() {
        let start = Instant::now();
        let mut course = Course::default();
        for second in 0..3 {
            course.go_on(Some(Stretch::backfill(secs(500), secs(1_000))), start + secs(second));
        }
        assert_eq!(course.told().as_deref(), Some("backfill 50 %"));
    }
}
