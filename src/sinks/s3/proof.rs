//! The proof that the store has an object: its ETag, and a checksum that is ours wherever the store names one. A web server or
//! a proxy that answers 200 to everything gives neither.

use aws_sdk_s3::types::ChecksumAlgorithm;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::error::S3Error;

/// What a store answers to a request that stored bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Receipt<'a> {
    pub(super) e_tag: Option<&'a str>,
    pub(super) crc32: Option<&'a str>,
    pub(super) crc32c: Option<&'a str>,
    pub(super) sha256: Option<&'a str>,
}

impl Receipt<'_> {
    /// Whether the store has these bytes.
    ///
    /// # Errors
    /// There is no ETag, or a checksum is not ours.
    pub(super) fn proves(&self, bytes: &[u8]) -> Result<(), S3Error> {
        if self.e_tag.is_none_or(str::is_empty) {
            return Err(S3Error::not_stored("the answer is a success without an ETag, as no object store sends it"));
        }
        let differs = |given: Option<&str>, ours: fn(&[u8]) -> String| given.is_some_and(|given| given != ours(bytes));
        if differs(self.crc32, crc32) || differs(self.crc32c, crc32c) || differs(self.sha256, sha256) {
            return Err(S3Error::not_stored("the checksum that the store names is not that of the bytes sent"));
        }
        Ok(())
    }
}

/// The checksum that a request sends: in a header, which every store that knows checksums understands, and not after the body.
#[derive(Debug, Default)]
pub(super) struct Checksums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) sha256: Option<String>,
}

impl Checksums {
    pub(super) fn of(algorithm: Option<&ChecksumAlgorithm>, bytes: &[u8]) -> Self {
        match algorithm {
            Some(ChecksumAlgorithm::Crc32) => Self { crc32: Some(crc32(bytes)), ..Self::default() },
            Some(ChecksumAlgorithm::Crc32C) => Self { crc32c: Some(crc32c(bytes)), ..Self::default() },
            Some(ChecksumAlgorithm::Sha256) => Self { sha256: Some(sha256(bytes)), ..Self::default() },
            _ => Self::default(),
        }
    }
}

fn crc32(bytes: &[u8]) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    STANDARD.encode(crc.sum().to_be_bytes())
}

fn sha256(bytes: &[u8]) -> String {
    STANDARD.encode(Sha256::digest(bytes))
}

/// The polynomial of Castagnoli, reflected.
const CRC32C: u32 = 0x82f6_3b78;

static CRC32C_TABLE: [u32; 256] = crc32c_table();

const fn crc32c_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index: u32 = 0;
    while index < 256 {
        let mut value = index;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ CRC32C } else { value >> 1 };
            bit += 1;
        }
        table[index as usize] = value;
        index += 1;
    }
    table
}

fn crc32c(bytes: &[u8]) -> String {
    let step = |crc: u32, byte: &u8| CRC32C_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)] ^ crc >> 8;
    STANDARD.encode((!bytes.iter().fold(!0, step)).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_standards() {
        // The check values of both catalogues: crc32 cbf43926, crc32c e3069283.
        assert_eq!(crc32(b"123456789"), STANDARD.encode([0xcb, 0xf4, 0x39, 0x26]));
        assert_eq!(crc32c(b"123456789"), STANDARD.encode([0xe3, 0x06, 0x92, 0x83]));
    }

    #[test]
    fn an_object_is_stored_if_its_receipt_says_so() {
        let bytes = b"123456789";
        let e_tag = Some("\"abc\"");
        let (good, bad) = (crc32(bytes), crc32(b"12345678"));
        Receipt { e_tag, ..Receipt::default() }.proves(bytes).expect("an ETag");
        Receipt { e_tag, crc32: Some(&good), sha256: Some(&sha256(bytes)), ..Receipt::default() }
            .proves(bytes)
            .expect("our checksums");
        assert!(Receipt::default().proves(bytes).is_err());
        assert!(Receipt { e_tag: Some(""), ..Receipt::default() }.proves(bytes).is_err());
        assert!(Receipt { e_tag, crc32: Some(&bad), ..Receipt::default() }.proves(bytes).is_err());
        assert!(Receipt { e_tag, crc32c: Some(&good), ..Receipt::default() }.proves(bytes).is_err());
    }
}
