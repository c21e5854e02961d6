//! `auditflow status`, `coverage` and `plan` with the real program: while a pipeline runs, after it was killed, and before its
//! first start.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::TestPipeline;
use serde_json::Value;

const EVENTS: u64 = 60;

fn test_pipeline() -> TestPipeline {
    TestPipeline::without_growth(EVENTS)
}

/// A command without the secrets that the file names.
fn command(pipeline: &TestPipeline, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    let address = format!("http://{}", pipeline.simulator.address());
    command.args(arguments).env_clear().env("SIMULATOR", address).stdin(Stdio::null());
    command
}

fn output(pipeline: &TestPipeline, arguments: &[&str]) -> Output {
    let output = command(pipeline, arguments).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for secret in pipeline.simulator.credentials().secrets() {
        assert!(!printed.contains(secret), "a secret is shown: {printed}");
    }
    output
}

fn json(pipeline: &TestPipeline, report: &str, file: &Path) -> Value {
    let output = output(pipeline, &[report, file.to_str().unwrap(), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn requests(pipeline: &TestPipeline) -> u64 {
    let control = pipeline.simulator.control();
    control.vendors().into_iter().map(|vendor| control.requests(vendor).unwrap().requests).sum()
}

fn sum(report: &Value, parts: &str, field: &str) -> u64 {
    report[parts].as_array().unwrap().iter().map(|part| part[field].as_u64().unwrap()).sum()
}

#[test]
fn status_and_coverage_while_it_runs_and_after_it_was_killed() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let mut child = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("all events are delivered", || {
        sum(&json(&pipeline, "status", &file), "sinks", "delivered") == 5 * EVENTS
    });
    let status = json(&pipeline, "status", &file);
    assert_eq!(status["process"]["running"], true);
    assert_eq!(status["process"]["pid"], child.id());
    assert_eq!(sum(&status, "sources", "events"), 5 * EVENTS);
    child.kill().unwrap();
    child.wait().unwrap();

    let after = json(&pipeline, "status", &file);
    assert_eq!(after["process"]["running"], false);
    assert_eq!(sum(&after, "sources", "events"), 5 * EVENTS);
    assert_eq!(sum(&after, "sinks", "pending_events"), 0);
    let coverage = json(&pipeline, "coverage", &file);
    for source in coverage["sources"].as_array().unwrap() {
        assert_eq!(source["events"], EVENTS, "{source}");
        assert!(!source["covered"].as_array().unwrap().is_empty(), "{source}");
    }
    let text = String::from_utf8(output(&pipeline, &["status", file.to_str().unwrap()]).stdout).unwrap();
    assert!(text.contains("not running") && text.contains("SOURCE"), "{text}");

    // Reports neither block a start nor change anything.
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
}

#[test]
fn tap_shows_what_passes_a_component_and_changes_nothing() {
    let pipeline = test_pipeline();
    let file = pipeline.write_pipeline(
        "  deletions: {type: filter, inputs: [events], condition: action == \"delete\"}
sinks:
  files: {type: file, inputs: [events], path: \"out/{{ vendor }}.ndjson\"}
  few: {type: file, inputs: [deletions], path: \"few/{{ vendor }}.ndjson\"}
journal: {retention: 1h}
",
    );
    let tap = |more: &[&str]| output(&pipeline, &[&["tap", file.to_str().unwrap()], more].concat());
    let lines = |more: &[&str]| {
        let output = tap(more);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };
    let early = tap(&[]);
    assert!(early.status.code() == Some(1) && String::from_utf8_lossy(&early.stderr).contains("has not run yet"));
    pipeline.run_once(&file);
    let position = || sum(&json(&pipeline, "status", &file), "sinks", "position");
    let before = position();

    assert_eq!(lines(&[]).len(), 10);
    assert_eq!(lines(&["--limit", "1000"]).len() as u64, 5 * EVENTS);
    let raw = lines(&["--component", "clumio", "--limit", "1"]).pop().unwrap();
    assert!(raw.get("schema_version").is_none(), "a source has raw records: {raw}");
    let deletions = lines(&["--component", "few", "--limit", "1000"]);
    assert!(!deletions.is_empty() && deletions.iter().all(|event| event["action"] == "delete"), "{deletions:?}");
    assert_eq!(lines(&["--component", "deletions", "--limit", "1000"]), deletions);
    let one = lines(&["--component", "deletions", "--where", "vendor == \"merge\"", "--limit", "1000"]);
    assert!(one.len() < deletions.len() && one.iter().all(|event| event["vendor"] == "merge"), "{one:?}");

    let unknown = tap(&["--component", "fewer"]);
    let printed = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(
        unknown.status.code() == Some(2) && printed.contains("`fewer`") && printed.contains("deletions"),
        "{printed}"
    );
    let wrong = tap(&["--where", "actoin == \"x\""]);
    let printed = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(2) && printed.contains("actoin"), "{printed}");

    let follow = ["tap", file.to_str().unwrap(), "--follow", "--limit", "3"];
    let mut child = command(&pipeline, &follow).stdout(Stdio::piped()).spawn().unwrap();
    let mut first = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(first.next().unwrap().unwrap().contains("schema_version"));
    drop(first);
    assert_eq!(child.wait().unwrap().code(), Some(0), "nobody reads any more");
    assert_eq!(position(), before);
}

#[test]
fn an_error_is_reported_with_exit_code_1() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    fs::write(pipeline.path("out"), "a file where the directory should be").unwrap();
    let arguments = ["run", file.to_str().unwrap(), "--once", "--give-up-after", "1s", "--skip-check"];
    let child = pipeline.program(&arguments).spawn().unwrap();
    common::wait(child, Duration::from_secs(60), || pipeline.log_tail());
    let output = output(&pipeline, &["status", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("! files, since ") && text.contains("hint: "), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn before_the_first_start_reports_send_no_request_and_create_no_file() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let before = requests(&pipeline);
    let plan = json(&pipeline, "plan", &file);
    assert_eq!(plan["has_run"], false);
    let first = &plan["sources"][2]["first_request"];
    assert!(first["url"].as_str().unwrap().ends_with("/audit-trails"), "{first}");
    assert_eq!(first["headers"][2], serde_json::json!(["Authorization", "Bearer ***"]), "{first}");
    let destination = &plan["sinks"][0]["examples"][2]["destination"];
    assert!(destination[0][1].as_str().unwrap().ends_with("out/clumio.ndjson"), "{destination}");
    let status = json(&pipeline, "status", &file);
    assert_eq!((&status["journal"], &status["sources"][0]["state"]), (&Value::Null, &"not_started".into()));
    let text = String::from_utf8(output(&pipeline, &["coverage", file.to_str().unwrap()]).stdout).unwrap();
    assert!(text.contains("nothing has run yet in "), "{text}");
    assert!(!pipeline.path("data").exists() && !pipeline.path("out").exists());
    assert_eq!(requests(&pipeline), before, "a report must not send requests");
}

#[test]
fn watching_ends_when_the_reader_closes_the_pipe() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let arguments = ["status", file.to_str().unwrap(), "--watch", "--json", "--interval", "10ms"];
    let mut child = command(&pipeline, &arguments).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let report: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(report["format"], 1);
    }
    drop(lines);
    let mut ended = None;
    common::until("it has noticed the closed pipe", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[test]
fn a_required_variable_is_reported() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let text = fs::read_to_string(&file).unwrap();
    let other = text.lines().skip(1).collect::<Vec<_>>().join("\n");
    fs::write(&file, format!("data_dir: ${{DATA_OF_THE_PIPELINE}}\n{other}\n")).unwrap();
    let output = output(&pipeline, &["status", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.contains("DATA_OF_THE_PIPELINE is not set"), "{printed}");
}
