//! How late events become visible at a vendor, as a histogram that yields quantiles.
//!
//! ```text
//! below 8 ms   one bucket per millisecond
//! from 8 ms    eight buckets per doubling: a quantile is at most an eighth too large
//! ```
//!
//! A few dozen numbers per source and day, small enough to be committed with a page.

use std::collections::BTreeMap;
use std::time::Duration;

/// Buckets per doubling of the lateness.
const STEPS: u64 = 8;

/// How many events were how late.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LatenessCounts(BTreeMap<u32, u64>);

impl LatenessCounts {
    /// Counts an event that was read this long after it happened.
    pub fn add(&mut self, late: Duration) {
        let millis = u64::try_from(late.as_millis()).unwrap_or(u64::MAX);
        self.add_to_bucket(bucket_of(millis), 1);
    }

    /// Number of events counted.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.0.values().sum()
    }

    /// The lateness that the given share (0 to 1) of the events does not exceed, at most an eighth too large; `None` if
    /// no event was counted.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = self.events() as f64 * share.clamp(0.0, 1.0);
        let mut passed = 0;
        let reached = self.0.iter().find(|(_, events)| {
            passed += **events;
            passed as f64 >= wanted
        });
        reached.map(|(bucket, _)| Duration::from_millis(end_of(*bucket)))
    }

    /// Adds events to a bucket.
    pub(super) fn add_to_bucket(&mut self, bucket: u32, events: u64) {
        *self.0.entry(bucket).or_default() += events;
    }

    /// The buckets that are not empty, each with its number of events.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u32, u64)> {
        self.0.iter().map(|(bucket, events)| (*bucket, *events))
    }
}

fn bucket_of(millis: u64) -> u32 {
    let bucket = if millis < STEPS {
        millis
    } else {
        let doublings = u64::from(millis.ilog2());
        (doublings - 2) * STEPS + ((millis >> (doublings - 3)) & (STEPS - 1))
    };
    // At most 62 doublings of 8 steps.
    u32::try_from(bucket).unwrap_or(u32::MAX)
}

/// The first millisecond above a bucket.
fn end_of(bucket: u32) -> u64 {
    let (doublings, step) = (u64::from(bucket) / STEPS, u64::from(bucket) % STEPS);
    if doublings == 0 {
        return step + 1;
    }
    let end = u128::from(STEPS + step + 1) << (doublings - 1).min(61);
    u64::try_from(end).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_bucket_ends_at_most_an_eighth_above_its_values(millis in 0..u64::MAX / 2) {
            let end = end_of(bucket_of(millis));
            prop_assert!(end > millis);
            prop_assert!(end - millis <= millis / STEPS + 1, "{millis} is reported as {end}");
        }
    }

    #[test]
    fn quantiles_of_many_prompt_events_and_few_late_ones() {
        let mut counts = LatenessCounts::default();
        assert_eq!(counts.quantile(0.5), None);
        (0..95).for_each(|_| counts.add(Duration::from_secs(10)));
        (0..5).for_each(|_| counts.add(Duration::from_secs(600)));
        assert_eq!(counts.events(), 100);
        let seconds = |share| counts.quantile(share).expect("counted").as_secs_f64();
        assert!((10.0..=11.25).contains(&seconds(0.5)), "{}", seconds(0.5));
        assert!((10.0..=11.25).contains(&seconds(0.95)), "{}", seconds(0.95));
        assert!((600.0..=675.0).contains(&seconds(0.99)), "{}", seconds(0.99));
    }

    #[test]
    fn the_longest_lateness_does_not_overflow() {
        let mut counts = LatenessCounts::default();
        counts.add(Duration::MAX);
        assert!(counts.quantile(1.0).expect("counted") > Duration::from_secs(1 << 50));
    }
}
