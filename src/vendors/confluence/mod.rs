//! Confluence Cloud: the audit records of a site. A record has no id, so it is identified by its fields. `api` has the
//! settings and requests, `normalizer` the records, `mapping` the table of summaries, `grants` who received which access.

mod api;
mod grants;
mod mapping;
mod normalizer;
#[cfg(test)]
mod tests;

pub use api::Config;
pub use normalizer::ConfluenceNormalizer;
