//! Writes OCSF events of one class as a Parquet file, as Amazon Security Lake takes them: one class per file, rows sorted by time,
//! data pages of less than 1 MB, every column of the class in every file.
//!
//! ```text
//! Event --ocsf::encode--> JSON --Rows--> sorted by time --> arrow arrays by the columns of the class
//!                                                             anything without a column --> `unmapped`
//! ```

use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_array::builder::{ArrayBuilder, Int32Builder, Int64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow_schema::{DataType, Field, Fields, Schema};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::EnabledStatistics;
use serde_json::{Map, Value};

use super::layout::{self, ParquetCompression};
use super::rows::{self, Rows};
use super::writer::{Finished, ParquetWriteError};
use crate::event::Event;
use crate::event::native::RawForm;
use crate::event::ocsf::columns::{Column, Kind, VERSION, class_uid, columns_of};
use crate::event::ocsf::encode;

/// A slice is written when it has this many rows,
const SLICE_ROWS: usize = 4 << 10;

/// or this many bytes of JSON.
const SLICE_BYTES: usize = 8 << 20;

/// The size at which a page is closed: with the last values in it, it stays below the 1 MB of Security Lake.
const PAGE_BYTES: usize = 512 << 10;

/// Columns whose values rarely repeat.
const WITHOUT_DICTIONARY: &[&[&str]] = &[&["time"], &["metadata", "uid"], &["raw_data"], &["unmapped"]];

/// Columns that people search for one value.
const WITH_BLOOM_FILTER: &[&[&str]] = &[&["metadata", "uid"], &["actor", "user", "email_addr"]];

/// Collects the events of one file. All have the class of the first one.
#[derive(Debug)]
pub struct OcsfWriter {
    compression: ParquetCompression,
    raw: RawForm,
    bloom_filters: bool,
    class_uid: u32,
    rows: Rows,
    line: Vec<u8>,
}

impl OcsfWriter {
    /// A file without events.
    #[must_use]
    pub fn new(compression: ParquetCompression, raw: RawForm, bloom_filters: bool) -> Self {
        Self { compression, raw, bloom_filters, class_uid: 0, rows: Rows::new(rows::MAX_ROW_BYTES), line: Vec::new() }
    }

    /// Adds one row.
    ///
    /// # Errors
    /// [`ParquetWriteError::RowTooLarge`] if the event as JSON exceeds 1 GiB; the file continues without it.
    pub fn push(&mut self, event: &Event<'_>) -> Result<(), ParquetWriteError> {
        self.class_uid = class_uid(event);
        self.line.clear();
        encode(event, VERSION, self.raw, &mut self.line);
        let line = std::str::from_utf8(&self.line).ok();
        let added = self.rows.add(event.timestamp.to_micros(), |row| row.text(line));
        if added { Ok(()) } else { Err(ParquetWriteError::RowTooLarge) }
    }

    /// Bytes of memory that the rows use.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.rows.held_bytes()
    }

    /// Sorts the rows by time and writes the file.
    ///
    /// # Errors
    /// The compressor fails (out of memory).
    pub fn finish(mut self) -> Result<Finished, ParquetWriteError> {
        self.rows.sort_by_time();
        let columns = columns_of(self.class_uid);
        let schema = Arc::new(Schema::new(fields_of(&columns)));
        let properties = layout::properties(self.compression, WITHOUT_DICTIONARY)
            .set_data_page_size_limit(PAGE_BYTES)
            .set_dictionary_page_size_limit(PAGE_BYTES)
            .set_sorting_columns(layout::sorting_columns(&schema, "time"))
            .set_column_statistics_enabled(layout::path_of(&["raw_data"]), EnabledStatistics::None)
            .set_column_statistics_enabled(layout::path_of(&["unmapped"]), EnabledStatistics::None);
        let properties =
            if self.bloom_filters { layout::with_bloom_filters(properties, WITH_BLOOM_FILTER) } else { properties };
        let mut writer =
            ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), layout::finished(properties))?;
        let mut slice = StructBuilder::from_fields(fields_of(&columns), 0);
        let mut bytes = 0;
        for mut row in self.rows.iter() {
            let line = row.text().unwrap_or_default();
            append_event(&mut slice, &columns, line);
            bytes += line.len();
            if slice.len() >= SLICE_ROWS || bytes >= SLICE_BYTES {
                writer.write(&RecordBatch::from(slice.finish()))?;
                bytes = 0;
            }
        }
        writer.write(&RecordBatch::from(slice.finish()))?;
        Ok(Finished {
            bytes: writer.into_inner()?,
            rows: u64::try_from(self.rows.len()).unwrap_or(u64::MAX),
            first_time: self.rows.first_time(),
            last_time: self.rows.last_time(),
        })
    }
}

fn fields_of(columns: &[Column]) -> Fields {
    columns.iter().map(|column| Field::new(column.name, type_of(column.kind), true)).collect()
}

fn type_of(kind: Kind) -> DataType {
    let list = |element: DataType| DataType::List(Arc::new(Field::new("element", element, true)));
    match kind {
        Kind::Text | Kind::Json => DataType::Utf8,
        Kind::Int => DataType::Int32,
        Kind::Long => DataType::Int64,
        Kind::Texts => list(DataType::Utf8),
        Kind::Object(columns) => DataType::Struct(fields_of(columns)),
        Kind::Objects(columns) => list(DataType::Struct(fields_of(columns))),
    }
}

/// Appends an event. What has no column, or does not fit its column, becomes a part of `unmapped`, under its path.
fn append_event(slice: &mut StructBuilder, columns: &[Column], line: &str) {
    let mut event: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
    let mut rest = match event.remove("unmapped") {
        Some(Value::Object(unmapped)) => unmapped,
        _ => Map::new(),
    };
    let (unmapped, others) = columns.split_last().expect("every class has columns");
    let (last, builders) = slice.field_builders_mut().split_last_mut().expect("every class has columns");
    for (column, builder) in others.iter().zip(builders) {
        append(builder, column.kind, event.remove(column.name), column.name, &mut rest);
    }
    rest.extend(event);
    let rest = (!rest.is_empty()).then(|| Value::Object(std::mem::take(&mut rest)));
    append(last, unmapped.kind, rest, unmapped.name, &mut Map::new());
    slice.append(true);
}

fn append(
    builder: &mut Box<dyn ArrayBuilder>,
    kind: Kind,
    value: Option<Value>,
    path: &str,
    rest: &mut Map<String, Value>,
) {
    match kind {
        Kind::Text => as_builder::<StringBuilder>(builder).append_option(value.as_ref().and_then(Value::as_str)),
        Kind::Json => as_builder::<StringBuilder>(builder).append_option(value.as_ref().map(Value::to_string)),
        Kind::Int => as_builder::<Int32Builder>(builder).append_option(int_of(value.as_ref())),
        Kind::Long => as_builder::<Int64Builder>(builder).append_option(value.as_ref().and_then(Value::as_i64)),
        Kind::Object(columns) => return append_object(as_builder(builder), columns, value, path, rest),
        Kind::Texts => return append_list(as_builder(builder), Kind::Text, value, path, rest),
        Kind::Objects(columns) => return append_list(as_builder(builder), Kind::Object(columns), value, path, rest),
    }
    rest.extend(value.filter(|value| !fits(kind, value)).map(|value| (path.to_owned(), value)));
}

fn int_of(value: Option<&Value>) -> Option<i32> {
    value.and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok())
}

fn fits(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Text => value.is_string(),
        Kind::Int => int_of(Some(value)).is_some(),
        Kind::Long => value.is_i64(),
        Kind::Texts | Kind::Objects(_) => value.is_array(),
        Kind::Object(_) => value.is_object(),
        Kind::Json => true,
    }
}

fn append_object(
    object: &mut StructBuilder,
    columns: &[Column],
    value: Option<Value>,
    path: &str,
    rest: &mut Map<String, Value>,
) {
    let (mut fields, is_present) = match value {
        Some(Value::Object(fields)) => (fields, true),
        other => {
            rest.extend(other.map(|other| (path.to_owned(), other)));
            (Map::new(), false)
        }
    };
    for (column, builder) in columns.iter().zip(object.field_builders_mut()) {
        append(builder, column.kind, fields.remove(column.name), &format!("{path}.{}", column.name), rest);
    }
    rest.extend(fields.into_iter().map(|(name, value)| (format!("{path}.{name}"), value)));
    object.append(is_present);
}

fn append_list(
    list: &mut ListBuilder<Box<dyn ArrayBuilder>>,
    kind: Kind,
    value: Option<Value>,
    path: &str,
    rest: &mut Map<String, Value>,
) {
    let (items, is_present) = match value {
        Some(Value::Array(items)) => (items, true),
        other => {
            rest.extend(other.map(|other| (path.to_owned(), other)));
            (Vec::new(), false)
        }
    };
    for (index, item) in items.into_iter().enumerate() {
        append(list.values(), kind, Some(item), &format!("{path}[{index}]"), rest);
    }
    list.append(is_present);
}

fn as_builder<B: ArrayBuilder>(builder: &mut Box<dyn ArrayBuilder>) -> &mut B {
    builder.as_any_mut().downcast_mut().expect("the builder was made for this type")
}

#[cfg(test)]
mod tests {
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;

    use super::*;

    #[test]
    fn what_has_no_column_or_does_not_fit_its_column_is_in_unmapped() {
        let columns = columns_of(3_001);
        let mut slice = StructBuilder::from_fields(fields_of(&columns), 0);
        append_event(
            &mut slice,
            &columns,
            r#"{"time":"late","new":1,"actor":{"user":{"uid":7,"risk":"high"}},"user":"x","observables":[{"name":"n","x":2}],"unmapped":{"a":1}}"#,
        );
        let batch = RecordBatch::from(slice.finish());
        let unmapped: Value =
            serde_json::from_str(batch["unmapped"].as_string::<i32>().value(0)).expect("an object as JSON");
        let expected = serde_json::json!({
            "a": 1, "time": "late", "new": 1, "actor.user.uid": 7, "actor.user.risk": "high", "user": "x",
            "observables[0].x": 2,
        });
        assert_eq!(unmapped, expected);
        assert!(batch["time"].is_null(0) && batch["user"].is_null(0) && !batch["actor"].is_null(0));
    }
}
