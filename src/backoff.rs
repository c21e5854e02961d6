//! How long to wait between attempts: exponential backoff with full jitter, drawn from a seeded generator.
//!
//! Only the loops of sources and sinks retry. This module computes their waits and never sleeps.

use std::time::Duration;

/// Upper bound of the first wait; each further bound is twice the one before.
const FIRST: Duration = Duration::from_secs(1);
/// A wait that a vendor asks for is limited to this, so that a wrong header cannot pause a source for days.
const LONGEST_REQUESTED: Duration = Duration::from_secs(15 * 60);

/// Computes waits. Each is drawn between zero and its bound, so that many clients do not return at the same moment.
#[derive(Debug)]
pub(crate) struct Backoff {
    rng: fastrand::Rng,
    longest: Duration,
    failures: u32,
}

impl Backoff {
    /// The same seed gives the same waits. No bound exceeds `longest`.
    pub(crate) fn new(seed: u64, longest: Duration) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), longest, failures: 0 }
    }

    /// Counts a failure and returns the wait after it.
    pub(crate) fn next(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.after_failure(self.failures)
    }

    /// An attempt succeeded: [`Backoff::next`] counts from the beginning.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The wait after the `failures`-th failure in a row, for callers that count themselves.
    pub(crate) fn after_failure(&mut self, failures: u32) -> Duration {
        self.bound(FIRST, failures).mul_f64(self.rng.f64())
    }

    /// The wait after the `failures`-th rate limit error in a row that names no wait: at least `least`, at most a bound
    /// that doubles.
    pub(crate) fn after_rate_limit(&mut self, failures: u32, least: Duration) -> Duration {
        let most = self.bound(least, failures.saturating_add(1));
        least + most.saturating_sub(least).mul_f64(self.rng.f64())
    }

    /// The wait that a vendor asks for, and up to a second more.
    pub(crate) fn as_requested(&mut self, requested: Duration) -> Duration {
        requested.min(LONGEST_REQUESTED) + FIRST.mul_f64(self.rng.f64())
    }

    fn bound(&self, first: Duration, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(120);

    #[test]
    fn waits_grow_to_a_bound_and_never_end() {
        let mut backoff = Backoff::new(7, LONGEST);
        for failures in [1, 2, 5, 40, u32::MAX] {
            assert!(backoff.after_failure(failures) <= backoff.bound(FIRST, failures));
        }
        assert_eq!(backoff.bound(FIRST, 3), Duration::from_secs(4));
        assert_eq!(backoff.bound(FIRST, u32::MAX), LONGEST);
    }

    #[test]
    fn counted_waits_grow_to_a_minute_and_start_over_after_a_reset() {
        let mut backoff = Backoff::new(7, Duration::from_secs(60));
        for bound in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert!(backoff.next() <= Duration::from_secs(bound));
            assert_eq!(backoff.bound(FIRST, backoff.failures), Duration::from_secs(bound));
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            let mut backoff = Backoff::new(seed, LONGEST);
            std::iter::repeat_with(move || backoff.next()).take(5).collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    #[test]
    fn a_rate_limit_without_a_wait_is_waited_out_for_at_least_the_given_time() {
        let mut backoff = Backoff::new(7, LONGEST);
        for (least, failures, most) in
            [(1, 1, 2), (1, 4, 16), (1, u32::MAX, 120), (60, 1, 120), (60, 9, 120), (500, 3, 500)]
        {
            let wait = backoff.after_rate_limit(failures, Duration::from_secs(least));
            assert!((Duration::from_secs(least)..=Duration::from_secs(most)).contains(&wait), "{wait:?}");
        }
    }

    #[test]
    fn a_requested_wait_is_kept_up_to_fifteen_minutes() {
        let mut backoff = Backoff::new(7, LONGEST);
        assert!((40..=41).contains(&backoff.as_requested(Duration::from_secs(40)).as_secs()));
        assert!(backoff.as_requested(Duration::from_secs(86_400)) <= LONGEST_REQUESTED + FIRST);
    }
}
