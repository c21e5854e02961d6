//! The validated pipeline: components, graph and routes of the files of a pipeline.
//!
//! ```text
//! files --merge--> config: tree, settings --component--> names, types, inputs --sources, transforms, sinks--> settings of each
//!                                           |
//!                                           +--graph--> edges --routes--> source, form, condition for each sink
//!                                                                             |
//!                        diagnostics, all of them  <--validate----------------+---->  ValidatedPipeline
//! ```
//!
//! Validation opens no connection and changes nothing. It reads the pipeline file, and looks at where links lead and at the
//! permissions of files of secrets, without opening them. [`crate::runtime`] runs the validated pipeline.

mod active;
mod component;
mod fan_out;
mod files;
mod graph;
mod merge;
mod own_paths;
mod routes;
mod shards;
mod sinks;
mod sources;
mod sources_from;
#[cfg(test)]
mod tests;
mod transforms;
mod unit_tests;
mod validate;
mod validated;

pub use active::ActiveConfig;
pub use files::PipelineFiles;
pub(crate) use files::{FileDigest, FileDigests};
pub(crate) use validate::load_with_digests;
pub use validate::{load, validate};
pub use validated::{
    ComponentKind, SettingsIdentity, ValidatedPipeline, ValidatedSink, ValidatedSource, WiredComponent,
};

pub use crate::config::unit_test::{TestInput, TestOutput, UnitTest};
pub use crate::config::{
    ApiSettings, Diagnostic, Environment, JournalSettings, LogFormat, LogLevel, LogSettings, Overrides, Settings,
    Severity, TextSpan, add_vendor,
};
