//! One event as one record: key, time, headers, value.
//!
//! ```text
//! key      the event's `id`, or the field that is configured; none if that is empty
//! time     the event's own
//! headers  content-type, schema_version, vendor, source, event_id; then those that are configured
//! value    the event in the sink's schema
//! ```

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use rdkafka::message::{Header, OwnedHeaders};

use super::config::KafkaConfig;
use super::topics::sanitized;
use crate::event::{Event, EventId, SCHEMA_VERSION};
use crate::sinks::EventForm;
use crate::sinks::encoding::{EncodingOptions, push_event};
use crate::sinks::template::{Field, PathCache, Template, TemplateError};

/// What a record costs in a request beside its key, value and headers: librdkafka counts so much at most.
const RECORD_OVERHEAD: usize = 70;

/// Which event a record is: the id, and the version for vendors that change their records.
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

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} version {}", self.id, self.version)
    }
}

impl FromStr for RecordId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (hex, version) = text.split_once(" version ").ok_or(())?;
        if hex.len() != 32 || !hex.is_ascii() {
            return Err(());
        }
        let number = u128::from_str_radix(hex, 16).map_err(|_| ())?;
        Ok(Self { id: EventId(number.to_be_bytes()), version: version.parse().map_err(|_| ())? })
    }
}

/// The field of an event that is the key of its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyField(Field);

impl KeyField {
    /// # Errors
    /// The names of the fields that may be the key.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let names = || Field::for_keys().map(Field::path).collect::<Vec<_>>().join(", ");
        Field::for_keys()
            .find(|field| field.path() == name)
            .map(Self)
            .ok_or_else(|| format!("the fields are {}", names()))
    }

    /// The configured field; `id` by default.
    pub(super) fn of(config: &KafkaConfig) -> Self {
        let name = config.key_field.as_deref().unwrap_or("id");
        Self::parse(name).or_else(|_| Self::parse("id")).expect("`id` is a field")
    }

    pub(super) fn push(self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.0.push(event, out);
    }
}

/// Makes records of events.
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
    /// A header's template that cannot be read.
    pub(super) fn new(config: &KafkaConfig, topic: &Template) -> Result<Self, TemplateError> {
        let headers = config.headers.iter().map(|(name, text)| Ok((name.clone(), Template::parse(text)?)));
        Ok(Self {
            topic: topic.clone(),
            paths: PathCache::default(),
            key: KeyField::of(config),
            headers: headers.collect::<Result<_, TemplateError>>()?,
            encoding: config.encoding(),
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

/// Records that have not been handed to librdkafka.
#[derive(Debug, Default)]
pub(super) struct RecordBuffer {
    bytes: Vec<u8>,
    header_bytes: usize,
    bytes_of_last: u64,
    records: Vec<Record>,
    topics: Vec<String>,
    topic: usize,
}

/// One record; key and value are places in the buffer.
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

    /// Every topic that a record here goes to, and perhaps others of this sink.
    pub(super) fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len() + self.header_bytes + self.records.len() * size_of::<Record>()
    }

    /// What the record that was pushed last comes to; 0 if it was refused.
    pub(super) fn bytes_of_last(&self) -> u64 {
        self.bytes_of_last
    }

    /// Takes the records out; their keys and values stay until [`RecordBuffer::clear`].
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

    /// Forgets the records; the names of topics stay.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.header_bytes = 0;
        self.bytes_of_last = 0;
    }
}
