//! `auditflow check`, and the same check at the start of `auditflow run`, with the real program and the simulator.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use auditflow::simulator::SimulatorOptions;
use common::TestPipeline;

fn test_pipeline() -> TestPipeline {
    let pipeline = TestPipeline::new(SimulatorOptions {
        seed: 7,
        events_per_vendor: 20,
        span: Duration::from_secs(3_600),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    });
    pipeline.simulator.control().stop_growth();
    pipeline
}

fn output(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap()
}

fn check(pipeline: &TestPipeline, file: &Path, change: impl FnOnce(&mut Command)) -> (Option<i32>, String) {
    let mut command = pipeline.program(&["check", file.to_str().unwrap()]);
    change(&mut command);
    let output = output(command);
    let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    for secret in pipeline.simulator.credentials().secrets() {
        assert!(!printed.contains(secret), "a secret is shown: {printed}");
    }
    (output.status.code(), printed)
}

#[test]
fn a_successful_check_leaves_no_files() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let (code, printed) = check(&pipeline, &file, |_| {});
    let lines: Vec<Vec<&str>> = printed.lines().map(|line| line.split_whitespace().collect()).collect();
    let source = |name: &'static str| vec!["source", name, "ok"];
    assert_eq!(
        lines,
        [
            source("akuity"),
            source("captivateiq"),
            source("clumio"),
            source("confluence"),
            source("merge"),
            vec!["sink", "files", "ok"]
        ],
        "{printed}"
    );
    assert_eq!(code, Some(0));
    assert!(!pipeline.path("out").exists() && !pipeline.path("data").exists());
}

#[test]
fn each_failure_is_reported_with_its_component_and_a_hint() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    fs::write(pipeline.path("out"), "a file where the directory should be").unwrap();
    let (code, printed) = check(&pipeline, &file, |command| {
        command.env("CLUMIO_ACCESS_TOKEN", "revoked");
    });
    assert_eq!(code, Some(1), "{printed}");
    let of_component = |name: &str| printed.split_once(name).unwrap().1.lines().take(2).collect::<Vec<_>>().join("\n");
    let clumio = of_component("clumio");
    assert!(clumio.contains("FAILED") && clumio.contains("401") && clumio.contains("hint: "), "{printed}");
    let files = of_component("files");
    assert!(files.contains("FAILED") && files.contains("a file where a directory is needed"), "{printed}");
    assert!(of_component("merge").contains("ok"), "{printed}");
}

#[test]
fn a_run_logs_failed_checks_and_runs_the_other_components() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let mut command = pipeline.program(&["run", file.to_str().unwrap(), "--once", "--give-up-after", "1s"]);
    command.env("CLUMIO_ACCESS_TOKEN", "revoked");
    let output = output(command);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("healthcheck_failed") && log.contains("clumio"), "{log}");
    assert_eq!(output.status.code(), Some(3), "{log}");
    let mut delivered = common::delivered_below(&pipeline.path("out"));
    assert_eq!(delivered.remove("merge").unwrap().len(), 20);
    assert!(!delivered.contains_key("clumio"));
}

#[test]
fn a_run_with_require_healthy_does_not_start_after_a_failed_check() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let mut command = pipeline.program(&["run", file.to_str().unwrap(), "--once", "--require-healthy"]);
    command.env("CLUMIO_ACCESS_TOKEN", "revoked");
    let output = output(command);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nothing was started"));
    assert!(!pipeline.path("data").exists());
}
