//! The examples work as documented, on this machine and without a vendor account.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;

/// An example's program. `cargo test` builds it, in the directory beside that of the test programs.
fn example(name: &str) -> Command {
    let this_test = std::env::current_exe().unwrap();
    let path = this_test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} does not exist; run `cargo build --examples`", path.display());
    Command::new(path)
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// The number of lines of all files below a directory.
fn lines_below(directory: &Path) -> usize {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let entries = entries.filter(|path| !path.ends_with(".auditflow"));
    entries.map(|path| if path.is_dir() { lines_below(&path) } else { lines_of(&path) }).sum()
}

fn lines_of(file: &Path) -> usize {
    fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn the_embedding_program_collects_delivers_and_counts() {
    let directory = tempfile::tempdir().unwrap();
    let assert = example("embed").current_dir(&directory).assert().success();
    let printed = stdout(&assert);
    let output = directory.path().join("auditflow-embedded");
    let deleted = lines_of(&output.join("deleted.ndjson"));
    assert_eq!(lines_below(&output.join("all")), 1_000);
    assert!(deleted > 0, "{printed}");
    assert!(printed.contains("all: 1000 events delivered, 0 filtered"), "{printed}");
    assert!(
        printed.contains(&format!("deleted: {deleted} events delivered, {} filtered", 1_000 - deleted)),
        "{printed}"
    );
}

#[test]
fn the_embedding_program_reports_errors_in_the_given_pipeline() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("acme.yaml"), "sources: {a: {type: clumoi}}\n").unwrap();
    let assert = example("embed").arg("acme.yaml").current_dir(&directory).assert().failure();
    assert!(stderr(&assert).contains("did you mean `clumio`?"), "{}", stderr(&assert));
}

#[test]
fn a_custom_vendor_is_collected_filtered_and_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let assert = example("own_vendor").current_dir(&directory).assert().success();
    let files = directory.path().join("auditflow-teahouse/teahouse");
    assert_eq!(stdout(&assert), "files: 180 events delivered, 180 filtered\n");
    let text = fs::read_to_string(files.join("2026-03.ndjson")).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["vendor"], &first["action"]), (&"teahouse".into(), &"create".into()));
    assert_eq!(lines_below(&files), 180);
}

const WITH_ERRORS: &str = "\
sources:
  one: {type: teahosue, api_token: x}
  two: {type: teahouse, api_tokn: x}
  three: {type: teahouse, api_token: x, base_url: 'http://teahouse.example'}
transforms:
  events: {type: normalize, inputs: [one, two, three]}
  some: {type: filter, inputs: [events], condition: vendor == \"teahose\"}
sinks:
  out: {type: console, inputs: [some]}
";

#[test]
fn a_custom_vendor_is_validated_like_any_other() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("acme.yaml"), WITH_ERRORS).unwrap();
    let assert = example("own_vendor").args(["validate", "acme.yaml"]).current_dir(&directory).assert().code(2);
    let printed = stderr(&assert);
    for expected in [
        "--> acme.yaml:2:15 (sources.one.type)",
        "did you mean `teahouse`? allowed here: `akuity`, `captivateiq`, `clumio`, `confluence`, `merge`, `teahouse`",
        "--> acme.yaml:3:25 (sources.two.api_tokn)",
        "did you mean `api_token`?",
        "--> acme.yaml:4:51 (sources.three.base_url)",
        "unknown value `teahose`",
    ] {
        assert!(printed.contains(expected), "{expected} is not in:\n{printed}");
    }
    let assert = example("own_vendor").arg("schema").assert().success();
    assert!(stdout(&assert).contains("API token, created on the Teahouse's page"), "the schema does not describe it");
}

/// Runs the script with its own temporary directory and `auditflow` as the program.
fn crash_and_proof(auditflow: &Path, directory: &Path) -> Assert {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/crash_and_proof.sh");
    Command::new("sh").arg(script).env("AUDITFLOW", auditflow).env("TMPDIR", directory).assert()
}

#[test]
fn the_script_proves_exactly_once_delivery_and_leaves_no_files() {
    let directory = tempfile::tempdir().unwrap();
    let assert = crash_and_proof(Path::new(env!("CARGO_BIN_EXE_auditflow")), directory.path()).success();
    let printed = stdout(&assert);
    assert_eq!(printed.matches("lines in the files").count(), 3, "{printed}");
    assert!(printed.contains("clumio: 3000 at the vendor, 3000 delivered"), "{printed}");
    assert!(printed.contains("PROVED"), "{printed}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn the_script_fails_if_an_event_is_lost() {
    assert_detected("sed -i.before 1d");
}

#[test]
fn the_script_fails_if_an_event_is_duplicated() {
    assert_detected("sed -i.before 1p");
}

fn assert_detected(damage: &str) {
    let directory = tempfile::tempdir().unwrap();
    let assert = crash_and_proof(&damaging(damage, directory.path()), directory.path()).failure();
    let printed = stdout(&assert) + &stderr(&assert);
    assert!(printed.contains("differ") || printed.contains("EOF"), "{printed}");
    assert!(printed.contains("FAILED: clumio"), "{printed}");
    assert!(!printed.contains("PROVED"), "{printed}");
}

/// An auditflow that damages one of its files after it has delivered everything.
fn damaging(damage: &str, directory: &Path) -> PathBuf {
    let program = directory.join("damaging-auditflow");
    let text = format!(
        "#!/bin/sh\ncase $3 in --once) {auditflow} \"$@\" && {damage} \"$(find {directory} -path '*/clumio/*' | sort | head -n 1)\" ;;\n\
         *) exec {auditflow} \"$@\" ;; esac\n",
        auditflow = env!("CARGO_BIN_EXE_auditflow"),
        directory = directory.display(),
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}
