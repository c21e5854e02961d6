use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::vendors::RecordKey;

fn id(number: u8) -> EventId {
    EventId([number; 16])
}

fn key(number: u8, version: u64, secs: i64) -> SeenKey {
    SeenKey { id: id(number), version, timestamp: Some(Timestamp::from_secs(secs)), content: 0 }
}

fn range(from: i64, to: i64) -> TimeRange {
    TimeRange::new(Timestamp::from_secs(from), Timestamp::from_secs(to))
}

fn record(number: u8) -> RecordKey {
    RecordKey {
        id: EventId::of_key("example", None, &number.to_string()),
        timestamp: Some(Timestamp::from_secs(i64::from(number))),
        version: 0,
        content: 0,
    }
}

/// A record with a content of its own.
fn with(content: u64) -> SeenKey {
    SeenKey { content, ..key(1, 0, 50) }
}

/// A scan of this window: one per minute.
fn reader(window: i64) -> Reader {
    Reader { window: WindowId(window), at: Timestamp::from_secs(window * 60), until: Timestamp::from_secs(9_600) }
}

/// What windows meet, one after the other; changes are inserted. Returns the contents that are delivered.
fn delivered(met: &[(i64, u64)]) -> Vec<u64> {
    let mut seen = SeenSet::default();
    let mut delivered = Vec::new();
    for (window, content) in met {
        let key = with(*content);
        let version = match seen.check(&key, reader(*window)) {
            RecordStatus::New => 0,
            RecordStatus::Changed { version } => version + 1,
            RecordStatus::Duplicate => continue,
        };
        seen.insert(SeenKey { version, ..key }, Timestamp::from_secs(9_600));
        delivered.push(*content);
    }
    delivered
}

#[test]
fn new_then_duplicate_then_changed() {
    let mut seen = SeenSet::default();
    assert_eq!(seen.check(&key(1, 3, 50), reader(1)), RecordStatus::New);
    seen.insert(key(1, 3, 50), Timestamp::from_secs(100));
    assert_eq!(seen.check(&key(1, 3, 50), reader(1)), RecordStatus::Duplicate);
    assert_eq!(seen.check(&key(1, 2, 50), reader(1)), RecordStatus::Duplicate);
    assert_eq!(seen.check(&key(1, 4, 50), reader(1)), RecordStatus::Changed { version: 3 });
}

#[test]
fn each_content_is_delivered_once() {
    assert_eq!(delivered(&[(1, 7), (1, 7), (2, 7), (2, 8), (3, 8), (4, 9), (5, 9)]), [7, 8, 9]);
}

#[test]
fn a_content_that_returns_is_delivered_when_a_second_window_meets_it() {
    assert_eq!(delivered(&[(1, 7), (2, 8), (3, 7), (3, 7), (4, 7), (5, 7)]), [7, 8, 7]);
    assert_eq!(delivered(&[(1, 7), (2, 8), (3, 7), (4, 7), (5, 8), (6, 8)]), [7, 8, 7, 8]);
}

#[test]
fn windows_that_read_at_the_same_time_are_one_piece_of_evidence() {
    let mut seen = SeenSet::default();
    seen.insert(with(7), Timestamp::from_secs(100));
    seen.insert(SeenKey { version: 1, ..with(8) }, Timestamp::from_secs(100));
    let met = |window: i64, secs| Reader { at: Timestamp::from_secs(secs), ..reader(window) };
    assert_eq!(seen.check(&with(7), met(1, 100)), RecordStatus::Duplicate);
    assert_eq!(seen.check(&with(7), met(2, 130)), RecordStatus::Duplicate);
    assert_eq!(seen.check(&with(7), met(2, 160)), RecordStatus::Changed { version: 1 });
}

#[test]
fn an_answer_of_a_replica_that_is_behind_is_not_a_change() {
    assert_eq!(delivered(&[(1, 7), (2, 8), (3, 7), (4, 8), (5, 7), (6, 8), (7, 8)]), [7, 8]);
}

#[test]
fn two_records_that_share_an_id_are_delivered_once_each_whatever_their_order() {
    let listed = |order: fn(i64) -> [u64; 2]| -> Vec<u64> {
        let met: Vec<_> = (1..9).flat_map(|window| order(window).map(|content| (window, content))).collect();
        delivered(&met)
    };
    assert_eq!(listed(|_| [7, 8]), [7, 8]);
    assert_eq!(listed(|_| [8, 7]), [8, 7]);
    assert_eq!(listed(|window| if window % 2 == 0 { [7, 8] } else { [8, 7] }), [8, 7]);
}

#[test]
fn records_of_other_times_that_share_an_id_are_delivered_once_each() {
    let mut seen = SeenSet::default();
    let other = SeenKey { version: 1, ..SeenKey { content: 8, ..key(1, 0, 90) } };
    seen.insert(with(7), Timestamp::from_secs(100));
    seen.insert(other, Timestamp::from_secs(100));
    for window in 2..6 {
        assert_eq!(seen.check(&with(7), reader(window)), RecordStatus::Duplicate);
    }
}

#[test]
fn contents_are_known_in_whatever_order_the_journal_returns_them() {
    let versions = [with(7), SeenKey { version: 5, ..with(8) }, SeenKey { version: 9, ..with(9) }];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut seen = SeenSet::default();
        let keys = order.map(|at: usize| versions[at]).to_vec();
        seen.load(range(0, 100), keys, Timestamp::from_secs(100));
        assert!(versions.iter().all(|key| seen.knows(key)) && !seen.knows(&with(4)));
        assert_eq!(seen.check(&with(9), reader(1)), RecordStatus::Duplicate);
        assert_eq!(seen.check(&with(7), reader(2)), RecordStatus::Duplicate, "met for the first time");
        assert_eq!(seen.check(&with(4), reader(2)), RecordStatus::Changed { version: 9 });
    }
}

#[test]
fn ranges_are_loaded_once_and_outliers_together() {
    let mut seen = SeenSet::default();
    assert_eq!(seen.missing(range(0, 100)), [range(0, 100)]);
    seen.load(range(0, 100), vec![], Timestamp::from_secs(100));
    assert_eq!(seen.missing(range(50, 150)), [range(100, 150)]);
    let times = [20, 500, 510, 9_000].map(Timestamp::from_secs).to_vec();
    let nano = Duration::from_nanos(1);
    let at = Timestamp::from_secs;
    assert_eq!(
        seen.missing_around(times),
        [TimeRange::new(at(500), at(510) + nano), TimeRange::new(at(9_000), at(9_000) + nano)]
    );
}

#[test]
fn what_is_out_of_use_is_removed_and_loaded_again_when_needed() {
    let mut seen = SeenSet::default();
    seen.load(range(0, 1_000_000), vec![], Timestamp::from_secs(1));
    for secs in 0..10_000_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&secs.to_le_bytes());
        let timestamp = Some(Timestamp::from_secs(i64::from(secs)));
        seen.insert(
            SeenKey { id: EventId(id), version: 0, timestamp, content: 0 },
            Timestamp::from_secs(i64::from(secs)),
        );
    }
    seen.prune(&[range(9_000, 2_000_000)]);
    assert_eq!(seen.records.len(), 1_000);
    assert_eq!(seen.missing(range(8_000, 9_500)), [range(8_000, 9_000)]);
}

#[test]
fn a_record_is_kept_as_long_as_a_scan_may_read_it_again_whatever_its_own_time() {
    let mut seen = SeenSet { size_after_pruning: 0, ..SeenSet::default() };
    let ancient = key(1, 0, 5);
    seen.insert(ancient, Timestamp::from_secs(9_500));
    for number in 0..SMALL as u64 {
        let mut id = [255; 16];
        id[..8].copy_from_slice(&number.to_le_bytes());
        seen.insert(SeenKey { id: EventId(id), version: 0, timestamp: None, content: 0 }, Timestamp::from_secs(10));
    }
    seen.prune(&[range(9_000, 2_000_000)]);
    assert_eq!(seen.records.len(), 1);
    assert_eq!(seen.check(&ancient, reader(1)), RecordStatus::Duplicate);
}

#[test]
fn the_greatest_version_on_a_page_is_kept() {
    let keys = [key(1, 1, 0), key(2, 1, 0), key(1, 3, 0), key(1, 2, 0)];
    assert_eq!(greatest_versions(&keys), [false, true, true, false]);
}

proptest! {
    /// Scans over growing multisets of records (identical ones included): everything is taken once, as in a plain list.
    #[test]
    fn agrees_with_a_naive_model(scans in prop::collection::vec(prop::collection::vec(0_u8..6, 0..12), 1..8)) {
        let mut seen = SeenSet::default();
        let mut model: BTreeMap<u8, usize> = BTreeMap::new();
        let until = Timestamp::from_secs(10);
        for scan in scans {
            let mut counts: BTreeMap<u8, u32> = BTreeMap::new();
            let mut taken: BTreeMap<u8, usize> = BTreeMap::new();
            for number in &scan {
                let record = record(*number);
                let count = counts.entry(*number).or_default();
                let id = record.id.nth(std::mem::replace(count, *count + 1));
                let key = SeenKey { id, version: 0, timestamp: record.timestamp, content: 0 };
                if seen.check(&key, reader(1)) == RecordStatus::New {
                    seen.insert(key, until);
                    *taken.entry(*number).or_default() += 1;
                }
            }
            for number in 0..6 {
                let read = scan.iter().filter(|other| **other == number).count();
                let before = model.get(&number).copied().unwrap_or(0);
                prop_assert_eq!(taken.get(&number).copied().unwrap_or(0), read.saturating_sub(before));
                model.insert(number, before.max(read));
            }
        }
    }
}
