//! Deterministic event ids: a record has the same id when it is read again, also on another machine.
//!
//! `id` = the first 128 bits of SHA-256 over `vendor`, a NUL byte, `tenant` (empty if unknown), a NUL byte, and the
//! vendor's event key. The key is the vendor's id if it has one, else the fields that the vendor's normalizer selects, each
//! followed by a NUL byte. The second, third ... of identical records hash the first one's id in hex, a NUL byte, and the
//! decimal occurrence number 1, 2 ...

use std::fmt;

use sha2::{Digest, Sha256};

/// The id of an event: 128 bits, written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// The id of the record with the vendor key `key`.
    #[must_use]
    pub fn of_key(vendor: &str, tenant: Option<&str>, key: &str) -> Self {
        let mut hasher = IdHasher::new(vendor, tenant);
        hasher.update(key.as_bytes());
        hasher.finish()
    }

    /// The id of the identical record with this occurrence number (0 is this record).
    #[must_use]
    pub fn nth(self, occurrence: u32) -> Self {
        if occurrence == 0 {
            return self;
        }
        let mut hasher = Sha256::new();
        hasher.update(format!("{self}\0{occurrence}"));
        Self::from_digest(&hasher.finalize())
    }

    /// As 32 lower-case hex digits, without an allocation.
    #[must_use]
    pub fn hex(self) -> [u8; 32] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (index, byte) in self.0.iter().enumerate() {
            hex[index * 2] = DIGITS[usize::from(byte >> 4)];
            hex[index * 2 + 1] = DIGITS[usize::from(byte & 15)];
        }
        hex
    }

    /// The id that [`Self::hex`] writes; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let id = u128::from_str_radix(text, 16).ok().map(|number| Self(number.to_be_bytes()))?;
        (id.hex() == text.as_bytes()).then_some(id)
    }

    fn from_digest(digest: &[u8]) -> Self {
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

/// Builds an id from fields, for vendors without ids.
///
/// The fields are collected and hashed at once: hashing them one by one took three times as long.
#[derive(Debug)]
pub struct IdHasher(Vec<u8>);

impl IdHasher {
    /// Starts with the vendor and the tenant.
    #[must_use]
    pub fn new(vendor: &str, tenant: Option<&str>) -> Self {
        let mut hasher = Self(Vec::with_capacity(512));
        hasher.field(Some(vendor));
        hasher.field(tenant);
        hasher
    }

    /// Adds bytes as they are.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Adds one field and a NUL byte, so that `ab`, `c` and `a`, `bc` differ. `None` is an empty field.
    pub fn field(&mut self, value: Option<&str>) {
        self.update(value.unwrap_or_default().as_bytes());
        self.update(&[0]);
    }

    /// The id.
    #[must_use]
    pub fn finish(self) -> EventId {
        EventId::from_digest(&Sha256::digest(&self.0))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documented rule: consumers can compute ids without auditflow:
    /// `printf 'clumio\0\0d38fcaa9' | sha256sum | cut -c1-32`
    #[test]
    fn follows_the_documented_rule() {
        let id = EventId::of_key("clumio", None, "d38fcaa9");
        let digest = Sha256::digest(b"clumio\0\0d38fcaa9");
        assert_eq!(id.0, digest[..16]);
        assert_eq!(id.hex().as_slice(), id.to_string().as_bytes());
    }

    #[test]
    fn fields_are_separated() {
        let of = |fields: &[&str]| {
            let mut hasher = IdHasher::new("v", None);
            fields.iter().for_each(|field| hasher.field(Some(field)));
            hasher.finish()
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    }

    #[test]
    fn identical_records_have_different_ids() {
        let id = EventId::of_key("v", None, "k");
        assert_eq!(id.nth(0), id);
        assert_ne!(id.nth(1), id);
        assert_ne!(id.nth(1), id.nth(2));
    }
}
