//! The manifest of a batch: it lists the batch's objects and is written last, so that a reader sees only complete batches.
//!
//! ```text
//! batch 1: objects, then manifest 1 {previous: null}
//! batch 2: objects, then manifest 2 {previous: sha256 of manifest 1}
//! batch 3: objects, then manifest 3 {previous: sha256 of manifest 2}     a removed or changed object or manifest
//!                                                                          breaks the chain
//! ```
//!
//! If a sink redelivers, is renamed or is reset, its generation is part of the manifest and of every name, so that nothing of
//! an earlier generation is overwritten. The names of a generation sort after those of the previous one.
//!
//! A manifest contains nothing that depends on when or how often it was written: the same batch gives the same bytes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::journal::Seq;
use crate::time::Timestamp;

/// The version of the format. Adding fields does not change it.
pub const MANIFEST_VERSION: u32 = 1;

/// The objects of one batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Manifest<'a> {
    /// [`MANIFEST_VERSION`].
    pub manifest_version: u32,
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The sink's name in the pipeline file.
    pub sink: &'a str,
    /// The journal that the sequence numbers belong to.
    pub journal: &'a str,
    /// The sink's generation, if it is not the first.
    #[serde(skip_serializing_if = "is_first")]
    pub generation: u64,
    /// The batch's first sequence number.
    pub first: Seq,
    /// The batch's last sequence number.
    pub last: Seq,
    /// Events in all objects.
    pub rows: u64,
    /// The objects, by key.
    pub objects: &'a [ManifestObject],
    /// [`sha256_hex`] of the manifest before this one; `None` for the first.
    pub previous: Option<&'a str>,
}

/// A manifest as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct StoredManifest {
    /// [`MANIFEST_VERSION`] of the version that wrote it.
    pub manifest_version: u32,
    /// The journal that the sequence numbers belong to.
    pub journal: String,
    /// The sink's generation.
    #[serde(default)]
    pub generation: u64,
    /// The batch's first sequence number.
    pub first: Seq,
    /// The batch's last sequence number.
    pub last: Seq,
    /// Events in all objects.
    pub rows: u64,
    /// The objects, by key.
    pub objects: Vec<ManifestObject>,
    /// [`sha256_hex`] of the manifest before this one; `None` for the first.
    pub previous: Option<String>,
}

/// One object of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestObject {
    /// Its key, or a file's path.
    pub key: String,
    /// For appended bytes: where they start in the file, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Events in it.
    pub rows: u64,
    /// The earliest event's time.
    pub first_time: Timestamp,
    /// The latest event's time.
    pub last_time: Timestamp,
}

impl Manifest<'_> {
    /// As one line of JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("plain fields always become JSON");
        bytes.push(b'\n');
        bytes
    }
}

fn is_first(generation: &u64) -> bool {
    *generation == 0
}

/// Digits of a sequence number in a name: enough for ten million events a second for thirty years.
const DIGITS: usize = 16;

/// Characters of the journal's identity in a name.
const JOURNAL_CHARACTERS: usize = 8;

/// The most bytes that [`name_of`] returns: journal, generation, two numbers and separators.
pub const MAX_NAME_BYTES: usize = JOURNAL_CHARACTERS + 21 + 2 * 20 + 2;

/// The name of a journal range in one generation of a sink: `3f9a1c02-<first>-<last>`, or `3f9a1c02.001-<first>-<last>`.
#[must_use]
pub fn name_of(journal: &str, generation: u64, first: Seq, last: Seq) -> String {
    let mark = &journal[..journal.floor_char_boundary(JOURNAL_CHARACTERS)];
    let generation = if generation == 0 { String::new() } else { format!(".{generation:03}") };
    format!("{mark}{generation}-{first:0DIGITS$}-{last:0DIGITS$}")
}

/// SHA-256, hexadecimal.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_the_docs_say() {
        let objects = [ManifestObject {
            key: "audit/a.ndjson".to_owned(),
            offset: None,
            size: 3,
            sha256: sha256_hex(b"abc"),
            rows: 1,
            first_time: Timestamp::from_secs(0),
            last_time: Timestamp::from_millis(1_500),
        }];
        let manifest = Manifest {
            manifest_version: MANIFEST_VERSION,
            pipeline: "acme",
            sink: "lake",
            journal: "0123456789abcdef",
            generation: 0,
            first: 1,
            last: 2,
            rows: 1,
            objects: &objects,
            previous: None,
        };
        let text = String::from_utf8(manifest.encode()).expect("text");
        assert_eq!(
            text,
            "{\"manifest_version\":1,\"pipeline\":\"acme\",\"sink\":\"lake\",\"journal\":\"0123456789abcdef\",\"first\":1,\
             \"last\":2,\"rows\":1,\"objects\":[{\"key\":\"audit/a.ndjson\",\"size\":3,\
             \"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"rows\":1,\
             \"first_time\":\"1970-01-01T00:00:00Z\",\"last_time\":\"1970-01-01T00:00:01.5Z\"}],\"previous\":null}\n"
        );
        let again = String::from_utf8(Manifest { generation: 2, ..manifest }.encode()).expect("text");
        assert!(again.contains("\"journal\":\"0123456789abcdef\",\"generation\":2,\"first\":1,"), "{again}");
    }

    #[test]
    fn names_sort_like_batches_and_generations_are_separate() {
        let name = |generation, first, last| name_of("3f9a1c0257d24b10", generation, first, last);
        assert_eq!(name(0, 1, 4_096), "3f9a1c02-0000000000000001-0000000000004096");
        assert_eq!(name(1, 1, 4_096), "3f9a1c02.001-0000000000000001-0000000000004096");
        assert!(name(0, 9, 10) < name(0, 11, 99) && name(0, 11, 99) < name(0, 100, 1 << 50));
        assert!(name(0, 1 << 50, 1 << 50) < name(1, 1, 2) && name(9, 5, 6) < name(10, 1, 2));
        assert_eq!(name(u64::MAX, Seq::MAX, Seq::MAX).len(), MAX_NAME_BYTES);
    }
}
