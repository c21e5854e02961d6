//! Vendors: what is true of each API, as pure values and functions.
//!
//! ```text
//!                 request()                  parse_page()           key_of()              normalize()
//! range + cursor ----------> Request ==HTTP==> body ----> Page of raw -----> RecordKey -----------> Event
//!                  (collector)                            records    (collector)        (deliver)
//! ```
//!
//! A vendor holds its settings, its one request, how a page is parsed, how a record is identified and how it is
//! normalized. It has no async code, no clock, no files and no retries: the collector does all of that once for every
//! vendor. [`contract`] holds the traits and values. [`registry`] is the only place that knows every vendor by name.

pub mod akuity;
pub mod api_error;
pub mod captivateiq;
pub mod clumio;
mod configured;
pub mod confluence;
pub mod content;
pub mod contract;
pub mod credentials;
pub mod damaged;
mod field;
pub mod json;
mod lenient;
pub mod mapping;
pub mod merge;
pub mod page;
pub mod record;
pub mod registry;
pub mod settings;
pub mod shape;
#[cfg(test)]
mod testing;
mod time_text;

pub use api_error::{ApiError, ApiErrorKind};
pub use contract::{
    ApiSpec, Auth, BadPage, BadPageKind, Normalizer, NormalizerConfig, NormalizerOption, Page, PageRequest, Paging,
    ReadContext, Recheck, RecordKey, RecordOrder, Request, Vendor, VendorSettings, VendorType,
};
