//! Running a validated pipeline: opening, healthcheck, start, shutdown, maintenance.
//!
//! ```text
//!  sources ---pages--->  journal  ---blocks--->  sinks          maintenance: trims the journal
//!     |                                            |
//!     +-- all ended? ---- drain -------------------+-- all ended? --> RunReport
//!  at the start and the end: what is in doubt
//!  shutdown: both stop after the page or batch in progress, within the deadline
//!  reload: so do those whose settings have changed; then they start with the new ones
//! ```

mod backlog;
mod changes;
mod deadline;
mod doubt;
mod file_digests;
mod healthcheck;
mod journal_run;
mod live_config;
mod maintenance;
mod report;
mod run;
mod shards;
mod start;
mod supervisor;
mod tasks;
mod writer_watch;

pub use crate::collect::{CollectError, SourceEnd};
pub use crate::deliver::{DeliverError, SinkEnd};
pub use crate::journal::{CoverageState, DoubtfulTime, JournalError, JournalStats, LastError, SinkStats, SourceStats};

pub use healthcheck::{ComponentKind, HealthcheckFailure, HealthcheckResult, check_data_dir, healthcheck};
pub use live_config::LiveConfig;
pub use report::{RunError, RunReport};
pub use run::run;
pub use start::{RunMode, RunOptions};
