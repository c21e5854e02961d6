//! Steering by hand, from the same process and over `/_sim/`.

use serde_json::{Value, json};

use super::{Stage, first_path, sorted, start};
use crate::simulator::{NewRecord, OrderedAnswer, TruthQuery, VendorName};

async fn put(stage: &Stage, path: &str, body: &Value) -> super::Answer {
    Stage::send(stage.client.put(stage.url(path)).body(body.to_string())).await.expect("an answer")
}

async fn post(stage: &Stage, path: &str, body: &str) -> super::Answer {
    Stage::send(stage.client.post(stage.url(path)).body(body.to_owned())).await.expect("an answer")
}

async fn look(stage: &Stage, path: &str) -> super::Answer {
    Stage::send(stage.client.get(stage.url(path))).await.expect("an answer")
}

#[tokio::test]
async fn a_record_of_ones_own_is_served_as_it_stands() {
    let stage = Stage::start(|_| {}).await;
    let raw = "{ \"id\": \"mine\",\t\"created_at\":\"2026-03-02T11:59:00Z\" , \"big\": 12345678901234567890 }";
    let timestamp = Some(start() - std::time::Duration::from_secs(60));
    for vendor in VendorName::ALL {
        let record = NewRecord { timestamp, raw: Some(raw.into()), ..NewRecord::default() };
        let key = stage.control().insert(vendor, record).expect("put in");
        assert!(stage.walk(vendor, 100, "").await.concat().contains(&raw.to_owned()), "{vendor}");
        let truth = stage.control().truth(vendor).expect("a vendor");
        assert!(truth.iter().any(|record| record.key == key && record.raw == raw), "{vendor}");
    }
}

#[tokio::test]
async fn a_record_appears_between_two_pages() {
    let stage = Stage::start(|_| {}).await;
    for vendor in VendorName::ALL {
        stage.control().insert_after(vendor, 2, NewRecord::default()).expect("planned");
        let pages = stage.walk(vendor, 100, "").await;
        let new = stage.control().truth(vendor).expect("a vendor").pop().expect("the newest").raw;
        assert_eq!(stage.truth(vendor).len(), 301);
        assert!(!pages[..2].concat().contains(&new), "{vendor}: it came too early");
        if vendor != VendorName::Merge {
            assert_eq!(pages[1].last(), pages[2].first(), "{vendor}: the rows shift by one");
        }
    }
}

#[tokio::test]
async fn a_twin_is_a_second_event() {
    let stage = Stage::start(|_| {}).await;
    let record = stage.control().truth(VendorName::Confluence).expect("a vendor").remove(10);
    stage.control().insert_twin(VendorName::Confluence, &record.key).expect("put in");
    let mut truth = stage.control().truth(VendorName::Confluence).expect("a vendor");
    truth.retain(|other| other.raw == record.raw);
    assert_eq!(truth.iter().map(|twin| twin.twin_number).collect::<Vec<_>>(), [0, 1]);
    assert!(stage.control().insert_twin(VendorName::Confluence, "confluence-999999").is_err());
    assert!(stage.control().insert_twin(VendorName::Confluence, "clumio-1").is_err());
}

#[tokio::test]
async fn a_changed_record_is_served_in_its_latest_version() {
    let stage = Stage::start(|_| {}).await;
    let record = stage.control().truth(VendorName::Akuity).expect("a vendor").remove(3);
    stage.control().change(VendorName::Akuity, &record.key, r#"{"changed":true}"#.into()).expect("changed");
    let now = stage.control().truth(VendorName::Akuity).expect("a vendor").remove(3);
    assert_eq!((now.version, now.raw.as_str(), now.earlier), (2, r#"{"changed":true}"#, vec![record.raw]));
    assert!(stage.walk(VendorName::Akuity, 50, "").await.concat().contains(&now.raw));
}

#[tokio::test]
async fn the_next_answers_can_be_ordered() {
    let stage = Stage::start(|_| {}).await;
    let headers = vec![("retry-after".to_owned(), "7".to_owned())];
    let answer = OrderedAnswer { status: 503, headers, body: "busy".into() };
    stage.control().fail_next(VendorName::Merge, 2, answer).expect("ordered");
    for status in [503, 503, 200] {
        assert_eq!(stage.first_page(VendorName::Merge, 5, "").await.status, status);
    }
    assert_eq!(stage.first_page(VendorName::Clumio, 5, "").await.status, 200);
    let body = r#"{"status":418,"headers":{"x-tea":"pot"},"body":"{}"}"#;
    assert_eq!(post(&stage, "/_sim/fail_next/clumio", body).await.status, 204);
    let answer = stage.first_page(VendorName::Clumio, 5, "").await;
    assert_eq!((answer.status, answer.header("x-tea")), (418, Some("pot")));
}

#[tokio::test]
async fn requests_are_counted_and_no_credential_is_kept() {
    let stage = Stage::start(|_| {}).await;
    stage.first_page(VendorName::Akuity, 5, "").await;
    stage.get(VendorName::Akuity, "/api/v1/nowhere").await;
    let stats = stage.control().requests(VendorName::Akuity).expect("a vendor");
    assert_eq!((stats.requests, stats.by_status[&200], stats.by_status[&404]), (2, 1, 1));
    assert_eq!((stats.in_flight, stats.greatest_concurrent), (0, 1));
    assert_eq!(stats.recent[0].query, "filters.limit=5");
    let text = format!("{stats:?}") + &look(&stage, "/_sim/requests").await.body;
    for secret in stage.simulator.credentials().secrets() {
        assert!(!text.contains(secret));
    }
}

#[tokio::test]
async fn the_truth_over_http_is_one_line_an_event() {
    let stage = Stage::start(|_| {}).await;
    let truth = stage.control().truth(VendorName::Clumio).expect("a vendor");
    let answer = look(&stage, "/_sim/truth/clumio").await;
    let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines.len(), 300);
    assert_eq!((lines[5]["key"].as_str(), lines[5]["raw"].as_str()), (Some(&*truth[5].key), Some(&*truth[5].raw)));
    let (from, to) = (truth[100].timestamp, truth[110].timestamp);
    let part = look(&stage, &format!("/_sim/truth/clumio?from={from}&to={to}")).await;
    let query = TruthQuery { from: Some(from), to: Some(to), visible_by: None };
    assert_eq!(part.body.lines().count(), stage.control().truth_of(VendorName::Clumio, query).expect("a vendor").len());
    let early = look(&stage, &format!("/_sim/truth/clumio?visible_by={from}")).await;
    assert!(early.body.lines().count() < 150);
    assert_eq!(look(&stage, "/_sim/truth/nobody").await.status, 404);
    assert_eq!(look(&stage, "/_sim/truth/clumio?from=yesterday").await.status, 400);
}

#[tokio::test]
async fn faults_and_switches_are_set_over_http() {
    let stage = Stage::start(|_| {}).await;
    let wanted = json!({ "unauthorized": true, "merge.unauthorized": false, "slow": { "probability": 0.0 }, "clumio.gzip": 0.5 });
    assert_eq!(put(&stage, "/_sim/faults", &wanted).await.status, 200);
    assert_eq!(stage.first_page(VendorName::Akuity, 5, "").await.status, 401);
    let faults = look(&stage, "/_sim/faults").await.json();
    assert_eq!(faults["clumio.gzip"]["probability"], 0.5);
    assert_eq!(put(&stage, "/_sim/faults", &json!({})).await.status, 200);
    assert_eq!(stage.first_page(VendorName::Akuity, 5, "").await.status, 200);
    for bad in [json!({ "fire": true }), json!({ "slow": 2 }), json!([1])] {
        assert_eq!(put(&stage, "/_sim/faults", &bad).await.status, 400, "{bad}");
    }
    assert_eq!(put(&stage, "/_sim/switches", &json!({ "confluence.default_limit": "3" })).await.status, 200);
    let page = stage.get(VendorName::Confluence, "/wiki/rest/api/audit").await;
    assert_eq!(page.json()["limit"], 3);
    assert_eq!(put(&stage, "/_sim/switches", &json!({ "confluence.color": "red" })).await.status, 400);
}

#[tokio::test]
async fn records_are_put_in_and_changed_over_http() {
    let stage = Stage::start(|_| {}).await;
    let body = r#"{"timestamp":"2026-03-02T11:00:00Z","raw":{ "n":1.50 }}"#;
    let key = post(&stage, "/_sim/records/merge", body).await.json()["key"].as_str().expect("a key").to_owned();
    assert!(stage.truth(VendorName::Merge).contains(&"{ \"n\":1.50 }".to_owned()));
    let twin = post(&stage, "/_sim/records/merge", &json!({ "twin_of": key }).to_string()).await;
    assert_eq!(twin.status, 200);
    assert_eq!(put(&stage, &format!("/_sim/records/merge/{key}"), &json!({ "n": 2 })).await.status, 204);
    assert!(stage.truth(VendorName::Merge).contains(&r#"{"n":2}"#.to_owned()));
    assert_eq!(post(&stage, "/_sim/records/merge", r#"{"after_requests":0}"#).await.status, 202);
    stage.first_page(VendorName::Merge, 5, "").await;
    assert_eq!(stage.truth(VendorName::Merge).len(), 303);
    assert_eq!(put(&stage, "/_sim/records/merge/merge-77777", &json!({})).await.status, 404);
}

#[tokio::test]
async fn a_record_can_appear_later() {
    let stage = Stage::start(|_| {}).await;
    let visible_at = Some(start() + std::time::Duration::from_secs(30));
    stage.control().insert(VendorName::Akuity, NewRecord { visible_at, ..NewRecord::default() }).expect("put in");
    assert_eq!(stage.truth(VendorName::Akuity).len(), 300);
    stage.clock.advance(std::time::Duration::from_secs(30));
    assert_eq!(stage.truth(VendorName::Akuity).len(), 301);
    assert_eq!(sorted(stage.walk(VendorName::Akuity, 100, "").await.concat()), sorted(stage.truth(VendorName::Akuity)));
}

#[tokio::test]
async fn a_vendor_that_is_not_played_is_not_there() {
    let stage = Stage::start(|options| options.vendors = vec![VendorName::Merge]).await;
    assert_eq!(stage.get(VendorName::Clumio, &first_path(VendorName::Clumio, 1, "")).await.status, 404);
    assert_eq!(stage.first_page(VendorName::Merge, 1, "").await.status, 200);
    assert!(stage.control().truth(VendorName::Clumio).is_err());
    let health = look(&stage, "/_sim/health").await.json();
    assert_eq!((&health["status"], &health["records"]), (&json!("ok"), &json!({ "merge": 300 })));
}

#[tokio::test]
async fn after_shutdown_nothing_listens() {
    let stage = Stage::start(|_| {}).await;
    let url = stage.url("/_sim/health");
    stage.simulator.shutdown().await;
    assert!(reqwest::Client::builder().no_proxy().build().expect("a client").get(url).send().await.is_err());
}

#[test]
fn the_documentation_names_every_fault_and_switch() {
    let text = include_str!("../../../docs/simulator.md");
    for fault in crate::simulator::FaultName::ALL {
        assert!(text.contains(&format!("`{fault}`")), "{fault}");
    }
    for info in crate::simulator::Switches::default().list() {
        let (_, switch) = info.name.split_once('.').expect("vendor.switch");
        assert!(text.contains(&format!("`{switch}`")), "{}", info.name);
    }
}
