//! `auditflow state` and a broker that knows the position itself: what is asked for comes once more, all else once.

use std::collections::BTreeMap;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::broker::Broker;
use crate::reader::Received;
use crate::stage::Stage;

const BATCHES: &str = "delivery: exactly_once, batch: {max_events: 20, timeout_secs: 50ms}";

/// Says it, with `--yes`; returns whether it was done, and all that was said.
fn state(stage: &Stage, arguments: &[&str]) -> (bool, String) {
    let mut command = stage.world.program(&["state", arguments[0], stage.file()]);
    let output =
        command.args(&arguments[1..]).arg("--yes").stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.success(), said)
}

fn copies(records: &[Received]) -> BTreeMap<String, usize> {
    let mut copies = BTreeMap::new();
    records.iter().for_each(|record| *copies.entry(record.key.clone()).or_default() += 1);
    copies
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_redelivery_comes_once_more_whatever_the_broker_holds_and_whenever_it_is_killed() {
    let stage = Stage::calm(Broker::shared(), 60);
    let mut random = fastrand::Rng::with_seed(stage.seed);
    stage.create_topic();
    stage.configure(BATCHES);
    stage.world.wait_until_quiet();
    stage.run_once();
    stage.assert_exactly_once(&stage.committed());
    for round in 2..=4 {
        let (done, said) = state(&stage, &["redeliver", "stream", "--from", "2000-01-01"]);
        assert!(done, "{said}");
        for _ in 0..3 {
            stage.world.run_and_kill(&stage.file, Duration::from_millis(random.u64(100..900)));
        }
        stage.run_once();
        let copies = copies(&stage.committed());
        assert_eq!(copies.len(), stage.truth());
        assert!(copies.values().all(|copies| *copies == round), "not all came {round} times: {copies:?}");
    }
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_renamed_sink_goes_on_under_its_new_name_and_back_under_the_old_one() {
    let stage = Stage::lively(Broker::shared(), 200);
    stage.create_topic();
    stage.configure(BATCHES);
    stage.world.run_and_kill(&stage.file, Duration::from_millis(1_500));
    stage.run_once();
    let rename = |old: &str, new: &str| {
        let text = fs::read_to_string(&stage.file).unwrap().replace(&format!("  {old}: "), &format!("  {new}: "));
        fs::write(&stage.file, text).unwrap();
        let (done, said) = state(&stage, &["rename", old, new]);
        assert!(done && said.contains("position topic"), "{said}");
    };
    rename("stream", "other");
    stage.world.run_and_kill(&stage.file, Duration::from_millis(1_500));
    stage.run_once();
    // What the broker holds under the first name is older than what the journal knows now.
    rename("other", "stream");
    stage.world.wait_until_quiet();
    stage.run_once();
    stage.assert_exactly_once(&stage.committed());
}
