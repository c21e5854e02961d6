//! What an operator sees of a running pipeline: log lines and progress, both on standard error.

mod eta;
pub mod logging;
pub(crate) mod progress;
mod screen;

pub(crate) use eta::{Backlog, BacklogReader};
