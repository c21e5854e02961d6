//! The JSON Schema of the pipeline file, generated from the types that read it. Editors use it to complete keys, show
//! descriptions and mark errors.
//!
//! ```text
//! Settings ------------------+                        type: clumio --> common source settings + Clumio's settings
//! registries of sources,     +--> one document -----> type: kafka  --> common sink settings + Kafka's settings
//! transforms and sinks ------+        (draft-07, which YAML editors support best)
//! ```
//!
//! The schema does not replace `auditflow validate`, which also checks what a schema cannot express, such as unknown inputs.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::component_settings::{CommonSinkSettings, vendor_schema};
use super::settings::Settings;
use super::source_list::{SOURCES_FROM, SourceList, TEMPLATE};
use super::unit_test::{self, UnitTest};
use crate::collect::SourceOptions;
use crate::sinks::registry::SinkConfig;
use crate::transform::registry::TransformConfig;
use crate::{sinks, transform, vendors};

/// The pattern of a variable, which can replace any scalar.
const VARIABLE: &str = r"\$\{.+\}";

/// What the section of tests is.
pub(super) const TESTS: &str = "Tests of the pipeline, which `auditflow test` runs. A run ignores them.";
/// The same in a template of sources, where the value of a row can do so too.
const VARIABLE_OR_COLUMN: &str = r"\$\{.+\}|\{\{.+\}\}";

/// What the lists of sources are.
pub(super) const LISTS: &str = "Sources that are made from lists, one per row. Each key is the name of a source, with `{{ column }}` \
    for the row's value.";

/// The id of the document, which editors use as a cache key.
const ID: &str = "https://auditflow.dev/schema/pipeline.json";

/// The schema of the whole file.
#[must_use]
pub fn document() -> Value {
    let mut generator = generator();
    let mut root = object(&Settings::json_schema(&mut generator));
    let properties = properties_of(&mut root);
    for section in sections(&mut generator) {
        properties.insert(section.name.to_owned(), section.schema());
    }
    let mut template = properties["sources"]["additionalProperties"].clone();
    root.iter_mut().for_each(|(_, value)| allow_pattern(value, VARIABLE));
    allow_pattern(&mut template, VARIABLE_OR_COLUMN);
    properties_of(&mut root).insert(SOURCES_FROM.to_owned(), lists(&mut generator, template));
    properties_of(&mut root).insert(unit_test::SECTION.to_owned(), tests(&mut generator));
    root.remove("description");
    let mut document = Map::new();
    document.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    document.insert("$id".to_owned(), json!(ID));
    document.insert("title".to_owned(), json!("auditflow pipeline"));
    // Nothing is required: a pipeline can be several files.
    document.extend(root);
    Value::Object(document)
}

/// The tests, which have no variables.
fn tests(generator: &mut SchemaGenerator) -> Value {
    let tests = Vec::<UnitTest>::json_schema(generator);
    json!({ "description": TESTS, "type": "array", "items": tests.get("items") })
}

/// The schema of the lists of sources. `template` is that of a source.
fn lists(generator: &mut SchemaGenerator, mut template: Value) -> Value {
    let mut list = object(&SourceList::json_schema(generator));
    let settings = properties_of(&mut list);
    template["description"] = settings[TEMPLATE]["description"].take();
    settings.insert(TEMPLATE.to_owned(), template);
    json!({ "type": "object", "description": LISTS, "additionalProperties": list })
}

pub(super) fn generator() -> SchemaGenerator {
    SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true).into_generator()
}

/// One section of the file, with the settings of each component type.
pub(crate) struct SectionSchema {
    /// The key of the section.
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    /// The settings of every component in this section.
    pub(crate) common: Map<String, Value>,
    /// The settings that are specific to each type.
    pub(crate) types: Vec<(&'static str, Map<String, Value>)>,
}

pub(crate) fn sections(generator: &mut SchemaGenerator) -> [SectionSchema; 3] {
    let source_options = object(&SourceOptions::json_schema(generator));
    let sink_options = with_inputs(object(&CommonSinkSettings::json_schema(generator)));
    let inputs = with_inputs(Map::new());
    let sources = vendors::registry::names();
    let sinks = sinks::registry::NAMES;
    let transforms = transform::registry::NAMES;
    let mut types = |names: &[&'static str], own: OwnSettings| {
        names
            .iter()
            .map(|name| (*name, own(name, generator).map(|schema| object(&schema)).unwrap_or_default()))
            .collect()
    };
    [
        SectionSchema {
            name: "sources",
            description: "Where events come from. Each key names a source.",
            types: types(&sources, vendor_schema),
            common: source_options,
        },
        SectionSchema {
            name: "transforms",
            description: "The steps between sources and sinks. Each key names a transform.",
            types: types(transforms, TransformConfig::schema),
            common: inputs,
        },
        SectionSchema {
            name: "sinks",
            description: "Where events are delivered. Each key names a sink.",
            types: types(sinks, SinkConfig::schema),
            common: sink_options,
        },
    ]
}

type OwnSettings = fn(&str, &mut SchemaGenerator) -> Option<Schema>;

impl SectionSchema {
    /// The schema of the section: `type` selects the other settings of a component.
    fn schema(self) -> Value {
        let names: Vec<_> = self.types.iter().map(|(name, _)| *name).collect();
        let branches: Vec<_> = self
            .types
            .iter()
            .map(|(name, own)| {
                let settings = merged(name, own.clone(), &self.common);
                json!({ "if": { "properties": { "type": { "const": name } }, "required": ["type"] }, "then": settings })
            })
            .collect();
        json!({
            "type": "object",
            "description": self.description,
            "additionalProperties": {
                "type": "object",
                "properties": { "type": { "enum": names, "description": "The type of the component." } },
                "required": ["type"],
                "allOf": branches
            }
        })
    }
}

/// The settings of a type, the common settings of its section, and `type`.
fn merged(name: &str, mut settings: Map<String, Value>, common: &Map<String, Value>) -> Map<String, Value> {
    let required: Vec<Value> = [&settings, common].into_iter().flat_map(required_of).collect();
    let properties = properties_of(&mut settings);
    properties.insert("type".to_owned(), json!({ "const": name }));
    if let Some(Value::Object(shared)) = common.get("properties") {
        properties.extend(shared.clone());
    }
    settings.insert("required".to_owned(), required.into_iter().chain([json!("type")]).collect());
    settings.insert("additionalProperties".to_owned(), json!(false));
    settings
}

fn with_inputs(mut settings: Map<String, Value>) -> Map<String, Value> {
    let inputs = json!({
        "description": "The sources and transforms to read: names, or patterns such as `acme_*`.",
        "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" }, "minItems": 1 }]
    });
    properties_of(&mut settings).insert("inputs".to_owned(), inputs);
    settings.insert("required".to_owned(), json!(["inputs"]));
    settings
}

pub(super) fn object(schema: &Schema) -> Map<String, Value> {
    schema.as_object().cloned().unwrap_or_default()
}

pub(super) fn properties_of(schema: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let properties = schema.entry("properties").or_insert_with(|| Value::Object(Map::new()));
    match properties {
        Value::Object(properties) => properties,
        _ => unreachable!("`properties` of a struct's schema is a map"),
    }
}

fn required_of(schema: &Map<String, Value>) -> Vec<Value> {
    schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// Allows strings of this pattern where the schema accepts no string.
fn allow_pattern(value: &mut Value, pattern: &str) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(|item| allow_pattern(item, pattern)),
        Value::Object(schema) => {
            let is_branch = schema.contains_key("if");
            schema
                .iter_mut()
                .filter(|(key, _)| !(is_branch && *key == "if"))
                .for_each(|(_, value)| allow_pattern(value, pattern));
            if rejects_strings(schema) {
                widen(schema, pattern);
            }
        }
        _ => {}
    }
}

/// Whether the schema is an enum whose values have descriptions.
fn is_choice(schema: &Map<String, Value>) -> bool {
    let words = schema.get("oneOf").and_then(Value::as_array);
    words.is_some_and(|words| words.iter().all(|word| word.get("const").is_some_and(Value::is_string)))
}

/// Whether the schema wants a scalar but rejects `${VARIABLE}`.
fn rejects_strings(schema: &Map<String, Value>) -> bool {
    let is_plain = |word: &str| matches!(word, "integer" | "number" | "boolean");
    let by_type = match schema.get("type") {
        Some(Value::String(word)) => is_plain(word),
        Some(Value::Array(words)) => {
            let words: Vec<_> = words.iter().filter_map(Value::as_str).collect();
            words.iter().any(|word| is_plain(word)) && !words.contains(&"string")
        }
        _ => false,
    };
    by_type || is_choice(schema) || (schema.contains_key("enum") && schema.get("type") == Some(&json!("string")))
}

fn widen(schema: &mut Map<String, Value>, pattern: &str) {
    let description = schema.remove("description");
    let narrow = Value::Object(std::mem::take(schema));
    schema.extend(description.map(|text| ("description".to_owned(), text)));
    schema.insert("anyOf".to_owned(), json!([narrow, { "type": "string", "pattern": pattern }]));
}
