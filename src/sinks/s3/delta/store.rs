//! What the log needs of the store, besides putting objects.

use super::super::upload::Store;
use crate::sinks::SinkError;

impl Store {
    /// The keys below `directory` after `start`.
    pub(super) async fn keys_after(&mut self, directory: &str, start: &str) -> Result<Vec<String>, SinkError> {
        let client = self.client().await?;
        self.keys_by(&client, directory, start).await.inspect_err(|_| self.reset_client())
    }

    /// The bytes of an object; `None` if there is none.
    pub(super) async fn read(&mut self, key: &str) -> Result<Option<Vec<u8>>, SinkError> {
        let client = self.client().await?;
        self.read_by(&client, key).await.inspect_err(|_| self.reset_client())
    }
}
