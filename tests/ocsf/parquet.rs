//! OCSF events as Parquet: the columns of each class have the types of the compiled schema, and the rows are what the JSON
//! encoder writes.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, StructArray};
use arrow_schema::DataType;
use auditflow::event::Event;
use auditflow::event::native::RawForm;
use auditflow::event::ocsf::OcsfVersion;
use auditflow::event::ocsf::columns::{CLASSES, Column, Kind, class_uid, columns_of};
use auditflow::sinks::parquet::{OcsfWriter, ParquetCompression};
use auditflow::time::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use serde_json::{Map, Value, json};

use crate::{encoded, every_class, normalized, simulated};

#[test]
fn columns_have_the_types_of_the_schema() {
    let all: Value = serde_json::from_str(include_str!("schema.json")).unwrap();
    let schema = &all["1.3.0"];
    let mut found = 0;
    for class in CLASSES {
        found += assert_types(&class.to_string(), schema, &schema["classes"][class.to_string()], &columns_of(*class));
    }
    assert!(found > 150, "{found}");
}

/// The number of columns; each is an attribute of the definition, of its type.
fn assert_types(path: &str, schema: &Value, definition: &Value, columns: &[Column]) -> usize {
    let mut found = 0;
    for column in columns {
        let path = format!("{path}.{}", column.name);
        let attribute = &definition["attributes"][column.name];
        let name = attribute["type"].as_str().unwrap_or_else(|| panic!("{path} is not an attribute"));
        let base = base_of(schema, name);
        let is_list = attribute["array"] == true;
        match column.kind {
            Kind::Text => assert!(!is_list && base == "string_t", "{path}: {base}"),
            Kind::Int => assert!(!is_list && base == "integer_t", "{path}: {base}"),
            Kind::Long => assert!(!is_list && base == "long_t", "{path}: {base}"),
            Kind::Texts => assert!(is_list && base == "string_t", "{path}: {base}"),
            Kind::Json => assert!(name == "object", "{path}: {name}"),
            Kind::Object(columns) | Kind::Objects(columns) => {
                assert_eq!(is_list, matches!(column.kind, Kind::Objects(_)), "{path}");
                found += assert_types(&path, schema, &schema["objects"][name], columns);
            }
        }
        found += 1;
    }
    found
}

fn base_of<'s>(schema: &'s Value, name: &'s str) -> &'s str {
    schema["types"][name]["type"].as_str().map_or(name, |base| base_of(schema, base))
}

#[tokio::test]
async fn rows_are_what_the_json_encoder_writes() {
    let records = simulated().await;
    let every_class: Vec<_> = every_class().collect();
    let mut by_class: BTreeMap<u32, Vec<Event<'_>>> = BTreeMap::new();
    for event in records.iter().map(|(vendor, raw)| normalized(*vendor, raw)).chain(every_class.iter().cloned()) {
        by_class.entry(class_uid(&event)).or_default().push(event);
    }
    assert_eq!(by_class.keys().copied().collect::<Vec<_>>(), CLASSES);
    for (class, mut events) in by_class {
        let rows = rows_of(&events, RawForm::Keep);
        events.sort_by_key(|event| event.timestamp.as_micros());
        for (row, event) in rows.iter().zip(&events) {
            let mut expected = encoded(event, OcsfVersion::V1_3);
            expected["unmapped"] = expected["unmapped"].to_string().into();
            assert_eq!(*row, expected, "{class}");
        }
        assert_eq!(rows.len(), events.len());
    }
}

#[test]
fn files_keep_the_limits_of_security_lake() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut raw = || format!(r#"{{"n":"{}"}}"#, (0..60_000).map(|_| random.alphanumeric()).collect::<String>());
    let raws: Vec<String> = (0..400).map(|_| raw()).collect();
    let event = every_class().find(|event| class_uid(event) == 6_003).unwrap();
    let at = |second: usize| Timestamp::from_secs(1_790_000_000 + i64::try_from(second).unwrap());
    let events: Vec<Event<'_>> = raws
        .iter()
        .enumerate()
        .map(|(number, raw)| Event { raw, timestamp: at(raws.len() - number), ..event.clone() })
        .collect();
    let bytes = file_of(&events, RawForm::Keep);
    let file = SerializedFileReader::new(axum::body::Bytes::from(bytes)).unwrap();
    let mut pages = 0;
    for index in 0..file.num_row_groups() {
        let group = file.get_row_group(index).unwrap();
        assert!(group.metadata().compressed_size() <= 256 << 20);
        for column in 0..group.num_columns() {
            for page in group.get_column_page_reader(column).unwrap() {
                let page = page.unwrap();
                assert!(page.buffer().len() < 1_000_000, "a page of {} bytes", page.buffer().len());
                pages += 1;
            }
        }
        let sorted = group.metadata().sorting_columns().unwrap()[0].column_idx;
        assert_eq!(group.metadata().column(usize::try_from(sorted).unwrap()).column_path().string(), "time");
    }
    assert!(pages > 30, "{pages}");
}

/// A file has every column of its class, whatever its events have.
#[test]
fn the_schema_of_a_class_is_fixed() {
    let event = every_class().find(|event| class_uid(event) == 6_003).unwrap();
    let bare = Event::new(event.id, "confluence", "acme", event.observed_at, "{}");
    let names = |events: &[Event<'_>]| {
        let file = ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(file_of(events, RawForm::Drop)));
        file.unwrap().schema().fields().clone()
    };
    assert_eq!(names(&[event]), names(&[bare]));
}

fn file_of(events: &[Event<'_>], raw: RawForm) -> Vec<u8> {
    let mut writer = OcsfWriter::new(ParquetCompression::Zstd, raw, false);
    events.iter().for_each(|event| writer.push(event).unwrap());
    writer.finish().unwrap().bytes
}

fn rows_of(events: &[Event<'_>], raw: RawForm) -> Vec<Value> {
    let bytes = axum::body::Bytes::from(file_of(events, raw));
    let mut rows = Vec::new();
    for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        let batch = StructArray::from(batch.unwrap());
        rows.extend((0..batch.len()).map(|row| value(&batch, row)));
    }
    rows
}

/// The value without nulls.
fn value(array: &dyn Array, row: usize) -> Value {
    match array.data_type() {
        _ if array.is_null(row) => Value::Null,
        DataType::Utf8 => json!(array.as_string::<i32>().value(row)),
        DataType::Int32 => json!(array.as_primitive::<Int32Type>().value(row)),
        DataType::Int64 => json!(array.as_primitive::<Int64Type>().value(row)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|index| value(&items, index)).collect()
        }
        DataType::Struct(fields) => {
            let object = array.as_struct();
            let fields = fields.iter().zip(object.columns());
            let fields = fields.map(|(field, column)| (field.name().clone(), value(column, row)));
            Value::Object(fields.filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>())
        }
        other => panic!("a column of the type {other}"),
    }
}
