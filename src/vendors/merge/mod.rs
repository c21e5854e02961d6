//! Merge (merge.dev): the audit trail of an organization. Each record has a UUID and does not change. `api` has the settings
//! and requests, `normalizer` the records, `mapping` the table of event types.

mod api;
mod mapping;
mod normalizer;
#[cfg(test)]
mod tests;

pub use api::{ApiCategory, Config, Region};
pub use normalizer::MergeNormalizer;
