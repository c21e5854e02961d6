//! Collecting: one task per source, from the vendor's pages into the journal. Generic: no vendor is named here.
//!
//! ```text
//!                  +---------------------------- source loop (one per source) ----------------------------+
//!   clock -------> | scheduler: which window next        rate: when, after pauses and within the budget   |
//!                  |    |                                                                                 |
//!                  |    v                                                                                 |
//!   vendor <=====> | fetch (page stream) --> filter: scope, dedup --> block                               |
//!   (transport)    |    ^                                               |                                 |
//!                  |    | prefetch                                      v                                 |
//!                  |    +--- scan: progress, verdict at its end --> retrying journal --- commit_page ---> | --> journal
//!                  |                 |                                                                    |
//!                  |                 +--> split the window, or scan it again                              |
//!                  +--------------------------------------------------------------------------------------+
//! ```
//!
//! One step is one page. After each page the next step is scheduled afresh, so a live poll that is due goes between any
//! two pages of a backfill, and a process that is killed anywhere resumes at the page that was not committed. While a page
//! is stored, the next one may already be requested.

mod bad_address;
mod by_id;
mod by_piece;
mod by_time;
mod clock_skew;
mod dedup;
mod end;
mod errors;
mod evidence;
mod facts;
mod failing;
mod fetch;
mod filter;
mod healthcheck;
mod http;
mod lateness;
mod learned;
mod monitors;
pub(crate) mod options;
mod overlap;
pub(crate) mod page_evidence;
pub(crate) mod ranges;
mod rate;
mod recheck;
mod retrying_journal;
pub mod rewind;
pub(crate) mod scan;
pub(crate) mod scheduler;
mod source;
mod source_loop;
mod tls;
mod transport;
mod verdict;
mod window_scans;

pub use bad_address::BadAddress;
pub use healthcheck::{RedactedRequest, healthcheck, redacted_request};
pub use http::{HttpClients, HttpTransport};
pub use options::{CheckName, IgnoredChecks, PointInTime, SourceOptions, SourceSettings, StartTime};
pub use overlap::{Overlap, recommended as recommended_overlap};
pub use rate::RateLimitGroups;
pub use source::{CollectError, CollectMode, Source, SourceContext, SourceEnd};
pub use source_loop::run;
pub use tls::TlsOptions;
pub use transport::{Response, ResponseLimits, Transport, TransportError};

#[cfg(test)]
mod tests;
