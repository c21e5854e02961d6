//! Which sink of this process writes to which file, and which files no sink may write.
//!
//! Two templates may name one file; then the rollback of one sink would cut off what the other has delivered. So a file belongs
//! to the first sink that chooses it, and the other one stops. Files of batches that the last process left unfinished are
//! claimed before any sink starts. The program's own files (the data directory, the pipeline file, files of secrets) belong to
//! no sink.
//!
//! ```text
//! out/{{ vendor }}.ndjson --+
//!                           +--> the real path: links and `..` resolved --> first sink, or refused
//! out/{{ source }}.ndjson --+
//! ```

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::SinkError;
use crate::journal::RollbackRecord;

/// More files than this are forgotten and claimed anew.
const MAX_CLAIMS: usize = 65_536;

static CLAIMS: Mutex<Option<HashMap<PathBuf, String>>> = Mutex::new(None);

/// The program's own paths, without links, and what each is.
static PROTECTED: Mutex<BTreeMap<PathBuf, &'static str>> = Mutex::new(BTreeMap::new());

/// A file or directory of the program's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPath {
    /// The file, or the directory with everything below it.
    pub path: PathBuf,
    /// What it is, for people: `the data directory`.
    pub what: &'static str,
}

/// Keeps every sink of this process from writing to these paths.
pub fn protect(own: &[OwnPath]) {
    let mut protected = PROTECTED.lock().unwrap_or_else(PoisonError::into_inner);
    protected.extend(own.iter().map(|own| (real_path(&own.path), own.what)));
}

/// Whether a file is a dead letter: a file of a data directory that this process uses.
pub(super) fn is_dead_letter(path: &Path) -> bool {
    let protected = PROTECTED.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = path.parent().map(real_path).unwrap_or_default();
    let is_named = directory.file_name().is_some_and(|name| name == super::dead_letter::DIRECTORY);
    is_named && directory.parent().is_some_and(|data_dir| protected.contains_key(data_dir))
}

fn expect_free(path: &Path, real: &Path) -> Result<(), SinkError> {
    let protected = PROTECTED.lock().unwrap_or_else(PoisonError::into_inner);
    match real.ancestors().find_map(|path| protected.get_key_value(path)) {
        None => Ok(()),
        Some((own, what)) => Err(SinkError::Stopped {
            message: format!("{} is in a place of auditflow's own: {what} ({})", path.display(), own.display()),
            hint: "change `path`, so that no event leads there".to_owned(),
        }),
    }
}

/// Claims files for one sink.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    owner: String,
}

impl Claims {
    /// For a sink.
    pub(super) fn new(pipeline: &str, sink: &str) -> Self {
        Self { owner: format!("{sink} of pipeline {pipeline}") }
    }

    /// Claims a file, or says which sink it belongs to.
    ///
    /// # Errors
    /// [`SinkError::Stopped`] if another sink of this process writes to it, or if it is the program's own.
    pub(super) fn claim(&self, path: &Path) -> Result<(), SinkError> {
        let real = real_path(path);
        expect_free(path, &real)?;
        let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
        let claims = claims.get_or_insert_default();
        if claims.len() > MAX_CLAIMS {
            claims.clear();
        }
        let owner = claims.entry(real).or_insert_with(|| self.owner.clone());
        if *owner == self.owner {
            return Ok(());
        }
        Err(SinkError::Stopped {
            message: format!("{} is written by the sink {owner} too", path.display()),
            hint: "set paths with which no two sinks write to one file, for example with the sink's name in them"
                .to_owned(),
        })
    }
}

/// Claims the files of an unfinished batch for its sink, before any sink of this process starts.
pub fn claim_files(pipeline: &str, sink: &str, records: &[RollbackRecord]) {
    let claims = Claims::new(pipeline, sink);
    for record in records {
        // The first sink has the file; the other one is refused when it rolls back.
        let _ = if let RollbackRecord::File(file) = record { claims.claim(&file.path) } else { Ok(()) };
    }
}

/// Gives up all files of a sink that has ended and starts again with other settings, or not at all.
pub fn release_files(pipeline: &str, sink: &str) {
    let owner = Claims::new(pipeline, sink).owner;
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    claims.get_or_insert_default().retain(|_, claimed_by| *claimed_by != owner);
}

/// The path without links. What does not exist yet is taken as it is written.
#[must_use]
pub fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    let path = &std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real_path(parent).join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_free_once_the_sink_that_had_it_has_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("out.ndjson");
        let (one, two) = (Claims::new("released", "one"), Claims::new("released", "two"));
        one.claim(&path).expect("free");
        two.claim(&path).expect_err("taken");
        release_files("released", "one");
        two.claim(&path).expect("free again");
        one.claim(&path).expect_err("taken");
    }

    #[test]
    fn no_sink_writes_to_the_programs_own_files_whatever_the_path_looks_like() {
        let directory = tempfile::tempdir().expect("a directory");
        let data = directory.path().join("data");
        fs::create_dir(&data).expect("created");
        std::os::unix::fs::symlink("data", directory.path().join("link")).expect("links");
        let file = directory.path().join("acme.yaml");
        protect(&[
            OwnPath { path: data.clone(), what: "the data directory" },
            OwnPath { path: file.clone(), what: "the pipeline file" },
        ]);
        let claims = Claims::new("acme", "files");
        for path in [data.join("journal.db"), directory.path().join("link/new/x.ndjson"), file] {
            let Err(SinkError::Stopped { message, .. }) = claims.claim(&path) else { panic!("{}", path.display()) };
            assert!(message.contains("auditflow's own"), "{message}");
        }
        claims.claim(&directory.path().join("out.ndjson")).expect("free");
        assert!(is_dead_letter(&directory.path().join("link/dead_letter/s.ndjson")));
        assert!(!is_dead_letter(&directory.path().join("out/dead_letter/s.ndjson")));
    }
}
