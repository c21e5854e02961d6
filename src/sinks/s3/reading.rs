//! Reads objects of the bucket: for the log of a table, and to verify what manifests name.

use aws_sdk_s3::Client;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::client::{Clients, Connection};
use super::config::S3Config;
use super::error::S3Error;
use super::objects::Keys;
use super::upload::Store;
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::sinks::SinkError;
use crate::sinks::manifest::{ManifestObject, sha256_hex};
use crate::sinks::verify::{WrittenOutputs, is_manifest};

impl Store {
    /// The keys below `directory` after `start`.
    pub(super) async fn keys_by(
        &self,
        client: &Client,
        directory: &str,
        start: &str,
    ) -> Result<Vec<String>, SinkError> {
        let (mut keys, mut next) = (Vec::new(), None);
        loop {
            let request = client.list_objects_v2().bucket(&self.bucket).prefix(directory).start_after(start);
            let page = request.set_continuation_token(next).send().await.map_err(|error| S3Error::of(&error));
            let page = page.map_err(|error| self.cannot(error, "list", directory))?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(keys);
            }
        }
    }

    /// The bytes of an object; `None` if there is none.
    pub(super) async fn read_by(&self, client: &Client, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let failed = |error: S3Error| self.cannot(error, "read", key);
        match client.get_object().bucket(&self.bucket).key(key).send().await.map_err(|error| S3Error::of(&error)) {
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(failed(error)),
            Ok(object) => {
                let body =
                    object.body.collect().await.map_err(|error| failed(S3Error::not_stored(&error.to_string())))?;
                Ok(Some(body.into_bytes().to_vec()))
            }
        }
    }

    fn cannot(&self, error: S3Error, what: &str, key: &str) -> SinkError {
        error.into_error(&format!("{what} s3://{}/{key}", self.bucket), &self.connection.address)
    }
}

/// What an `s3` sink has written.
pub(in crate::sinks) struct S3Outputs {
    store: Store,
    /// The directory of the manifests, with a slash at the end.
    directory: String,
    place: String,
    clients: OnceCell<Clients>,
}

impl S3Config {
    /// The directory of the manifests in the bucket, with a slash at the end; `None` without manifests.
    pub(in crate::sinks) fn manifest_directory(
        &self,
        pipeline: &str,
        sink: &str,
    ) -> Result<Option<String>, Vec<SettingDiagnostic>> {
        let prefix = self.manifests(&self.prefix_template()?);
        Ok(prefix.map(|prefix| format!("{prefix}{}/", Keys::new(pipeline, sink, None, "").name())))
    }

    /// What the sink has written; `None` without manifests.
    pub(in crate::sinks) fn outputs(
        &self,
        clock: &SharedClock,
        pipeline: &str,
        sink: &str,
    ) -> Result<Option<S3Outputs>, Vec<SettingDiagnostic>> {
        let Some(directory) = self.manifest_directory(pipeline, sink)? else { return Ok(None) };
        let connection = Connection::new(self);
        let store = Store::new(connection, self.bucket.clone(), self.headers(), self.request.concurrency(), clock);
        let place = format!("s3://{}/{directory}", self.bucket);
        Ok(Some(S3Outputs { store, directory, place, clients: OnceCell::new() }))
    }
}

impl S3Outputs {
    async fn clients(&self) -> Result<&Clients, SinkError> {
        let connection = &self.store.connection;
        self.clients.get_or_try_init(|| connection.clients(&connection.location)).await
    }
}

impl WrittenOutputs for S3Outputs {
    fn place(&self) -> &str {
        &self.place
    }

    fn manifests(&self) -> BoxFuture<'_, Result<Vec<String>, SinkError>> {
        Box::pin(async {
            let client = &self.clients().await?.own;
            let keys = self.store.keys_by(client, &self.directory, &self.directory).await?;
            let names = keys.iter().filter_map(|key| key.strip_prefix(&self.directory));
            Ok(names.filter(|name| is_manifest(name) && !name.contains('/')).map(str::to_owned).collect())
        })
    }

    fn manifest<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<Vec<u8>, SinkError>> {
        Box::pin(async move {
            let key = format!("{}{name}", self.directory);
            let found = self.store.read_by(&self.clients().await?.own, &key).await?;
            found.ok_or_else(|| SinkError::Transient {
                message: format!("s3://{}/{key} was removed while the manifests were read", self.store.bucket),
                hint: "verify again".to_owned(),
            })
        })
    }

    fn sha256<'a>(&'a self, object: &'a ManifestObject) -> BoxFuture<'a, Result<Option<String>, SinkError>> {
        Box::pin(async {
            let client = self.clients().await?.of(&object.key);
            let found = self.store.read_by(client, &object.key).await?;
            // A longer object has another hash, a shorter one too.
            Ok(found.map(|bytes| sha256_hex(&bytes)))
        })
    }
}
