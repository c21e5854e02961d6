//! `auditflow state` with a broker that stores the position: redelivered events come once more, all others once.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::broker::Broker;
use crate::harness::Harness;
use crate::reader::Received;

const BATCHES: &str = "delivery: exactly_once, batch: {max_events: 20, timeout_secs: 50ms}";

/// Runs a `state` command with `--yes`. Returns whether it succeeded, and its output.
fn state(harness: &Harness, arguments: &[&str]) -> (bool, String) {
    let mut command = harness.pipeline.program(&["state", arguments[0], harness.file()]);
    let output =
        command.args(&arguments[1..]).arg("--yes").stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), printed)
}

fn copies(records: &[Received]) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    records.iter().for_each(|record| *copies.entry(record.key.clone()).or_default() += 1);
    copies
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_redelivery_delivers_each_event_once_more_under_kills() {
    let harness = Harness::without_faults(Broker::shared(), 60);
    let mut random = fastrand::Rng::with_seed(harness.seed);
    harness.create_topic();
    harness.configure(BATCHES);
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    harness.assert_exactly_once(&harness.committed());
    for round in 2..=4 {
        let (done, printed) = state(&harness, &["redeliver", "stream", "--from", "2000-01-01"]);
        assert!(done, "{printed}");
        for _ in 0..3 {
            harness.pipeline.run_and_kill(&harness.file, Duration::from_millis(random.u64(100..900)));
        }
        harness.run_once();
        let copies = copies(&harness.committed());
        assert_eq!(copies.len(), harness.truth());
        assert!(copies.values().all(|copies| *copies == round), "not all were delivered {round} times: {copies:?}");
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_renamed_sink_resumes_under_its_new_name_and_again_under_the_old_one() {
    let harness = Harness::with_faults(Broker::shared(), 200);
    harness.create_topic();
    harness.configure(BATCHES);
    harness.pipeline.run_and_kill(&harness.file, Duration::from_millis(1_500));
    harness.run_once();
    let rename = |old: &str, new: &str| {
        let text = fs::read_to_string(&harness.file).unwrap().replace(&format!("  {old}: "), &format!("  {new}: "));
        fs::write(&harness.file, text).unwrap();
        let (done, printed) = state(&harness, &["rename", old, "--to", new]);
        assert!(done && printed.contains("position topic"), "{printed}");
    };
    rename("stream", "other");
    harness.pipeline.run_and_kill(&harness.file, Duration::from_millis(1_500));
    harness.run_once();
    // The broker's position under the first name is older than the one in the journal now.
    rename("other", "stream");
    harness.pipeline.wait_until_quiet();
    harness.run_once();
    harness.assert_exactly_once(&harness.committed());
}
