//! CaptivateIQ: the audit logs of an organization. Records have ids and do not change; the API filters by whole days.
//! `api` has the settings and requests, `normalizer` the records.

mod api;
mod normalizer;
#[cfg(test)]
mod tests;

pub use api::{Config, EndDate};
pub use normalizer::{ActorChoice, CaptivateIqNormalizer, EventType};
