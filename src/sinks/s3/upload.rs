//! Puts objects: small ones in one request, large ones in parts, several at a time.
//!
//! ```text
//! objects (recorded) --up to `concurrency` at once--> PutObject
//!                                                    CreateMultipartUpload, UploadPart..., Complete
//! error: running requests are awaited, no request is started; a multipart upload is aborted
//! ```

use std::collections::{BTreeSet, HashMap};

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use axum::body::Bytes;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;

use super::client::{Clients, Connection};
use super::error::{S3Error, transient};
use super::options::{Acl, Headers, ServerSideEncryption, StorageClass};
use super::proof::{Checksums, Receipt};
use crate::clock::SharedClock;
use crate::sinks::SinkError;
use crate::sinks::marker::Marker;

/// Larger objects are uploaded in parts of this size. S3 requires parts of 5 MiB or more.
const PART_BYTES: usize = 8 << 20;

/// Parts of one object that are uploaded at once.
const PARTS_AT_ONCE: usize = 4;

/// The metadata field with the token of the process that put an object.
pub(super) const TOKEN_FIELD: &str = "auditflow-token";

/// The metadata field with the SHA-256 of an object, in hex digits.
pub(super) const HASH_FIELD: &str = "auditflow-sha256";

/// An object that is to be put.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) key: String,
    pub(super) bytes: Vec<u8>,
    /// Of its bytes, in hex digits.
    pub(super) sha256: String,
    pub(super) is_manifest: bool,
}

/// The bucket, and how objects are put.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) bucket: String,
    headers: Headers,
    manifest_headers: Headers,
    pub(super) concurrency: usize,
    /// Larger objects are uploaded in parts.
    pub(super) multipart_above: usize,
    /// Whether the objects are put for a table.
    pub(super) is_table: bool,
    /// Identifies this process among all that ever put objects of this sink.
    token: String,
    clients: Option<Clients>,
    /// Buckets that do not exist any more, as was said already.
    pub(super) missing_buckets: BTreeSet<String>,
}

impl Store {
    pub(super) fn new(
        connection: Connection,
        bucket: String,
        headers: Headers,
        concurrency: usize,
        clock: &SharedClock,
    ) -> Self {
        let token = format!("{}-{:x}", std::process::id(), clock.now().as_nanos());
        let manifest_headers = headers.of_manifest();
        let multipart_above = PART_BYTES;
        Self {
            connection,
            bucket,
            headers,
            manifest_headers,
            concurrency,
            multipart_above,
            is_table: false,
            token,
            clients: None,
            missing_buckets: BTreeSet::new(),
        }
    }

    /// The clients for the configured location; created if there are none.
    pub(super) async fn clients(&mut self) -> Result<Clients, SinkError> {
        if let Some(clients) = &self.clients {
            return Ok(clients.clone());
        }
        let clients = self.connection.clients(&self.connection.location).await?;
        self.clients = Some(clients.clone());
        Ok(clients)
    }

    /// The client with the sink's own credentials.
    pub(super) async fn client(&mut self) -> Result<Client, SinkError> {
        Ok(self.clients().await?.own)
    }

    /// Drops the client after an error, so that the next one reads the credentials again.
    pub(super) fn reset_client(&mut self) {
        self.clients = None;
    }

    /// Marks the objects that this process puts: a rollback deletes no others.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Whether existing objects must not be overwritten.
    pub(super) fn is_conditional(&self) -> bool {
        self.headers.if_none_match
    }

    /// From now on every object is put with a checksum.
    fn send_checksums(&mut self) {
        for headers in [&mut self.headers, &mut self.manifest_headers] {
            headers.checksum = headers.checksum.take().or(Some(ChecksumAlgorithm::Crc32));
        }
    }

    /// Puts all objects, or as many as succeed before the first error.
    pub(super) async fn put_all(&mut self, objects: Vec<Put>) -> Result<(), SinkError> {
        let clients = self.clients().await?;
        let mut puts: Vec<BoxFuture<'_, Result<(), SinkError>>> = Vec::new();
        for object in objects {
            puts.push(Box::pin(self.put(clients.of(&object.key), object)));
        }
        let put = all_or_error(self.concurrency, puts).await;
        self.after(put.map(drop))
    }

    fn after(&mut self, put: Result<(), SinkError>) -> Result<(), SinkError> {
        match &put {
            Ok(()) => {}
            Err(SinkError::Again { .. }) => self.send_checksums(),
            Err(_) => self.reset_client(),
        }
        put
    }

    /// Puts a marker, in the place of an earlier one.
    pub(super) async fn put_marker(&mut self, key: &str, marker: &Marker) -> Result<(), SinkError> {
        self.put_over(key, marker.encode()).await
    }

    /// Puts a small object of our own, in the place of an earlier one.
    pub(super) async fn put_over(&mut self, key: &str, bytes: Vec<u8>) -> Result<(), SinkError> {
        let client = self.client().await?;
        let headers = Headers { if_none_match: false, ..self.manifest_headers.clone() };
        let put = self.put_whole(&client, key, &headers, bytes, None).await;
        let put = put.map_err(|error| self.explained(error, key));
        self.after(put)
    }

    /// Puts a small object where none is; false if one is.
    #[cfg(feature = "parquet")]
    pub(super) async fn put_new(&mut self, key: &str, bytes: Vec<u8>) -> Result<bool, SinkError> {
        let client = self.client().await?;
        let headers = Headers { if_none_match: true, ..self.manifest_headers.clone() };
        match self.put_whole(&client, key, &headers, bytes, None).await {
            Err(error) if error.is_precondition() => Ok(false),
            put => {
                let put = put.map_err(|error| self.explained(error, key));
                self.after(put).map(|()| true)
            }
        }
    }

    async fn put(&self, client: &Client, object: Put) -> Result<(), SinkError> {
        let done = if object.bytes.len() > self.multipart_above {
            self.upload(client, &object).put(&object.bytes).await
        } else {
            let headers = self.headers_of(&object);
            self.put_whole(client, &object.key, headers, object.bytes, Some(&object.sha256)).await
        };
        done.map_err(|error| self.explained(error, &object.key))
    }

    fn upload<'a>(&'a self, client: &'a Client, object: &'a Put) -> Upload<'a> {
        Upload { store: self, client, headers: self.headers_of(object), key: &object.key, sha256: Some(&object.sha256) }
    }

    /// Creates a multipart upload and aborts it: nothing is left.
    pub(super) async fn create_and_abort(&self, client: &Client, key: &str) -> Result<(), S3Error> {
        let upload = Upload { store: self, client, headers: &self.headers, key, sha256: None };
        let id = upload.create().await?;
        match abort(client, &self.bucket, key, &id).await {
            // A role of Security Lake may put and may not abort. An upload without parts is not seen, and costs nothing.
            Err(error) if error.is_denied() && self.connection.has_role(key) => Ok(()),
            aborted => aborted,
        }
    }

    fn headers_of(&self, object: &Put) -> &Headers {
        if object.is_manifest { &self.manifest_headers } else { &self.headers }
    }

    /// What an object says of itself.
    fn metadata(&self, sha256: Option<&str>) -> HashMap<String, String> {
        let hash = sha256.map(|hash| (HASH_FIELD.to_owned(), hash.to_owned()));
        std::iter::once((TOKEN_FIELD.to_owned(), self.token().to_owned())).chain(hash).collect()
    }

    async fn put_whole(
        &self,
        client: &Client,
        key: &str,
        headers: &Headers,
        bytes: Vec<u8>,
        sha256: Option<&str>,
    ) -> Result<(), S3Error> {
        let sent = Bytes::from(bytes);
        let sums = Checksums::of(headers.checksum.as_ref(), &sent);
        let request = client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(ByteStream::from(sent.clone()))
            .content_type(&headers.content_type)
            .set_content_encoding(headers.content_encoding.clone())
            .set_storage_class(headers.storage_class.map(StorageClass::sdk))
            .set_acl(headers.acl.map(Acl::sdk))
            .set_server_side_encryption(headers.server_side_encryption.map(ServerSideEncryption::sdk))
            .set_ssekms_key_id(headers.ssekms_key_id.clone())
            .set_tagging(headers.tagging.clone())
            .set_checksum_crc32(sums.crc32)
            .set_checksum_crc32_c(sums.crc32c)
            .set_checksum_sha256(sums.sha256);
        let request = if headers.if_none_match { request.if_none_match("*") } else { request };
        let request = request.set_metadata(Some(self.metadata(sha256)));
        let put = request.send().await.map_err(|error| S3Error::of(&error))?;
        let receipt = Receipt {
            e_tag: put.e_tag(),
            crc32: put.checksum_crc32(),
            crc32c: put.checksum_crc32_c(),
            sha256: put.checksum_sha256(),
        };
        receipt.proves(&sent)
    }

    fn explained(&self, error: S3Error, key: &str) -> SinkError {
        let object = format!("s3://{}/{key}", self.bucket);
        if error.needs_checksum() && self.headers.checksum.is_none() {
            return SinkError::Again { reason: format!("the store accepts {object} with a checksum only") };
        }
        if !error.is_precondition() {
            return error.into_error(&format!("put {object}"), &self.connection.address);
        }
        let hint = "another installation writes under the same names, or the journal was restored from a backup: move the object away, or change `key_prefix`";
        transient(format!("{object} exists already, and `if_none_match` forbids overwriting it"), hint)
    }
}

/// One object in parts.
struct Upload<'a> {
    store: &'a Store,
    client: &'a Client,
    headers: &'a Headers,
    key: &'a str,
    sha256: Option<&'a str>,
}

impl Upload<'_> {
    async fn put(&self, bytes: &[u8]) -> Result<(), S3Error> {
        let id = self.create().await?;
        let done = match self.put_parts(&id, bytes).await {
            Ok(parts) => self.complete(&id, parts).await,
            Err(error) => Err(error),
        };
        if done.is_err() {
            abort(self.client, &self.store.bucket, self.key, &id).await.ok();
        }
        done
    }

    async fn create(&self) -> Result<String, S3Error> {
        let headers = self.headers;
        let request = self
            .client
            .create_multipart_upload()
            .bucket(&self.store.bucket)
            .key(self.key)
            .content_type(&headers.content_type)
            .set_content_encoding(headers.content_encoding.clone())
            .set_storage_class(headers.storage_class.map(StorageClass::sdk))
            .set_acl(headers.acl.map(Acl::sdk))
            .set_server_side_encryption(headers.server_side_encryption.map(ServerSideEncryption::sdk))
            .set_ssekms_key_id(headers.ssekms_key_id.clone())
            .set_tagging(headers.tagging.clone())
            .set_checksum_algorithm(headers.checksum.clone());
        let request = request.set_metadata(Some(self.store.metadata(self.sha256)));
        let created = request.send().await.map_err(|error| S3Error::of(&error))?;
        created.upload_id.filter(|id| !id.is_empty()).ok_or_else(|| {
            S3Error::not_stored("the answer to the start of an upload names no upload, as no object store sends it")
        })
    }

    /// All parts are awaited, also after an error: none may arrive after the abort.
    async fn put_parts(&self, id: &str, bytes: &[u8]) -> Result<Vec<CompletedPart>, S3Error> {
        let mut puts: Vec<BoxFuture<'_, Result<CompletedPart, S3Error>>> = Vec::new();
        for (index, chunk) in bytes.chunks(PART_BYTES).enumerate() {
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            puts.push(Box::pin(self.put_part(id, number, chunk)));
        }
        let mut parts = all_or_error(PARTS_AT_ONCE, puts).await?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    async fn put_part(&self, id: &str, number: i32, bytes: &[u8]) -> Result<CompletedPart, S3Error> {
        let sums = Checksums::of(self.headers.checksum.as_ref(), bytes);
        let put = self
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(self.key)
            .upload_id(id)
            .part_number(number)
            .body(ByteStream::from(bytes.to_vec()))
            .set_checksum_crc32(sums.crc32)
            .set_checksum_crc32_c(sums.crc32c)
            .set_checksum_sha256(sums.sha256)
            .send()
            .await
            .map_err(|error| S3Error::of(&error))?;
        let receipt = Receipt {
            e_tag: put.e_tag(),
            crc32: put.checksum_crc32(),
            crc32c: put.checksum_crc32_c(),
            sha256: put.checksum_sha256(),
        };
        receipt.proves(bytes)?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(put.e_tag)
            .set_checksum_crc32(put.checksum_crc32)
            .set_checksum_crc32_c(put.checksum_crc32_c)
            .set_checksum_sha256(put.checksum_sha256)
            .build())
    }

    async fn complete(&self, id: &str, parts: Vec<CompletedPart>) -> Result<(), S3Error> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(&self.store.bucket)
            .key(self.key)
            .upload_id(id)
            .multipart_upload(parts);
        let request = if self.headers.if_none_match { request.if_none_match("*") } else { request };
        let completed = request.send().await.map_err(|error| S3Error::of(&error))?;
        Receipt { e_tag: completed.e_tag(), ..Receipt::default() }.proves(&[])
    }
}

/// Aborts a multipart upload and deletes its parts. An upload that does not exist is not an error.
pub(super) async fn abort(client: &Client, bucket: &str, key: &str, id: &str) -> Result<(), S3Error> {
    let aborted = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
    match aborted.map_err(|error| S3Error::of(&error)) {
        Err(error) if !error.is_absent() => Err(error),
        _ => Ok(()),
    }
}

/// Deletes an object that still has this ETag. An object that does not exist is not an error, nor is one that somebody has
/// replaced: it is left alone. A store that does not offer the condition deletes without it.
pub(super) async fn delete(client: &Client, bucket: &str, key: &str, e_tag: Option<&str>) -> Result<(), S3Error> {
    let request = || client.delete_object().bucket(bucket).key(key);
    let deleted = request().set_if_match(e_tag.map(str::to_owned)).send().await.map_err(|error| S3Error::of(&error));
    let deleted = match deleted {
        Err(error) if e_tag.is_some() && error.is_unknown_call() => {
            request().send().await.map_err(|error| S3Error::of(&error))
        }
        deleted => deleted,
    };
    match deleted {
        Err(error) if !error.is_absent() && !error.is_precondition() => Err(error),
        _ => Ok(()),
    }
}

// --- trying the store without leaving anything behind ---

impl Store {
    /// Whether objects can be put at these keys: creates a multipart upload and aborts it. That needs the same permissions as
    /// writing (`s3:PutObject`, `s3:AbortMultipartUpload`, the KMS key) and leaves nothing, not even a version of an object
    /// in a versioned bucket. It does not test `s3:DeleteObject`.
    pub(super) async fn try_writing(&mut self, keys: &[String]) -> Result<(), SinkError> {
        let clients = self.clients().await?;
        for key in keys {
            let tried = self.create_and_abort(clients.of(key), key).await;
            tried.map_err(|error| self.not_writable(error, key))?;
        }
        Ok(())
    }

    fn not_writable(&self, error: S3Error, key: &str) -> SinkError {
        error.into_error(&format!("write to s3://{}/{key}", self.bucket), &self.connection.address)
    }

    /// Whether the store rejects overwriting an object with `If-None-Match`: some accept the header and ignore it.
    pub(super) async fn expect_conditional_puts(&mut self, key: &str, hint: &str) -> Result<(), SinkError> {
        let client = self.client().await?;
        let mut tried = self.supports_conditional_puts(&client, key).await;
        if tried.as_ref().is_err_and(S3Error::needs_checksum) && self.headers.checksum.is_none() {
            self.send_checksums();
            tried = self.supports_conditional_puts(&client, key).await;
        }
        let supported = tried.map_err(|error| self.not_writable(error, key))?;
        if supported {
            return Ok(());
        }
        Err(SinkError::Stopped {
            message: "the store overwrites objects although `If-None-Match: *` forbids it".to_owned(),
            hint: hint.to_owned(),
        })
    }

    async fn supports_conditional_puts(&self, client: &Client, key: &str) -> Result<bool, S3Error> {
        // A bucket policy may refuse an object without the sink's own headers.
        let headers = Headers { if_none_match: true, ..self.manifest_headers.clone() };
        let put = || self.put_whole(client, key, &headers, Vec::new(), None);
        let (first, second) = (put().await, put().await);
        // The object may stay where nobody may delete it; then the next attempt finds it, which proves the same.
        delete(client, &self.bucket, key, None).await.ok();
        first.or_else(unless_it_exists)?;
        match second {
            Ok(()) => Ok(false),
            Err(error) if error.is_precondition() => Ok(true),
            Err(error) => Err(error),
        }
    }
}

fn unless_it_exists(error: S3Error) -> Result<(), S3Error> {
    if error.is_precondition() { Ok(()) } else { Err(error) }
}

// --- several requests at once ---

/// Runs all of `work`, at most `most` futures at once; returns the results in no order. After an error nothing new is
/// started and the running futures are awaited: a dropped request may still arrive, after the rollback.
pub(super) async fn all_or_error<T, E>(most: usize, work: Vec<BoxFuture<'_, Result<T, E>>>) -> Result<Vec<T>, E> {
    let (mut work, mut running) = (work.into_iter(), FuturesUnordered::new());
    let (mut done, mut first_error) = (Vec::new(), None);
    loop {
        if first_error.is_none() {
            running.extend(work.by_ref().take(most.saturating_sub(running.len())));
        }
        match running.next().await {
            None => break,
            Some(Ok(result)) => done.push(result),
            Some(Err(error)) => first_error = first_error.or(Some(error)),
        }
    }
    first_error.map_or(Ok(done), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts how many futures start and how many run at once; number `broken` fails.
    async fn run(count: usize, most: usize, broken: usize) -> (Result<Vec<usize>, usize>, usize, usize) {
        let (started, running, peak) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let future = |number: usize| {
            let (started, running, peak) = (&started, &running, &peak);
            let work: BoxFuture<'_, Result<usize, usize>> = Box::pin(async move {
                started.fetch_add(1, Ordering::SeqCst);
                peak.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                if number == broken { Err(number) } else { Ok(number) }
            });
            work
        };
        let result = all_or_error(most, (0..count).map(future).collect()).await;
        assert_eq!(running.load(Ordering::SeqCst), 0, "a future is still running");
        (result, started.load(Ordering::SeqCst), peak.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn all_are_done_and_no_more_at_once_than_allowed() {
        let (result, started, peak) = run(20, 3, usize::MAX).await;
        let mut numbers = result.expect("no error");
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        assert_eq!((started, peak), (20, 3));
    }

    #[tokio::test]
    async fn after_an_error_nothing_new_is_started() {
        let (result, started, _) = run(20, 3, 1).await;
        assert_eq!(result, Err(1));
        assert!(started < 8, "{started}");
    }
}
