//! What is recorded before an object is put, and how a bucket is made again what it was.
//!
//! ```text
//! manifest            deleted first: nobody who lists complete batches sees one with holes
//! every other object  its unfinished uploads aborted, then deleted
//! ```
//!
//! A key is made of this journal's sequence numbers, so nothing stood there before. A record says where the bucket is:
//! objects of a former config are found too, with the credentials that are configured now.

use std::collections::HashSet;

use aws_sdk_s3::Client;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::bounded::all_or_fault;
use super::client::Place;
use super::error::{S3Error, transient};
use super::upload::{Put, Store, TOKEN_FIELD, abort};
use crate::journal::RollbackRecord;
use crate::sinks::SinkError;
use crate::sinks::foreign::OBJECT;

/// What must be known to take an object back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Recorded {
    place: Place,
    /// Whether it is put in parts.
    #[serde(default)]
    multipart: bool,
    #[serde(default)]
    manifest: bool,
    /// Which process was to put it, where objects of others must be left alone.
    token: Option<String>,
}

/// An object that is taken back.
#[derive(Debug)]
struct Target<'a> {
    bucket: &'a str,
    key: &'a str,
    recorded: Recorded,
}

/// The record of an object that is about to be put.
pub(super) fn planned(store: &Store, object: &Put) -> RollbackRecord {
    let recorded = Recorded {
        place: store.connection.place.clone(),
        multipart: object.bytes.len() > store.multipart_above,
        manifest: object.is_manifest,
        token: store.token().map(str::to_owned),
    };
    RollbackRecord {
        name: format!("{OBJECT}{}/{}", store.bucket, object.key),
        before: serde_json::to_string(&recorded).expect("plain fields always become JSON"),
    }
}

impl Store {
    /// Takes objects back. Can be called again after a failure.
    pub(super) async fn undo(&mut self, outputs: &[RollbackRecord]) -> Result<(), SinkError> {
        let targets = targets(outputs)?;
        let mut places: Vec<&Place> = Vec::new();
        for target in &targets {
            if !places.contains(&&target.recorded.place) {
                places.push(&target.recorded.place);
            }
        }
        for place in places {
            let client = if *place == self.connection.place {
                self.client().await?
            } else {
                self.connection.client(place).await?
            };
            let of_place = targets.iter().filter(|target| target.recorded.place == *place);
            let undone = self.undo_at(&client, of_place).await;
            undone.inspect_err(|_| self.forget_client())?;
        }
        Ok(())
    }

    async fn undo_at<'a>(
        &self,
        client: &Client,
        targets: impl Iterator<Item = &'a Target<'a>>,
    ) -> Result<(), SinkError> {
        let (mut manifests, mut objects): (Vec<BoxFuture<'_, Result<(), SinkError>>>, Vec<_>) = Default::default();
        for target in targets {
            let group = if target.recorded.manifest { &mut manifests } else { &mut objects };
            group.push(Box::pin(take_back(client, target)));
        }
        all_or_fault(self.concurrency, manifests).await?;
        all_or_fault(self.concurrency, objects).await?;
        Ok(())
    }
}

/// Each object once; where one was recorded twice, the later record holds.
fn targets(outputs: &[RollbackRecord]) -> Result<Vec<Target<'_>>, SinkError> {
    let (mut done, mut targets) = (HashSet::new(), Vec::new());
    for output in outputs.iter().rev() {
        if done.insert(output.name.as_str()) {
            targets.push(target(output)?);
        }
    }
    Ok(targets)
}

fn target(output: &RollbackRecord) -> Result<Target<'_>, SinkError> {
    let unreadable = |reason: String| {
        transient(
            format!("a batch was begun on `{}` and this auditflow cannot read how: {reason}", output.name),
            "run the version of auditflow that began the batch once more",
        )
    };
    let path = output.name.strip_prefix(OBJECT).unwrap_or_default();
    let (bucket, key) = path.split_once('/').ok_or_else(|| unreadable("no object is named".to_owned()))?;
    let recorded = serde_json::from_str(&output.before).map_err(|error| unreadable(error.to_string()))?;
    Ok(Target { bucket, key, recorded })
}

async fn take_back(client: &Client, target: &Target<'_>) -> Result<(), SinkError> {
    let Target { bucket, key, recorded } = target;
    let object = format!("{OBJECT}{bucket}/{key}");
    let undone = async {
        if recorded.multipart {
            abort_uploads(client, bucket, key).await?;
        }
        match &recorded.token {
            Some(token) if !is_ours(client, bucket, key, token).await? => Ok(()),
            _ => delete(client, bucket, key).await,
        }
    };
    match undone.await {
        Err(fault) if fault.is_bucket_missing() => {
            tracing::warn!(object, "the bucket is gone, and with it what an unfinished batch had put there");
            Ok(())
        }
        Err(fault) => Err(fault.into_error(&format!("take back {object} of an unfinished batch"))),
        Ok(()) => Ok(()),
    }
}

pub(super) async fn delete(client: &Client, bucket: &str, key: &str) -> Result<(), S3Error> {
    let deleted = client.delete_object().bucket(bucket).key(key).send().await;
    match deleted.map_err(|error| S3Error::of(&error)) {
        Err(fault) if !fault.is_absent() => Err(fault),
        _ => Ok(()),
    }
}

/// Whether the object was put by the process with this token.
async fn is_ours(client: &Client, bucket: &str, key: &str, token: &str) -> Result<bool, S3Error> {
    match client.head_object().bucket(bucket).key(key).send().await.map_err(|error| S3Error::of(&error)) {
        Ok(found) => {
            Ok(found.metadata().and_then(|fields| fields.get(TOKEN_FIELD)).is_some_and(|put_by| put_by == token))
        }
        Err(fault) if fault.is_absent() => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Gives up every upload of the object that was begun and not finished.
async fn abort_uploads(client: &Client, bucket: &str, key: &str) -> Result<(), S3Error> {
    let listed = client.list_multipart_uploads().bucket(bucket).prefix(key).send().await;
    let listed = match listed.map_err(|error| S3Error::of(&error)) {
        Err(fault) if fault.is_not_offered() => {
            tracing::warn!(
                object = format!("{OBJECT}{bucket}/{key}"),
                "unfinished uploads cannot be listed: parts of one may stay, unseen and paid for, until a lifecycle rule removes them (AbortIncompleteMultipartUpload)"
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
        let record = |token: &str| RollbackRecord {
            name: "s3://bucket/folder/key".to_owned(),
            before: format!(
                r#"{{"place":{{"endpoint":null,"region":null,"force_path_style":false}},"token":"{token}"}}"#
            ),
        };
        let outputs = [record("first"), record("second")];
        let targets = targets(&outputs).expect("readable");
        assert_eq!(targets.len(), 1);
        assert_eq!((targets[0].bucket, targets[0].key), ("bucket", "folder/key"));
        assert_eq!(targets[0].recorded.token.as_deref(), Some("second"));
    }
}
