//! What a pipeline's state looks like to people: `status`, `coverage` and `plan`, as text and as JSON; and how well records
//! are understood: `mapping`. The same figures as metrics: `metrics`; and for a browser: `page`.
//!
//! ```text
//! pipeline file -------------------+
//! snapshot of the journal ---------+--> Observation --> StatusReport, CoverageReport, PlanReport --> text, JSON
//! lock file: the running process --+    (reads the disk)     pure
//! ```
//!
//! `docs/status.md` documents the JSON. It is stable: fields are added, and never changed or removed without a new
//! [`FORMAT`].

pub mod coverage;
pub mod doubt;
pub mod evidence;
pub mod freshness;
pub mod graph;
pub mod mapping;
pub mod mapping_diff;
pub mod metrics;
mod observation;
pub mod page;
pub mod plan;
mod problems;
pub mod status;
mod status_text;
#[cfg(test)]
mod tests;
mod text;
pub mod verify;

pub use coverage::CoverageReport;
pub(crate) use doubt::reasons_text;
pub use mapping::{MappingCounter, MappingReport};
pub use mapping_diff::MappingDiff;
pub use observation::{FORMAT, LastErrorReport, Observation, Process, ReportHead, TimeSpan, observe, observe_own};
pub use plan::PlanReport;
pub use status::StatusReport;
#[cfg(feature = "top")]
pub(crate) use status::{SinkState, SinkStatus, SourceState, SourceStatus};
pub(crate) use text::{brief, counted, wrapped};
pub use verify::{ShardNotVerified, SinkOutputs, VerifyReport};
