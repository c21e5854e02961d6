//! Puts objects: small ones in one request, large ones in parts, several at a time.
//!
//! ```text
//! objects (recorded in the plan) --up to `concurrency` at once--> PutObject
//!                                                                 CreateMultipartUpload, UploadPart..., Complete
//! a fault: what is under way is waited for, nothing new begins; a multipart upload is aborted
//! ```

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use futures_util::future::BoxFuture;

use super::bounded::all_or_fault;
use super::client::Connection;
use super::error::{S3Error, transient};
use super::options::{Acl, ServerSideEncryption, StorageClass};
use crate::clock::SharedClock;
use crate::sinks::SinkError;

/// Larger objects go in parts of this size. S3 wants parts of 5 MiB or more.
const PART_BYTES: usize = 8 << 20;

/// Parts of one object that are under way at once.
const PARTS_AT_ONCE: usize = 4;

/// The metadata field that tells which process put an object, where that must be known.
pub(super) const TOKEN_FIELD: &str = "auditflow-token";

/// What goes with each object.
#[derive(Clone, Debug)]
pub(super) struct Headers {
    pub(super) content_type: String,
    pub(super) content_encoding: Option<String>,
    pub(super) storage_class: Option<StorageClass>,
    pub(super) acl: Option<Acl>,
    pub(super) server_side_encryption: Option<ServerSideEncryption>,
    pub(super) ssekms_key_id: Option<String>,
    pub(super) tagging: Option<String>,
    pub(super) checksum: Option<ChecksumAlgorithm>,
    pub(super) if_none_match: bool,
}

impl Headers {
    /// Those of a manifest: small, read often, and by everybody who reads the objects.
    fn of_manifest(&self) -> Self {
        Self {
            content_type: "application/json".to_owned(),
            content_encoding: None,
            storage_class: None,
            ..self.clone()
        }
    }
}

/// An object that is to be put.
#[derive(Debug)]
pub(super) struct Put {
    pub(super) key: String,
    pub(super) bytes: Vec<u8>,
    pub(super) is_manifest: bool,
}

/// The bucket, and how objects get there.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) connection: Connection,
    pub(super) bucket: String,
    headers: Headers,
    manifest_headers: Headers,
    pub(super) concurrency: usize,
    /// Larger objects go in parts.
    pub(super) multipart_above: usize,
    /// This process, among all that ever put objects of this sink.
    token: String,
    client: Option<Client>,
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
        Self { connection, bucket, headers, manifest_headers, concurrency, multipart_above, token, client: None }
    }

    /// The client of the configured place, made if there is none.
    pub(super) async fn client(&mut self) -> Result<Client, SinkError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = self.connection.client(&self.connection.place).await?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// After a failure the next client reads the credentials anew.
    pub(super) fn forget_client(&mut self) {
        self.client = None;
    }

    /// What tells that an object was put by this process; only where objects of others must be left alone.
    pub(super) fn token(&self) -> Option<&str> {
        self.headers.if_none_match.then_some(self.token.as_str())
    }

    /// Puts all objects, or as many as go before the first fault.
    pub(super) async fn put_all(&mut self, objects: Vec<Put>) -> Result<(), SinkError> {
        let client = self.client().await?;
        let mut puts: Vec<BoxFuture<'_, Result<(), SinkError>>> = Vec::new();
        for object in objects {
            puts.push(Box::pin(self.put(&client, object)));
        }
        let put = all_or_fault(self.concurrency, puts).await;
        if put.is_err() {
            self.forget_client();
        }
        put.map(drop)
    }

    async fn put(&self, client: &Client, object: Put) -> Result<(), SinkError> {
        let done = if object.bytes.len() > self.multipart_above {
            self.upload(client, &object).put(&object.bytes).await
        } else {
            self.put_whole(client, &object.key, self.headers_of(&object), object.bytes).await
        };
        done.map_err(|fault| self.explained(fault, &object.key))
    }

    fn upload<'a>(&'a self, client: &'a Client, object: &'a Put) -> Upload<'a> {
        Upload { store: self, client, headers: self.headers_of(object), key: &object.key }
    }

    /// Begins an upload in parts and gives it up: nothing is left.
    pub(super) async fn begin_and_give_up(&self, client: &Client, key: &str) -> Result<(), S3Error> {
        let upload = Upload { store: self, client, headers: &self.headers, key };
        let id = upload.create().await?;
        abort(client, &self.bucket, key, &id).await
    }

    fn headers_of(&self, object: &Put) -> &Headers {
        if object.is_manifest { &self.manifest_headers } else { &self.headers }
    }

    async fn put_whole(&self, client: &Client, key: &str, headers: &Headers, bytes: Vec<u8>) -> Result<(), S3Error> {
        let request = client
            .put_object()
            .bucket(&self.bucket)
            .key(key)
            .body(ByteStream::from(bytes))
            .content_type(&headers.content_type)
            .set_content_encoding(headers.content_encoding.clone())
            .set_storage_class(headers.storage_class.map(StorageClass::sdk))
            .set_acl(headers.acl.map(Acl::sdk))
            .set_server_side_encryption(headers.server_side_encryption.map(ServerSideEncryption::sdk))
            .set_ssekms_key_id(headers.ssekms_key_id.clone())
            .set_tagging(headers.tagging.clone())
            .set_checksum_algorithm(headers.checksum.clone());
        let request = match self.token() {
            Some(token) => request.if_none_match("*").metadata(TOKEN_FIELD, token),
            None => request,
        };
        request.send().await.map_err(|error| S3Error::of(&error))?;
        Ok(())
    }

    fn explained(&self, fault: S3Error, key: &str) -> SinkError {
        let object = format!("s3://{}/{key}", self.bucket);
        if !fault.is_precondition() {
            return fault.into_error(&format!("put {object}"));
        }
        let hint = "another installation writes under the same names, or the journal was restored from a backup: move the object away, or change `key_prefix`. auditflow goes on by itself";
        transient(format!("{object} is there already, and `if_none_match` forbids to write over it"), hint)
    }
}

/// One object in parts.
struct Upload<'a> {
    store: &'a Store,
    client: &'a Client,
    headers: &'a Headers,
    key: &'a str,
}

impl Upload<'_> {
    async fn put(&self, bytes: &[u8]) -> Result<(), S3Error> {
        let id = self.create().await?;
        let done = match self.put_parts(&id, bytes).await {
            Ok(parts) => self.complete(&id, parts).await,
            Err(fault) => Err(fault),
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
        let request = match self.store.token() {
            Some(token) => request.metadata(TOKEN_FIELD, token),
            None => request,
        };
        let created = request.send().await.map_err(|error| S3Error::of(&error))?;
        Ok(created.upload_id.unwrap_or_default())
    }

    /// All parts are waited for, also after a fault: none may arrive behind the abort.
    async fn put_parts(&self, id: &str, bytes: &[u8]) -> Result<Vec<CompletedPart>, S3Error> {
        let mut puts: Vec<BoxFuture<'_, Result<CompletedPart, S3Error>>> = Vec::new();
        for (index, chunk) in bytes.chunks(PART_BYTES).enumerate() {
            let number = i32::try_from(index + 1).unwrap_or(i32::MAX);
            puts.push(Box::pin(self.put_part(id, number, chunk)));
        }
        let mut parts = all_or_fault(PARTS_AT_ONCE, puts).await?;
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    async fn put_part(&self, id: &str, number: i32, bytes: &[u8]) -> Result<CompletedPart, S3Error> {
        let put = self
            .client
            .upload_part()
            .bucket(&self.store.bucket)
            .key(self.key)
            .upload_id(id)
            .part_number(number)
            .body(ByteStream::from(bytes.to_vec()))
            .set_checksum_algorithm(self.headers.checksum.clone())
            .send()
            .await
            .map_err(|error| S3Error::of(&error))?;
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
        request.send().await.map_err(|error| S3Error::of(&error))?;
        Ok(())
    }
}

/// Gives up a multipart upload; its parts go. One that is gone already is no fault.
pub(super) async fn abort(client: &Client, bucket: &str, key: &str, id: &str) -> Result<(), S3Error> {
    let aborted = client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await;
    match aborted.map_err(|error| S3Error::of(&error)) {
        Err(fault) if !fault.is_absent() => Err(fault),
        _ => Ok(()),
    }
}
