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

/// The directory of dead letters in the data directory.
pub(super) const DIRECTORY: &str = "dead_letter";

/// The dead letter file of a sink in the data directory.
#[must_use]
pub fn path(data_dir: &Path, sink: &str) -> PathBuf {
    let file = data_dir.join(DIRECTORY).join(format!("{sink}.ndjson"));
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

/// Rolls back the dead letter at `path` and returns the records that belong to the sink.
///
/// # Errors
/// The file cannot be truncated. [`SinkError::Stopped`] if a record names another file: nothing is touched then.
pub fn roll_back(records: &[RollbackRecord], path: &Path) -> Result<Vec<RollbackRecord>, SinkError> {
    let mut dead_letters: Vec<&FileRecord> = Vec::new();
    let mut others = Vec::new();
    for record in records {
        match record {
            RollbackRecord::DeadLetter(file) if file.path == path => dead_letters.push(file),
            RollbackRecord::DeadLetter(file) => return Err(elsewhere(&file.path, path)),
            other => others.push(other.clone()),
        }
    }
    roll_back_files(&dead_letters)?;
    Ok(others)
}

/// A record in the journal is not a reason to touch a file that is not the dead letter.
fn elsewhere(recorded: &Path, path: &Path) -> SinkError {
    SinkError::Stopped {
        message: format!(
            "the journal says that an unfinished batch wrote the dead letter {}, but the dead letter is {}: nothing was touched",
            recorded.display(),
            path.display()
        ),
        hint: "if data_dir was moved, move it back, run once, and move it after a clean stop".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::FileBefore;

    #[test]
    fn only_the_dead_letter_itself_is_rolled_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let (own, other) = (path(directory.path(), "lake"), directory.path().join("other.ndjson"));
        std::fs::create_dir(directory.path().join(DIRECTORY)).expect("created");
        for file in [&own, &other] {
            std::fs::write(file, "lines").expect("written");
        }
        let record = |path: &Path| {
            let before = FileBefore::Absent { first_new_directory: None };
            RollbackRecord::DeadLetter(FileRecord { path: path.to_owned(), before })
        };
        let error = roll_back(&[record(&own), record(&other)], &own).expect_err("another file");
        assert!(error.to_string().contains("other.ndjson"), "{error}");
        assert!(own.exists() && other.exists());
        roll_back(&[record(&own)], &own).expect("rolled back");
        assert!(!own.exists() && other.exists());
    }
}
