//! `auditflow validate`: output, exit codes, and the pipelines of the project.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;

/// Values that must never be printed.
const SECRETS: [&str; 3] = ["s3cret-from-the-environment", "hunter2-literal", "s3cret-span"];

fn auditflow(directory: &Path) -> Command {
    let mut command = Command::cargo_bin("auditflow").expect("the program is built");
    command.current_dir(directory).env_clear().env("VENDOR_SECRET", SECRETS[0]).env("BAD_SPAN", SECRETS[2]);
    command
}

/// Runs `validate` on texts in files `a.yaml`, `b.yaml` and so on.
fn validate(texts: &[&str], options: &[&str]) -> Assert {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = auditflow(directory.path());
    command.arg("validate").args(options);
    for (text, letter) in texts.iter().zip('a'..) {
        let name = format!("{letter}.yaml");
        std::fs::write(directory.path().join(&name), text).expect("written");
        command.arg(name);
    }
    command.assert()
}

fn stdout(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stdout.clone()).expect("UTF-8")
}

fn stderr(assert: &Assert) -> String {
    String::from_utf8(assert.get_output().stderr.clone()).expect("UTF-8")
}

const GOOD: &str = "\
sources:
  acme:
    type: clumio
    access_token: ${VENDOR_SECRET}
transforms:
  events:
    type: normalize
    inputs: [acme]
sinks:
  files:
    type: file
    inputs: [events]
    path: out/%Y-%m-%d.ndjson
";

const BAD: &str = "\
# a comment with ${NOT_A_VARIABLE}
data_dri: ./data
threads: \"4\"
sources:
  acme_clumio:
    type: clumio
    regoin: us-west-2
    access_token: ${VENDOR_SECRET}
    page_size: five
    overlap: ${BAD_SPAN}
  acme_merge:
    type: mergee
    api_key: hunter2-literal
  acme_akuity:
    type: akuity
    api_key_id: ${NOT_SET}
    api_key_secret: {api_key: hunter2-literal}
  acme_confluence:
    type: confluence
    email: audit@acme.example
    api_tokn: hunter2-literal
    site: acme
    backfill_start_time: 2026-02-01
    end_time: 2026-01-01
transforms:
  events:
    type: normalize
    inputs: [acme_*, people, acme_clumoi]
  people:
    type: normalize
    inputs: events
  alone:
    type: normalize
sinks:
  lake:
    type: file
    path: out/%Y-%m-%d.ndjson
    compression: gzp
    inputs: [events, other_*]
    batch: {max_evnts: 5, max_bytes: lots}
    start: later
  lake:
    type: console
  acme_clumio:
    type: console
    inputs: [lake]
";

#[test]
fn every_error_is_shown_with_its_line_and_a_hint() {
    let assert = validate(&[BAD], &[]).code(2);
    assert_eq!(stdout(&assert), "");
    insta::assert_snapshot!(stderr(&assert), @r#"
    error: unknown setting `data_dri`
      --> a.yaml:2:1 (data_dri)
      |
    2 | data_dri: ...
      | ^^^^^^^^
      = help: did you mean `data_dir`?

    error: found the string `4`, expected an integer, 1 or more
      --> a.yaml:3:10 (threads)
      |
    3 | threads: "4"
      |          ^^^
      = help: remove the quotes

    error: unknown setting `regoin`
      --> a.yaml:7:5 (sources.acme_clumio.regoin)
      |
    7 |     regoin: ...
      |     ^^^^^^
      = help: did you mean `region`?

    error: found the string `five`, expected an integer from 0 to 4294967295
      --> a.yaml:9:16 (sources.acme_clumio.page_size)
      |
    9 |     page_size: five
      |                ^^^^
      = help: write it in digits, such as 10

    error: `${BAD_SPAN}` is not a duration; write seconds (90) or a number with ms, s, m, h or d (90s, 15m, 1h30m), or `auto`
      --> a.yaml:10:14 (sources.acme_clumio.overlap)
       |
    10 |     overlap: ${BAD_SPAN}
       |              ^^^^^^^^^^^

    error: unknown source type `mergee`
      --> a.yaml:12:11 (sources.acme_merge.type)
       |
    12 |     type: mergee
       |           ^^^^^^
      = help: did you mean `merge`? allowed here: `akuity`, `captivateiq`, `clumio`, `confluence`, `merge`

    warning: the secret `api_key` is written in the file
      --> a.yaml:13:14 (sources.acme_merge.api_key)
       |
    13 |     api_key: ...
       |              ^^^
      = help: take it from the environment, `${VARIABLE}`, or from a file, `{file: path}`

    error: the setting `organization_id` is missing
      --> a.yaml:14:3 (sources.acme_akuity)
       |
    14 |   acme_akuity:
       |   ^^^^^^^^^^^
      = help: add a line `organization_id: ...` here

    error: the environment variable NOT_SET is not set
      --> a.yaml:16:17 (sources.acme_akuity.api_key_id)
       |
    16 |     api_key_id: ...
       |                 ^^^
      = help: set it in the environment of auditflow

    error: unknown setting `api_key`
      --> a.yaml:17:22 (sources.acme_akuity.api_key_secret.api_key)
       |
    17 |     api_key_secret: ... api_key: ...
       |                         ^^^^^^^
      = help: allowed here: `file`

    error: unknown setting `api_tokn`
      --> a.yaml:21:5 (sources.acme_confluence.api_tokn)
       |
    21 |     api_tokn: ...
       |     ^^^^^^^^
      = help: did you mean `api_token`?

    error: end_time is not after backfill_start_time
      --> a.yaml:24:15 (sources.acme_confluence.end_time)
       |
    24 |     end_time: 2026-01-01
       |               ^^^^^^^^^^
      = help: set a later end_time, or remove it to collect without an end

    error: there is no source or transform called `acme_clumoi`
      --> a.yaml:28:30 (transforms.events.inputs[2])
       |
    28 |     inputs: ... acme_clumoi ...
       |                 ^^^^^^^^^^^
      = help: did you mean `acme_clumio`? allowed here: `acme_akuity`, `acme_clumio`, `acme_confluence`, `acme_merge`, `alone`, `people`

    error: the inputs form a cycle: people -> events -> people
      --> a.yaml:31:13 (transforms.people.inputs)
       |
    31 |     inputs: events
       |             ^^^^^^
      = help: remove one of these inputs

    error: transform `alone` has no inputs
      --> a.yaml:32:3 (transforms.alone.inputs)
       |
    32 |   alone:
       |   ^^^^^
      = help: name the sources or transforms to read: `inputs: [name, other_*]`

    error: unknown value `gzp`
      --> a.yaml:38:18 (sinks.lake.compression)
       |
    38 |     compression: gzp
       |                  ^^^
      = help: did you mean `gzip`? allowed here: `none`, `gzip`, `zstd`

    error: no source or transform matches `other_*`
      --> a.yaml:39:22 (sinks.lake.inputs[1])
       |
    39 |     inputs: ... other_* ...
       |                 ^^^^^^^
      = help: allowed here: `acme_akuity`, `acme_clumio`, `acme_confluence`, `acme_merge`, `alone`, `events`, `people`

    error: unknown setting `max_evnts`
      --> a.yaml:40:13 (sinks.lake.batch.max_evnts)
       |
    40 |     batch: ... max_evnts: ...
       |                ^^^^^^^^^
      = help: did you mean `max_events`? allowed here: `max_events`, `max_bytes`, `timeout_secs`

    error: `lots` is not a size; write bytes (4096) or a number with KiB, MiB, GiB, KB, MB or GB (64MiB)
      --> a.yaml:40:38 (sinks.lake.batch.max_bytes)
       |
    40 |     batch: ... lots ...
       |                ^^^^

    error: unknown value `later`
      --> a.yaml:41:12 (sinks.lake.start)
       |
    41 |     start: later
       |            ^^^^^
      = help: allowed here: `beginning`, `now`

    error: duplicate key `lake`; the first is in line 35
      --> a.yaml:42:3 (sinks.lake)
       |
    42 |   lake:
       |   ^^^^
      = help: remove one of the two

    error: the name `acme_clumio` is already used by the source in line 5
      --> a.yaml:44:3 (sinks.acme_clumio)
       |
    44 |   acme_clumio:
       |   ^^^^^^^^^^^
      = help: give each source, transform and sink a unique name

    error: `lake` is a sink; a sink cannot be an input
      --> a.yaml:46:14 (sinks.acme_clumio.inputs[0])
       |
    46 |     inputs: ... lake ...
       |                 ^^^^
      = help: name a source or a transform

    a.yaml: invalid, 22 errors, 1 warning
    "#);
}

/// Ten errors that affect each other, each on the line that says so.
const TEN_ERRORS: &str = r#"data_dir: ./data
sources:
  acme_clumio:
    type: clumio
    access_token: ${VENDOR_SECRET}
    regoin: us-west-2                       # error 1: a misspelt option
    page_size: five                         # error 2: a wrong type
  acme_merge:
    type: mergee                            # error 3: an unknown vendor
    api_key: ${VENDOR_SECRET}
  acme_akuity:
    type: akuity
    organization_id: ${NOT_SET}             # error 4: an unset variable
    api_key_id: key
    api_key_secret: {file: /run/secrets/akuity}
  acme_captivateiq:                         # error 5: a missing secret
    type: captivateiq
transforms:
  events:
    type: normalize
    inputs: [acme_*, acme_clumoi]           # error 6: a dangling input
  people:
    type: filter
    inputs: [events, admins]                # error 7: a cycle, of `people` and `admins`
    condition: actor.type == "user"
  admins:
    type: filter
    inputs: [people]
    condition: actor.typ == "admin"         # error 8: a bad condition
sinks:
  lake:
    type: file
    inputs: [admins]
    path: "lake/{{ vendr }}/%Y-%m-%d.ndjson"  # error 9: a bad template
  events:                                   # error 10: a name that is taken
    type: console
    inputs: [people]
"#;

#[test]
fn ten_errors_are_reported_as_ten() {
    let assert = validate(&[TEN_ERRORS], &[]).code(2);
    let shown = stderr(&assert);
    let lines = shown.lines().filter_map(|line| line.trim_start().strip_prefix("--> a.yaml:"));
    let found: Vec<usize> =
        lines.map(|line| line.split(':').next().unwrap_or_default().parse().expect("a line")).collect();
    let numbered = TEN_ERRORS.lines().zip(1..).filter(|(line, _)| line.contains("# error "));
    let planted: Vec<usize> = numbered.map(|(_, number)| number).collect();
    assert_eq!(planted.len(), 10);
    assert_eq!(found, planted, "{shown}");
    assert_eq!(shown.matches("= help: ").count(), 10, "{shown}");
    insta::assert_snapshot!(shown, @r##"
    error: unknown setting `regoin`
      --> a.yaml:6:5 (sources.acme_clumio.regoin)
      |
    6 |     regoin: ...
      |     ^^^^^^
      = help: did you mean `region`?

    error: found the string `five`, expected an integer from 0 to 4294967295
      --> a.yaml:7:16 (sources.acme_clumio.page_size)
      |
    7 |     page_size: five
      |                ^^^^
      = help: write it in digits, such as 10

    error: unknown source type `mergee`
      --> a.yaml:9:11 (sources.acme_merge.type)
      |
    9 |     type: mergee
      |           ^^^^^^
      = help: did you mean `merge`? allowed here: `akuity`, `captivateiq`, `clumio`, `confluence`, `merge`

    error: the environment variable NOT_SET is not set
      --> a.yaml:13:22 (sources.acme_akuity.organization_id)
       |
    13 |     organization_id: ...
       |                      ^^^
      = help: set it in the environment of auditflow

    error: the setting `api_token` is missing
      --> a.yaml:16:3 (sources.acme_captivateiq)
       |
    16 |   acme_captivateiq: ...
       |   ^^^^^^^^^^^^^^^^
      = help: add a line `api_token: ...` here

    error: there is no source or transform called `acme_clumoi`
      --> a.yaml:21:22 (transforms.events.inputs[1])
       |
    21 |     inputs: ... acme_clumoi ...
       |                 ^^^^^^^^^^^
      = help: did you mean `acme_clumio`? allowed here: `acme_akuity`, `acme_captivateiq`, `acme_clumio`, `acme_merge`, `admins`, `people`

    error: the inputs form a cycle: people -> admins -> people
      --> a.yaml:24:22 (transforms.people.inputs[1])
       |
    24 |     inputs: ... admins ...
       |                 ^^^^^^
      = help: remove one of these inputs

    error: unknown field `typ`
      --> a.yaml:29:22 (transforms.admins.condition)
       |
    29 |     condition: ... typ ...
       |                    ^^^
      = help: did you mean `type`?

    error: `lake/{{ vendr }}/%Y-%m-%d.ndjson`, column 9: there is no field `vendr`
      --> a.yaml:34:11 (sinks.lake.path)
       |
    34 |     path: "lake/{{ vendr }}/%Y-%m-%d.ndjson"
       |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = help: did you mean `vendor`? The fields are vendor, source, tenant, event_type, action, category, outcome, actor.type, actor.id, actor.name, actor.email, actor.via, target.type, target.vendor_type, target.id, target.name, target.email

    error: the name `events` is already used by the transform in line 19
      --> a.yaml:35:3 (sinks.events)
       |
    35 |   events: ...
       |   ^^^^^^
      = help: give each source, transform and sink a unique name

    a.yaml: invalid, 10 errors
    "##);
}

const BAD_CONDITIONS: &str = "\
sources:
  acme:
    type: clumio
    access_token: ${VENDOR_SECRET}
transforms:
  events:
    type: normalize
    inputs: [acme]
  people:
    type: filter
    inputs: [events]
    condition: actor.type == \"usr\" && actor.emial != null
  alarms:
    type: filter
    inputs: [people]
    condition: >-
      action in [\"delete\", \"delte\"]
      || timestamp > \"2026-01-01\"
  raw:
    type: filter
    inputs: [acme]
    condition: |
      raw.contains(\"x\") and true
  empty:
    type: filter
    inputs: [events]
  not:
    type: filter
    inputs: [events]
    condition: 'action'
sinks:
  files:
    type: file
    inputs: [alarms, raw, empty, not]
    path: out/%Y-%m-%d.ndjson
";

#[test]
fn errors_in_conditions_are_shown_with_their_span() {
    let assert = validate(&[BAD_CONDITIONS], &[]).code(2);
    insta::assert_snapshot!(stderr(&assert), @r#"
    error: unknown value `usr`
      --> a.yaml:12:30 (transforms.people.condition)
       |
    12 |     condition: ... "usr" ...
       |                    ^^^^^
      = help: did you mean `user`?

    error: unknown field `emial`
      --> a.yaml:12:45 (transforms.people.condition)
       |
    12 |     condition: ... emial ...
       |                    ^^^^^
      = help: did you mean `email`?

    error: unknown value `delte`
      --> a.yaml:17:28 (transforms.alarms.condition)
       |
    17 |       ... "delte" ...
       |           ^^^^^^^
      = help: did you mean `delete`?

    error: cannot compare a time with a string in this way
      --> a.yaml:18:10 (transforms.alarms.condition)
       |
    18 |       ... timestamp > "2026-01-01"
       |           ^^^^^^^^^^^^^^^^^^^^^^^^
      = help: write a time as timestamp("2026-01-31T00:00:00Z")

    error: filter `raw` gets raw records of source `acme`, which have no fields to filter by
      --> a.yaml:21:14 (transforms.raw.inputs[0])
       |
    21 |     inputs: ... acme ...
       |                 ^^^^
      = help: add a transform of `type: normalize` between them, and name it here

    error: unexpected `and`
      --> a.yaml:23:25 (transforms.raw.condition)
       |
    23 |       ... and ...
       |           ^^^
      = help: for `and`, write `&&`

    error: the setting `condition` is missing
      --> a.yaml:24:3 (transforms.empty)
       |
    24 |   empty:
       |   ^^^^^
      = help: add a line `condition: ...` here

    error: expected a boolean, found a string
      --> a.yaml:30:17 (transforms.not.condition)
       |
    30 |     condition: ... action ...
       |                    ^^^^^^
      = help: compare it, for example with `== "..."`, or test whether it is present: has(field)

    a.yaml: invalid, 8 errors
    "#);
}

#[test]
fn a_valid_file_is_summarized_on_stdout() {
    let assert = validate(&[GOOD], &[]).code(0);
    assert_eq!(stdout(&assert), "a.yaml: 1 source, 1 transform, 1 sink: ok\n");
    assert_eq!(stderr(&assert), "");
}

#[test]
fn every_file_is_read_even_if_one_is_not_yaml() {
    let assert = validate(&["sinks: [", GOOD, "", "sorces: {}"], &[]).code(2);
    let shown = stderr(&assert);
    assert!(shown.contains("--> a.yaml:1:") && shown.contains("this is not YAML"), "{shown}");
    assert!(shown.contains("--> d.yaml:1:1 (sorces)"), "{shown}");
    let assert = validate(&["", "# nothing"], &[]).code(2);
    let shown = stderr(&assert);
    assert!(shown.contains("the pipeline has no sources\n  --> a.yaml b.yaml (sources)"), "{shown}");
}

#[test]
fn a_warning_of_a_vendor_is_shown_once_with_its_line() {
    let text = "sources:\n  clumio:\n    type: clumio\n    access_token: ${VENDOR_SECRET}\n    bucket_region: us-west-2\n\
                sinks:\n  out:\n    type: console\n    inputs: [clumio]\n";
    let assert = validate(&[text], &[]).code(0);
    insta::assert_snapshot!(stderr(&assert), @r"
    warning: Clumio's reference does not list this filter for audit trails
      --> a.yaml:5:20 (sources.clumio.bucket_region)
      |
    5 |     bucket_region: us-west-2
      |                    ^^^^^^^^^
      = help: if the API rejects it or returns no events, set undocumented_filters to match_locally or ignore
    ");
}

#[test]
fn a_file_with_a_warning_is_valid() {
    let text =
        GOOD.replace("transforms:", "  unread:\n    type: clumio\n    access_token: ${VENDOR_SECRET}\ntransforms:");
    let assert = validate(&[&text], &[]).code(0);
    assert!(stderr(&assert).starts_with("warning: no sink reads source `unread`"), "{}", stderr(&assert));
    assert!(stdout(&assert).ends_with("ok, 1 warning\n"));
}

#[test]
fn a_missing_file_is_reported() {
    let directory = tempfile::tempdir().expect("a directory");
    let assert = auditflow(directory.path()).args(["validate", "none.yaml"]).assert().code(2);
    assert!(stderr(&assert).contains("--> none.yaml"), "{}", stderr(&assert));
}

#[test]
fn only_the_pipeline_file_is_read() {
    let text = GOOD.replace("${VENDOR_SECRET}", "{file: secrets/not-there}");
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("a.yaml"), text).expect("written");
    auditflow(directory.path()).args(["validate", "a.yaml"]).assert().code(0);
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("a directory").collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn json_has_one_diagnostic_per_line() {
    let assert = validate(&["data_dri: x\n"], &["--json"]).code(2);
    let lines: Vec<serde_json::Value> =
        stdout(&assert).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        lines[0],
        serde_json::json!({
            "severity": "error",
            "file": "a.yaml",
            "line": 1,
            "column": 1,
            "key": "data_dri",
            "message": "unknown setting `data_dri`",
            "hint": "did you mean `data_dir`?",
        })
    );
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[1]["line"].is_null());
}

#[test]
fn no_secret_is_printed() {
    for options in [&[] as &[&str], &["--json"]] {
        let assert = validate(&[BAD], options);
        let printed = stdout(&assert) + &stderr(&assert);
        for secret in SECRETS {
            assert!(!printed.contains(secret), "{secret} in {printed}");
        }
    }
}

/// Valid values for the variables of the project's pipelines.
const VARIABLES: [(&str, &str); 14] = [
    ("AKUITY_API_KEY_ID", "key-id"),
    ("AKUITY_API_KEY_SECRET", "key-secret"),
    ("AKUITY_ORGANIZATION_ID", "org-id"),
    ("CAPTIVATEIQ_API_TOKEN", "token"),
    ("CLUMIO_ACCESS_TOKEN", "token"),
    ("CLUMIO_TOKEN_globex", "token"),
    ("CLUMIO_TOKEN_initech", "token"),
    ("CONFLUENCE_API_TOKEN", "token"),
    ("CONFLUENCE_CLOUD_ID", "7f8f6a52-58a6-4a3a-9d0e-5a1e2b3c4d5e"),
    ("CONFLUENCE_EMAIL", "audit@acme.example"),
    ("KAFKA_PASSWORD", "password"),
    ("KAFKA_USERNAME", "auditflow"),
    ("MERGE_API_KEY", "key"),
    ("SECURITY_LAKE_EXTERNAL_ID", "id"),
];

fn pipelines() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let files = std::fs::read_dir(directory).expect("the pipelines").map(|file| file.expect("a file").path());
    let mut pipelines: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    if cfg!(not(feature = "kafka")) {
        pipelines.retain(|file| !file.ends_with("kafka.yaml"));
    }
    if cfg!(not(all(feature = "s3", feature = "parquet"))) {
        pipelines.retain(|file| !file.ends_with("security_lake.yaml"));
    }
    pipelines.sort();
    pipelines
}

#[test]
fn every_pipeline_of_the_project_is_valid_with_its_variables() {
    let directory = tempfile::tempdir().expect("a directory");
    let pipelines = pipelines();
    let mut printed = String::new();
    for pipeline in &pipelines {
        let assert = auditflow(directory.path()).arg("validate").arg(pipeline).envs(VARIABLES).assert().code(0);
        assert_eq!(stderr(&assert), "");
        printed += &stdout(&assert);
    }
    assert!(printed.contains("all.yaml: 5 sources, 1 transform, 1 sink: ok"), "{printed}");
}

#[test]
fn the_pipeline_of_many_files_is_valid() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let assert = auditflow(directory).args(["validate", "pipelines/tenants"]).envs(VARIABLES).assert().code(0);
    assert_eq!(stderr(&assert), "");
    assert_eq!(stdout(&assert), "pipelines/tenants: 4 sources, 1 transform, 1 sink: ok\n");
}

#[test]
fn every_pipeline_of_the_project_lists_its_variables_at_the_top() {
    for pipeline in pipelines().iter().filter(|file| !file.ends_with("all.yaml")) {
        let text = std::fs::read_to_string(pipeline).expect("readable");
        let (top, _) = text.split_once("\nsources:").expect("sources");
        for (name, _) in VARIABLES.iter().filter(|(name, _)| text.contains(&format!("${{{name}}}"))) {
            assert!(top.contains(name), "{}: {name}", pipeline.display());
        }
    }
}

#[test]
fn diagnostics_are_counted_and_warnings_can_be_denied() {
    let literal = GOOD.replace("${VENDOR_SECRET}", SECRETS[1]);
    let assert = validate(&[&literal], &[]).code(0);
    assert_eq!(stdout(&assert), "a.yaml: 1 source, 1 transform, 1 sink: ok, 1 warning\n");
    let printed = stderr(&assert);
    assert!(printed.contains("the secret `access_token` is written in the file"), "{printed}");
    assert!(!printed.contains(SECRETS[1]), "{printed}");
    let assert = validate(&[&literal], &["--deny-warnings"]).code(2);
    assert!(stderr(&assert).ends_with("a.yaml: 1 source, 1 transform, 1 sink: ok, 1 warning\n"), "{}", stderr(&assert));
    validate(&[GOOD], &["--deny-warnings"]).code(0);
    let two = GOOD.replace("region", "").replace("type: file", "type: flie\n    batch: {max_events: many}");
    let assert = validate(&[&two], &[]).code(2);
    assert!(stderr(&assert).ends_with("a.yaml: invalid, 2 errors\n"), "{}", stderr(&assert));
}

#[test]
fn mistakes_behind_others_are_shown_too() {
    let text = GOOD
        .replace(
            "    access_token: ${VENDOR_SECRET}\n",
            "    base_url: http://audit:hunter2-literal@example.com/v1?key=s3cret-span\n",
        )
        .replace("    path: out/%Y-%m-%d.ndjson\n", "    paht: out/%Q.ndjson\n    rotate: {max_bytes: 0}\n");
    let assert = validate(&[&text], &[]).code(2);
    let printed = stderr(&assert);
    for expected in ["`access_token` is missing", "http://***@example.com/v1?key=***", "`paht`", "max_bytes"] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
    for secret in SECRETS {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn encoding_without_normalize_is_doubtful() {
    let text = GOOD.replace("inputs: [events]", "inputs: [acme]\n    encoding: {schema: ocsf}");
    let assert = validate(&[&text], &[]).code(0);
    assert!(stderr(&assert).contains("`encoding` does not apply to source `acme`"), "{}", stderr(&assert));
}

#[test]
fn a_start_before_the_first_start_is_valid() {
    let with = |start: &str| GOOD.replace("type: clumio", &format!("type: clumio\n    backfill_start_time: {start}"));
    validate(&[&with("30d")], &["--deny-warnings"]).code(0);
    let assert = validate(&[&with("30")], &[]).code(2);
    assert!(stderr(&assert).contains("`30d` (before the first start)"), "{}", stderr(&assert));
}

/// librdkafka loads a plugin as soon as the option is set: `validate` must refuse the option before.
#[cfg(feature = "kafka")]
#[test]
fn an_option_that_names_a_library_is_rejected_and_the_library_is_not_loaded() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name);
    let (source, library, marker) = (path("plugin.c"), path("plugin.so"), path("loaded"));
    let text = format!(
        "#include <stdio.h>\n__attribute__((constructor)) static void loaded(void) {{ fclose(fopen({:?}, \"w\")); }}\n",
        marker.display().to_string()
    );
    std::fs::write(&source, text).expect("written");
    let compiled =
        std::process::Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.expect("a C compiler").success());
    let files = "  files:\n    type: file\n    inputs: [events]\n    path: out/%Y-%m-%d.ndjson\n";
    let kafka = |option: &str, value: &str| {
        let sink = format!(
            "  stream: {{type: kafka, inputs: [events], bootstrap_servers: \"127.0.0.1:1\", topic: audit, librdkafka_options: {{{option}: \"{value}\"}}}}\n"
        );
        GOOD.replace(files, &sink)
    };
    for option in ["plugin.library.paths", "ssl.engine.location", "sasl.kerberos.kinit.cmd", "ssl.providers"] {
        let assert = validate(&[&kafka(option, &library.display().to_string())], &[]).code(2);
        let printed = stdout(&assert) + &stderr(&assert);
        assert!(printed.contains(&format!("`{option}` cannot be set here")), "{printed}");
        assert!(printed.contains("loads libraries or runs commands"), "{printed}");
    }
    assert!(!marker.exists(), "the library was loaded");
    validate(&[&kafka("linger.ms", "20")], &[]).success();
}
