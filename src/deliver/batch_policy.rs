//! When the next batch closes: a pure decision from the pending events and the current time.

use std::time::Duration;

use crate::journal::{PendingBatch, Seq};
use crate::sinks::BatchOptions;
use crate::time::Timestamp;

/// How long events of other sources are pending before the position moves past them. Each move is a transaction, so it is
/// not made for every page of a source that this sink does not read; but the journal cannot be trimmed before the move.
const SKIP_AFTER: Duration = Duration::from_secs(60);

/// What to do with the pending events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing is pending.
    Idle,
    /// The batch is closed: deliver it.
    Deliver,
    /// Only events of other sources: move the position past them.
    Skip,
    /// Check again at this time, or when more events are pending.
    WaitUntil(Timestamp),
}

/// Decides. `seen_since` is when events were first seen pending at this position; `draining` means that no more events will
/// arrive, so there is nothing to wait for.
pub(super) fn decide(
    pending: &PendingBatch,
    options: &BatchOptions,
    seen_since: Timestamp,
    now: Timestamp,
    draining: bool,
) -> Decision {
    if pending.last < pending.first {
        return Decision::Idle;
    }
    let (action, due) = match pending.oldest_visible_at {
        Some(oldest) => (Decision::Deliver, oldest + options.timeout),
        None => (Decision::Skip, seen_since + SKIP_AFTER),
    };
    // A clock that was set back gives no age: then do not wait.
    let clock_set_back = pending.oldest_visible_at.is_some_and(|oldest| oldest > now) || seen_since > now;
    if draining || clock_set_back || is_full(pending, options) || now >= due {
        action
    } else {
        Decision::WaitUntil(due)
    }
}

fn is_full(pending: &PendingBatch, options: &BatchOptions) -> bool {
    let span = pending.last - pending.first + 1;
    let reached = match pending.oldest_visible_at {
        Some(_) => pending.events >= options.max_events || pending.raw_bytes >= options.max_bytes,
        None => span >= options.max_events,
    };
    pending.full || reached
}

/// The limits of the next batch. The events that the target already stores as delivered (up to `sink_position`) are one
/// batch, so that the sink compares its end before the position moves.
pub(super) fn limits(configured: BatchOptions, sink_position: Seq, position: Seq) -> BatchOptions {
    if sink_position <= position {
        return configured;
    }
    let all = i64::MAX.unsigned_abs();
    BatchOptions { max_events: all, max_bytes: all, ..configured }
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
    fn a_clock_that_was_set_back_does_not_delay() {
        let mut pending = pending(3, 3, 0);
        pending.oldest_visible_at = Some(NOON + Duration::from_secs(3_600));
        assert_eq!(decide(&pending, &options(), NOON, NOON, false), Decision::Deliver);
    }

    #[test]
    fn a_batch_closes_at_the_first_limit() {
        let of = |pending: &PendingBatch| decide(pending, &options(), NOON, NOON, false);
        assert_eq!(of(&pending(0, 0, 0)), Decision::Idle);
        assert_eq!(of(&pending(9, 5, 29)), Decision::WaitUntil(NOON + Duration::from_secs(1)));
        assert_eq!(of(&pending(9, 5, 30)), Decision::Deliver);
        assert_eq!(of(&pending(60, 50, 0)), Decision::Deliver);
        assert_eq!(of(&PendingBatch { raw_bytes: 100_000, ..pending(9, 5, 0) }), Decision::Deliver);
        assert_eq!(of(&PendingBatch { full: true, ..pending(9, 5, 0) }), Decision::Deliver);
    }

    /// The batches of a day on which five sources have an event every minute.
    #[cfg(feature = "s3")]
    fn batches_of_a_quiet_day(options: &BatchOptions) -> u64 {
        let (mut batches, mut oldest) = (0, None);
        for minute in 0..1_440 {
            let now = Timestamp::from_secs(minute * 60);
            let since = *oldest.get_or_insert(now);
            let minutes = now.since(since).as_secs() / 60 + 1;
            let pending = PendingBatch { oldest_visible_at: Some(since), ..pending(5 * minutes, 5 * minutes, 0) };
            if decide(&pending, options, since, now, false) == Decision::Deliver {
                batches += 1;
                oldest = None;
            }
        }
        batches
    }

    #[cfg(feature = "s3")]
    #[test]
    fn a_quiet_day_is_tens_of_objects() {
        let settings = serde_json::json!({"bucket": "audit"});
        let sink = crate::sinks::registry::SinkConfig::read("s3", settings).expect("a sink").expect("settings");
        // An object for each vendor and a manifest; one batch has events of two days.
        let objects = |options: &BatchOptions| batches_of_a_quiet_day(options) * 6 + 5;
        let options = sink.default_batch();
        let of = |minutes: u64| objects(&BatchOptions { timeout: Duration::from_secs(minutes * 60), ..options });
        assert!((20..100).contains(&objects(&options)), "{}", objects(&options));
        // What docs/lake.md says.
        assert_eq!([5, 15, 60, 120, 360, 1_439].map(of), [1_445, 545, 143, 71, 23, 11]);
    }

    #[test]
    fn events_of_other_sources_are_skipped_lazily() {
        let since = |secs| decide(&pending(9, 0, 0), &options(), NOON - Duration::from_secs(secs), NOON, false);
        assert_eq!(since(0), Decision::WaitUntil(NOON + Duration::from_secs(60)));
        assert_eq!(since(60), Decision::Skip);
        assert_eq!(decide(&pending(50, 0, 0), &options(), NOON, NOON, false), Decision::Skip);
    }

    proptest! {
        #[test]
        fn draining_never_waits(span in 0u64..100, events in 0u64..100, age in 0u64..100) {
            let pending = pending(span, events.min(span), age);
            let decided = decide(&pending, &options(), NOON, NOON, true);
            let expected = match (span, events) { (0, _) => Decision::Idle, (_, 0) => Decision::Skip, _ => Decision::Deliver };
            prop_assert_eq!(decided, expected);
        }

        /// Waiting ends: at the named time the same batch is due, and no event waits longer than its timeout.
        #[test]
        fn every_wait_ends_in_a_decision(span in 1u64..40, events in 0u64..40, age in 0u64..40, since in 0u64..70) {
            let pending = pending(span, events.min(span), age);
            let seen = NOON - Duration::from_secs(since);
            if let Decision::WaitUntil(due) = decide(&pending, &options(), seen, NOON, false) {
                prop_assert!(due > NOON);
                prop_assert!(pending.oldest_visible_at.is_none_or(|oldest| due == oldest + options().timeout));
                let decided = decide(&pending, &options(), seen, due, false);
                prop_assert!(matches!(decided, Decision::Deliver | Decision::Skip));
            }
        }
    }
}
