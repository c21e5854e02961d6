//! The columns of a file and how each is encoded.
//!
//! Conservative choices that every engine reads: format version 1, no arrow schema in the footer, three-level lists whose element
//! is called `element`, timestamps in UTC microseconds, no unsigned numbers.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_schema::{DataType, Field, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::PARQUET_FIELD_ID_META_KEY;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use serde::Deserialize;

use crate::event::SCHEMA_VERSION;

/// The compression of the pages of a Parquet file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    /// zstd, level 1: on audit events smaller and faster than level 3.
    #[default]
    Zstd,
    /// snappy: larger, for readers without zstd.
    Snappy,
    /// No compression.
    None,
}

/// What determines the bytes of a file besides its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParquetOptions {
    /// How pages are compressed.
    pub compression: ParquetCompression,
    /// Whether the vendor's record is a column.
    pub with_raw: bool,
    /// Whether `id` and `actor.email` have Bloom filters.
    pub bloom_filters: bool,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self { compression: ParquetCompression::Zstd, with_raw: true, bloom_filters: false }
    }
}

/// The writer of the file, in the form that readers parse (`<application> version <version>`). The version is that of this
/// layout, not of the program: the same events must give the same bytes after an upgrade.
const CREATED_BY: &str = "auditflow version 1";

/// The key of the event schema's version in the footer.
const SCHEMA_VERSION_KEY: &str = "auditflow.schema_version";

/// A row group is closed when it has this many rows,
const ROW_GROUP_ROWS: usize = 64 << 10;

/// or about this many compressed bytes: it is kept in memory until then.
const ROW_GROUP_BYTES: usize = 32 << 20;

/// Columns whose values rarely repeat: a dictionary would be built and discarded.
const WITHOUT_DICTIONARY: &[&[&str]] = &[
    &["id"],
    &["vendor_event_id"],
    &["timestamp"],
    &["target", "id"],
    &["related", "list", "element", "id"],
    &["raw"],
];

/// Columns that people search for one value.
const WITH_BLOOM_FILTER: &[&[&str]] = &[&["id"], &["actor", "email"]];

/// The share of absent values that a Bloom filter does not exclude.
const BLOOM_FILTER_ERRORS: f64 = 0.01;

/// The paths of all fields by their ids, from 1. Tables that follow columns by id (Iceberg) keep them over renaming and new
/// columns: new paths go to the end, and none is removed.
const PATHS_BY_ID: &[&str] = &[
    "schema_version",
    "id",
    "version",
    "vendor",
    "source",
    "tenant",
    "vendor_event_id",
    "event_type",
    "action",
    "category",
    "outcome",
    "message",
    "timestamp",
    "observed_at",
    "actor",
    "target",
    "grants",
    "related",
    "changes",
    "normalize_error",
    "raw",
    "actor.type",
    "actor.id",
    "actor.name",
    "actor.email",
    "actor.ip",
    "actor.via",
    "actor.on_behalf_of",
    "actor.on_behalf_of.id",
    "actor.on_behalf_of.name",
    "actor.on_behalf_of.email",
    "target.type",
    "target.vendor_type",
    "target.id",
    "target.name",
    "target.email",
    "grants.element",
    "grants.element.effect",
    "grants.element.grantee",
    "grants.element.grantee.type",
    "grants.element.grantee.id",
    "grants.element.grantee.name",
    "grants.element.grantee.email",
    "grants.element.privilege",
    "grants.element.admin",
    "grants.element.scope",
    "grants.element.scope.type",
    "grants.element.scope.id",
    "grants.element.scope.name",
    "related.element",
    "related.element.role",
    "related.element.type",
    "related.element.vendor_type",
    "related.element.id",
    "related.element.name",
    "related.element.email",
    "changes.element",
    "changes.element.field",
    "changes.element.old",
    "changes.element.new",
    "redacted",
    "redacted.element",
];

/// The same field with its id, and so its own fields.
fn with_id(field: &Field, parent: &str) -> Field {
    let path = format!("{parent}{}", field.name());
    let children = format!("{path}.");
    let kind = match field.data_type() {
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(|field| with_id(field, &children)).collect()),
        DataType::List(element) => DataType::List(Arc::new(with_id(element, &children))),
        other => other.clone(),
    };
    let id = PATHS_BY_ID.iter().position(|known| *known == path).map_or(0, |index| index + 1);
    let id = (PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string());
    Field::new(field.name(), kind, field.is_nullable()).with_metadata(HashMap::from([id]))
}

/// The columns in the order of the native JSON form, `raw` last, with their ids.
pub(in crate::sinks) fn fields(with_raw: bool) -> Fields {
    let mut fields = vec![
        required("schema_version", DataType::Utf8),
        required("id", DataType::Utf8),
        optional("version", DataType::Int64),
        required("vendor", DataType::Utf8),
        required("source", DataType::Utf8),
        text("tenant"),
        text("vendor_event_id"),
        text("event_type"),
        text("action"),
        text("category"),
        text("outcome"),
        text("message"),
        required("timestamp", instant()),
        required("observed_at", instant()),
        optional("actor", DataType::Struct(actor_fields())),
        optional("target", DataType::Struct(object_fields())),
        optional("grants", DataType::List(element(grant_fields()))),
        optional("related", DataType::List(element(related_fields()))),
        optional("changes", DataType::List(element(change_fields()))),
        text("normalize_error"),
        optional("redacted", DataType::List(Arc::new(required("element", DataType::Utf8)))),
    ];
    if with_raw {
        fields.push(required("raw", DataType::Utf8));
    }
    fields.iter().map(|field| with_id(field, "")).collect()
}

fn actor_fields() -> Fields {
    let user = optional("on_behalf_of", DataType::Struct(texts(&["id", "name", "email"])));
    [text("type"), text("id"), text("name"), text("email"), text("ip"), text("via"), user].into_iter().collect()
}

fn object_fields() -> Fields {
    texts(&["type", "vendor_type", "id", "name", "email"])
}

fn grant_fields() -> Fields {
    let grantee = optional("grantee", DataType::Struct(texts(&["type", "id", "name", "email"])));
    let scope = optional("scope", DataType::Struct(texts(&["type", "id", "name"])));
    [text("effect"), grantee, text("privilege"), optional("admin", DataType::Boolean), scope].into_iter().collect()
}

fn related_fields() -> Fields {
    texts(&["role", "type", "vendor_type", "id", "name", "email"])
}

fn change_fields() -> Fields {
    texts(&["field", "old", "new"])
}

/// The element of a list, with the name that the format's specification requires.
fn element(fields: Fields) -> FieldRef {
    Arc::new(required("element", DataType::Struct(fields)))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn texts(names: &[&str]) -> Fields {
    names.iter().map(|name| text(name)).collect()
}

fn text(name: &str) -> Field {
    optional(name, DataType::Utf8)
}

fn optional(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, true)
}

fn required(name: &str, kind: DataType) -> Field {
    Field::new(name, kind, false)
}

/// The writer options of a file with these columns.
pub(super) fn writer_options(schema: &Schema, options: ParquetOptions) -> ArrowWriterOptions {
    let properties = properties(options.compression, WITHOUT_DICTIONARY)
        .set_key_value_metadata(Some(vec![KeyValue::new(SCHEMA_VERSION_KEY.to_owned(), SCHEMA_VERSION.to_owned())]))
        .set_sorting_columns(sorting_columns(schema, "timestamp"))
        .set_column_statistics_enabled(ColumnPath::from("raw"), EnabledStatistics::None);
    finished(if options.bloom_filters { with_bloom_filters(properties, WITH_BLOOM_FILTER) } else { properties })
}

/// Adds Bloom filters, which the library makes as small as their values allow.
pub(super) fn with_bloom_filters(properties: WriterPropertiesBuilder, columns: &[&[&str]]) -> WriterPropertiesBuilder {
    columns.iter().fold(properties, |properties, path| {
        properties
            .set_column_bloom_filter_fpp(path_of(path), BLOOM_FILTER_ERRORS)
            .set_column_bloom_filter_max_ndv(path_of(path), ROW_GROUP_ROWS as u64)
    })
}

/// What the files of all schemas have in common.
pub(super) fn properties(compression: ParquetCompression, without_dictionary: &[&[&str]]) -> WriterPropertiesBuilder {
    let mut properties = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_compression(codec(compression))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES));
    for path in without_dictionary {
        properties = properties.set_column_dictionary_enabled(path_of(path), false);
    }
    properties
}

pub(super) fn path_of(parts: &[&str]) -> ColumnPath {
    ColumnPath::new(parts.iter().map(|part| (*part).to_owned()).collect())
}

pub(super) fn finished(properties: WriterPropertiesBuilder) -> ArrowWriterOptions {
    ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true)
}

fn codec(compression: ParquetCompression) -> Compression {
    match compression {
        ParquetCompression::Zstd => Compression::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()),
        ParquetCompression::Snappy => Compression::SNAPPY,
        ParquetCompression::None => Compression::UNCOMPRESSED,
    }
}

/// Declares that rows are sorted by this column. Columns are counted by their leaves; those before it are leaves.
pub(super) fn sorting_columns(schema: &Schema, name: &str) -> Option<Vec<SortingColumn>> {
    let column_idx = i32::try_from(schema.index_of(name).ok()?).ok()?;
    Some(vec![SortingColumn { column_idx, descending: false, nulls_first: false }])
}
