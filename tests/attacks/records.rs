//! Records that try to leave their place: in paths, on the terminal, in readers' memory.

use std::path::Component;

use crate::server::{Pipeline, files_below, page, record, serve};

/// Values that an author of audit records may choose.
const VALUES: &[&str] = &[
    "../../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "",
    " ",
    "_manifest",
    ".hidden",
    "__HIVE_DEFAULT_PARTITION__",
    "a=b",
    "100%",
    "con\\u0000trol",
    "\\u001b[2J\\u001b]0;title\\u0007",
    "\\u202egnp.exe",
    "\\u009b31m",
    "line\\nbreak",
    "very-long-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-end",
    "{{ vendor }}",
    "%Y-%m-%d",
    "${KEY}",
];

#[test]
fn values_in_paths_stay_below_the_directory_of_the_sink_and_nothing_is_lost() {
    let records: Vec<String> = VALUES
        .iter()
        .enumerate()
        .map(|(id, value)| record(id, "").replace("a@example.com", value).replace("\"A\"", &format!("\"{value}\"")))
        .collect();
    let address = serve(move |_| (200, String::new(), page(None, &records)));
    let pipeline =
        Pipeline::new(&address, "", "type: file, path: \"out/{{ actor.email }}/{{ actor.name }}/events.ndjson\"");
    let before = files_below(pipeline.directory.path()).len();
    let output = pipeline.run();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(before, 1);
    assert_eq!(pipeline.delivered().len(), VALUES.len());
    for path in pipeline.files() {
        let relative = path.strip_prefix(pipeline.directory.path()).unwrap();
        assert!(relative.components().all(|part| matches!(part, Component::Normal(_))), "{relative:?}");
        let is_ours = ["out", ".auditflow", "data", "pipeline.yaml"].iter().any(|name| relative.starts_with(name));
        assert!(is_ours, "{relative:?}");
        let text = relative.to_string_lossy();
        assert!(!text.chars().any(char::is_control) && !text.contains('\u{202e}'), "{relative:?}");
    }
}

#[test]
fn deep_long_and_odd_records_are_delivered_once_and_readers_can_read_them() {
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    let odd = [
        format!(r#","x":{}"#, deep(250)),
        format!(r#","x":{}"#, deep(300)),
        format!(r#","x":{}"#, deep(20_000)),
        format!(r#","x":"{}""#, "y".repeat(1 << 20)),
        r#","x":1e400,"y":-0.0,"z":123456789012345678901234567890"#.to_owned(),
        r#","x":"\ud800","x":"\u0000","":null"#.to_owned(),
        r#","id":"again","created_at":"never""#.to_owned(),
    ];
    let records: Vec<String> = odd.iter().enumerate().map(|(id, more)| record(id, more)).collect();
    let count = records.len();
    let address = serve(move |_| (200, String::new(), page(None, &records)));
    let pipeline = Pipeline::new(&address, "", "type: file, path: out/events.ndjson");
    let output = pipeline.run();
    let text = std::fs::read_to_string(pipeline.path("out/events.ndjson")).unwrap_or_default();
    assert_eq!(text.lines().count(), count, "{}", String::from_utf8_lossy(&output.stderr));
    for line in text.lines() {
        assert!(depth_of(line) <= 260, "a reader may refuse it: {}", &line[..200.min(line.len())]);
    }
}

/// The deepest nesting of a line of JSON.
fn depth_of(line: &str) -> usize {
    let (mut depth, mut deepest, mut in_text, mut escaped) = (0_usize, 0, false, false);
    for byte in line.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth -= 1,
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}
