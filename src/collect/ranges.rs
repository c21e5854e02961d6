//! Arithmetic on time ranges, for coverage and deduplication.

use std::time::Duration;

use crate::time::{TimeRange, Timestamp};

/// Sorts ranges, drops empty ones and joins those that overlap or touch.
pub(crate) fn merged(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable();
    let mut result: Vec<TimeRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match result.last_mut() {
            Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
            _ => result.push(range),
        }
    }
    result
}

/// The parts of `whole` that lie in none of `holes`, which must be merged.
pub(crate) fn without(whole: TimeRange, holes: &[TimeRange]) -> Vec<TimeRange> {
    let mut rest = Vec::new();
    let mut from = whole.from;
    for hole in holes {
        if hole.to <= from {
            continue;
        }
        if hole.from >= whole.to {
            break;
        }
        rest.push(TimeRange::new(from, hole.from));
        from = hole.to;
    }
    rest.push(TimeRange::new(from, whole.to));
    rest.retain(|range| !range.is_empty());
    rest
}

/// The part that two ranges have in common; may be empty.
pub(crate) fn intersection(one: TimeRange, other: TimeRange) -> TimeRange {
    TimeRange::new(one.from.max(other.from), one.to.min(other.to))
}

/// Whether `at` lies in a range.
pub(super) fn contains(range: TimeRange, at: Timestamp) -> bool {
    range.from <= at && at < range.to
}

/// The length of a range; zero if it is empty.
pub(crate) fn length(range: TimeRange) -> Duration {
    range.to.since(range.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: i64, to: i64) -> TimeRange {
        TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(to))
    }

    #[test]
    fn touching_ranges_become_one() {
        assert_eq!(merged(vec![range(5, 7), range(0, 2), range(2, 4), range(9, 9)]), [range(0, 4), range(5, 7)]);
    }

    #[test]
    fn what_is_left_of_a_range() {
        assert_eq!(without(range(0, 10), &[range(2, 4), range(6, 20)]), [range(0, 2), range(4, 6)]);
        assert_eq!(without(range(0, 10), &[]), [range(0, 10)]);
        assert_eq!(without(range(0, 10), &[range(0, 10)]), []);
        assert_eq!(without(range(3, 3), &[range(0, 1)]), []);
    }
}
