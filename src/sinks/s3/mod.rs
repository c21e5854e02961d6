//! The `s3` sink: objects that a data lake can ingest, each batch exactly once.
//!
//! ```text
//! absorb: Event -> partition (key_prefix) -> open object                                   (objects, writer)
//!                                              over the limit: the largest are closed
//! flush:  closed objects -> recorded in the plan: bucket, key -> put                       (undo, upload)
//! commit: all objects closed and put -> manifest, last                                     (sinks::manifest)
//! undo:   manifest deleted, uploads aborted, objects deleted                               (undo)
//! ```
//!
//! Keys are made of the partition and the planned range (`keys`), bytes of the events alone: a repeated attempt puts the
//! same bytes at the same keys. In memory are the open objects up to a limit and those that are being put, whatever the
//! batch and the number of partitions. What users should know is in `docs/s3.md`.

mod bounded;
mod client;
mod config;
mod error;
mod keys;
mod ndjson;
mod objects;
mod options;
mod probe;
#[cfg(test)]
mod tests;
mod undo;
mod upload;
mod writer;

use futures_util::future::BoxFuture;

pub use config::S3Config;
pub use options::{Acl, AuthOptions, Checksum, RequestOptions, ServerSideEncryption, StorageClass};
pub use writer::{Format, ObjectCompression};

use keys::Keys;
use objects::Objects;
use upload::{Put, Store};
use writer::{EncodeError, ObjectOptions};

use super::blocking::blocking;
use super::foreign::{OBJECT, undo_foreign};
use super::manifest::{MANIFEST_VERSION, Manifest, ManifestObject, sha256_hex};
use super::template::{PathCache, Template};
use super::{BatchRange, EventForm, PlanLog, Refused, Sink, SinkError, Written};
use crate::event::Event;
use crate::journal::{RollbackRecord, Seq};

/// Open objects take at most this much memory together.
const OPEN_BYTES: usize = 64 << 20;

/// Puts events into a bucket.
#[derive(Debug)]
pub struct S3Sink {
    fingerprint: String,
    template: Template,
    cache: PathCache,
    keys: Keys,
    options: ObjectOptions,
    store: Store,
    open_bytes: usize,
    batch: Batch,
    chain: Chain,
}

/// The batch in hand.
#[derive(Debug)]
struct Batch {
    range: BatchRange,
    /// The event that was absorbed last, or is next.
    seq: Seq,
    objects: Objects,
    /// What has been put, for the manifest.
    put: Vec<ManifestObject>,
    written: Written,
    refused: Vec<Refused>,
}

impl Batch {
    fn new(options: ObjectOptions, range: BatchRange) -> Self {
        let objects = Objects::new(options, range);
        Self { range, seq: range.first, objects, put: Vec::new(), written: Written::default(), refused: Vec::new() }
    }
}

/// The manifests' chain.
#[derive(Debug, Default)]
struct Chain {
    /// The hash of the manifest before the batch in hand.
    previous: Option<String>,
    /// The hash of the manifest that was written last, and its batch: whether that batch stands is known when another one
    /// begins.
    latest: Option<(BatchRange, String)>,
}

impl Chain {
    fn begin(&mut self, range: BatchRange) {
        let stands = self.latest.take().filter(|(former, _)| former.last < range.first);
        if let Some((_, hash)) = stands {
            self.previous = Some(hash);
        }
    }
}

impl S3Sink {
    fn new(fingerprint: String, template: Template, keys: Keys, options: ObjectOptions, store: Store) -> Self {
        Self {
            fingerprint,
            template,
            cache: PathCache::default(),
            keys,
            options,
            store,
            open_bytes: OPEN_BYTES,
            batch: Batch::new(options, BatchRange { first: 0, last: 0 }),
            chain: Chain::default(),
        }
    }

    /// Puts objects, recording them before.
    async fn put(&mut self, objects: Vec<Put>, plan: &mut dyn PlanLog) -> Result<(), SinkError> {
        if objects.is_empty() {
            return Ok(());
        }
        plan.record(objects.iter().map(|object| undo::planned(&self.store, object)).collect()).await?;
        self.store.put_all(objects).await
    }

    fn take_closed(&mut self) -> Vec<Put> {
        let mut puts = Vec::new();
        for object in self.batch.objects.take_closed() {
            self.batch.written.bytes += object.entry.size;
            puts.push(Put { key: object.entry.key.clone(), bytes: object.bytes, is_manifest: false });
            self.batch.put.push(object.entry);
        }
        puts
    }

    /// The batch's manifest; `None` if there are none, or nothing to name in it.
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
            rows: self.batch.written.events,
            objects: &self.batch.put,
            previous: self.chain.previous.as_deref(),
        };
        Some(Put { key, bytes: manifest.encode(), is_manifest: true })
    }

    async fn finish(&mut self, plan: &mut dyn PlanLog) -> Result<Written, SinkError> {
        blocking(|| self.batch.objects.close_all(&self.keys)).map_err(|error| unencoded(&error))?;
        let objects = self.take_closed();
        let manifest = self.manifest();
        let all = objects.iter().chain(&manifest);
        let outputs: Vec<_> = all.map(|object| undo::planned(&self.store, object)).collect();
        if !outputs.is_empty() {
            plan.record(outputs).await?;
        }
        self.store.put_all(objects).await?;
        if let Some(manifest) = manifest {
            self.batch.written.bytes += manifest.bytes.len() as u64;
            self.chain.latest = Some((self.batch.range, sha256_hex(&manifest.bytes)));
            self.store.put_all(vec![manifest]).await?;
        }
        Ok(self.batch.written)
    }
}

fn unencoded(error: &EncodeError) -> SinkError {
    error::transient(
        format!("cannot encode an object: {error}"),
        "the machine may be out of memory; auditflow tries again",
    )
}

impl Sink for S3Sink {
    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn begin(&mut self, range: BatchRange) {
        self.batch = Batch::new(self.options, range);
        self.chain.begin(range);
    }

    fn next_is(&mut self, seq: Seq) {
        self.batch.seq = seq;
    }

    fn absorb(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), SinkError> {
        let (prefix, changed) = self.cache.render(&self.template, event);
        let batch = &mut self.batch;
        if let Err(fault) = batch.objects.push(prefix, !changed, event, form) {
            let reason = fault.refusal().ok_or_else(|| unencoded(&fault))?;
            batch.refused.push(Refused::new(event, reason));
            return Ok(());
        }
        batch.written.events += 1;
        if batch.objects.open_bytes() <= self.open_bytes {
            return Ok(());
        }
        let closed = batch.objects.close_largest(self.open_bytes / 2, batch.seq, &self.keys);
        closed.map_err(|error| unencoded(&error))
    }

    /// Only what waits to be put: open objects are bounded on their own.
    fn buffered_bytes(&self) -> usize {
        self.batch.objects.closed_bytes()
    }

    fn flush<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            let objects = self.take_closed();
            self.put(objects, plan).await
        })
    }

    fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.batch.refused)
    }

    fn commit<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<Written, SinkError>> {
        Box::pin(self.finish(plan))
    }

    fn memo(&self) -> Option<String> {
        self.chain.latest.as_ref().map(|(_, hash)| hash.clone())
    }

    fn use_generation(&mut self, generation: u64) {
        self.keys.generation = generation;
    }

    fn remember(&mut self, memo: &str) {
        self.chain.previous = Some(memo.to_owned());
    }

    fn undo<'a>(&'a mut self, outputs: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.batch = Batch::new(self.options, self.batch.range);
            let (objects, others): (Vec<_>, Vec<_>) =
                outputs.iter().cloned().partition(|output| output.name.starts_with(OBJECT));
            undo_foreign(&others)?;
            if objects.is_empty() { Ok(()) } else { self.store.undo(&objects).await }
        })
    }

    fn resume<'a>(&'a mut self, journal: &'a str) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(async move {
            journal.clone_into(&mut self.keys.journal);
            if self.store.token().is_some() {
                let probes = self.keys.probes(self.template.fixed_start());
                self.store.expect_conditions_heeded(&probes[0]).await?;
            }
            Ok(None)
        })
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move {
            let probes = self.keys.probes(self.template.fixed_start());
            self.store.try_writing(&probes).await
        })
    }
}
