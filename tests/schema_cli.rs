//! `auditflow schema`, `auditflow completions` and `auditflow man`. An independent validator checks the project's pipelines against the schema.
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
        Self::of(&["schema"])
    }

    fn of(arguments: &[&str]) -> Self {
        let document: Value = serde_json::from_str(&printed(arguments)).unwrap();
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("pipeline.json", document).unwrap();
        let index = compiler.compile("pipeline.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn errors(&self, pipeline: &Value) -> Option<String> {
        self.schemas.validate(pipeline, self.index).err().map(|error| error.to_string())
    }
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap()
}

fn pipelines() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("pipelines");
    let files = [directory.clone(), directory.join("tenants")].into_iter().flat_map(|from| fs::read_dir(from).unwrap());
    let files = files.map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    files
}

#[test]
fn events_follow_their_schema() {
    let validator = Validator::of(&["schema", "--format", "event"]);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clumio_page.json");
    let events = printed(&["normalize", "--vendor", "clumio", page])
        + &printed(&[
            "normalize",
            "--vendor",
            "merge",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/clumio_page.json"),
        ]);
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        events.iter().any(|event| event["target"].is_object()) && events.iter().any(|event| event["target"].is_null())
    );
    for event in &events {
        assert_eq!(validator.errors(event), None, "{event}");
    }
    for (path, wrong) in [("/action", "dance"), ("/id", "1"), ("/actor/via", "air")] {
        let mut event = events[0].clone();
        *event.pointer_mut(path).unwrap() = wrong.into();
        assert!(validator.errors(&event).is_some(), "{path}");
    }
    let mut event = events[0].clone();
    event.as_object_mut().unwrap().remove("grants");
    assert!(validator.errors(&event).is_some(), "a field is missing");
}

#[test]
fn every_pipeline_of_the_project_is_valid() {
    let validator = Validator::new();
    let files = pipelines();
    assert!(files.len() >= 6, "{files:?}");
    for file in files {
        let pipeline = yaml(&fs::read_to_string(&file).unwrap());
        assert_eq!(validator.errors(&pipeline), None, "{}", file.display());
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
fn variables_may_replace_any_scalar() {
    assert_eq!(Validator::new().errors(&good()), None);
}

#[test]
fn common_errors_are_detected() {
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
        assert!(validator.errors(&pipeline).is_some(), "{path} = {value} is not detected");
    }
    for missing in ["/sources/a/access_token", "/sinks/f/inputs", "/sinks/f/path"] {
        let mut pipeline = good();
        let (parent, key) = missing.rsplit_once('/').unwrap();
        pipeline.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
        assert!(validator.errors(&pipeline).is_some(), "the missing {missing} is not detected");
    }
}

#[test]
fn a_template_of_sources_is_a_source_with_placeholders() {
    let validator = Validator::new();
    let with = |list: &str| yaml(&format!("sources_from: {{'acme_{{{{ tenant }}}}': {list}}}"));
    let template = "type: clumio, access_token: {file: 'secrets/{{ tenant }}'}";
    let good = with(&format!("{{file: tenants.csv, template: {{{template}, page_size: '{{{{ size }}}}'}}}}"));
    assert_eq!(validator.errors(&good), None);
    for wrong in [
        format!("{{file: tenants.csv, template: {{{template}, page_size: many}}}}"),
        format!("{{file: tenants.csv, template: {{{template}, page_sizes: 5}}}}"),
        format!("{{template: {{{template}}}}}"),
        "{file: tenants.csv}".to_owned(),
    ] {
        assert!(validator.errors(&with(&wrong)).is_some(), "{wrong}");
    }
}

#[test]
fn every_setting_has_a_description() {
    let document: Value = serde_json::from_str(&printed(&["schema"])).unwrap();
    let mut undocumented = Vec::new();
    for section in ["sources", "transforms", "sinks"] {
        let branches = document["properties"][section]["additionalProperties"]["allOf"].as_array().unwrap();
        assert!(!branches.is_empty());
        for branch in branches {
            for (name, setting) in branch["then"]["properties"].as_object().unwrap() {
                if name != "type" && setting["description"].as_str().is_none_or(str::is_empty) {
                    undocumented.push(format!("{section}: {}: {name}", branch["if"]["properties"]["type"]["const"]));
                }
            }
        }
    }
    assert!(undocumented.is_empty(), "settings without a description: {undocumented:#?}");
}

#[test]
fn the_options_page_is_up_to_date() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/options.md");
    let current = printed(&["schema", "--format", "markdown"]);
    assert!(
        fs::read_to_string(&page).unwrap_or_default() == current,
        "docs/options.md is out of date: cargo run -- schema --format markdown > docs/options.md"
    );
}

#[test]
fn completion_scripts_have_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let script = printed(&["completions", shell]);
        for command in ["run", "validate", "check", "schema"] {
            assert!(script.contains(command), "{shell} has no {command}");
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let directory = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_auditflow")).arg("man").arg(directory.path()).assert().success();
    for command in auditflow::cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let page = directory.path().join(format!("auditflow-{}.1", command.get_name()));
        let text = fs::read_to_string(&page).unwrap_or_else(|reason| panic!("{}: {reason}", page.display()));
        assert!(text.contains(".TH"), "{}", page.display());
    }
}
