//! Rules about pages and their records.

use std::time::Duration;

use auditflow::collect::SourceEnd;
use auditflow::simulator::{NewRecord, VendorName};
use tokio_util::sync::CancellationToken;

use crate::harness::{EVENTS, Harness, PAGE_SIZE, Scenario, timestamp};
use crate::transports::{InterruptedTransport, Interruption};

const ONE_SLICE: (&str, &str) = ("backfill_slice", "30d");

pub(crate) async fn every_page_is_read_and_kept_byte_for_byte(vendor: VendorName) {
    for slice in ["1h", "30d"] {
        let mut harness = Harness::new(vendor, Scenario::setting("backfill_slice", slice)).await;
        harness.collect().await;
        let verdict = harness.assert_exact().await;
        assert_eq!(verdict.expected as u64, EVENTS);
        assert!(harness.requests() >= EVENTS / PAGE_SIZE, "the rule needs several pages");
    }
}

pub(crate) async fn an_empty_page_covers_its_time(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario { events: 0, ..Scenario::default() }).await;
    harness.collect().await;
    let stats = harness.stats().await;
    assert_eq!((stats.events, stats.open_windows), (0, 0));
    assert_eq!(stats.covered_to, Some(harness.covered_to()));
    assert!(stats.pages > 0 && stats.last_error.is_none(), "{stats:?}");
}

pub(crate) async fn ties_on_one_timestamp_are_all_kept_across_pages_and_windows(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::fault("ties=1")).await;
    let longest_tie = 24;
    assert!(harness.truth().chunk_by(|a, b| a.timestamp == b.timestamp).any(|tie| tie.len() >= longest_tie));
    // At the boundary of two windows, more records than one page has.
    for _ in 0..2 * PAGE_SIZE {
        harness.insert_at(timestamp("2026-03-02T00:00:00Z"));
    }
    harness.collect().await;
    harness.assert_exact().await;
}

pub(crate) async fn identical_records_are_both_kept_where_the_vendor_has_no_ids(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::default()).await;
    if harness.source.vendor.normalizer().has_ids() {
        return;
    }
    let originals: Vec<_> = harness.truth().into_iter().step_by(5).collect();
    for record in &originals {
        harness.control().insert_identical(vendor, &record.key).unwrap();
    }
    harness.collect().await;
    harness.assert_exact().await;
    // The overlap returns them again: each is deduplicated.
    harness.advance(Duration::from_secs(60));
    harness.collect().await;
    harness.assert_exact().await;
    for record in &originals {
        let copies: Vec<_> =
            harness.collected().await.into_iter().filter(|event| event.delivered.raw == record.raw).collect();
        assert!(copies.len() >= 2, "{}", record.raw);
        assert_ne!(copies[0].delivered.id, copies[1].delivered.id);
        assert_ne!(copies[0].occurrence, copies[1].occurrence);
    }
}

pub(crate) async fn a_record_listed_twice_is_one_event_where_the_vendor_has_ids(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::default()).await;
    if !harness.source.vendor.normalizer().has_ids() {
        return;
    }
    let truth = harness.truth();
    for record in truth.iter().step_by(5) {
        harness.control().insert_identical(vendor, &record.key).unwrap();
    }
    harness.collect().await;
    harness.assert_equals(&truth).await;
}

pub(crate) async fn a_malformed_record_is_delivered_with_its_error_and_affects_no_other(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::fault("malformed_records=0.5")).await;
    harness.collect().await;
    harness.assert_exact().await;
    let (malformed, sound): (Vec<_>, Vec<_>) = harness.truth().into_iter().partition(|record| record.malformed);
    assert!(malformed.len() >= 10 && sound.len() >= 10, "the rule needs both kinds");
    let malformed: Vec<&str> = malformed.iter().map(|record| record.raw.as_str()).collect();
    for event in harness.collected().await {
        let raw = event.delivered.raw.as_str();
        assert_eq!(event.normalize_error.is_some(), malformed.contains(&raw), "{raw}: {:?}", event.normalize_error);
    }
}

pub(crate) async fn a_page_shift_loses_nothing_and_duplicates_nothing(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario { settings: vec![ONE_SLICE], ..Scenario::default() }).await;
    let newest = harness.covered_to() - Duration::from_secs(120);
    for requests in [5, 7] {
        let record = NewRecord { timestamp: Some(newest + Duration::from_secs(requests)), ..NewRecord::default() };
        harness.control().insert_after(vendor, requests, record).unwrap();
    }
    harness.collect().await;
    assert_eq!(harness.truth().len() as u64, EVENTS + 2, "both records must be inserted while the pages are read");
    // The next poll's overlap returns what the scan missed.
    harness.advance(Duration::from_secs(60));
    harness.collect().await;
    harness.assert_exact().await;
}

/// For each page the process is stopped twice: before the page is stored and right after.
pub(crate) async fn a_restart_at_every_page_loses_nothing_and_duplicates_nothing(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::default()).await;
    if !harness.source.vendor.normalizer().has_ids() {
        let original = harness.truth().swap_remove(30);
        harness.control().insert_identical(vendor, &original.key).unwrap();
    }
    let mut interruptions = [Interruption::BeforeCommit, Interruption::AfterCommit].into_iter().cycle();
    let mut restarts = 0;
    loop {
        let shutdown = CancellationToken::new();
        let transport = InterruptedTransport::new(harness.transport(), interruptions.next().unwrap(), shutdown.clone());
        let end = harness.work(harness.once(), std::sync::Arc::new(transport), shutdown).await;
        harness.restart();
        if end == SourceEnd::Finished {
            break;
        }
        assert_eq!(end, SourceEnd::Shutdown);
        restarts += 1;
        assert!(restarts < 200, "collecting does not progress");
    }
    assert!(restarts as u64 >= 2 * (EVENTS / PAGE_SIZE), "{restarts} restarts are fewer than two per page");
    harness.assert_exact().await;
}

pub(crate) async fn compressed_responses_are_read(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::fault("gzip=1")).await;
    harness.collect().await;
    harness.assert_exact().await;
}
