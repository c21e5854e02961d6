//! Events as Parquet files. `writer` draws the data flow; users read about the columns in `docs/s3.md`.

mod columns;
mod layout;
mod ocsf;
mod rows;
#[cfg(test)]
mod tests;
mod writer;

#[cfg(feature = "s3")]
pub(in crate::sinks) use layout::fields;
pub use layout::{ParquetCompression, ParquetOptions};
pub use ocsf::OcsfWriter;
pub use writer::{Finished, ParquetWriteError, ParquetWriter};
