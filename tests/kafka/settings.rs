//! A pipeline file that changes between runs, with kills before and after.

use std::time::Duration;

use crate::broker::Broker;
use crate::harness::{Harness, new_topic_name};
use crate::reader::{self, Received, committed};

const BATCHES: &str = "batch: {max_events: 50, timeout_secs: 50ms}";

/// Runs the program three times with these settings and kills it each time.
fn run_and_kill_with(harness: &Harness, settings: &str, random: &mut fastrand::Rng) {
    harness.configure(&format!("{settings}, {BATCHES}"));
    for _ in 0..3 {
        harness.pipeline.run_and_kill(&harness.file, Duration::from_millis(random.u64(300..1_800)));
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn changing_the_guarantee_back_and_forth_loses_nothing() {
    let harness = Harness::with_faults(Broker::shared(), 2_000);
    let mut random = fastrand::Rng::with_seed(harness.seed);
    harness.create_topic();
    for delivery in ["at_least_once", "exactly_once", "at_least_once", "exactly_once"] {
        run_and_kill_with(&harness, &format!("delivery: {delivery}"), &mut random);
    }
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    harness.assert_nothing_lost(&harness.committed());
    harness.pipeline.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn after_a_change_of_the_topic_each_event_is_in_one_of_them_once() {
    let harness = Harness::with_faults(Broker::shared(), 2_000);
    let mut random = fastrand::Rng::with_seed(harness.seed);
    let topics = [new_topic_name(), new_topic_name()];
    for topic in &topics {
        reader::create_topic(&harness.broker.address(), topic, &[]);
    }
    for topic in topics.iter().chain(&topics) {
        let settings = format!("topic: {topic}, delivery: exactly_once");
        harness.configure(&format!("{settings}, {BATCHES}"));
        // However slow the machine is, each topic gets something.
        let after = Duration::from_millis(random.u64(0..300));
        harness.pipeline.run_until_event_and_kill(&harness.file, "batch_committed", after);
        run_and_kill_with(&harness, &settings, &mut random);
    }
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    let records: Vec<Vec<Received>> =
        topics.iter().map(|topic| committed(&harness.broker.address(), &[topic])).collect();
    assert!(records.iter().all(|records| !records.is_empty()), "a topic got nothing");
    harness.assert_exactly_once(&records.into_iter().flatten().collect::<Vec<_>>());
    harness.pipeline.assert_counters_add_up(&["stream"]);
}
