//! Each fault as documented; none of them changes the truth.

use std::time::Duration;

use super::{Answer, Harness, first_path, sorted};
use crate::simulator::{FaultName, FaultOrder, FaultSetting, VendorName};

/// A simulator on which one fault always occurs.
async fn with(fault: FaultName) -> Harness {
    Harness::start(|options| options.faults.push(always(fault))).await
}

fn always(fault: FaultName) -> FaultOrder {
    let setting = FaultSetting { probability: 1.0, ..fault.default_setting() };
    FaultOrder { vendor: None, fault, setting }
}

async fn first(harness: &Harness, vendor: VendorName) -> Answer {
    harness.first_page(vendor, 50, "").await
}

#[tokio::test]
async fn rate_limits_say_how_long_to_wait_or_do_not() {
    for vendor in VendorName::ALL {
        let harness = with(FaultName::RateLimit).await;
        let answer = first(&harness, vendor).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, Some("1")), "{vendor}");
        let harness = with(FaultName::RateLimitDate).await;
        let answer = first(&harness, vendor).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (429, Some("Mon, 02 Mar 2026 12:00:01 GMT")),
            "{vendor}"
        );
        let harness = with(FaultName::RateLimitBare).await;
        let answer = first(&harness, vendor).await;
        assert_eq!((answer.status, answer.header("retry-after")), (429, None), "{vendor}");
    }
}

#[tokio::test]
async fn server_errors_come_in_all_forms() {
    let harness = with(FaultName::ServerError).await;
    for vendor in VendorName::ALL {
        let (mut statuses, mut html, mut json) = (std::collections::BTreeSet::new(), 0, 0);
        for _ in 0..60 {
            let answer = first(&harness, vendor).await;
            statuses.insert(answer.status);
            if answer.body.starts_with('<') { html += 1 } else { json += 1 }
        }
        assert_eq!(statuses.into_iter().collect::<Vec<_>>(), [500, 502, 503, 504], "{vendor}");
        assert!(html > 0 && json > 0, "{vendor}");
    }
}

#[tokio::test]
async fn a_web_page_with_status_200() {
    let harness = with(FaultName::Html200).await;
    for vendor in VendorName::ALL {
        let answer = first(&harness, vendor).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.body.starts_with("<!DOCTYPE html>")
                && answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
        );
    }
}

#[tokio::test]
async fn bodies_are_truncated_in_both_ways() {
    let harness = with(FaultName::CutBody).await;
    for vendor in VendorName::ALL {
        let (mut broken, mut truncated) = (0, 0);
        for _ in 0..40 {
            match Harness::send(harness.request(vendor, &first_path(vendor, 50, ""))).await {
                Err(_) => broken += 1,
                Ok(answer) => {
                    assert!(serde_json::from_str::<serde_json::Value>(&answer.body).is_err(), "{vendor}");
                    truncated += 1;
                }
            }
        }
        assert!(broken > 0 && truncated > 0, "{vendor}: {broken} broken, {truncated} truncated");
    }
}

#[tokio::test]
async fn credentials_are_rejected_until_the_fault_is_cleared() {
    let harness = Harness::start(|_| {}).await;
    for (fault, status) in [(FaultName::Unauthorized, 401), (FaultName::Forbidden, 403)] {
        harness.control().set_fault(FaultOrder { vendor: Some(VendorName::Merge), ..fault.into() });
        for vendor in VendorName::ALL {
            let expected = if vendor == VendorName::Merge { status } else { 200 };
            assert_eq!(first(&harness, vendor).await.status, expected, "{vendor} {fault}");
        }
        harness.control().clear_fault(None, fault);
        assert_eq!(first(&harness, VendorName::Merge).await.status, 200);
    }
}

#[tokio::test]
async fn the_next_page_is_the_current_page() {
    let harness = with(FaultName::RepeatedToken).await;
    let page = first(&harness, VendorName::Clumio).await.json();
    assert_eq!(page["_links"]["_next"]["href"], "/audit-trails?limit=50&start=1");
    let page = first(&harness, VendorName::CaptivateIq).await.json();
    assert_eq!(
        page["next"].as_str().and_then(|next| next.split_once("/ciq")).map(|(_, path)| path),
        Some("/v1/audit-logs/?limit=50")
    );
    let cursor = first(&harness, VendorName::Merge).await.json()["next"].as_str().expect("a cursor").to_owned();
    let page = harness.first_page(VendorName::Merge, 50, &format!("&cursor={cursor}")).await.json();
    assert_eq!(page["next"], cursor);
}

#[tokio::test]
async fn a_cursor_expires() {
    let harness = with(FaultName::ExpiredCursor).await;
    let cursor = first(&harness, VendorName::Merge).await.json()["next"].as_str().expect("a cursor").to_owned();
    let answer = harness.first_page(VendorName::Merge, 50, &format!("&cursor={cursor}")).await;
    assert_eq!((answer.status, answer.body.as_str()), (404, r#"{"detail":"Invalid cursor"}"#));
}

#[tokio::test]
async fn late_events_become_visible_after_their_time() {
    let harness = Harness::start(|options| {
        options.rate = 5.0;
        options.faults.push(always(FaultName::LateEvents));
    })
    .await;
    harness.clock.advance(Duration::from_secs(60));
    for vendor in VendorName::ALL {
        let truth = harness.control().truth(vendor).expect("a vendor");
        for record in &truth {
            let lateness = record.visible_at.since(record.timestamp);
            assert!((Duration::from_secs(1)..=Duration::from_secs(20)).contains(&lateness), "{vendor} {lateness:?}");
            assert!(record.visible_at <= harness.control().now());
        }
        let at_once = truth.len();
        harness.clock.advance(Duration::from_millis(1));
        let served = harness.scan(vendor, 100, "").await.concat();
        assert!(served.len() >= at_once, "{vendor}");
        assert_eq!(sorted(served), sorted(harness.truth(vendor)), "{vendor}");
    }
}

#[tokio::test]
async fn akuity_records_grow_and_the_latest_version_is_the_truth() {
    let harness = Harness::start(|options| {
        options.rate = 5.0;
        options.faults.push("changing_records=0.5:60".parse().expect("a fault"));
    })
    .await;
    harness.clock.advance(Duration::from_secs(30));
    let before = harness.scan(VendorName::Akuity, 100, "").await.concat();
    harness.clock.advance(Duration::from_secs(120));
    let truth = harness.control().truth(VendorName::Akuity).expect("a vendor");
    let changed: Vec<_> = truth.iter().filter(|record| record.version > 1 && record.versions_served > 0).collect();
    assert!(
        changed.iter().any(|record| record.earlier.iter().any(|raw| before.contains(raw))),
        "none was seen growing"
    );
    for record in changed {
        let count = |raw: &str| serde_json::from_str::<serde_json::Value>(raw).expect("JSON")["count"].as_u64();
        let counts: Vec<_> = record.earlier.iter().chain([&record.raw]).map(|raw| count(raw)).collect();
        assert!(counts.is_sorted_by(|one, next| one < next), "{counts:?}");
    }
    assert_eq!(
        sorted(harness.scan(VendorName::Akuity, 100, "").await.concat()),
        sorted(harness.truth(VendorName::Akuity))
    );
    assert!(harness.control().truth(VendorName::Clumio).expect("a vendor").iter().all(|record| record.version == 1));
}

#[tokio::test]
async fn a_page_shifts_and_the_new_event_is_in_the_truth() {
    let harness = with(FaultName::PageShift).await;
    for vendor in [VendorName::Akuity, VendorName::CaptivateIq, VendorName::Clumio, VendorName::Confluence] {
        let before = harness.truth(vendor).len();
        harness.first_page(vendor, 100, "").await;
        assert_eq!(harness.truth(vendor).len(), before, "{vendor}: the first page shifts nothing");
        let second = match vendor {
            VendorName::Akuity => "&filters.offset=100",
            VendorName::CaptivateIq => "&offset=100",
            VendorName::Clumio => "&start=2",
            _ => "&start=100",
        };
        harness.first_page(vendor, 100, second).await;
        let truth = harness.control().truth(vendor).expect("a vendor");
        assert_eq!(truth.len(), before + 1, "{vendor}");
        let new = truth.iter().find(|record| record.visible_at == harness.control().now()).expect("the new event");
        assert!(harness.control().now().since(new.timestamp) <= Duration::from_secs(80), "{vendor}");
    }
}

#[tokio::test]
async fn in_a_past_window_the_new_event_is_among_the_unread_rows() {
    let harness = with(FaultName::PageShift).await;
    let truth = harness.control().truth(VendorName::Confluence).expect("a vendor");
    let window = format!("&startDate={}&endDate={}", truth[50].timestamp.as_millis(), truth[250].timestamp.as_millis());
    let records_read = harness.scan(VendorName::Confluence, 30, &window).await.concat();
    let mut new = harness.control().truth(VendorName::Confluence).expect("a vendor");
    new.retain(|record| record.visible_at == harness.control().now());
    assert!(!new.is_empty());
    for record in new {
        assert!(records_read.contains(&record.raw), "an event was inserted before the scan's position");
    }
}

#[tokio::test]
async fn bodies_are_compressed_if_the_client_accepts_it() {
    let harness = with(FaultName::Gzip).await;
    let request = harness.request(VendorName::Merge, &first_path(VendorName::Merge, 50, ""));
    let plain = Harness::send(request).await.expect("an answer");
    assert!(plain.body.contains("results"), "the client unpacks what it asked for");
    let refused = harness
        .request(VendorName::Merge, &first_path(VendorName::Merge, 50, ""))
        .header("accept-encoding", "identity");
    let refused = Harness::send(refused).await.expect("an answer");
    assert_eq!((refused.header("content-encoding"), &refused.body), (None, &plain.body));
    let packed = reqwest::Client::builder().no_proxy().no_gzip().build().expect("a client");
    let bytes = packed
        .get(harness.url(&first_path(VendorName::Merge, 50, "")))
        .bearer_auth(&harness.simulator.credentials().merge_api_key)
        .header("accept-encoding", "gzip");
    let response = bytes.send().await.expect("an answer");
    assert_eq!(response.headers().get("content-encoding").map(|value| value.as_bytes()), Some(&b"gzip"[..]));
}

#[tokio::test]
async fn a_slow_answer_is_whole() {
    let harness = Harness::start(|options| options.faults.push("slow=1:0.05".parse().expect("a fault"))).await;
    for _ in 0..4 {
        assert_eq!(first(&harness, VendorName::Akuity).await.json()["totalCount"], 300);
    }
}

#[tokio::test]
async fn no_fault_touches_the_truth() {
    let harness = Harness::start(|_| {}).await;
    let before = VendorName::ALL.map(|vendor| harness.truth(vendor));
    for fault in FaultName::ALL.iter().filter(|fault| !matches!(fault, FaultName::PageShift | FaultName::Slow)) {
        harness
            .control()
            .set_fault(FaultOrder { setting: FaultSetting { probability: 0.5, seconds: 1.0 }, ..(*fault).into() });
    }
    for vendor in VendorName::ALL {
        for _ in 0..10 {
            // Whatever comes back, even a broken connection.
            let _ = Harness::send(harness.request(vendor, &first_path(vendor, 50, ""))).await;
        }
    }
    harness.control().clear_faults();
    assert_eq!(VendorName::ALL.map(|vendor| harness.truth(vendor)), before);
    for vendor in VendorName::ALL {
        assert_eq!(sorted(harness.scan(vendor, 100, "").await.concat()), sorted(harness.truth(vendor)), "{vendor}");
    }
}
