//! The sink itself.
//!
//! ```text
//! write:    event -> partition (key_prefix) -> open object                                  (objects, writer)
//!                                                over the limit: the largest are closed
//! flush:    closed objects -> recorded: bucket, key -> put                                  (rollback, upload)
//! commit:   all objects closed and put -> manifest, last                                    (sinks::manifest)
//!           with a table: its log, last                                                     (delta)
//! rollback: manifest deleted, uploads aborted, objects deleted                              (rollback)
//! retry:    uploads aborted; what the next attempt would put again in the same bytes stays  (earlier)
//! ```
//!
//! Keys contain the partition and the batch's range, and the events alone determine the bytes: a repeated attempt puts the
//! same bytes at the same keys. Memory holds the open objects up to a limit and the objects that are being put, whatever the
//! size of the batch and the number of partitions.

use futures_util::future::BoxFuture;

use super::client::Connection;
use super::config::S3Config;
use super::delta::{Table, TableBatch};
use super::earlier::Earlier;
use super::error;
use super::marker::ObjectMarker;
use super::objects::{Keys, Objects};
use super::options::TableFormat;
use super::prefixes::Prefixes;
use super::rollback;
use super::state::StoredState;
use super::upload::{Put, Store};
use super::writer::{EncodeError, ObjectOptions};
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::{Event, EventId};
use crate::journal::{RollbackRecord, S3ObjectRecord, Seq};
use crate::sinks::blocking::blocking;
use crate::sinks::manifest::{MANIFEST_VERSION, Manifest, ManifestObject, sha256_hex};
use crate::sinks::orphans::roll_back_orphans;
use crate::sinks::template::Template;
use crate::sinks::{BatchRange, Committed, EventForm, RollbackLog, Sink, SinkError, StoredPosition, WriteOutcome};

/// The memory limit of all open objects together, in bytes.
const OPEN_BYTES: usize = 64 << 20;

/// Bytes of closed objects at which they are put.
const FLUSH_BYTES: usize = 8 << 20;

/// Puts events into a bucket.
#[derive(Debug)]
pub struct S3Sink {
    fingerprint: String,
    template: Template,
    prefixes: Prefixes,
    pub(super) keys: Keys,
    options: ObjectOptions,
    pub(super) store: Store,
    pub(super) open_bytes: usize,
    pub(super) batch: Batch,
    /// What an earlier attempt at the batch may have left.
    earlier: Earlier,
    chain: ManifestChain,
    marker: ObjectMarker,
    /// The table that the objects belong to.
    table: Option<Table>,
}

/// The current batch.
#[derive(Debug)]
pub(super) struct Batch {
    range: BatchRange,
    pub(super) objects: Objects,
    /// What has been put, for the manifest.
    put: Vec<ManifestObject>,
    events: u64,
    bytes: u64,
}

impl Batch {
    fn new(options: ObjectOptions, range: BatchRange) -> Self {
        Self { range, objects: Objects::new(options, range), put: Vec::new(), events: 0, bytes: 0 }
    }
}

/// The chain of manifests.
#[derive(Debug, Default)]
struct ManifestChain {
    /// The hash of the manifest before the current batch.
    previous: Option<String>,
    /// The batch and the hash of the newest manifest. The next batch shows whether its batch was kept.
    latest: Option<(BatchRange, String)>,
}

impl ManifestChain {
    fn begin(&mut self, range: BatchRange) {
        let kept = self.latest.take().filter(|(batch, _)| batch.last < range.first);
        if let Some((_, hash)) = kept {
            self.previous = Some(hash);
        }
    }
}

impl S3Config {
    /// Builds the sink called `sink` of the pipeline called `pipeline`. Does not connect.
    ///
    /// # Errors
    /// Every invalid setting.
    pub fn build(&self, clock: &SharedClock, pipeline: &str, sink: &str) -> Result<S3Sink, Vec<SettingDiagnostic>> {
        let problems = self.check();
        if !problems.is_empty() {
            return Err(problems);
        }
        let template = self.prefix_template()?;
        let options = self.object_options();
        let keys = Keys::new(pipeline, sink, self.manifests(&template), options.extension());
        let mut store =
            Store::new(Connection::new(self), self.bucket.clone(), self.headers(), self.request.concurrency(), clock);
        let batch = Batch::new(options, BatchRange { first: 0, last: 0 });
        let marker = ObjectMarker::new(pipeline, sink, template.fixed_start(), keys.name());
        let table =
            self.table.and_then(|TableFormat::Delta| Table::new(&template, self.with_raw(), clock, pipeline, sink));
        store.is_table = table.is_some();
        Ok(S3Sink {
            fingerprint: self.fingerprint(&template),
            template,
            prefixes: self.prefixes()?,
            keys,
            options,
            store,
            open_bytes: OPEN_BYTES,
            batch,
            earlier: Earlier::default(),
            chain: ManifestChain::default(),
            marker,
            table,
        })
    }
}

impl S3Sink {
    /// What a store says may repeat what it received.
    fn without_secrets<T>(&self, done: Result<T, SinkError>) -> Result<T, SinkError> {
        done.map_err(|error| error.masked(&self.store.connection.sent.mask()))
    }

    async fn try_store(&mut self, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        let mut keys = self.keys.probes(self.template.fixed_start());
        keys.extend(self.store.connection.roles.iter().map(|role| format!("{}auditflow-check", role.prefix)));
        self.store.try_writing(&keys).await?;
        if let Some(table) = &mut self.table {
            table.check(&mut self.store, self.keys.name()).await?;
            table.open(&mut self.store, stored).await?;
        }
        self.marker.restore(&mut self.store, stored).await
    }

    async fn open(&mut self, stored: StoredPosition<'_>) -> Result<Option<Seq>, SinkError> {
        stored.journal.clone_into(&mut self.keys.journal);
        self.keys.generation = stored.generation;
        self.chain.previous = stored.state.and_then(|state| StoredState::decode(state).manifest);
        let mut position = None;
        if let Some(table) = &mut self.table {
            table.check(&mut self.store, self.keys.name()).await?;
            position = table.open(&mut self.store, stored).await?;
        }
        self.marker.restore(&mut self.store, stored).await?;
        if self.table.is_none() && self.store.is_conditional() {
            let keys = self.keys.probes(self.template.fixed_start());
            let hint = "remove `if_none_match`: exactly-once delivery does not need it";
            self.store.expect_conditional_puts(&keys[0], hint).await?;
        }
        Ok(position)
    }

    /// Before the first put of a batch.
    async fn before_put(&mut self) -> Result<(), SinkError> {
        self.marker.compare(&mut self.store).await?;
        match &mut self.table {
            Some(table) => table.prepare(&mut self.store, self.batch.range).await,
            None => Ok(()),
        }
    }

    /// Whether the table has the batch: its objects are not put again, even if an engine has replaced them.
    fn is_in_table(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.has(self.batch.range))
    }

    /// Records the objects that are missing, then puts them.
    async fn put(&mut self, objects: Vec<Put>, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        if objects.is_empty() {
            return Ok(());
        }
        self.before_put().await?;
        if self.is_in_table() {
            return Ok(());
        }
        let missing = self.store.missing(objects, &mut self.earlier).await?;
        self.record(&missing, log).await?;
        self.store.put_all(missing).await
    }

    async fn record(&self, objects: &[Put], log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        if objects.is_empty() {
            return Ok(());
        }
        Ok(log.record(objects.iter().map(|object| rollback::record_of(&self.store, object)).collect()).await?)
    }

    fn take_closed(&mut self) -> Vec<Put> {
        let mut puts = Vec::new();
        for object in self.batch.objects.take_closed() {
            self.batch.bytes += object.entry.size;
            let (key, sha256) = (object.entry.key.clone(), object.entry.sha256.clone());
            puts.push(Put { key, bytes: object.bytes, sha256, is_manifest: false });
            self.batch.put.push(object.entry);
        }
        puts
    }

    /// The batch's manifest; `None` without manifests, or if the batch has no objects.
    fn manifest(&mut self) -> Option<Put> {
        let range = self.batch.range;
        let key = self.keys.manifest(range.first, range.last).filter(|_| !self.batch.put.is_empty())?;
        self.batch.put.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        let manifest = Manifest {
            manifest_version: MANIFEST_VERSION,
            pipeline: &self.keys.pipeline,
            sink: &self.keys.sink,
            journal: &self.keys.journal,
            generation: self.keys.generation,
            first: range.first,
            last: range.last,
            rows: self.batch.events,
            objects: &self.batch.put,
            previous: self.chain.previous.as_deref(),
        };
        let bytes = manifest.encode();
        Some(Put { key, sha256: sha256_hex(&bytes), bytes, is_manifest: true })
    }

    async fn finish(&mut self, log: &mut dyn RollbackLog) -> Result<Committed, SinkError> {
        blocking(|| self.batch.objects.close_all(&self.keys)).map_err(|error| encode_failed(&error))?;
        let mut planned = self.take_closed();
        let has_objects = !self.batch.put.is_empty();
        if has_objects {
            self.before_put().await?;
        }
        let mut named = None;
        if let Some(manifest) = self.manifest() {
            self.batch.bytes += manifest.bytes.len() as u64;
            self.chain.latest = Some((self.batch.range, manifest.sha256.clone()));
            named = Some((manifest.key.clone(), manifest.sha256.clone()));
            planned.push(manifest);
        }
        if self.is_in_table() {
            return self.finish_in_table(has_objects).await;
        }
        let missing = self.store.missing(planned, &mut self.earlier).await?;
        self.store.roll_back(&self.earlier.take().iter().collect::<Vec<_>>()).await?;
        self.record(&missing, log).await?;
        let (manifest, objects) = missing.into_iter().partition(|object| object.is_manifest);
        self.store.put_all(objects).await?;
        self.store.put_all(manifest).await?;
        if let Some(table) = self.table.as_mut().filter(|_| has_objects) {
            let manifest = named.as_ref().map(|(key, hash)| (key.as_str(), hash.as_str()));
            let (range, rows, objects) = (self.batch.range, self.batch.events, &self.batch.put);
            table.commit(&mut self.store, TableBatch { range, rows, objects, manifest }).await?;
        }
        self.finished(has_objects).await
    }

    /// The table has the batch from an earlier attempt, whose manifest may have had other bytes.
    async fn finish_in_table(&mut self, has_objects: bool) -> Result<Committed, SinkError> {
        self.earlier = Earlier::default();
        let hash = self.table.as_ref().and_then(Table::manifest_hash);
        if let Some((latest, hash)) = self.chain.latest.as_mut().zip(hash) {
            latest.1 = hash;
        }
        self.finished(has_objects).await
    }

    async fn finished(&mut self, has_objects: bool) -> Result<Committed, SinkError> {
        if has_objects {
            self.marker.commit(&mut self.store, self.batch.range).await?;
        }
        let manifest = self.chain.latest.as_ref().map(|(_, hash)| hash.clone());
        let table = self.table.as_ref().filter(|_| has_objects);
        let table = table.and_then(|table| table.state(self.batch.put.len() as u64, self.batch.events));
        let state = StoredState { manifest, table }.encode();
        Ok(Committed { events: self.batch.events, bytes: self.batch.bytes, state })
    }

    async fn keep_for_retry(&mut self, records: &[RollbackRecord]) -> Result<(), SinkError> {
        if let Some(table) = &mut self.table {
            table.retry(self.batch.range, records);
            if table.has_latest(self.batch.range) {
                self.batch = Batch::new(self.options, self.batch.range);
                return Ok(());
            }
        }
        let Some(earlier) = self.store.earlier(records).await? else { return self.roll_back(records).await };
        self.batch = Batch::new(self.options, self.batch.range);
        self.earlier = earlier;
        Ok(())
    }

    /// Whether a table that the present settings do not name may have the object: its log was not read.
    fn may_belong_to_a_table(&self, object: &S3ObjectRecord) -> bool {
        let is_here =
            self.store.is_here(object) && self.table.as_ref().is_some_and(|table| table.contains(&object.key));
        object.table && !is_here
    }

    /// An object of a table where the sink writes now without one. The table may have it: the same events would get into the
    /// same directory again.
    fn object_of_former_table<'r>(&self, record: &'r RollbackRecord) -> Option<&'r S3ObjectRecord> {
        let RollbackRecord::S3Object(object) = record else { return None };
        let start = self.template.fixed_start();
        let directory = start.rfind('/').map_or("", |end| &start[..=end]);
        let is_here = self.store.is_here(object) && object.key.starts_with(directory);
        (object.table && self.table.is_none() && is_here).then_some(object)
    }

    async fn take_over(&mut self, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        if let Some(table) = &mut self.table {
            table.adopt(&mut self.store, stored).await?;
        }
        self.marker.adopt(&mut self.store, stored).await
    }

    async fn roll_back(&mut self, records: &[RollbackRecord]) -> Result<(), SinkError> {
        self.batch = Batch::new(self.options, self.batch.range);
        self.earlier = Earlier::default();
        if let Some(table) = &mut self.table {
            table.give_up();
        }
        if let Some(object) = records.iter().find_map(|record| self.object_of_former_table(record)) {
            return Err(of_former_table(object));
        }
        let (mut objects, mut others): (Vec<&S3ObjectRecord>, Vec<RollbackRecord>) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                RollbackRecord::S3Object(object) if !self.may_belong_to_a_table(object) => objects.push(object),
                other => others.push(other.clone()),
            }
        }
        roll_back_orphans(&others)?;
        if objects.is_empty() {
            return Ok(());
        }
        self.store.roll_back(&objects).await?;
        self.marker.roll_back(&mut self.store, &objects).await
    }
}

fn of_former_table(object: &S3ObjectRecord) -> SinkError {
    let S3ObjectRecord { bucket, key, .. } = object;
    SinkError::Stopped {
        message: format!("the Delta table may have s3://{bucket}/{key} of an unfinished batch: nothing was touched"),
        hint: "restore `table: delta` in the pipeline file and run once (`run --once`); then remove it, or write to another directory"
            .to_owned(),
    }
}

fn encode_failed(error: &EncodeError) -> SinkError {
    error::transient(format!("cannot encode an object: {error}"), "the host may be out of memory: free memory")
}

impl Sink for S3Sink {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn healthcheck<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let done = self.try_store(stored).await;
            self.without_secrets(done)
        })
    }

    fn recover_position<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(async move {
            let done = self.open(stored).await;
            self.without_secrets(done)
        })
    }

    fn adopt<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let done = self.take_over(stored).await;
            self.without_secrets(done)
        })
    }

    fn begin(&mut self, range: BatchRange) {
        self.batch = Batch::new(self.options, range);
        if let Some(table) = &mut self.table {
            table.begin();
        }
        self.prefixes.begin();
        self.marker.begin(range);
        self.chain.begin(range);
    }

    fn write(&mut self, seq: Seq, event: &Event<'_>, form: EventForm) -> Result<WriteOutcome, SinkError> {
        let (prefix, changed) = self.prefixes.render(event);
        let batch = &mut self.batch;
        if let Err(error) = batch.objects.push(prefix, !changed, event, form) {
            let reason = error.rejection().ok_or_else(|| encode_failed(&error))?;
            return Ok(WriteOutcome::Rejected { reason });
        }
        batch.events += 1;
        if batch.objects.open_bytes() > self.open_bytes {
            let closed = batch.objects.close_largest(self.open_bytes / 2, seq, &self.keys);
            closed.map_err(|error| encode_failed(&error))?;
        }
        // Open objects have a limit of their own.
        let is_due = batch.objects.closed_bytes() > FLUSH_BYTES;
        Ok(if is_due { WriteOutcome::FlushDue } else { WriteOutcome::Buffered })
    }

    fn flush<'a>(&'a mut self, log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let objects = self.take_closed();
            let done = self.put(objects, log).await;
            self.without_secrets(done)
        })
    }

    fn commit<'a>(
        &'a mut self,
        _last_event: Option<EventId>,
        log: &'a mut dyn RollbackLog,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async {
            let done = self.finish(log).await;
            self.without_secrets(done)
        })
    }

    fn prepare_retry<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async {
            let done = self.keep_for_retry(records).await;
            self.without_secrets(done)
        })
    }

    fn rollback<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async {
            let done = self.roll_back(records).await;
            self.without_secrets(done)
        })
    }
}
