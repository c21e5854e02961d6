//! One object while it is being filled: events go in, bytes come out at the end.
//!
//! Small NDJSON objects are kept as plain lines and compressed at the end. An object that grows is compressed on the way, so
//! that many partitions do not need one compressor each, and a large object does not use memory for its uncompressed size.

use std::fmt;
use std::io::{self, Write as _};

use serde::Deserialize;

use crate::event::Event;
#[cfg(feature = "parquet")]
use crate::event::native::RawForm;
use crate::sinks::EventForm;
use crate::sinks::compression::Compression;
#[cfg(feature = "parquet")]
use crate::sinks::encoding::Schema;
use crate::sinks::encoding::{EncodingOptions, push_line};
#[cfg(feature = "parquet")]
use crate::sinks::parquet::{OcsfWriter, ParquetCompression, ParquetOptions, ParquetWriteError, ParquetWriter};
use crate::time::Timestamp;

/// The format of objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One line of JSON per event.
    #[default]
    Ndjson,
    /// Columns.
    Parquet,
}

/// How objects are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectCompression {
    /// No compression.
    None,
    /// gzip
    Gzip,
    /// Zstandard
    Zstd,
    /// Snappy
    Snappy,
}

impl ObjectCompression {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
        }
    }

    /// As the compression of a whole object.
    const fn of_lines(self) -> Compression {
        match self {
            Self::Gzip => Compression::Gzip,
            Self::Zstd => Compression::Zstd,
            Self::None | Self::Snappy => Compression::None,
        }
    }

    /// As the compression of pages.
    #[cfg(feature = "parquet")]
    const fn of_pages(self) -> ParquetCompression {
        match self {
            Self::Zstd => ParquetCompression::Zstd,
            Self::Snappy => ParquetCompression::Snappy,
            Self::None | Self::Gzip => ParquetCompression::None,
        }
    }
}

impl Format {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    pub(super) const fn takes(self, compression: ObjectCompression) -> bool {
        use ObjectCompression::{Gzip, None, Snappy, Zstd};
        match self {
            Self::Ndjson => matches!(compression, None | Gzip | Zstd),
            Self::Parquet => matches!(compression, None | Snappy | Zstd),
        }
    }

    pub(super) const fn compression_hint(self) -> &'static str {
        match self {
            Self::Ndjson => "set gzip, zstd or none",
            Self::Parquet => "set zstd, snappy or none",
        }
    }

    /// The configured compression, or the default.
    pub(super) fn compression(self, given: Option<ObjectCompression>) -> ObjectCompression {
        given.unwrap_or(match self {
            Self::Ndjson => ObjectCompression::Gzip,
            Self::Parquet => ObjectCompression::Zstd,
        })
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// What determines an object's bytes besides its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ObjectOptions {
    pub(super) format: Format,
    pub(super) compression: ObjectCompression,
    pub(super) encoding: EncodingOptions,
    /// Of Parquet files.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code))]
    pub(super) bloom_filters: bool,
}

impl ObjectOptions {
    /// The end of a key.
    pub(super) const fn extension(self) -> &'static str {
        match (self.format, self.compression) {
            (Format::Parquet, _) => ".parquet",
            (Format::Ndjson, ObjectCompression::Gzip) => ".ndjson.gz",
            (Format::Ndjson, ObjectCompression::Zstd) => ".ndjson.zst",
            (Format::Ndjson, _) => ".ndjson",
        }
    }
}

/// An object that is being filled.
#[derive(Debug)]
pub(super) enum ObjectWriter {
    Ndjson(NdjsonWriter),
    #[cfg(feature = "parquet")]
    Parquet(ParquetWriter),
    #[cfg(feature = "parquet")]
    Ocsf(OcsfWriter),
}

/// A complete object.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
}

#[cfg(feature = "parquet")]
impl From<crate::sinks::parquet::Finished> for Finished {
    fn from(file: crate::sinks::parquet::Finished) -> Self {
        let (first_time, last_time) = (file.first_time.unwrap_or_default(), file.last_time.unwrap_or_default());
        Self { bytes: file.bytes, rows: file.rows, first_time, last_time }
    }
}

/// Why an event or an object could not be encoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    /// No object of this format can contain the event. The writer is unchanged.
    #[cfg(feature = "parquet")]
    #[error("{0}")]
    Rejected(String),
    /// The compressor failed: out of memory.
    #[error("{0}")]
    Failed(#[from] io::Error),
    /// The Parquet library failed.
    #[cfg(feature = "parquet")]
    #[error("{0}")]
    Parquet(ParquetWriteError),
}

#[cfg(feature = "parquet")]
impl From<ParquetWriteError> for EncodeError {
    fn from(error: ParquetWriteError) -> Self {
        match error {
            ParquetWriteError::RowTooLarge => Self::Rejected(error.to_string()),
            other => Self::Parquet(other),
        }
    }
}

impl EncodeError {
    /// The reason if the event can never be written.
    pub(super) fn rejection(&self) -> Option<String> {
        match self {
            #[cfg(feature = "parquet")]
            Self::Rejected(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

impl ObjectWriter {
    pub(super) fn new(options: ObjectOptions) -> Self {
        #[cfg(feature = "parquet")]
        if options.format == Format::Parquet && options.encoding.schema == Schema::Ocsf {
            return Self::Ocsf(OcsfWriter::new(
                options.compression.of_pages(),
                options.encoding.raw,
                options.bloom_filters,
            ));
        }
        #[cfg(feature = "parquet")]
        if options.format == Format::Parquet {
            let with_raw = options.encoding.raw != RawForm::Drop;
            return Self::Parquet(ParquetWriter::new(ParquetOptions {
                compression: options.compression.of_pages(),
                with_raw,
                bloom_filters: options.bloom_filters,
            }));
        }
        Self::Ndjson(NdjsonWriter::new(options.encoding, options.compression.of_lines()))
    }

    /// Adds an event.
    pub(super) fn push(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), EncodeError> {
        match self {
            Self::Ndjson(writer) => Ok(writer.push(event, form)?),
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => Ok(writer.push(event, form)?),
            #[cfg(feature = "parquet")]
            Self::Ocsf(writer) => Ok(writer.push(event)?),
        }
    }

    /// About how many bytes of memory it uses. The same events give the same number: it decides where objects are split.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Ndjson(writer) => writer.memory(),
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => writer.buffered_bytes(),
            #[cfg(feature = "parquet")]
            Self::Ocsf(writer) => writer.buffered_bytes(),
        }
    }

    /// The object's bytes. The same events give the same bytes.
    pub(super) fn finish(self) -> Result<Finished, EncodeError> {
        match self {
            Self::Ndjson(writer) => Ok(writer.finish()?),
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => Ok(writer.finish()?.into()),
            #[cfg(feature = "parquet")]
            Self::Ocsf(writer) => Ok(writer.finish()?.into()),
        }
    }
}

/// This many bytes of lines are compressed at once.
const CHUNK_BYTES: usize = 256 * 1_024;

/// Memory of a compressor besides its output: its window and tables.
const COMPRESSOR_BYTES: usize = 1 << 20;

/// zstd's fastest level: on audit events it was smaller and faster than level 3.
const ZSTD_LEVEL: i32 = 1;

/// Lines of one object.
#[derive(Debug)]
pub(super) struct NdjsonWriter {
    encoding: EncodingOptions,
    compression: Compression,
    lines: Vec<u8>,
    compressor: Option<Compressor>,
    rows: u64,
    first_time: Timestamp,
    last_time: Timestamp,
}

enum Compressor {
    Gzip(flate2::write::GzEncoder<Vec<u8>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip(_) => "Gzip",
            Self::Zstd(_) => "Zstd",
        })
    }
}

impl NdjsonWriter {
    pub(super) fn new(encoding: EncodingOptions, compression: Compression) -> Self {
        Self {
            encoding,
            compression,
            lines: Vec::new(),
            compressor: None,
            rows: 0,
            first_time: Timestamp::MAX,
            last_time: Timestamp::from_nanos(i64::MIN),
        }
    }

    pub(super) fn push(&mut self, event: &Event<'_>, form: EventForm) -> io::Result<()> {
        push_line(event, form, self.encoding, &mut self.lines);
        self.rows += 1;
        self.first_time = self.first_time.min(event.timestamp);
        self.last_time = self.last_time.max(event.timestamp);
        if self.lines.len() >= CHUNK_BYTES { self.compress_lines() } else { Ok(()) }
    }

    fn compress_lines(&mut self) -> io::Result<()> {
        if self.compressor.is_none() {
            self.compressor = Compressor::new(self.compression)?;
        }
        let Some(compressor) = &mut self.compressor else { return Ok(()) };
        compressor.write(&self.lines)?;
        self.lines.clear();
        Ok(())
    }

    pub(super) fn memory(&self) -> usize {
        self.lines.len() + self.compressor.as_ref().map_or(0, Compressor::memory)
    }

    pub(super) fn finish(mut self) -> io::Result<Finished> {
        let bytes = match self.compressor.take() {
            None => self.compression.piece(self.lines)?,
            Some(mut compressor) => {
                compressor.write(&self.lines)?;
                compressor.finish()?
            }
        };
        Ok(Finished { bytes, rows: self.rows, first_time: self.first_time, last_time: self.last_time })
    }
}

impl Compressor {
    fn new(compression: Compression) -> io::Result<Option<Self>> {
        match compression {
            Compression::None => Ok(None),
            Compression::Gzip => {
                Ok(Some(Self::Gzip(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()))))
            }
            Compression::Zstd => {
                let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
                encoder.include_checksum(true)?;
                Ok(Some(Self::Zstd(encoder)))
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(encoder) => encoder.write_all(bytes),
            Self::Zstd(encoder) => encoder.write_all(bytes),
        }
    }

    fn memory(&self) -> usize {
        let output = match self {
            Self::Gzip(encoder) => encoder.get_ref().len(),
            Self::Zstd(encoder) => encoder.get_ref().len(),
        };
        COMPRESSOR_BYTES + output
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sinks::compression::tests::decompressed;
    use crate::sinks::testing::event;

    fn filled(compression: Compression, events: usize) -> (NdjsonWriter, Finished) {
        let raw = format!(r#"{{"text":"{}"}}"#, "x".repeat(400));
        let make = || {
            let mut writer = NdjsonWriter::new(EncodingOptions::default(), compression);
            for number in 0..events {
                let event = event(&raw, &format!("2026-01-02T03:{:02}:05Z", number % 60));
                writer.push(&event, EventForm::Raw).expect("added");
            }
            writer
        };
        (make(), make().finish().expect("bytes"))
    }

    #[test]
    fn small_and_large_objects_hold_their_lines_and_are_the_same_each_time() {
        for compression in Compression::ALL {
            for events in [1, 3_000] {
                let (again, finished) = filled(*compression, events);
                let text = String::from_utf8(decompressed(*compression, &finished.bytes)).expect("text");
                assert_eq!(text.lines().count(), events, "{compression:?}");
                assert_eq!(again.finish().expect("bytes").bytes, finished.bytes, "{compression:?}");
                assert_eq!(finished.rows, events as u64);
            }
        }
    }

    #[test]
    fn one_object_is_one_frame() {
        let (_, finished) = filled(Compression::Zstd, 3_000);
        let frame = zstd::zstd_safe::find_frame_compressed_size(&finished.bytes).expect("a frame");
        assert_eq!(frame, finished.bytes.len());
    }

    #[test]
    fn compressing_on_the_way_uses_less_memory_than_the_lines() {
        let (writer, _) = filled(Compression::Gzip, 20_000);
        assert!(writer.memory() < 20_000 * 400 / 2, "{}", writer.memory());
        assert!(writer.memory() > COMPRESSOR_BYTES);
    }

    #[test]
    fn the_times_are_those_of_its_events() {
        let (_, finished) = filled(Compression::None, 61);
        assert_eq!(finished.first_time.to_string(), "2026-01-02T03:00:05Z");
        assert_eq!(finished.last_time.to_string(), "2026-01-02T03:59:05Z");
    }
}
