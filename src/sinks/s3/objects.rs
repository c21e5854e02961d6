//! The objects of the current batch, and their keys: open objects that receive events, closed objects that wait to be put.
//!
//! ```text
//! event -> partition (its rendered prefix) -> open object
//!                                               all together over the limit: the largest are closed, named by the range
//!                                               that they cover; the partition's next event opens another object
//!                                               end of the batch: all are closed
//!
//! event_vendor=clumio/event_date=2026-01-31/  acme-lake-3f9a1c02-0000000000000001-0000000000004096.ndjson.gz
//! key_prefix, of the events       pipeline sink journal     first            last
//! ```
//!
//! The events alone decide where objects are split, so a repeated attempt splits them at the same events. The names of one
//! journal sort by its sequence numbers. The journal's identity in the name keeps two installations that write to one bucket,
//! or a new journal after a lost one, from overwriting each other's objects. The generation of a sink that redelivers does
//! the same: `3f9a1c02.001`.

use std::collections::HashMap;

use super::writer::{EncodeError, ObjectOptions, ObjectWriter};
use crate::event::Event;
use crate::journal::Seq;
use crate::sinks::manifest::{self, ManifestObject, name_of, sha256_hex};
use crate::sinks::marker::DIRECTORY;
use crate::sinks::template::{MAX_VALUE_BYTES, push_sanitized};
use crate::sinks::{BatchRange, EventForm};

/// The most bytes that a name adds to its prefix: pipeline, sink, range of the journal, extension.
pub(super) const MAX_NAME_BYTES: usize = 2 * MAX_VALUE_BYTES + manifest::MAX_NAME_BYTES + 32;

/// Makes the keys of one sink.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) pipeline: String,
    pub(super) sink: String,
    /// The journal's identity; empty until it is known.
    pub(super) journal: String,
    /// The sink's generation.
    pub(super) generation: u64,
    /// `pipeline-sink`, sanitized as a part of a path.
    name: String,
    manifests: Option<String>,
    extension: &'static str,
}

impl Keys {
    /// `manifests` is the prefix of the manifests; `None` without manifests.
    pub(super) fn new(pipeline: &str, sink: &str, manifests: Option<String>, extension: &'static str) -> Self {
        let mut name = String::new();
        push_sanitized(pipeline, &mut name);
        name.push('-');
        push_sanitized(sink, &mut name);
        let (pipeline, sink) = (pipeline.to_owned(), sink.to_owned());
        Self { pipeline, sink, journal: String::new(), generation: 0, name, manifests, extension }
    }

    /// `pipeline-sink`, as it is part of keys.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The key of an object with the events of `first..=last` that belong under `prefix`.
    pub(super) fn object(&self, prefix: &str, first: Seq, last: Seq) -> String {
        format!("{prefix}{}-{}{}", self.name, self.range(first, last), self.extension)
    }

    /// The key of a batch's manifest; `None` without manifests.
    pub(super) fn manifest(&self, first: Seq, last: Seq) -> Option<String> {
        let directory = self.manifests.as_ref()?;
        Some(format!("{directory}{}/{}.json", self.name, self.range(first, last)))
    }

    /// Keys that test the permissions of this sink, in directories that readers ignore: one in the directory that `fixed`, the
    /// fixed start of every object's key, lies in, and one beside the manifests.
    pub(super) fn probes(&self, fixed: &str) -> Vec<String> {
        let directory = fixed.rfind('/').map_or("", |end| &fixed[..=end]);
        let manifests = self.manifests.as_ref().map(|directory| format!("{directory}{}/auditflow-check", self.name));
        [format!("{directory}{DIRECTORY}/{}-check", self.name)].into_iter().chain(manifests).collect()
    }

    fn range(&self, first: Seq, last: Seq) -> String {
        name_of(&self.journal, self.generation, first, last)
    }
}

/// Memory of an open object besides its bytes: its prefix twice, the map's entry, the writer itself.
const OVERHEAD_BYTES: usize = 512;

/// An object that is complete and not yet put.
#[derive(Debug)]
pub(super) struct ClosedObject {
    pub(super) bytes: Vec<u8>,
    pub(super) entry: ManifestObject,
}

/// One partition of the batch.
#[derive(Debug)]
struct Partition {
    prefix: String,
    /// The first sequence number that its open object, or the next one, covers.
    from: Seq,
    open: Option<ObjectWriter>,
}

/// All objects of a batch that are not put yet.
#[derive(Debug)]
pub(super) struct Objects {
    options: ObjectOptions,
    range: BatchRange,
    /// In the order in which they first appeared; the order is the same at every attempt.
    partitions: Vec<Partition>,
    by_prefix: HashMap<String, usize>,
    current: Option<usize>,
    open_bytes: usize,
    closed: Vec<ClosedObject>,
    closed_bytes: usize,
}

impl Objects {
    pub(super) fn new(options: ObjectOptions, range: BatchRange) -> Self {
        Self {
            options,
            range,
            partitions: Vec::new(),
            by_prefix: HashMap::new(),
            current: None,
            open_bytes: 0,
            closed: Vec::new(),
            closed_bytes: 0,
        }
    }

    /// Adds an event. `same` means that its prefix is the same as in the last call.
    pub(super) fn push(
        &mut self,
        prefix: &str,
        same: bool,
        event: &Event<'_>,
        form: EventForm,
    ) -> Result<(), EncodeError> {
        let index = match self.current {
            Some(index) if same => index,
            _ => self.select(prefix),
        };
        let open = &mut self.partitions[index].open;
        let before = open.as_ref().map_or(0, memory);
        let mut writer = open.take().unwrap_or_else(|| ObjectWriter::new(self.options));
        let pushed = writer.push(event, form);
        // An object without events is not put.
        if pushed.is_ok() || before > 0 {
            self.open_bytes = self.open_bytes + memory(&writer) - before;
            *open = Some(writer);
        }
        pushed
    }

    fn select(&mut self, prefix: &str) -> usize {
        let index = self.by_prefix.get(prefix).copied().unwrap_or_else(|| self.add(prefix));
        self.current = Some(index);
        index
    }

    fn add(&mut self, prefix: &str) -> usize {
        let index = self.partitions.len();
        self.by_prefix.insert(prefix.to_owned(), index);
        self.partitions.push(Partition { prefix: prefix.to_owned(), from: self.range.first, open: None });
        index
    }

    /// Bytes of memory that open objects use.
    pub(super) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Bytes of the closed objects.
    pub(super) fn closed_bytes(&self) -> usize {
        self.closed_bytes
    }

    /// Closes the largest open objects until the others use no more than `remaining` bytes. `last` is the sequence number
    /// of the event that was added last.
    pub(super) fn close_largest(&mut self, remaining: usize, last: Seq, keys: &Keys) -> Result<(), EncodeError> {
        let mut by_size: Vec<(usize, usize)> = Vec::new();
        for (index, partition) in self.partitions.iter().enumerate() {
            by_size.extend(partition.open.as_ref().map(|writer| (memory(writer), index)));
        }
        by_size.sort_unstable_by_key(|(size, index)| (std::cmp::Reverse(*size), *index));
        for (_, index) in by_size {
            if self.open_bytes <= remaining {
                break;
            }
            self.close(index, last, keys)?;
        }
        Ok(())
    }

    /// Closes every open object at the end of the batch.
    pub(super) fn close_all(&mut self, keys: &Keys) -> Result<(), EncodeError> {
        for index in 0..self.partitions.len() {
            self.close(index, self.range.last, keys)?;
        }
        Ok(())
    }

    fn close(&mut self, index: usize, last: Seq, keys: &Keys) -> Result<(), EncodeError> {
        let partition = &mut self.partitions[index];
        let Some(writer) = partition.open.take() else { return Ok(()) };
        self.open_bytes -= memory(&writer);
        let finished = writer.finish()?;
        let entry = ManifestObject {
            key: keys.object(&partition.prefix, partition.from, last),
            offset: None,
            size: finished.bytes.len() as u64,
            sha256: sha256_hex(&finished.bytes),
            rows: finished.rows,
            first_time: finished.first_time,
            last_time: finished.last_time,
        };
        partition.from = last + 1;
        self.closed_bytes += finished.bytes.len();
        self.closed.push(ClosedObject { bytes: finished.bytes, entry });
        Ok(())
    }

    /// Removes and returns the closed objects.
    pub(super) fn take_closed(&mut self) -> Vec<ClosedObject> {
        self.closed_bytes = 0;
        std::mem::take(&mut self.closed)
    }
}

fn memory(writer: &ObjectWriter) -> usize {
    OVERHEAD_BYTES + writer.memory()
}

#[cfg(test)]
mod key_tests {
    use super::*;

    fn keys(manifests: Option<&str>) -> Keys {
        let mut keys = Keys::new("acme", "lake", manifests.map(str::to_owned), ".ndjson.gz");
        keys.journal = "3f9a1c0257d24b10".to_owned();
        keys
    }

    #[test]
    fn the_form_is_what_the_docs_say() {
        let keys = keys(Some("audit/_manifests/"));
        assert_eq!(
            keys.object("audit/event_vendor=clumio/", 1, 4_096),
            "audit/event_vendor=clumio/acme-lake-3f9a1c02-0000000000000001-0000000000004096.ndjson.gz"
        );
        assert_eq!(
            keys.manifest(1, 4_096).expect("manifests"),
            "audit/_manifests/acme-lake/3f9a1c02-0000000000000001-0000000000004096.json"
        );
    }

    #[test]
    fn names_sort_by_their_numbers() {
        let keys = keys(None);
        assert!(keys.object("a/", 9, 10) < keys.object("a/", 11, 1_000));
        assert!(keys.object("a/", 999, 1_000) < keys.object("a/", 1_001, 1_002));
        assert_eq!(keys.manifest(1, 2), None);
    }

    #[test]
    fn a_pipeline_name_cannot_leave_its_directory() {
        let keys = Keys::new("../x", "a/b", None, ".ndjson");
        assert_eq!(keys.object("p/", 1, 1).matches('/').count(), 1);
        assert!(keys.object("", 1, 1).len() <= MAX_NAME_BYTES);
        let long = Keys::new(&"x".repeat(500), &"y".repeat(500), None, ".ndjson.zst");
        assert!(long.object("", Seq::MAX, Seq::MAX).len() <= MAX_NAME_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::sinks::encoding::EncodingOptions;
    use crate::sinks::s3::writer::{Format, ObjectCompression};
    use crate::sinks::testing::event;

    fn keys() -> Keys {
        Keys::new("p", "s", None, ".ndjson")
    }

    fn options() -> ObjectOptions {
        let encoding = EncodingOptions::default();
        ObjectOptions { format: Format::Ndjson, compression: ObjectCompression::None, encoding, bloom_filters: false }
    }

    /// Every object of a batch whose events are these: the partition of each, and its length.
    fn written(events: &[(u8, usize)], limit: usize) -> (BTreeMap<String, Vec<u8>>, usize) {
        let range = BatchRange { first: 1, last: events.len() as u64 };
        let mut objects = Objects::new(options(), range);
        let (mut all, mut most) = (BTreeMap::new(), 0);
        for (number, (partition, length)) in events.iter().enumerate() {
            let raw = format!(r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(*length));
            let event = event(&raw, "2026-01-02T03:04:05Z");
            objects.push(&format!("{partition}/"), false, &event, EventForm::Raw).expect("added");
            most = most.max(objects.open_bytes);
            if objects.open_bytes > limit {
                objects.close_largest(limit / 2, number as u64 + 1, &keys()).expect("closed");
                assert!(objects.open_bytes <= limit / 2);
            }
        }
        objects.close_all(&keys()).expect("closed");
        assert_eq!(objects.open_bytes, 0);
        for object in objects.take_closed() {
            let former = all.insert(object.entry.key, object.bytes);
            assert!(former.is_none(), "two objects have the same key");
        }
        (all, most)
    }

    proptest! {
        #[test]
        fn every_event_is_in_one_object_whatever_the_partitions(
            events in proptest::collection::vec((0_u8..6, 0_usize..300), 1..120),
            limit in 2_000_usize..20_000,
        ) {
            let (objects, most) = written(&events, limit);
            prop_assert!(most <= limit + 400 + OVERHEAD_BYTES);
            let mut numbers: Vec<u64> = Vec::new();
            for bytes in objects.values() {
                for line in String::from_utf8(bytes.clone()).expect("text").lines() {
                    let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
                    numbers.push(value["number"].as_u64().expect("a number"));
                }
            }
            numbers.sort_unstable();
            prop_assert_eq!(numbers, (0..events.len() as u64).collect::<Vec<_>>());
            prop_assert_eq!(written(&events, limit).0, objects);
        }
    }

    #[test]
    fn one_partition_that_fits_is_named_by_the_whole_range() {
        let (objects, _) = written(&[(1, 10), (1, 10), (2, 10)], 10_000);
        let expected =
            ["1/p-s--0000000000000001-0000000000000003.ndjson", "2/p-s--0000000000000001-0000000000000003.ndjson"];
        assert_eq!(objects.into_keys().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn the_largest_is_closed_first_and_the_next_covers_what_follows() {
        let (objects, _) = written(&[(1, 10), (2, 300), (2, 300), (2, 10), (1, 10)], 2 * OVERHEAD_BYTES + 500);
        let keys: Vec<_> = objects.into_keys().collect();
        assert_eq!(
            keys,
            [
                "1/p-s--0000000000000001-0000000000000005.ndjson",
                "2/p-s--0000000000000001-0000000000000003.ndjson",
                "2/p-s--0000000000000004-0000000000000005.ndjson",
            ]
        );
    }
}
