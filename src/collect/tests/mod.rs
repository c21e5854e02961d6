//! Collecting from a fake vendor in memory into the real journal.

mod changes;
mod contents;
mod errors;
pub(in crate::collect) mod fake_api;
mod forecast;
mod model;
mod model_classes;
mod model_vendor;
mod resumed;
mod rewinds;
mod scenarios;
mod settings;

pub(super) use fake_api::example_spec;
