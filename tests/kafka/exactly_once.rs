//! Both delivery guarantees while the program and the broker are killed at random times.
//!
//! The random times come from a printed seed; set `AUDITFLOW_TEST_SEED` to repeat a run.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use auditflow::simulator::{NewRecord, VendorName};

use crate::broker::Broker;
use crate::common;
use crate::harness::Harness;
use crate::reader::{Received, committed, written};

const KILLS: usize = 40;
const BATCHES: &str = "batch: {max_events: 50, timeout_secs: 50ms}";

/// A random time until the kill. It is mostly short, so that kills interrupt the start as often as the work after it.
fn run_duration(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(200..900) + random.u64(0..3) * random.u64(0..700))
}

fn deliver_under_kills(delivery: &str) -> (Harness, Vec<Received>) {
    let harness = Harness::with_faults(Arc::new(Broker::start()), 3_000);
    let mut random = fastrand::Rng::with_seed(harness.seed);
    harness.create_topic();
    harness.configure(&format!("delivery: {delivery}, {BATCHES}"));
    for kill in 0..KILLS {
        if kill % 7 == 3 {
            restart_broker(&harness, &mut random);
        }
        if kill % 2 == 0 {
            harness.pipeline.run_and_kill(&harness.file, run_duration(&mut random));
        } else {
            kill_in_a_batch(&harness, &mut random);
        }
    }
    if delivery == "exactly_once" {
        kill_until_a_transaction_is_aborted(&harness, &mut random);
    }
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    let records = harness.committed();
    (harness, records)
}

/// Kills the program shortly after its first batch.
fn kill_in_a_batch(harness: &Harness, random: &mut fastrand::Rng) {
    let run_duration = Duration::from_millis(random.u64(0..120));
    harness.pipeline.run_until_event_and_kill(&harness.file, "batch_committed", run_duration);
}

/// Fast or slow machines may need further kills until one interrupts a transaction.
fn kill_until_a_transaction_is_aborted(harness: &Harness, random: &mut fastrand::Rng) {
    for _ in 0..KILLS {
        if aborted(harness, &harness.committed()) > 0 {
            return;
        }
        kill_in_a_batch(harness, random);
    }
}

/// How many records of aborted transactions the broker has.
fn aborted(harness: &Harness, committed: &[Received]) -> usize {
    written(&harness.broker.address(), &[&harness.topic]).len() - committed.len()
}

/// Shuts down or kills the broker while the program delivers, and starts it again.
fn restart_broker(harness: &Harness, random: &mut fastrand::Rng) {
    let running = harness.start();
    let before = harness.pipeline.event_count("batch_committed");
    common::until("the program delivers", || harness.pipeline.event_count("batch_committed") > before);
    if random.bool() {
        harness.broker.stop();
    } else {
        harness.broker.kill();
    }
    running.kill();
    harness.pipeline.run_and_kill(&harness.file, run_duration(random));
    harness.broker.restart();
}

/// Kills interrupted batches, and with transactions the broker has records of aborted ones. Otherwise the test is
/// inconclusive.
fn assert_kills_interrupted_batches(harness: &Harness, records: &[Received], transactional: bool) {
    let batches = harness.pipeline.interrupted_batches();
    let ahead = harness.pipeline.event_count("sink_position_ahead");
    let aborted = aborted(harness, records);
    eprintln!(
        "{batches} batches were interrupted, {ahead} times the broker's position was ahead; {aborted} records of aborted transactions"
    );
    assert!(batches >= 5, "the kills interrupted only {batches} batches: the test is inconclusive");
    assert_eq!(aborted > 0, transactional, "{aborted} records of aborted transactions");
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn exactly_once_under_forty_kills_and_six_restarts_of_the_broker() {
    let (harness, records) = deliver_under_kills("exactly_once");
    harness.assert_exactly_once(&records);
    assert_kills_interrupted_batches(&harness, &records, true);
    harness.pipeline.assert_counters_add_up(&["stream"]);
    harness.pipeline.assert_no_secret_anywhere();
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn at_least_once_under_the_same_kills_loses_nothing() {
    let (harness, records) = deliver_under_kills("at_least_once");
    harness.assert_nothing_lost(&records);
    assert_kills_interrupted_batches(&harness, &records, false);
    harness.pipeline.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn an_expired_group_offset_loses_and_duplicates_nothing() {
    let harness = Harness::without_faults(Broker::shared(), 200);
    harness.create_topic();
    harness.configure("delivery: exactly_once");
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    // The position in the journal is lost too, so that only the position topic is left.
    harness.reset_journal_position();
    harness.delete_group();
    harness.run_once();
    harness.assert_exactly_once(&harness.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn of_two_instances_the_older_is_fenced_and_nothing_is_duplicated() {
    let harness = Harness::without_faults(Broker::shared(), 100);
    harness.create_topic();
    harness.configure(&format!("delivery: exactly_once, {BATCHES}"));
    let older = harness.start();
    harness.until_all_is_delivered();
    // A second process starts on a copy of the data directory while the first one still runs.
    let copy = harness.pipeline.path("copy");
    fs::create_dir(&copy).unwrap();
    let journal = rusqlite::Connection::open(harness.pipeline.path("data/journal.db")).unwrap();
    journal.execute("VACUUM INTO ?1", [copy.join("journal.db").to_str().unwrap()]).unwrap();
    let mut newer = harness.start_with(&["--data-dir", copy.to_str().unwrap()]);
    common::until("the newer instance writes its position", || instances(&harness) == 2);
    // Both instances collect these.
    let control = harness.pipeline.simulator.control();
    VendorName::ALL.iter().for_each(|vendor| drop(control.insert(*vendor, NewRecord::default()).unwrap()));
    let line = harness.pipeline.until_event("sink_stopped", &harness.group);
    assert!(line.contains("fenced"), "{line}");
    older.kill();
    assert!(newer.is_running(), "the newer instance ended");
    harness.until_all_is_delivered();
    harness.assert_exactly_once(&harness.committed());
}

/// How many processes have written a position.
fn instances(harness: &Harness) -> usize {
    let positions = committed(&harness.broker.address(), &[&harness.group]);
    let instance = |record: &Received| {
        let position: serde_json::Value = serde_json::from_str(&record.value).unwrap();
        position["instance"].as_str().unwrap().to_owned()
    };
    positions.iter().map(instance).collect::<HashSet<_>>().len()
}
