//! The pipeline: the YAML file as written, the checked plan made of it, and its running.
//!
//! ```text
//! pipeline.yaml --yaml--> tree of places --interpolate--> ${VAR} replaced
//!                              |
//!                              +--settings---> defaults < file < environment < flags
//!                              +--definition-> names, types --sources, transforms, sinks--> settings of each
//!                              +--graph------> inputs, globs, cycles --ways--> routes
//!                                                  |
//!                      problems, all of them  <----+---->  Pipeline (plan)
//! ```
//!
//! Reading is pure but for the one file: `auditflow validate` touches neither the network nor the disk. Every mistake is
//! found in one run, and each names its file, line, column, key and what to write instead. [`run`] sets the plan going.

mod assumed;
mod check;
mod collect_all;
mod component;
mod definition;
mod deserialize;
mod environment;
mod fields;
mod graph;
mod interpolate;
mod node;
mod path;
mod patience;
mod plan;
mod problem;
pub mod reach;
mod read_error;
pub mod run;
pub mod schema;
mod settings;
mod sinks;
mod sources;
mod spot;
mod suggest;
mod survey;
#[cfg(test)]
mod tests;
mod transforms;
mod vendor_settings;
mod ways;
mod yaml;

use std::path::Path;

pub use check::check;
pub use environment::Environment;
pub use node::Place;
pub use plan::{Pipeline, SinkPlan, SourcePlan};
pub use problem::{Problem, Severity};
pub use settings::{JournalSettings, LogFormat, LogLevel, LogSettings, Overrides, Settings};
pub use vendor_settings::add_vendor;

/// Reads and checks a pipeline file.
///
/// # Errors
/// Every problem of the file, warnings included; one problem if it cannot be read.
pub fn load(path: &Path, environment: &Environment, overrides: &Overrides) -> Result<Pipeline, Vec<Problem>> {
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("the file cannot be read: {error}");
            let hint = "check the path and its permissions, and that the file is UTF-8 text".to_owned();
            return Err(vec![Problem::of_file(&name, message, hint)]);
        }
    };
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    check(&name, &text, folder, environment, overrides)
}
