//! Events as a Parquet file: typed columns, sorted by time, for engines that read only the columns and hours they need.
//!
//! ```text
//! Event --push--> Rows: plain text and lengths        finish:  places sorted by time
//!                 one place (time, where) a row                  --> a few thousand rows in arrow arrays at a time
//!                                                                --> row groups, encoded and compressed --> bytes
//! ```
//!
//! A file must be sorted as a whole, so all its rows are held until it is finished: as one arena of text, not as arrow
//! arrays, which would have to be copied once more to be sorted. What is held is what [`ParquetWriter::buffered_bytes`]
//! says; finishing adds one slice of arrow arrays, one row group and the finished file.
//!
//! The same events in the same order give the same bytes: nothing of the clock, the machine or the program's version goes
//! in, so that an attempt that was cut off by an upgrade is done again with the same result as far as the compression
//! library allows. Users read about the columns in `docs/s3.md`.

mod columns;
mod layout;
mod rows;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;
use serde::Deserialize;

use self::columns::Columns;
use self::rows::Rows;
use super::EventForm;
use crate::event::Event;
use crate::time::Timestamp;

/// How the pages of a Parquet file are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ParquetCompression {
    /// zstd, level 1: on audit events smaller and faster than level 3.
    #[default]
    Zstd,
    /// snappy: larger, for readers that know no zstd.
    Snappy,
    /// Not at all.
    None,
}

/// What decides the bytes of a file beside its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParquetOptions {
    /// How pages are compressed.
    pub compression: ParquetCompression,
    /// Whether the vendor's record is a column.
    pub with_raw: bool,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self { compression: ParquetCompression::Zstd, with_raw: true }
    }
}

/// Why an event or a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ParquetWriteError {
    /// No Parquet file can hold the event. The writer is as it was before.
    #[error("the event is larger than the {} MiB that a row of a Parquet file can have", rows::MAX_ROW_BYTES >> 20)]
    RowTooLarge,
    /// The library refused the rows or a compressor failed.
    #[error("a Parquet file could not be encoded: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
    /// The arrays do not fit the schema, which is a defect.
    #[error("a Parquet file could not be encoded: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Rows, one an event.
    pub rows: u64,
    /// Time of the earliest event; `None` in a file without events.
    pub first_time: Option<Timestamp>,
    /// Time of the latest event.
    pub last_time: Option<Timestamp>,
}

/// Gathers the events of one file.
#[derive(Debug)]
pub struct ParquetWriter {
    options: ParquetOptions,
    rows: Rows,
}

impl ParquetWriter {
    /// A file without events.
    #[must_use]
    pub fn new(options: ParquetOptions) -> Self {
        Self { options, rows: Rows::new(rows::MAX_ROW_BYTES) }
    }

    /// Adds one row. Of an event that comes straight from a source ([`EventForm::Raw`]) the vendor's record goes in, and
    /// what tells records apart: ids, vendor, source, tenant and times. The columns that normalizing fills are null.
    ///
    /// # Errors
    /// [`ParquetWriteError::RowTooLarge`] if the texts of the event come to more than 1 GiB; the file goes on without it.
    pub fn push(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), ParquetWriteError> {
        let with_raw = self.options.with_raw;
        let time = store::written_time(event.timestamp);
        let held = self.rows.add(time, |row| store::store(event, form, with_raw, row));
        if held { Ok(()) } else { Err(ParquetWriteError::RowTooLarge) }
    }

    /// Bytes of memory that the rows take, unused room in buffers included.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.rows.held_bytes()
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Sorts the rows by time, those of equal time in the order in which they were pushed, and writes the file.
    ///
    /// Takes as long as encoding and compressing does (some 4 s a GiB of events): call it where blocking is allowed.
    ///
    /// # Errors
    /// If the compressor fails (out of memory).
    pub fn finish(mut self) -> Result<Finished, ParquetWriteError> {
        self.rows.sort_by_time();
        let schema = Arc::new(Schema::new(layout::fields(self.options.with_raw)));
        let options = layout::writer_options(&schema, self.options.compression);
        let mut writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(&schema), options)?;
        let mut columns = Columns::new(schema, self.options.with_raw);
        for mut row in self.rows.iter() {
            columns.append(&mut row);
            if columns.is_full() {
                writer.write(&columns.take()?)?;
            }
        }
        writer.write(&columns.take()?)?;
        Ok(Finished {
            bytes: writer.into_inner()?,
            rows: u64::try_from(self.rows.len()).unwrap_or(u64::MAX),
            first_time: self.rows.first_time(),
            last_time: self.rows.last_time(),
        })
    }
}
