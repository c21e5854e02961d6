//! Checkpoints: the state of the table at one version as a Parquet file, so that readers need not read each version.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray as _;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray, Int32Array, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{Field, Schema};
use axum::body::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::actions::{Add, Entry, FileFormat, MetaData, Protocol, Remove, Txn, Values};
use super::snapshot::Snapshot;

/// How long the log remembers a removed file, unless the table says otherwise: a week, in milliseconds.
const RETENTION_MILLIS: i64 = 7 * 86_400_000;

/// The property with which a table says otherwise.
const RETENTION: &str = "delta.deletedFileRetentionDuration";

// --- writing ---

/// The checkpoint's bytes, and the number of its entries.
pub(super) fn encode(snapshot: &Snapshot, now_millis: i64) -> Result<(Vec<u8>, usize), String> {
    let entries = entries_of(snapshot, now_millis);
    let batch = batch_of(&entries)?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).map_err(|error| error.to_string())?;
    writer.write(&batch).map_err(|error| error.to_string())?;
    Ok((writer.into_inner().map_err(|error| error.to_string())?, entries.len()))
}

fn entries_of(snapshot: &Snapshot, now_millis: i64) -> Vec<Entry> {
    let keeps_all = snapshot.metadata.as_ref().is_some_and(|metadata| metadata.configuration.contains_key(RETENTION));
    let is_kept = |remove: &&Remove| {
        keeps_all || remove.deletion_timestamp.is_some_and(|deleted| deleted > now_millis - RETENTION_MILLIS)
    };
    let mut entries = vec![
        Entry { protocol: snapshot.protocol.clone(), ..Entry::default() },
        Entry { meta_data: snapshot.metadata.clone(), ..Entry::default() },
    ];
    entries.extend(snapshot.txns.values().map(|txn| Entry { txn: Some(txn.clone()), ..Entry::default() }));
    let without_change = |add: &Add| Add { data_change: false, ..add.clone() };
    entries.extend(snapshot.adds.values().map(|add| Entry { add: Some(without_change(add)), ..Entry::default() }));
    let removes = snapshot.removes.values().filter(is_kept);
    entries.extend(
        removes
            .map(|remove| Entry { remove: Some(Remove { data_change: false, ..remove.clone() }), ..Entry::default() }),
    );
    entries
}

fn batch_of(entries: &[Entry]) -> Result<RecordBatch, String> {
    let txn = Rows::of(entries, |entry| entry.txn.as_ref()).structure(|rows| {
        vec![
            ("appId", rows.text(|txn| Some(&txn.app_id)), false),
            ("version", rows.long(|txn| Some(txn.version)), false),
            ("lastUpdated", rows.long(|txn| txn.last_updated), true),
        ]
    });
    let add = Rows::of(entries, |entry| entry.add.as_ref()).structure(|rows| {
        vec![
            ("path", rows.text(|add| Some(&add.path)), false),
            ("partitionValues", rows.map(|add| Some(&add.partition_values)), false),
            ("size", rows.long(|add| Some(add.size)), false),
            ("modificationTime", rows.long(|add| Some(add.modification_time)), false),
            ("dataChange", rows.flag(|add| Some(add.data_change)), false),
            ("tags", rows.map(|add| add.tags.as_ref()), true),
            ("stats", rows.text(|add| add.stats.as_deref()), true),
        ]
    });
    let remove = Rows::of(entries, |entry| entry.remove.as_ref()).structure(|rows| {
        vec![
            ("path", rows.text(|remove| Some(&remove.path)), false),
            ("deletionTimestamp", rows.long(|remove| remove.deletion_timestamp), true),
            ("dataChange", rows.flag(|remove| Some(remove.data_change)), false),
            ("extendedFileMetadata", rows.flag(|remove| remove.extended_file_metadata), true),
            ("partitionValues", rows.map(|remove| remove.partition_values.as_ref()), true),
            ("size", rows.long(|remove| remove.size), true),
        ]
    });
    let metadata = Rows::of(entries, |entry| entry.meta_data.as_ref()).structure(|rows| {
        let format = rows.of_each(|metadata| &metadata.format).structure(|rows| {
            vec![
                ("provider", rows.text(|format| Some(&format.provider)), false),
                ("options", rows.texts(|format| &format.options), true),
            ]
        });
        vec![
            ("id", rows.text(|metadata| Some(&metadata.id)), false),
            ("name", rows.text(|metadata| metadata.name.as_deref()), true),
            ("description", rows.text(|metadata| metadata.description.as_deref()), true),
            ("format", format, true),
            ("schemaString", rows.text(|metadata| Some(&metadata.schema_string)), false),
            ("partitionColumns", rows.list(|metadata| &metadata.partition_columns), false),
            ("createdTime", rows.long(|metadata| metadata.created_time), true),
            ("configuration", rows.texts(|metadata| &metadata.configuration), false),
        ]
    });
    let protocol = Rows::of(entries, |entry| entry.protocol.as_ref()).structure(|rows| {
        vec![
            ("minReaderVersion", rows.int(|protocol| Some(protocol.min_reader_version)), false),
            ("minWriterVersion", rows.int(|protocol| Some(protocol.min_writer_version)), false),
        ]
    });
    let columns = [("txn", txn), ("add", add), ("remove", remove), ("metaData", metadata), ("protocol", protocol)];
    let fields: Vec<_> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(|error| error.to_string())
}

/// One kind of entry in the rows of the file; most rows are of other kinds.
struct Rows<'a, T>(Vec<Option<&'a T>>);

/// The texts that stand for a value that its row does not have, below a struct that is null itself.
const NOTHING: &str = "";

impl<'a, T> Rows<'a, T> {
    fn of(entries: &'a [Entry], part: impl Fn(&'a Entry) -> Option<&'a T>) -> Self {
        Self(entries.iter().map(part).collect())
    }

    fn of_each<P>(&self, part: impl Fn(&'a T) -> &'a P) -> Rows<'a, P> {
        Rows(self.0.iter().map(|row| row.map(&part)).collect())
    }

    fn structure(self, fields: impl Fn(&Self) -> Vec<(&'static str, ArrayRef, bool)>) -> ArrayRef {
        let (mut types, mut arrays) = (Vec::new(), Vec::new());
        for (name, array, nullable) in fields(&self) {
            types.push(Field::new(name, array.data_type().clone(), nullable));
            arrays.push(array);
        }
        let present = self.0.iter().map(Option::is_some).collect::<Vec<_>>();
        Arc::new(StructArray::new(types.into(), arrays, Some(present.into())))
    }

    fn text(&self, part: impl Fn(&'a T) -> Option<&'a str>) -> ArrayRef {
        Arc::new(self.0.iter().map(|row| row.map_or(Some(NOTHING), &part)).collect::<StringArray>())
    }

    fn long(&self, part: impl Fn(&'a T) -> Option<i64>) -> ArrayRef {
        Arc::new(self.0.iter().map(|row| row.map_or(Some(0), &part)).collect::<Int64Array>())
    }

    fn int(&self, part: impl Fn(&'a T) -> Option<i32>) -> ArrayRef {
        Arc::new(self.0.iter().map(|row| row.map_or(Some(0), &part)).collect::<Int32Array>())
    }

    fn flag(&self, part: impl Fn(&'a T) -> Option<bool>) -> ArrayRef {
        Arc::new(self.0.iter().map(|row| row.map_or(Some(false), &part)).collect::<BooleanArray>())
    }

    fn list(&self, part: impl Fn(&'a T) -> &'a Vec<String>) -> ArrayRef {
        let mut list = ListBuilder::new(StringBuilder::new()).with_field(Field::new(
            "element",
            arrow_schema::DataType::Utf8,
            false,
        ));
        for row in &self.0 {
            for text in row.map(&part).into_iter().flatten() {
                list.values().append_value(text);
            }
            list.append(true);
        }
        Arc::new(list.finish())
    }

    fn texts(&self, part: impl Fn(&'a T) -> &'a BTreeMap<String, String>) -> ArrayRef {
        let mut map = map_builder();
        for row in &self.0 {
            for (key, value) in row.map(&part).into_iter().flatten() {
                map.keys().append_value(key);
                map.values().append_value(value);
            }
            map.append(true).expect("a value for each key");
        }
        Arc::new(map.finish())
    }

    fn map(&self, part: impl Fn(&'a T) -> Option<&'a Values>) -> ArrayRef {
        let mut map = map_builder();
        for row in &self.0 {
            let values = row.map(&part);
            for (key, value) in values.flatten().into_iter().flatten() {
                map.keys().append_value(key);
                map.values().append_option(value.as_deref());
            }
            map.append(!matches!(values, Some(None))).expect("a value for each key");
        }
        Arc::new(map.finish())
    }
}

fn map_builder() -> MapBuilder<StringBuilder, StringBuilder> {
    let names = MapFieldNames { entry: "key_value".to_owned(), key: "key".to_owned(), value: "value".to_owned() };
    MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new())
}

// --- reading ---

/// The entries of a checkpoint, of whatever engine.
pub(super) fn decode(bytes: Vec<u8>) -> Result<Vec<Entry>, String> {
    // The writer's Arrow schema could ask for other types of the same columns, as large strings.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(Bytes::from(bytes), options)
        .map_err(|error| error.to_string())?;
    let mut entries = Vec::new();
    for batch in builder.build().map_err(|error| error.to_string())? {
        let columns = StructArray::from(batch.map_err(|error| error.to_string())?);
        for row in 0..columns.len() {
            let all = Some(Row { columns: &columns, row });
            let part = |name: &str| all.as_ref().and_then(|all| all.part(name));
            entries.push(Entry {
                commit_info: None,
                protocol: part("protocol").map(|row| protocol_of(&row)),
                meta_data: part("metaData").map(|row| metadata_of(&row)).transpose()?,
                txn: part("txn").map(|row| txn_of(&row)).transpose()?,
                add: part("add").map(|row| add_of(&row)).transpose()?,
                remove: part("remove").map(|row| remove_of(&row)).transpose()?,
            });
        }
    }
    Ok(entries)
}

fn protocol_of(row: &Row<'_>) -> Protocol {
    Protocol {
        min_reader_version: row.int("minReaderVersion").unwrap_or(i32::MAX),
        min_writer_version: row.int("minWriterVersion").unwrap_or(i32::MAX),
    }
}

fn metadata_of(row: &Row<'_>) -> Result<MetaData, String> {
    let format = row.part("format");
    Ok(MetaData {
        id: needed(row.text("id"), "metaData.id")?,
        name: row.text("name"),
        description: row.text("description"),
        format: FileFormat {
            provider: format.as_ref().and_then(|format| format.text("provider")).unwrap_or_default(),
            options: plain(format.and_then(|format| format.map("options"))),
        },
        schema_string: needed(row.text("schemaString"), "metaData.schemaString")?,
        partition_columns: row.list("partitionColumns"),
        created_time: row.long("createdTime"),
        configuration: plain(row.map("configuration")),
    })
}

fn txn_of(row: &Row<'_>) -> Result<Txn, String> {
    Ok(Txn {
        app_id: needed(row.text("appId"), "txn.appId")?,
        version: needed(row.long("version"), "txn.version")?,
        last_updated: row.long("lastUpdated"),
    })
}

fn add_of(row: &Row<'_>) -> Result<Add, String> {
    Ok(Add {
        path: needed(row.text("path"), "add.path")?,
        partition_values: row.map("partitionValues").unwrap_or_default(),
        size: row.long("size").unwrap_or_default(),
        modification_time: row.long("modificationTime").unwrap_or_default(),
        data_change: false,
        stats: row.text("stats"),
        tags: row.map("tags"),
    })
}

fn remove_of(row: &Row<'_>) -> Result<Remove, String> {
    Ok(Remove {
        path: needed(row.text("path"), "remove.path")?,
        deletion_timestamp: row.long("deletionTimestamp"),
        data_change: false,
        extended_file_metadata: row.flag("extendedFileMetadata"),
        partition_values: row.map("partitionValues"),
        size: row.long("size"),
    })
}

/// A checkpoint that is read as less than it holds would be written out again as the newest one.
fn needed<T>(value: Option<T>, name: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("cannot read the checkpoint: a row has no `{name}`, or has it in an unknown type"))
}

fn plain(values: Option<Values>) -> BTreeMap<String, String> {
    values.into_iter().flatten().filter_map(|(key, value)| Some((key, value?))).collect()
}

/// One row of a struct. What it does not have, or has in another type, is `None`.
struct Row<'a> {
    columns: &'a StructArray,
    row: usize,
}

impl<'a> Row<'a> {
    fn column(&self, name: &str) -> Option<&'a ArrayRef> {
        self.columns.column_by_name(name).filter(|column| column.is_valid(self.row))
    }

    fn part(&self, name: &str) -> Option<Row<'a>> {
        Some(Row { columns: self.column(name)?.as_struct_opt()?, row: self.row })
    }

    fn text(&self, name: &str) -> Option<String> {
        Some(self.column(name)?.as_string_opt::<i32>()?.value(self.row).to_owned())
    }

    fn long(&self, name: &str) -> Option<i64> {
        Some(self.column(name)?.as_primitive_opt::<Int64Type>()?.value(self.row))
    }

    fn int(&self, name: &str) -> Option<i32> {
        Some(self.column(name)?.as_primitive_opt::<Int32Type>()?.value(self.row))
    }

    fn flag(&self, name: &str) -> Option<bool> {
        Some(self.column(name)?.as_boolean_opt()?.value(self.row))
    }

    fn list(&self, name: &str) -> Vec<String> {
        let list = self.column(name).and_then(|column| column.as_list_opt::<i32>());
        let Some(items) = list.map(|list| list.value(self.row)) else { return Vec::new() };
        let texts = items.as_string_opt::<i32>().into_iter().flatten();
        texts.flatten().map(str::to_owned).collect()
    }

    fn map(&self, name: &str) -> Option<Values> {
        let entries = self.column(name)?.as_map_opt()?.value(self.row);
        let keys = entries.column(0).as_string_opt::<i32>()?.iter().flatten().map(str::to_owned);
        let values = entries.column(1).as_string_opt::<i32>()?.iter().map(|value| value.map(str::to_owned));
        Some(keys.zip(values).collect())
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{LargeStringArray, StringViewArray};

    use super::super::actions;
    use super::*;

    const LOG: &str = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}
{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["a","b"],"createdTime":7,"configuration":{"delta.appendOnly":"true"}}}
{"txn":{"appId":"one","version":3,"lastUpdated":4}}
{"txn":{"appId":"two","version":9}}
{"add":{"path":"a=1/x.parquet","partitionValues":{"a":"1","b":null},"size":10,"modificationTime":5,"dataChange":true,"stats":"{\"numRecords\":2}"}}
{"add":{"path":"gone%20.parquet","partitionValues":{},"size":1,"modificationTime":5,"dataChange":true,"tags":{"k":"v"}}}
{"add":{"path":"stays.parquet","partitionValues":{},"size":1,"modificationTime":5,"dataChange":true,"tags":{"k":"v"}}}
{"remove":{"path":"gone%20.parquet","deletionTimestamp":1000000000000,"dataChange":false,"size":1}}
{"remove":{"path":"old.parquet","deletionTimestamp":1,"dataChange":false}}
"#;

    #[test]
    fn a_checkpoint_holds_the_state_of_the_table() {
        let mut snapshot = Snapshot::default();
        snapshot.apply(actions::decode(LOG.as_bytes()).expect("a log"));
        let (bytes, size) = encode(&snapshot, 1_000_000_000_000).expect("encoded");
        let entries = decode(bytes).expect("decoded");
        assert_eq!(entries.len(), size);
        let mut again = Snapshot::default();
        again.apply(entries);
        assert_eq!(again.protocol, snapshot.protocol);
        assert_eq!(again.metadata, snapshot.metadata);
        assert_eq!(again.txns, snapshot.txns);
        assert_eq!(again.adds.keys().collect::<Vec<_>>(), ["a=1/x.parquet", "stays.parquet"]);
        for (path, add) in &again.adds {
            assert_eq!(Add { data_change: true, ..add.clone() }, snapshot.adds[path]);
        }
        assert_eq!(again.removes.keys().collect::<Vec<_>>(), ["gone .parquet"], "an old one is forgotten");
        assert_eq!(again.removes["gone .parquet"], snapshot.removes["gone .parquet"]);
    }

    /// A checkpoint of another writer, with one row of one kind.
    fn written(kind: &str, columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
        let field =
            |(name, array): (&str, ArrayRef)| (Arc::new(Field::new(name, array.data_type().clone(), true)), array);
        let part: ArrayRef = Arc::new(StructArray::from(columns.into_iter().map(field).collect::<Vec<_>>()));
        let batch = RecordBatch::try_from_iter([(kind, part)]).expect("a batch");
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).expect("a writer");
        writer.write(&batch).expect("written");
        writer.into_inner().expect("a file")
    }

    #[test]
    fn strings_are_read_in_whatever_type_another_writer_had_them() {
        let strings: [fn(&'static str) -> ArrayRef; 3] = [
            |text| Arc::new(StringArray::from(vec![text])),
            |text| Arc::new(LargeStringArray::from(vec![text])),
            |text| Arc::new(StringViewArray::from(vec![text])),
        ];
        let version: ArrayRef = Arc::new(Int64Array::from(vec![3]));
        for string in strings {
            let txn = decode(written("txn", vec![("appId", string("one")), ("version", Arc::clone(&version))]));
            let expected = Txn { app_id: "one".to_owned(), version: 3, last_updated: None };
            assert_eq!(txn.expect("decoded")[0].txn, Some(expected));
            let add = decode(written("add", vec![("path", string("x.parquet"))])).expect("decoded");
            assert_eq!(add[0].add.as_ref().map(|add| &*add.path), Some("x.parquet"));
        }
    }

    #[test]
    fn a_checkpoint_that_cannot_be_read_is_not_an_empty_table() {
        let (text, number): (ArrayRef, ArrayRef) =
            (Arc::new(StringArray::from(vec!["x"])), Arc::new(Int64Array::from(vec![3])));
        for (kind, columns, missing) in [
            ("add", vec![("size", &number)], "add.path"),
            ("remove", vec![("path", &number)], "remove.path"),
            ("txn", vec![("version", &number)], "txn.appId"),
            ("txn", vec![("appId", &text)], "txn.version"),
            ("metaData", vec![("schemaString", &text)], "metaData.id"),
            ("metaData", vec![("id", &text)], "metaData.schemaString"),
        ] {
            let columns = columns.into_iter().map(|(name, array)| (name, Arc::clone(array))).collect();
            let reason = decode(written(kind, columns)).expect_err("refused");
            assert!(reason.contains("cannot read the checkpoint") && reason.contains(missing), "{reason}");
        }
    }
}
