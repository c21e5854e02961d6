//! What is recorded before an object is put, and how a bucket is restored.
//!
//! ```text
//! manifest            deleted first: a reader that lists complete batches never sees an incomplete one
//! every other object  its unfinished uploads are aborted, then it is deleted
//! ```
//!
//! A key contains this journal's sequence numbers, so the object did not exist before. The record contains the location of
//! the bucket: objects of an earlier configuration are found too, with the credentials that are configured now.

use std::collections::{BTreeSet, HashSet};

use aws_sdk_s3::Client;
use futures_util::future::BoxFuture;

use super::client::Clients;
use super::error::S3Error;
use super::upload::{Put, Store, TOKEN_FIELD, abort, all_or_error, delete};
use crate::journal::{RollbackRecord, S3Location, S3ObjectRecord};
use crate::sinks::SinkError;

/// The record of an object that is about to be put.
pub(super) fn record_of(store: &Store, object: &Put) -> RollbackRecord {
    RollbackRecord::S3Object(S3ObjectRecord {
        bucket: store.bucket.clone(),
        key: object.key.clone(),
        location: store.connection.location.clone(),
        multipart: object.bytes.len() > store.multipart_above,
        manifest: object.is_manifest,
        table: store.is_table,
        token: Some(store.token().to_owned()),
    })
}

/// The bucket of a record that was rolled back, if it does not exist any more.
type RolledBack<'a> = Result<Option<&'a str>, SinkError>;

impl Store {
    /// Deletes the objects. Can be called again after an error.
    pub(super) async fn roll_back(&mut self, records: &[&S3ObjectRecord]) -> Result<(), SinkError> {
        let records = latest(records);
        if let Some(foreign) =
            records.iter().find(|record| record.location.endpoint != self.connection.location.endpoint)
        {
            return Err(of_another_store(foreign));
        }
        let mut locations: Vec<&S3Location> = Vec::new();
        for record in &records {
            if !locations.contains(&&record.location) {
                locations.push(&record.location);
            }
        }
        for location in locations {
            let clients = if *location == self.connection.location {
                self.clients().await?
            } else {
                self.connection.clients(location).await?
            };
            let here = records.iter().copied().filter(|record| record.location == *location);
            let done = self.roll_back_at(&clients, here).await;
            let gone = done.inspect_err(|_| self.reset_client())?;
            self.report_missing(gone);
        }
        Ok(())
    }

    /// Says once of each bucket that it does not exist any more.
    fn report_missing(&mut self, buckets: BTreeSet<&str>) {
        for bucket in buckets {
            if self.missing_buckets.insert(bucket.to_owned()) {
                tracing::warn!(
                    event = "bucket_missing",
                    bucket,
                    "the bucket does not exist any more, nor do the objects that an unfinished batch had put there"
                );
            }
        }
    }

    async fn roll_back_at<'a>(
        &self,
        clients: &Clients,
        records: impl Iterator<Item = &'a S3ObjectRecord>,
    ) -> Result<BTreeSet<&'a str>, SinkError> {
        let (mut manifests, mut objects): (Vec<BoxFuture<'_, RolledBack<'a>>>, Vec<_>) = Default::default();
        for record in records {
            let group = if record.manifest { &mut manifests } else { &mut objects };
            group.push(Box::pin(self.roll_back_object(clients.of(&record.key), record)));
        }
        let mut gone = all_or_error(self.concurrency, manifests).await?;
        gone.extend(all_or_error(self.concurrency, objects).await?);
        Ok(gone.into_iter().flatten().collect())
    }

    /// Deletes the object if the process of the record put it: the object itself says so. Another one at its key is left alone.
    /// Returns its bucket if that does not exist.
    async fn roll_back_object<'a>(&self, client: &Client, record: &'a S3ObjectRecord) -> RolledBack<'a> {
        let S3ObjectRecord { bucket, key, multipart, token, .. } = record;
        let object = format!("s3://{bucket}/{key}");
        let done = async {
            if *multipart {
                abort_uploads(client, bucket, key).await?;
            }
            match put_with(client, bucket, key, token.as_deref().unwrap_or_default()).await? {
                Some(e_tag) => delete(client, bucket, key, Some(&e_tag)).await,
                None => Ok(()),
            }
        };
        match done.await {
            Err(error) if error.is_bucket_missing() => Ok(Some(bucket)),
            Err(error) => {
                Err(error.into_error(&format!("roll back {object} of an unfinished batch"), &self.connection.address))
            }
            Ok(()) => Ok(None),
        }
    }
}

/// Each object once; if one was recorded twice, the later record holds.
pub(super) fn latest<'a>(records: &[&'a S3ObjectRecord]) -> Vec<&'a S3ObjectRecord> {
    let mut seen = HashSet::new();
    let latest = records.iter().rev().filter(|record| seen.insert((record.bucket.as_str(), record.key.as_str())));
    latest.copied().collect()
}

/// A record in the journal is not a reason to send a request to another store.
fn of_another_store(record: &S3ObjectRecord) -> SinkError {
    let S3ObjectRecord { bucket, key, location, .. } = record;
    let store = location.endpoint.as_deref().unwrap_or("AWS");
    SinkError::Stopped {
        message: format!(
            "the journal says that an unfinished batch put s3://{bucket}/{key} into another store ({store}): nothing was touched"
        ),
        hint: "if the sink wrote there before, restore `endpoint` in the pipeline file and run once; then change it"
            .to_owned(),
    }
}

/// The ETag of the object, if it was put by the process with this token.
async fn put_with(client: &Client, bucket: &str, key: &str, token: &str) -> Result<Option<String>, S3Error> {
    match client.head_object().bucket(bucket).key(key).send().await.map_err(|error| S3Error::of(&error)) {
        Ok(found) => {
            let put_by = found.metadata().and_then(|fields| fields.get(TOKEN_FIELD));
            Ok(found.e_tag().filter(|_| put_by.is_some_and(|put_by| put_by == token)).map(str::to_owned))
        }
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Aborts every unfinished upload of the object.
pub(super) async fn abort_uploads(client: &Client, bucket: &str, key: &str) -> Result<(), S3Error> {
    let listed = client.list_multipart_uploads().bucket(bucket).prefix(key).send().await;
    let listed = match listed.map_err(|error| S3Error::of(&error)) {
        Err(error) if error.is_not_offered() => {
            tracing::warn!(
                event = "uploads_not_listed",
                object = format!("s3://{bucket}/{key}"),
                "the store cannot list unfinished uploads; parts of one may remain and cost money until a lifecycle rule (AbortIncompleteMultipartUpload) removes them"
            );
            return Ok(());
        }
        listed => listed?,
    };
    for upload in listed.uploads().iter().filter(|upload| upload.key() == Some(key)) {
        abort(client, bucket, key, upload.upload_id().unwrap_or_default()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_record_of_an_object_holds() {
        let record = |token: &str| S3ObjectRecord {
            bucket: "bucket".to_owned(),
            key: "directory/key".to_owned(),
            location: S3Location { endpoint: None, region: None, force_path_style: false },
            multipart: false,
            manifest: false,
            table: false,
            token: Some(token.to_owned()),
        };
        let (first, second) = (record("first"), record("second"));
        let latest = latest(&[&first, &second]);
        assert_eq!(latest, [&second]);
    }
}
