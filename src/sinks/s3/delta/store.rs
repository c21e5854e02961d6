//! What the log needs of the store, besides putting objects.

use aws_sdk_s3::Client;

use super::super::error::S3Error;
use super::super::upload::Store;
use crate::sinks::SinkError;

impl Store {
    /// The keys below `directory` after `start`.
    pub(super) async fn keys_after(&mut self, directory: &str, start: &str) -> Result<Vec<String>, SinkError> {
        let client = self.client().await?;
        let (mut keys, mut next) = (Vec::new(), None);
        loop {
            let request = client.list_objects_v2().bucket(&self.bucket).prefix(directory).start_after(start);
            let page = request.set_continuation_token(next).send().await.map_err(|error| S3Error::of(&error));
            let page = page.map_err(|error| self.failed(error, "list", directory));
            let page = page.inspect_err(|_| self.reset_client())?;
            keys.extend(page.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
            next = page.next_continuation_token;
            if next.is_none() {
                return Ok(keys);
            }
        }
    }

    /// The bytes of an object; `None` if there is none.
    pub(super) async fn read(&mut self, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let client = self.client().await?;
        self.read_by(&client, key).await.inspect_err(|_| self.reset_client())
    }

    /// The same, several at once.
    pub(super) async fn read_by(&self, client: &Client, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let failed = |error: S3Error| self.failed(error, "read", key);
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

    fn failed(&self, error: S3Error, doing: &str, key: &str) -> SinkError {
        error.into_error(&format!("{doing} s3://{}/{key}", self.bucket), &self.connection.address)
    }
}
