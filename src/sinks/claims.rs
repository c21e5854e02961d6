//! Which sink of this process writes to which file. Two templates may name one file; then the rollback of one sink would cut
//! off what the other has delivered. So a file belongs to the first sink that chooses it, and the other one stops. Files of
//! batches that the last process left unfinished are claimed before any sink starts.
//!
//! ```text
//! out/{{ vendor }}.ndjson --+
//!                           +--> the real path: links and `..` resolved --> first sink, or refused
//! out/{{ source }}.ndjson --+
//! ```

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::SinkError;
use crate::journal::RollbackRecord;

/// More files than this are forgotten and claimed anew.
const MAX_CLAIMS: usize = 65_536;

static CLAIMS: Mutex<Option<HashMap<PathBuf, String>>> = Mutex::new(None);

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
    /// [`SinkError::Stopped`] if another sink of this process writes to it.
    pub(super) fn claim(&self, path: &Path) -> Result<(), SinkError> {
        let real = real_path(path);
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

/// The path without links. What does not exist yet is taken as it is written.
fn real_path(path: &Path) -> PathBuf {
    if let Ok(real) = fs::canonicalize(path) {
        return real;
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => real_path(parent).join(name),
        _ => path.to_owned(),
    }
}
