//! What an operator sees while a pipeline runs: logs and progress, both on standard error.

pub mod logging;
pub mod progress;
mod screen;
pub mod stretch;
