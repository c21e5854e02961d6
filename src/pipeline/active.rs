//! The configuration that a run works with at a moment.

use std::sync::Arc;

use super::validated::ValidatedPipeline;
use crate::clock::{Clock, SystemClock};
use crate::time::Timestamp;

/// The configuration that a run works with, and how its last reload ended.
#[derive(Clone, Debug)]
pub struct ActiveConfig {
    /// The pipeline.
    pub pipeline: Arc<ValidatedPipeline>,
    /// Whether the last reload succeeded. The start counts as one.
    pub reload_succeeded: bool,
    /// When the pipeline file was last read without an error.
    pub reload_succeeded_at: Timestamp,
}

impl ActiveConfig {
    /// A pipeline whose file was just read.
    #[must_use]
    pub fn new(pipeline: ValidatedPipeline) -> Self {
        Self { pipeline: Arc::new(pipeline), reload_succeeded: true, reload_succeeded_at: SystemClock.now() }
    }
}
