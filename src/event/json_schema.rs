//! The JSON Schema of an event in auditflow's own schema, made from [`FIELDS`]: for consumers that check or generate code.
//!
//! Other fields are allowed, since a minor version of the envelope only adds fields.

use serde_json::{Map, Value, json};

use super::SCHEMA_VERSION;
use super::fields::{FIELDS, Field, ItemField, ItemKind, Kind};

/// The schema, draft 2020-12.
#[must_use]
pub fn document() -> Value {
    let mut schema = object(FIELDS);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!(format!("An audit event of auditflow, schema version {SCHEMA_VERSION}"));
    schema
}

fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.to_owned(), of(field))).collect();
    let required: Vec<&str> = fields.iter().filter(|field| is_always_written(field)).map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

/// `raw` may be left out by the sink's `raw` option.
fn is_always_written(field: &Field) -> bool {
    !matches!(field.kind, Kind::OptionalNumber(_) | Kind::OmittedText(_) | Kind::OmittedTexts(_) | Kind::Raw(_))
}

fn of(field: &Field) -> Value {
    match field.kind {
        Kind::Text(_) | Kind::Vendor(_) | Kind::OmittedText(_) => json!({"type": "string"}),
        Kind::OptionalText(_) => json!({"type": ["string", "null"]}),
        Kind::Enum(_, values) => json!({"type": "string", "enum": values()}),
        Kind::OptionalEnum(_, values) => or_null(values()),
        Kind::Id(_) => json!({"type": "string", "pattern": "^[0-9a-f]{32}$"}),
        Kind::OptionalNumber(_) => json!({"type": "integer", "minimum": 0}),
        Kind::Time(_) => json!({"type": "string", "format": "date-time"}),
        Kind::Object(fields) => object(fields),
        Kind::OptionalObject(_, fields) => nullable(object(fields)),
        Kind::List(list) => json!({"type": "array", "items": item(list.fields())}),
        Kind::OmittedTexts(_) => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Raw(_) => {
            json!({"description": "the vendor's record, byte for byte unless `redacted` names a part of it; a string if it is not JSON"})
        }
    }
}

fn item(fields: &[ItemField]) -> Value {
    let properties: Map<String, Value> = fields.iter().map(|field| (field.name.to_owned(), of_item(field))).collect();
    let required: Vec<&str> = fields.iter().map(|field| field.name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn of_item(field: &ItemField) -> Value {
    match field.kind {
        ItemKind::Text(_) => json!({"type": "string"}),
        ItemKind::OptionalText(_) => json!({"type": ["string", "null"]}),
        ItemKind::Enum(_, values) => json!({"type": "string", "enum": values()}),
        ItemKind::OptionalFlag(_) => json!({"type": ["boolean", "null"]}),
        ItemKind::Object(fields) => item(fields),
        ItemKind::OptionalObject(_, fields) => nullable(item(fields)),
    }
}

fn or_null(values: Vec<&str>) -> Value {
    let values: Vec<Value> = values.into_iter().map(Value::from).chain([Value::Null]).collect();
    json!({"type": ["string", "null"], "enum": values})
}

fn nullable(mut object: Value) -> Value {
    object["type"] = json!(["object", "null"]);
    object
}
