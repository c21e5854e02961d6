//! One object while it is being filled: events go in, bytes come out at the end.

use std::io;

use serde::Deserialize;

use super::ndjson::NdjsonWriter;
use crate::event::Event;
#[cfg(feature = "parquet")]
use crate::event::native::RawForm;
use crate::sinks::EventForm;
use crate::sinks::compression::Compression;
use crate::sinks::encoding::EncodingOptions;
#[cfg(feature = "parquet")]
use crate::sinks::parquet::{ParquetCompression, ParquetOptions, ParquetWriteError, ParquetWriter};
use crate::time::Timestamp;

/// What objects hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A line of JSON an event.
    #[default]
    Ndjson,
    /// Columns.
    Parquet,
}

/// How objects are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ObjectCompression {
    /// Not at all.
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
            Self::Ndjson => "write gzip, zstd or none",
            Self::Parquet => "write zstd, snappy or none",
        }
    }

    /// What was given, or the default.
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

/// What decides an object's bytes, beside its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ObjectOptions {
    pub(super) format: Format,
    pub(super) compression: ObjectCompression,
    pub(super) encoding: EncodingOptions,
}

impl ObjectOptions {
    /// What a key ends with.
    pub(super) const fn extension(self) -> &'static str {
        match (self.format, self.compression) {
            (Format::Parquet, _) => ".parquet",
            (Format::Ndjson, ObjectCompression::Gzip) => ".ndjson.gz",
            (Format::Ndjson, ObjectCompression::Zstd) => ".ndjson.zst",
            (Format::Ndjson, _) => ".ndjson",
        }
    }

    pub(super) const fn content_encoding(self) -> Option<&'static str> {
        match (self.format, self.compression) {
            (Format::Ndjson, ObjectCompression::Gzip) => Some("gzip"),
            (Format::Ndjson, ObjectCompression::Zstd) => Some("zstd"),
            _ => None,
        }
    }
}

/// An object that is being filled.
#[derive(Debug)]
pub(super) enum ObjectWriter {
    Ndjson(NdjsonWriter),
    #[cfg(feature = "parquet")]
    Parquet(ParquetWriter),
}

/// An object that is full.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
}

/// Why an event or an object could not be encoded.
#[derive(Debug, thiserror::Error)]
pub(super) enum EncodeError {
    /// No object of this format can hold the event. The writer is as it was before.
    #[cfg(feature = "parquet")]
    #[error("{0}")]
    Refused(String),
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
    fn from(fault: ParquetWriteError) -> Self {
        match fault {
            ParquetWriteError::RowTooLarge => Self::Refused(fault.to_string()),
            other => Self::Parquet(other),
        }
    }
}

impl EncodeError {
    /// Why the event can never be written, if so.
    pub(super) fn refusal(&self) -> Option<String> {
        match self {
            #[cfg(feature = "parquet")]
            Self::Refused(reason) => Some(reason.clone()),
            _ => None,
        }
    }
}

impl ObjectWriter {
    pub(super) fn new(options: ObjectOptions) -> Self {
        #[cfg(feature = "parquet")]
        if options.format == Format::Parquet {
            let with_raw = options.encoding.raw != RawForm::Drop;
            return Self::Parquet(ParquetWriter::new(ParquetOptions {
                compression: options.compression.of_pages(),
                with_raw,
            }));
        }
        Self::Ndjson(NdjsonWriter::new(options.encoding, options.compression.of_lines()))
    }

    /// Takes an event in.
    pub(super) fn push(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), EncodeError> {
        match self {
            Self::Ndjson(writer) => Ok(writer.push(event, form)?),
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => Ok(writer.push(event, form)?),
        }
    }

    /// About how many bytes of memory it takes. The same events give the same number: it decides where objects are cut.
    pub(super) fn memory(&self) -> usize {
        match self {
            Self::Ndjson(writer) => writer.memory(),
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => writer.buffered_bytes(),
        }
    }

    /// The object's bytes. The same events give the same bytes.
    pub(super) fn finish(self) -> Result<Finished, EncodeError> {
        match self {
            Self::Ndjson(writer) => Ok(writer.finish()?),
            #[cfg(feature = "parquet")]
            Self::Parquet(writer) => {
                let file = writer.finish()?;
                let (first_time, last_time) = (file.first_time.unwrap_or_default(), file.last_time.unwrap_or_default());
                Ok(Finished { bytes: file.bytes, rows: file.rows, first_time, last_time })
            }
        }
    }
}
