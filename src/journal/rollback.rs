//! What a sink must know to roll back an unfinished batch.

use serde::{Deserialize, Serialize};

/// One thing in the target that a batch is about to touch, stored before it is touched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollbackRecord {
    /// A file's path or an object's key.
    pub name: String,
    /// What the sink must know to roll it back, in the sink's own form.
    pub before: String,
}
