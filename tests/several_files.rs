//! A pipeline of several files and directories: one clash among a hundred files, a run, and reloads.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::TestPipeline;
use rustix::process::{Pid, Signal, kill_process};

const TENANTS: usize = 100;
const EVENTS: usize = 3;

/// The file of one tenant: a source that reads the simulated vendor, with its secret in a file beside it.
fn tenant(name: &str) -> String {
    format!(
        "sources:
  {name}:
    type: clumio
    base_url: ${{SIMULATOR}}
    access_token: {{file: secrets/clumio}}
    backfill_start_time: earliest
    poll_interval: 500ms
    delay: 1s
    rate_limit: 1000/s
"
    )
}

const SHARED: &str = "name: acme
data_dir: ./data
transforms:
  events: {type: normalize, inputs: [tenant_*]}
sinks:
  files: {type: file, inputs: [events], path: \"out/{{ source }}.ndjson\", batch: {timeout_secs: 0.05}}
";

/// Writes `shared.yaml` and a directory `tenants` of so many files.
fn write_files(directory: &Path, tenants: usize, secret: &str) {
    fs::create_dir_all(directory.join("tenants/secrets")).unwrap();
    let file = directory.join("tenants/secrets/clumio");
    fs::write(&file, secret).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(directory.join("tenants/README"), "not a pipeline file").unwrap();
    fs::write(directory.join("shared.yaml"), SHARED).unwrap();
    for index in 0..tenants {
        write_tenant(directory, index);
    }
}

fn write_tenant(directory: &Path, index: usize) {
    let name = format!("tenant_{index:03}");
    fs::write(directory.join(format!("tenants/{name}.yaml")), tenant(&name)).unwrap();
}

fn auditflow(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.current_dir(directory).env("SIMULATOR", "http://127.0.0.1:1").args(arguments);
    command.output().unwrap()
}

/// Writes files, validates them in this order, and returns what is printed on standard error.
fn mistakes_of(files: &[(&str, &str)]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let mut arguments = vec!["validate"];
    for (name, text) in files {
        fs::create_dir_all(directory.path().join(name).parent().unwrap()).unwrap();
        fs::write(directory.path().join(name), text).unwrap();
        arguments.push(name);
    }
    let output = auditflow(directory.path(), &arguments);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn several_files_must_say_what_would_depend_on_their_order() {
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path(), 2, "s3cret");
    let shared = directory.path().join("shared.yaml");
    fs::write(&shared, SHARED.replace("name: acme\ndata_dir: ./data\n", "")).unwrap();
    let output = auditflow(directory.path(), &["validate", "shared.yaml", "tenants"]);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    for setting in ["name", "data_dir"] {
        assert!(
            printed.contains(&format!("a pipeline of several files and directories needs `{setting}`")),
            "{printed}"
        );
    }
    fs::write(&shared, SHARED).unwrap();
    for order in [["shared.yaml", "tenants"], ["tenants", "shared.yaml"]] {
        let status = auditflow(directory.path(), &["status", order[0], order[1]]);
        assert!(String::from_utf8(status.stdout).unwrap().contains("acme"), "{order:?}");
    }
    fs::write(&shared, SHARED.replace("acme", "\"\"")).unwrap();
    let output = auditflow(directory.path(), &["validate", "shared.yaml", "tenants"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("the name is empty"));
}

#[test]
fn a_list_that_is_no_file_is_refused_without_waiting() {
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path(), 1, "s3cret");
    let list = "sources_from:\n  a_{{ x }}: {file: /dev/stdin, template: {type: clumio, access_token: '{{ x }}'}}\n";
    fs::write(directory.path().join("list.yaml"), list).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.current_dir(directory.path()).args(["validate", "list.yaml"]).stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Nobody writes to the pipe, and it stays open.
    let kept = child.stdin.take();
    let output = child.wait_with_output().unwrap();
    drop(kept);
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.contains("it is not a regular file"), "{printed}");
}

#[test]
fn a_name_in_two_of_a_hundred_files_is_reported_with_both_places() {
    let directory = tempfile::tempdir().unwrap();
    write_files(directory.path(), TENANTS, "secret");
    let valid = auditflow(directory.path(), &["validate", "shared.yaml", "tenants"]);
    assert_eq!(
        String::from_utf8_lossy(&valid.stdout),
        "shared.yaml tenants: 100 sources, 1 transform, 1 sink: ok\n",
        "{}",
        String::from_utf8_lossy(&valid.stderr)
    );
    fs::write(directory.path().join("tenants/tenant_057.yaml"), format!("# copied\n{}", tenant("tenant_031"))).unwrap();
    let output = auditflow(directory.path(), &["validate", "shared.yaml", "tenants"]);
    assert_eq!(output.status.code(), Some(2));
    insta::assert_snapshot!(String::from_utf8(output.stderr).unwrap(), @r"
    error: duplicate name `tenant_031`; the first is at tenants/tenant_031.yaml:2:3
      --> tenants/tenant_057.yaml:3:3 (sources.tenant_031)
      |
    3 |   tenant_031:
      |   ^^^^^^^^^^
      = help: remove one of the two, or give it another name

    shared.yaml tenants: invalid, 1 error
    ");
}

#[test]
fn a_name_in_two_sections_and_a_setting_with_two_values_name_both_places() {
    let a = "data_dir: ./data\nlog: {level: debug}\nsources:\n  acme: {type: clumio, access_token: {file: token}}\n";
    let b = "data_dir: ../data\nlog: {level: debug, format: json}\ntransforms:\n  events: {type: normalize, inputs: [acme]}\n";
    let c = "data_dir: ./data\nlog: {level: info}\nsinks:\n  acme: {type: console, inputs: [events]}\nname: acme\n";
    insta::assert_snapshot!(mistakes_of(&[("a.yaml", a), ("more/b.yaml", b), ("more/c.yaml", c)]), @r"
    warning: the secret file token cannot be read: No such file or directory (os error 2)
      --> a.yaml:4:3 (sources.acme)
      |
    4 |   acme: ...
      |   ^^^^
      = help: create it, or fix its path or permissions

    error: `data_dir` has another value at a.yaml:1:11
      --> more/c.yaml:1:11 (data_dir)
      |
    1 | data_dir: ./data
      |           ^^^^^^
      = help: remove one of the two; a relative path starts in the directory of its own file

    error: `log.level` has another value at a.yaml:2:14
      --> more/c.yaml:2:14 (log.level)
      |
    2 | log: ... info ...
      |          ^^^^
      = help: remove one of the two, or write the same value

    error: the name `acme` is already used by the source at a.yaml:4:3
      --> more/c.yaml:4:3 (sinks.acme)
      |
    4 |   acme: ...
      |   ^^^^
      = help: give each source, transform and sink a unique name

    a.yaml more/b.yaml more/c.yaml: invalid, 3 errors, 1 warning
    ");
}

#[test]
fn mistakes_name_the_file_that_they_are_in() {
    let a = "sources:\n  acme: {type: clumio, access_token: {file: token}}\n";
    let b = "# one\n# two\ntransforms:\n  events: {type: normalize, inputs: [acme, acmee]}\n  few:\n    type: filter\n    inputs: [events, fewer]\n    condition: actoin == \"delete\"\n";
    let c = "transforms:\n  fewer: {type: filter, inputs: [few], condition: 'action == \"delete\"'}\nsinks:\n  out: {type: console, inputs: [fewer], tagret: stderr}\nname: acme\ndata_dir: ./data\n";
    insta::assert_snapshot!(mistakes_of(&[("a.yaml", a), ("b.yaml", b), ("c.yaml", c)]), @r"
    warning: the secret file token cannot be read: No such file or directory (os error 2)
      --> a.yaml:2:3 (sources.acme)
      |
    2 |   acme: ...
      |   ^^^^
      = help: create it, or fix its path or permissions

    error: there is no source or transform called `acmee`
      --> b.yaml:4:44 (transforms.events.inputs[1])
      |
    4 |   events: ... acmee ...
      |               ^^^^^
      = help: did you mean `acme`? allowed here: `acme`, `few`, `fewer`

    error: unknown field `actoin`
      --> b.yaml:8:16 (transforms.few.condition)
      |
    8 |     condition: actoin ...
      |                ^^^^^^
      = help: did you mean `action`?

    error: the inputs form a cycle: fewer -> few -> fewer
      --> c.yaml:2:34 (transforms.fewer.inputs[0])
      |
    2 |   fewer: ... few ...
      |              ^^^
      = help: remove one of these inputs

    error: unknown setting `tagret`
      --> c.yaml:4:41 (sinks.out.tagret)
      |
    4 |   out: ... tagret: ...
      |            ^^^^^^
      = help: did you mean `target`? allowed here: `type`, `inputs`, `batch`, `start`, `target`, `encoding`

    a.yaml b.yaml c.yaml: invalid, 4 errors, 1 warning
    ");
}

#[test]
fn a_directory_without_pipeline_files_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("tenants")).unwrap();
    fs::write(directory.path().join("tenants/.hidden.yaml"), "").unwrap();
    for command in ["validate", "plan", "status", "check", "run"] {
        let output = auditflow(directory.path(), &[command, "tenants"]);
        assert_eq!(output.status.code(), Some(2), "{command}");
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(printed.contains("the directory has no pipeline files\n  --> tenants"), "{command}: {printed}");
        assert!(printed.contains("put *.yaml or *.yml files into it"), "{command}: {printed}");
    }
}

/// The events in the file of a source.
fn delivered(pipeline: &TestPipeline, source: &str) -> usize {
    common::lines_so_far(&pipeline.path(&format!("out/{source}.ndjson")))
}

fn with_tenants(tenants: usize) -> TestPipeline {
    let pipeline = TestPipeline::without_growth(EVENTS as u64);
    let secret = pipeline.simulator.credentials().clumio_access_token.clone();
    write_files(pipeline.directory.path(), tenants, &secret);
    pipeline.wait_until_quiet();
    pipeline
}

fn program(pipeline: &TestPipeline, arguments: &[&str]) -> Command {
    let mut command = pipeline.program(arguments);
    command.current_dir(pipeline.directory.path());
    command
}

#[test]
fn a_hundred_files_run_as_one_pipeline() {
    let pipeline = with_tenants(TENANTS);
    let status = program(&pipeline, &["run", "shared.yaml", "tenants", "--once"]).status().unwrap();
    assert!(status.success(), "{}", pipeline.log_tail());
    for index in 0..TENANTS {
        assert_eq!(delivered(&pipeline, &format!("tenant_{index:03}")), EVENTS, "{index}");
    }
    let status = auditflow(pipeline.directory.path(), &["status", "shared.yaml", "tenants"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("tenant_099"), "{status:?}");
    let removed =
        auditflow(pipeline.directory.path(), &["state", "reset", "shared.yaml", "tenants", "tenant_099", "--dry-run"]);
    assert!(removed.status.success(), "{removed:?}");
}

/// A running program, which is killed in the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn start(pipeline: &TestPipeline, options: &[&str]) -> Self {
        let arguments = [&["run", "shared.yaml", "tenants", "--skip-check"], options].concat();
        let running = Self(program(pipeline, &arguments).spawn().unwrap());
        common::until("it delivers", || delivered(pipeline, "tenant_000") == EVENTS);
        running
    }

    /// Asks for a reload and returns its line.
    fn reload(&self, pipeline: &TestPipeline, event: &str) -> String {
        let before = pipeline.event_count(event);
        kill_process(Pid::from_child(&self.0), Signal::HUP).unwrap();
        common::until(event, || pipeline.event_count(event) > before);
        pipeline.event_lines(event).pop().unwrap()
    }
}

#[test]
fn a_reload_sees_files_that_were_added_changed_or_removed() {
    let pipeline = with_tenants(3);
    let running = Running::start(&pipeline, &[]);
    write_tenant(pipeline.directory.path(), 3);
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("added=\"tenant_003\"") && line.contains("changed=\"files\""), "{line}");
    common::until("the new source delivers", || delivered(&pipeline, "tenant_003") == EVENTS);

    let changed = tenant("tenant_001").replace("1000/s", "999/s");
    fs::write(pipeline.path("tenants/tenant_001.yaml"), changed).unwrap();
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("changed=\"tenant_001\"") && line.contains("added=\"\""), "{line}");

    fs::write(pipeline.path("tenants/twice.yaml"), tenant("tenant_002")).unwrap();
    let line = running.reload(&pipeline, "config_reload_failed");
    assert!(line.contains("twice.yaml:2:3") && line.contains("tenants/tenant_002.yaml:2:3"), "{line}");

    fs::remove_file(pipeline.path("tenants/twice.yaml")).unwrap();
    fs::remove_file(pipeline.path("tenants/tenant_002.yaml")).unwrap();
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("removed=\"tenant_002\""), "{line}");
}

#[test]
fn watching_sees_files_that_were_added_or_removed() {
    let pipeline = with_tenants(2);
    let _running = Running::start(&pipeline, &["--watch-config"]);
    write_tenant(pipeline.directory.path(), 2);
    pipeline.until_event("config_reloaded", "added=\"tenant_002\"");
    fs::remove_file(pipeline.path("tenants/tenant_001.yaml")).unwrap();
    pipeline.until_event("config_reloaded", "removed=\"tenant_001\"");
}
