//! How long to wait before the next attempt: full jitter, so that sinks that failed together do not return together.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Waits that grow from one second to a minute at most, each drawn between nothing and its bound.
#[derive(Debug)]
pub(super) struct Backoff {
    rng: fastrand::Rng,
    bound: Duration,
}

impl Backoff {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), bound: FIRST }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let wait = self.bound.mul_f64(self.rng.f64());
        self.bound = (self.bound * 2).min(LONGEST);
        wait
    }

    /// An attempt succeeded.
    pub(super) fn reset(&mut self) {
        self.bound = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_minute_and_begin_anew() {
        let mut backoff = Backoff::new(7);
        for bound in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            assert_eq!(backoff.bound, Duration::from_secs(bound));
            assert!(backoff.next() <= Duration::from_secs(bound));
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let waits = |seed| {
            std::iter::repeat_with({
                let mut backoff = Backoff::new(seed);
                move || backoff.next()
            })
            .take(5)
            .collect::<Vec<_>>()
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }
}
