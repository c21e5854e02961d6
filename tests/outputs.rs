//! Whose output it is: two data directories never write one output, state that was tampered with touches nothing else, and no
//! output leads into the program's own files. With the real program and the simulator.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use auditflow::simulator::SimulatorOptions;
use common::TestPipeline;

fn test_pipeline() -> TestPipeline {
    let pipeline = TestPipeline::new(SimulatorOptions {
        seed: 11,
        events_per_vendor: 20,
        span: Duration::from_secs(3_600),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    });
    pipeline.simulator.control().stop_growth();
    pipeline.wait_until_quiet();
    pipeline
}

const SINK: &str = "sinks:\n  files: {type: file, inputs: [events], path: \"out/{{ vendor }}.ndjson\"}\n";

fn run(pipeline: &TestPipeline, arguments: &[&str], directory: &Path) -> (Option<i32>, String) {
    let mut command = pipeline.program(arguments);
    command.current_dir(directory).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Output { status, stdout, stderr } = command.output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

fn once(pipeline: &TestPipeline, file: &Path, more: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["run", file.to_str().unwrap(), "--once", "--give-up-after", "2s"], more].concat();
    run(pipeline, &arguments, pipeline.directory.path())
}

#[test]
fn the_working_directory_does_not_matter() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let text = fs::read_to_string(&file).unwrap();
    let (_, rest) = text.split_once('\n').unwrap();
    fs::write(&file, rest).unwrap();
    let elsewhere = pipeline.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    let arguments = ["run", file.to_str().unwrap(), "--once"];
    for directory in [pipeline.directory.path(), &elsewhere] {
        let (code, printed) = run(&pipeline, &arguments, directory);
        assert_eq!(code, Some(0), "{printed}");
    }
    pipeline.assert_exact(&pipeline.path("out"));
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn another_data_dir_is_refused_until_it_adopts_the_output() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    pipeline.run_once(&file);
    let before = fs::read(pipeline.path("out/clumio.ndjson")).unwrap();
    let other = ["--data-dir", "other"];
    let (code, printed) = once(&pipeline, &file, &other);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("another data_dir") && printed.contains("state adopt FILE files"), "{printed}");
    assert_eq!(fs::read(pipeline.path("out/clumio.ndjson")).unwrap(), before);
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));

    let adopt = |more: &[&str]| {
        let arguments = [&["state", "adopt", file.to_str().unwrap(), "files"], &other[..], more].concat();
        run(&pipeline, &arguments, pipeline.directory.path())
    };
    let (code, printed) = adopt(&["--dry-run"]);
    assert!(code == Some(0) && printed.contains("DUPLICATES") && printed.contains("nothing was changed"), "{printed}");
    assert_eq!(once(&pipeline, &file, &other).0, Some(3));
    let (code, printed) = adopt(&["--yes"]);
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = once(&pipeline, &file, &other);
    assert_eq!(code, Some(0), "{printed}");
    let (code, printed) = once(&pipeline, &file, &[]);
    assert_eq!(code, Some(3), "the first one is refused now: {printed}");
}

#[test]
fn a_process_that_is_killed_between_its_first_marker_and_its_first_commit_starts_again() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    fs::create_dir_all(pipeline.path("out/clumio.ndjson")).unwrap();
    pipeline.run_until_event_and_kill(&file, "sink_retrying", Duration::ZERO);
    let [marker] = &common::files_below(&pipeline.path("out/.auditflow"))[..] else { panic!("not one marker") };
    assert!(fs::read_to_string(marker).unwrap().contains("\"position\":0"));
    fs::remove_dir(pipeline.path("out/clumio.ndjson")).unwrap();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_counters_add_up(&["files"]);
}

#[test]
fn a_directory_that_the_sink_creates_holds_events_alone() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    pipeline.run_once(&file);
    let entries: Vec<_> = fs::read_dir(pipeline.path("out")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for entry in &entries {
        assert!(
            fs::read_to_string(entry).unwrap().lines().all(|line| line.contains("\"raw\":")),
            "{}",
            entry.display()
        );
    }
    assert_eq!(common::files_below(&pipeline.path(".auditflow")).len(), 1);
    assert_eq!(once(&pipeline, &file, &["--data-dir", "other"]).0, Some(3));
}

#[test]
fn who_deletes_the_files_and_the_data_dir_starts_over() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    for template in ["{{ vendor }}.ndjson", "{{ source }}.ndjson"] {
        let text = fs::read_to_string(&file).unwrap().replace("{{ vendor }}.ndjson", template);
        fs::write(&file, text).unwrap();
        pipeline.run_once(&file);
        pipeline.assert_exact(&pipeline.path("out"));
        fs::remove_dir_all(pipeline.path("out")).unwrap();
        fs::remove_dir_all(pipeline.path("data")).unwrap();
    }
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
}

#[test]
fn two_data_dirs_with_different_templates_do_not_share_files() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    pipeline.run_once(&file);
    let text = fs::read_to_string(&file).unwrap().replace("{{ vendor }}.ndjson", "{{ source }}.ndjson");
    fs::write(&file, text).unwrap();
    let (code, printed) = once(&pipeline, &file, &["--data-dir", "other"]);
    assert!(code == Some(3) && printed.contains("another data_dir") && printed.contains("delete"), "{printed}");
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.run_once(&file);
}

#[test]
fn a_restored_older_copy_is_refused_until_it_adopts_the_output() {
    let pipeline = test_pipeline();
    let file = pipeline.write_pipeline(&format!("{SINK}journal: {{retention: 1h}}\n"));
    pipeline.run_once(&file);
    copy(&pipeline.path("data"), &pipeline.path("backup"));
    let control = pipeline.simulator.control();
    control.insert(auditflow::simulator::VendorName::Clumio, auditflow::simulator::NewRecord::default()).unwrap();
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    fs::remove_dir_all(pipeline.path("data")).unwrap();
    copy(&pipeline.path("backup"), &pipeline.path("data"));
    let (code, printed) = once(&pipeline, &file, &[]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("restored from a backup"), "{printed}");
    pipeline.assert_exact(&pipeline.path("out"));
    let (code, printed) =
        run(&pipeline, &["state", "adopt", file.to_str().unwrap(), "files", "--yes"], pipeline.directory.path());
    assert_eq!(code, Some(0), "{printed}");
    pipeline.run_once(&file);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    fs::set_permissions(to, fs::Permissions::from_mode(0o700)).unwrap();
    for file in common::files_below(from) {
        fs::copy(&file, to.join(file.file_name().unwrap())).unwrap();
    }
}

#[test]
fn no_output_leads_into_the_programs_own_files() {
    let pipeline = test_pipeline();
    symlink("data", pipeline.path("link")).unwrap();
    fs::create_dir(pipeline.path("data")).unwrap();
    fs::set_permissions(pipeline.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    for path in ["data/x.ndjson", "link/{{ vendor }}.ndjson", "data/dead_letter/files.ndjson", "pipeline.yaml"] {
        let sink = format!("sinks:\n  files: {{type: file, inputs: [events], path: \"{path}\"}}\n");
        let file = pipeline.write_pipeline(&sink);
        let (code, printed) = run(&pipeline, &["validate", file.to_str().unwrap()], pipeline.directory.path());
        assert_eq!(code, Some(2), "{path}: {printed}");
        assert!(printed.contains("would write into the"), "{printed}");
    }
    // Only the event shows where it leads.
    let sink = "sinks:\n  files: {type: file, inputs: [events], path: \"{{ vendor }}/x.ndjson\"}\n";
    symlink("data", pipeline.path("clumio")).unwrap();
    let file = pipeline.write_pipeline(sink);
    let (code, printed) = once(&pipeline, &file, &[]);
    assert_eq!(code, Some(3), "{printed}");
    assert!(printed.contains("auditflow's own"), "{printed}");
    assert!(!pipeline.path("data/x.ndjson").exists());
}

#[test]
fn a_check_finds_what_a_run_would_and_changes_nothing() {
    let pipeline = test_pipeline();
    let file = pipeline.write_pipeline("sinks:\n  files: {type: file, inputs: [events], path: \"out.ndjson\"}\n");
    let check = || run(&pipeline, &["check", file.to_str().unwrap()], pipeline.directory.path());
    fs::create_dir(pipeline.path("out.ndjson")).unwrap();
    let (code, printed) = check();
    assert!(code == Some(1) && printed.contains("a directory has the name of the file"), "{printed}");
    fs::remove_dir(pipeline.path("out.ndjson")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(pipeline.path("out.ndjson")).status().unwrap().success());
    let (code, printed) = check();
    assert!(code == Some(1) && printed.contains("a pipe or a socket"), "{printed}");
    fs::remove_file(pipeline.path("out.ndjson")).unwrap();
    fs::create_dir(pipeline.path("data")).unwrap();
    fs::set_permissions(pipeline.path("data"), fs::Permissions::from_mode(0o777)).unwrap();
    let (code, printed) = check();
    assert!(code == Some(1) && printed.contains("can be written by others"), "{printed}");
    let (code, printed) = once(&pipeline, &file, &[]);
    assert!(code == Some(1) && printed.contains("chmod 700"), "{printed}");
    fs::set_permissions(pipeline.path("data"), fs::Permissions::from_mode(0o700)).unwrap();
    let (code, printed) = check();
    assert_eq!(code, Some(0), "{printed}");
    assert_eq!(fs::read_dir(pipeline.path("data")).unwrap().count(), 0);
    assert!(!pipeline.path("out.ndjson").exists());
}

#[test]
fn a_check_reads_whose_output_it_is() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    pipeline.run_once(&file);
    let written = || {
        let files = common::files_below(pipeline.directory.path()).into_iter();
        files.map(|path| (fs::read(&path).unwrap(), path)).collect::<Vec<_>>()
    };
    let before = written();
    let check = |more: &[&str]| {
        let arguments = [&["check", file.to_str().unwrap()], more].concat();
        run(&pipeline, &arguments, pipeline.directory.path())
    };
    assert_eq!(check(&[]).0, Some(0));
    let (code, printed) = check(&["--data-dir", "other"]);
    assert!(
        code == Some(1) && printed.contains("another data_dir") && printed.contains("state adopt FILE files"),
        "{printed}"
    );
    assert!(written() == before, "a check changes nothing");

    let markers = common::files_below(&pipeline.path(".auditflow"));
    let [marker] = &markers[..] else { panic!("{markers:?}") };
    let own = fs::read_to_string(marker).unwrap();
    fs::write(marker, own.replace("\"position\":", "\"position\":9")).unwrap();
    let (code, printed) = check(&[]);
    assert!(code == Some(1) && printed.contains("restored from a backup"), "{printed}");
    fs::write(marker, "<html>").unwrap();
    let (code, printed) = check(&[]);
    assert!(code == Some(1) && printed.contains("is not a marker of auditflow"), "{printed}");
    fs::write(marker, own).unwrap();
    assert_eq!(check(&[]).0, Some(0));
}

#[test]
fn a_check_beside_a_process_that_delivers_finds_its_output_healthy() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let text = file.to_str().unwrap();
    let mut process = pipeline.program(&["run", text, "--log-level", "debug", "--skip-check"]).spawn().unwrap();
    pipeline.until_event("batch_committed", "");
    let (code, printed) = run(&pipeline, &["check", text], pipeline.directory.path());
    assert_eq!(code, Some(0), "{printed}");
    process.kill().unwrap();
    process.wait().unwrap();
}

#[test]
fn secret_files_are_looked_at_and_a_pipe_does_not_hang() {
    let pipeline = test_pipeline();
    let file = pipeline.with_files();
    let token = pipeline.path("token");
    let text = fs::read_to_string(&file).unwrap().replace("\"${CLUMIO_ACCESS_TOKEN}\"", "{file: token}");
    fs::write(&file, text).unwrap();
    let validate = || run(&pipeline, &["validate", file.to_str().unwrap()], Path::new("/"));
    let (code, printed) = validate();
    assert!(code == Some(0) && printed.contains("cannot be read"), "{printed}");
    assert!(std::process::Command::new("mkfifo").arg(&token).status().unwrap().success());
    let (_, printed) = validate();
    assert!(printed.contains("is not a regular file"), "{printed}");
    let (code, printed) = run(&pipeline, &["check", file.to_str().unwrap()], pipeline.directory.path());
    assert!(code == Some(1) && printed.contains("regular file"), "{printed}");
    fs::remove_file(&token).unwrap();
    fs::write(&token, format!("{}\n", pipeline.simulator.credentials().clumio_access_token)).unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, printed) = validate();
    assert!(printed.contains("every user of this host can read"), "{printed}");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    let (_, printed) = validate();
    assert!(!printed.contains("warning"), "{printed}");
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
}
