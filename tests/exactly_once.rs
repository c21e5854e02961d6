//! Exactly-once delivery with real processes: the program is killed with SIGKILL at random times while the vendors return
//! errors, the disk fails and the pipeline file changes. Afterwards the files must contain each record of the simulator once,
//! byte for byte.
//!
//! The random times come from a printed seed; set `AUDITFLOW_TEST_SEED` to repeat a run. The storm, half an hour of kills, is
//! ignored by default: `cargo test --test exactly_once -- --ignored --nocapture storm`; `AUDITFLOW_TEST_KILLS` sets their number.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::time::Duration;

use auditflow::simulator::{SimulatorOptions, Variants};
use common::TestPipeline;

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

/// Faults of the storm, in addition.
const STORM_FAULTS: &[&str] =
    &["expired_cursor=0.02", "repeated_token=0.005", "rate_limit_date=0.005", "slow=0.02:0.2", "gzip=0.5"];

fn with_faults(seed: u64, events: u64) -> SimulatorOptions {
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

/// A random time until the kill. It is mostly short, so that kills interrupt the start as often as the work after it.
fn run_duration(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(20..150) + random.u64(0..5) * random.u64(0..250))
}

#[test]
fn sixty_kills_lose_and_duplicate_nothing() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = TestPipeline::new(with_faults(seed, 6_000));
    let file = pipeline.write_pipeline(&format!(
        "sinks:
  files: {{type: file, inputs: [events], path: \"{out}/{{{{ vendor }}}}/%Y-%m-%d.ndjson\", batch: {{max_events: 20, timeout_secs: 0.01}}}}
",
        out = pipeline.path("out").display()
    ));
    for kill in 0..60 {
        match kill {
            // The disk fails for ten runs.
            20 => break_disk(&pipeline),
            30 => repair_disk(&pipeline),
            _ => {}
        }
        pipeline.run_and_kill(&file, run_duration(&mut random));
    }
    assert_kills_interrupted_work(&pipeline);
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_counters_add_up(&["files"]);
    pipeline.assert_no_secret_anywhere();
}

/// Thousands of kills at random moments of half an hour, while the vendors grow and return errors and the disk fails now and then.
#[test]
#[ignore = "takes half an hour; prints kills, events, lost and duplicates"]
fn storm_of_kills_loses_and_duplicates_nothing() {
    let kills = std::env::var("AUDITFLOW_TEST_KILLS").map_or(4_000, |kills| kills.parse().unwrap());
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let faults = FAULTS.iter().chain(STORM_FAULTS).map(|fault| fault.parse().unwrap()).collect();
    let pipeline = TestPipeline::new(SimulatorOptions { faults, rate: 10.0, ..with_faults(seed, 6_000) });
    let out = pipeline.path("out");
    let file = pipeline.write_pipeline(&format!(
        "sinks:
  files: {{type: file, inputs: [events], path: \"{out}/{{{{ vendor }}}}/%Y-%m-%d.ndjson\", batch: {{max_events: 50, timeout_secs: 0.01}}}}
  packed: {{type: file, inputs: [events], path: \"{packed}/%Y-%m-%d.ndjson.zst\", compression: zstd, batch: {{max_events: 200, timeout_secs: 0.05}}}}
",
        out = out.display(),
        packed = pipeline.path("packed").display()
    ));
    for kill in 1..=kills {
        match kill % 100 {
            50 => break_disk(&pipeline),
            55 => repair_disk(&pipeline),
            _ => {}
        }
        pipeline.run_and_kill(&file, run_duration(&mut random));
        if kill % 100 == 0 {
            eprintln!("{kill} kills, {} events written", common::events_so_far(&out));
        }
    }
    assert_kills_interrupted_work(&pipeline);
    eprintln!("{kills} kills; {} windows were in doubt", pipeline.event_count("window_in_doubt"));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&out);
    pipeline.assert_exact(&pipeline.path("packed"));
    pipeline.assert_counters_add_up(&["files", "packed"]);
    pipeline.assert_no_secret_anywhere();
}

/// Puts a file where the output directory was.
fn break_disk(pipeline: &TestPipeline) {
    fs::create_dir_all(pipeline.path("out")).unwrap();
    fs::rename(pipeline.path("out"), pipeline.path("away")).unwrap();
    fs::write(pipeline.path("out"), "a broken disk").unwrap();
}

fn repair_disk(pipeline: &TestPipeline) {
    fs::remove_file(pipeline.path("out")).unwrap();
    fs::rename(pipeline.path("away"), pipeline.path("out")).unwrap();
}

/// Kills interrupted batches, and windows were completed between them. Otherwise the test is inconclusive.
fn assert_kills_interrupted_work(pipeline: &TestPipeline) {
    let batches = pipeline.interrupted_batches();
    let windows = pipeline.event_count("window_completed");
    eprintln!("{batches} batches were interrupted, {windows} windows were completed between the kills");
    assert!(
        batches > 0 && windows > 60,
        "no kill interrupted a batch, or too little was collected: the test is inconclusive"
    );
}

#[test]
fn the_pipeline_file_may_change_between_kill_and_restart() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = TestPipeline::new(with_faults(seed, 6_000));
    let sinks = |first: &str, second: &str| {
        format!(
            "sinks:
  first: {{type: file, inputs: [events], {first}}}
  second: {{type: file, inputs: [events], {second}}}
"
        )
    };
    let first = pipeline.path("first");
    let second = pipeline.path("second");
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
        // The second sink is added later; it starts at the oldest event in the journal.
        let rest = if round < 6 {
            format!("sinks:\n  first: {{type: file, inputs: [events], {form}}}\n")
        } else {
            sinks(form, &second_form)
        };
        let file = pipeline.write_pipeline(&format!("{rest}journal: {{retention: 1h}}\n"));
        pipeline.run_and_kill(&file, run_duration(&mut random) + Duration::from_millis(100));
    }
    pipeline.wait_until_quiet();
    let file =
        pipeline.write_pipeline(&format!("{}journal: {{retention: 1h}}\n", sinks(&first_forms[0], &second_form)));
    pipeline.run_once(&file);
    assert_kills_interrupted_work(&pipeline);
    pipeline.assert_exact(&first);
    pipeline.assert_exact(&second);
    pipeline.assert_counters_add_up(&["first"]);
    pipeline.assert_no_secret_anywhere();
}
