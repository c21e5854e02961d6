//! The contents of the files that a pipeline is made of, as hashes: its own files, and the files of secrets, certificates and
//! keys that they name.

use std::collections::BTreeMap;
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use sha2::{Digest as _, Sha256};

use crate::pipeline::{FileDigest, FileDigests, ValidatedPipeline};

/// More of a file is not read.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The hash of a file. Reading never waits: a pipe in its place cannot be read.
pub(super) fn digest(path: &Path) -> FileDigest {
    let read = || -> io::Result<FileDigest> {
        let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
        if !file.metadata()?.is_file() {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        file.take(MAX_FILE_BYTES).read_to_end(&mut bytes)?;
        Ok(Some(Sha256::digest(&bytes).into()))
    };
    read().unwrap_or_default()
}

/// The hashes of the files that the components of a pipeline name.
pub(super) fn digests(pipeline: &ValidatedPipeline) -> FileDigests {
    let of_sources = pipeline.sources.iter().flat_map(|source| &source.identity.files);
    let of_sinks = pipeline.sinks.iter().flat_map(|sink| &sink.identity.files);
    of_sources.chain(of_sinks).map(|file| (file.clone(), digest(file))).collect()
}

/// Reads files again only when something about them has changed.
#[derive(Debug, Default)]
pub(super) struct ChangedFiles {
    seen: BTreeMap<PathBuf, (Option<Signature>, FileDigest)>,
}

/// What changes when a file is written or replaced: device, inode, size, and the times of modification and of change.
type Signature = (u64, u64, u64, (i64, i64), (i64, i64));

impl ChangedFiles {
    /// The hashes of these files now.
    pub(super) fn digests<'p>(&mut self, files: impl Iterator<Item = &'p PathBuf>) -> FileDigests {
        let mut digests = FileDigests::new();
        let mut seen = BTreeMap::new();
        for path in files {
            let now = std::fs::metadata(path).ok().map(|found| signature(&found));
            let found = match self.seen.remove(path) {
                Some(known) if known.0 == now => known,
                _ => (now, digest(path)),
            };
            digests.insert(path.clone(), found.1);
            seen.insert(path.clone(), found);
        }
        self.seen = seen;
        digests
    }
}

fn signature(found: &Metadata) -> Signature {
    let modified = (found.mtime(), found.mtime_nsec());
    (found.dev(), found.ino(), found.len(), modified, (found.ctime(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_file_that_is_written_replaced_or_linked_elsewhere_has_another_hash() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        let mut files = ChangedFiles::default();
        let mut now = || files.digests([&path].into_iter()).remove(&path).flatten();
        assert_eq!(now(), None);
        fs::write(&path, "one").expect("written");
        let one = now();
        assert!(one.is_some());
        assert_eq!(now(), one);
        fs::write(&path, "two").expect("written");
        let two = now();
        assert_ne!(two, one);
        // As Kubernetes updates a mounted ConfigMap or secret.
        fs::write(directory.path().join("next"), "one").expect("written");
        symlink("next", directory.path().join("link")).expect("links");
        fs::rename(directory.path().join("link"), &path).expect("renamed");
        assert_eq!(now(), one);
    }

    #[test]
    fn what_is_not_a_file_has_no_hash_and_a_pipe_does_not_wait() {
        let directory = tempfile::tempdir().expect("a directory");
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
        assert_eq!((digest(&pipe), digest(directory.path())), (None, None));
    }
}
