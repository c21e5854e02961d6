//! The columns of the table, as `metaData` names them.
//!
//! A table grows by columns that may be null. A column that every event has is added as one that may be null too: the files
//! before it have no values for it.

use arrow_schema::{DataType as ArrowType, Fields};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::layout::Partition;

/// The fields of a table or of a nested column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct StructType {
    #[serde(rename = "type")]
    tag: String,
    fields: Vec<StructField>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct StructField {
    name: String,
    #[serde(rename = "type")]
    kind: DataType,
    nullable: bool,
    #[serde(default)]
    metadata: serde_json::Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum DataType {
    Plain(String),
    Struct(StructType),
    List(ListType),
    Other(Value),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListType {
    #[serde(rename = "type")]
    tag: String,
    element_type: Box<DataType>,
    contains_null: bool,
}

impl StructType {
    /// The columns of our files, and after them the partitions.
    pub(super) fn of(columns: &Fields, partitions: &[Partition]) -> Self {
        let mut table = of_fields(columns);
        table.fields.extend(partitions.iter().map(|partition| StructField {
            name: partition.name.clone(),
            kind: DataType::Plain(if partition.is_date { "date" } else { "string" }.to_owned()),
            nullable: true,
            metadata: serde_json::Map::new(),
        }));
        table
    }

    pub(super) fn encode(&self) -> String {
        serde_json::to_string(self).expect("plain fields always become JSON")
    }

    /// Adds the columns of `ours` that the table does not have; whether there are any.
    ///
    /// # Errors
    /// Why rows with our columns do not fit, with the column's name.
    pub(super) fn grow(&mut self, ours: &Self) -> Result<bool, String> {
        self.grow_at("", ours)
    }

    fn grow_at(&mut self, parent: &str, ours: &Self) -> Result<bool, String> {
        let path = |name: &str| if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") };
        let is_ours = |name: &str| ours.fields.iter().any(|field| field.name.eq_ignore_ascii_case(name));
        if let Some(field) = self.fields.iter().find(|field| !field.nullable && !is_ours(&field.name)) {
            return Err(format!("its column `{}` must not be null, and events have no such column", path(&field.name)));
        }
        let mut has_grown = false;
        for field in &ours.fields {
            let known = self.fields.iter_mut().find(|known| known.name.eq_ignore_ascii_case(&field.name));
            let Some(known) = known else {
                self.fields.push(StructField { nullable: true, ..field.clone() });
                has_grown = true;
                continue;
            };
            let path = path(&field.name);
            if known.metadata.keys().any(|key| key.starts_with("delta.")) {
                return Err(format!("its column `{path}` has a rule of its own (delta.invariants or the like)"));
            }
            if field.nullable && !known.nullable {
                return Err(format!("its column `{path}` must not be null, and events may have no value for it"));
            }
            has_grown |= known.kind.grow_at(&path, &field.kind)?;
        }
        Ok(has_grown)
    }
}

impl DataType {
    fn grow_at(&mut self, path: &str, ours: &Self) -> Result<bool, String> {
        match (self, ours) {
            (Self::Struct(table), Self::Struct(ours)) => table.grow_at(path, ours),
            (Self::List(table), Self::List(ours)) => {
                table.element_type.grow_at(&format!("{path}.element"), &ours.element_type)
            }
            (table, ours) if table == ours => Ok(false),
            (table, ours) => {
                let text = |kind: &Self| serde_json::to_string(kind).unwrap_or_default();
                Err(format!("its column `{path}` has the type {}, and events have {}", text(table), text(ours)))
            }
        }
    }
}

fn of_fields(fields: &Fields) -> StructType {
    let fields = fields.iter().map(|field| StructField {
        name: field.name().clone(),
        kind: of_type(field.data_type()),
        nullable: field.is_nullable(),
        metadata: serde_json::Map::new(),
    });
    StructType { tag: "struct".to_owned(), fields: fields.collect() }
}

fn of_type(kind: &ArrowType) -> DataType {
    let plain = |name: &str| DataType::Plain(name.to_owned());
    match kind {
        ArrowType::Struct(fields) => DataType::Struct(of_fields(fields)),
        ArrowType::List(element) => DataType::List(ListType {
            tag: "array".to_owned(),
            element_type: Box::new(of_type(element.data_type())),
            contains_null: element.is_nullable(),
        }),
        ArrowType::Timestamp(..) => plain("timestamp"),
        ArrowType::Int64 => plain("long"),
        ArrowType::Boolean => plain("boolean"),
        _ => plain("string"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(fields: &str) -> StructType {
        serde_json::from_str(&format!(r#"{{"type":"struct","fields":[{fields}]}}"#)).expect("a schema")
    }

    fn field(name: &str, kind: &str, nullable: bool) -> String {
        format!(r#"{{"name":"{name}","type":{kind},"nullable":{nullable},"metadata":{{}}}}"#)
    }

    #[test]
    fn a_table_grows_by_columns_that_may_be_null() {
        let nested = |fields: &str| format!(r#"{{"type":"struct","fields":[{fields}]}}"#);
        let list = |of: &str| format!(r#"{{"type":"array","elementType":{of},"containsNull":false}}"#);
        let (a, b) = (field("a", "\"string\"", true), field("b", "\"long\"", false));
        let before = [field("id", "\"string\"", false), field("list", &list(&nested(&a)), true)].join(",");
        let after =
            [field("id", "\"string\"", false), field("list", &list(&nested(&[a, b.clone()].join(","))), true), b];
        let mut grown = table(&before);
        let ours = table(&after.join(","));
        assert!(grown.grow(&ours).expect("it fits"));
        assert!(!grown.encode().contains(r#""name":"b","type":"long","nullable":false"#), "{}", grown.encode());
        assert_eq!(grown.encode().matches(r#""name":"b""#).count(), 2);
        assert!(!grown.clone().grow(&ours).expect("it fits"));
        assert!(!grown.grow(&table(&before)).expect("an older auditflow"), "fewer columns fit");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let ours = table(&field("id", "\"string\"", true));
        for (fields, word) in [
            (field("id", "\"long\"", true), "`id` has the type \"long\""),
            (field("id", "\"string\"", false), "`id` must not be null"),
            ([field("id", "\"string\"", true), field("x", "\"long\"", false)].join(","), "`x` must not be null"),
            (
                r#"{"name":"id","type":"string","nullable":true,"metadata":{"delta.invariants":"{}"}}"#.to_owned(),
                "`id` has a rule",
            ),
        ] {
            let reason = table(&fields).grow(&ours).expect_err("it does not fit");
            assert!(reason.contains(word), "{reason}");
        }
    }
}
