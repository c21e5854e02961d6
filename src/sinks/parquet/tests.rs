//! Files are read back with the library's own reader and compared with the native JSON form of the same events.

use std::borrow::Cow;
use std::io::{Seek as _, Write as _};
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch, StructArray};
use arrow_schema::{DataType, TimeUnit};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::FileReader as _;
use parquet::file::serialized_reader::{ReadOptionsBuilder, SerializedFileReader};
use parquet::file::statistics::Statistics;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::event::Event;
use crate::event::native::{self, RawForm};
use crate::event::{
    Action, Actor, ActorType, Category, Change, EventId, Grant, GrantEffect, Grantee, GranteeType, ObjectType,
    OnBehalfOf, Outcome, Related, Role, SCHEMA_VERSION, Scope, Target, Via,
};
use crate::simulator::{Simulator, SimulatorOptions};
use crate::sinks::EventForm;
use crate::sinks::testing::event;
use crate::time::Timestamp;
use crate::vendors::{NormalizerConfig, ReadContext, registry};

fn written(options: ParquetOptions, form: EventForm, events: &[Event<'_>]) -> Finished {
    let mut writer = ParquetWriter::new(options);
    for event in events {
        writer.push(event, form).expect("pushed");
    }
    writer.finish().expect("finished")
}

fn file_of(events: &[Event<'_>]) -> Finished {
    written(ParquetOptions::default(), EventForm::Normalized, events)
}

fn opened(file: &Finished) -> ParquetRecordBatchReaderBuilder<std::fs::File> {
    let mut disk = tempfile::tempfile().expect("a file");
    disk.write_all(&file.bytes).expect("written");
    disk.rewind().expect("rewound");
    ParquetRecordBatchReaderBuilder::try_new(disk).expect("a Parquet file")
}

fn metadata(file: &Finished) -> Arc<ParquetMetaData> {
    Arc::clone(opened(file).metadata())
}

/// The rows as JSON objects, nulls included.
fn rows(file: &Finished) -> Vec<Value> {
    let batches = opened(file).build().expect("a reader");
    batches.flat_map(|batch| rows_of_batch(&batch.expect("readable"))).collect()
}

fn rows_of_batch(batch: &RecordBatch) -> Vec<Value> {
    let rows = StructArray::from(batch.clone());
    (0..rows.len()).map(|row| value(&rows, row)).collect()
}

fn value(array: &dyn Array, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            micros_text(Timestamp::from_micros(array.as_primitive::<TimestampMicrosecondType>().value(row)))
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(items.as_ref(), item)).collect()
        }
        DataType::Struct(fields) => {
            let columns = array.as_struct().columns();
            let named = fields.iter().zip(columns).map(|(field, column)| (field.name().clone(), value(column, row)));
            Value::Object(named.collect())
        }
        other => panic!("no column should be {other}"),
    }
}

fn micros_text(at: Timestamp) -> Value {
    at.with_digits(6).to_string().into()
}

/// What the row of an event must be, by its native JSON form.
fn expected(event: &Event<'_>) -> Value {
    let mut line = Vec::new();
    native::encode(event, RawForm::String, &mut line);
    let mut fields: Map<String, Value> = serde_json::from_slice(&line).expect("valid JSON");
    for key in ["version", "normalize_error", "redacted"] {
        fields.entry(key).or_insert(Value::Null);
    }
    for key in ["timestamp", "observed_at"] {
        let at = Timestamp::parse_rfc3339(fields[key].as_str().expect("text")).expect("a time");
        fields[key] = micros_text(at);
    }
    Value::Object(fields)
}

fn expected_sorted(events: &[Event<'_>]) -> Vec<Value> {
    let mut sorted: Vec<_> = events.iter().collect();
    sorted.sort_by_key(|event| event.timestamp.to_micros());
    sorted.into_iter().map(expected).collect()
}

#[tokio::test]
async fn every_vendors_events_are_the_same_as_in_the_native_form() {
    let options = SimulatorOptions { events_per_vendor: 300, ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await.expect("a simulator");
    for vendor in simulator.control().vendors() {
        let records = registry::normalizer(&vendor.to_string(), &NormalizerConfig::default()).expect("a vendor");
        let truth = simulator.control().truth(vendor).expect("played");
        let context = ReadContext {
            source: "acme",
            observed_at: Timestamp::from_nanos(1_764_000_062_004_999_999),
            occurrence: 0,
        };
        let raws = truth.iter().map(|record| record.raw.as_str()).chain(["{}", "[1", ""]);
        let events: Vec<_> = raws.map(|raw| records.normalize(raw, &context)).collect();
        assert!(events.len() > 300);
        let rows = rows(&file_of(&events));
        assert_eq!(rows.len(), events.len());
        for (row, expected) in rows.iter().zip(expected_sorted(&events)) {
            assert_eq!(*row, expected);
        }
    }
}

#[test]
fn an_event_straight_from_a_source_has_its_record_and_what_tells_it_apart() {
    let mut event = event("{\"n\": 1.0}\n", "2026-01-02T03:04:05.123456789Z");
    event.tenant = Some("t1".into());
    let file = written(ParquetOptions::default(), EventForm::Raw, &[event.clone()]);
    let id = event.id.to_string();
    let expected = json!({
        "schema_version": SCHEMA_VERSION, "id": id, "version": null, "vendor": "clumio", "source": "acme",
        "tenant": "t1", "vendor_event_id": null, "event_type": null, "action": null, "category": null, "outcome": null,
        "message": null, "timestamp": "2026-01-02T03:04:05.123456Z", "observed_at": "2026-01-02T03:04:05.123456Z",
        "actor": null, "target": null, "grants": null, "related": null, "changes": null, "normalize_error": null, "redacted": null,
        "raw": "{\"n\": 1.0}\n",
    });
    assert_eq!(rows(&file), [expected]);
}

#[test]
fn raw_is_the_last_column_and_can_be_left_out() {
    let events = [event("{}", "2026-01-02T03:04:05Z")];
    let names = |file: &Finished| -> Vec<String> {
        opened(file).schema().fields().iter().map(|field| field.name().clone()).collect()
    };
    let with = names(&file_of(&events));
    let without = names(&written(
        ParquetOptions { with_raw: false, ..ParquetOptions::default() },
        EventForm::Normalized,
        &events,
    ));
    assert_eq!(with.last().map(String::as_str), Some("raw"));
    assert_eq!(without, with[..with.len() - 1]);
}

#[test]
fn rows_are_sorted_by_time_and_ties_keep_their_order() {
    let raws: Vec<String> = (0..10_000).map(|number| format!("{{\"n\":{number}}}")).collect();
    let events: Vec<_> = raws
        .iter()
        .enumerate()
        .map(|(number, raw)| event(raw, &format!("2026-01-02T03:{:02}:05Z", (number * 7) % 13)))
        .collect();
    let file = file_of(&events);
    assert_eq!(rows(&file), expected_sorted(&events));
    let time = |text| Timestamp::parse_rfc3339(text);
    assert_eq!((file.first_time, file.last_time), (time("2026-01-02T03:00:05Z"), time("2026-01-02T03:12:05Z")));
    assert_eq!(file.rows, 10_000);
}

/// A hundred thousand events, one a second: two row groups.
fn two_row_groups() -> Finished {
    let start = Timestamp::parse_rfc3339("2026-01-02T00:00:00Z").expect("a time");
    let mut writer = ParquetWriter::new(ParquetOptions::default());
    for number in 0..100_000_u64 {
        let mut event = event("{}", "2026-01-02T00:00:00Z");
        event.timestamp = start + std::time::Duration::from_secs(number);
        writer.push(&event, EventForm::Normalized).expect("pushed");
    }
    writer.finish().expect("finished")
}

#[test]
fn row_groups_have_statistics_that_prune_by_time() {
    let metadata = metadata(&two_row_groups());
    let spans: Vec<_> = metadata
        .row_groups()
        .iter()
        .map(|group| match group.columns().iter().find_map(|column| time_statistics(column)) {
            Some(Statistics::Int64(times)) => (*times.min_opt().expect("min"), *times.max_opt().expect("max")),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(spans.len(), 2);
    assert!(spans[0].0 < spans[0].1 && spans[0].1 < spans[1].0 && spans[1].0 < spans[1].1, "{spans:?}");
}

fn time_statistics(column: &parquet::file::metadata::ColumnChunkMetaData) -> Option<&Statistics> {
    (column.column_path().string() == "timestamp").then(|| column.statistics()).flatten()
}

#[test]
fn columns_are_encoded_as_their_values_ask_for() {
    let metadata = metadata(&two_row_groups());
    let group = metadata.row_group(0);
    let dictionaries: Vec<String> = group
        .columns()
        .iter()
        .filter(|column| column.dictionary_page_offset().is_some())
        .map(|column| column.column_path().string())
        .collect();
    for repeating in ["vendor", "source", "action", "category", "outcome", "event_type"] {
        assert!(dictionaries.contains(&repeating.to_owned()), "{repeating} of {dictionaries:?}");
    }
    for unique in ["id", "timestamp", "target.id", "related.list.element.id", "raw"] {
        assert!(!dictionaries.contains(&unique.to_owned()), "{unique} of {dictionaries:?}");
    }
    let without: Vec<String> = group
        .columns()
        .iter()
        .filter(|column| column.statistics().is_none())
        .map(|column| column.column_path().string())
        .collect();
    assert_eq!(without, ["raw"]);
    let sorted = group.sorting_columns().expect("sorting columns");
    assert_eq!(
        group.column(usize::try_from(sorted[0].column_idx).expect("an index")).column_path().string(),
        "timestamp"
    );
}

#[test]
fn the_footer_names_the_schema_and_nothing_of_this_build() {
    let metadata = metadata(&file_of(&[event("{}", "2026-01-02T00:00:00Z")]));
    let footer = metadata.file_metadata();
    assert_eq!(footer.created_by(), Some("auditflow version 1"));
    let keys = footer.key_value_metadata().expect("keys");
    assert_eq!(keys.len(), 1);
    assert_eq!((keys[0].key.as_str(), keys[0].value.as_deref()), ("auditflow.schema_version", Some(SCHEMA_VERSION)));
}

#[test]
fn bloom_filters_exclude_ids_and_addresses_that_a_file_does_not_have() {
    let people: Vec<String> = (0..50).map(|number| format!("p{number}@example.com")).collect();
    let raws: Vec<String> = (0..500).map(|number| format!("{{\"n\":{number}}}")).collect();
    let mut events: Vec<_> = raws.iter().map(|raw| event(raw, "2026-01-02T03:04:05Z")).collect();
    for (number, event) in events.iter_mut().enumerate() {
        event.id = EventId([0; 16].map(|_: u8| u8::try_from(number % 251).expect("small")));
        event.actor.email = Some(people[number % people.len()].as_str().into());
    }
    for bloom_filters in [true, false] {
        let options = ParquetOptions { bloom_filters, ..ParquetOptions::default() };
        let file = written(options, EventForm::Normalized, &events);
        let mut disk = tempfile::tempfile().expect("a file");
        disk.write_all(&file.bytes).expect("written");
        let properties = ReaderProperties::builder().set_read_bloom_filter(true).build();
        let options = ReadOptionsBuilder::new().with_reader_properties(properties).build();
        let reader = SerializedFileReader::new_with_options(disk, options).expect("a Parquet file");
        let group = reader.get_row_group(0).expect("a row group");
        let filter = |name: &str| {
            let is_it = |index: &usize| group.metadata().column(*index).column_path().string() == name;
            group.get_column_bloom_filter((0..group.num_columns()).find(is_it).expect("a column"))
        };
        let filters = (0..group.num_columns()).filter(|index| group.get_column_bloom_filter(*index).is_some());
        assert_eq!(filters.count(), if bloom_filters { 2 } else { 0 });
        let (Some(ids), Some(emails)) = (filter("id"), filter("actor.email")) else { continue };
        assert!(events.iter().all(|event| ids.check(&event.id.to_string().as_str())));
        assert!(people.iter().all(|person| emails.check(&person.as_str())));
        let absent = (0..1_000).filter(|number| emails.check(&format!("q{number}@example.com").as_str())).count();
        assert!(absent < 50, "{absent} of 1,000 absent addresses are not excluded");
        assert!(file.bytes.len() < 50_000, "{} bytes for {} events", file.bytes.len(), events.len());
    }
}

#[test]
fn every_field_has_an_id_of_its_own() {
    use parquet::schema::types::Type;
    fn ids_of(field: &Type, ids: &mut Vec<i32>) {
        let info = field.get_basic_info();
        // The group inside a list has no name of ours and no id.
        if info.name() != "list" {
            assert!(info.has_id() && info.id() > 0, "{} has no id", info.name());
            ids.push(info.id());
        }
        if field.is_group() {
            field.get_fields().iter().for_each(|child| ids_of(child, ids));
        }
    }
    let file = file_of(&[event("{}", "2026-01-02T03:04:05Z")]);
    let metadata = metadata(&file);
    let columns = metadata.file_metadata().schema().get_fields();
    let mut ids = Vec::new();
    columns.iter().for_each(|column| ids_of(column, &mut ids));
    let actor = columns.iter().find(|column| column.name() == "actor").expect("an actor");
    assert_eq!((columns[0].get_basic_info().id(), actor.get_basic_info().id()), (1, 15));
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), ids.last().copied()), (all, i32::try_from(all).ok()), "the ids are 1 to {all}");
}

#[test]
fn equal_events_are_equal_bytes_in_every_compression() {
    let raws: Vec<String> = (0..500).map(|number| format!("{{\"n\":{number}}}")).collect();
    let events: Vec<_> = raws.iter().map(|raw| event(raw, "2026-01-02T03:04:05Z")).collect();
    let mut sizes = std::collections::BTreeSet::new();
    for compression in [ParquetCompression::Zstd, ParquetCompression::Snappy, ParquetCompression::None] {
        let options = ParquetOptions { compression, ..ParquetOptions::default() };
        let file = written(options, EventForm::Normalized, &events);
        assert_eq!(file, written(options, EventForm::Normalized, &events));
        assert_eq!(rows(&file), expected_sorted(&events));
        sizes.insert(file.bytes.len());
    }
    assert_eq!(sizes.len(), 3);
}

#[test]
fn a_file_without_events_is_a_valid_file() {
    let file = file_of(&[]);
    assert_eq!((file.rows, file.first_time, file.last_time), (0, None, None));
    assert_eq!(rows(&file), Vec::<Value>::new());
}

#[test]
fn large_records_are_spread_over_slices_and_row_groups() {
    let noise = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        (0..5 << 20).map(|_| random.alphanumeric()).collect::<String>()
    };
    let raws: Vec<String> = (0..20).map(noise).collect();
    let events: Vec<_> = raws.iter().map(|raw| event(raw, "2026-01-02T03:04:05Z")).collect();
    let file = file_of(&events);
    assert!(metadata(&file).num_row_groups() > 1);
    for (row, raw) in rows(&file).iter().zip(&raws) {
        assert!(row["raw"] == raw.as_str());
    }
}

#[test]
fn buffered_bytes_are_reported() {
    let mut writer = ParquetWriter::new(ParquetOptions::default());
    let raw = "x".repeat(2_000);
    let event = event(&raw, "2026-01-02T03:04:05Z");
    let mut before = writer.buffered_bytes();
    for _ in 0..10 {
        for _ in 0..1_000 {
            writer.push(&event, EventForm::Normalized).expect("pushed");
        }
        let grown = writer.buffered_bytes() - before;
        assert!((1_000_000..5_000_000).contains(&grown), "{grown}");
        before = writer.buffered_bytes();
    }
    assert!((20_000_000..25_000_000).contains(&before), "{before}");
}

fn any_text() -> impl Strategy<Value = Cow<'static, str>> {
    prop_oneof![Just(String::new()), "[a-c]{1,3}", any::<String>()].prop_map(Cow::Owned)
}

fn any_object() -> impl Strategy<Value = Target<'static>> {
    let texts = [option::of(any_text()), option::of(any_text()), option::of(any_text()), option::of(any_text())];
    (proptest::sample::select(ObjectType::ALL), texts).prop_map(|(kind, [vendor_type, id, name, email])| Target {
        kind,
        vendor_type,
        id,
        name,
        email,
    })
}

fn any_user() -> impl Strategy<Value = OnBehalfOf<'static>> {
    any_object().prop_map(|Target { id, name, email, .. }| OnBehalfOf { id, name, email })
}

fn any_actor() -> impl Strategy<Value = Actor<'static>> {
    let enums = (proptest::sample::select(ActorType::ALL), proptest::sample::select(Via::ALL));
    (enums, any_object(), option::of(any_user())).prop_map(|((kind, via), who, on_behalf_of)| Actor {
        kind,
        id: who.id,
        name: who.name,
        email: who.email,
        ip: who.vendor_type,
        via,
        on_behalf_of,
    })
}

fn any_grant() -> impl Strategy<Value = Grant<'static>> {
    let enums = (proptest::sample::select(GrantEffect::ALL), proptest::sample::select(GranteeType::ALL));
    (enums, any_object(), option::of(any::<bool>()), option::of(any_object())).prop_map(
        |((effect, kind), who, admin, scope)| Grant {
            effect,
            grantee: Grantee { kind, id: who.id, name: who.name, email: who.email },
            privilege: who.vendor_type,
            admin,
            scope: scope.map(|scope| Scope::from(&scope)),
        },
    )
}

fn any_related() -> impl Strategy<Value = Related<'static>> {
    (proptest::sample::select(Role::ALL), any_object()).prop_map(|(role, object)| Related { role, object })
}

fn any_change() -> impl Strategy<Value = Change<'static>> {
    let values = (any_text(), option::of(any_text()), option::of(any_text()));
    values.prop_map(|(field, old, new)| Change { field, old, new })
}

fn any_time() -> impl Strategy<Value = Timestamp> {
    // The first second that can be held has no whole second before it, so it cannot be written without digits.
    let widest = i64::MIN + 1_000_000_000..=i64::MAX;
    prop_oneof![-5..5_i64, widest].prop_map(Timestamp::from_nanos)
}

prop_compose! {
    fn any_words()(
        action in proptest::sample::select(Action::ALL),
        category in proptest::sample::select(Category::ALL),
        outcome in proptest::sample::select(Outcome::ALL),
        vendor in proptest::sample::select(registry::NAMES),
    ) -> (Action, Category, Outcome, &'static str) {
        (action, category, outcome, vendor)
    }
}

prop_compose! {
    fn any_event()(
        id in any::<[u8; 16]>(),
        version in option::of(0..=i64::MAX.unsigned_abs()),
        (action, category, outcome, vendor) in any_words(),
        [event_type, raw] in [any_text(), any_text()],
        [tenant, vendor_event_id, message, error] in
            [option::of(any_text()), option::of(any_text()), option::of(any_text()), option::of(any_text())],
        (timestamp, observed_at) in (any_time(), any_time()),
        (actor, target) in (any_actor(), option::of(any_object())),
        grants in prop::collection::vec(any_grant(), 0..3),
        related in prop::collection::vec(any_related(), 0..3),
        changes in prop::collection::vec(any_change(), 0..3),
        redacted in prop::collection::vec(any_text().prop_map(Cow::into_owned), 0..3),
    ) -> Event<'static> {
        Event {
            id: EventId(id), version, vendor, product: None, original_time: None, source: "acme", tenant, vendor_event_id, event_type, action, category,
            outcome, message, timestamp, observed_at, actor, target, grants, related, changes,
            normalize_error: error.map(Cow::into_owned), redacted, raw: Box::leak(raw.into_owned().into_boxed_str()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_events_come_back_as_their_native_form(events in prop::collection::vec(any_event(), 0..20)) {
        let file = file_of(&events);
        prop_assert_eq!(rows(&file), expected_sorted(&events));
        prop_assert_eq!(file.rows, events.len() as u64);
        prop_assert_eq!(file, file_of(&events));
    }
}
