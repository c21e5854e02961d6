//! Arithmetic on spans of time: what is left of a span when others are taken out of it.

use std::time::Duration;

use crate::time::{TimeRange, Timestamp};

/// Sorts spans, drops empty ones and joins those that overlap or touch.
pub(super) fn merged(mut ranges: Vec<TimeRange>) -> Vec<TimeRange> {
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
pub(super) fn without(whole: TimeRange, holes: &[TimeRange]) -> Vec<TimeRange> {
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

/// The part that two spans have in common; may be empty.
pub(super) fn common(one: TimeRange, other: TimeRange) -> TimeRange {
    TimeRange::new(one.from.max(other.from), one.to.min(other.to))
}

/// Whether a moment lies in a span.
pub(super) fn holds(range: TimeRange, at: Timestamp) -> bool {
    range.from <= at && at < range.to
}

/// How long a span is; zero if it is empty.
pub(super) fn length(range: TimeRange) -> Duration {
    range.to.since(range.from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from: i64, to: i64) -> TimeRange {
        TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(to))
    }

    #[test]
    fn touching_spans_become_one() {
        assert_eq!(merged(vec![span(5, 7), span(0, 2), span(2, 4), span(9, 9)]), [span(0, 4), span(5, 7)]);
    }

    #[test]
    fn what_is_left_of_a_span() {
        assert_eq!(without(span(0, 10), &[span(2, 4), span(6, 20)]), [span(0, 2), span(4, 6)]);
        assert_eq!(without(span(0, 10), &[]), [span(0, 10)]);
        assert_eq!(without(span(0, 10), &[span(0, 10)]), []);
        assert_eq!(without(span(3, 3), &[span(0, 1)]), []);
    }
}
