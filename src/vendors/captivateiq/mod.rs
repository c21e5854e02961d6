//! CaptivateIQ: the audit logs of an organization. Records have ids and do not change; the API filters by whole days.
//! `api` has the settings and requests, `normalizer` the records, `mapping` the tables of words, `data` what changed, `grants` who
//! received which access.

mod api;
mod data;
mod grants;
mod mapping;
mod normalizer;
#[cfg(test)]
mod tests;

pub use api::{Config, EndDate};
pub use normalizer::{ActorChoice, CaptivateIqNormalizer, EventType};
