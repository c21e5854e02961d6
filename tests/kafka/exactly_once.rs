//! Both guarantees while the program and the broker are killed at random moments, again and again.
//!
//! The random moments come from a printed seed; set `AUDITFLOW_TEST_SEED` to repeat a run.

use std::collections::HashSet;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use auditflow::simulator::{NewRecord, VendorName};

use crate::broker::Broker;
use crate::common;
use crate::reader::{Received, committed, written};
use crate::stage::Stage;

const KILLS: usize = 40;
/// What the log says after each batch.
const DELIVERED: &str = "the position has moved";
const BATCHES: &str = "batch: {max_events: 50, timeout_secs: 50ms}";

/// A random life: mostly short, so that the first steps after a start are hit as often as the steady work.
fn life(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(200..900) + random.u64(0..3) * random.u64(0..700))
}

fn survives(delivery: &str) -> (Stage, Vec<Received>) {
    let stage = Stage::lively(Arc::new(Broker::start()), 3_000);
    let mut random = fastrand::Rng::with_seed(stage.seed);
    stage.create_topic();
    stage.configure(&format!("delivery: {delivery}, {BATCHES}"));
    for kill in 0..KILLS {
        if kill % 7 == 3 {
            restart_broker(&stage, &mut random);
        }
        if kill % 2 == 0 {
            stage.world.run_and_kill(&stage.file, life(&mut random));
        } else {
            kill_in_a_batch(&stage, &mut random);
        }
    }
    if delivery == "exactly_once" {
        kill_until_a_transaction_is_given_up(&stage, &mut random);
    }
    stage.world.wait_until_quiet();
    stage.run_once();
    let records = stage.committed();
    (stage, records)
}

/// Kills the program in one of the batches after its first, wherever that one is.
fn kill_in_a_batch(stage: &Stage, random: &mut fastrand::Rng) {
    let life = Duration::from_millis(random.u64(0..120));
    stage.world.run_until_logged_and_kill(&stage.file, DELIVERED, life);
}

/// On most machines this has long happened; a quick or a slow one may need further kills.
fn kill_until_a_transaction_is_given_up(stage: &Stage, random: &mut fastrand::Rng) {
    for _ in 0..KILLS {
        if given_up(stage, &stage.committed()) > 0 {
            return;
        }
        kill_in_a_batch(stage, random);
    }
}

/// How many records the broker holds of transactions that were never committed.
fn given_up(stage: &Stage, committed: &[Received]) -> usize {
    written(&stage.broker.address(), &[&stage.topic]).len() - committed.len()
}

/// Takes the broker away under the running program: shut down in order, or killed.
fn restart_broker(stage: &Stage, random: &mut fastrand::Rng) {
    let running = stage.start();
    let before = stage.world.log_count(DELIVERED);
    common::until("the program delivers", || stage.world.log_count(DELIVERED) > before);
    if random.bool() {
        stage.broker.stop();
    } else {
        stage.broker.kill();
    }
    running.kill();
    stage.world.run_and_kill(&stage.file, life(random));
    stage.broker.start_again();
}

/// The kills were no idle ones: they hit batches between their first record and the journal's note, and with
/// transactions the broker holds records of some that were never committed.
fn assert_hit_in_the_middle(stage: &Stage, records: &[Received], transactional: bool) {
    let batches = stage.world.log_count("a batch was not finished");
    let known_outside = stage.world.log_count("the outside is further");
    let given_up = given_up(stage, records);
    eprintln!(
        "{batches} batches were begun and not finished, {known_outside} of them committed on the broker already; {given_up} records of transactions that were given up"
    );
    assert!(batches >= 5, "the kills hit {batches} batches: the test shows nothing");
    assert_eq!(given_up > 0, transactional, "{given_up} records of transactions that were given up");
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn exactly_once_under_forty_kills_and_six_restarts_of_the_broker() {
    let (stage, records) = survives("exactly_once");
    stage.assert_exactly_once(&records);
    assert_hit_in_the_middle(&stage, &records, true);
    stage.world.assert_counters_add_up(&["stream"]);
    stage.world.assert_no_secret_anywhere();
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn at_least_once_loses_nothing_under_the_same() {
    let (stage, records) = survives("at_least_once");
    stage.assert_nothing_lost(&records);
    assert_hit_in_the_middle(&stage, &records, false);
    stage.world.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_group_offset_that_expired_changes_nothing() {
    let stage = Stage::calm(Broker::shared(), 200);
    stage.create_topic();
    stage.configure("delivery: exactly_once");
    stage.world.wait_until_quiet();
    stage.run_once();
    // The journal's last notes are gone too, so that all hangs on what the broker knows.
    stage.forget_delivery();
    stage.forget_group();
    stage.run_once();
    stage.assert_exactly_once(&stage.committed());
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn of_two_instances_the_older_is_fenced_and_nothing_comes_twice() {
    let stage = Stage::calm(Broker::shared(), 100);
    stage.create_topic();
    stage.configure(&format!("delivery: exactly_once, {BATCHES}"));
    let older = stage.start();
    stage.until_all_is_there();
    // The data folder is copied to another machine and started there, while the first one still runs.
    let copy = stage.world.path("copy");
    fs::create_dir(&copy).unwrap();
    let journal = rusqlite::Connection::open(stage.world.path("data/journal.db")).unwrap();
    journal.execute("VACUUM INTO ?1", [copy.join("journal.db").to_str().unwrap()]).unwrap();
    let mut newer = stage.start_with(&["--data-dir", copy.to_str().unwrap()]);
    common::until("the newer one has taken over", || claims(&stage) == 2);
    // Both collect these.
    let control = stage.world.simulator.control();
    VendorName::ALL.iter().for_each(|vendor| drop(control.insert(*vendor, NewRecord::default()).unwrap()));
    stage.until_logged("the older one says what has happened", "has taken over");
    older.kill();
    assert!(newer.is_running(), "the newer one works on");
    stage.until_all_is_there();
    stage.assert_exactly_once(&stage.committed());
}

/// How many processes have written a position.
fn claims(stage: &Stage) -> usize {
    let positions = committed(&stage.broker.address(), &[&stage.group]);
    let instance = |record: &Received| {
        let position: serde_json::Value = serde_json::from_str(&record.value).unwrap();
        position["instance"].as_str().unwrap().to_owned()
    };
    positions.iter().map(instance).collect::<HashSet<_>>().len()
}
