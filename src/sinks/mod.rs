//! Sinks: where events are written. Each sink makes a second attempt at the same batch harmless in its own way.
//!
//! `contract` defines the [`Sink`] trait and draws how the deliver loop calls it; `registry` is the only file that knows every
//! sink by name. `file`, `kafka`, `s3` and `console` implement the contract.

pub(crate) mod blocking;
pub mod claims;
pub mod compression;
#[cfg(test)]
mod conformance;
pub mod console;
mod contract;
pub mod dead_letter;
mod disk;
pub mod encoding;
pub mod file;
#[cfg(feature = "kafka")]
pub mod kafka;
mod local_files;
pub mod manifest;
pub mod marker;
pub mod orphans;
#[cfg(feature = "parquet")]
pub mod parquet;
pub mod registry;
#[cfg(feature = "s3")]
pub mod s3;
mod shard_path;
pub mod table_state;
pub mod template;
#[cfg(test)]
pub(crate) mod testing;
pub mod verify;

pub use contract::{
    BatchOptions, BatchRange, BatchSettings, Committed, EventForm, RollbackLog, Sink, SinkError, StoredPosition,
    WriteOutcome,
};
