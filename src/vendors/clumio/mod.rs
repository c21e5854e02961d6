//! Clumio: the audit trails of an account. Records have ids and do not change. `api` has the settings and requests,
//! `normalizer` the records, `details` what their requests say about people and access, `entity` the objects that they
//! name, `mapping` the vendor's words.

mod api;
mod details;
mod entity;
mod mapping;
mod normalizer;
#[cfg(test)]
mod tests;

pub use api::{Config, UndocumentedFilters};
pub use normalizer::{ClumioNormalizer, DedupeKey, EventType};
