//! The marker of a sink in the bucket: `_auditflow/<pipeline>-<sink>.json` in the directory that `key_prefix` starts with.

use std::collections::BTreeSet;

use super::error::S3Error;
use super::upload::Store;
use crate::journal::S3ObjectRecord;
use crate::sinks::marker::{DIRECTORY, Marker, MarkerState, of_overlapping_journals};
use crate::sinks::{BatchRange, SinkError, StoredPosition};

/// Longer bodies are not markers.
const MAX_BYTES: i64 = 64 << 10;

/// The marker of one S3 sink.
#[derive(Debug)]
pub(super) struct ObjectMarker {
    pipeline: String,
    sink: String,
    /// The end of its key: the directory of markers and its name.
    name: String,
    key: String,
    /// The keys of markers with this name in the directories above.
    above: Vec<String>,
    state: MarkerState,
    /// What the bucket has, as far as the current batch has seen.
    current: Option<Marker>,
}

impl ObjectMarker {
    /// `fixed` is the fixed start of every object's key, `name` the sink's name in keys.
    pub(super) fn new(pipeline: &str, sink: &str, fixed: &str, name: &str) -> Self {
        let directory = fixed.rfind('/').map_or("", |end| &fixed[..=end]);
        let name = format!("{DIRECTORY}/{name}.json");
        let key = format!("{directory}{name}");
        let starts = directories_in(directory).filter(|above| *above != directory);
        let above = starts.map(|above| format!("{above}{name}")).collect();
        let (pipeline, sink, state) = (pipeline.to_owned(), sink.to_owned(), MarkerState::default());
        Self { pipeline, sink, name, key, above, state, current: None }
    }

    /// At the start of the sink. A sink of another journal with the same names may write to a prefix that contains this one.
    pub(super) async fn restore(&mut self, store: &mut Store, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        self.state.restore(stored, &self.pipeline, &self.sink);
        for key in &self.above {
            let found = store.visible_marker(key).await?;
            if let Some(other) = found.filter(|found| found.journal != stored.journal) {
                return Err(of_overlapping_journals(&other, &store.address(key)));
            }
        }
        let found = store.marker(&self.key).await?;
        self.state.compare(found.as_ref(), &store.address(&self.key)).map(drop)
    }

    /// Starts a batch.
    pub(super) fn begin(&mut self, range: BatchRange) {
        self.state.begin(range);
        self.current = None;
    }

    /// Before the first put of a batch: the output is still this journal's.
    pub(super) async fn compare(&mut self, store: &mut Store) -> Result<(), SinkError> {
        if self.state.is_compared || !self.state.is_known() {
            return Ok(());
        }
        let found = store.marker(&self.key).await?;
        if let Some(marker) = self.state.compare(found.as_ref(), &store.address(&self.key))? {
            store.put_marker(&self.key, &marker).await?;
        }
        self.current = found;
        self.state.is_compared = true;
        Ok(())
    }

    /// After all objects of the batch are put. An earlier attempt at it may have come as far as here.
    pub(super) async fn commit(&mut self, store: &mut Store, range: BatchRange) -> Result<(), SinkError> {
        match self.state.with_batch(range).filter(|marker| self.current.as_ref() != Some(marker)) {
            Some(marker) => store.put_marker(&self.key, &marker).await,
            None => Ok(()),
        }
    }

    /// After a batch was rolled back. An earlier `key_prefix` may have had its marker in another directory.
    pub(super) async fn roll_back(&mut self, store: &mut Store, records: &[&S3ObjectRecord]) -> Result<(), SinkError> {
        if !self.state.is_known() {
            return Ok(());
        }
        let mut keys = BTreeSet::from([self.key.clone()]);
        keys.extend(directories_of(&store.bucket, records).iter().map(|directory| format!("{directory}{}", self.name)));
        keys.retain(|key| !store.connection.has_role(key));
        for key in keys {
            let found = store.marker(&key).await?;
            if let Some(marker) = self.state.without_batch(found.as_ref()) {
                store.put_marker(&key, &marker).await?;
            }
        }
        Ok(())
    }

    /// Takes the output over.
    pub(super) async fn adopt(&mut self, store: &mut Store, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        self.state.restore(stored, &self.pipeline, &self.sink);
        match self.state.adopted() {
            Some(marker) => store.put_marker(&self.key, marker).await,
            None => Ok(()),
        }
    }
}

/// The directories that contain all objects of a batch in this bucket: the fixed start of `key_prefix` was one of them.
fn directories_of<'a>(bucket: &str, records: &[&'a S3ObjectRecord]) -> Vec<&'a str> {
    let mut keys =
        records.iter().filter(|record| record.bucket == bucket && !record.manifest).map(|record| &record.key);
    let Some(first) = keys.next() else { return Vec::new() };
    let shared = keys.fold(first.as_str(), |shared, key| {
        let same = shared.bytes().zip(key.bytes()).take_while(|(one, other)| one == other).count();
        &shared[..shared.floor_char_boundary(same)]
    });
    directories_in(shared).collect()
}

/// The directories that a key is in, the bucket first.
fn directories_in(key: &str) -> impl Iterator<Item = &str> {
    let ends = key.match_indices('/').map(|(end, _)| end + 1);
    std::iter::once(0).chain(ends).map(|end| &key[..end])
}

impl Store {
    pub(super) fn address(&self, key: &str) -> String {
        format!("s3://{}/{key}", self.bucket)
    }

    /// Reads a marker; `None` if there is none.
    pub(super) async fn marker(&mut self, key: &str) -> Result<Option<Marker>, SinkError> {
        self.read_marker(key, S3Error::is_absent).await
    }

    /// The same where the credentials may not permit to read.
    async fn visible_marker(&mut self, key: &str) -> Result<Option<Marker>, SinkError> {
        self.read_marker(key, |error| error.is_absent() || error.is_not_offered()).await
    }

    async fn read_marker(&mut self, key: &str, is_none: fn(&S3Error) -> bool) -> Result<Option<Marker>, SinkError> {
        let client = self.client().await?;
        let address = self.address(key);
        let origin = self.connection.address.clone();
        let failed = |error: S3Error| error.into_error(&format!("read {address}"), &origin);
        let found = client.get_object().bucket(&self.bucket).key(key).send().await.map_err(|error| S3Error::of(&error));
        let object = match found {
            Err(error) if is_none(&error) => return Ok(None),
            Err(error) => {
                self.reset_client();
                return Err(failed(error));
            }
            Ok(object) => object,
        };
        // Not an object: the put that follows proves whether this is a store.
        if object.e_tag().is_none() {
            return Ok(None);
        }
        if object.content_length().is_some_and(|length| length > MAX_BYTES) {
            return Marker::decode(&[], &address).map(Some);
        }
        let body = object.body.collect().await.map_err(|error| failed(S3Error::not_stored(&error.to_string())))?;
        Marker::decode(&body.into_bytes(), &address).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::S3Location;

    #[test]
    fn the_marker_is_beside_the_objects_and_that_of_an_earlier_prefix_is_found() {
        assert_eq!(ObjectMarker::new("p", "s", "audit/event_vendor=", "p-s").key, "audit/_auditflow/p-s.json");
        assert_eq!(ObjectMarker::new("p", "s", "", "p-s").key, "_auditflow/p-s.json");
        let record = |bucket: &str, key: &str, manifest| S3ObjectRecord {
            bucket: bucket.to_owned(),
            key: key.to_owned(),
            location: S3Location { endpoint: None, region: None, force_path_style: false },
            multipart: false,
            manifest,
            table: false,
            token: None,
        };
        let records = [
            record("b", "audit/event_vendor=clumio/x.gz", false),
            record("b", "audit/event_vendor=confluence/x.gz", false),
            record("b", "_manifests/x.json", true),
            record("other", "x", false),
        ];
        let records: Vec<_> = records.iter().collect();
        assert_eq!(directories_of("b", &records), ["", "audit/"]);
        assert_eq!(directories_of("other", &records), [""]);
        assert_eq!(directories_of("none", &records), [""; 0]);
    }
}
