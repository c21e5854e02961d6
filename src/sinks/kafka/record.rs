//! One event as one record: key, time, headers, value.
//!
//! ```text
//! key      the event's `id`, or the field that is configured; none if that is empty
//! time     the event's own
//! headers  content-type, schema_version, vendor, source, event_id; then those that are configured
//! value    the event in the sink's schema
//! ```

use std::ops::Range;

use rdkafka::message::{Header, OwnedHeaders};

use super::config::{KafkaConfig, KeyField};
use super::names::{TopicName, TopicNames};
use crate::event::{Event, EventId, SCHEMA_VERSION};
use crate::journal::{KafkaRejection, RollbackRecord};
use crate::sinks::EventForm;
use crate::sinks::encoding::{EncodingOptions, push_event};
use crate::sinks::template::{Template, TemplateError};

/// The size of a record in a request besides its key, value and headers: the most that librdkafka counts.
const RECORD_OVERHEAD: usize = 70;

/// The size of the header of a batch of records (message format 2).
const BATCH_HEADER: usize = 61;

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
    pub(super) fn rejection(self, reason: String) -> RollbackRecord {
        RollbackRecord::KafkaRejection(KafkaRejection { event_id: self.id.to_string(), version: self.version, reason })
    }

    /// `None` if the id does not have 32 hexadecimal digits.
    pub(super) fn of_rejection(rejection: &KafkaRejection) -> Option<Self> {
        let KafkaRejection { event_id, version, .. } = rejection;
        let number = Some(event_id).filter(|hex| hex.len() == 32).and_then(|hex| u128::from_str_radix(hex, 16).ok())?;
        Some(Self { id: EventId(number.to_be_bytes()), version: *version })
    }
}

/// Encodes events as records.
#[derive(Debug)]
pub(super) struct Encoder {
    topics: TopicNames,
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
            topics: TopicNames::new(topic),
            key: KeyField::of(config),
            headers: headers.collect::<Result<_, TemplateError>>()?,
            encoding: config.encoding,
            max_record_bytes: config.max_record_bytes(),
        })
    }

    /// Adds the event's record to the buffer. If it is too large it is not added, and the reason is returned.
    pub(super) fn push(&mut self, event: &Event<'_>, form: EventForm, buffer: &mut RecordBuffer) -> Option<String> {
        if let Some(topic) = self.topics.next(event) {
            buffer.select_topic(topic);
        }
        let start = buffer.bytes.len();
        self.key.push(event, &mut buffer.bytes);
        let value = buffer.bytes.len();
        push_event(event, form, self.encoding, &mut buffer.bytes);
        let (headers, header_bytes, encoded_headers) = self.headers(event);
        let size = buffer.bytes.len() - start + header_bytes + RECORD_OVERHEAD;
        buffer.bytes_of_last = 0;
        if size > self.max_record_bytes {
            buffer.bytes.truncate(start);
            return Some(format!(
                "the record has {size} bytes and `message.max.bytes` allows {}",
                self.max_record_bytes
            ));
        }
        let batch_bytes = batch_bytes(value - start, buffer.bytes.len() - value, encoded_headers);
        buffer.bytes_of_last = (buffer.bytes.len() - start + header_bytes) as u64;
        buffer.header_bytes += header_bytes;
        buffer.records.push(Record {
            id: RecordId::of(event),
            topic: buffer.topic,
            key: start..value,
            value: value..buffer.bytes.len(),
            time_ms: event.timestamp.as_millis(),
            batch_bytes,
            header_bytes,
            headers,
        });
        None
    }

    /// The headers, the size of their text, and their size in a batch.
    fn headers(&self, event: &Event<'_>) -> (OwnedHeaders, usize, usize) {
        let (mut bytes, mut encoded, mut count) = (0, 0, 5);
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
            encoded += with_length(key.len()) + with_length(value.len());
            headers = headers.insert(Header { key, value: Some(value) });
        }
        for (key, template) in &self.headers {
            let value = template.render_text(event);
            if !value.is_empty() {
                bytes += key.len() + value.len();
                encoded += with_length(key.len()) + with_length(value.len());
                count += 1;
                headers = headers.insert(Header { key, value: Some(value.as_bytes()) });
            }
        }
        (headers, bytes, varint_bytes(count) + encoded)
    }
}

/// The size of an uncompressed batch that contains one record only, which a topic's `max.message.bytes` limits.
fn batch_bytes(key: usize, value: usize, headers: usize) -> usize {
    // Attributes, time and offset, both relative to the batch's, take a byte each. The length of a missing key does too.
    let record = 3 + with_length(key) + with_length(value) + headers;
    BATCH_HEADER + with_length(record)
}

fn with_length(bytes: usize) -> usize {
    varint_bytes(bytes) + bytes
}

/// The size of a number in a record: seven bits per byte, one of which holds the sign.
fn varint_bytes(number: usize) -> usize {
    let bits = usize::BITS - number.leading_zeros() + 1;
    bits.div_ceil(7) as usize
}

/// Records that are not yet passed to librdkafka.
#[derive(Debug, Default)]
pub(super) struct RecordBuffer {
    bytes: Vec<u8>,
    header_bytes: usize,
    bytes_of_last: u64,
    records: Vec<Record>,
    topics: Vec<TopicName>,
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
    /// The size of an uncompressed batch that contains only this record.
    pub(super) batch_bytes: usize,
    header_bytes: usize,
    pub(super) headers: OwnedHeaders,
}

impl Record {
    pub(super) fn has_key(&self) -> bool {
        !self.key.is_empty()
    }
}

impl RecordBuffer {
    fn select_topic(&mut self, topic: TopicName) {
        self.topic = self.topics.iter().position(|known| *known == topic).unwrap_or_else(|| {
            self.topics.push(topic);
            self.topics.len() - 1
        });
    }

    /// The topics of the records in the buffer.
    pub(super) fn used_topics(&self) -> impl Iterator<Item = &TopicName> {
        let mut used = vec![false; self.topics.len()];
        self.records.iter().for_each(|record| used[record.topic] = true);
        self.topics.iter().zip(used).filter_map(|(topic, is_used)| is_used.then_some(topic))
    }

    /// The records in the buffer with their topics.
    pub(super) fn records(&self) -> impl Iterator<Item = (&Record, &TopicName)> {
        self.records.iter().map(|record| (record, &self.topics[record.topic]))
    }

    /// The record that was pushed last and its topic.
    pub(super) fn last(&self) -> Option<(&Record, &TopicName)> {
        self.records.last().map(|record| (record, &self.topics[record.topic]))
    }

    /// Removes the record that was pushed last.
    pub(super) fn remove_last(&mut self) {
        let Some(record) = self.records.pop() else { return };
        self.header_bytes -= record.header_bytes;
        self.bytes.truncate(record.key.start);
        self.bytes_of_last = 0;
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
        &self.topics[record.topic].name
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes of the protocol's zigzag encoding.
    #[test]
    fn numbers_take_seven_bits_per_byte_and_one_for_the_sign() {
        for (number, bytes) in [(0, 1), (63, 1), (64, 2), (8_191, 2), (8_192, 3), (1_048_575, 3), (1_048_576, 4)] {
            assert_eq!(varint_bytes(number), bytes, "{number}");
        }
    }

    #[test]
    fn a_batch_of_one_record_has_its_exact_size() {
        // Batch header, length; attributes, time, offset, key length, value length, value, header count.
        assert_eq!(batch_bytes(0, 10, 1), 61 + 1 + 3 + 1 + 1 + 10 + 1);
        assert_eq!(batch_bytes(32, 100, 1), 61 + 2 + 3 + 1 + 32 + 2 + 100 + 1);
    }
}
