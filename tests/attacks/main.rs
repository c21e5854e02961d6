//! Attacks, with the real program: a hostile vendor, hostile authors of audit records, a hostile store.
//!
//! ```text
//!   hostile server --answers--> auditflow run --once --> files, journal, logs, status, coverage
//!                                                         \--> no secret, no file elsewhere, nothing lost, no end without a word
//! ```
#![allow(clippy::unwrap_used, missing_docs)]

#[cfg(feature = "kafka")]
mod brokers;
mod echoes;
mod records;
mod server;
#[cfg(feature = "s3")]
mod stores;
