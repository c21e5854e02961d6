//! auditflow collects the audit trails of SaaS vendors into one schema and delivers them to Kafka, S3 or files, exactly once.
//!
//! # The path of an event
//!
//! ```text
//! vendors::Vendor               describes one API: requests, pages, record keys           pure
//! collect                       requests pages, retries, scans windows, deduplicates      one task per source
//! journal                       stores page + keys + coverage in one transaction          one SQLite file
//! deliver                       reads from the sink's position, prepares a batch          one task per sink
//! vendors::Normalizer           turns the vendor's record into an event::Event            pure
//! sinks::Sink                   encodes and writes the batch, exactly once                Kafka, S3, files, console
//! ```
//!
//! # Embedding
//!
//! A program that embeds a pipeline needs two calls: [`pipeline::load`] (or [`pipeline::validate`] for text) gives a
//! [`pipeline::ValidatedPipeline`], and [`runtime::run`] runs it and gives a [`runtime::RunReport`]. `examples/embed.rs` is
//! a complete program. To add a vendor, implement [`vendors::Vendor`] and call [`pipeline::add_vendor`] before you load:
//! `examples/own_vendor.rs`, which also has all commands through [`cli::main`].
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use auditflow::pipeline::{self, Environment, Overrides, PipelineFiles};
//! use auditflow::runtime::{self, RunMode, RunOptions};
//! use tokio_util::sync::CancellationToken;
//!
//! let loaded = pipeline::load(&PipelineFiles::from("pipeline.yaml"), &Environment::of_process(), &Overrides::default());
//! let pipeline = loaded.map_err(|diagnostics| diagnostics[0].to_string())?;
//! let shutdown = CancellationToken::new();
//! let report = runtime::run(pipeline, RunOptions::new(RunMode::Continuous, shutdown)).await?;
//! assert!(report.unfinished().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! The other modules are internal. The feature `internals` makes them public for the tests and benches of this package; they
//! can change in any release. `ARCHITECTURE.md` describes them.

#![cfg_attr(
    not(feature = "internals"),
    allow(unused_imports, reason = "modules also re-export what only tests and benches of this package use")
)]

pub mod cli;
pub mod clock;
pub mod diagnostic;
pub mod event;
pub mod pipeline;
pub mod runtime;
pub mod secret;
pub mod shard;
pub mod simulator;
pub mod sinks;
pub mod time;
pub mod units;
pub mod vendors;

mod api;
mod backoff;
mod json_schema;

#[cfg(not(feature = "internals"))]
mod collect;
#[cfg(feature = "internals")]
pub mod collect;
#[cfg(not(feature = "internals"))]
mod config;
#[cfg(feature = "internals")]
pub mod config;
#[cfg(not(feature = "internals"))]
mod deliver;
#[cfg(feature = "internals")]
pub mod deliver;
#[cfg(not(feature = "internals"))]
mod forecast;
#[cfg(feature = "internals")]
pub mod forecast;
#[cfg(not(feature = "internals"))]
mod format;
#[cfg(feature = "internals")]
pub mod format;
#[cfg(not(feature = "internals"))]
mod journal;
#[cfg(feature = "internals")]
pub mod journal;
#[cfg(not(feature = "internals"))]
mod report;
#[cfg(feature = "internals")]
pub mod report;
#[cfg(not(feature = "internals"))]
mod telemetry;
#[cfg(feature = "internals")]
pub mod telemetry;
#[cfg(not(feature = "internals"))]
mod transform;
#[cfg(feature = "internals")]
pub mod transform;
