//! The journal of an earlier version: what it holds is read, reported, delivered and continued.
//!
//! `tests/fixtures/journal/make` has made it: 20 events of each of five simulated vendors, which no sink has got yet.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use auditflow::simulator::{NewRecord, SimulatorOptions, Variants, VendorName};
use auditflow::time::Timestamp;
use serde_json::Value;

use crate::common::{self, TestPipeline};
use crate::output_of;

const EVENTS_PER_VENDOR: u64 = 20;

/// The same vendors as when the journal was made, and a copy of it.
fn upgraded() -> (TestPipeline, PathBuf) {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    for vendor in ["clumio", "confluence"] {
        variants.set(&format!("{vendor}.retention"), "none").unwrap();
    }
    let pipeline = TestPipeline::new(SimulatorOptions {
        seed: 7,
        variants,
        events_per_vendor: EVENTS_PER_VENDOR,
        span: Duration::from_secs(7 * 86_400),
        start: Timestamp::parse_rfc3339("2025-05-01T00:00:00Z"),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    });
    let data = pipeline.path("data");
    fs::create_dir_all(&data).unwrap();
    let journal = fs::File::open("tests/fixtures/journal/journal.db.gz").unwrap();
    let mut copy = fs::File::create(data.join("journal.db")).unwrap();
    std::io::copy(&mut flate2::read::GzDecoder::new(journal), &mut copy).unwrap();
    for (path, mode) in [(data.clone(), 0o700), (data.join("journal.db"), 0o600)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let file = pipeline.path("pipeline.yaml");
    let journal = "journal: {retention: 3650d, key_retention: 3650d}\n".to_owned();
    let sources = pipeline.simulator.pipeline_file().replace("./auditflow-simulated/data", "./data");
    let settings = "    rate_limit: 1000/s\n    delay: 1s\n    backfill_start_time: 2025-04-01\n";
    let sources = sources.replace("    backfill_start_time: earliest\n", settings);
    fs::write(&file, journal + &sources).unwrap();
    (pipeline, file)
}

/// What `status` reports. Its exit code is not 0: the sink had an error.
fn status(file: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    let output = command.args(["status", "--json", file.to_str().unwrap()]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn events(status: &Value) -> Vec<u64> {
    status["sources"].as_array().unwrap().iter().map(|source| source["events"].as_u64().unwrap()).collect()
}

#[test]
fn a_journal_of_the_version_before_is_reported() {
    let (_pipeline, file) = upgraded();
    let status = status(&file);
    assert_eq!(events(&status), [EVENTS_PER_VENDOR; 5], "{status:#}");
    assert_eq!(status["sinks"][0]["pending_events"], 5 * EVENTS_PER_VENDOR, "{status:#}");
    for source in status["sources"].as_array().unwrap() {
        assert!(source["covered_to"].as_str().unwrap().starts_with("2025-05-0"), "{source:#}");
    }
    let coverage = ["coverage", "--evidence", "--json", file.to_str().unwrap()];
    output_of(Command::new(env!("CARGO_BIN_EXE_auditflow")).args(coverage));
}

#[test]
fn a_journal_of_the_version_before_is_delivered_and_continued_without_a_duplicate() {
    let (pipeline, file) = upgraded();
    let now = NewRecord { timestamp: Some(pipeline.simulator.control().now()), ..NewRecord::default() };
    pipeline.simulator.control().insert(VendorName::Clumio, now).unwrap();
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    assert_eq!(events(&status(&file)).iter().sum::<u64>(), 5 * EVENTS_PER_VENDOR + 1);
    pipeline.assert_exact(&pipeline.path("auditflow-simulated"));
}
