//! `auditflow mapping` with the real program, on files and on the journal of a pipeline.

mod common;

use std::process::Stdio;

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use auditflow::simulator::SimulatorOptions;
use common::{TestPipeline, until};

const RECORDS: &str = r#"{"id":"7b1c","event_type":"INVITED_USER","user_email":"ada@acme.example","event_description":"Invited Bo","created_at":"2026-01-02T10:00:00Z"}
{"id":"7b1d","event_type":"DANCED","created_at":"2026-01-02T10:00:00Z","tempo":{"bpm":120}}
{"id":["x"],"event_type":"DANCED","user_name":{"first":"Ada"},"created_at":"yesterday"}
"#;

fn ran(arguments: &[&str], input: &str) -> (String, String, i32) {
    let mut program = Command::new(cargo_bin!("auditflow"));
    let output = program.args(arguments).write_stdin(input).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (text(output.stdout), text(output.stderr), output.status.code().expect("an exit code"))
}

#[test]
fn unknown_words_and_lost_values_fail_and_are_named_without_values() {
    let (text, _, code) = ran(&["mapping", "--vendor", "merge", "-"], RECORDS);
    assert_eq!(code, 1);
    insta::assert_snapshot!(text);
    let (json, _, code) = ran(&["mapping", "--vendor", "merge", "--json", "-"], RECORDS);
    let report: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((code, report["complete"].as_bool()), (1, Some(false)));
    assert_eq!(report["vendors"]["merge"]["unknown_event_types"]["DANCED"], 2);
    for value in ["120", "yesterday", "Ada", "first"] {
        assert!(!text.contains(value) && !json.contains(value), "{value}");
    }
}

#[test]
fn known_records_and_pages_pass() {
    let known = RECORDS.lines().next().expect("a record");
    assert_eq!(ran(&["mapping", "--vendor", "merge", "-"], known).2, 0);
    let page = include_str!("fixtures/clumio_page.json");
    let (text, error, code) = ran(&["mapping", "--vendor", "clumio", "-"], page);
    assert_eq!((code, error.as_str()), (0, ""), "{text}");
    let two = RECORDS.lines().take(2).collect::<Vec<_>>().join("\n");
    assert_eq!(ran(&["mapping", "--vendor", "merge", "--at-least", "50", "-"], &two).2, 0);
    assert_eq!(ran(&["mapping", "--vendor", "merge", "--at-least", "60", "-"], &two).2, 1);
}

#[test]
fn delivered_events_are_read_by_their_raw_records() {
    let (events, _, _) = ran(&["normalize", "--vendor", "merge"], RECORDS);
    let of_events = ran(&["mapping", "-"], &events);
    let of_records = ran(&["mapping", "--vendor", "merge", "-"], RECORDS);
    assert_eq!(of_events, of_records);
    let (_, error, code) = ran(&["mapping", "-"], RECORDS);
    assert_eq!(code, 1);
    assert!(error.contains("name the vendor with --vendor"), "{error}");
}

#[test]
fn the_difference_to_another_version_is_shown_by_field() {
    for (vendor, records) in [("merge", RECORDS), ("confluence", "{\"summary\":\"a\"}\n{\"summary\":\"a\"}\n")] {
        let (events, _, _) = ran(&["normalize", "--vendor", vendor], records);
        let (text, error, code) = ran(&["mapping", "diff", "--from", "-"], &events);
        assert_eq!((code, error.as_str()), (0, ""), "{text}");
    }
    let (events, _, _) = ran(&["normalize", "--vendor", "merge", "--tenant", "acme"], RECORDS);
    assert_eq!(ran(&["mapping", "diff", "--from", "-"], &events).2, 0, "ids depend on the tenant");
    let before =
        events.replace("\"action\":\"invite\"", "\"action\":\"other\"").replace("ada@acme.example\",\"ip", "x\",\"ip");
    assert_ne!(before, events);
    let (text, _, code) = ran(&["mapping", "diff", "--from", "-"], &before);
    assert_eq!(code, 1);
    assert!(text.contains("3 events, 1 of them change") && text.contains("action: other -> invite (1)"), "{text}");
    let (_, error, code) = ran(&["mapping", "diff", "--from", "-"], RECORDS);
    assert_eq!(code, 1);
    assert!(error.contains("holds no events in auditflow's own schema"), "{error}");
}

#[test]
fn the_journal_of_a_pipeline_is_read_while_sinks_wait() {
    let pipeline = TestPipeline::new(SimulatorOptions { events_per_vendor: 200, ..SimulatorOptions::default() });
    let file = pipeline.with_files();
    let mapping = || {
        let mut program = pipeline.program(&["mapping", "--json", "--pipeline", file.to_str().expect("text")]);
        program.stdout(Stdio::piped()).output().expect("the program runs")
    };
    assert_eq!(mapping().status.code(), Some(1), "it has not run yet");
    std::fs::write(pipeline.path("out"), "a file where the sink needs a directory").expect("written");
    let mut running = pipeline.program(&["run", file.to_str().expect("text")]).spawn().expect("the program starts");
    until("the journal holds records", || {
        let report: serde_json::Value = serde_json::from_slice(&mapping().stdout).unwrap_or_default();
        let vendors = report["vendors"].as_object().into_iter().flatten();
        vendors.filter_map(|(_, vendor)| vendor["total"]["records"].as_u64()).sum::<u64>() > 0
    });
    running.kill().expect("killed");
    running.wait().expect("ended");
}
