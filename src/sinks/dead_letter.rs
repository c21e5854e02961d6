//! The dead letter: events that a sink's outside will never take, with the reason, in a file of their own.
//!
//! ```text
//! Sink::take_refused --> {"sink":...,"reason":...,"event":{the native form}}  a line each, in data_dir/dead_letter/
//! ```
//!
//! The file is an output of the batch like any other: recorded in the plan before it is touched, durable before the batch
//! is committed, taken back if the batch is undone. So each event stands there once.

use std::path::{Path, PathBuf};

use super::file::{LocalAppend, undo_local_files};
use super::{PlanLog, Refused, SinkError};
use crate::event::json::push_string;
use crate::journal::RollbackRecord;

/// The dead letter of a sink, in the data folder.
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
    events: u64,
}

impl<'a> DeadLetter<'a> {
    /// For a batch of `sink`; touches nothing before an event comes.
    #[must_use]
    pub fn of_batch(sink: &'a str, path: &Path) -> Self {
        Self { sink, file: LocalAppend::to(path), events: 0 }
    }

    /// Adds events.
    ///
    /// # Errors
    /// The file cannot be written.
    pub async fn add(&mut self, refused: Vec<Refused>, plan: &mut dyn PlanLog) -> Result<(), SinkError> {
        for event in refused {
            self.file.append(&line(self.sink, &event), plan).await?;
            self.events += 1;
        }
        Ok(())
    }

    /// Makes them durable; returns how many they are.
    ///
    /// # Errors
    /// The file cannot be made durable.
    pub fn finish(&mut self) -> Result<u64, SinkError> {
        self.file.sync()?;
        Ok(self.events)
    }
}

/// Takes back what an unfinished batch has added; returns the outputs that are not the dead letter.
///
/// # Errors
/// The file cannot be cut.
pub fn undo(path: &Path, outputs: &[RollbackRecord]) -> Result<Vec<RollbackRecord>, SinkError> {
    let name = path.to_string_lossy();
    let (own, others): (Vec<_>, Vec<_>) = outputs.iter().cloned().partition(|output| output.name == name);
    undo_local_files(&own)?;
    Ok(others)
}

fn line(sink: &str, refused: &Refused) -> Vec<u8> {
    let mut line = b"{\"sink\":".to_vec();
    push_string(&mut line, sink);
    line.extend_from_slice(b",\"reason\":");
    push_string(&mut line, &refused.reason);
    line.extend_from_slice(b",\"event\":");
    line.extend_from_slice(&refused.event);
    line.extend_from_slice(b"}\n");
    line
}
