//! When the next batch closes: a pure decision on what is pending and what time it is.

use std::time::Duration;

use crate::journal::PendingBatch;
use crate::sinks::BatchOptions;
use crate::time::Timestamp;

/// How long events of other sources may lie before the position moves over them. Each move is a transaction of its own, so
/// it is not made for every page of a source that this sink does not read; but the journal cannot be trimmed before it.
const PASS_OVER_AFTER: Duration = Duration::from_secs(60);

/// What to do about what is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing is pending.
    Idle,
    /// The batch is closed: deliver it.
    Deliver,
    /// Only events of other sources: move the position over them.
    PassOver,
    /// Look again at this time, or when more is pending.
    WaitUntil(Timestamp),
}

/// Decides. `seen_since` is when something was first seen pending at this position; `draining` means that nothing more
/// will come, so that there is nothing to wait for.
pub(super) fn next(
    pending: &PendingBatch,
    options: &BatchOptions,
    seen_since: Timestamp,
    now: Timestamp,
    draining: bool,
) -> Next {
    if pending.last < pending.first {
        return Next::Idle;
    }
    let (action, due) = match pending.oldest_visible_at {
        Some(oldest) => (Next::Deliver, oldest + options.timeout),
        None => (Next::PassOver, seen_since + PASS_OVER_AFTER),
    };
    // A clock that was set back tells no age: then nothing is waited for.
    let clock_set_back = pending.oldest_visible_at.is_some_and(|oldest| oldest > now) || seen_since > now;
    if draining || clock_set_back || is_full(pending, options) || now >= due { action } else { Next::WaitUntil(due) }
}

fn is_full(pending: &PendingBatch, options: &BatchOptions) -> bool {
    let span = pending.last - pending.first + 1;
    let reached = match pending.oldest_visible_at {
        Some(_) => pending.events >= options.max_events || pending.raw_bytes >= options.max_bytes,
        None => span >= options.max_events,
    };
    pending.full || reached
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOON: Timestamp = Timestamp::from_secs(43_200);

    fn pending(span: u64, events: u64, age_secs: u64) -> PendingBatch {
        PendingBatch {
            first: 11,
            last: 10 + span,
            events,
            raw_bytes: events * 100,
            oldest_visible_at: (events > 0).then_some(NOON - Duration::from_secs(age_secs)),
            full: false,
        }
    }

    fn options() -> BatchOptions {
        BatchOptions { max_events: 50, max_bytes: 100_000, timeout: Duration::from_secs(30) }
    }

    #[test]
    fn a_clock_that_was_set_back_holds_nothing_up() {
        let mut pending = pending(3, 3, 0);
        pending.oldest_visible_at = Some(NOON + Duration::from_secs(3_600));
        assert_eq!(next(&pending, &options(), NOON, NOON, false), Next::Deliver);
    }

    #[test]
    fn a_batch_closes_at_the_first_limit() {
        let decide = |pending: &PendingBatch| next(pending, &options(), NOON, NOON, false);
        assert_eq!(decide(&pending(0, 0, 0)), Next::Idle);
        assert_eq!(decide(&pending(9, 5, 29)), Next::WaitUntil(NOON + Duration::from_secs(1)));
        assert_eq!(decide(&pending(9, 5, 30)), Next::Deliver);
        assert_eq!(decide(&pending(60, 50, 0)), Next::Deliver);
        assert_eq!(decide(&PendingBatch { raw_bytes: 100_000, ..pending(9, 5, 0) }), Next::Deliver);
        assert_eq!(decide(&PendingBatch { full: true, ..pending(9, 5, 0) }), Next::Deliver);
    }

    #[test]
    fn events_of_others_are_passed_over_lazily() {
        let since = |secs| next(&pending(9, 0, 0), &options(), NOON - Duration::from_secs(secs), NOON, false);
        assert_eq!(since(0), Next::WaitUntil(NOON + Duration::from_secs(60)));
        assert_eq!(since(60), Next::PassOver);
        assert_eq!(next(&pending(50, 0, 0), &options(), NOON, NOON, false), Next::PassOver);
    }

    proptest! {
        #[test]
        fn draining_never_waits(span in 0u64..100, events in 0u64..100, age in 0u64..100) {
            let pending = pending(span, events.min(span), age);
            let decided = next(&pending, &options(), NOON, NOON, true);
            let expected = match (span, events) { (0, _) => Next::Idle, (_, 0) => Next::PassOver, _ => Next::Deliver };
            prop_assert_eq!(decided, expected);
        }

        /// Waiting ends: at the time that was named, the same batch is decided on, and no event waits past its timeout.
        #[test]
        fn every_wait_ends_in_a_decision(span in 1u64..40, events in 0u64..40, age in 0u64..40, since in 0u64..70) {
            let pending = pending(span, events.min(span), age);
            let seen = NOON - Duration::from_secs(since);
            if let Next::WaitUntil(due) = next(&pending, &options(), seen, NOON, false) {
                prop_assert!(due > NOON);
                prop_assert!(pending.oldest_visible_at.is_none_or(|oldest| due == oldest + options().timeout));
                let decided = next(&pending, &options(), seen, due, false);
                prop_assert!(matches!(decided, Next::Deliver | Next::PassOver));
            }
        }
    }
}
