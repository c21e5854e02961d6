//! What arrives, and what cannot.

use std::fs;

use auditflow::simulator::NewRecord;
use auditflow::simulator::VendorName;
use auditflow::simulator::proof::Delivered;

use crate::broker::Broker;
use crate::reader::{self, committed};
use crate::stage::Stage;

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn all_five_vendors_arrive_with_key_headers_and_value() {
    let stage = Stage::calm(Broker::shared(), 300);
    let prefix = &stage.topic;
    stage.configure(&format!(
        "topic: \"{prefix}.{{{{ vendor }}}}\", create_topic: {{partitions: 2, replication_factor: 1}}, compression: zstd, headers: {{env: test}}"
    ));
    stage.world.wait_until_quiet();
    stage.run_once();
    let topics = VendorName::ALL.map(|vendor| format!("{prefix}.{}", vendor.as_str()));
    let records = committed(&stage.broker.address(), &topics.each_ref().map(String::as_str));
    for record in &records {
        let event = Delivered::from_line(&record.value).unwrap();
        assert_eq!(record.key, event.id);
        assert_eq!(record.headers["event_id"], event.id);
        assert_eq!(record.headers["vendor"], event.vendor);
        assert_eq!(record.headers["schema_version"], "1.0");
        assert_eq!(record.headers["env"], "test");
    }
    stage.assert_exactly_once(&records);
    stage.world.assert_counters_add_up(&["stream"]);
    stage.world.assert_no_secret_anywhere();
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn an_oversized_record_goes_to_the_dead_letter_once_and_the_rest_arrives() {
    for delivery in ["at_least_once", "exactly_once"] {
        let stage = Stage::calm(Broker::shared(), 100);
        stage.configure(&format!("delivery: {delivery}"));
        // Whole requests are larger than the topic allows, but only these two records are.
        insert_large(&stage);
        insert_large(&stage);
        stage.world.wait_until_quiet();
        reader::create_topic(&stage.broker.address(), &stage.topic, &[("max.message.bytes", "20000")]);
        stage.run_once();
        let ids = dead_letter_and_topic(&stage);
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), stage.truth(), "{delivery}: lost");
        if delivery == "exactly_once" {
            assert_eq!(ids.len(), stage.truth(), "an event is twice in the topic and the dead letter together");
        }
        stage.world.assert_counters_add_up(&["stream"]);
    }
}

/// A record that came with a text of 40 kB.
fn insert_large(stage: &Stage) {
    let (control, vendor) = (stage.world.simulator.control(), VendorName::Merge);
    let key = control.insert(vendor, NewRecord::default()).unwrap();
    let record = control.truth(vendor).unwrap().into_iter().find(|record| record.key == key).unwrap();
    let rest = record.raw.strip_suffix('}').unwrap();
    control.change(vendor, &key, format!(r#"{rest},"note":"{}"}}"#, "x".repeat(40_000))).unwrap();
}

/// The ids in both; none of the dead letter is there twice.
fn dead_letter_and_topic(stage: &Stage) -> Vec<String> {
    let records = stage.committed();
    let dead = fs::read_to_string(stage.world.path("data/dead_letter/stream.ndjson")).unwrap();
    let dead: Vec<serde_json::Value> = dead.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    eprintln!("{} dead, {} delivered", dead.len(), records.len());
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|line| line["reason"].as_str().unwrap().contains("max.message.bytes")), "{}", dead[0]);
    let mut ids: Vec<_> = dead.iter().map(|line| line["event"]["id"].as_str().unwrap().to_owned()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), dead.len(), "an event is twice in the dead letter");
    ids.extend(records.iter().map(|record| record.key.clone()));
    ids
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_missing_topic_is_named_and_delivery_goes_on_once_it_is_there() {
    let stage = Stage::calm(Broker::shared(), 100);
    stage.configure("delivery: at_least_once");
    let _running = stage.start();
    stage.until_logged("the missing topic is named", &format!("`{}`", stage.topic));
    stage.create_topic();
    stage.until_all_is_there();
    stage.assert_exactly_once(&stage.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn the_check_names_what_is_missing_and_leaves_nothing_behind() {
    let stage = Stage::calm(Broker::shared(), 20);
    stage.configure("delivery: exactly_once");
    let (content, said) = stage.check();
    assert!(
        !content
            && said.contains(&format!("`{}`", stage.topic))
            && said.lines().any(|line| line.starts_with("source clumio") && line.ends_with("ok")),
        "{said}"
    );
    let status = stage.world.program(&["run", stage.file(), "--require-healthy"]).status().unwrap();
    assert_eq!(status.code(), Some(1));
    stage.create_topic();
    let (content, said) = stage.check();
    assert!(content, "{said}");
    assert!(stage.committed().is_empty(), "a check writes nothing");
}
