//! Hash tables by event id. An id is a part of a cryptographic hash, so eight of its bytes are used as they are.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A map by event id.
pub(super) type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<FirstBytes>>;
/// A set of event ids.
pub(super) type IdSet<K> = HashSet<K, BuildHasherDefault<FirstBytes>>;

#[derive(Debug, Default)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = match bytes.first_chunk() {
            Some(first) => u64::from_le_bytes(*first),
            None => bytes.iter().fold(self.0, |hash, byte| hash << 8 | u64::from(*byte)),
        };
    }

    /// The length of an id, which is always the same: its bytes follow. In tests, a whole key.
    fn write_usize(&mut self, number: usize) {
        self.0 = number as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
