//! A source to collect from: what it needs, and how collecting can end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::options::{SourceSettings, StartTime};
use super::rate::RateLimitGroups;
use super::transport::Transport;
use crate::clock::SharedClock;
use crate::journal::{CollectJournal, JournalError, SourceRegistration, SourceState};
use crate::time::Timestamp;
use crate::vendors::{ApiError, NormalizerConfig, Vendor};

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
    pub journal: Arc<dyn CollectJournal>,
    /// Sends requests to the vendor.
    pub transport: Arc<dyn Transport>,
    /// The request budgets that sources of one account share.
    pub rate_limit_groups: RateLimitGroups,
    /// A window that has stored more than this without being complete is split, in bytes.
    pub max_staged_bytes: u64,
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
    /// It cannot be built from its settings.
    #[error("cannot be started: {0}")]
    NotBuilt(String),
}

/// Logs where a source starts, and what the user should know about its settings.
pub(super) fn log_start(state: &SourceState, registration: &SourceRegistration, settings: &SourceSettings) {
    let covered_to = state.coverage.last().map(|range| tracing::field::display(range.to));
    tracing::info!(event = "source_started", covered_to, open_windows = state.open.len(), "source started");
    if let Some(before) = &state.former_normalizer_config {
        tracing::warn!(
            event = "event_ids_changed",
            before = %config_text(before),
            now = %config_text(&registration.normalizer_config),
            hint = "if this is another account, give the source another name",
            "settings that determine event ids have changed; events in the overlap will be delivered again with new ids"
        );
    }
    let from = match settings.backfill_start_time {
        Some(StartTime::At(_) | StartTime::Ago(_)) => Some(settings.starts_at(state.first_started_at)),
        Some(StartTime::Earliest) | None => None,
    };
    if let (Some(from), Some(retention)) = (from, settings.spec.retention)
        && from < registration.now - retention
    {
        tracing::warn!(
            event = "backfill_exceeds_retention",
            backfill_start_time = %from,
            retention_secs = retention.as_secs_f64(),
            "backfill_start_time is earlier than the vendor keeps records; the oldest time may be empty"
        );
    }
}

fn config_text(config: &NormalizerConfig) -> String {
    let tenant = config.tenant.iter().map(|tenant| format!("tenant {tenant}"));
    let options = config.options.iter().map(|(name, value)| format!("{name} {value}"));
    tenant.chain(options).collect::<Vec<_>>().join(", ")
}
