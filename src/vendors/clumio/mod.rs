//! Clumio: the audit trails of an account. Records have ids and do not change. `api` has the settings and requests,
//! `normalizer` the records.

mod api;
mod normalizer;
#[cfg(test)]
mod tests;

pub use api::{Config, UndocumentedFilters};
pub use normalizer::{ClumioNormalizer, DedupeKey, EventType};
