//! When time is read again, after a verdict on it. Pure.
//!
//! ```text
//!   in doubt   --15 min--> --2 h--> --1 day--> --7 days--> a person decides
//!   covered    --recheck_after--> once; a find or a disagreement is doubt
//!   empty      --15 min--> --2 h--> --1 day--> --7 days--> at rest: an outage looks the same
//!   covered, and the recheck cannot read it   like empty time: the next of these moments, not another 15 minutes
//! ```
//!
//! Moments are rounded up to a quarter of the wait, so that neighboring windows are due together and one request reads
//! them all. What the vendor no longer keeps by then is not read again.

use std::time::Duration;

use super::facts::Check;
use super::options::SourceSettings;
use super::verdict::{Reason, Verdict};
use crate::time::{TimeRange, Timestamp};

/// The waits before time in doubt is read again, one after the other.
const WAITS: [Duration; 4] =
    [Duration::from_secs(900), Duration::from_secs(7_200), Duration::from_secs(86_400), Duration::from_secs(604_800)];
/// The first of [`WAITS`] where a total alone is wrong that was wrong before: more would only cost requests.
const WAITS_FOR_TOTAL: usize = 2;

/// What is known of a window whose verdict is being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// Now.
    pub(super) at: Timestamp,
    /// The window's time.
    pub(super) covers: TimeRange,
    /// Of a recheck: how often its time was in doubt before, and when it was first read.
    pub(super) before: Option<(u32, Timestamp)>,
    /// Whether no record of its time is known, or a recheck of covered time could not read it.
    pub(super) is_empty: bool,
    /// Whether the vendor's totals are known to be wrong.
    pub(super) distrusts_total: bool,
}

/// When the window's time is read again; `None`: never.
pub(super) fn next<K>(reading: &Reading, verdict: Option<&Verdict<K>>, settings: &SourceSettings) -> Option<Timestamp> {
    let (since, wait) = match verdict? {
        Verdict::Rescan { .. } => return None,
        Verdict::InDoubt { reasons } if reading.distrusts_total && *reasons == [Reason::Check(Check::Total)] => {
            by_age(reading, &WAITS[WAITS_FOR_TOTAL..])?
        }
        Verdict::InDoubt { .. } => (reading.at, *WAITS.get(reading.before.map_or(0, |(doubts, _)| doubts as usize))?),
        Verdict::Covered { .. } if reading.is_empty => by_age(reading, &WAITS)?,
        Verdict::Covered { .. } if reading.before.is_some() => return None,
        Verdict::Covered { .. } => (reading.at, settings.recheck_after?),
    };
    let at = (since + wait).ceil_to(wait / 4);
    let is_kept = settings.spec.retention.is_none_or(|retention| reading.covers.to + retention > at);
    is_kept.then_some(at)
}

/// When the time was first read, and the first of the waits after that which has not passed yet.
fn by_age(reading: &Reading, waits: &[Duration]) -> Option<(Timestamp, Duration)> {
    let first_read = reading.before.map_or(reading.at, |(_, first_read)| first_read);
    let age = reading.at.since(first_read);
    Some((first_read, *waits.iter().find(|wait| **wait > age)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::options::SourceOptions;
    use crate::collect::tests::fake_api::example_spec;
    use crate::vendors::ApiSpec;

    const HOUR: i64 = 3_600;
    /// A multiple of all quarters of waits.
    const READ_AT: i64 = 42 * HOUR * 10_000;

    fn settings(retention_hours: Option<u64>) -> SourceSettings {
        let retention = retention_hours.map(|hours| Duration::from_secs(hours * 3_600));
        SourceOptions::default().over(&ApiSpec { retention, ..example_spec() })
    }

    fn reading(before: Option<(u32, i64)>, at: i64) -> Reading {
        let covers = TimeRange::new(Timestamp::from_secs(READ_AT - 60), Timestamp::from_secs(READ_AT));
        let before = before.map(|(doubts, at)| (doubts, Timestamp::from_secs(at)));
        Reading { at: Timestamp::from_secs(at), covers, before, is_empty: false, distrusts_total: false }
    }

    fn hours_until_next(reading: &Reading, verdict: &Verdict<u8>, settings: &SourceSettings) -> Option<f64> {
        let at = next(reading, Some(verdict), settings)?;
        Some(at.since(Timestamp::from_secs(READ_AT)).as_secs_f64() / 3_600.0)
    }

    #[test]
    fn time_in_doubt_is_read_again_four_times_and_then_left_to_a_person() {
        let verdict = Verdict::InDoubt { reasons: vec![Reason::Found] };
        let waits: Vec<_> = (0..5)
            .map(|doubts| hours_until_next(&reading(Some((doubts, READ_AT)), READ_AT), &verdict, &settings(None)))
            .collect();
        assert_eq!(waits, [Some(0.25), Some(2.0), Some(24.0), Some(168.0), None]);
        let kept_for_a_day = settings(Some(24));
        assert_eq!(hours_until_next(&reading(Some((3, READ_AT)), READ_AT), &verdict, &kept_for_a_day), None);
        let distrusted = Reading { distrusts_total: true, ..reading(None, READ_AT) };
        assert_eq!(hours_until_next(&distrusted, &verdict, &settings(None)), Some(0.25), "not the total");
        let only_total = Verdict::InDoubt { reasons: vec![Reason::Check(Check::Total)] };
        assert_eq!(hours_until_next(&distrusted, &only_total, &settings(None)), Some(24.0));
        let later = Reading { distrusts_total: true, ..reading(Some((2, READ_AT)), READ_AT + 3 * HOUR) };
        assert_eq!(hours_until_next(&later, &only_total, &settings(None)), Some(24.0), "learned after two doubts");
        let later = Reading { distrusts_total: true, ..reading(Some((3, READ_AT)), READ_AT + 25 * HOUR) };
        assert_eq!(hours_until_next(&later, &only_total, &settings(None)), Some(168.0));
        let later = Reading { distrusts_total: true, ..reading(Some((4, READ_AT)), READ_AT + 170 * HOUR) };
        assert_eq!(hours_until_next(&later, &only_total, &settings(None)), None);
    }

    #[test]
    fn covered_time_is_read_again_once_and_empty_time_four_times() {
        let covered = Verdict::Covered { gone: Vec::new() };
        assert_eq!(hours_until_next(&reading(None, READ_AT), &covered, &settings(None)), Some(24.0));
        assert_eq!(
            hours_until_next(&reading(Some((0, READ_AT)), READ_AT + 24 * HOUR), &covered, &settings(None)),
            None
        );
        let mut at = READ_AT;
        let mut waits = Vec::new();
        let mut before = None;
        loop {
            let empty = Reading { is_empty: true, ..reading(before, at) };
            let Some(hours) = hours_until_next(&empty, &covered, &settings(None)) else { break };
            waits.push(hours);
            let secs = i64::try_from(Duration::from_secs_f64(hours * 3_600.0).as_secs()).expect("days");
            (at, before) = (READ_AT + secs, Some((0, READ_AT)));
        }
        assert_eq!(waits, [0.25, 2.0, 24.0, 168.0]);
    }

    #[test]
    fn neighboring_windows_are_due_together() {
        let covered = Verdict::<u8>::Covered { gone: Vec::new() };
        let due = |at| next(&reading(None, at), Some(&covered), &settings(None));
        assert_eq!(due(READ_AT + 60), due(READ_AT + 5 * HOUR));
    }
}
