//! The `file` sink: NDJSON files; each batch is appended exactly once. `sink` draws the data flow; users read
//! `docs/files.md`.

mod config;
mod manifests;
mod marker;
mod rotation;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

pub use config::{FileConfig, RotateOptions};
pub use sink::FileSink;
