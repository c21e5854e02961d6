//! The `s3` sink: objects that a data lake can ingest; each batch is put exactly once. `sink` draws the data flow; users read
//! `docs/s3.md`.

mod address;
mod client;
mod config;
#[cfg(feature = "parquet")]
mod delta;
#[cfg(not(feature = "parquet"))]
#[path = "without_delta.rs"]
mod delta;
mod earlier;
mod error;
mod marker;
mod objects;
mod options;
mod prefixes;
mod proof;
mod reading;
mod rollback;
mod security_lake;
mod sink;
mod state;
#[cfg(test)]
mod tests;
mod upload;
mod writer;

pub use config::S3Config;
pub use options::{Acl, AuthOptions, Checksum, RequestOptions, ServerSideEncryption, StorageClass, TableFormat};
pub use security_lake::{CustomSource, CustomSources, SecurityLakeOptions};
pub use sink::S3Sink;
pub use writer::{Format, ObjectCompression};
