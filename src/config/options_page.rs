//! The page of all options, generated from the JSON Schema, so that it cannot differ from the code.

use std::fmt::Write;

use schemars::JsonSchema as _;
use schemars::SchemaGenerator;
use serde_json::{Map, Value};

use super::schema::{LISTS, SectionSchema, TESTS, generator, object, properties_of, sections};
use super::settings::Settings;
use super::source_list::{SOURCES_FROM, SourceList};
use super::unit_test::UnitTest;

const INTRODUCTION: &str = "# Every option

This page is printed by `auditflow schema --format markdown` from the types that read the pipeline file. For how they work together, see
[pipelines.md](pipelines.md). `auditflow schema` prints the JSON Schema for editors.

A duration is `30s`, `15m`, `6h`, `7d` or a number of seconds. A size is `64MiB` or a number of bytes. A secret is `${VARIABLE}` or
`{file: path}`. `${VARIABLE}` and `${VARIABLE:-default}` can replace any scalar.
";

/// The page.
#[must_use]
pub fn page() -> String {
    let mut generator = generator();
    let mut page = INTRODUCTION.to_owned();
    page.push_str("\n## The process\n\nAt the top level of the file.\n\n");
    table(&mut page, &process_settings(&mut generator));
    for section in sections(&mut generator) {
        add_section(&mut page, &section);
        if section.name == "sources" {
            let _ = write!(page, "\n## {SOURCES_FROM}\n\n{LISTS}\n\n");
            table(&mut page, &object(&SourceList::json_schema(&mut generator)));
        }
    }
    let _ = write!(page, "\n## tests\n\n{TESTS} Each item of the list:\n\n");
    table(&mut page, &object(&UnitTest::json_schema(&mut generator)));
    page
}

fn process_settings(generator: &mut SchemaGenerator) -> Map<String, Value> {
    object(&Settings::json_schema(generator))
}

fn add_section(page: &mut String, section: &SectionSchema) {
    let _ = write!(page, "\n## {}\n\n{}\n", section.name, section.description);
    let _ = write!(page, "\nAll types:\n\n");
    table(page, &section.common);
    for (name, settings) in &section.types {
        let _ = write!(page, "\n### `type: {name}`\n\n");
        if settings.get("properties").is_none() {
            page.push_str("No further settings.\n");
        } else {
            table(page, settings);
        }
    }
}

fn table(page: &mut String, settings: &Map<String, Value>) {
    page.push_str("| Setting | Value | Description |\n|---|---|---|\n");
    rows(page, "", settings);
}

fn rows(page: &mut String, prefix: &str, settings: &Map<String, Value>) {
    let mut settings = settings.clone();
    let required: Vec<String> = words(settings.get("required"));
    for (name, setting) in properties_of(&mut settings).iter() {
        let Some(setting) = setting.as_object() else { continue };
        let path = format!("{prefix}{name}");
        let inner = inner_object(setting);
        let needed = if required.contains(name) { " (required)" } else { "" };
        let value = if inner.is_some() { "map".to_owned() } else { value_of(setting) };
        let _ = writeln!(page, "| `{path}`{needed} | {value} | {} |", description(setting));
        if let Some(inner) = inner {
            rows(page, &format!("{path}."), &inner);
        }
        if let Some(item) = setting.get("items").and_then(Value::as_object).and_then(inner_object) {
            rows(page, &format!("{path}[]."), &item);
        }
    }
}

/// The schema of a setting that is a map with known keys, also if the setting is optional.
fn inner_object(setting: &Map<String, Value>) -> Option<Map<String, Value>> {
    let alternatives = setting.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    let mut candidates = std::iter::once(setting).chain(alternatives.filter_map(Value::as_object));
    let is_secret = setting.get("examples").is_some();
    candidates.find(|candidate| candidate.contains_key("properties") && !is_secret).cloned()
}

fn description(setting: &Map<String, Value>) -> String {
    let text = setting.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

/// The allowed values: enum values, examples or a type.
fn value_of(setting: &Map<String, Value>) -> String {
    let choices = choices(setting);
    if !choices.is_empty() {
        return quoted(&choices);
    }
    if let Some(examples) = setting.get("examples").and_then(Value::as_array) {
        let first: Vec<String> = examples.iter().take(2).map(plain).collect();
        return format!("for example {}", quoted(&first));
    }
    let choices = setting.get("items").and_then(Value::as_object).map(self::choices).unwrap_or_default();
    if !choices.is_empty() {
        return format!("list of {}", quoted(&choices));
    }
    let types = words(setting.get("type"));
    let types: Vec<_> = types.iter().filter(|word| *word != "null").map(|word| type_in_words(word)).collect();
    types.join(" or ")
}

fn choices(setting: &Map<String, Value>) -> Vec<String> {
    let mut choices = words(setting.get("enum"));
    for key in ["oneOf", "anyOf"] {
        for alternative in setting.get(key).and_then(Value::as_array).into_iter().flatten() {
            let Some(alternative) = alternative.as_object() else { continue };
            choices.extend(alternative.get("const").map(plain));
            choices.extend(self::choices(alternative));
        }
    }
    choices.retain(|word| word != "null");
    choices
}

fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(items)) => items.iter().map(plain).collect(),
        Some(item) => vec![plain(item)],
        None => Vec::new(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn quoted(words: &[String]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

fn type_in_words(word: &str) -> &str {
    match word {
        "string" => "string",
        "integer" => "integer",
        "number" => "number",
        "boolean" => "boolean",
        "array" => "list",
        "object" => "map",
        other => other,
    }
}
