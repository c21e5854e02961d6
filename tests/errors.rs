//! Errors of the target and the environment: the run reports them, ends if it should, and loses nothing.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use auditflow::simulator::{SimulatorOptions, Variants};
use common::TestPipeline;
use rustix::process::{Pid, Resource};

fn test_pipeline(events: u64) -> TestPipeline {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    TestPipeline::new(SimulatorOptions {
        events_per_vendor: events,
        variants,
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

fn sink(pipeline: &TestPipeline, name: &str) -> String {
    let path = pipeline.path("out/{{ vendor }}.ndjson");
    format!("sinks:\n  {name}: {{type: file, inputs: [events], path: \"{}\"}}\n", path.display())
}

#[test]
fn a_run_once_gives_up_on_a_broken_disk_and_the_next_one_resumes() {
    let pipeline = test_pipeline(50);
    let file = pipeline.write_pipeline(&sink(&pipeline, "files"));
    fs::write(pipeline.path("out"), "a file where the directory should be").unwrap();
    let arguments = ["run", file.to_str().unwrap(), "--once", "--give-up-after", "1s"];
    let child = pipeline.program(&arguments).spawn().unwrap();
    let status = common::wait(child, Duration::from_secs(60), || pipeline.log_tail());
    assert_eq!(status.code(), Some(3), "{}", pipeline.log_tail());
    assert!(pipeline.text_count("unfinished: files: ") == 1, "{}", pipeline.log_tail());
    fs::remove_file(pipeline.path("out")).unwrap();
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_no_secret_anywhere();
}

#[test]
fn a_sink_that_is_renamed_with_an_unfinished_batch_leaves_no_partial_lines() {
    let pipeline = test_pipeline(300);
    let mut orphaned = 0;
    for round in 0..60 {
        // Small batches in quick succession: a kill mostly interrupts one.
        let sink = sink(&pipeline, if round % 2 == 0 { "one" } else { "other" });
        let small = sink.replace("type: file", "type: file, batch: {max_events: 7, timeout_secs: 1ms}");
        pipeline.run_and_kill(&pipeline.write_pipeline(&small), Duration::from_millis(120 + round * 7));
        orphaned = pipeline.event_count("batch_orphaned");
        if orphaned > 2 {
            break;
        }
    }
    assert!(orphaned > 0, "no kill interrupted a batch of a sink that was renamed afterwards");
    pipeline.wait_until_quiet();
    let file = pipeline.write_pipeline(&sink(&pipeline, "one"));
    pipeline.run_once(&file);
    // Both names deliver all events to the same files: every line is complete, and every event is present.
    let delivered = common::delivered_below(&pipeline.path("out"));
    for (vendor, events) in delivered {
        let distinct: std::collections::BTreeSet<_> = events.iter().map(|event| &event.id).collect();
        assert_eq!(distinct.len(), 300, "{vendor}");
    }
    pipeline.assert_no_secret_anywhere();
}

#[test]
fn a_full_journal_is_trimmed_before_its_retention_and_the_run_continues() {
    let pipeline = test_pipeline(2_000);
    let small = "journal: {max_size: 400KiB, retention: 30d}\n".to_owned();
    let file = pipeline.write_pipeline(&(small + &sink(&pipeline, "files")));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    assert!(pipeline.event_count("journal_full") > 0, "the journal was never full: {}", pipeline.log_tail());
    pipeline.assert_exact(&pipeline.path("out"));
}

#[test]
fn a_journal_that_cannot_be_written_shows_in_status_and_in_the_exit_code() {
    let pipeline = test_pipeline(5_000);
    let file = pipeline.write_pipeline(&sink(&pipeline, "files"));
    let program = env!("CARGO_BIN_EXE_auditflow");
    let mut child = on_full_disk(&pipeline, &file, &["--skip-check"]);
    common::until("the journal cannot be written", || pipeline.event_count("journal_unavailable") > 0);
    let status = || {
        let mut command = Command::new(program);
        command.args(["status", file.to_str().unwrap()]).envs(pipeline.environment()).output().unwrap()
    };
    let printed = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    common::until("status shows it", || printed(&status()).contains("cannot write the journal"));
    assert_eq!(status().status.code(), Some(1));
    rustix::process::kill_process(Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let mut ended = None;
    common::until("the program has ended", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(3), "{}", pipeline.log_tail());
    assert!(pipeline.text_count("unfinished: ") > 0, "{}", pipeline.log_tail());
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_counters_add_up(&["files"]);
}

/// Starts `run` where no file may become larger than half a megabyte: like a full disk, without one. The process's owner may
/// lift that limit.
fn on_full_disk(pipeline: &TestPipeline, file: &Path, options: &[&str]) -> Child {
    let script = "trap '' XFSZ; ulimit -S -f 1000; exec \"$0\" run \"$@\"";
    let log = fs::OpenOptions::new().create(true).append(true).open(pipeline.path("log")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_auditflow"), file.to_str().unwrap()]).args(options);
    command.envs(pipeline.environment()).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

#[test]
fn a_run_once_on_a_full_disk_gives_up_and_the_next_one_resumes() {
    let pipeline = test_pipeline(5_000);
    pipeline.wait_until_quiet();
    let file = pipeline.write_pipeline(&sink(&pipeline, "files"));
    let child = on_full_disk(&pipeline, &file, &["--once", "--give-up-after", "1s"]);
    let status = common::wait(child, Duration::from_secs(60), || pipeline.log_tail());
    assert_eq!(status.code(), Some(3), "{}", pipeline.log_tail());
    assert!(pipeline.event_count("journal_unavailable") > 0, "the disk was never full: {}", pipeline.log_tail());
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_counters_add_up(&["files"]);
}

#[test]
fn a_run_continues_where_it_was_once_the_disk_has_space_again() {
    let pipeline = test_pipeline(5_000);
    pipeline.wait_until_quiet();
    let file = pipeline.write_pipeline(&sink(&pipeline, "files"));
    let child = on_full_disk(&pipeline, &file, &["--once"]);
    common::until("the disk is full", || pipeline.event_count("journal_unavailable") > 0);
    let unlimited = rustix::process::getrlimit(Resource::Fsize);
    rustix::process::prlimit(Some(Pid::from_child(&child)), Resource::Fsize, unlimited).unwrap();
    let status = common::wait(child, Duration::from_secs(120), || pipeline.log_tail());
    assert_eq!(status.code(), Some(0), "{}", pipeline.log_tail());
    assert!(pipeline.event_count("journal_recovered") > 0, "{}", pipeline.log_tail());
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_counters_add_up(&["files"]);
}

#[test]
fn a_closed_log_pipe_does_not_stop_the_pipeline() {
    let pipeline = test_pipeline(50);
    let file = pipeline.write_pipeline(&sink(&pipeline, "files"));
    let mut command = pipeline.program(&["run", file.to_str().unwrap(), "--log-level", "debug"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = command.stderr(writer).spawn().unwrap();
    drop(command);
    common::until("all five vendors' events are in files", || {
        pipeline.path("out").exists() && common::files_below(&pipeline.path("out")).len() == 5
    });
    rustix::process::kill_process(Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let mut ended = None;
    common::until("the program has ended", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}
