//! The objects of the batch in hand: open ones that take events in, closed ones that wait to be put.
//!
//! ```text
//! event -> partition (its rendered prefix) -> open object
//!                                               all together over the limit: the largest are closed, named by the
//!                                               numbers that they cover; the partition's next event opens another one
//!                                               the batch ends: all are closed
//! ```
//!
//! Where objects are cut hangs on the events alone, so a repeated attempt cuts them in the same places.

use std::collections::HashMap;

use super::keys::Keys;
use super::writer::{EncodeError, ObjectOptions, ObjectWriter};
use crate::event::Event;
use crate::journal::Seq;
use crate::sinks::manifest::{ManifestObject, sha256_hex};
use crate::sinks::{BatchRange, EventForm};

/// What an open object takes beside its bytes: its prefix twice, the map's entry, the writer itself.
const OVERHEAD_BYTES: usize = 512;

/// An object that is full and not yet put.
#[derive(Debug)]
pub(super) struct ClosedObject {
    pub(super) bytes: Vec<u8>,
    pub(super) entry: ManifestObject,
}

/// One partition of the batch.
#[derive(Debug)]
struct Partition {
    prefix: String,
    /// The first sequence number that its open object, or the next one, stands for.
    from: Seq,
    open: Option<ObjectWriter>,
}

/// All objects of a batch that are not put.
#[derive(Debug)]
pub(super) struct Objects {
    options: ObjectOptions,
    range: BatchRange,
    /// In the order in which they first appeared, which is the same at every attempt.
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

    /// Takes an event in. `same` says that its prefix is that of the call before.
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
        let taken = writer.push(event, form);
        // An object without events is never put.
        if taken.is_ok() || before > 0 {
            self.open_bytes = self.open_bytes + memory(&writer) - before;
            *open = Some(writer);
        }
        taken
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

    /// Bytes of memory that open objects take.
    pub(super) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Bytes that wait to be put.
    pub(super) fn closed_bytes(&self) -> usize {
        self.closed_bytes
    }

    /// Closes the largest open objects until the others take no more than `remaining` bytes. `last` is the sequence
    /// number of the event that was taken in last.
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

    /// Closes every open object: the batch has ended.
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

    /// Takes the closed objects out.
    pub(super) fn take_closed(&mut self) -> Vec<ClosedObject> {
        self.closed_bytes = 0;
        std::mem::take(&mut self.closed)
    }
}

fn memory(writer: &ObjectWriter) -> usize {
    OVERHEAD_BYTES + writer.memory()
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
        ObjectOptions { format: Format::Ndjson, compression: ObjectCompression::None, encoding }
    }

    /// Every object of a batch whose events are these: the partition of each, and its length.
    fn written(events: &[(u8, usize)], limit: usize) -> (BTreeMap<String, Vec<u8>>, usize) {
        let range = BatchRange { first: 1, last: events.len() as u64 };
        let mut objects = Objects::new(options(), range);
        let (mut all, mut most) = (BTreeMap::new(), 0);
        for (number, (partition, length)) in events.iter().enumerate() {
            let raw = format!(r#"{{"number":{number},"text":"{}"}}"#, "x".repeat(*length));
            let event = event(&raw, "2026-01-02T03:04:05Z");
            objects.push(&format!("{partition}/"), false, &event, EventForm::Raw).expect("taken in");
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
