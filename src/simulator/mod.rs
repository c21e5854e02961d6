//! The simulator: the vendors' APIs as a local server, with seeded data, faults and the truth to compare with.
//!
//! ```text
//! seed --> generator --> store --> selection --> vendor's API --> reply --> wire        one mock per vendor
//!          (records)       |                          ^
//!                          |                          +-- faults, rate limits, variants
//!                          +--> truth: what a perfect collector must have
//! ```
//!
//! It is part of the product: users point a pipeline at it and see what happens when a vendor answers 429, publishes late or
//! truncates a body. The project's tests use it too. It shares no code with the collector or the vendors' parsers, so that
//! neither can agree with the other by mistake.

mod admin_api;
mod akuity;
mod captivateiq;
mod clumio;
mod confluence;
mod control;
mod faults;
mod http;
mod meaning;
mod merge;
mod mock_vendor;
mod options;
pub mod proof;
mod record_builder;
mod record_generator;
mod server;
mod server_state;
mod store;
pub mod variants;
mod vendor_api;
mod vendor_name;

#[cfg(test)]
mod tests;

pub use control::{CannedReply, NewRecord, SimulatorControl};
pub use faults::{FaultName, FaultOrder, FaultSetting};
pub use http::{LoggedRequest, RequestStats};
pub use meaning::{AccessChange, Mention, MentionRole, Party, RecordMeaning};
pub use options::{Credentials, SimulatorError, SimulatorOptions};
pub use proof::{TruthQuery, TruthRecord};
pub use server::{RunningSimulator, Simulator};
pub use variants::{VariantInfo, Variants};
pub use vendor_name::VendorName;
