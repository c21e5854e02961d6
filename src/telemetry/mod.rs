//! What an operator sees of a running pipeline: log lines and progress, both on standard error; and what the service manager
//! receives.

mod eta;
pub mod logging;
pub(crate) mod progress;
mod screen;
mod service_manager;

pub(crate) use eta::{Backlog, BacklogReader};
pub(crate) use service_manager::ServiceManager;
