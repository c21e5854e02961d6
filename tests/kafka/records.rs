//! Records in the topic, records that cannot be delivered, and what `check` says about topics that refuse them.

use std::collections::HashSet;
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
        // The limit was asked for before anything was sent.
        assert_eq!(harness.pipeline.event_count("batch_retried"), 0, "{delivery}");
    }
}

/// Which compressed records are too large shows only when they are sent; one attempt finds all of a batch.
#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn several_oversized_records_cost_one_more_attempt_in_a_transaction() {
    const LARGE: usize = 8;
    let harness = Harness::without_faults(Broker::shared(), 100);
    harness.configure("delivery: exactly_once, compression: zstd");
    let mut random = fastrand::Rng::with_seed(harness.seed);
    for _ in 0..LARGE {
        insert_with_note(&harness, &(0..60_000).map(|_| random.alphanumeric()).collect::<String>());
    }
    insert_large(&harness);
    harness.pipeline.wait_until_quiet();
    reader::create_topic(&harness.broker.address(), &harness.topic, &[("max.message.bytes", "20000")]);
    harness.run_once();
    let dead = dead_letter(&harness);
    assert_eq!(dead.len(), LARGE);
    assert_all_are_somewhere(&harness, &dead, "exactly_once");
    let attempts = harness.pipeline.event_count("batch_retried");
    assert!((1..=2).contains(&attempts), "{attempts} more attempts");
}

/// The broker measures compressed records.
#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_record_that_fits_only_when_it_is_compressed_is_delivered() {
    for delivery in ["at_least_once", "exactly_once"] {
        let harness = Harness::without_faults(Broker::shared(), 100);
        harness.configure(&format!("delivery: {delivery}, compression: zstd"));
        insert_large(&harness);
        harness.pipeline.wait_until_quiet();
        reader::create_topic(&harness.broker.address(), &harness.topic, &[("max.message.bytes", "20000")]);
        harness.run_once();
        harness.assert_exactly_once(&harness.committed());
    }
}

/// The topic takes the newer half of the events; the others are refused by name, or with their whole request.
#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn events_that_are_too_old_for_the_topic_are_dead_lettered_and_the_others_are_delivered() {
    for delivery in ["at_least_once", "exactly_once"] {
        let harness = Harness::without_faults(Broker::shared(), 400);
        harness.configure(&format!("delivery: {delivery}"));
        harness.pipeline.wait_until_quiet();
        let limit = [("message.timestamp.before.max.ms", "86400000")];
        reader::create_topic(&harness.broker.address(), &harness.topic, &limit);
        harness.run_once();
        let dead = dead_letter(&harness);
        let reasons: Vec<&str> = dead.iter().map(|line| line["reason"].as_str().unwrap()).collect();
        assert!(reasons.iter().all(|reason| reason.contains("message.timestamp.before.max.ms")), "{reasons:?}");
        assert_all_are_somewhere(&harness, &dead, delivery);
        let (batches, again) =
            (harness.pipeline.event_count("batch_committed"), harness.pipeline.event_count("batch_retried"));
        assert!(again <= 2 * batches, "{delivery}: {again} more attempts for {batches} batches");
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn events_without_a_key_are_dead_lettered_if_the_topic_is_compacted() {
    let harness = Harness::without_faults(Broker::shared(), 100);
    harness.configure("delivery: exactly_once, key_field: actor.email");
    harness.pipeline.wait_until_quiet();
    reader::create_topic(&harness.broker.address(), &harness.topic, &[("cleanup.policy", "compact")]);
    let (passed, printed) = harness.check();
    assert!(!passed && printed.contains("`key_field`"), "{printed}");
    harness.run_once();
    let dead = dead_letter(&harness);
    assert!(!dead.is_empty() && dead.iter().all(|line| line["event"]["actor"]["email"].is_null()), "{dead:?}");
    let records = harness.committed();
    assert_eq!(records.len() + dead.len(), harness.truth());
    assert!(records.iter().all(|record| !record.key.is_empty()));
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn the_check_finds_topics_that_refuse_the_events_and_creates_none() {
    let harness = Harness::without_faults(Broker::shared(), 20);
    let (address, prefix) = (harness.broker.address(), harness.topic.clone());
    let expect = |topic: &str, more: &str, word: &str| {
        harness.configure(&format!("topic: {prefix}-{topic}, {more}"));
        let (passed, printed) = harness.check();
        assert_eq!(passed, word.is_empty(), "{topic}: {printed}");
        assert!(printed.contains(word), "{topic}: {printed}");
    };
    for (topic, setting, word) in [
        ("old", ("message.timestamp.before.max.ms", "3600000"), "message.timestamp.before.max.ms"),
        ("own", ("message.timestamp.type", "LogAppendTime"), ""),
        ("small", ("max.message.bytes", "2000"), "max.message.bytes=1048588"),
        ("compact", ("cleanup.policy", "compact"), ""),
    ] {
        reader::create_topic(&address, &format!("{prefix}-{topic}"), &[setting]);
        expect(topic, "delivery: at_least_once", word);
    }
    let own_topics = || {
        let mut topics = reader::topics(&address);
        topics.retain(|name| name.starts_with(&prefix) || *name == harness.group);
        topics
    };
    let before = own_topics();
    expect("new", "delivery: exactly_once, create_topic: {partitions: 1, replication_factor: 1}", "");
    expect("new", "create_topic: {partitions: 1, replication_factor: 3}", "InvalidReplicationFactor");
    assert_eq!(own_topics(), before, "a check must not create topics");
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn topics_made_from_values_do_not_collide() {
    let harness = Harness::without_faults(Broker::shared(), 5);
    let prefix = &harness.topic;
    harness.configure(&format!(
        "topic: \"{prefix}.{{{{ actor.email }}}}\", create_topic: {{partitions: 1, replication_factor: 1}}"
    ));
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    let topics = reader::topics(&harness.broker.address());
    let own: Vec<&str> = topics.iter().map(String::as_str).filter(|name| name.starts_with(prefix.as_str())).collect();
    assert!(own.len() > 1 && own.iter().all(|name| name[prefix.len() + 1..].find('.').is_none()), "{own:?}");
    harness.assert_exactly_once(&committed(&harness.broker.address(), &own));
}

/// Adds a record of more than 40 kB, which becomes small when it is compressed.
fn insert_large(harness: &Harness) {
    insert_with_note(harness, &"x".repeat(40_000));
}

fn insert_with_note(harness: &Harness, note: &str) {
    let (control, vendor) = (harness.pipeline.simulator.control(), VendorName::Merge);
    let key = control.insert(vendor, NewRecord::default()).unwrap();
    let record = control.truth(vendor).unwrap().into_iter().find(|record| record.key == key).unwrap();
    let rest = record.raw.strip_suffix('}').unwrap();
    control.change(vendor, &key, format!(r#"{rest},"note":"{note}"}}"#)).unwrap();
}

/// The ids in both.
fn dead_letter_and_topic(harness: &Harness) -> Vec<String> {
    let dead = dead_letter(harness);
    assert_eq!(dead.len(), 2);
    assert!(dead.iter().all(|line| line["reason"].as_str().unwrap().contains("max.message.bytes")), "{}", dead[0]);
    let mut ids: Vec<_> = dead.iter().map(|line| line["event"]["id"].as_str().unwrap().to_owned()).collect();
    ids.extend(harness.committed().iter().map(|record| record.key.clone()));
    ids
}

/// The lines of the dead letter. It must not contain duplicates.
fn dead_letter(harness: &Harness) -> Vec<serde_json::Value> {
    let dead = fs::read_to_string(harness.pipeline.path("data/dead_letter/stream.ndjson")).unwrap();
    let dead: Vec<serde_json::Value> = dead.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: HashSet<&str> = dead.iter().map(|line| line["event"]["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), dead.len(), "the dead letter contains an event twice");
    dead
}

/// Each event is in the topic or in the dead letter, and with transactions once.
fn assert_all_are_somewhere(harness: &Harness, dead: &[serde_json::Value], delivery: &str) {
    let records = harness.committed();
    let delivered: HashSet<&str> = records.iter().map(|record| record.key.as_str()).collect();
    assert!(!dead.is_empty() && !delivered.is_empty(), "{} dead, {} delivered", dead.len(), delivered.len());
    assert_eq!(delivered.len() + dead.len(), harness.truth(), "{delivery}: lost, or in both");
    if delivery == "exactly_once" {
        assert_eq!(records.len(), delivered.len(), "delivered twice");
    }
    harness.pipeline.assert_counters_add_up(&["stream"]);
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
