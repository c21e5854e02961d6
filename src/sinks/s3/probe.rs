//! Tries the store without leaving anything behind.

use aws_sdk_s3::Client;

use super::error::S3Error;
use super::undo::delete;
use super::upload::Store;
use crate::sinks::SinkError;

impl Store {
    /// Whether objects could be put at these keys: an upload in parts is begun and given up. That needs the rights of the
    /// work itself (`s3:PutObject`, `s3:AbortMultipartUpload`, the KMS key), and leaves nothing, not even a version of an
    /// object in a bucket that keeps them, as putting and deleting would. What it does not try is `s3:DeleteObject`.
    pub(super) async fn try_writing(&mut self, keys: &[String]) -> Result<(), SinkError> {
        let client = self.client().await?;
        for key in keys {
            let tried = self.begin_and_give_up(&client, key).await;
            tried.map_err(|fault| fault.into_error(&format!("write to s3://{}/{key}", self.bucket)))?;
        }
        Ok(())
    }

    /// Whether the store refuses to write over an object when it is asked to: some take the condition and do not heed it.
    pub(super) async fn expect_conditions_heeded(&mut self, key: &str) -> Result<(), SinkError> {
        let client = self.client().await?;
        let tried = self.heeds_conditions(&client, key).await;
        let heeded = tried.map_err(|fault| fault.into_error(&format!("write to s3://{}/{key}", self.bucket)))?;
        if heeded {
            return Ok(());
        }
        Err(SinkError::Stopped {
            message: "the store writes over objects although `If-None-Match: *` forbids it".to_owned(),
            hint: "take `if_none_match` out: it is not needed for exactly once".to_owned(),
        })
    }

    async fn heeds_conditions(&self, client: &Client, key: &str) -> Result<bool, S3Error> {
        let put = || client.put_object().bucket(&self.bucket).key(key).if_none_match("*").send();
        // A former try may have been cut off before it tidied up.
        delete(client, &self.bucket, key).await?;
        put().await.map_err(|error| S3Error::of(&error))?;
        let second = put().await.map_err(|error| S3Error::of(&error));
        delete(client, &self.bucket, key).await?;
        match second {
            Ok(_) => Ok(false),
            Err(fault) if fault.is_precondition() => Ok(true),
            Err(fault) => Err(fault),
        }
    }
}
