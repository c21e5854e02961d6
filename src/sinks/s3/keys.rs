//! How objects are named.
//!
//! ```text
//! vendor=clumio/date=2026-01-31/  acme-lake-3f9a1c02-0000000000000001-0000000000004096.ndjson.gz
//! key_prefix, of the events       pipeline sink journal     first            last
//! ```
//!
//! The names of one journal sort by its sequence numbers. The journal's own mark keeps two installations that write to one
//! bucket, or a new journal after a lost one, from writing over each other's objects. So does the generation of a sink that
//! delivers again: `3f9a1c02.001`.

use crate::journal::Seq;
use crate::sinks::manifest::{self, name_of};
use crate::sinks::template::{MAX_VALUE_BYTES, push_safe};

/// The most bytes that a name takes behind its prefix: pipeline, sink, range of the journal, extension.
pub(super) const MAX_NAME_BYTES: usize = 2 * MAX_VALUE_BYTES + manifest::MAX_NAME_BYTES + 32;

/// Makes the keys of one sink.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    pub(super) pipeline: String,
    pub(super) sink: String,
    /// The journal's identity, once it is known.
    pub(super) journal: String,
    /// The sink's generation.
    pub(super) generation: u64,
    /// `pipeline-sink`, safe as a part of a path.
    name: String,
    manifests: Option<String>,
    extension: &'static str,
}

impl Keys {
    /// `manifests` is the folder of the manifests, `None` if there are none.
    pub(super) fn new(pipeline: &str, sink: &str, manifests: Option<String>, extension: &'static str) -> Self {
        let mut name = String::new();
        push_safe(pipeline, &mut name);
        name.push('-');
        push_safe(sink, &mut name);
        let (pipeline, sink) = (pipeline.to_owned(), sink.to_owned());
        Self { pipeline, sink, journal: String::new(), generation: 0, name, manifests, extension }
    }

    /// The key of an object with the events of `first..=last` that belong under `prefix`.
    pub(super) fn object(&self, prefix: &str, first: Seq, last: Seq) -> String {
        format!("{prefix}{}-{}{}", self.name, self.range(first, last), self.extension)
    }

    /// The key of the manifest of a batch; `None` if there are no manifests.
    pub(super) fn manifest(&self, first: Seq, last: Seq) -> Option<String> {
        let folder = self.manifests.as_ref()?;
        Some(format!("{folder}{}/{}.json", self.name, self.range(first, last)))
    }

    /// Keys of objects that never come to be, one for each place that this sink writes to: for trying its rights.
    /// `fixed` is what every object's key begins with.
    pub(super) fn probes(&self, fixed: &str) -> Vec<String> {
        let manifests = self.manifests.as_ref().map(|folder| format!("{folder}{}/auditflow-check", self.name));
        [format!("{fixed}auditflow-check")].into_iter().chain(manifests).collect()
    }

    fn range(&self, first: Seq, last: Seq) -> String {
        name_of(&self.journal, self.generation, first, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(manifests: Option<&str>) -> Keys {
        let mut keys = Keys::new("acme", "lake", manifests.map(str::to_owned), ".ndjson.gz");
        keys.journal = "3f9a1c0257d24b10".to_owned();
        keys
    }

    #[test]
    fn the_form_is_what_the_docs_say() {
        let keys = keys(Some("audit/_manifests/"));
        assert_eq!(
            keys.object("audit/vendor=clumio/", 1, 4_096),
            "audit/vendor=clumio/acme-lake-3f9a1c02-0000000000000001-0000000000004096.ndjson.gz"
        );
        assert_eq!(
            keys.manifest(1, 4_096).expect("manifests"),
            "audit/_manifests/acme-lake/3f9a1c02-0000000000000001-0000000000004096.json"
        );
    }

    #[test]
    fn names_sort_by_their_numbers() {
        let keys = keys(None);
        assert!(keys.object("a/", 9, 10) < keys.object("a/", 11, 1_000));
        assert!(keys.object("a/", 999, 1_000) < keys.object("a/", 1_001, 1_002));
        assert_eq!(keys.manifest(1, 2), None);
    }

    #[test]
    fn a_pipelines_name_cannot_leave_its_folder() {
        let keys = Keys::new("../x", "a/b", None, ".ndjson");
        assert_eq!(keys.object("p/", 1, 1).matches('/').count(), 1);
        assert!(keys.object("", 1, 1).len() <= MAX_NAME_BYTES);
        let long = Keys::new(&"x".repeat(500), &"y".repeat(500), None, ".ndjson.zst");
        assert!(long.object("", Seq::MAX, Seq::MAX).len() <= MAX_NAME_BYTES);
    }
}
