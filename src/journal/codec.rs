//! The bytes inside the journal's blobs: variable-length numbers in a checked, compressed frame.
//!
//! ```text
//! blob  = format byte, zstd frame with checksum
//! frame = numbers (7 bits per byte, low bits first) and raw bytes, as the blob's type defines
//! ```
//!
//! The format byte comes first and is not compressed, which distinguishes another format from a damaged blob.

use std::cell::RefCell;
use std::io;

use zstd::bulk::{Compressor, Decompressor};

/// Measured on audit records: level 1 was both smaller and faster than level 3.
const ZSTD_LEVEL: i32 = 1;

/// More than any page can hold; a frame that claims more is damaged.
const MAX_PLAIN_BYTES: usize = 1 << 31;

thread_local! {
    /// Kept per thread: allocating a compressor's tables for each page would cost more than compressing it.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A thread frees a compression buffer larger than this.
const KEPT_SCRATCH_BYTES: usize = 1 << 20;

/// Compresses `plain` and puts the byte `format` before it.
pub(super) fn pack(format: u8, plain: &[u8]) -> io::Result<Vec<u8>> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.clear();
        scratch.reserve(zstd::zstd_safe::compress_bound(plain.len()));
        COMPRESSOR.with_borrow_mut(|kept| {
            let compressor = match kept {
                Some(compressor) => compressor,
                None => kept.insert(new_compressor()?),
            };
            compressor.compress_to_buffer(plain, scratch)
        })?;
        let mut blob = Vec::with_capacity(1 + scratch.len());
        blob.push(format);
        blob.extend_from_slice(scratch);
        if scratch.capacity() > KEPT_SCRATCH_BYTES {
            *scratch = Vec::new();
        }
        Ok(blob)
    })
}

fn new_compressor() -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(ZSTD_LEVEL)?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

/// Decompresses a blob of `format`. The error describes the damage.
pub(super) fn unpack(format: u8, blob: &[u8]) -> Result<Vec<u8>, String> {
    let (&found, frame) = blob.split_first().ok_or("a blob is empty")?;
    if found != format {
        return Err(format!("a blob has format {found} where {format} is expected"));
    }
    let bad = |error: io::Error| format!("a blob cannot be decompressed: {error}");
    let length = length_of(frame)?;
    DECOMPRESSOR.with_borrow_mut(|kept| {
        let decompressor = match kept {
            Some(decompressor) => decompressor,
            None => kept.insert(Decompressor::new().map_err(bad)?),
        };
        let plain = decompressor.decompress(frame, length).map_err(bad)?;
        if plain.len() == length { Ok(plain) } else { Err("a blob is shorter than its header says".to_owned()) }
    })
}

/// The content length in the header of `frame`, which must be exactly one frame.
fn length_of(frame: &[u8]) -> Result<usize, String> {
    let whole = zstd::zstd_safe::find_frame_compressed_size(frame).is_ok_and(|length| length == frame.len());
    let length = zstd::zstd_safe::get_frame_content_size(frame).ok().flatten().filter(|_| whole);
    let length = length.ok_or("a blob is truncated, or longer than its content")?;
    usize::try_from(length)
        .ok()
        .filter(|length| *length < MAX_PLAIN_BYTES)
        .ok_or_else(|| format!("a blob claims to contain {length} bytes, more than it can"))
}

/// Appends a number.
pub(super) fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

/// Appends a signed number; small ones of either sign are short.
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_number(out, (number.wrapping_shl(1) ^ (number >> 63)).cast_unsigned());
}

/// Reads values from decompressed bytes; `None` if there is no such value.
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    pub(super) fn number_u32(&mut self) -> Option<u32> {
        self.number()?.try_into().ok()
    }

    pub(super) fn signed(&mut self) -> Option<i64> {
        let coded = self.number()?;
        Some((coded >> 1).cast_signed() ^ -(coded & 1).cast_signed())
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_survive_encoding(numbers: Vec<u64>, signed: Vec<i64>) {
            let mut bytes = Vec::new();
            numbers.iter().for_each(|&number| put_number(&mut bytes, number));
            signed.iter().for_each(|&number| put_signed(&mut bytes, number));
            let mut cursor = Cursor::new(&bytes);
            for &number in &numbers {
                prop_assert_eq!(cursor.number(), Some(number));
            }
            for &number in &signed {
                prop_assert_eq!(cursor.signed(), Some(number));
            }
            prop_assert_eq!(cursor.remaining(), 0);
        }

        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let mut cursor = Cursor::new(&bytes);
            while cursor.number().is_some() {}
        }
    }

    #[test]
    fn a_truncated_or_changed_blob_is_detected() {
        let blob = pack(7, b"some bytes that are long enough to be compressed, compressed, compressed").expect("packs");
        for end in 0..blob.len() {
            assert!(unpack(7, &blob[..end]).is_err(), "cut at {end}");
        }
        let mut longer = blob.clone();
        longer.push(0);
        assert!(unpack(7, &longer).is_err());
        let mut changed = blob.clone();
        *changed.last_mut().expect("not empty") ^= 1;
        assert!(unpack(7, &changed).is_err());
        assert!(unpack(8, &blob).is_err());
    }
}
