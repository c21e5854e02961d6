//! A pipeline file that changes in mid-life, with kills before and after.

use std::time::Duration;

use crate::broker::Broker;
use crate::reader::{self, Received, committed};
use crate::stage::{Stage, new_topic_name};

const BATCHES: &str = "batch: {max_events: 50, timeout_secs: 50ms}";

/// Some lives under these settings, each ended by a kill.
fn live(stage: &Stage, settings: &str, random: &mut fastrand::Rng) {
    stage.configure(&format!("{settings}, {BATCHES}"));
    for _ in 0..3 {
        stage.world.run_and_kill(&stage.file, Duration::from_millis(random.u64(300..1_800)));
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_change_of_the_guarantee_and_back_loses_nothing() {
    let stage = Stage::lively(Broker::shared(), 2_000);
    let mut random = fastrand::Rng::with_seed(stage.seed);
    stage.create_topic();
    for delivery in ["at_least_once", "exactly_once", "at_least_once", "exactly_once"] {
        live(&stage, &format!("delivery: {delivery}"), &mut random);
    }
    stage.world.wait_until_quiet();
    stage.run_once();
    stage.assert_nothing_lost(&stage.committed());
    stage.world.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_change_of_the_topic_brings_each_event_to_one_of_them_once() {
    let stage = Stage::lively(Broker::shared(), 2_000);
    let mut random = fastrand::Rng::with_seed(stage.seed);
    let topics = [new_topic_name(), new_topic_name()];
    for topic in &topics {
        reader::create_topic(&stage.broker.address(), topic, &[]);
    }
    for topic in topics.iter().chain(&topics) {
        live(&stage, &format!("topic: {topic}, delivery: exactly_once"), &mut random);
    }
    stage.world.wait_until_quiet();
    stage.run_once();
    let records: Vec<Vec<Received>> = topics.iter().map(|topic| committed(&stage.broker.address(), &[topic])).collect();
    assert!(records.iter().all(|records| !records.is_empty()), "a topic got nothing");
    stage.assert_exactly_once(&records.into_iter().flatten().collect::<Vec<_>>());
    stage.world.assert_counters_add_up(&["stream"]);
}
