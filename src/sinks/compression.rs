//! Compression in self-contained pieces.
//!
//! Each call produces one complete gzip member or zstd frame. Concatenated pieces are a valid file, so `zcat` and `zstdcat`
//! can read it at any time, and a file truncated between two pieces is valid too.

use std::io::{self, Write as _};

use serde::Deserialize;

/// How a file's bytes are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// gzip members.
    Gzip,
    /// zstd frames, each with a checksum.
    Zstd,
}

/// zstd's fastest level: on audit events it was smaller and faster than level 3.
const ZSTD_LEVEL: i32 = 1;

impl Compression {
    /// Every compression.
    pub const ALL: &'static [Self] = &[Self::None, Self::Gzip, Self::Zstd];

    /// The name in the pipeline file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The file name extension; empty for no compression.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }

    /// Compresses `bytes` into one complete piece. The same bytes give the same piece.
    ///
    /// # Errors
    /// The compressor fails (out of memory).
    pub fn piece(self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes),
            Self::Gzip => gzip(&bytes),
            Self::Zstd => zstd(&bytes),
        }
    }
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder =
        flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn zstd(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read as _;

    use super::*;

    /// What `cat`, `zcat` or `zstdcat` prints.
    pub(crate) fn decompressed(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        match compression {
            Compression::None => plain.extend_from_slice(bytes),
            Compression::Gzip => {
                flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).expect("whole members");
            }
            Compression::Zstd => plain = zstd::decode_all(bytes).expect("whole frames"),
        }
        plain
    }

    #[test]
    fn concatenated_pieces_read_as_one_file() {
        for compression in Compression::ALL {
            let mut file = compression.piece(b"one\n".to_vec()).expect("a piece");
            file.extend(compression.piece(b"two\n".to_vec()).expect("a piece"));
            assert_eq!(decompressed(*compression, &file), b"one\ntwo\n", "{compression:?}");
        }
    }

    #[test]
    fn the_same_bytes_give_the_same_piece() {
        let bytes = b"{\"id\":1}\n".repeat(5_000);
        for compression in Compression::ALL {
            assert_eq!(
                compression.piece(bytes.clone()).expect("a piece"),
                compression.piece(bytes.clone()).expect("a piece")
            );
        }
    }
}
