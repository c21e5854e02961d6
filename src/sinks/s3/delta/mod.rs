//! A Delta table over the sink's objects: readers see a batch when its commit is in the table's log, whole or not at all.
//!
//! ```text
//! before the first put   the log is read up to its newest version: the position in it (`txn`) is the one that was last seen
//! objects, manifest      put as without a table; nobody sees them yet
//! commit                 PUT _delta_log/<next version>.json, If-None-Match: *      {commitInfo, txn, add...}
//!                          created             -> done
//!                          412, 409, no answer -> the log is read again:
//!                            our position and our token -> the answer was lost: done
//!                            the position as before     -> 412: the next version; else the batch is retried
//!                            anything else              -> another process writes with this journal: the sink stops
//! every 100 versions     a checkpoint; failing to write one is a warning
//! ```
//!
//! The position is in the log under a name that contains the journal's identity and the sink's generation. It survives
//! compaction. A commit names the process that first put something for its batch (its token): bytes do not identify it, since
//! a later attempt has another time. The log is written here and needs no library: protocol 1/2, which every engine reads.

mod actions;
mod checkpoint;
pub(super) mod layout;
mod log;
mod schema;
mod snapshot;
mod store;

use std::collections::BTreeMap;

use serde_json::json;

use self::actions::{Add, Entry, FileFormat, MetaData, Protocol, Txn};
use self::layout::{TableLayout, names_of};
use self::log::{CommitNote, Head, Log, name_of, refused};
use self::schema::StructType;
use super::error::transient;
use super::upload::Store;
use crate::clock::SharedClock;
use crate::journal::{RollbackRecord, Seq};
use crate::shard::state_option;
use crate::sinks::manifest::{ManifestObject, sha256_hex};
use crate::sinks::table_state::TableState;
use crate::sinks::template::Template;
use crate::sinks::{BatchRange, SinkError, StoredPosition, parquet};
use crate::time::Timestamp;

/// Versions between two checkpoints.
const CHECKPOINT_EVERY: i64 = 100;

/// How often a commit looks for the next free version before the batch is retried.
const MOST_TRIES: usize = 50;

/// The table that a sink writes to.
#[derive(Debug)]
pub(super) struct Table {
    layout: TableLayout,
    schema: StructType,
    pipeline: String,
    sink: String,
    /// This sink in the log; empty until its journal is known.
    app: String,
    clock: SharedClock,
    head: Head,
    /// The position in the log when this sink last saw it.
    position: Seq,
    /// The end of the batch that an earlier process left unfinished.
    up_to: Seq,
    /// The last event of a batch that is written again, and the process that first put something for it.
    token: Option<(Seq, String)>,
    has_looked: bool,
}

/// What is committed.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableBatch<'a> {
    pub(super) range: BatchRange,
    pub(super) rows: u64,
    pub(super) objects: &'a [ManifestObject],
    /// The manifest's key and its SHA-256.
    pub(super) manifest: Option<(&'a str, &'a str)>,
}

impl Table {
    /// The table at a key prefix that was checked.
    pub(super) fn new(
        prefix: &Template,
        with_raw: bool,
        clock: &SharedClock,
        pipeline: &str,
        sink: &str,
    ) -> Option<Self> {
        let columns = parquet::fields(with_raw);
        let layout = TableLayout::of(prefix, &names_of(&columns)).ok()?;
        Some(Self {
            schema: StructType::of(&columns, &layout.partitions),
            layout,
            pipeline: pipeline.to_owned(),
            sink: sink.to_owned(),
            app: String::new(),
            clock: clock.clone(),
            head: Head::default(),
            position: 0,
            up_to: 0,
            token: None,
            has_looked: false,
        })
    }

    /// Whether the store can hold the table, and the table can be written.
    pub(super) async fn check(&mut self, store: &mut Store, name: &str) -> Result<(), SinkError> {
        let hint = "`table: delta` needs a store that heeds it, as AWS S3 and MinIO do: use one, or remove `table`";
        store.expect_conditional_puts(&self.layout.log_key(&format!("_auditflow-check-{name}")), hint).await?;
        self.look(store).await?;
        self.growth().map(drop)
    }

    /// At the start of the sink: the position in the log.
    pub(super) async fn open(
        &mut self,
        store: &mut Store,
        stored: StoredPosition<'_>,
    ) -> Result<Option<Seq>, SinkError> {
        let generation = if stored.generation == 0 { String::new() } else { format!(".{}", stored.generation) };
        self.app = format!("auditflow/{}/{}/{}{generation}", self.pipeline, self.sink, stored.journal);
        self.head = Head::default();
        self.look(store).await?;
        self.growth()?;
        let position = self.found();
        if position > stored.up_to {
            return Err(self.of_a_later_state(position, stored.up_to));
        }
        self.position = position;
        self.up_to = stored.up_to;
        Ok(Some(position))
    }

    /// The position in the log, as far as it was read.
    fn found(&self) -> Seq {
        self.head.own.as_ref().map_or(0, |own| own.position)
    }

    /// Starts a batch.
    pub(super) fn begin(&mut self) {
        self.has_looked = false;
    }

    /// The current batch is written again; before the first one, the batch that an earlier process left unfinished.
    pub(super) fn retry(&mut self, range: BatchRange, records: &[RollbackRecord]) {
        let last = self.last_of(range);
        self.token = records.iter().find_map(|record| match record {
            RollbackRecord::S3Object(object) => Some((last, object.token.clone()?)),
            _ => None,
        });
    }

    fn last_of(&self, range: BatchRange) -> Seq {
        if range.last == 0 { self.up_to } else { range.last }
    }

    /// The current batch is given up.
    pub(super) fn give_up(&mut self) {
        self.token = None;
    }

    /// Whether the table has the batch. Then nothing of it may be deleted or put again: an engine may have rewritten it.
    pub(super) fn has(&self, range: BatchRange) -> bool {
        range.last > 0 && self.position >= range.last
    }

    /// The same of the current batch; before the first one, of the batch that an earlier process left unfinished.
    pub(super) fn has_latest(&self, range: BatchRange) -> bool {
        self.has(BatchRange { last: self.last_of(range), ..range })
    }

    /// Whether an object with this key would be one of this table.
    pub(super) fn contains(&self, key: &str) -> bool {
        key.starts_with(&self.layout.root)
    }

    /// The hash of the manifest of the last commit, if the log still says so.
    pub(super) fn manifest_hash(&self) -> Option<String> {
        self.head.own.as_ref()?.note.as_ref()?.manifest_sha256.clone()
    }

    /// The table as the last commit of this sink left it, which added these files.
    pub(super) fn state(&self, files: u64, rows: u64) -> Option<TableState> {
        let version = u64::try_from(self.head.own.as_ref()?.version).ok()?;
        let checkpoint = self.head.checkpoint.and_then(|checkpoint| u64::try_from(checkpoint).ok());
        Some(TableState { version, checkpoint, files, rows })
    }

    /// Before the first put of a batch: nobody else has written with this journal.
    pub(super) async fn prepare(&mut self, store: &mut Store, range: BatchRange) -> Result<(), SinkError> {
        if self.has_looked || self.has(range) {
            return Ok(());
        }
        self.look(store).await?;
        self.expect_position(store, range)?;
        self.growth()?;
        self.has_looked = true;
        Ok(())
    }

    async fn look(&mut self, store: &mut Store) -> Result<(), SinkError> {
        let Self { layout, app, head, .. } = self;
        Log { layout, app }.advance(store, head).await
    }

    /// The position is as before, or it is that of this batch, and an answer was lost.
    fn expect_position(&mut self, store: &Store, range: BatchRange) -> Result<(), SinkError> {
        let found = self.found();
        // Engines may forget it, if a table's properties say so; and a table may have been replaced.
        if found == 0 || (found == self.position && !(range.first..range.last).contains(&found)) {
            return Ok(());
        }
        let note = self.head.own.as_ref().and_then(|own| own.note.as_ref());
        if found == range.last && note.is_some_and(|note| note.token == self.token(store, range)) {
            self.position = found;
            return Ok(());
        }
        Err(self.of_another_process(found))
    }

    /// The process that first put something for the batch. A batch that the table already had leaves its own behind.
    fn token<'a>(&'a self, store: &'a Store, range: BatchRange) -> &'a str {
        let earlier = self.token.as_ref().filter(|(last, _)| *last == range.last);
        earlier.map_or(store.token(), |(_, token)| token)
    }

    /// Makes the batch a part of the table: once, whatever was lost on the way.
    pub(super) async fn commit(&mut self, store: &mut Store, batch: TableBatch<'_>) -> Result<(), SinkError> {
        for _ in 0..MOST_TRIES {
            if self.has(batch.range) {
                return Ok(());
            }
            let version = self.head.version.map_or(0, |version| version + 1);
            let entries = self.entries(store, batch)?;
            let put = store.put_new(&self.layout.log_key(&name_of(version)), actions::encode(&entries)).await;
            if let Ok(true) = put {
                self.head.apply(version, &entries, &self.app)?;
                self.position = batch.range.last;
                self.checkpoint_if_due(store, version).await;
                return Ok(());
            }
            self.look(store).await?;
            self.expect_position(store, batch.range)?;
            if !self.has(batch.range) {
                put?;
            }
        }
        let message = format!("others commit to the Delta table {} all the time", self.place());
        Err(transient(message, "see who writes to it: auditflow and a compaction now and then are enough"))
    }

    fn entries(&self, store: &Store, batch: TableBatch<'_>) -> Result<Vec<Entry>, SinkError> {
        let now = self.clock.now().as_millis();
        let (first, last) = (batch.range.first, batch.range.last);
        let note = CommitNote {
            first,
            last,
            rows: batch.rows,
            token: self.token(store, batch.range).to_owned(),
            manifest: batch.manifest.map(|(key, _)| key.to_owned()),
            manifest_sha256: batch.manifest.map(|(_, hash)| hash.to_owned()),
        };
        let info = json!({
            "timestamp": now,
            "operation": "WRITE",
            "operationParameters": {"mode": "Append"},
            "isBlindAppend": true,
            "engineInfo": concat!("auditflow/", env!("CARGO_PKG_VERSION")),
            "userMetadata": serde_json::to_string(&note).expect("plain fields always become JSON"),
        });
        let mut entries = vec![Entry { commit_info: Some(info), ..Entry::default() }];
        if self.head.version.is_none() {
            let protocol = Protocol { min_reader_version: 1, min_writer_version: 2 };
            entries.push(Entry { protocol: Some(protocol), ..Entry::default() });
        }
        entries.extend(self.growth()?.map(|metadata| Entry { meta_data: Some(metadata), ..Entry::default() }));
        let version = i64::try_from(last).unwrap_or(i64::MAX);
        let txn = Txn { app_id: self.app.clone(), version, last_updated: Some(now) };
        entries.push(Entry { txn: Some(txn), ..Entry::default() });
        entries
            .extend(batch.objects.iter().map(|object| Entry { add: Some(self.add(object, now)), ..Entry::default() }));
        Ok(entries)
    }

    fn add(&self, object: &ManifestObject, now: i64) -> Add {
        let (path, partition_values) = self.layout.path_of(&object.key);
        // Readers take these for exact to the millisecond: the latest time is rounded up.
        let latest = Timestamp::from_nanos(object.last_time.as_nanos().saturating_add(999_999));
        let stats = json!({
            "numRecords": object.rows,
            "minValues": {"timestamp": millis_of(object.first_time)},
            "maxValues": {"timestamp": millis_of(latest)},
        });
        Add {
            path,
            partition_values,
            size: i64::try_from(object.size).unwrap_or(i64::MAX),
            modification_time: now,
            data_change: true,
            stats: Some(stats.to_string()),
            tags: None,
        }
    }

    /// The metadata that the next commit writes: that of a new table, or new columns.
    fn growth(&self) -> Result<Option<MetaData>, SinkError> {
        let Some(metadata) = &self.head.metadata else { return Ok(Some(self.new_metadata())) };
        let ours = self.layout.partitions.iter().map(|partition| &partition.name);
        if !metadata.partition_columns.iter().eq(ours) {
            let partitions = metadata.partition_columns.join(", ");
            return Err(refused(&format!("it is partitioned by ({partitions}), and `key_prefix` is not")));
        }
        let schema: Result<StructType, _> = serde_json::from_str(&metadata.schema_string);
        let mut schema = schema.map_err(|error| refused(&format!("its schema cannot be read: {error}")))?;
        let has_grown = schema.grow(&self.schema).map_err(|reason| refused(&reason))?;
        Ok(has_grown.then(|| MetaData { schema_string: schema.encode(), ..metadata.clone() }))
    }

    fn new_metadata(&self) -> MetaData {
        let now = self.clock.now();
        let hash = sha256_hex(format!("{} {} {}", self.app, self.layout.root, now.as_nanos()).as_bytes());
        let id = [&hash[..8], &hash[8..12], &hash[12..16], &hash[16..20], &hash[20..32]].join("-");
        MetaData {
            id,
            name: None,
            description: None,
            format: FileFormat { provider: "parquet".to_owned(), options: BTreeMap::new() },
            schema_string: self.schema.encode(),
            partition_columns: self.layout.partitions.iter().map(|partition| partition.name.clone()).collect(),
            created_time: Some(now.as_millis()),
            configuration: BTreeMap::from([("delta.appendOnly".to_owned(), "true".to_owned())]),
        }
    }

    async fn checkpoint_if_due(&mut self, store: &mut Store, version: i64) {
        let newest = self.head.checkpoint.max(self.head.tried).unwrap_or(0);
        if version - newest < CHECKPOINT_EVERY {
            return;
        }
        let now = self.clock.now().as_millis();
        let written = Log { layout: &self.layout, app: &self.app }.write_checkpoint(store, now).await;
        // After an error it is tried again a hundred versions later: nothing but the readers' speed depends on it.
        self.head.tried = Some(version);
        match written {
            Ok(version) => self.head.checkpoint = Some(version),
            Err(error) => tracing::warn!(
                event = "checkpoint_failed",
                sink = self.sink,
                version,
                %error,
                "cannot write a checkpoint of the Delta table; the table is complete without it"
            ),
        }
    }

    fn place(&self) -> &str {
        if self.layout.root.is_empty() { "at the root of the bucket" } else { &self.layout.root }
    }

    fn of_another_process(&self, found: Seq) -> SinkError {
        stopped(
            format!(
                "another process writes to the Delta table {} with a copy of this journal: the table's position is {found}, and this sink has committed up to {}",
                self.place(),
                self.position
            ),
            &self.take_over_hint(),
        )
    }

    fn of_a_later_state(&self, found: Seq, up_to: Seq) -> SinkError {
        stopped(
            format!(
                "the Delta table {} holds events up to {found}, and the journal has delivered up to {up_to}: data_dir was restored from a backup or is a copy",
                self.place()
            ),
            &self.take_over_hint(),
        )
    }

    fn take_over_hint(&self) -> String {
        format!(
            "stop the other process, if there is one, and use the newest data_dir; if it is lost: `auditflow state rename FILE {} --to NEW_NAME{}`, after which the events since the copy are in the table twice, with the same ids (docs/operating.md, Restore)",
            self.sink,
            state_option(&self.pipeline)
        )
    }

    /// `auditflow state adopt`: only what this sink has not written can be taken over.
    pub(super) async fn adopt(&mut self, store: &mut Store, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        self.open(store, stored).await.map(drop)
    }
}

fn millis_of(time: Timestamp) -> String {
    Timestamp::from_millis(time.as_millis()).to_string()
}

fn stopped(message: String, hint: &str) -> SinkError {
    SinkError::Stopped { message, hint: hint.to_owned() }
}
