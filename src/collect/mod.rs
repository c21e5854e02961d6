//! Collecting: one task a source, from the vendor's pages into the journal. Generic: no vendor is known here by name.
//!
//! ```text
//!                 +------------------------------ source: the loop of one source ------------------------------+
//!                 |                                                                                            |
//!   clock ------> | planner   which window next        lanes, rate, retry   when                               |
//!                 |    |                                    |                                                  |
//!                 |    v                                    v                                                  |
//!   vendor <====> | pages (stream) --> walk: totals, depth, trust --> intake: scope, twins, dedupe --> ledger  | --> journal
//!   transport     |    one attempt                |                                               commit_page  |
//!                 |                               +--> split the window, walk it again                         |
//!                 +--------------------------------------------------------------------------------------------+
//! ```
//!
//! One step is one page. After each the plan is made anew, so a live poll that is due goes between any two pages of a
//! backfill, and a process that is killed anywhere goes on at the page that was not committed. While a page is stored, the
//! next one may be on its way already (`ahead`).

mod ahead;
mod announce;
mod clock_watch;
mod dedupe;
pub mod http;
mod intake;
mod lanes;
mod lateness;
mod ledger;
pub mod options;
pub mod outlook;
mod page_size;
mod pages;
mod planner;
mod probe;
mod ranges;
mod rate;
pub mod request_shown;
mod retry;
pub mod rewind;
mod setbacks;
mod source;
pub mod transport;
mod walk;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

pub use http::{BadAddress, HttpClients, HttpTransport};
pub use options::{SourceOptions, SourceSettings};
pub use probe::probe;
pub use transport::{Limits, Response, Transport, TransportError};

use crate::clock::SharedClock;
use crate::journal::{CollectJournal, JournalError};
use crate::time::Timestamp;
use crate::vendors::{ApiError, Vendor};

/// A source to collect from.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its name in the pipeline file.
    pub name: String,
    /// The configured account of a vendor.
    pub vendor: Arc<dyn Vendor>,
    /// The options laid over the vendor's facts.
    pub settings: SourceSettings,
}

/// How long to collect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until shut down, or until `end_time` is covered.
    Continuous,
    /// Until everything before this moment is covered, and rechecked once if rechecks are set.
    Once {
        /// The moment.
        until: Timestamp,
    },
}

/// What a source works with.
pub struct Parts {
    /// Where pages go.
    pub journal: Arc<dyn CollectJournal>,
    /// The way to the vendor.
    pub transport: Arc<dyn Transport>,
    /// The time of day.
    pub clock: SharedClock,
    /// Seed of the back-off's jitter.
    pub rng_seed: u64,
    /// How long to collect.
    pub mode: Mode,
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
    /// In [`Mode::Once`]: the vendor refuses, and nothing changes until the user mends something.
    Stopped(ApiError),
}

/// Why a source cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// The journal cannot be used.
    #[error("source `{source_name}` stopped: {error}")]
    Journal {
        /// The source.
        source_name: String,
        /// What the journal says.
        error: JournalError,
    },
}

/// Collects from one source until its end.
///
/// Faults of the vendor and full disks are waited out; a fault that only the user can mend is noted as the source's
/// trouble and looked at again at a slow interval.
///
/// # Errors
/// If the journal is damaged, belongs to another version, or was called out of turn.
pub async fn run(source: Source, parts: Parts) -> Result<SourceEnd, CollectError> {
    let span = tracing::error_span!("source", source = %source.name, vendor = source.settings.spec.name);
    let source_name = source.name.clone();
    source::run(source, parts).instrument(span).await.map_err(|error| CollectError::Journal { source_name, error })
}

#[cfg(test)]
mod tests;
