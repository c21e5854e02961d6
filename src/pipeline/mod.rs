//! The validated pipeline: components, graph and routes of a pipeline file.
//!
//! ```text
//! config: tree, settings --component--> names, types, inputs --sources, transforms, sinks--> settings of each
//!                                           |
//!                                           +--graph--> edges --routes--> source, form, condition for each sink
//!                                                                             |
//!                        diagnostics, all of them  <--validate----------------+---->  ValidatedPipeline
//! ```
//!
//! Validation is pure, except that [`load`] reads the file: `auditflow validate` opens no connection. [`crate::runtime`] runs
//! the validated pipeline.

mod component;
mod graph;
mod routes;
mod sinks;
mod sources;
#[cfg(test)]
mod tests;
mod transforms;
mod validate;
mod validated;

pub use validate::{load, validate};
pub use validated::{ValidatedPipeline, ValidatedSink, ValidatedSource};

pub use crate::config::{
    Diagnostic, Environment, JournalSettings, LogFormat, LogLevel, LogSettings, Overrides, Settings, Severity,
    TextSpan, add_vendor,
};
