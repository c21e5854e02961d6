//! `auditflow schema` and `auditflow completions`: what an editor and a shell are given. The schema is held against the
//! project's own pipelines by a validator that knows nothing of auditflow.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use boon::{Compiler, SchemaIndex, Schemas};
use serde_json::{Value, json};

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_auditflow")).args(arguments).assert().success();
    String::from_utf8(output.get_output().stdout.clone()).unwrap()
}

struct Validator {
    schemas: Schemas,
    index: SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let document: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("pipeline.json", document).unwrap();
        let index = compiler.compile("pipeline.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn mistakes(&self, pipeline: &Value) -> Option<String> {
        self.schemas.validate(pipeline, self.index).err().map(|error| error.to_string())
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn pipelines() -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_pipeline_of_the_project_fits() {
    let validator = Validator::new();
    let files = pipelines();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let pipeline = yaml(&fs::read_to_string(&file).unwrap());
        assert_eq!(validator.mistakes(&pipeline), None, "{}", file.display());
    }
}

fn good() -> Value {
    yaml(
        "sources: {a: {type: clumio, access_token: '${T}', poll_interval: 5m, page_size: '${SIZE:-100}'}}
transforms: {events: {type: normalize, inputs: a}}
sinks: {f: {type: file, inputs: [events], path: x.ndjson, compression: '${C}', batch: {max_bytes: 16MiB, timeout_secs: 2}}}
journal: {max_size: 1GiB}",
    )
}

#[test]
fn variables_may_stand_for_any_plain_value() {
    assert_eq!(Validator::new().mistakes(&good()), None);
}

#[test]
fn mistakes_that_people_make_are_marked() {
    let validator = Validator::new();
    let changes: &[(&str, Value)] = &[
        ("/sources/a/type", json!("clumioo")),
        ("/sources/a/acess_token", json!("x")),
        ("/sources/a/page_size", json!("many")),
        ("/sources/a/cloud_id", json!("another vendor's setting")),
        ("/sinks/f/compression", json!("zip")),
        ("/sinks/f/batch/max_event", json!(3)),
        ("/journal/retain", json!(3)),
        ("/sink", json!({})),
        ("/transforms/events/inputs", json!(7)),
    ];
    for (path, value) in changes {
        let mut pipeline = good();
        let (parent, key) = path.rsplit_once('/').unwrap();
        pipeline.pointer_mut(parent).unwrap()[key] = value.clone();
        assert!(validator.mistakes(&pipeline).is_some(), "{path} = {value} is not marked");
    }
    for gone in ["/sources/a/access_token", "/sinks/f/inputs", "/sinks/f/path", "/sources"] {
        let mut pipeline = good();
        let (parent, key) = gone.rsplit_once('/').unwrap();
        pipeline.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert!(validator.mistakes(&pipeline).is_some(), "the lack of {gone} is not marked");
    }
}

#[test]
fn every_setting_says_what_it_means() {
    let document: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    let mut silent = Vec::new();
    for section in ["sources", "transforms", "sinks"] {
        let branches = document["properties"][section]["additionalProperties"]["allOf"].as_array().unwrap();
        assert!(!branches.is_empty());
        for branch in branches {
            for (name, setting) in branch["then"]["properties"].as_object().unwrap() {
                if name != "type" && setting["description"].as_str().is_none_or(str::is_empty) {
                    silent.push(format!("{section}: {}: {name}", branch["if"]["properties"]["type"]["const"]));
                }
            }
        }
    }
    assert!(silent.is_empty(), "settings without a word: {silent:#?}");
}

#[test]
fn the_page_of_options_is_what_the_types_say() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    let current = printed(&["schema", "--format", "markdown"]);
    assert!(
        fs::read_to_string(&page).unwrap_or_default() == current,
        "docs/options.md is out of date: cargo run -- schema --format markdown > docs/options.md"
    );
}

#[test]
fn shells_are_given_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in ["run", "validate", "check", "schema"] {
            assert!(script.contains(command), "{shell} does not know {command}");
        }
    }
}
