//! `auditflow run` as a process: exit codes, the summary, signals, pipes, and a log in JSON.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use auditflow::simulator::{FaultOrder, SimulatorOptions, Variants, VendorName};
use common::TestPipeline;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const EVENTS: u64 = 60;

fn test_pipeline() -> TestPipeline {
    let pipeline = growing(0.0);
    pipeline.simulator.control().stop_growth();
    pipeline
}

/// With this many new events per second and vendor.
fn growing(rate: f64) -> TestPipeline {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    TestPipeline::new(SimulatorOptions {
        events_per_vendor: EVENTS,
        variants,
        rate,
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

fn command(pipeline: &TestPipeline, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.args(arguments).env_clear().envs(pipeline.environment()).stdin(Stdio::null());
    command
}

fn once(pipeline: &TestPipeline, file: &Path) -> (Option<i32>, String) {
    let arguments = ["run", file.to_str().unwrap(), "--once", "--skip-check", "--give-up-after", "1s"];
    let output = command(pipeline, &arguments).output().unwrap();
    (output.status.code(), stderr(&output))
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn requests(pipeline: &TestPipeline) -> u64 {
    VendorName::ALL.into_iter().map(|vendor| pipeline.simulator.control().requests(vendor).unwrap().requests).sum()
}

fn json(pipeline: &TestPipeline, report: &str, file: &Path) -> Value {
    let output = command(pipeline, &[report, file.to_str().unwrap(), "--json"]).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)))
}

fn ended(mut child: Child) -> ExitStatus {
    let mut status = None;
    common::until("the program has ended", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn every_run_is_judged_by_what_it_did_itself() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    pipeline.wait_until_quiet();
    pipeline.simulator.control().set_fault("server_error=1".parse::<FaultOrder>().unwrap());
    for _ in 0..2 {
        let before = requests(&pipeline);
        let (code, printed) = once(&pipeline, &file);
        assert_eq!(code, Some(3), "{printed}");
        assert!(printed.contains("unfinished: clumio: "), "{printed}");
        assert!(requests(&pipeline) >= before + 5, "it must try: {printed}");
    }
    pipeline.simulator.control().clear_faults();
    let (code, printed) = once(&pipeline, &file);
    assert_eq!(code, Some(0), "{printed}");
    pipeline.assert_exact(&pipeline.path("out"));
    let (code, printed) = once(&pipeline, &file);
    assert_eq!(code, Some(0), "{printed}");
    let line = |name: &str| printed.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
    let clumio = line("source clumio");
    assert!(clumio.contains(" 0 events in ") && clumio.contains(", 60 since the first start"), "{printed}");
    let files = line("sink   files");
    assert!(files.contains(" 0 events delivered") && files.contains(", 300 since the first start"), "{printed}");
}

#[test]
fn after_a_complete_run_nothing_is_missing_and_nothing_is_live() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    pipeline.wait_until_quiet();
    let (code, printed) = once(&pipeline, &file);
    assert_eq!(code, Some(0), "{printed}");
    for source in json(&pipeline, "coverage", &file)["sources"].as_array().unwrap() {
        let gaps = source["gaps"].as_array().unwrap();
        assert!(gaps.iter().all(|gap| gap["at_head"] == true), "{source}");
        assert_eq!(source["covered"].as_array().unwrap().len(), 1, "{source}");
    }
    for source in json(&pipeline, "status", &file)["sources"].as_array().unwrap() {
        assert_eq!(source["state"], "stopped", "{source}");
    }
    let text = command(&pipeline, &["coverage", file.to_str().unwrap()]).output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(!text.contains("not read yet") && !text.contains("next polls"), "{text}");
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_run_with_success() {
    let pipeline = growing(20.0);
    let file = pipeline.write_pipeline("sinks:\n  screen: {type: console, inputs: [events]}\n");
    let mut child = command(&pipeline, &["run", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(fs::File::create(pipeline.path("log")).unwrap())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().starts_with('{'));
    drop(lines);
    assert_eq!(ended(child).code(), Some(0), "{}", pipeline.log_tail());
    assert_eq!(pipeline.event_count("reader_closed"), 1, "{}", pipeline.log_tail());
}

#[test]
fn signals_that_ask_for_something_else_do_not_kill() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let child = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("it runs", || pipeline.event_count("source_started") == 5);
    for (sent, event) in [(Signal::HUP, "config_unchanged"), (Signal::USR1, "signal_ignored")] {
        signal(&child, sent);
        common::until(event, || pipeline.event_count(event) == 1);
    }
    signal(&child, Signal::TERM);
    assert_eq!(ended(child).code(), Some(0), "{}", pipeline.log_tail());
}

#[test]
fn the_check_at_the_start_shows_progress_and_ends_on_ctrl_c() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    // It accepts connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    let silent_clumio = format!("type: clumio, base_url: \"http://{}\"", silent.local_addr().unwrap());
    fs::write(&file, text.replace("type: clumio, base_url: \"${SIMULATOR}\"", &silent_clumio)).unwrap();
    let child = pipeline.program(&["run", file.to_str().unwrap()]).spawn().unwrap();
    let line = pipeline.until_event("healthcheck_waiting", "clumio");
    assert!(!line.contains("merge"), "those that have answered are not named: {line}");
    signal(&child, Signal::INT);
    assert_eq!(ended(child).code(), Some(130), "{}", pipeline.log_tail());
    assert!(!pipeline.path("data").exists(), "nothing was started");
}

#[test]
fn a_log_in_json_is_json_to_its_last_line() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    pipeline.wait_until_quiet();
    let run = ["run", file.to_str().unwrap(), "--once", "--log-format", "json"];
    let output = command(&pipeline, &run).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = json_lines(&output);
    let first = &lines[0];
    assert_eq!((&first["event"], &first["version"]), (&"run_started".into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!((&first["sources"], &first["sinks"]), (&5.into(), &1.into()), "{first}");
    let of = |event: &str, name: &str, value: &str| {
        let found = lines.iter().find(|line| line["event"] == event && line[name] == value);
        found.unwrap_or_else(|| panic!("no {event} of {value}: {}", stderr(&output))).clone()
    };
    assert_eq!(of("source_summary", "source", "clumio")["events"], EVENTS);
    assert_eq!(of("sink_summary", "sink", "files")["delivered"], 5 * EVENTS);

    fs::write(&file, "sources: {a: {type: nothing}}\n").unwrap();
    let output = command(&pipeline, &run).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(json_lines(&output).iter().any(|line| line["severity"] == "error"), "{}", stderr(&output));
}

fn json_lines(output: &Output) -> Vec<Value> {
    let text = stderr(output);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[test]
fn progress_in_json_has_numbers_per_source_and_sink() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let run = ["run", file.to_str().unwrap(), "--skip-check", "--log-format", "json"];
    let child = pipeline.program(&run).spawn().unwrap();
    common::until("a progress line", || pipeline.event_count("progress") > 0);
    signal(&child, Signal::TERM);
    assert_eq!(ended(child).code(), Some(0));
    let line: Value = serde_json::from_str(&pipeline.event_lines("progress")[0]).unwrap();
    let named = |list: &str, name: &str| {
        let found = line[list].as_array().unwrap().iter().find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("{line}")).clone()
    };
    assert!(named("sources", "merge")["requests"].as_u64().unwrap() > 0, "{line}");
    assert!(named("sinks", "files")["behind"].is_u64(), "{line}");
}
