//! Figures of sources and sinks, for people and tests.

use serde::{Deserialize, Serialize};

use super::Seq;
use crate::time::Timestamp;

/// A trouble that a source or sink has at present.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastError {
    /// What is wrong, without secrets.
    pub message: String,
    /// What the user must do.
    pub hint: String,
    /// Since when.
    pub since: Timestamp,
}

/// A figure of each source, for people and tests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SourceStats {
    /// Its name.
    pub name: String,
    /// Its vendor.
    pub vendor: String,
    /// Events collected since the first start.
    pub events: u64,
    /// Bytes of their raw records.
    pub raw_bytes: u64,
    /// Pages read.
    pub pages: u64,
    /// Requests made, failed ones included.
    pub requests: u64,
    /// The end of the newest covered time.
    pub covered_to: Option<Timestamp>,
    /// Windows that are not complete.
    pub open_windows: u64,
    /// The present trouble.
    pub last_error: Option<LastError>,
}

/// A figure of each sink, for people and tests.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SinkStats {
    /// Its name.
    pub name: String,
    /// Whether it is in the pipeline file at present.
    pub active: bool,
    /// Its position.
    pub position: Seq,
    /// Events written since the first start.
    pub delivered: u64,
    /// Events dropped by a filter.
    pub filtered: u64,
    /// Events in the dead letter.
    pub dead_lettered: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Events that it was asked to deliver once more: they are counted again in the figures above.
    pub redelivered: u64,
    /// The present trouble.
    pub last_error: Option<LastError>,
}

/// What the journal holds, at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JournalStats {
    /// Every source ever started.
    pub sources: Vec<SourceStats>,
    /// Every sink ever started.
    pub sinks: Vec<SinkStats>,
    /// The newest visible event.
    pub head: Seq,
    /// The oldest event still held; `head + 1` if none is.
    pub oldest: Seq,
    /// Size of the events held, in bytes on disk.
    pub bytes: u64,
}
