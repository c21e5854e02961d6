//! Writes events as a Parquet file: typed columns, sorted by time, for engines that read only the columns and hours they need.
//!
//! ```text
//! Event --push--> Rows: plain text and lengths        finish:  index sorted by time
//!                 one index entry per row                        --> a few thousand rows in arrow arrays at a time
//!                                                                --> row groups, encoded and compressed --> bytes
//! ```
//!
//! A file must be sorted as a whole, so all its rows are kept until it is finished: as one arena of text, not as arrow
//! arrays, which would have to be copied again to be sorted. [`ParquetWriter::buffered_bytes`] returns the memory in use;
//! finishing adds one slice of arrow arrays, one row group and the finished file.
//!
//! The same events in the same order give the same bytes: nothing of the clock, the host or the program's version is written,
//! so that an attempt that is repeated after an upgrade gives the same result, as far as the compression library allows.

use std::sync::Arc;

use arrow_schema::Schema;
use parquet::arrow::ArrowWriter;

use super::columns::Columns;
use super::layout::{self, ParquetOptions};
use super::rows::{self, Rows};
use crate::event::Event;
use crate::sinks::EventForm;
use crate::time::Timestamp;

/// Why an event or a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ParquetWriteError {
    /// No Parquet file can contain the event. The writer is unchanged.
    #[error("the event is larger than the {} MiB limit of a Parquet row", rows::MAX_ROW_BYTES >> 20)]
    RowTooLarge,
    /// The library rejected the rows, or a compressor failed.
    #[error("a Parquet file could not be encoded: {0}")]
    Encode(#[from] parquet::errors::ParquetError),
    /// The arrays do not match the schema, which is a bug.
    #[error("a Parquet file could not be encoded: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
}

/// A finished file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The whole file.
    pub bytes: Vec<u8>,
    /// Rows, one per event.
    pub rows: u64,
    /// Time of the earliest event; `None` in a file without events.
    pub first_time: Option<Timestamp>,
    /// Time of the latest event.
    pub last_time: Option<Timestamp>,
}

/// Collects the events of one file.
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

    /// Adds one row. For an event directly from a source ([`EventForm::Raw`]) the row contains the vendor's record, ids,
    /// vendor, source, tenant and times. The columns that normalizing fills are null.
    ///
    /// # Errors
    /// [`ParquetWriteError::RowTooLarge`] if the strings of the event exceed 1 GiB; the file continues without it.
    pub fn push(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), ParquetWriteError> {
        let with_raw = self.options.with_raw;
        let time = event.timestamp.to_micros();
        let added = self.rows.add(time, |row| rows::store(event, form, with_raw, row));
        if added { Ok(()) } else { Err(ParquetWriteError::RowTooLarge) }
    }

    /// Bytes of memory that the rows use, including unused capacity of buffers.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.rows.held_bytes()
    }

    /// Rows so far.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Sorts the rows by time (rows of equal time keep the order in which they were pushed) and writes the file.
    ///
    /// Takes as long as encoding and compressing (about 4 s per GiB of events): call it where blocking is allowed.
    ///
    /// # Errors
    /// The compressor fails (out of memory).
    pub fn finish(mut self) -> Result<Finished, ParquetWriteError> {
        self.rows.sort_by_time();
        let schema = Arc::new(Schema::new(layout::fields(self.options.with_raw)));
        let options = layout::writer_options(&schema, self.options);
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
