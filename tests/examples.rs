//! The examples do what they say, on this machine and without an account.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;

/// An example's program. `cargo test` builds all of them, beside the folder of the tests' own programs.
fn example(name: &str) -> Command {
    let this_test = std::env::current_exe().unwrap();
    let path = this_test.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is not built; `cargo build --examples` does so", path.display());
    Command::new(path)
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).unwrap()
}

/// How many lines the files below a folder have.
fn lines_below(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { lines_below(&path) } else { lines_of(&path) }).sum()
}

fn lines_of(file: &Path) -> usize {
    fs::read_to_string(file).unwrap().lines().count()
}

#[test]
fn the_embedding_program_collects_delivers_and_counts() {
    let folder = tempfile::tempdir().unwrap();
    let assert = example("embed").current_dir(&folder).assert().success();
    let said = stdout(&assert);
    let landed = folder.path().join("auditflow-embedded");
    let deleted = lines_of(&landed.join("deleted.ndjson"));
    assert_eq!(lines_below(&landed.join("all")), 1_000);
    assert!(deleted > 0, "{said}");
    assert!(said.contains("all: 1000 events delivered, 0 filtered"), "{said}");
    assert!(said.contains(&format!("deleted: {deleted} events delivered, {} filtered", 1_000 - deleted)), "{said}");
}

#[test]
fn the_embedding_program_says_what_is_wrong_with_a_pipeline_of_ones_own() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("acme.yaml"), "sources: {a: {type: clumoi}}\n").unwrap();
    let assert = example("embed").arg("acme.yaml").current_dir(&folder).assert().failure();
    assert!(stderr(&assert).contains("did you mean `clumio`?"), "{}", stderr(&assert));
}

#[test]
fn a_vendor_of_ones_own_is_collected_filtered_and_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let assert = example("own_vendor").current_dir(&folder).assert().success();
    let files = folder.path().join("auditflow-teahouse/teahouse");
    assert_eq!(stdout(&assert), "files: 180 events delivered, 180 filtered\n");
    let text = fs::read_to_string(files.join("2026-03.ndjson")).unwrap();
    let first: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&first["vendor"], &first["action"]), (&"teahouse".into(), &"create".into()));
    assert_eq!(lines_below(&files), 180);
}

const WITH_MISTAKES: &str = "\
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
fn a_vendor_of_ones_own_is_checked_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("acme.yaml"), WITH_MISTAKES).unwrap();
    let assert = example("own_vendor").args(["validate", "acme.yaml"]).current_dir(&folder).assert().code(2);
    let said = stderr(&assert);
    for expected in [
        "--> acme.yaml:2:15 (sources.one.type)",
        "did you mean `teahouse`? allowed here: `akuity`, `captivateiq`, `clumio`, `confluence`, `merge`, `teahouse`",
        "--> acme.yaml:3:25 (sources.two.api_tokn)",
        "did you mean `api_token`?",
        "--> acme.yaml:4:51 (sources.three.base_url)",
        "unknown value `teahose`",
    ] {
        assert!(said.contains(expected), "{expected} is not in:\n{said}");
    }
    let assert = example("own_vendor").arg("schema").assert().success();
    assert!(stdout(&assert).contains("The API token, made on the Teahouse's page"), "the schema does not describe it");
}

/// The walk-through, with a temporary folder of its own and `auditflow` as the program.
fn crash_and_proof(auditflow: &Path, folder: &Path) -> Assert {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/crash_and_proof.sh");
    Command::new("sh").arg(script).env("AUDITFLOW", auditflow).env("TMPDIR", folder).assert()
}

#[test]
fn the_walk_through_proves_what_it_promises_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let assert = crash_and_proof(Path::new(env!("CARGO_BIN_EXE_auditflow")), folder.path()).success();
    let said = stdout(&assert);
    assert_eq!(said.matches("lines in the files").count(), 3, "{said}");
    assert!(said.contains("clumio: 3000 at the vendor, 3000 delivered"), "{said}");
    assert!(said.contains("PROVED"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_walk_through_fails_when_an_event_is_lost() {
    assert_found_out("sed -i.before 1d");
}

#[test]
fn the_walk_through_fails_when_an_event_is_there_twice() {
    assert_found_out("sed -i.before 1p");
}

fn assert_found_out(damage: &str) {
    let folder = tempfile::tempdir().unwrap();
    let assert = crash_and_proof(&damaging(damage, folder.path()), folder.path()).failure();
    let said = stdout(&assert) + &stderr(&assert);
    assert!(said.contains("differ") || said.contains("EOF"), "{said}");
    assert!(said.contains("FAILED: clumio"), "{said}");
    assert!(!said.contains("PROVED"), "{said}");
}

/// An auditflow that damages one of its files when all is delivered.
fn damaging(damage: &str, folder: &Path) -> PathBuf {
    let program = folder.join("damaging-auditflow");
    let text = format!(
        "#!/bin/sh\ncase $3 in --once) {auditflow} \"$@\" && {damage} \"$(find {folder} -path '*/clumio/*' | sort | head -n 1)\" ;;\n\
         *) exec {auditflow} \"$@\" ;; esac\n",
        auditflow = env!("CARGO_BIN_EXE_auditflow"),
        folder = folder.display(),
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    program
}
