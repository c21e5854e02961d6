//! An object of lines. Small ones wait as they are and are compressed at the end; one that grows is compressed on its way,
//! so that many partitions do not cost a compressor each, and a large one does not cost its plain size.

use std::fmt;
use std::io::{self, Write as _};

use super::writer::Finished;
use crate::event::Event;
use crate::sinks::EventForm;
use crate::sinks::compression::Compression;
use crate::sinks::encoding::{EncodingOptions, push_line};
use crate::time::Timestamp;

/// So many bytes of lines are compressed at once.
const CHUNK_BYTES: usize = 256 * 1_024;

/// What a compressor that is under way takes beside its output: its window and tables.
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
        self.first_time = self.first_time.min(event.timestamp.at);
        self.last_time = self.last_time.max(event.timestamp.at);
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
                writer.push(&event, EventForm::Raw).expect("taken in");
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
    fn what_is_compressed_on_its_way_takes_less_memory_than_its_lines() {
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
