//! Rules about late events, changed records and repeated runs.

use std::collections::HashMap;
use std::time::Duration;

use auditflow::simulator::{NewRecord, TruthQuery, VendorName};

use crate::harness::{EVENTS, Harness, Scenario};

pub(crate) async fn a_late_event_inside_the_overlap_is_collected_once(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::default()).await;
    harness.collect().await;
    harness.assert_exact().await;
    let record = NewRecord {
        timestamp: Some(harness.now() - Duration::from_secs(9 * 60)),
        visible_at: Some(harness.now() + Duration::from_secs(30)),
        ..NewRecord::default()
    };
    harness.control().insert(vendor, record).unwrap();
    for _ in 0..3 {
        harness.advance(Duration::from_secs(40));
        harness.collect().await;
        assert_eq!(harness.assert_exact().await.expected as u64, EVENTS + 1);
    }
}

/// Only for vendors whose records change; only those are rechecked.
pub(crate) async fn a_changed_record_is_a_later_version_of_the_same_event(vendor: VendorName) {
    let settings = vec![("recheck_lookback", "24h")];
    let scenario = Scenario { faults: vec!["changing_records=1:14400"], settings, ..Scenario::default() };
    let mut harness = Harness::new(vendor, scenario).await;
    if harness.source.vendor.spec().recheck.is_none() {
        return;
    }
    for _ in 0..5 {
        harness.collect().await;
        harness.assert_exact().await;
        harness.advance(Duration::from_secs(3_600));
    }
    assert!(harness.assert_exact().await.earlier_versions >= 10, "the rule needs records that changed");
    let mut latest: HashMap<String, u64> = HashMap::new();
    for event in harness.collected().await {
        let version = event.delivered.version;
        let before = latest.insert(event.delivered.id, version);
        assert!(before.is_none_or(|before| before < version), "version {version} came after {before:?}");
    }
}

pub(crate) async fn without_a_backfill_nothing_before_the_first_start_is_collected(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::setting("backfill_start_time", "")).await;
    let first_start = harness.now();
    harness.insert_at(first_start - Duration::from_millis(500));
    harness.collect().await;
    assert!(harness.collected().await.is_empty());
    for seconds in 0..20 {
        harness.insert_at(first_start + Duration::from_secs(seconds));
    }
    harness.advance(Duration::from_secs(60));
    harness.collect().await;
    let since = TruthQuery { from: Some(first_start), ..TruthQuery::default() };
    let truth = harness.control().truth_of(vendor, since).unwrap();
    assert_eq!(truth.len(), 20);
    harness.assert_equals(&truth).await;
}

pub(crate) async fn the_stats_add_up(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::default()).await;
    harness.collect().await;
    let counts = harness.counts().await;
    let stats = harness.stats().await;
    let bytes: usize = counts.iter().map(|(raw, count)| raw.len() * count).sum();
    assert_eq!(stats.events, counts.values().sum::<usize>() as u64);
    assert_eq!(stats.raw_bytes, bytes as u64);
    assert_eq!((stats.requests.total(), stats.pages), (harness.requests(), harness.responses(200)));
    assert_eq!((stats.open_windows, stats.covered_to), (0, Some(harness.covered_to())));
}
