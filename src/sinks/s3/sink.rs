//! The sink itself.
//!
//! ```text
//! write:    event -> partition (key_prefix) -> open object                                  (objects, writer)
//!                                                over the limit: the largest are closed
//! flush:    closed objects -> recorded: bucket, key -> put                                  (rollback, upload)
//! commit:   all objects closed and put -> manifest, last                                    (sinks::manifest)
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
use super::earlier::Earlier;
use super::error;
use super::marker::ObjectMarker;
use super::objects::{Keys, Objects};
use super::rollback;
use super::upload::{Put, Store};
use super::writer::{EncodeError, ObjectOptions};
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::{Event, EventId};
use crate::journal::{RollbackRecord, S3ObjectRecord, Seq};
use crate::sinks::blocking::blocking;
use crate::sinks::manifest::{MANIFEST_VERSION, Manifest, ManifestObject, sha256_hex};
use crate::sinks::orphans::roll_back_orphans;
use crate::sinks::template::{PathCache, Template};
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
    cache: PathCache,
    pub(super) keys: Keys,
    options: ObjectOptions,
    pub(super) store: Store,
    pub(super) open_bytes: usize,
    pub(super) batch: Batch,
    /// What an earlier attempt at the batch may have left.
    earlier: Earlier,
    chain: ManifestChain,
    marker: ObjectMarker,
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
        let store =
            Store::new(Connection::new(self), self.bucket.clone(), self.headers(), self.request.concurrency(), clock);
        let batch = Batch::new(options, BatchRange { first: 0, last: 0 });
        let marker = ObjectMarker::new(pipeline, sink, template.fixed_start(), keys.name());
        Ok(S3Sink {
            fingerprint: self.fingerprint(&template),
            template,
            cache: PathCache::limited(),
            keys,
            options,
            store,
            open_bytes: OPEN_BYTES,
            batch,
            earlier: Earlier::default(),
            chain: ManifestChain::default(),
            marker,
        })
    }
}

impl S3Sink {
    /// What a store says may repeat what it received.
    fn without_secrets<T>(&self, done: Result<T, SinkError>) -> Result<T, SinkError> {
        done.map_err(|error| error.masked(&self.store.connection.sent.mask()))
    }

    async fn try_store(&mut self) -> Result<(), SinkError> {
        let keys = self.keys.probes(self.template.fixed_start());
        self.store.try_writing(&keys).await?;
        self.store.marker(&self.marker.key).await.map(drop)
    }

    async fn open(&mut self, stored: StoredPosition<'_>) -> Result<Option<Seq>, SinkError> {
        stored.journal.clone_into(&mut self.keys.journal);
        self.keys.generation = stored.generation;
        self.chain.previous = stored.state.map(str::to_owned);
        self.marker.restore(&mut self.store, stored).await?;
        if self.store.is_conditional() {
            let keys = self.keys.probes(self.template.fixed_start());
            self.store.expect_conditional_puts(&keys[0]).await?;
        }
        Ok(None)
    }

    /// Records the objects that are missing, then puts them.
    async fn put(&mut self, objects: Vec<Put>, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        if objects.is_empty() {
            return Ok(());
        }
        self.marker.compare(&mut self.store).await?;
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
            self.marker.compare(&mut self.store).await?;
        }
        if let Some(manifest) = self.manifest() {
            self.batch.bytes += manifest.bytes.len() as u64;
            self.chain.latest = Some((self.batch.range, manifest.sha256.clone()));
            planned.push(manifest);
        }
        let missing = self.store.missing(planned, &mut self.earlier).await?;
        self.store.roll_back(&self.earlier.take().iter().collect::<Vec<_>>()).await?;
        self.record(&missing, log).await?;
        let (manifest, objects) = missing.into_iter().partition(|object| object.is_manifest);
        self.store.put_all(objects).await?;
        self.store.put_all(manifest).await?;
        if has_objects {
            self.marker.commit(&mut self.store, self.batch.range).await?;
        }
        let state = self.chain.latest.as_ref().map(|(_, hash)| hash.clone());
        Ok(Committed { events: self.batch.events, bytes: self.batch.bytes, state })
    }

    async fn keep_for_retry(&mut self, records: &[RollbackRecord]) -> Result<(), SinkError> {
        let Some(earlier) = self.store.earlier(records).await? else { return self.roll_back(records).await };
        self.batch = Batch::new(self.options, self.batch.range);
        self.earlier = earlier;
        Ok(())
    }

    async fn roll_back(&mut self, records: &[RollbackRecord]) -> Result<(), SinkError> {
        self.batch = Batch::new(self.options, self.batch.range);
        self.earlier = Earlier::default();
        let (mut objects, mut others): (Vec<&S3ObjectRecord>, Vec<RollbackRecord>) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                RollbackRecord::S3Object(object) => objects.push(object),
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

fn encode_failed(error: &EncodeError) -> SinkError {
    error::transient(format!("cannot encode an object: {error}"), "the host may be out of memory: free memory")
}

impl Sink for S3Sink {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            let done = self.try_store().await;
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
            let done = self.marker.adopt(&mut self.store, stored).await;
            self.without_secrets(done)
        })
    }

    fn begin(&mut self, range: BatchRange) {
        self.batch = Batch::new(self.options, range);
        self.cache.begin();
        self.marker.begin(range);
        self.chain.begin(range);
    }

    fn write(&mut self, seq: Seq, event: &Event<'_>, form: EventForm) -> Result<WriteOutcome, SinkError> {
        let (prefix, changed) = self.cache.render(&self.template, event);
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
