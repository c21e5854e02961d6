//! Akuity: the audit log of an organization.
//!
//! A record has no id, and it changes: Akuity folds repetitions of an event into the record of the first one, whose `count`
//! and `lastOccurredTimestamp` grow. So a record is identified by its other fields, those two make its version, and a
//! recheck reads the last day again for records that have grown. `api` has the settings and requests, `normalizer` the
//! records, `mapping` the tables of values, `grants` who received which access, `go_time` the format of times.

mod api;
mod go_time;
mod grants;
mod mapping;
mod normalizer;
#[cfg(test)]
mod tests;

pub use api::{Config, QueryValues, Region, TimeFilterFormat};
pub use normalizer::{AkuityNormalizer, CollapsedUpdates};
