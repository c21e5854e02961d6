//! Rules about what happens later: late events, changed records, second runs.

use std::collections::HashMap;
use std::time::Duration;

use auditflow::simulator::{NewRecord, TruthQuery, VendorName};

use crate::stage::{EVENTS, Stage, Wishes};

pub(crate) async fn a_late_event_inside_the_overlap_is_collected_once(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::default()).await;
    stage.collect().await;
    stage.assert_exact().await;
    let record = NewRecord {
        timestamp: Some(stage.now() - Duration::from_secs(9 * 60)),
        visible_at: Some(stage.now() + Duration::from_secs(30)),
        ..NewRecord::default()
    };
    stage.control().insert(vendor, record).unwrap();
    for _ in 0..3 {
        stage.advance(Duration::from_secs(40));
        stage.collect().await;
        assert_eq!(stage.assert_exact().await.expected as u64, EVENTS + 1);
    }
}

/// Holds for vendors that change records; those are rechecked over again, and the others never.
pub(crate) async fn a_changed_record_is_a_later_version_of_the_same_event(vendor: VendorName) {
    let settings = vec![("recheck_lookback", "24h")];
    let wishes = Wishes { faults: vec!["changing_records=1:14400"], settings, ..Wishes::default() };
    let mut stage = Stage::new(vendor, wishes).await;
    if stage.plan.vendor.spec().recheck.is_none() {
        return;
    }
    for _ in 0..5 {
        stage.collect().await;
        stage.assert_exact().await;
        stage.advance(Duration::from_secs(3_600));
    }
    assert!(stage.assert_exact().await.earlier_versions >= 10, "the rule needs records that changed");
    let mut latest: HashMap<String, u64> = HashMap::new();
    for event in stage.collected().await {
        let version = event.delivered.version;
        let before = latest.insert(event.delivered.id, version);
        assert!(before.is_none_or(|before| before < version), "version {version} came after {before:?}");
    }
}

pub(crate) async fn without_a_backfill_nothing_from_before_the_first_start(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::setting("backfill_start_time", "")).await;
    let first_start = stage.now();
    stage.insert_at(first_start - Duration::from_millis(500));
    stage.collect().await;
    assert!(stage.collected().await.is_empty());
    for seconds in 0..20 {
        stage.insert_at(first_start + Duration::from_secs(seconds));
    }
    stage.advance(Duration::from_secs(60));
    stage.collect().await;
    let since = TruthQuery { from: Some(first_start), ..TruthQuery::default() };
    let truth = stage.control().truth_of(vendor, since).unwrap();
    assert_eq!(truth.len(), 20);
    stage.assert_equals(&truth).await;
}

pub(crate) async fn the_figures_add_up(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::default()).await;
    stage.collect().await;
    let counts = stage.counts().await;
    let summary = stage.stats().await;
    let bytes: usize = counts.iter().map(|(raw, count)| raw.len() * count).sum();
    assert_eq!(summary.events, counts.values().sum::<usize>() as u64);
    assert_eq!(summary.raw_bytes, bytes as u64);
    assert_eq!((summary.requests, summary.pages), (stage.requests(), stage.answers(200)));
    assert_eq!((summary.open_windows, summary.covered_to), (0, Some(stage.settled())));
}
