//! auditflow: audit trails of SaaS vendors, in one schema, into Kafka, S3 or files. Nothing lost, nothing twice.
//!
//! The tour, one event from vendor to sink:
//!
//! ```text
//! vendors::Vendor::request      what to ask                                        pure
//! collect                       asks, retries, walks the pages, drops known ones   one task a source
//! journal                       page + keys + coverage in one transaction          one SQLite file
//! deliver                       reads from the sink's own position, plans a batch  one task a sink
//! vendors::Normalizer::normalize  the vendor's record becomes an event::Event        pure
//! sinks::Sink                   encodes and writes it, exactly once                file, console
//! ```
//!
//! [`pipeline`] reads the YAML file, checks it and runs the parts; [`cli`] is what people type; [`simulator`] plays the
//! vendors. `ARCHITECTURE.md` says where to add what.
//!
//! A program that wants a pipeline inside itself needs three calls: [`pipeline::load`] (or [`pipeline::check`], for a text
//! of its own), [`pipeline::run::RunOptions::new`] and [`pipeline::run::run`]: see `examples/embed.rs`. One that reads a
//! vendor of its own calls [`pipeline::add_vendor`] first: see `examples/own_vendor.rs`.

pub mod cli;
pub mod clock;
pub mod collect;
pub mod deliver;
pub mod diagnostic;
pub mod event;
pub mod journal;
mod json_schema;
pub mod observe;
pub mod pipeline;
pub mod report;
pub mod secret;
pub mod simulator;
pub mod sinks;
pub mod time;
pub mod transform;
pub mod units;
pub mod vendors;
