//! Sources from lists: their mistakes, a run with a source per row, and reloads.
#![allow(clippy::unwrap_used)]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output};

use common::TestPipeline;
use rustix::process::{Pid, Signal, kill_process};

const ROWS: usize = 20;
const EVENTS: usize = 3;

const SINKS: &str = "transforms: {events: {type: normalize, inputs: [clumio_*]}}
sinks: {out: {type: console, inputs: [events]}}
";

fn auditflow(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.current_dir(directory).env_clear().env("TOKEN_ACME", "s3cret-of-acme").env("OTHER", "s3cret-of-others");
    command.args(arguments).output().unwrap()
}

/// Validates `acme.yaml`, which has these lists, with the other files beside it. Returns what is printed.
fn validated(lists: &str, files: &[(&str, &str)]) -> (bool, String) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("acme.yaml"), format!("sources_from:\n{lists}{SINKS}")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
        fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let output = auditflow(directory.path(), &["validate", "acme.yaml"]);
    let printed = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    assert!(!printed.contains("s3cret"), "{printed}");
    (output.status.success(), printed)
}

fn mistakes_of(lists: &str, files: &[(&str, &str)]) -> String {
    let (is_valid, printed) = validated(lists, files);
    assert!(!is_valid, "{printed}");
    printed
}

#[test]
fn mistakes_of_rows_name_the_list_and_those_of_the_template_come_once() {
    let list = "  clumio_{{ tenant }}:
    file: tenants.csv
    template:
      type: clumio
      regoin: us-west-2
      access_token: ${TOKEN_{{ tenant }}}
      page_size: \"{{ pages }}\"
      base_url: \"https://{{ host }}/\"
";
    let rows = "\
tenant,pages,host,note
ACME,100,api.example.com,
UMBRELLA,many,api.example.com,\"two, values\"
ACME,,api.example.com,twice
in valid,5,api.example.com,
GLOBEX,5,\"\"\"\",
";
    insta::assert_snapshot!(mistakes_of(list, &[("tenants.csv", rows)]), @r#"
    error: unknown setting `regoin`; 2 more rows have the same
      --> acme.yaml:6:7 (sources.clumio_ACME.regoin)
      |
    6 |       regoin: ...
      |       ^^^^^^
      = help: did you mean `region`?

    error: the environment variable TOKEN_UMBRELLA is not set (column `tenant`)
      --> tenants.csv:3:1 (sources_from.clumio_{{ tenant }}.template.access_token)
      |
    3 | ...
      | ^^^
      = help: set it in the environment of auditflow

    error: found the string `many`, expected an integer from 0 to 4294967295 (column `pages`)
      --> tenants.csv:3:10 (sources.clumio_UMBRELLA.page_size)
      |
    3 | ... many ...
      |     ^^^^
      = help: write it in digits, such as 10

    error: duplicate name `clumio_ACME`; the first is in line 2 (column `tenant`)
      --> tenants.csv:4:1 (sources.clumio_ACME)
      |
    4 | ACME ...
      | ^^^^
      = help: remove one of the two, or give it another name

    error: `in valid` cannot be part of the name of an environment variable (column `tenant`)
      --> tenants.csv:5:1 (sources_from.clumio_{{ tenant }}.template.access_token)
      |
    5 | ...
      | ^^^
      = help: use letters, digits and `_` here, or a column of its own with the variable's name

    error: `clumio_in valid` is not a valid name (column `tenant`)
      --> tenants.csv:5:1 (sources.clumio_in valid)
      |
    5 | in valid ...
      | ^^^^^^^^
      = help: use letters, digits, `_`, `-` and `.`

    error: the environment variable TOKEN_GLOBEX is not set (column `tenant`)
      --> tenants.csv:6:1 (sources_from.clumio_{{ tenant }}.template.access_token)
      |
    6 | ...
      | ^^^
      = help: set it in the environment of auditflow

    acme.yaml: invalid, 7 errors
    "#);
}

#[test]
fn an_empty_value_and_a_row_of_an_alias_have_their_place_in_the_list() {
    let list = |file: &str| {
        format!(
            "  clumio_{{{{ tenant }}}}:
    file: {file}
    template: {{type: clumio, region: us-west-2, access_token: \"{{{{ token }}}}\"}}
"
        )
    };
    let rows = "tenant,token\nacme,a\numbrella,\nglobex,\n";
    let printed = mistakes_of(&list("tenants.csv"), &[("tenants.csv", rows)]);
    for place in ["tenants.csv:3:10 (sources.clumio_umbrella)", "tenants.csv:4:8 (sources.clumio_globex)"] {
        let message = "error: the setting `access_token` is missing (column `token`)\n  --> ";
        assert!(printed.contains(&format!("{message}{place}\n")), "{printed}");
    }
    assert!(printed.contains("this value of the list is empty: fill it in"), "{printed}");
    let rows = "- &acme {tenant: acme, token: a}\n- *acme\n";
    let printed = mistakes_of(&list("tenants.yaml"), &[("tenants.yaml", rows)]);
    let expected =
        "duplicate name `clumio_acme`; the first is in line 1\n  --> tenants.yaml:2:3 (sources.clumio_acme)\n";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn lists_and_templates_that_do_not_fit_say_what_to_do() {
    let entry = |name: &str, file: &str, region: &str| {
        format!(
            "  \"{name}\":\n    file: {file}\n    template: {{type: clumio, access_token: {{file: token}}, region: \"{region}\"}}\n"
        )
    };
    let lists = entry("clumio_a_{{ tenant }}", "tenants.csv", "{{ regoin }}")
        + &entry("clumio_b_{{ tenant }", "tenants.csv", "us-west-2")
        + &entry("clumio_c", "tenants.csv", "us-west-2")
        + &entry("clumio_d_{{ tenant }}", "empty.csv", "us-west-2")
        + &entry("clumio_e_{{ tenant }}", "missing.csv", "us-west-2")
        + &entry("clumio_f_{{ tenant }}", "tenants.yaml", "{{ region }}")
        + &entry("clumio_g_{{ tenant }}", "broken.csv", "us-west-2")
        + "  clumio_h: {fil: tenants.csv}\n";
    let files = [
        ("tenants.csv", "tenant,region\nacme,us-west-2\n"),
        ("empty.csv", "tenant,region\n"),
        ("tenants.yaml", "- {tenant: acme, region: us-west-2}\n- {tenant: umbrella}\n"),
        ("broken.csv", "tenant\n\"acme\n"),
    ];
    insta::assert_snapshot!(mistakes_of(&lists, &files), @r#"
    error: the list has no column `regoin`
      --> acme.yaml:4:67 (sources_from.clumio_a_{{ tenant }}.template.region)
      |
    4 |     template: ... ...
      |                   ^^^
      = help: did you mean `region`? allowed here: `tenant`, `region`

    error: a `{{` is not closed
      --> acme.yaml:5:3 (sources_from.clumio_b_{{ tenant })
      |
    5 |   ...
      |   ^^^
      = help: write `{{ column }}` or `${VARIABLE}`, or `$${` for a literal `${`

    error: all sources of the list would be called `clumio_c`
      --> acme.yaml:8:3 (sources_from.clumio_c)
      |
    8 |   "clumio_c":
      |   ^^^^^^^^^^
      = help: name a column: `clumio_c_{{ tenant }}:`

    error: the list empty.csv has no rows
      --> acme.yaml:12:11 (sources_from.clumio_d_{{ tenant }}.file)
       |
    12 |     file: empty.csv
       |           ^^^^^^^^^
      = help: add a row for each source; without any, remove this entry

    error: cannot read the list missing.csv: No such file or directory (os error 2)
      --> acme.yaml:15:11 (sources_from.clumio_e_{{ tenant }}.file)
       |
    15 |     file: missing.csv
       |           ^^^^^^^^^^^
      = help: check the path, which is relative to this file, its permissions, and that it is UTF-8 text

    error: the setting `template` is missing
      --> acme.yaml:23:3 (sources_from.clumio_h)
       |
    23 |   clumio_h: ...
       |   ^^^^^^^^
      = help: add a line `template: ...` here

    error: unknown setting `fil`
      --> acme.yaml:23:14 (sources_from.clumio_h.fil)
       |
    23 |   clumio_h: ... fil: ...
       |                 ^^^
      = help: did you mean `file`? allowed here: `file`, `template`

    warning: the secret file token cannot be read: No such file or directory (os error 2) (column `tenant`)
      --> tenants.yaml:1:12 (sources.clumio_f_acme)
      |
    1 | - ... acme ...
      |       ^^^^
      = help: create it, or fix its path or permissions

    error: this row has no `region`, which the template `clumio_f_{{ tenant }}` names
      --> tenants.yaml:2:3
      |
    2 | - ...
      |   ^^^
      = help: add it to the row

    error: this is not CSV: this quote is not closed
      --> broken.csv:2:1
      |
    2 | ...
      | ^^^
      = help: put the whole value in quotes, and write a quote inside it twice: `"a ""b"", c"`

    acme.yaml: invalid, 9 errors, 1 warning
    "#);
}

#[test]
fn values_of_rows_are_data() {
    let list = "  clumio_{{ tenant }}:
    file: tenants.csv
    template: {type: clumio, access_token: \"{{ token }}\", backfill_start_time: \"{{ start }}\"}
";
    let rows =
        "tenant,token,start\na,${OTHER},\nb,\"x\"\"\n  page_size: many\",2026-01-01\nc,{file: /etc/passwd},30d\n";
    let (is_valid, printed) = validated(list, &[("tenants.csv", rows)]);
    assert!(is_valid, "{printed}");
    insta::assert_snapshot!(printed, @r#"
    acme.yaml: 3 sources, 1 transform, 1 sink: ok, 1 warning
    warning: the secret `access_token` is written in the file (column `token`); 2 more rows have the same
      --> tenants.csv:2:3 (sources.clumio_a.access_token)
      |
    2 | ... ...
      |     ^^^
      = help: take it from the environment, `${VARIABLE}`, or from a file, `{file: path}`
    "#);
}

#[test]
fn each_row_has_its_own_secret() {
    let list = "  clumio_{{ tenant }}:
    file: tenants.yaml
    template: {type: clumio, access_token: {file: \"{{ tenant }}.token\"}}
";
    let rows = "- tenant: acme\n- tenant: umbrella\n";
    let (is_valid, printed) = validated(list, &[("tenants.yaml", rows), ("acme.token", "one")]);
    assert!(is_valid, "{printed}");
    insta::assert_snapshot!(printed, @r#"
    acme.yaml: 2 sources, 1 transform, 1 sink: ok, 1 warning
    warning: the secret file umbrella.token cannot be read: No such file or directory (os error 2) (column `tenant`)
      --> tenants.yaml:2:11 (sources.clumio_umbrella)
      |
    2 | - tenant: umbrella
      |           ^^^^^^^^
      = help: create it, or fix its path or permissions
    "#);
}

/// A pipeline with a source per row, whose secret is in a file of its own.
const PIPELINE: &str = "data_dir: ./data
sources_from:
  clumio_{{ tenant }}:
    file: lists/tenants.csv
    template:
      type: clumio
      base_url: ${SIMULATOR}
      access_token: {file: \"secrets/{{ tenant }}\"}
      rate_limit: \"{{ rate }}\"
      backfill_start_time: earliest
      poll_interval: 500ms
      delay: 1s
transforms:
  events: {type: normalize, inputs: [clumio_*]}
sinks:
  files: {type: file, inputs: [events], path: \"out/{{ source }}.ndjson\", batch: {timeout_secs: 0.05}}
";

fn write_list(pipeline: &TestPipeline, rows: impl Iterator<Item = usize>, rate: &str) {
    let mut list = "tenant,rate\n".to_owned();
    rows.for_each(|row| writeln!(list, "t{row:02},{rate}").unwrap());
    // At once, as deployment tools do.
    fs::write(pipeline.path("lists/next"), list).unwrap();
    fs::rename(pipeline.path("lists/next"), pipeline.path("lists/tenants.csv")).unwrap();
}

fn with_rows() -> TestPipeline {
    let pipeline = TestPipeline::without_growth(EVENTS as u64);
    fs::create_dir(pipeline.path("lists")).unwrap();
    fs::create_dir(pipeline.path("secrets")).unwrap();
    for row in 0..=ROWS {
        let file = pipeline.path(&format!("secrets/t{row:02}"));
        fs::write(&file, &pipeline.simulator.credentials().clumio_access_token).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::write(pipeline.path("acme.yaml"), PIPELINE).unwrap();
    write_list(&pipeline, 0..ROWS, "1000/s");
    pipeline.wait_until_quiet();
    pipeline
}

fn delivered(pipeline: &TestPipeline, row: usize) -> usize {
    common::lines_so_far(&pipeline.path(&format!("out/clumio_t{row:02}.ndjson")))
}

/// A running program, which is killed in the end.
struct Running(Child);

impl Running {
    fn start(pipeline: &TestPipeline, options: &[&str]) -> Self {
        let arguments = [&["run", "acme.yaml", "--skip-check"], options].concat();
        let child = pipeline.program(&arguments).current_dir(pipeline.directory.path()).spawn().unwrap();
        let running = Self(child);
        common::until("every row delivers", || (0..ROWS).all(|row| delivered(pipeline, row) == EVENTS));
        running
    }

    fn reload(&self, pipeline: &TestPipeline, event: &str) -> String {
        let before = pipeline.event_count(event);
        kill_process(Pid::from_child(&self.0), Signal::HUP).unwrap();
        common::until(event, || pipeline.event_count(event) > before);
        pipeline.event_lines(event).pop().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_source_per_row_runs_and_a_reload_follows_the_list() {
    let pipeline = with_rows();
    let running = Running::start(&pipeline, &[]);

    write_list(&pipeline, 0..=ROWS, "1000/s");
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("added=\"clumio_t20\"") && line.contains("changed=\"files\""), "{line}");
    common::until("the new row delivers", || delivered(&pipeline, ROWS) == EVENTS);

    write_list(&pipeline, 0..=ROWS, "fast");
    let line = running.reload(&pipeline, "config_reload_failed");
    assert!(line.contains("tenants.csv:2:5: `fast` is not a rate") && line.contains("errors=21"), "{line}");

    write_list(&pipeline, 1..=ROWS, "1000/s");
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("removed=\"clumio_t00\"") && line.contains("added=\"\""), "{line}");
}

#[test]
fn watching_follows_the_list() {
    let pipeline = with_rows();
    let _running = Running::start(&pipeline, &["--watch-config"]);
    write_list(&pipeline, 1..=ROWS, "1000/s");
    let line = pipeline.until_event("config_reloaded", "added=\"clumio_t20\"");
    assert!(line.contains("removed=\"clumio_t00\""), "{line}");
}
