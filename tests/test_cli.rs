//! `auditflow test`: passing and failing tests of pipelines, mistakes in them, and what it needs.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const PIPELINE: &str = r#"
data_dir: ./data
sources:
  acme:
    type: clumio
    access_token: ${CLUMIO_ACCESS_TOKEN}
  site:
    type: confluence
    cloud_id: ${CONFLUENCE_CLOUD_ID}
    email: ${CONFLUENCE_EMAIL}
    api_token: ${CONFLUENCE_API_TOKEN}
transforms:
  events:
    type: normalize
    inputs: [acme, site]
  deletions:
    type: filter
    inputs: [events]
    condition: action == "delete"
  private:
    type: redact
    inputs: [deletions]
    drop: [actor.ip, /raw/status]
    hash: [actor.email]
    hash_secret: ${KEY}
sinks:
  lake:
    type: file
    inputs: [private]
    path: /audit/{{ vendor }}/%Y-%m-%d.ndjson
  kept:
    type: file
    inputs: [acme]
    path: /raw.ndjson
"#;

const RECORD: &str = r#"{id: d38f, timestamp: "2026-03-02T08:59:30Z", action: delete, category: policy, status: success, user_email: ada@example.com, ip_address: 198.51.100.32, interface: ui, primary_entity: {id: "42", type: policy, value: Gold}}"#;

/// The variables of the pipeline, which only `validate` needs.
const VARIABLES: [&str; 5] =
    ["CLUMIO_ACCESS_TOKEN", "CONFLUENCE_CLOUD_ID", "CONFLUENCE_EMAIL", "CONFLUENCE_API_TOKEN", "KEY"];

/// Runs a command on the pipeline with these tests, in a directory of its own.
fn run(arguments: &[&str], tests: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("acme.yaml");
    fs::write(&file, format!("{PIPELINE}{}", tests.replace("RECORD", RECORD))).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/clumio_page.json");
    fs::copy(fixture, directory.path().join("page.json")).unwrap();
    let variables = VARIABLES.iter().filter(|_| arguments == ["validate"]);
    let output = Command::new(env!("CARGO_BIN_EXE_auditflow"))
        .args(arguments)
        .arg("acme.yaml")
        .current_dir(directory.path())
        .env_clear()
        .envs(variables.map(|name| (name, "a-value-of-a-variable")))
        .output()
        .unwrap();
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "it leaves nothing behind");
    output
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn tests_that_pass_say_so() {
    let output = run(
        &["test"],
        r#"
tests:
  - name: deletions reach the lake without addresses
    inputs:
      - insert_at: acme
        raw: RECORD
      - insert_at: acme
        raw: '{"id": "other", "timestamp": "2026-03-02T09:00:00Z", "action": "create", "category": "policy"}'
    outputs:
      - extract_from: lake
        events:
          - vendor_event_id: d38f
            timestamp: "2026-03-02T08:59:30.000000Z"
            observed_at: "2026-01-01T00:00:00.000000Z"
            target: {name: Gold}
            actor: {ip: null}
            raw: {status: null}
            redacted: [actor.id, actor.email, actor.ip, /raw, /raw/status]
        conditions: ['actor.email == "ada@example.com"']
        destinations: [{path: /audit/clumio/2026-03-02.ndjson}]
      - {extract_from: events, count: 2}
      - {extract_from: kept, events: [{id: d38f, status: success}, {id: other}]}
  - name: records of a file, and identical ones
    inputs:
      - {insert_at: acme, file: page.json, observed_at: "2026-02-01T00:00:00Z"}
      - {insert_at: site, raw: ['{"summary": "x"}', '{"summary": "x"}']}
    outputs:
      - {extract_from: events, conditions: ['source != "site" || observed_at == timestamp("2026-01-01T00:00:00Z")']}
      - {extract_from: private, count: 1}
"#,
    );
    assert_eq!(
        text(&output.stdout),
        "passed  deletions reach the lake without addresses\npassed  records of a file, and identical ones\n2 passed, 0 failed\n",
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn json_names_each_test_with_its_place_and_what_differs() {
    let output = run(
        &["test", "--json"],
        r#"
tests:
  - name: nothing is created
    inputs: [{insert_at: acme, raw: RECORD}]
    outputs: [{extract_from: events, events: [{action: create}]}]
  - name: deletions pass
    inputs: [{insert_at: acme, raw: RECORD}]
    outputs: [{extract_from: deletions}]
"#,
    );
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let first = PIPELINE.lines().count() + 3;
    let reason = "differs\n          action\n            expected  \"create\"\n            found     \"delete\"";
    assert_eq!(
        report,
        serde_json::json!({"passed": 1, "failed": 1, "tests": [
            {"name": "nothing is created", "file": "acme.yaml", "line": first, "passed": false,
             "failures": [{"place": "events, event 1 of 1", "reason": reason}]},
            {"name": "deletions pass", "file": "acme.yaml", "line": first + 3, "passed": true, "failures": []},
        ]})
    );
}

#[test]
fn a_name_that_tests_of_two_files_have_is_shown_with_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let test = |name: &str| {
        format!(
            "  - {{name: {name}, inputs: [{{insert_at: acme, raw: {{action: delete}}}}], outputs: [{{extract_from: events}}]}}\n"
        )
    };
    let first = format!("name: acme\n{PIPELINE}\ntests:\n{}{}", test("twice"), test("once"));
    fs::write(directory.path().join("one.yaml"), first).unwrap();
    fs::write(directory.path().join("two.yaml"), format!("tests:\n{}", test("twice"))).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    let output = command.args(["test", "one.yaml", "two.yaml"]).current_dir(directory.path()).output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "passed  twice (one.yaml)\npassed  once\npassed  twice (two.yaml)\n3 passed, 0 failed\n",
        "{}",
        text(&output.stderr)
    );
}

#[test]
#[cfg(all(feature = "kafka", feature = "s3"))]
fn topics_keys_and_prefixes_are_compared() {
    let output = run(
        &["test"],
        r#"  topics:
    type: kafka
    inputs: [private]
    bootstrap_servers: localhost:9092
    topic: "audit-{{ vendor }}"
    key_field: target.name
  bucket:
    type: s3
    inputs: [events]
    bucket: acme
    region: eu-central-1
    key_prefix: "{{ action }}/%Y/"
tests:
  - name: where events go
    inputs: [{insert_at: acme, raw: RECORD}]
    outputs:
      - {extract_from: topics, destinations: [{topic: audit-clumio, key: Gold}]}
      - {extract_from: bucket, destinations: [{prefix: delete/2026/}]}
"#,
    );
    assert_eq!(text(&output.stdout), "passed  where events go\n1 passed, 0 failed\n", "{}", text(&output.stderr));
}

#[test]
fn what_differs_is_shown() {
    let output = run(
        &["test"],
        r#"
tests:
  - name: other fields
    inputs: [{insert_at: acme, raw: RECORD}]
    outputs:
      - extract_from: lake
        events: [{action: create, target: {id: 42, name: Gold}, related: [], changes: [{field: x}], nothing: 1}]
        conditions: [actor.type == "user", outcome == "failure"]
        destinations: [{path: /audit/clumio/2026-03-03.ndjson}]
  - name: another number
    inputs: [{insert_at: acme, raw: [RECORD, RECORD]}]
    outputs:
      - {extract_from: deletions, count: 1}
      - {extract_from: lake, events: []}
  - name: nothing arrives
    inputs: [{insert_at: acme, raw: '{"action": "create"}'}]
    outputs: [{extract_from: lake}]
  - name: something arrives
    inputs: [{insert_at: acme, raw: RECORD}]
    no_outputs_from: [kept, deletions]
  - name: no such file
    inputs: [{insert_at: acme, file: none.ndjson}]
    no_outputs_from: [lake]
  - name: it goes on
    inputs: [{insert_at: acme, raw: RECORD}]
    outputs: [{extract_from: lake, count: 1}]
"#,
    );
    // The key is not set, so hashes are made with a random one.
    let hashes = regex::Regex::new("hmac-[0-9a-f]{32}").unwrap();
    insta::assert_snapshot!(hashes.replace_all(&text(&output.stdout), "hmac-<random>"));
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), String::new()));
}

#[test]
fn mistakes_in_tests_have_their_place_and_keep_no_pipeline_from_running() {
    let tests = r#"
tests:
  - name: wrong
    inputs:
      - {insert_at: acne, raw: {}}
      - {insert_at: acme}
      - {insert_at: acme, raw: {}, observed_at: yesterday}
    outputs:
      - {extract_from: lakes, conditions: [actoin == "x"]}
      - {extract_from: events, destinations: []}
    no_outputs_from: [acme]
  - name: nothing to do
    inputs: []
"#;
    let output = run(&["test"], tests);
    let printed = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()), "{printed}");
    for expected in [
        "there is no source called `acne`",
        "acme.yaml:39:21 (tests[0].inputs[0].insert_at)",
        "did you mean `acme`?",
        "an input needs either `raw` or `file`",
        "this is not a time",
        "there is no transform or sink called `lakes`",
        "unknown field `actoin` (character 1 of the condition)",
        "there is no sink called `events`",
        "(tests[0].no_outputs_from[0])",
        "the test has no inputs",
        "the test expects nothing",
    ] {
        assert!(printed.contains(expected), "{expected} in {printed}");
    }
    let ended = |arguments: &[&str], tests: &str| {
        let output = run(arguments, tests);
        (output.status.code(), text(&output.stderr))
    };
    assert_eq!(ended(&["graph"], tests), (Some(0), String::new()));
    let (code, printed) = ended(&["validate"], tests);
    assert!(code == Some(2) && printed.contains("there is no source called `acne`"), "{printed}");
    let (code, printed) = ended(
        &["validate"],
        "tests: [{name: x, inputs: [{insert_at: acme, raw: {a: '${NO_VARIABLE}'}}], no_outputs_from: [lake]}]\n",
    );
    assert!(code == Some(0), "{printed}");
    let (code, printed) = ended(&["test"], "tests: [{name: x, inputs: [], output: []}]\n");
    assert!(code == Some(2) && printed.contains("unknown setting `output`"), "{printed}");
    let (code, printed) = ended(&["test"], "");
    assert!(code == Some(2) && printed.contains("acme.yaml has no tests"), "{printed}");
}

#[test]
fn a_record_that_is_nested_too_deeply_for_a_test_is_compared_as_text() {
    let nested = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    let record = r#"{"id":"d38f","timestamp":"2026-03-02T08:59:30Z","action":"delete","details":NESTED}"#;
    let record = record.replace("NESTED", &nested);
    let tests = format!(
        "tests: [{{name: deep, inputs: [{{insert_at: acme, raw: '{record}'}}], outputs: [{{extract_from: events, events: \
         [{{action: delete, raw: '{record}'}}]}}, {{extract_from: kept, count: 1}}]}}]\n"
    );
    let output = run(&["test"], &tests);
    assert_eq!(text(&output.stdout), "passed  deep\n1 passed, 0 failed\n", "{}", text(&output.stderr));
}

#[test]
fn the_shipped_pipeline_passes_its_tests() {
    let output = Command::new(env!("CARGO_BIN_EXE_auditflow"))
        .args(["test", "pipelines/filter.yaml"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env_clear()
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(text(&output.stdout).ends_with(" passed, 0 failed\n"));
}
