//! A source to collect from: what it needs, and how collecting can end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::options::SourceSettings;
use super::transport::Transport;
use crate::clock::SharedClock;
use crate::journal::{Journal, JournalError};
use crate::time::Timestamp;
use crate::vendors::{ApiError, Vendor};

/// A source to collect from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the pipeline file.
    pub name: String,
    /// The vendor, with the configured account.
    pub vendor: Arc<dyn Vendor>,
    /// The vendor's spec with the source's options applied.
    pub settings: SourceSettings,
}

/// How long to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CollectMode {
    /// Until shutdown, or until `end_time` is covered.
    Continuous,
    /// Until everything before `until` is covered, and rechecked once if rechecks are enabled.
    Once {
        /// The end of the time to cover.
        until: Timestamp,
    },
}

/// What a source works with.
pub struct SourceContext {
    /// Where pages are stored.
    pub journal: Arc<dyn Journal>,
    /// Sends requests to the vendor.
    pub transport: Arc<dyn Transport>,
    /// The time of day.
    pub clock: SharedClock,
    /// Seed of the backoff's jitter.
    pub rng_seed: u64,
    /// How long to collect.
    pub mode: CollectMode,
    /// Ends every wait at once.
    pub shutdown: CancellationToken,
}

/// How collecting ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceEnd {
    /// All that was to be covered is covered.
    Finished,
    /// The process shuts down.
    Shutdown,
    /// In [`CollectMode::Once`]: the vendor rejects the requests until the user fixes something.
    Stopped(ApiError),
}

/// Why a source fails.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The journal cannot be used.
    #[error("source `{source_name}` stopped: {error}")]
    Journal {
        /// The source.
        source_name: String,
        /// The journal's error.
        error: JournalError,
    },
}
