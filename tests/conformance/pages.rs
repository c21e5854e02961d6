//! Rules about pages and the records on them.

use std::time::Duration;

use auditflow::collect::SourceEnd;
use auditflow::simulator::{NewRecord, VendorName};
use tokio_util::sync::CancellationToken;

use crate::stage::{EVENTS, PAGE_SIZE, Stage, Wishes, moment};
use crate::transports::{End, Ending};

const WHOLE_PAST: (&str, &str) = ("backfill_slice", "30d");

pub(crate) async fn every_page_is_read_and_kept_byte_for_byte(vendor: VendorName) {
    for slice in ["1h", "30d"] {
        let mut stage = Stage::new(vendor, Wishes::setting("backfill_slice", slice)).await;
        stage.collect().await;
        let verdict = stage.assert_exact().await;
        assert_eq!(verdict.expected as u64, EVENTS);
        assert!(stage.requests() >= EVENTS / PAGE_SIZE, "the rule needs several pages");
    }
}

pub(crate) async fn an_empty_page_covers_its_time(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes { events: 0, ..Wishes::default() }).await;
    stage.collect().await;
    let summary = stage.stats().await;
    assert_eq!((summary.events, summary.open_windows), (0, 0));
    assert_eq!(summary.covered_to, Some(stage.settled()));
    assert!(summary.pages > 0 && summary.last_error.is_none(), "{summary:?}");
}

pub(crate) async fn ties_on_one_timestamp_are_all_kept_across_pages_and_windows(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::fault("ties=1")).await;
    let longest_tie = 24;
    assert!(stage.truth().chunk_by(|a, b| a.timestamp == b.timestamp).any(|tie| tie.len() >= longest_tie));
    // On the seam of two windows, more than a page has.
    for _ in 0..2 * PAGE_SIZE {
        stage.insert_at(moment("2026-03-02T00:00:00Z"));
    }
    stage.collect().await;
    stage.assert_exact().await;
}

pub(crate) async fn identical_records_are_both_kept_where_the_vendor_has_no_ids(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::default()).await;
    if stage.plan.vendor.normalizer().has_ids() {
        return;
    }
    let twinned: Vec<_> = stage.truth().into_iter().step_by(5).collect();
    for record in &twinned {
        stage.control().insert_identical(vendor, &record.key).unwrap();
    }
    stage.collect().await;
    stage.assert_exact().await;
    // Read again in the overlap: they are still known, each of them.
    stage.advance(Duration::from_secs(60));
    stage.collect().await;
    stage.assert_exact().await;
    for record in &twinned {
        let twins: Vec<_> =
            stage.collected().await.into_iter().filter(|event| event.delivered.raw == record.raw).collect();
        assert!(twins.len() >= 2, "{}", record.raw);
        assert_ne!(twins[0].delivered.id, twins[1].delivered.id);
        assert_ne!(twins[0].occurrence, twins[1].occurrence);
    }
}

pub(crate) async fn a_record_listed_twice_is_one_event_where_the_vendor_has_ids(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::default()).await;
    if !stage.plan.vendor.normalizer().has_ids() {
        return;
    }
    let truth = stage.truth();
    for record in truth.iter().step_by(5) {
        stage.control().insert_identical(vendor, &record.key).unwrap();
    }
    stage.collect().await;
    stage.assert_equals(&truth).await;
}

pub(crate) async fn a_malformed_record_is_delivered_with_its_reason_and_harms_no_other(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::fault("malformed_records=0.5")).await;
    stage.collect().await;
    stage.assert_exact().await;
    let (malformed, sound): (Vec<_>, Vec<_>) = stage.truth().into_iter().partition(|record| record.malformed);
    assert!(malformed.len() >= 10 && sound.len() >= 10, "the rule needs both kinds");
    let malformed: Vec<&str> = malformed.iter().map(|record| record.raw.as_str()).collect();
    for event in stage.collected().await {
        let raw = event.delivered.raw.as_str();
        assert_eq!(event.normalize_error.is_some(), malformed.contains(&raw), "{raw}: {:?}", event.normalize_error);
    }
}

pub(crate) async fn a_page_shift_loses_nothing_and_makes_no_false_twin(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes { settings: vec![WHOLE_PAST], ..Wishes::default() }).await;
    let newest = stage.settled() - Duration::from_secs(120);
    for requests in [5, 7] {
        let record = NewRecord { timestamp: Some(newest + Duration::from_secs(requests)), ..NewRecord::default() };
        stage.control().insert_after(vendor, requests, record).unwrap();
    }
    stage.collect().await;
    assert_eq!(stage.truth().len() as u64, EVENTS + 2, "both records came while the pages were read");
    // What the walk could not see any more, the next poll's overlap does.
    stage.advance(Duration::from_secs(60));
    stage.collect().await;
    stage.assert_exact().await;
}

/// Each page's process ends twice: once with the page in hand and not stored, once with it stored and nothing after.
pub(crate) async fn a_restart_at_every_page_loses_nothing_and_doubles_nothing(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::default()).await;
    if !stage.plan.vendor.normalizer().has_ids() {
        let twinned = stage.truth().swap_remove(30);
        stage.control().insert_identical(vendor, &twinned.key).unwrap();
    }
    let mut ends = [End::BeforeCommit, End::AfterCommit].into_iter().cycle();
    let mut restarts = 0;
    loop {
        let shutdown = CancellationToken::new();
        let transport = Ending::new(stage.transport(), ends.next().unwrap(), shutdown.clone());
        let end = stage.work(stage.once(), std::sync::Arc::new(transport), shutdown).await;
        stage.restart();
        if end == SourceEnd::Finished {
            break;
        }
        assert_eq!(end, SourceEnd::Shutdown);
        restarts += 1;
        assert!(restarts < 200, "it gets nowhere");
    }
    assert!(restarts as u64 >= 2 * (EVENTS / PAGE_SIZE), "{restarts} restarts are fewer than two a page");
    stage.assert_exact().await;
}

pub(crate) async fn compressed_answers_are_read(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::fault("gzip=1")).await;
    stage.collect().await;
    stage.assert_exact().await;
}
