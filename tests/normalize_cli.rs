//! `auditflow normalize` with the real program, on files and pipes.

use std::io::Write;
use std::process::{Command as Process, Stdio};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use auditflow::event::EventId;
use proptest::prelude::*;
use serde_json::value::RawValue;

const CLUMIO_PAGE: &str = include_str!("fixtures/clumio_page.json");
const CAPTIVATEIQ_PAGE: &str = include_str!("fixtures/captivateiq_page.json");
const OBSERVED_AT: &str = "2026-03-02T09:00:00.123456Z";

struct Ran {
    stdout: String,
    stderr: String,
    code: i32,
}

impl Ran {
    fn lines(&self) -> Vec<&str> {
        self.stdout.lines().collect()
    }
}

fn normalize(vendor: &str, more: &[&str], input: impl Into<Vec<u8>>) -> Ran {
    let output = Command::new(cargo_bin!("auditflow"))
        .args(["normalize", "--vendor", vendor, "--observed-at", OBSERVED_AT])
        .args(more)
        .write_stdin(input)
        .output()
        .expect("the program runs");
    Ran {
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
        code: output.status.code().expect("an exit code"),
    }
}

#[derive(serde::Deserialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(borrow)]
    raw: &'a RawValue,
    #[serde(borrow)]
    normalize_error: Option<std::borrow::Cow<'a, str>>,
}

fn read(line: &str) -> Line<'_> {
    serde_json::from_str(line).expect(line)
}

/// The records of a fixture.
fn records(page: &str, array: &str) -> Vec<String> {
    let page: serde_json::Value = serde_json::from_str(page).expect("a page");
    let items = page.pointer(array).and_then(|items| items.as_array()).expect("records");
    items.iter().map(ToString::to_string).collect()
}

#[test]
fn a_page_of_clumio() {
    let ran = normalize("clumio", &["--source", "acme_clumio", "--tenant", "ou-1"], CLUMIO_PAGE);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!((ran.stderr.as_str(), ran.code), ("normalized 2 records\n", 0));
}

#[test]
fn a_page_of_captivateiq() {
    let ran = normalize("captivateiq", &[], CAPTIVATEIQ_PAGE);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!((ran.stderr.as_str(), ran.code), ("normalized 2 records\n", 0));
}

#[test]
fn unreadable_records_are_written_with_their_error() {
    let input = "{\"id\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\"}\r\n\n\
                 {\"id\":\"b\",\"timestamp\":\"soon\"}\n[1, 2]\n{\"id\": \"c\", broken\n";
    let ran = normalize("clumio", &[], input);
    insta::assert_snapshot!(ran.stdout);
    let note =
        "4 events have no `tenant`; if the source of a pipeline has one, give it as --tenant: event ids depend on it\n";
    let expected = format!("{note}normalized 4 records, 3 of them with normalize_error\n");
    assert_eq!((ran.stderr, ran.code), (expected, 0));
}

#[test]
fn compressed_input_is_decompressed() {
    let records = records(CLUMIO_PAGE, "/_embedded/items");
    let expected = normalize("clumio", &[], records.join("\n")).stdout;
    // As the file sink writes: a frame or member per batch.
    let zstd =
        records.iter().map(|record| zstd::bulk::compress(format!("{record}\n").as_bytes(), 1).expect("compresses"));
    let gzip = records.iter().map(|record| {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        member.write_all(format!("{record}\n").as_bytes()).expect("written");
        member.finish().expect("compresses")
    });
    let (zstd, gzip): (Vec<u8>, Vec<u8>) = (zstd.flatten().collect(), gzip.flatten().collect());
    for input in [&zstd, &gzip] {
        let ran = normalize("clumio", &[], input.clone());
        assert_eq!((ran.stdout.as_str(), ran.code), (expected.as_str(), 0), "{}", ran.stderr);
    }
    let ran = normalize("clumio", &[], &zstd[..zstd.len() - 3]);
    assert_eq!(ran.code, 1, "an end that is cut off is reported");
    assert!(ran.stderr.contains("cannot read the input"), "{}", ran.stderr);
}

#[test]
fn every_input_format_yields_the_same_events() {
    for (vendor, page, array) in
        [("clumio", CLUMIO_PAGE, "/_embedded/items"), ("captivateiq", CAPTIVATEIQ_PAGE, "/data")]
    {
        let records = records(page, array);
        let compact_page = serde_json::from_str::<serde_json::Value>(page).expect("a page").to_string();
        let expected = normalize(vendor, &[], records.join("\n"));
        assert_eq!(expected.lines().len(), 2);
        for input in [
            format!("[{}]", records.join(",\n")),
            format!("\u{feff}{}\n", records.join("\n\n")),
            compact_page.clone(),
            format!("[{compact_page}]"),
        ] {
            let ran = normalize(vendor, &[], input.clone());
            assert_eq!((ran.stdout, ran.code), (expected.stdout.clone(), 0), "{input}");
        }
        let twice = normalize(vendor, &[], format!("{compact_page}\n{compact_page}\n"));
        assert_eq!(twice.stdout, expected.stdout.repeat(2), "an id read twice is the same id");
    }
}

#[test]
fn a_file_and_stdin_yield_the_same_events_and_ids() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("records.ndjson");
    std::fs::write(&path, CLUMIO_PAGE).expect("written");
    let from_file = normalize("clumio", &[path.to_str().expect("text")], "");
    let from_stdin = normalize("clumio", &["-"], CLUMIO_PAGE);
    assert_eq!(from_file.stdout, from_stdin.stdout);
    let other_source = normalize("clumio", &["--source", "elsewhere"], CLUMIO_PAGE);
    let ids = |ran: &Ran| ran.lines().iter().map(|line| read(line).id.to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&from_file), ids(&other_source));
    let other_tenant = normalize("clumio", &["--tenant", "ou-2"], CLUMIO_PAGE);
    assert_ne!(ids(&from_file), ids(&other_tenant));
}

/// Vendors without record ids, each with two identical records in one page.
#[test]
fn identical_records_of_vendors_without_ids_are_two_events() {
    let record = r#"{"summary":"Page viewed","creationDate":1764000000123,"timestamp":"2026-03-02T09:02:11Z"}"#;
    for (vendor, page) in [
        ("confluence", format!(r#"{{"results":[{record},{record}],"start":0,"limit":100,"size":2}}"#)),
        ("akuity", format!(r#"{{"items":[{record},{record}],"totalCount":2}}"#)),
    ] {
        let ran = normalize(vendor, &["--tenant", "t"], page.clone());
        let ids: Vec<&str> = ran.lines().iter().map(|line| read(line).id).collect();
        assert_eq!(ids.len(), 2, "{vendor}: {}", ran.stderr);
        assert_ne!(ids[0], ids[1], "{vendor}");
        assert_eq!(normalize(vendor, &["--tenant", "t"], format!("{record}\n{record}\n")).stdout, ran.stdout);
    }
}

/// Chunks are normalized by several threads; the numbers follow the order of the input all the same.
#[test]
fn identical_records_are_numbered_in_the_order_of_the_input() {
    let record = |number: u32| {
        let filler = "x".repeat(2_000);
        format!(r#"{{"creationDate":1764000000123,"summary":"Page {}","description":"{filler}"}}"#, number % 3)
    };
    let input: Vec<String> = (0..3_000).map(record).collect();
    let ran = normalize("confluence", &["--tenant", "t"], input.join("\n"));
    let lines = ran.lines();
    let mut counts = [0; 3];
    for (line, kind) in lines.iter().zip([0, 1, 2].into_iter().cycle()) {
        let first = EventId::from_hex(read(lines[kind]).id).expect("an id");
        assert_eq!(read(line).id, first.nth(counts[kind]).to_string());
        counts[kind] += 1;
    }
    assert_eq!(counts, [1_000; 3]);
}

#[test]
fn a_page_of_merge() {
    let page = r#"{"next":"abc","previous":null,"results":[{"id":"a","created_at":"2026-03-02T09:02:11Z"}]}"#;
    let ran = normalize("merge", &["--option", "assume_success=true"], page);
    assert_eq!(ran.lines().len(), 1);
    assert!(ran.stdout.contains(r#""outcome":"success""#), "{}", ran.stdout);
}

#[test]
fn options_of_the_source() {
    let ran = normalize("clumio", &["--option", "event_type=category_action"], CLUMIO_PAGE);
    assert!(ran.lines()[1].contains(r#""event_type":"protection.apply""#));
    for (more, expected) in [
        (["--option", "event_tipe=action"], "did you mean `event_type`?"),
        (["--option", "event_type=verb"], "use one of action, category_action"),
        (["--option", "event_type"], "KEY=VALUE"),
    ] {
        let ran = normalize("clumio", &more, "");
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{more:?}");
        assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    }
    let ran = normalize("clumoi", &[], "");
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("clumio"), "{}", ran.stderr);
}

#[test]
fn input_that_is_not_json_is_reported_with_its_line() {
    let ran = normalize("clumio", &[], "\ntimestamp;user\n2026;x\n");
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("stdin: line 2: this is not JSON"), "{}", ran.stderr);
    let ran = normalize("clumio", &[], "[{\"id\":\"a\"}\n, {\"id\":");
    assert_eq!((ran.code, ran.lines().len()), (1, 1), "complete records are written");
    assert!(ran.stderr.contains("line 2"), "{}", ran.stderr);
    let ran = normalize("clumio", &["/nowhere/records.json"], "");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("/nowhere/records.json"), "{}", ran.stderr);
}

#[test]
fn invalid_utf8_does_not_lose_a_record() {
    let ran =
        normalize("clumio", &[], b"{\"id\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"x\":\"\xff\"}\n".to_vec());
    assert_eq!((ran.code, ran.lines().len()), (0, 1));
    assert!(read(ran.lines()[0]).normalize_error.expect("a reason").contains("not UTF-8"));
}

#[test]
fn damage_in_a_page_is_reported_at_the_damaged_record() {
    let page = b"{\"results\":[{\"id\":\"a\",\"created_at\":\"2026-03-02T09:02:11Z\"},\
        {\"id\":\"b\",\"created_at\":\"2026-03-02T09:02:12Z\",\"user_name\":\"\xff\"}]}";
    let ran = normalize("merge", &[], page.to_vec());
    let errors: Vec<bool> = ran.lines().iter().map(|line| read(line).normalize_error.is_some()).collect();
    assert_eq!(errors, [false, true], "{}", ran.stdout);
}

#[test]
fn an_empty_page_has_no_events() {
    for (vendor, page) in [("merge", r#"{"next":null,"results":null}"#), ("akuity", r#"{"items":null,"totalCount":0}"#)]
    {
        let ran = normalize(vendor, &[], page);
        assert_eq!((ran.code, ran.stdout.as_str()), (0, ""), "{vendor}");
    }
}

/// More chunks than workers, to test their order.
#[test]
fn many_records_keep_their_order() {
    let padding = "x".repeat(1_000);
    let line =
        |number: usize| format!("{{\"id\":\"{number}\",\"timestamp\":\"2026-01-01T00:00:00Z\",\"pad\":\"{padding}\"}}");
    let input: Vec<String> = (0..12_000).map(line).collect();
    let ran = normalize("clumio", &[], input.join("\n"));
    assert_eq!(ran.lines().len(), input.len());
    for (line, expected) in ran.lines().into_iter().zip(&input) {
        assert_eq!(read(line).raw.get(), expected);
    }
}

#[test]
fn a_closed_output_ends_the_command_without_an_error() {
    let mut child = Process::new(cargo_bin!("auditflow"))
        .args(["normalize", "--vendor", "clumio"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().expect("stdin");
    let record = "{\"id\":\"a\",\"timestamp\":\"2026-01-01T00:00:00Z\"}\n".repeat(1_000);
    // Until the program ends, which closes the pipe.
    while stdin.write_all(record.as_bytes()).is_ok() {}
    let output = child.wait_with_output().expect("ended");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"".as_slice()));
}

/// A JSON value as another program may write it: unusual numbers, escapes, white space, duplicate keys.
fn json_text() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?[1-9][0-9]{0,25}(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?",
        "\"([a-zA-Z é😀]|\\\\n|\\\\u00e9|\\\\ud83d\\\\ude00|\\\\/|\\\\\"){0,12}\"",
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let blank = "[ \t]{0,2}";
        prop_oneof![
            (proptest::collection::vec(inner.clone(), 0..4), blank)
                .prop_map(|(items, gap)| { format!("[{gap}{}{gap}]", items.join(&format!("{gap},{gap}"))) }),
            (proptest::collection::vec(("[a-d]|id|timestamp|action|status", inner), 0..4), blank).prop_map(
                |(members, gap)| {
                    let members: Vec<String> =
                        members.into_iter().map(|(key, value)| format!("\"{key}\"{gap}:{gap}{value}")).collect();
                    format!("{{{gap}{}{gap}}}", members.join(&format!("{gap},{gap}")))
                }
            ),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn raw_is_byte_exact(values in proptest::collection::vec(json_text(), 1..40)) {
        // A first line that is not an array: an array would be read as the whole input.
        let values = [vec!["{}".to_owned()], values].concat();
        for vendor in ["clumio", "captivateiq"] {
            let ran = normalize(vendor, &[], values.join("\n"));
            prop_assert_eq!(ran.lines().len(), values.len());
            for (line, value) in ran.lines().into_iter().zip(&values) {
                prop_assert_eq!(read(line).raw.get(), value);
            }
            let again = normalize(vendor, &[], values.join("\r\n"));
            prop_assert_eq!(again.stdout, ran.stdout);
        }
    }
}
