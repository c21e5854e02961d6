//! Rules about answers that are not pages.

use std::sync::Arc;
use std::time::Duration;

use auditflow::collect::{CollectMode, SourceEnd};
use auditflow::simulator::{CannedReply, FaultName, FaultOrder, FaultSetting, VendorName};
use tokio_util::sync::CancellationToken;

use crate::stage::{Stage, Wishes, moment, until};
use crate::transports::Watched;

pub(crate) async fn a_repeated_token_ends_in_a_trouble_and_not_in_a_circle(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::fault("repeated_token=1")).await;
    let transport = stage.transport();
    let work = tokio::spawn(stage.work(stage.once(), transport, CancellationToken::new()));
    // Where answers name no next page there is no token to be repeated, and it just ends.
    until("it says that it is in trouble", async || work.is_finished() || stage.last_error().await.is_some()).await;
    if let Some(last_error) = stage.last_error().await {
        assert!(last_error.message.contains(vendor.as_str()) && !last_error.hint.is_empty(), "{last_error:?}");
        assert!(stage.requests() < 20, "{} requests are a circle", stage.requests());
    }
    stage.control().clear_faults();
    assert_eq!(work.await.unwrap(), SourceEnd::Finished);
    assert_eq!(stage.last_error().await, None);
    stage.assert_exact().await;
}

pub(crate) async fn retry_after_in_seconds_is_kept(vendor: VendorName) {
    keeps_the_asked_wait(vendor, FaultName::RateLimit).await;
}

pub(crate) async fn retry_after_as_a_date_is_kept(vendor: VendorName) {
    keeps_the_asked_wait(vendor, FaultName::RateLimitDate).await;
}

/// Whoever asks for a second gets a second. That more than a second passes is no failure: the machine may be slow.
async fn keeps_the_asked_wait(vendor: VendorName, fault: FaultName) {
    let mut stage = Stage::new(vendor, Wishes { events: 20, ..Wishes::default() }).await;
    let setting = FaultSetting { probability: 1.0, seconds: 1.0 };
    stage.control().set_fault(FaultOrder { vendor: Some(vendor), fault, setting });
    let transport = Arc::new(Watched::new(stage.transport()));
    let work = tokio::spawn(stage.work(stage.once(), Arc::clone(&transport) as _, CancellationToken::new()));
    until("a request was refused", async || stage.answers(429) > 0).await;
    stage.control().clear_faults();
    assert_eq!(work.await.unwrap(), SourceEnd::Finished);
    let seen = transport.seen();
    let waits: Vec<Duration> = seen
        .windows(2)
        .filter(|pair| pair[0].status == 429)
        .map(|pair| pair[1].asked.duration_since(pair[0].answered))
        .collect();
    assert!(!waits.is_empty() && waits.iter().all(|wait| *wait >= Duration::from_secs(1)), "{waits:?}");
    stage.assert_exact().await;
}

pub(crate) async fn a_401_stops_the_source_until_it_is_mended(vendor: VendorName) {
    let settings = vec![("error_retry_interval", "200ms"), ("end_time", "2026-03-02T01:59:00Z")];
    let mut stage = Stage::new(vendor, Wishes { faults: vec!["unauthorized"], settings, ..Wishes::default() }).await;

    let SourceEnd::Stopped(fault) = stage.run().await else { panic!("a run that is to end must end") };
    assert_eq!(stage.requests(), 1, "a refused credential is not tried again and again");
    assert!(fault.message.contains("401") && !fault.hint.is_empty(), "{fault:?}");

    let transport = stage.transport();
    let work = tokio::spawn(stage.work(CollectMode::Continuous, transport, CancellationToken::new()));
    until("it looks again by itself", async || stage.answers(401) >= 4).await;
    let last_error = stage.stats().await.last_error.expect("the trouble is shown");
    assert!(last_error.message.contains(vendor.as_str()) && !last_error.hint.is_empty(), "{last_error:?}");
    assert_eq!(stage.requests(), stage.answers(401), "nothing else is asked meanwhile");

    stage.control().clear_faults();
    assert_eq!(work.await.unwrap(), SourceEnd::Finished);
    let summary = stage.stats().await;
    assert_eq!((summary.last_error, summary.covered_to), (None, Some(moment("2026-03-02T01:59:00Z"))));
    stage.assert_exact().await;
}

pub(crate) async fn an_answer_that_is_no_page_is_asked_again(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes { events: 20, ..Wishes::default() }).await;
    let whole = stage.truth().swap_remove(0).raw;
    let html = vec![("content-type".to_owned(), "text/html".to_owned())];
    let answers = [
        CannedReply { status: 200, headers: html, body: "<!DOCTYPE html><html>Please sign in</html>".into() },
        CannedReply { status: 200, headers: Vec::new(), body: whole[..whole.len() / 2].into() },
    ];
    for answer in answers {
        stage.control().fail_next(vendor, 1, answer).unwrap();
    }
    stage.collect().await;
    stage.assert_exact().await;
}

pub(crate) async fn no_secret_is_written_anywhere(vendor: VendorName) {
    let mut stage = Stage::new(vendor, Wishes::default()).await;
    // Credentials that are refused are what error messages are about, and some APIs repeat them there.
    let secret = format!("SIMULATOR_SECRET_{}", vendor.as_str().to_uppercase());
    let body = format!(r#"{{"detail":"Invalid token {secret}."}}"#);
    let refused = CannedReply { status: 401, headers: Vec::new(), body };
    stage.control().fail_next(vendor, 1, refused).unwrap();
    let end = stage.run().await;
    stage.assert_keeps_secrets();
    stage.collect().await;
    stage.assert_keeps_secrets();
    let summary = stage.stats().await;
    let shown = format!("{end:?} {summary:?} {:?}", stage.plan);
    assert!(!shown.contains("SIMULATOR_SECRET_"), "{shown}");
}
