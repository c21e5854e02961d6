//! One event as one record: key, time, headers, value.
//!
//! ```text
//! key      the event's `id`, or the field that is configured; none if that is empty
//! time     the event's own
//! headers  content-type, schema_version, vendor, source, event_id; then those that are configured
//! value    the event in the sink's schema
//! ```

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use rdkafka::message::{Header, OwnedHeaders};

use super::config::{KafkaConfig, KeyField};
use super::names::sanitized;
use crate::event::{Event, EventId, SCHEMA_VERSION};
use crate::journal::{KafkaRejection, RollbackRecord};
use crate::sinks::EventForm;
use crate::sinks::encoding::{EncodingOptions, push_event};
use crate::sinks::template::{PathCache, Template, TemplateError};

/// The size of a record in a request besides its key, value and headers: the most that librdkafka counts.
const RECORD_OVERHEAD: usize = 70;

/// Identifies a record: the event's id, and its version for vendors that change their records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RecordId {
    id: EventId,
    version: u64,
}

impl RecordId {
    pub(super) fn of(event: &Event<'_>) -> Self {
        Self { id: event.id, version: event.version.unwrap_or(0) }
    }

    #[cfg(test)]
    pub(super) fn of_number(number: u8) -> Self {
        Self { id: EventId([number; 16]), version: u64::from(number) }
    }
}

impl RecordId {
    fn rejection(self, reason: String) -> RollbackRecord {
        RollbackRecord::KafkaRejection(KafkaRejection { event_id: self.id.to_string(), version: self.version, reason })
    }

    /// `None` if the id does not have 32 hexadecimal digits.
    fn of_rejection(rejection: &KafkaRejection) -> Option<Self> {
        let KafkaRejection { event_id, version, .. } = rejection;
        let number = Some(event_id).filter(|hex| hex.len() == 32).and_then(|hex| u128::from_str_radix(hex, 16).ok())?;
        Some(Self { id: EventId(number.to_be_bytes()), version: *version })
    }
}

/// Encodes events as records.
#[derive(Debug)]
pub(super) struct Encoder {
    topic: Template,
    paths: PathCache,
    key: KeyField,
    headers: Vec<(String, Template)>,
    encoding: EncodingOptions,
    max_record_bytes: usize,
}

impl Encoder {
    /// # Errors
    /// The template of a header is invalid.
    pub(super) fn new(config: &KafkaConfig, topic: &Template) -> Result<Self, TemplateError> {
        let headers = config.headers.iter().map(|(name, text)| Ok((name.clone(), Template::parse(text)?)));
        Ok(Self {
            topic: topic.clone(),
            paths: PathCache::default(),
            key: KeyField::of(config),
            headers: headers.collect::<Result<_, TemplateError>>()?,
            encoding: config.encoding,
            max_record_bytes: config.max_record_bytes(),
        })
    }

    /// Adds the event's record to the buffer. If it is too large it is not added, and the reason is returned.
    pub(super) fn push(&mut self, event: &Event<'_>, form: EventForm, buffer: &mut RecordBuffer) -> Option<String> {
        let (path, is_other) = self.paths.render(&self.topic, event);
        if is_other || buffer.topics.is_empty() {
            buffer.select_topic(&sanitized(path));
        }
        let start = buffer.bytes.len();
        self.key.push(event, &mut buffer.bytes);
        let value = buffer.bytes.len();
        push_event(event, form, self.encoding, &mut buffer.bytes);
        let (headers, header_bytes) = self.headers(event);
        let size = buffer.bytes.len() - start + header_bytes + RECORD_OVERHEAD;
        buffer.bytes_of_last = 0;
        if size > self.max_record_bytes {
            buffer.bytes.truncate(start);
            return Some(format!(
                "the record has {size} bytes and `message.max.bytes` allows {}",
                self.max_record_bytes
            ));
        }
        buffer.bytes_of_last = (buffer.bytes.len() - start + header_bytes) as u64;
        buffer.header_bytes += header_bytes;
        buffer.records.push(Record {
            id: RecordId::of(event),
            topic: buffer.topic,
            key: start..value,
            value: value..buffer.bytes.len(),
            time_ms: event.timestamp.at.as_millis(),
            headers,
        });
        None
    }

    fn headers(&self, event: &Event<'_>) -> (OwnedHeaders, usize) {
        let mut bytes = 0;
        let mut headers = OwnedHeaders::new_with_capacity(5 + self.headers.len());
        let id = event.id.hex();
        let fixed: [(&str, &[u8]); 5] = [
            ("content-type", b"application/json"),
            ("schema_version", SCHEMA_VERSION.as_bytes()),
            ("vendor", event.vendor.as_bytes()),
            ("source", event.source.as_bytes()),
            ("event_id", &id),
        ];
        for (key, value) in fixed {
            bytes += key.len() + value.len();
            headers = headers.insert(Header { key, value: Some(value) });
        }
        for (key, template) in &self.headers {
            let value = template.render_text(event);
            if !value.is_empty() {
                bytes += key.len() + value.len();
                headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
            }
        }
        (headers, bytes)
    }
}

/// Records that are not yet passed to librdkafka.
#[derive(Debug, Default)]
pub(super) struct RecordBuffer {
    bytes: Vec<u8>,
    header_bytes: usize,
    bytes_of_last: u64,
    records: Vec<Record>,
    topics: Vec<String>,
    topic: usize,
}

/// One record; key and value are ranges of the buffer.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) id: RecordId,
    topic: usize,
    key: Range<usize>,
    value: Range<usize>,
    pub(super) time_ms: i64,
    pub(super) headers: OwnedHeaders,
}

impl RecordBuffer {
    fn select_topic(&mut self, name: &str) {
        self.topic = self.topics.iter().position(|known| known == name).unwrap_or_else(|| {
            self.topics.push(name.to_owned());
            self.topics.len() - 1
        });
    }

    /// Every topic of a record in the buffer, and possibly others of this sink.
    pub(super) fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + self.header_bytes + self.records.len() * size_of::<Record>()
    }

    /// The size of the record that was pushed last; 0 if it was rejected.
    pub(super) fn bytes_of_last(&self) -> u64 {
        self.bytes_of_last
    }

    /// Removes and returns the records; their keys and values stay until [`RecordBuffer::clear`].
    pub(super) fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    pub(super) fn topic(&self, record: &Record) -> &str {
        &self.topics[record.topic]
    }

    pub(super) fn key(&self, record: &Record) -> &[u8] {
        &self.bytes[record.key.clone()]
    }

    pub(super) fn value(&self, record: &Record) -> &[u8] {
        &self.bytes[record.value.clone()]
    }

    /// Removes the records; the topic names stay.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.header_bytes = 0;
        self.bytes_of_last = 0;
    }
}

/// Records that the broker finds too large.
///
/// The broker rejects a whole request, not a record: one record that is too large takes the others of its request with it.
/// So the records of a rejected request are sent alone at the next attempt, and a record that is rejected alone is rejected
/// permanently. That is stored as a rollback record, so that after a crash the same events go to the dead letter.
#[derive(Debug, Default)]
pub(super) struct Rejections {
    /// Records of a rejected request, to be sent alone.
    suspects: HashSet<RecordId>,
    /// Records that are rejected permanently.
    rejected: HashMap<RecordId, String>,
}

impl Rejections {
    /// Whether the record must be sent alone.
    pub(super) fn is_suspect(&self, id: RecordId) -> bool {
        self.suspects.contains(&id)
    }

    /// Why the record is rejected permanently, if it is.
    pub(super) fn reason(&self, id: RecordId) -> Option<&str> {
        self.rejected.get(&id).map(String::as_str)
    }

    /// Adds records that the broker found too large; returns the rollback records to store.
    pub(super) fn add(&mut self, too_large: Vec<RecordId>) -> Vec<RollbackRecord> {
        let mut records = Vec::new();
        for id in too_large {
            if self.suspects.insert(id) {
                continue;
            }
            let reason = "the broker rejects the record: larger than the topic's max.message.bytes".to_owned();
            records.push(id.rejection(reason.clone()));
            self.rejected.insert(id, reason);
        }
        records
    }

    /// Forgets rejections that could not be stored, because a crash would forget them too: they are found again.
    pub(super) fn remove(&mut self, records: &[RollbackRecord]) {
        for record in records {
            if let RollbackRecord::KafkaRejection(rejection) = record
                && let Some(id) = RecordId::of_rejection(rejection)
            {
                self.rejected.remove(&id);
            }
        }
    }

    /// Restores the rejections among `records`; returns the other records.
    pub(super) fn restore(&mut self, records: &[RollbackRecord]) -> Vec<RollbackRecord> {
        let mut others = Vec::new();
        for record in records {
            match record {
                RollbackRecord::KafkaRejection(rejection) => {
                    let id = RecordId::of_rejection(rejection);
                    self.rejected.extend(id.map(|id| (id, rejection.reason.clone())));
                }
                other => others.push(other.clone()),
            }
        }
        others
    }

    /// Forgets everything at the end of a batch.
    pub(super) fn clear(&mut self) {
        self.suspects.clear();
        self.rejected.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{FileBefore, FileRecord};

    #[test]
    fn a_record_is_rejected_only_if_it_was_sent_alone() {
        let id = RecordId::of_number(7);
        let mut rejections = Rejections::default();
        assert_eq!(rejections.add(vec![id]), Vec::new());
        assert!(rejections.is_suspect(id));
        assert_eq!(rejections.reason(id), None);
        let records = rejections.add(vec![id]);
        assert!(rejections.reason(id).is_some());

        rejections.remove(&records);
        assert_eq!(rejections.reason(id), None);
        assert_eq!(rejections.add(vec![id]), records, "it is found again");

        let mut after_a_crash = Rejections::default();
        let before = FileBefore::Absent { first_new_directory: None };
        let file = RollbackRecord::File(FileRecord { path: "/a/file".into(), before });
        let all: Vec<_> = records.into_iter().chain([file.clone()]).collect();
        assert_eq!(after_a_crash.restore(&all), vec![file]);
        assert_eq!(after_a_crash.reason(id), rejections.reason(id));
    }
}
