//! Running a validated pipeline: opening, healthcheck, start, shutdown, maintenance.
//!
//! ```text
//!  sources ---pages--->  journal  ---blocks--->  sinks          maintenance: trims the journal
//!     |                                            |
//!     +-- all ended? ---- drain -------------------+-- all ended? --> RunReport
//!  at the start and the end: what is in doubt
//!  shutdown: both stop after the page or batch in progress, within the deadline
//! ```

mod backlog;
mod deadline;
mod doubt;
mod healthcheck;
mod maintenance;
mod report;
mod run;
mod start;
mod writer_watch;

pub use crate::collect::{CollectError, SourceEnd};
pub use crate::deliver::{DeliverError, SinkEnd};
pub use crate::journal::{CoverageState, DoubtfulTime, JournalError, JournalStats, LastError, SinkStats, SourceStats};

pub use healthcheck::{ComponentKind, HealthcheckFailure, HealthcheckResult, check_data_dir, healthcheck};
pub use report::{RunError, RunReport};
pub use run::run;
pub use start::{RunMode, RunOptions};
