//! Rules about responses that are not pages.

use std::sync::Arc;
use std::time::Duration;

use auditflow::collect::{CollectMode, SourceEnd};
use auditflow::simulator::{CannedReply, FaultName, FaultOrder, FaultSetting, VendorName};
use tokio_util::sync::CancellationToken;

use crate::harness::{FIRST_RECHECK, Harness, Scenario, timestamp, until};
use crate::transports::RecordingTransport;

pub(crate) async fn a_repeated_token_puts_time_in_doubt_until_it_is_read_again(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::fault("repeated_token=1")).await;
    harness.collect().await;
    assert!(harness.requests() < 100, "{} requests are an endless loop", harness.requests());
    // A vendor without page tokens cannot repeat one: it has nothing to doubt.
    let doubts = harness.doubts().await;
    let is_complete = harness.collected().await.len() == harness.truth().len();
    assert_eq!(doubts.is_empty(), is_complete, "{doubts:?}");
    assert_eq!(harness.last_error().await, None, "time in doubt does not stop a source");

    harness.control().clear_faults();
    harness.advance(FIRST_RECHECK);
    harness.collect().await;
    assert_eq!(harness.doubts().await, [""; 0]);
    harness.assert_exact().await;
}

pub(crate) async fn retry_after_in_seconds_is_respected(vendor: VendorName) {
    waits_as_requested(vendor, FaultName::RateLimit).await;
}

pub(crate) async fn retry_after_as_a_date_is_respected(vendor: VendorName) {
    waits_as_requested(vendor, FaultName::RateLimitDate).await;
}

/// The collector waits at least the requested second. It may wait longer, since the machine may be slow.
async fn waits_as_requested(vendor: VendorName, fault: FaultName) {
    let mut harness = Harness::new(vendor, Scenario { events: 20, ..Scenario::default() }).await;
    let setting = FaultSetting { probability: 1.0, seconds: 1.0 };
    harness.control().set_fault(FaultOrder { vendor: Some(vendor), fault, setting });
    let transport = Arc::new(RecordingTransport::new(harness.transport()));
    let work = tokio::spawn(harness.work(harness.once(), Arc::clone(&transport) as _, CancellationToken::new()));
    until("a request was rejected", async || harness.responses(429) > 0).await;
    harness.control().clear_faults();
    assert_eq!(work.await.unwrap(), SourceEnd::Finished);
    let exchanges = transport.exchanges();
    let waits: Vec<Duration> = exchanges
        .windows(2)
        .filter(|pair| pair[0].status == 429)
        .map(|pair| pair[1].sent.duration_since(pair[0].received))
        .collect();
    assert!(!waits.is_empty() && waits.iter().all(|wait| *wait >= Duration::from_secs(1)), "{waits:?}");
    harness.assert_exact().await;
}

pub(crate) async fn a_401_stops_the_source_until_the_credentials_work(vendor: VendorName) {
    let settings = vec![("error_retry_interval", "200ms"), ("end_time", "2026-03-02T01:59:00Z")];
    let mut harness =
        Harness::new(vendor, Scenario { faults: vec!["unauthorized"], settings, ..Scenario::default() }).await;

    let SourceEnd::Stopped(error) = harness.run().await else { panic!("a bounded run must end with the error") };
    assert_eq!(harness.requests(), 2, "one 401 may be an accident; the second one stops the source");
    assert!(error.message.contains("401") && !error.hint.is_empty(), "{error:?}");

    let transport = harness.transport();
    let work = tokio::spawn(harness.work(CollectMode::Continuous, transport, CancellationToken::new()));
    let has_checked = async || harness.responses(401) >= 4 && harness.last_error().await.is_some();
    until("the source has checked the credentials again", has_checked).await;
    let last_error = harness.stats().await.last_error.expect("the error is reported");
    assert!(last_error.message.contains(vendor.as_str()) && !last_error.hint.is_empty(), "{last_error:?}");
    assert_eq!(harness.requests(), harness.responses(401), "no other request is sent meanwhile");

    harness.control().clear_faults();
    // The last overlap before `end_time` is read once more when it has passed.
    harness.advance(Duration::from_secs(600));
    assert_eq!(work.await.unwrap(), SourceEnd::Finished);
    let stats = harness.stats().await;
    assert_eq!((stats.last_error, stats.covered_to), (None, Some(timestamp("2026-03-02T01:59:00Z"))));
    harness.assert_exact().await;
}

pub(crate) async fn a_response_that_is_not_a_page_is_requested_again(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario { events: 20, ..Scenario::default() }).await;
    let record = harness.truth().swap_remove(0).raw;
    let html = vec![("content-type".to_owned(), "text/html".to_owned())];
    let replies = [
        CannedReply { status: 200, headers: html, body: "<!DOCTYPE html><html>Please sign in</html>".into() },
        CannedReply { status: 200, headers: Vec::new(), body: record[..record.len() / 2].into() },
    ];
    for reply in replies {
        harness.control().fail_next(vendor, 1, reply).unwrap();
    }
    harness.collect().await;
    harness.assert_exact().await;
}

pub(crate) async fn no_secret_is_written(vendor: VendorName) {
    let mut harness = Harness::new(vendor, Scenario::default()).await;
    // Some APIs repeat rejected credentials in their error messages.
    let secret = format!("SIMULATOR_SECRET_{}", vendor.as_str().to_uppercase());
    let body = format!(r#"{{"detail":"Invalid token {secret}."}}"#);
    let rejected = CannedReply { status: 401, headers: Vec::new(), body };
    harness.control().fail_next(vendor, 1, rejected).unwrap();
    let end = harness.run().await;
    harness.assert_no_secret();
    harness.collect().await;
    harness.assert_no_secret();
    let stats = harness.stats().await;
    let shown = format!("{end:?} {stats:?} {:?}", harness.source);
    assert!(!shown.contains("SIMULATOR_SECRET_"), "{shown}");
}
