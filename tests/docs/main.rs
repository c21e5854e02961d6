//! The documentation is correct: pipelines are valid, events are what the normalizer makes of the records before them, commands
//! exist in the program, and read-only commands are run.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used)]

mod commands;
mod events;
mod hosts;
mod log_events;
mod pages;
mod pipelines;
mod shell;
