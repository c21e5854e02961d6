//! Blocks: the new records of one page, compressed, with their keys beside them.
//!
//! ```text
//! BlockBuilder --push(raw, key, occurrence)*--> finish --> EncodedBlock { data, keys }      collect
//!                                                              |      |
//!                                          journal: delivered, |      | looked up as long as the overlap needs them
//!                                          then trimmed        v      v
//!                                            RecordBlock --decode--> DecodedBlock --records--> BlockRecord   deliver
//! ```
//!
//! A page is one blob and its keys another: one row per key was measured a hundred times slower. Numbers come before text,
//! so that similar bytes are adjacent for the compressor:
//!
//! ```text
//! data = count, number of marked records, (index, occurrence, version) for each, length of each record, all records' bytes
//! keys = count, per key: flags, 16 bytes id, [version], [time minus the previous time], [8 bytes content]
//! ```

use super::codec::{self, Cursor};
use super::error::JournalError;
use crate::event::EventId;
use crate::time::Timestamp;

const RECORDS_FORMAT: u8 = 1;
const KEYS_FORMAT: u8 = 1;

const HAS_VERSION: u8 = 1;
const HAS_TIME: u8 = 2;
const HAS_CONTENT: u8 = 4;

/// A sequence number in the log. The first event has 1; 0 is before the first.
pub type Seq = u64;

/// A source's id in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub i64);

/// The key by which a record is deduplicated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenKey {
    /// The record's event id, its occurrence number included.
    pub id: EventId,
    /// Its version; 0 for the first one, unless the vendor gives versions of its own.
    pub version: u64,
    /// Its own time.
    pub timestamp: Option<Timestamp>,
    /// The hash of its content; 0 where the id or the vendor's version tells that it has changed.
    pub content: u64,
}

/// What the bytes of a record do not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    index: u32,
    occurrence: u32,
    version: u64,
}

/// Collects the new records of a page in the order of delivery.
#[derive(Debug)]
pub struct BlockBuilder<'page> {
    observed_at: Timestamp,
    records: Vec<&'page str>,
    marks: Vec<Mark>,
    keys: Vec<SeenKey>,
}

/// A block ready to be stored.
#[derive(Clone, Debug)]
pub struct EncodedBlock {
    /// When its records were read.
    pub observed_at: Timestamp,
    /// Number of records.
    pub count: u32,
    /// Bytes of the raw records.
    pub raw_bytes: u64,
    /// The earliest time of a record; `None` if a record has none.
    pub min_time: Option<Timestamp>,
    /// The latest time of a record; `None` if a record has none.
    pub max_time: Option<Timestamp>,
    /// The compressed records.
    pub data: Vec<u8>,
    /// The keys, one blob.
    pub keys: Vec<u8>,
}

impl<'page> BlockBuilder<'page> {
    /// An empty block of records that were read at `observed_at`, with room for `capacity` records.
    #[must_use]
    pub fn new(observed_at: Timestamp, capacity: usize) -> Self {
        let (records, keys) = (Vec::with_capacity(capacity), Vec::with_capacity(capacity));
        Self { observed_at, records, marks: Vec::new(), keys }
    }

    /// Adds a record: its bytes, its key, and its occurrence number among identical records, from 0.
    pub fn push(&mut self, raw: &'page str, key: SeenKey, occurrence: u32) {
        self.push_marked(raw, key, occurrence, 0);
    }

    /// Adds a record that was collected before with another content: its key has the version that it is delivered with.
    pub fn push_changed(&mut self, raw: &'page str, key: SeenKey, occurrence: u32) {
        self.push_marked(raw, key, occurrence, key.version);
    }

    fn push_marked(&mut self, raw: &'page str, key: SeenKey, occurrence: u32, version: u64) {
        if occurrence > 0 || version > 0 {
            let index = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
            self.marks.push(Mark { index, occurrence, version });
        }
        self.records.push(raw);
        self.keys.push(key);
    }

    /// Whether it has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Compresses it; `None` if it has no records.
    ///
    /// # Errors
    /// If the compressor fails (out of memory).
    pub fn finish(self) -> Result<Option<EncodedBlock>, JournalError> {
        if self.is_empty() {
            return Ok(None);
        }
        let count = u32::try_from(self.records.len())
            .map_err(|_| JournalError::InvalidState("a page of more than four billion records".to_owned()))?;
        let raw_bytes: usize = self.records.iter().map(|record| record.len()).sum();
        let data = codec::pack(RECORDS_FORMAT, &self.plain(raw_bytes)).map_err(|error| not_compressed(&error))?;
        let times = || self.keys.iter().map(|key| key.timestamp);
        let all_have_times = times().all(|time| time.is_some());
        let (min_time, max_time) = (times().min().flatten(), times().max().flatten());
        Ok(Some(EncodedBlock {
            observed_at: self.observed_at,
            count,
            raw_bytes: raw_bytes as u64,
            min_time: min_time.filter(|_| all_have_times),
            max_time: max_time.filter(|_| all_have_times),
            data,
            keys: encode_keys(&self.keys)?,
        }))
    }

    fn plain(&self, raw_bytes: usize) -> Vec<u8> {
        let mut plain = Vec::with_capacity(raw_bytes + 5 * self.records.len() + 20 * self.marks.len() + 16);
        codec::put_number(&mut plain, self.records.len() as u64);
        codec::put_number(&mut plain, self.marks.len() as u64);
        for mark in &self.marks {
            codec::put_number(&mut plain, u64::from(mark.index));
            codec::put_number(&mut plain, u64::from(mark.occurrence));
            codec::put_number(&mut plain, mark.version);
        }
        for record in &self.records {
            codec::put_number(&mut plain, record.len() as u64);
        }
        for record in &self.records {
            plain.extend_from_slice(record.as_bytes());
        }
        plain
    }
}

fn not_compressed(error: &std::io::Error) -> JournalError {
    JournalError::Storage { path: "page in memory".to_owned(), reason: format!("compression failed: {error}") }
}

/// A visible block as read from the journal.
#[derive(Clone, Debug)]
pub struct RecordBlock {
    /// Sequence number of its first record.
    pub first: Seq,
    /// Number of records.
    pub count: u32,
    /// The source of the records.
    pub source: SourceId,
    /// When they were read from the vendor.
    pub observed_at: Timestamp,
    /// When they became visible.
    #[cfg_attr(not(feature = "internals"), expect(dead_code, reason = "only tests read it"))]
    pub visible_at: Timestamp,
    /// The compressed records.
    pub data: Vec<u8>,
}

impl RecordBlock {
    /// Sequence number of its last record.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.first + Seq::from(self.count).saturating_sub(1)
    }

    /// Decompresses it: CPU time and memory are proportional to the records' bytes.
    ///
    /// # Errors
    /// [`JournalError::Damaged`] if the data is not what was stored.
    pub fn decode(&self) -> Result<DecodedBlock, JournalError> {
        self.try_decode().map_err(|reason| JournalError::Damaged {
            path: format!("journal.db (events {} to {})", self.first, self.last()),
            reason,
        })
    }

    fn try_decode(&self) -> Result<DecodedBlock, String> {
        let mut plain = codec::unpack(RECORDS_FORMAT, &self.data)?;
        let header = Header::read(&plain).ok_or("the lengths in a block do not match its records")?;
        if header.lengths.len() != self.count as usize {
            return Err(format!("a block contains {} records instead of {}", header.lengths.len(), self.count));
        }
        plain.drain(..header.bytes);
        let text = String::from_utf8(plain).map_err(|_| "a record is not UTF-8")?;
        DecodedBlock { first: self.first, text, lengths: header.lengths, marks: header.marks }.checked()
    }
}

/// The numbers before the records' bytes.
struct Header {
    lengths: Vec<u32>,
    marks: Vec<Mark>,
    bytes: usize,
}

impl Header {
    fn read(plain: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(plain);
        let count = cursor.number_u32()?;
        let marked = cursor.number_u32()?;
        // Each number takes at least one byte, so a count larger than the blob ends the loops before memory runs out.
        let mut marks = Vec::new();
        for _ in 0..marked {
            let (index, occurrence) = (cursor.number_u32()?, cursor.number_u32()?);
            marks.push(Mark { index, occurrence, version: cursor.number()? });
        }
        let mut lengths = Vec::new();
        for _ in 0..count {
            lengths.push(cursor.number_u32()?);
        }
        Some(Self { lengths, marks, bytes: plain.len() - cursor.remaining() })
    }
}

/// The records of a block, decompressed.
#[derive(Clone, Debug)]
pub struct DecodedBlock {
    first: Seq,
    text: String,
    lengths: Vec<u32>,
    marks: Vec<Mark>,
}

/// One record of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRecord<'a> {
    /// Its sequence number.
    pub seq: Seq,
    /// Its bytes as the vendor sent them.
    pub raw: &'a str,
    /// Its occurrence number among identical records, from 0.
    pub occurrence: u32,
    /// The version of a changed record whose vendor gives none; otherwise 0.
    pub version: u64,
}

impl DecodedBlock {
    /// Checks that the lengths add up and split no character, so that [`DecodedBlock::records`] cannot fail.
    fn checked(self) -> Result<Self, String> {
        let mut end = 0_usize;
        for &length in &self.lengths {
            end = end.saturating_add(length as usize);
            if !self.text.is_char_boundary(end) {
                return Err("the lengths in a block do not match its records".to_owned());
            }
        }
        if end == self.text.len() { Ok(self) } else { Err("a block has bytes that belong to no record".to_owned()) }
    }

    /// The records in the order of their sequence numbers. Nothing is copied.
    pub fn records(&self) -> impl Iterator<Item = BlockRecord<'_>> {
        let mut rest = self.text.as_str();
        let mut marks = self.marks.iter().peekable();
        (0_u32..).zip(&self.lengths).map(move |(index, &length)| {
            let (raw, after) = rest.split_at(length as usize);
            rest = after;
            let mark = marks.next_if(|mark| mark.index == index);
            let (occurrence, version) = mark.map_or((0, 0), |mark| (mark.occurrence, mark.version));
            BlockRecord { seq: self.first + Seq::from(index), raw, occurrence, version }
        })
    }
}

/// The keys of a visible block, derived again from its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockKeys {
    /// Sequence number of the block's first record.
    pub first: Seq,
    /// The keys, one blob.
    pub(super) keys: Vec<u8>,
}

impl BlockKeys {
    /// Compresses the keys of the block whose first record has the sequence number `first`.
    ///
    /// # Errors
    /// If the compressor fails (out of memory).
    pub fn new(first: Seq, keys: &[SeenKey]) -> Result<Self, JournalError> {
        Ok(Self { first, keys: encode_keys(keys)? })
    }
}

/// Compresses keys into one blob.
pub(super) fn encode_keys(keys: &[SeenKey]) -> Result<Vec<u8>, JournalError> {
    let mut plain = Vec::with_capacity(32 * keys.len() + 4);
    let mut previous_time = 0_i64;
    codec::put_number(&mut plain, keys.len() as u64);
    for key in keys {
        let version_flag = if key.version == 0 { 0 } else { HAS_VERSION };
        let content_flag = if key.content == 0 { 0 } else { HAS_CONTENT };
        plain.push(version_flag | content_flag | key.timestamp.map_or(0, |_| HAS_TIME));
        plain.extend_from_slice(&key.id.0);
        if key.version != 0 {
            codec::put_number(&mut plain, key.version);
        }
        if let Some(time) = key.timestamp {
            codec::put_signed(&mut plain, time.as_nanos().wrapping_sub(previous_time));
            previous_time = time.as_nanos();
        }
        if key.content != 0 {
            plain.extend_from_slice(&key.content.to_le_bytes());
        }
    }
    codec::pack(KEYS_FORMAT, &plain).map_err(|error| not_compressed(&error))
}

/// Appends the keys of a blob to `keys`. The error describes the damage.
pub(super) fn decode_keys(blob: &[u8], keys: &mut Vec<SeenKey>) -> Result<(), String> {
    let plain = codec::unpack(KEYS_FORMAT, blob)?;
    read_keys(&plain, keys).ok_or_else(|| "a blob of keys does not match its count".to_owned())
}

fn read_keys(plain: &[u8], keys: &mut Vec<SeenKey>) -> Option<()> {
    let mut cursor = Cursor::new(plain);
    let mut previous_time = 0_i64;
    for _ in 0..cursor.number()? {
        let flags = cursor.byte()?;
        let id = EventId(cursor.array()?);
        let version = if flags & HAS_VERSION == 0 { 0 } else { cursor.number()? };
        let mut timestamp = None;
        if flags & HAS_TIME != 0 {
            previous_time = previous_time.wrapping_add(cursor.signed()?);
            timestamp = Some(Timestamp::from_nanos(previous_time));
        }
        let content = if flags & HAS_CONTENT == 0 { 0 } else { u64::from_le_bytes(cursor.array()?) };
        keys.push(SeenKey { id, version, timestamp, content });
    }
    (cursor.remaining() == 0).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_key() -> impl Strategy<Value = SeenKey> {
        let parts = (any::<[u8; 16]>(), any::<u64>(), any::<Option<i64>>(), any::<u64>());
        parts.prop_map(|(id, version, nanos, content)| SeenKey {
            id: EventId(id),
            version,
            timestamp: nanos.map(Timestamp::from_nanos),
            content,
        })
    }

    fn stored(block: &EncodedBlock, first: Seq) -> RecordBlock {
        RecordBlock {
            first,
            count: block.count,
            source: SourceId(1),
            observed_at: block.observed_at,
            visible_at: block.observed_at,
            data: block.data.clone(),
        }
    }

    proptest! {
        #[test]
        fn records_and_keys_survive_encoding(records in prop::collection::vec((".*", any_key(), 0_u32..3), 1..40)) {
            let mut builder = BlockBuilder::new(Timestamp::EPOCH, 0);
            for (raw, key, occurrence) in &records {
                if key.version.is_multiple_of(2) {
                    builder.push(raw, *key, *occurrence);
                } else {
                    builder.push_changed(raw, *key, *occurrence);
                }
            }
            let block = builder.finish().expect("compresses").expect("has records");
            let decoded = stored(&block, 7).decode().expect("decodes");
            let found: Vec<_> = decoded.records().collect();
            let version = |key: &SeenKey| if key.version.is_multiple_of(2) { 0 } else { key.version };
            let wanted: Vec<_> = (7..)
                .zip(&records)
                .map(|(seq, (raw, key, occurrence))| {
                    BlockRecord { seq, raw, occurrence: *occurrence, version: version(key) }
                })
                .collect();
            prop_assert_eq!(found, wanted);

            let mut keys = Vec::new();
            decode_keys(&block.keys, &mut keys).expect("keys decode");
            prop_assert_eq!(keys, records.iter().map(|(_, key, _)| *key).collect::<Vec<_>>());
        }

        #[test]
        fn random_bytes_are_reported_as_damage(bytes: Vec<u8>, count: u32) {
            let packed = codec::pack(RECORDS_FORMAT, &bytes).expect("packs");
            for data in [packed, bytes] {
                let block = RecordBlock {
                    first: 1, count, source: SourceId(1), observed_at: Timestamp::EPOCH, visible_at: Timestamp::EPOCH,
                    data: data.clone(),
                };
                if let Ok(decoded) = block.decode() {
                    prop_assert_eq!(decoded.records().count(), count as usize);
                }
                let _ = decode_keys(&data, &mut Vec::new());
            }
        }
    }

    #[test]
    fn a_block_without_records_is_none() {
        let builder = BlockBuilder::new(Timestamp::EPOCH, 0);
        assert!(builder.is_empty());
        assert!(builder.finish().expect("nothing to compress").is_none());
    }

    #[test]
    fn a_block_with_a_record_without_a_time_has_no_times() {
        let key = |nanos: Option<i64>| SeenKey {
            id: EventId([0; 16]),
            version: 0,
            timestamp: nanos.map(Timestamp::from_nanos),
            content: 0,
        };
        let times = |keys: &[SeenKey]| {
            let mut builder = BlockBuilder::new(Timestamp::EPOCH, 0);
            keys.iter().for_each(|key| builder.push("{}", *key, 0));
            let block = builder.finish().expect("compresses").expect("has records");
            (block.min_time.map(Timestamp::as_nanos), block.max_time.map(Timestamp::as_nanos))
        };
        assert_eq!(times(&[key(Some(5)), key(Some(3)), key(Some(4))]), (Some(3), Some(5)));
        assert_eq!(times(&[key(Some(5)), key(None)]), (None, None));
    }

    #[test]
    fn a_damage_error_names_the_damaged_events() {
        let block = RecordBlock {
            first: 11,
            count: 10,
            source: SourceId(1),
            observed_at: Timestamp::EPOCH,
            visible_at: Timestamp::EPOCH,
            data: vec![RECORDS_FORMAT, 1, 2, 3],
        };
        let error = block.decode().expect_err("is damaged").to_string();
        assert!(error.contains("events 11 to 20"), "{error}");
    }
}
