//! What an earlier attempt at the same batch left in the bucket. Whoever is notified of objects takes each put as new events, so
//! what is there in the same bytes is kept, and recovery needs no permission to delete.
//!
//! ```text
//! retry    unfinished uploads are aborted; the records of the earlier attempt are remembered
//! put      HEAD of each key that was recorded:
//!            absent                                      -> put
//!            the attempt's token, our size and SHA-256,
//!            no checksum that contradicts                -> kept, under its former record
//!            anything else                               -> rolled back, the manifest first; put
//! commit   what was recorded and is not part of this attempt is rolled back; then the manifest
//! ```

use std::collections::BTreeMap;

use aws_sdk_s3::Client;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use futures_util::future::BoxFuture;

use super::error::S3Error;
use super::proof::Receipt;
use super::rollback::{abort_uploads, latest};
use super::upload::{HASH_FIELD, Put, Store, TOKEN_FIELD, all_or_error};
use crate::journal::{RollbackRecord, S3ObjectRecord};
use crate::sinks::SinkError;

/// The objects that an earlier attempt at the current batch recorded, by key.
#[derive(Debug, Default)]
pub(super) struct Earlier(BTreeMap<String, S3ObjectRecord>);

impl Earlier {
    /// Removes and returns the records of objects that this attempt has not come to.
    pub(super) fn take(&mut self) -> Vec<S3ObjectRecord> {
        std::mem::take(&mut self.0).into_values().collect()
    }

    fn take_manifests(&mut self) -> Vec<S3ObjectRecord> {
        self.0.extract_if(.., |_, record| record.manifest).map(|(_, record)| record).collect()
    }
}

/// What is at a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// The object that would be put.
    Same,
    Different,
}

impl Store {
    /// The objects of these records, as an earlier attempt at the batch that is written again; `None` if they are elsewhere, or
    /// not all are objects: they must be rolled back.
    pub(super) async fn earlier(&mut self, records: &[RollbackRecord]) -> Result<Option<Earlier>, SinkError> {
        let Some(objects) = records.iter().map(|record| self.object_here(record)).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let objects = latest(&objects);
        if objects.iter().any(|object| object.multipart) {
            let clients = self.clients().await?;
            let parts = objects.iter().filter(|object| object.multipart);
            let aborts = parts
                .map(|object| -> BoxFuture<'_, _> { Box::pin(self.abort_recorded(clients.of(&object.key), object)) });
            let aborted = all_or_error(self.concurrency, aborts.collect()).await;
            aborted.inspect_err(|_| self.reset_client())?;
        }
        Ok(Some(Earlier(objects.into_iter().map(|object| (object.key.clone(), object.clone())).collect())))
    }

    /// Whether the object is in this bucket.
    pub(super) fn is_here(&self, object: &S3ObjectRecord) -> bool {
        object.bucket == self.bucket && object.location == self.connection.location
    }

    fn object_here<'r>(&self, record: &'r RollbackRecord) -> Option<&'r S3ObjectRecord> {
        let RollbackRecord::S3Object(object) = record else { return None };
        self.is_here(object).then_some(object)
    }

    async fn abort_recorded(&self, client: &Client, object: &S3ObjectRecord) -> Result<(), SinkError> {
        match abort_uploads(client, &object.bucket, &object.key).await {
            // The put that follows says so.
            Err(error) if error.is_bucket_missing() => Ok(()),
            aborted => aborted.map_err(|error| {
                let doing = format!("abort the unfinished upload of {}", self.address(&object.key));
                error.into_error(&doing, &self.connection.address)
            }),
        }
    }

    /// Those of `planned` that the earlier attempt did not leave as they are planned. What it left in other bytes is gone then.
    pub(super) async fn missing(&mut self, planned: Vec<Put>, earlier: &mut Earlier) -> Result<Vec<Put>, SinkError> {
        if earlier.0.is_empty() {
            return Ok(planned);
        }
        let clients = self.clients().await?;
        let (store, clients) = (&*self, &clients);
        let mut looks: Vec<BoxFuture<'_, Result<(Put, Found), SinkError>>> = Vec::new();
        for object in planned {
            let record = earlier.0.get(&object.key);
            looks.push(Box::pin(async move {
                store.look(clients.of(&object.key), &object, record).await.map(|found| (object, found))
            }));
        }
        let looked = all_or_error(self.concurrency, looks).await.inspect_err(|_| self.reset_client())?;
        let is_complete = looked.iter().all(|(_, found)| *found == Found::Same);
        // A manifest says that its objects are there.
        let mut wrong = if is_complete { Vec::new() } else { earlier.take_manifests() };
        let mut missing = Vec::new();
        for (object, found) in looked {
            let record = earlier.0.remove(&object.key);
            wrong.extend(record.filter(|_| found == Found::Different));
            if found != Found::Same || (object.is_manifest && !is_complete) {
                missing.push(object);
            }
        }
        self.roll_back(&wrong.iter().collect::<Vec<_>>()).await?;
        Ok(missing)
    }

    async fn look(&self, client: &Client, object: &Put, record: Option<&S3ObjectRecord>) -> Result<Found, SinkError> {
        let Some(record) = record else { return Ok(Found::Nothing) };
        let request = client.head_object().bucket(&self.bucket).key(&object.key).checksum_mode(ChecksumMode::Enabled);
        match request.send().await.map_err(|error| S3Error::of(&error)) {
            Ok(head) if is_same(&head, object, record) => Ok(Found::Same),
            Ok(_) => Ok(Found::Different),
            Err(error) if error.is_absent() => Ok(Found::Nothing),
            // A role of Security Lake may put and may not read: the same bytes are put again.
            Err(error) if error.is_denied() && self.connection.has_role(&object.key) => Ok(Found::Nothing),
            Err(error) => {
                let doing = format!("look at {} of an unfinished batch", self.address(&object.key));
                Err(error.into_error(&doing, &self.connection.address))
            }
        }
    }
}

/// Whether the object is the one that would be put, by the attempt that recorded it. The store got its hash together with its
/// bytes, whose checksum or signature it verified.
fn is_same(head: &HeadObjectOutput, object: &Put, record: &S3ObjectRecord) -> bool {
    let field = |name: &str| head.metadata().and_then(|fields| fields.get(name)).map(String::as_str);
    let receipt = Receipt {
        e_tag: head.e_tag(),
        crc32: of_whole(head.checksum_crc32()),
        crc32c: of_whole(head.checksum_crc32_c()),
        sha256: of_whole(head.checksum_sha256()),
    };
    record.token.is_some()
        && field(TOKEN_FIELD) == record.token.as_deref()
        && field(HASH_FIELD) == Some(object.sha256.as_str())
        && head.content_length() == i64::try_from(object.bytes.len()).ok()
        && receipt.proves(&object.bytes).is_ok()
}

/// A checksum of the whole object; that of an upload in parts is one of their checksums, and ends with their number.
fn of_whole(checksum: Option<&str>) -> Option<&str> {
    checksum.filter(|checksum| !checksum.contains('-'))
}
