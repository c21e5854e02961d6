//! What the journal keeps of the table that a sink writes: `status` shows it without asking the target.

use serde::{Deserialize, Serialize};

/// A table after the sink's last commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// The version of that commit.
    pub version: u64,
    /// The newest checkpoint that the sink knew then.
    pub checkpoint: Option<u64>,
    /// Files that the commit added.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
}
