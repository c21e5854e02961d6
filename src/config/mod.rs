//! The pipeline file as written: YAML, positions, variables, process settings, diagnostics.
//!
//! ```text
//! pipeline.yaml --yaml--> tree of nodes with spans --environment--> tree with ${VAR} replaced
//!                                                                      |
//!   process settings <--settings: defaults < file < environment < flags+
//!   typed settings   <--multi_error: every error of one section--------+  (used by `pipeline`)
//!                                                                      |
//!                        Diagnostics (span, key, message, hint)  <-----+
//! ```
//!
//! Nothing here reads a file or opens a connection. All errors of a file are reported in one run, each with its line,
//! column, key and a hint.

pub(crate) mod component_settings;
mod csv;
pub(crate) mod deserialize;
pub mod diagnostic;
pub(crate) mod environment;
mod excerpt;
pub(crate) mod multi_error;
pub mod node;
pub mod options_page;
pub(crate) mod read_error;
pub(crate) mod row_file;
pub(crate) mod row_template;
pub(crate) mod rows;
pub mod schema;
pub(crate) mod settings;
pub(crate) mod source_list;
pub(crate) mod spans;
pub(crate) mod suggest;
#[cfg(test)]
mod tests;
pub(crate) mod unit_test;
pub(crate) mod yaml;

pub use component_settings::add_vendor;
pub use diagnostic::{Diagnostic, Severity};
pub use environment::Environment;
pub use node::TextSpan;
pub use settings::{ApiSettings, JournalSettings, LogFormat, LogLevel, LogSettings, Overrides, Settings};
