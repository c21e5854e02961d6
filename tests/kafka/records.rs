//! Records in the topic, and records that cannot be delivered.

use std::fs;

use auditflow::simulator::NewRecord;
use auditflow::simulator::VendorName;
use auditflow::simulator::proof::Delivered;

use crate::broker::Broker;
use crate::harness::Harness;
use crate::reader::{self, committed};

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn events_of_all_vendors_are_delivered_with_key_headers_and_value() {
    let harness = Harness::without_faults(Broker::shared(), 300);
    let prefix = &harness.topic;
    harness.configure(&format!(
        "topic: \"{prefix}.{{{{ vendor }}}}\", create_topic: {{partitions: 2, replication_factor: 1}}, compression: zstd, headers: {{env: test}}"
    ));
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    let topics = VendorName::ALL.map(|vendor| format!("{prefix}.{}", vendor.as_str()));
    let records = committed(&harness.broker.address(), &topics.each_ref().map(String::as_str));
    for record in &records {
        let event = Delivered::from_line(&record.value).unwrap();
        assert_eq!(record.key, event.id);
        assert_eq!(record.headers["event_id"], event.id);
        assert_eq!(record.headers["vendor"], event.vendor);
        assert_eq!(record.headers["schema_version"], "1.0");
        assert_eq!(record.headers["env"], "test");
    }
    harness.assert_exactly_once(&records);
    harness.pipeline.assert_counters_add_up(&["stream"]);
    harness.pipeline.assert_no_secret_anywhere();
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn an_oversized_record_is_dead_lettered_once_and_the_others_are_delivered() {
    for delivery in ["at_least_once", "exactly_once"] {
        let harness = Harness::without_faults(Broker::shared(), 100);
        harness.configure(&format!("delivery: {delivery}"));
        // Requests also exceed the topic's limit, but only these two records do so alone.
        insert_large(&harness);
        insert_large(&harness);
        harness.pipeline.wait_until_quiet();
        reader::create_topic(&harness.broker.address(), &harness.topic, &[("max.message.bytes", "20000")]);
        harness.run_once();
        let ids = dead_letter_and_topic(&harness);
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), harness.truth(), "{delivery}: lost");
        if delivery == "exactly_once" {
            assert_eq!(
                ids.len(),
                harness.truth(),
                "an event is in both the topic and the dead letter, or twice in one"
            );
        }
        harness.pipeline.assert_counters_add_up(&["stream"]);
    }
}

/// Adds a record of more than 40 kB.
fn insert_large(harness: &Harness) {
    let (control, vendor) = (harness.pipeline.simulator.control(), VendorName::Merge);
    let key = control.insert(vendor, NewRecord::default()).unwrap();
    let record = control.truth(vendor).unwrap().into_iter().find(|record| record.key == key).unwrap();
    let rest = record.raw.strip_suffix('}').unwrap();
    control.change(vendor, &key, format!(r#"{rest},"note":"{}"}}"#, "x".repeat(40_000))).unwrap();
}

/// The ids in both. The dead letter must not contain duplicates.
fn dead_letter_and_topic(harness: &Harness) -> Vec<String> {
    let records = harness.committed();
    let dead = fs::read_to_string(harness.pipeline.path("data/dead_letter/stream.ndjson")).unwrap();
    let dead: Vec<serde_json::Value> = dead.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    eprintln!("{} dead-lettered, {} delivered", dead.len(), records.len());
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|line| line["reason"].as_str().unwrap().contains("max.message.bytes")), "{}", dead[0]);
    let mut ids: Vec<_> = dead.iter().map(|line| line["event"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), dead.len(), "the dead letter contains an event twice");
    ids.extend(records.iter().map(|record| record.key.clone()));
    ids
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_missing_topic_is_reported_and_delivery_resumes_when_it_is_created() {
    let harness = Harness::without_faults(Broker::shared(), 100);
    harness.configure("delivery: at_least_once");
    let _running = harness.start();
    let line = harness.pipeline.until_event("sink_retrying", &format!("`{}`", harness.topic));
    assert!(line.contains("create the topic"), "{line}");
    harness.create_topic();
    harness.until_all_is_delivered();
    harness.assert_exactly_once(&harness.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn the_check_reports_a_missing_topic_and_writes_nothing() {
    let harness = Harness::without_faults(Broker::shared(), 20);
    harness.configure("delivery: exactly_once");
    let (passed, printed) = harness.check();
    assert!(
        !passed
            && printed.contains(&format!("`{}`", harness.topic))
            && printed.lines().any(|line| line.starts_with("source clumio") && line.ends_with("ok")),
        "{printed}"
    );
    let status = harness.pipeline.program(&["run", harness.file(), "--require-healthy"]).status().unwrap();
    assert_eq!(status.code(), Some(1));
    harness.create_topic();
    let (passed, printed) = harness.check();
    assert!(passed, "{printed}");
    assert!(harness.committed().is_empty(), "a check must not write records");
}
