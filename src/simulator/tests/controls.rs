//! Control from the same process and over `/_sim/`.

use serde_json::{Value, json};

use super::{Harness, first_path, sorted, start};
use crate::simulator::{CannedReply, NewRecord, TruthQuery, VendorName};

async fn put(harness: &Harness, path: &str, body: &Value) -> super::Answer {
    Harness::send(harness.client.put(harness.url(path)).body(body.to_string())).await.expect("an answer")
}

async fn post(harness: &Harness, path: &str, body: &str) -> super::Answer {
    Harness::send(harness.client.post(harness.url(path)).body(body.to_owned())).await.expect("an answer")
}

async fn get(harness: &Harness, path: &str) -> super::Answer {
    Harness::send(harness.client.get(harness.url(path))).await.expect("an answer")
}

#[tokio::test]
async fn an_inserted_record_is_served_unchanged() {
    let harness = Harness::start(|_| {}).await;
    let raw = "{ \"id\": \"mine\",\t\"created_at\":\"2026-03-02T11:59:00Z\" , \"big\": 12345678901234567890 }";
    let timestamp = Some(start() - std::time::Duration::from_secs(60));
    for vendor in VendorName::ALL {
        let record = NewRecord { timestamp, raw: Some(raw.into()), ..NewRecord::default() };
        let key = harness.control().insert(vendor, record).expect("put in");
        assert!(harness.scan(vendor, 100, "").await.concat().contains(&raw.to_owned()), "{vendor}");
        let truth = harness.control().truth(vendor).expect("a vendor");
        assert!(truth.iter().any(|record| record.key == key && record.raw == raw), "{vendor}");
    }
}

#[tokio::test]
async fn a_record_appears_between_two_pages() {
    let harness = Harness::start(|_| {}).await;
    for vendor in VendorName::ALL {
        harness.control().insert_after(vendor, 2, NewRecord::default()).expect("planned");
        let pages = harness.scan(vendor, 100, "").await;
        let new = harness.control().truth(vendor).expect("a vendor").pop().expect("the newest").raw;
        assert_eq!(harness.truth(vendor).len(), 301);
        assert!(!pages[..2].concat().contains(&new), "{vendor}: it came too early");
        if vendor != VendorName::Merge {
            assert_eq!(pages[1].last(), pages[2].first(), "{vendor}: the rows shift by one");
        }
    }
}

#[tokio::test]
async fn an_identical_record_is_a_second_event() {
    let harness = Harness::start(|_| {}).await;
    let record = harness.control().truth(VendorName::Confluence).expect("a vendor").remove(10);
    harness.control().insert_identical(VendorName::Confluence, &record.key).expect("put in");
    let mut truth = harness.control().truth(VendorName::Confluence).expect("a vendor");
    truth.retain(|other| other.raw == record.raw);
    assert!(truth.iter().all(|identical| identical.meaning == record.meaning && identical.meaning.is_some()));
    assert_eq!(truth.iter().map(|identical| identical.occurrence).collect::<Vec<_>>(), [0, 1]);
    assert!(harness.control().insert_identical(VendorName::Confluence, "confluence-999999").is_err());
    assert!(harness.control().insert_identical(VendorName::Confluence, "clumio-1").is_err());
}

#[tokio::test]
async fn a_changed_record_is_served_in_its_latest_version() {
    let harness = Harness::start(|_| {}).await;
    let record = harness.control().truth(VendorName::Akuity).expect("a vendor").remove(3);
    harness.control().change(VendorName::Akuity, &record.key, r#"{"changed":true}"#.into()).expect("changed");
    let now = harness.control().truth(VendorName::Akuity).expect("a vendor").remove(3);
    assert_eq!((now.version, now.raw.as_str(), now.earlier), (2, r#"{"changed":true}"#, vec![record.raw]));
    assert!(harness.scan(VendorName::Akuity, 50, "").await.concat().contains(&now.raw));
    assert_eq!((record.meaning.is_some(), now.meaning), (true, None), "what the new text says is not known");
}

#[tokio::test]
async fn the_truth_says_who_acts_and_who_is_made_an_administrator() {
    let harness = Harness::start(|options| options.events_per_vendor = 1_000).await;
    for vendor in VendorName::ALL {
        let answer = get(&harness, &format!("/_sim/truth/{vendor}")).await;
        let lines = answer.body.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let meanings: Vec<Value> = lines.map(|mut line| line["meaning"].take()).collect();
        let people = meanings.iter().flat_map(|meaning| meaning["people"].as_array().expect("a list"));
        assert!(people.clone().any(|person| person["role"] == "actor"), "{vendor}");
        assert!(people.clone().any(|person| person["role"] != "actor"), "{vendor}");
        let grants = meanings.iter().flat_map(|meaning| meaning["grants"].as_array().expect("a list"));
        let administrators = grants.filter(|grant| grant["granted"] == true && grant["admin"] == true).count();
        // Merge has no such record.
        assert_eq!(administrators > 0, vendor != VendorName::Merge, "{vendor}");
        assert!(administrators < 50, "{vendor}: {administrators} of 1000");
    }
}

#[tokio::test]
async fn addresses_look_like_addresses() {
    let harness = Harness::start(|options| options.faults = vec!["unknown_values=0.5".parse().expect("a fault")]).await;
    for vendor in VendorName::ALL {
        for record in harness.control().truth(vendor).expect("a vendor") {
            let fields: Value = serde_json::from_str(&record.raw).expect("JSON");
            for address in [&fields["user_email"], &fields["logged_in_user_email"], &fields["actor"]["id"]] {
                let Some(address) = address.as_str().filter(|address| address.contains('@')) else { continue };
                assert!(!address.contains(char::is_whitespace) && address.is_ascii(), "{vendor}: {address}");
            }
        }
    }
}

#[tokio::test]
async fn the_next_replies_can_be_set() {
    let harness = Harness::start(|_| {}).await;
    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    let answer = CannedReply { status: 503, headers, body: "busy".into() };
    harness.control().fail_next(VendorName::Merge, 2, answer).expect("ordered");
    for status in [503, 503, 200] {
        assert_eq!(harness.first_page(VendorName::Merge, 5, "").await.status, status);
    }
    assert_eq!(harness.first_page(VendorName::Clumio, 5, "").await.status, 200);
    let body = r#"{"status":418,"headers":{"x-tea":"pot"},"body":"{}"}"#;
    assert_eq!(post(&harness, "/_sim/fail_next/clumio", body).await.status, 204);
    let answer = harness.first_page(VendorName::Clumio, 5, "").await;
    assert_eq!((answer.status, answer.header("x-tea")), (418, Some("pot")));
}

#[tokio::test]
async fn requests_are_counted_and_no_credential_is_kept() {
    let harness = Harness::start(|_| {}).await;
    harness.first_page(VendorName::Akuity, 5, "").await;
    harness.get(VendorName::Akuity, "/api/v1/nowhere").await;
    let stats = harness.control().requests(VendorName::Akuity).expect("a vendor");
    assert_eq!((stats.requests, stats.by_status[&200], stats.by_status[&404]), (2, 1, 1));
    assert_eq!((stats.in_flight, stats.max_concurrent), (0, 1));
    assert_eq!(stats.recent[0].query, "filters.limit=5");
    let text = format!("{stats:?}") + &get(&harness, "/_sim/requests").await.body;
    for secret in harness.simulator.credentials().secrets() {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn the_truth_over_http_has_one_line_per_event() {
    let harness = Harness::start(|_| {}).await;
    let truth = harness.control().truth(VendorName::Clumio).expect("a vendor");
    let answer = get(&harness, "/_sim/truth/clumio").await;
    let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 300);
    assert_eq!((lines[5]["key"].as_str(), lines[5]["raw"].as_str()), (Some(&*truth[5].key), Some(&*truth[5].raw)));
    let (from, to) = (truth[100].timestamp, truth[110].timestamp);
    let part = get(&harness, &format!("/_sim/truth/clumio?from={from}&to={to}")).await;
    let query = TruthQuery { from: Some(from), to: Some(to), visible_by: None };
    assert_eq!(
        part.body.lines().count(),
        harness.control().truth_of(VendorName::Clumio, query).expect("a vendor").len()
    );
    let early = get(&harness, &format!("/_sim/truth/clumio?visible_by={from}")).await;
    assert!(early.body.lines().count() < 150);
    assert_eq!(get(&harness, "/_sim/truth/nobody").await.status, 404);
    assert_eq!(get(&harness, "/_sim/truth/clumio?from=yesterday").await.status, 400);
}

#[tokio::test]
async fn faults_and_variants_are_set_over_http() {
    let harness = Harness::start(|_| {}).await;
    let wanted = json!({ "unauthorized": true, "merge.unauthorized": false, "slow": { "probability": 0.0 }, "clumio.gzip": 0.5 });
    assert_eq!(put(&harness, "/_sim/faults", &wanted).await.status, 200);
    assert_eq!(harness.first_page(VendorName::Akuity, 5, "").await.status, 401);
    let faults = get(&harness, "/_sim/faults").await.json();
    assert_eq!(faults["clumio.gzip"]["probability"], 0.5);
    assert_eq!(put(&harness, "/_sim/faults", &json!({})).await.status, 200);
    assert_eq!(harness.first_page(VendorName::Akuity, 5, "").await.status, 200);
    for bad in [json!({ "fire": true }), json!({ "slow": 2 }), json!([1])] {
        assert_eq!(put(&harness, "/_sim/faults", &bad).await.status, 400, "{bad}");
    }
    assert_eq!(put(&harness, "/_sim/variants", &json!({ "confluence.default_limit": "3" })).await.status, 200);
    let page = harness.get(VendorName::Confluence, "/wiki/rest/api/audit").await;
    assert_eq!(page.json()["limit"], 3);
    assert_eq!(put(&harness, "/_sim/variants", &json!({ "confluence.color": "red" })).await.status, 400);
}

#[tokio::test]
async fn records_are_inserted_and_changed_over_http() {
    let harness = Harness::start(|_| {}).await;
    let body = r#"{"timestamp":"2026-03-02T11:00:00Z","raw":{ "n":1.50 }}"#;
    let key = post(&harness, "/_sim/records/merge", body).await.json()["key"].as_str().expect("a key").to_owned();
    assert!(harness.truth(VendorName::Merge).contains(&"{ \"n\":1.50 }".to_owned()));
    let identical = post(&harness, "/_sim/records/merge", &json!({ "identical_to": key }).to_string()).await;
    assert_eq!(identical.status, 200);
    assert_eq!(put(&harness, &format!("/_sim/records/merge/{key}"), &json!({ "n": 2 })).await.status, 204);
    assert!(harness.truth(VendorName::Merge).contains(&r#"{"n":2}"#.to_owned()));
    assert_eq!(post(&harness, "/_sim/records/merge", r#"{"after_requests":0}"#).await.status, 202);
    harness.first_page(VendorName::Merge, 5, "").await;
    assert_eq!(harness.truth(VendorName::Merge).len(), 303);
    assert_eq!(put(&harness, "/_sim/records/merge/merge-77777", &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_record_can_appear_later() {
    let harness = Harness::start(|_| {}).await;
    let visible_at = Some(start() + std::time::Duration::from_secs(30));
    harness.control().insert(VendorName::Akuity, NewRecord { visible_at, ..NewRecord::default() }).expect("put in");
    assert_eq!(harness.truth(VendorName::Akuity).len(), 300);
    harness.clock.advance(std::time::Duration::from_secs(30));
    assert_eq!(harness.truth(VendorName::Akuity).len(), 301);
    assert_eq!(
        sorted(harness.scan(VendorName::Akuity, 100, "").await.concat()),
        sorted(harness.truth(VendorName::Akuity))
    );
}

#[tokio::test]
async fn a_vendor_that_is_not_served_is_not_found() {
    let harness = Harness::start(|options| options.vendors = vec![VendorName::Merge]).await;
    assert_eq!(harness.get(VendorName::Clumio, &first_path(VendorName::Clumio, 1, "")).await.status, 404);
    assert_eq!(harness.first_page(VendorName::Merge, 1, "").await.status, 200);
    assert!(harness.control().truth(VendorName::Clumio).is_err());
    let health = get(&harness, "/_sim/health").await.json();
    assert_eq!((&health["status"], &health["records"]), (&json!("ok"), &json!({ "merge": 300 })));
}

#[tokio::test]
async fn after_shutdown_nothing_listens() {
    let harness = Harness::start(|_| {}).await;
    let url = harness.url("/_sim/health");
    harness.simulator.shutdown().await;
    assert!(reqwest::Client::builder().no_proxy().build().expect("a client").get(url).send().await.is_err());
}

#[test]
fn the_documentation_names_every_fault_and_variant() {
    let text = include_str!("../../../docs/simulator.md");
    for fault in crate::simulator::FaultName::ALL {
        assert!(text.contains(&format!("`{fault}`")), "{fault}");
    }
    for info in crate::simulator::Variants::default().list() {
        let (_, variant) = info.name.split_once('.').expect("vendor.variant");
        assert!(text.contains(&format!("`{variant}`")), "{}", info.name);
    }
}
