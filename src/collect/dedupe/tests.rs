use crate::time::TimeRange;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn id(number: u8) -> EventId {
    EventId([number; 16])
}

fn key(number: u8, version: u64, secs: i64) -> SeenKey {
    SeenKey { id: id(number), version, timestamp: Some(Timestamp::from_secs(secs)) }
}

fn span(from: i64, to: i64) -> TimeRange {
    TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(to))
}

fn identity(number: u8) -> RecordKey {
    RecordKey {
        id: EventId::of_key("example", None, &number.to_string()),
        timestamp: Some(Timestamp::from_secs(i64::from(number))),
        version: 0,
    }
}

#[test]
fn new_then_old_then_changed() {
    let mut known = Known::default();
    let until = Timestamp::from_secs(100);
    assert_eq!(known.judge(key(1, 3, 50), until), Verdict::New);
    known.remember(key(1, 3, 50), until);
    assert_eq!(known.judge(key(1, 3, 50), until), Verdict::Old);
    assert_eq!(known.judge(key(1, 2, 50), until), Verdict::Old);
    assert_eq!(known.judge(key(1, 4, 50), until), Verdict::Changed);
}

#[test]
fn spans_are_fetched_once_and_outliers_together() {
    let mut known = Known::default();
    assert_eq!(known.missing(span(0, 100)), [span(0, 100)]);
    known.load(span(0, 100), vec![], Timestamp::from_secs(100));
    assert_eq!(known.missing(span(50, 150)), [span(100, 150)]);
    let times = [20, 500, 510, 9_000].map(Timestamp::from_secs).to_vec();
    let nano = Duration::from_nanos(1);
    let at = Timestamp::from_secs;
    assert_eq!(
        known.missing_around(times),
        [TimeRange::new(at(500), at(510) + nano), TimeRange::new(at(9_000), at(9_000) + nano)]
    );
}

#[test]
fn what_is_out_of_use_is_forgotten_and_fetched_again_when_needed() {
    let mut known = Known::default();
    known.load(span(0, 1_000_000), vec![], Timestamp::from_secs(1));
    for secs in 0..10_000_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&secs.to_le_bytes());
        let timestamp = Some(Timestamp::from_secs(i64::from(secs)));
        known.remember(SeenKey { id: EventId(id), version: 0, timestamp }, Timestamp::from_secs(i64::from(secs)));
    }
    known.prune(&[span(9_000, 2_000_000)]);
    assert_eq!(known.records.len(), 1_000);
    assert_eq!(known.missing(span(8_000, 9_500)), [span(8_000, 9_000)]);
}

#[test]
fn a_record_is_kept_as_long_as_a_walk_may_meet_it_again_whatever_its_own_time() {
    let mut known = Known { kept_at_last_pass: 0, ..Known::default() };
    let ancient = key(1, 0, 5);
    known.remember(ancient, Timestamp::from_secs(9_500));
    for number in 0..SMALL as u64 {
        let mut id = [255; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        known.remember(SeenKey { id: EventId(id), version: 0, timestamp: None }, Timestamp::from_secs(10));
    }
    known.prune(&[span(9_000, 2_000_000)]);
    assert_eq!(known.records.len(), 1);
    assert_eq!(known.judge(ancient, Timestamp::from_secs(9_600)), Verdict::Old);
}

#[test]
fn twins_are_numbered_and_an_interrupted_walk_counts_on() {
    let mut tally = Tally::default();
    assert_eq!([1, 2, 1, 1].map(|number| tally.number(&identity(number))), [0, 0, 1, 2]);
    let mut resumed = Tally::resumed(tally.keys(), None);
    assert_eq!(resumed.digest(), tally.digest());
    assert_eq!([1, 2].map(|number| resumed.number(&identity(number))), [3, 1]);
}

#[test]
fn equal_records_are_suspicious_on_different_pages_only() {
    let mut tally = Tally::default();
    for _ in 0..2 {
        tally.begin_page();
        assert!(!tally.repeated_across_pages());
        tally.number(&identity(1));
        tally.number(&identity(1));
    }
    assert!(tally.repeated_across_pages());
    assert!(Tally::resumed(tally.keys(), Some(2)).repeated_across_pages());
    assert!(!Tally::resumed(&tally.keys()[..2], Some(2)).repeated_across_pages());
    assert!(Tally::resumed(&tally.keys()[..2], None).repeated_across_pages(), "in doubt it is read again");
    let mut left_out = Tally::default();
    for _ in 0..2 {
        left_out.begin_page();
        left_out.pass_by(&identity(1));
    }
    assert!(left_out.repeated_across_pages() && left_out.keys().is_empty());
}

#[test]
fn of_one_page_the_greatest_version_stays() {
    let keys = [key(1, 1, 0), key(2, 1, 0), key(1, 3, 0), key(1, 2, 0)];
    assert_eq!(greatest_versions(&keys), [false, true, true, false]);
}

proptest! {
    /// Walks over growing multisets of records (twins included): everything is taken once, as a list would tell.
    #[test]
    fn agrees_with_a_naive_model(walks in prop::collection::vec(prop::collection::vec(0_u8..6, 0..12), 1..8)) {
        let mut known = Known::default();
        let mut model: BTreeMap<u8, usize> = BTreeMap::new();
        let until = Timestamp::from_secs(10);
        for walk in walks {
            let mut tally = Tally::default();
            let mut taken: BTreeMap<u8, usize> = BTreeMap::new();
            for number in &walk {
                let identity = identity(*number);
                let key = SeenKey { id: identity.id.nth(tally.number(&identity)), version: 0, timestamp: identity.timestamp };
                if known.judge(key, until) == Verdict::New {
                    known.remember(key, until);
                    *taken.entry(*number).or_default() += 1;
                }
            }
            for number in 0..6 {
                let met = walk.iter().filter(|other| **other == number).count();
                let before = model.get(&number).copied().unwrap_or(0);
                prop_assert_eq!(taken.get(&number).copied().unwrap_or(0), met.saturating_sub(before));
                model.insert(number, before.max(met));
            }
        }
    }

    /// Two walks have the same digest exactly if they met the same records, in whatever order.
    #[test]
    fn digests_tell_walks_apart(mut one in prop::collection::vec(0_u8..5, 0..8), mut other in prop::collection::vec(0_u8..5, 0..8)) {
        let digest = |walk: &[u8]| {
            let mut tally = Tally::default();
            for number in walk { tally.number(&identity(*number)); }
            tally.digest()
        };
        let digests = (digest(&one), digest(&other));
        one.sort_unstable();
        other.sort_unstable();
        prop_assert_eq!(digests.0 == digests.1, one == other);
    }
}
