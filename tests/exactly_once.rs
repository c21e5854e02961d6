//! Exactly once, on real processes: the program is killed with SIGKILL at random moments, again and again, while the
//! vendors misbehave, the disk fails and the pipeline file changes. In the end the files must hold what the simulator
//! knows to be true: nothing lost, nothing twice, every record byte for byte.
//!
//! The random moments come from a printed seed; set `AUDITFLOW_TEST_SEED` to repeat a run.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::Duration;

use auditflow::simulator::{SimulatorOptions, Variants};
use common::World;

const FAULTS: &[&str] = &[
    "late_events=0.1",
    "ties",
    "identical_records",
    "page_shift=0.1",
    "rate_limit=0.03",
    "rate_limit_bare=0.005",
    "server_error=0.03",
    "cut_body=0.03",
    "html_200=0.01",
    "changing_records=0.2:8",
    "unknown_values",
];

fn misbehaving(seed: u64, events: u64) -> SimulatorOptions {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    SimulatorOptions {
        variants,
        seed,
        events_per_vendor: events,
        span: Duration::from_secs(3 * 86_400),
        rate: 40.0,
        faults: FAULTS.iter().map(|fault| fault.parse().unwrap()).collect(),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    }
}

/// A random life: mostly short, so that the first steps after a start are hit as often as the steady work.
fn life(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(20..150) + random.u64(0..5) * random.u64(0..250))
}

#[test]
fn nothing_is_lost_and_nothing_twice_under_fifty_kills() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::new(misbehaving(seed, 6_000));
    let file = world.write_pipeline(&format!(
        "sinks:
  files: {{type: file, inputs: [events], path: \"{out}/{{{{ vendor }}}}/%Y-%m-%d.ndjson\", batch: {{max_events: 20, timeout_secs: 0.01}}}}
",
        out = world.path("out").display()
    ));
    for kill in 0..60 {
        match kill {
            // The disk fails for a while: where the files' folder was, there is something that is no folder.
            20 => {
                fs::create_dir_all(world.path("out")).unwrap();
                fs::rename(world.path("out"), world.path("away")).unwrap();
                fs::write(world.path("out"), "a broken disk").unwrap();
            }
            30 => {
                fs::remove_file(world.path("out")).unwrap();
                fs::rename(world.path("away"), world.path("out")).unwrap();
            }
            _ => {}
        }
        world.run_and_kill(&file, life(&mut random));
    }
    assert_hit_in_the_middle(&world);
    world.wait_until_quiet();
    world.run_once(&file);
    world.assert_exact(&world.path("out"));
    world.assert_counters_add_up(&["files"]);
    world.assert_no_secret_anywhere();
}

/// The kills were no idle ones: some hit a sink in the middle of a batch, some a source in the middle of its walk.
fn assert_hit_in_the_middle(world: &World) {
    let batches = world.log_count("a batch was not finished");
    let windows = world.log_count("window complete");
    eprintln!("{batches} batches were begun and not finished, {windows} windows were completed between the kills");
    assert!(
        batches > 0 && windows > 60,
        "no kill hit a batch, or hardly anything was collected: the test shows nothing"
    );
}

#[test]
fn the_pipeline_file_may_change_between_kill_and_restart() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let world = World::new(misbehaving(seed, 6_000));
    let sinks = |first: &str, second: &str| {
        format!(
            "sinks:
  first: {{type: file, inputs: [events], {first}}}
  second: {{type: file, inputs: [events], {second}}}
"
        )
    };
    let first = world.path("first");
    let second = world.path("second");
    let first_forms = [
        format!("path: \"{}/{{{{ vendor }}}}.ndjson\", batch: {{max_events: 20, timeout_secs: 0.05}}", first.display()),
        format!(
            "path: \"{}/%Y/%m-%d.ndjson.gz\", compression: gzip, batch: {{max_events: 40, timeout_secs: 0.05}}",
            first.display()
        ),
        format!(
            "path: \"{}/{{{{ action }}}}/%Y.ndjson.zst\", compression: zstd, batch: {{max_events: 15, timeout_secs: 0.02}}",
            first.display()
        ),
        format!(
            "path: \"{}/{{{{ source }}}}/all.ndjson\", rotate: {{max_bytes: 64KiB}}, batch: {{max_events: 10, timeout_secs: 0.02}}",
            first.display()
        ),
    ];
    let second_form = format!("path: \"{}/%Y-%m-%d.ndjson\"", second.display());
    for round in 0..30 {
        let form = &first_forms[random.usize(..first_forms.len())];
        // The second sink appears later; it begins at the oldest event that the journal still holds.
        let rest = if round < 6 {
            format!("sinks:\n  first: {{type: file, inputs: [events], {form}}}\n")
        } else {
            sinks(form, &second_form)
        };
        let file = world.write_pipeline(&format!("{rest}journal: {{retention: 1h}}\n"));
        world.run_and_kill(&file, life(&mut random) + Duration::from_millis(100));
    }
    world.wait_until_quiet();
    let file = world.write_pipeline(&format!("{}journal: {{retention: 1h}}\n", sinks(&first_forms[0], &second_form)));
    world.run_once(&file);
    assert_hit_in_the_middle(&world);
    world.assert_exact(&first);
    world.assert_exact(&second);
    world.assert_counters_add_up(&["first"]);
    world.assert_no_secret_anywhere();
}
