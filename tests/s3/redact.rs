//! A `redact` transform in a complete pipeline: the sinks behind it, files and Parquet objects, hold the same events as the others,
//! and none of the values that are redacted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Stdio;

use arrow_array::cast::AsArray as _;
use serde_json::Value;

use crate::bucket::Bucket;
use crate::common::{TestPipeline, files_below};

const KEY: &str = "a-key-of-32-characters-0123456789";

fn events(pipeline: &TestPipeline, directory: &str) -> BTreeMap<String, Value> {
    let mut events = BTreeMap::new();
    for file in files_below(&pipeline.path(directory)) {
        for line in fs::read_to_string(file).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let id = format!("{} {}", event["id"].as_str().unwrap(), event["version"]);
            assert!(events.insert(id, event).is_none(), "twice: {line}");
        }
    }
    events
}

pub(crate) fn redacted_events_hold_nothing_that_is_redacted(bucket: &Bucket) {
    let pipeline = TestPipeline::without_growth(150);
    let sinks = bucket.sink("key_prefix: \"lake/\", format: parquet").replace("[events]", "[private]");
    let file = pipeline.write_pipeline(&format!(
        "  private: {{type: redact, inputs: [events], hash: [actor.email], drop: [actor.ip, /raw/author/displayName], hash_secret: {KEY}, drop_credentials: true}}
{sinks}  open: {{type: file, inputs: [events], path: \"{open}\"}}
  files: {{type: file, inputs: [private], path: \"{files}\"}}
",
        open = pipeline.path("open/{{ vendor }}.ndjson").display(),
        files = pipeline.path("files/{{ actor.email }}.ndjson").display(),
    ));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_counters_add_up(&["open", "files", "lake"]);

    let (open, redacted) = (events(&pipeline, "open"), events(&pipeline, "files"));
    assert!(open.keys().eq(redacted.keys()), "the same events with the same ids");
    let mut people = BTreeSet::new();
    for (id, event) in &open {
        let mut secrets = vec![&event["actor"]["email"], &event["actor"]["ip"], &event["raw"]["details"]["patch"]];
        secrets.retain(|value| value.as_str().is_some_and(|text| text.len() > 3));
        let other = &redacted[id];
        let text = other.to_string().to_lowercase();
        for value in secrets {
            let value = value.as_str().unwrap().to_lowercase();
            assert!(!text.contains(&value), "{value} in {text}");
            assert!(other["redacted"].as_array().is_some_and(|paths| !paths.is_empty()), "{text}");
        }
        if let Some(email) = event["actor"]["email"].as_str() {
            let hash = other["actor"]["email"].as_str().unwrap().to_owned();
            assert!(hash.starts_with("hmac-") && hash.len() == 37, "{hash}");
            people.insert((email.to_owned(), hash));
        }
        assert_eq!(event["timestamp"], other["timestamp"]);
    }
    let distinct = |part: fn(&(String, String)) -> &String| people.iter().map(part).collect::<BTreeSet<_>>().len();
    assert!(people.len() > 3 && distinct(|pair| &pair.0) == people.len() && distinct(|pair| &pair.1) == people.len());
    assert!(
        pipeline.path("files").join(format!("{}.ndjson", people.first().unwrap().1)).exists(),
        "paths are redacted"
    );

    let rows = rows(bucket);
    assert_eq!(rows.len(), redacted.len());
    for (id, (raw, paths)) in &rows {
        let event = &redacted[id];
        assert_eq!(serde_json::from_str::<Value>(raw).unwrap(), event["raw"]);
        let listed = event["redacted"].as_array().cloned().unwrap_or_default();
        assert_eq!(*paths, listed.iter().map(|path| path.as_str().unwrap().to_owned()).collect::<Vec<_>>());
    }
    previews_are_redacted_too(&pipeline, &file, &people.first().unwrap().0);
    for file in files_below(pipeline.directory.path()) {
        let is_file = file.file_name().is_some_and(|name| name == "pipeline.yaml");
        let bytes = fs::read(&file).unwrap();
        assert!(is_file || memchr::memmem::find(&bytes, KEY.as_bytes()).is_none(), "the key is in {}", file.display());
    }
}

fn previews_are_redacted_too(pipeline: &TestPipeline, file: &Path, email: &str) {
    let printed = |arguments: &[&str]| {
        let output = pipeline.program(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let file_name = file.to_str().unwrap();
    let everything = ["--limit", "10000"];
    assert!(printed(&[&["tap", file_name][..], &everything].concat()).contains(email));
    let tapped = printed(&[&["tap", file_name, "--component", "files"][..], &everything].concat());
    assert!(tapped.contains("\"redacted\":[") && !tapped.contains(email), "{email}");
    let plan = printed(&["plan", file_name]);
    let example = plan.lines().find(|line| line.contains("/files/")).unwrap();
    assert!(example.contains("hmac-") || example.contains("null"), "{plan}");

    let text = fs::read_to_string(file).unwrap();
    fs::write(file, text.replace(KEY, "short")).unwrap();
    let checked = printed(&["check", file_name]);
    assert!(checked.contains("openssl rand -hex 32") && !checked.contains("short;"), "{checked}");
    fs::write(file, text).unwrap();
}

/// `raw` and `redacted` of every row, by id and version.
fn rows(bucket: &Bucket) -> BTreeMap<String, (String, Vec<String>)> {
    use arrow_array::Array as _;
    let mut rows = BTreeMap::new();
    for (_, bytes) in bucket.objects().into_iter().filter(|(key, _)| key.ends_with(".parquet")) {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        for batch in reader.build().unwrap() {
            let batch = batch.unwrap();
            let text = |name: &str, row: usize| batch[name].as_string::<i32>().value(row).to_owned();
            let versions = batch["version"].as_primitive::<arrow_array::types::Int64Type>();
            for row in 0..batch.num_rows() {
                let paths = batch["redacted"].as_list::<i32>().value(row);
                let paths = paths.as_string::<i32>().iter().flatten().map(str::to_owned).collect();
                let version = if versions.is_null(row) { "null".to_owned() } else { versions.value(row).to_string() };
                rows.insert(format!("{} {version}", text("id", row)), (text("raw", row), paths));
            }
        }
    }
    rows
}
