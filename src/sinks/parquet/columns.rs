//! Converts stored rows into arrow arrays, one slice of the file at a time.

use std::sync::Arc;

use arrow_array::builder::{
    ArrayBuilder, BooleanBuilder, Int64Builder, ListBuilder, StringBuilder, StructBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, Schema, SchemaRef};

use super::rows::StoredRow;
use crate::event::SCHEMA_VERSION;

/// A slice is written when it has this many rows,
const SLICE_ROWS: usize = 8 << 10;

/// or this many bytes of text. With the largest row added this is far below the limit of 32-bit offsets.
const SLICE_BYTES: usize = 4 << 20;

/// The arrays of a slice while they grow.
#[derive(Debug)]
pub(super) struct Columns {
    schema: SchemaRef,
    rows: usize,
    bytes: usize,
    schema_version: StringBuilder,
    id: StringBuilder,
    version: Int64Builder,
    vendor: StringBuilder,
    source: StringBuilder,
    tenant: StringBuilder,
    vendor_event_id: StringBuilder,
    event_type: StringBuilder,
    action: StringBuilder,
    category: StringBuilder,
    outcome: StringBuilder,
    message: StringBuilder,
    timestamp: TimestampMicrosecondBuilder,
    observed_at: TimestampMicrosecondBuilder,
    actor: StructBuilder,
    target: StructBuilder,
    grants: ListBuilder<StructBuilder>,
    related: ListBuilder<StructBuilder>,
    changes: ListBuilder<StructBuilder>,
    normalize_error: StringBuilder,
    redacted: ListBuilder<StringBuilder>,
    raw: Option<StringBuilder>,
}

impl Columns {
    pub(super) fn new(schema: SchemaRef, with_raw: bool) -> Self {
        Self {
            rows: 0,
            bytes: 0,
            schema_version: StringBuilder::new(),
            id: StringBuilder::new(),
            version: Int64Builder::new(),
            vendor: StringBuilder::new(),
            source: StringBuilder::new(),
            tenant: StringBuilder::new(),
            vendor_event_id: StringBuilder::new(),
            event_type: StringBuilder::new(),
            action: StringBuilder::new(),
            category: StringBuilder::new(),
            outcome: StringBuilder::new(),
            message: StringBuilder::new(),
            timestamp: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            observed_at: TimestampMicrosecondBuilder::new().with_timezone("UTC"),
            actor: struct_of(schema.field_with_name("actor").ok().map(Field::data_type)),
            target: struct_of(schema.field_with_name("target").ok().map(Field::data_type)),
            grants: list_of(&schema, "grants"),
            related: list_of(&schema, "related"),
            changes: list_of(&schema, "changes"),
            normalize_error: StringBuilder::new(),
            redacted: texts_of(&schema, "redacted"),
            raw: with_raw.then(StringBuilder::new),
            schema,
        }
    }

    /// Whether the slice should be written before the next row.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= SLICE_ROWS || self.bytes >= SLICE_BYTES
    }

    /// Appends a row as [`store`](super::rows::store) wrote it.
    pub(super) fn append(&mut self, row: &mut StoredRow<'_>) {
        let text_bytes = row.text_bytes_left();
        self.append_identity(row);
        if row.count() == 1 {
            self.append_normalized(row);
        } else {
            self.append_unnormalized();
        }
        self.normalize_error.append_option(row.text());
        self.append_redacted(row);
        if let Some(raw) = &mut self.raw {
            raw.append_value(row.text().unwrap_or_default());
        }
        self.rows += 1;
        self.bytes += text_bytes - row.text_bytes_left();
    }

    fn append_identity(&mut self, row: &mut StoredRow<'_>) {
        self.schema_version.append_value(SCHEMA_VERSION);
        self.timestamp.append_value(row.time.as_micros());
        self.id.append_value(row.text().unwrap_or_default());
        let has_version = row.count() == 1;
        self.version.append_option(has_version.then(|| row.number()));
        self.vendor.append_value(row.text().unwrap_or_default());
        self.source.append_value(row.text().unwrap_or_default());
        self.tenant.append_option(row.text());
        self.vendor_event_id.append_option(row.text());
        self.observed_at.append_value(row.number());
    }

    fn append_normalized(&mut self, row: &mut StoredRow<'_>) {
        self.event_type.append_option(row.text());
        self.action.append_option(row.text());
        self.category.append_option(row.text());
        self.outcome.append_option(row.text());
        self.message.append_option(row.text());
        append_actor(&mut self.actor, row);
        append_optional_texts(&mut self.target, row);
        append_list(&mut self.grants, row, append_grant);
        append_list(&mut self.related, row, append_texts);
        append_list(&mut self.changes, row, append_texts);
    }

    fn append_unnormalized(&mut self) {
        for column in [&mut self.event_type, &mut self.action, &mut self.category, &mut self.outcome, &mut self.message]
        {
            column.append_null();
        }
        append_no_actor(&mut self.actor);
        append_no_texts(&mut self.target);
        self.grants.append(false);
        self.related.append(false);
        self.changes.append(false);
    }

    /// Nothing redacted is null, as in the native form.
    fn append_redacted(&mut self, row: &mut StoredRow<'_>) {
        let count = row.count();
        for _ in 0..count {
            self.redacted.values().append_option(row.text());
        }
        self.redacted.append(count > 0);
    }

    /// Returns the slice and starts the next one.
    pub(super) fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        self.bytes = 0;
        let mut arrays: Vec<ArrayRef> = vec![
            finished(&mut self.schema_version),
            finished(&mut self.id),
            finished(&mut self.version),
            finished(&mut self.vendor),
            finished(&mut self.source),
            finished(&mut self.tenant),
            finished(&mut self.vendor_event_id),
            finished(&mut self.event_type),
            finished(&mut self.action),
            finished(&mut self.category),
            finished(&mut self.outcome),
            finished(&mut self.message),
            finished(&mut self.timestamp),
            finished(&mut self.observed_at),
            finished(&mut self.actor),
            finished(&mut self.target),
            finished(&mut self.grants),
            finished(&mut self.related),
            finished(&mut self.changes),
            finished(&mut self.normalize_error),
            finished(&mut self.redacted),
        ];
        arrays.extend(self.raw.as_mut().map(|raw| finished(raw)));
        RecordBatch::try_new(Arc::clone(&self.schema), arrays)
    }
}

fn struct_of(kind: Option<&DataType>) -> StructBuilder {
    let fields = kind.and_then(|kind| if let DataType::Struct(fields) = kind { Some(fields.clone()) } else { None });
    StructBuilder::from_fields(fields.expect("the layout makes this field a struct"), 0)
}

fn list_of(schema: &Schema, name: &str) -> ListBuilder<StructBuilder> {
    let element = element_of(schema, name);
    ListBuilder::new(struct_of(Some(element.data_type()))).with_field(element)
}

fn texts_of(schema: &Schema, name: &str) -> ListBuilder<StringBuilder> {
    ListBuilder::new(StringBuilder::new()).with_field(element_of(schema, name))
}

fn element_of(schema: &Schema, name: &str) -> FieldRef {
    let element = schema.field_with_name(name).ok().and_then(|list| match list.data_type() {
        DataType::List(element) => Some(Arc::clone(element)),
        _ => None,
    });
    element.expect("the layout makes this field a list")
}

fn finished(builder: &mut dyn ArrayBuilder) -> ArrayRef {
    builder.finish()
}

/// The index of `on_behalf_of` in the actor's struct, after the strings.
const ON_BEHALF_OF: usize = 6;

fn append_actor(actor: &mut StructBuilder, row: &mut StoredRow<'_>) {
    for index in 0..ON_BEHALF_OF {
        text_column(actor, index).append_option(row.text());
    }
    append_optional_texts(struct_column(actor, ON_BEHALF_OF), row);
    actor.append(true);
}

fn append_no_actor(actor: &mut StructBuilder) {
    for index in 0..ON_BEHALF_OF {
        text_column(actor, index).append_null();
    }
    append_no_texts(struct_column(actor, ON_BEHALF_OF));
    actor.append(false);
}

fn append_grant(grant: &mut StructBuilder, row: &mut StoredRow<'_>) {
    text_column(grant, 0).append_option(row.text());
    append_texts(struct_column(grant, 1), row);
    text_column(grant, 2).append_option(row.text());
    let admin: &mut BooleanBuilder = grant.field_builder(3).expect("the layout makes this field a boolean");
    admin.append_option(row.flag());
    append_optional_texts(struct_column(grant, 4), row);
    grant.append(true);
}

fn append_list(
    list: &mut ListBuilder<StructBuilder>,
    row: &mut StoredRow<'_>,
    append_item: fn(&mut StructBuilder, &mut StoredRow<'_>),
) {
    for _ in 0..row.count() {
        append_item(list.values(), row);
    }
    list.append(true);
}

/// Appends to a struct of strings that may be null.
fn append_optional_texts(fields: &mut StructBuilder, row: &mut StoredRow<'_>) {
    if row.count() == 1 {
        append_texts(fields, row);
    } else {
        append_no_texts(fields);
    }
}

/// Appends to a struct of strings.
fn append_texts(fields: &mut StructBuilder, row: &mut StoredRow<'_>) {
    for index in 0..fields.num_fields() {
        text_column(fields, index).append_option(row.text());
    }
    fields.append(true);
}

/// Appends null to a struct of strings.
fn append_no_texts(fields: &mut StructBuilder) {
    for index in 0..fields.num_fields() {
        text_column(fields, index).append_null();
    }
    fields.append(false);
}

fn text_column(fields: &mut StructBuilder, index: usize) -> &mut StringBuilder {
    fields.field_builder(index).expect("the layout makes this field a text")
}

fn struct_column(fields: &mut StructBuilder, index: usize) -> &mut StructBuilder {
    fields.field_builder(index).expect("the layout makes this field a struct")
}
