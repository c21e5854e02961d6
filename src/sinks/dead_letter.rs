//! The dead letter: events that a sink's target can never accept, with the reason, in a file of their own.
//!
//! ```text
//! WriteOutcome::Rejected --> {"sink":...,"reason":...,"event":{the native form}}  one line each, in data_dir/dead_letter/
//! ```
//!
//! The file is an output of the batch like any other: recorded before it is touched, durable before the batch is committed,
//! rolled back with the batch. So it holds each event once.

use std::path::{Path, PathBuf};

use super::local_files::{LocalAppend, roll_back_files};
use super::{RollbackLog, SinkError};
use crate::event::Event;
use crate::event::json::push_string;
use crate::event::native::{self, RawForm};
use crate::journal::{FileRecord, RollbackRecord};

/// The dead letter file of a sink in the data directory.
#[must_use]
pub fn path(data_dir: &Path, sink: &str) -> PathBuf {
    let file = data_dir.join("dead_letter").join(format!("{sink}.ndjson"));
    std::path::absolute(&file).unwrap_or(file)
}

/// The dead letter during one batch.
#[derive(Debug)]
pub struct DeadLetter<'a> {
    sink: &'a str,
    file: LocalAppend,
    /// Lines that are not written yet. An event that is rejected is appended before the next block is read.
    lines: Vec<u8>,
    events: u64,
}

impl<'a> DeadLetter<'a> {
    /// Prepares a batch of `sink`. Does not touch the file before the first event.
    #[must_use]
    pub fn of_batch(sink: &'a str, path: &Path) -> Self {
        Self { sink, file: LocalAppend::new(path), lines: Vec::new(), events: 0 }
    }

    /// Buffers an event in its native form, record included.
    pub fn add(&mut self, event: &Event<'_>, reason: &str) {
        self.lines.extend_from_slice(b"{\"sink\":");
        push_string(&mut self.lines, self.sink);
        self.lines.extend_from_slice(b",\"reason\":");
        push_string(&mut self.lines, reason);
        self.lines.extend_from_slice(b",\"event\":");
        native::encode(event, RawForm::Keep, &mut self.lines);
        self.lines.extend_from_slice(b"}\n");
        self.events += 1;
    }

    /// Bytes that are buffered.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.lines.len()
    }

    /// Appends the buffered events to the file. Not durable yet.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn flush(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        if self.lines.is_empty() {
            return Ok(());
        }
        let lines = std::mem::take(&mut self.lines);
        self.file.append(&lines, RollbackRecord::DeadLetter, log).await
    }

    /// Makes all events durable and returns their number.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn finish(&mut self, log: &mut dyn RollbackLog) -> Result<u64, SinkError> {
        self.flush(log).await?;
        self.file.sync()?;
        Ok(self.events)
    }
}

/// Rolls back the dead letter and returns the records that belong to the sink.
///
/// # Errors
/// The file cannot be truncated.
pub fn roll_back(records: &[RollbackRecord]) -> Result<Vec<RollbackRecord>, SinkError> {
    let mut dead_letters: Vec<&FileRecord> = Vec::new();
    let mut others = Vec::new();
    for record in records {
        match record {
            RollbackRecord::DeadLetter(file) => dead_letters.push(file),
            other => others.push(other.clone()),
        }
    }
    roll_back_files(&dead_letters)?;
    Ok(others)
}
