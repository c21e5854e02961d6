//! What is recorded before a file is touched, and how a file is made again what it was.
//!
//! A file that was there is recorded with its length and a hash of its last bytes: it is only cut if those bytes are still
//! the same, so a file that somebody put in its place meanwhile is left alone. A file that was not there is removed, with
//! the folders that were made for it, if they are empty.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::disk::{Disk, FileState, LocalDisk, fault};
use crate::event::EventId;
use crate::journal::RollbackRecord;
use crate::sinks::SinkError;
use crate::sinks::blocking::blocking;

/// How many of a file's last bytes are hashed to know it again.
const TAIL_BYTES: u64 = 256;

/// How a file was before a batch touched it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Before {
    /// It was there.
    File {
        /// Its length in bytes.
        length: u64,
        /// The hash of its last bytes.
        tail: String,
    },
    /// It was not there.
    Absent {
        /// The uppermost folder that was not there either.
        first_new_folder: Option<PathBuf>,
    },
}

impl Before {
    fn first_new_folder(&self) -> Option<PathBuf> {
        match self {
            Self::File { .. } => None,
            Self::Absent { first_new_folder } => first_new_folder.clone(),
        }
    }
}

/// The record of a file that is about to be touched.
pub(super) fn planned(disk: &dyn Disk, path: &Path, state: Option<FileState>) -> Result<RollbackRecord, SinkError> {
    let before = match state {
        Some(state) => Before::File { length: state.length, tail: tail_hash(disk, path, state.length)? },
        None => Before::Absent { first_new_folder: first_new_folder(disk, path)? },
    };
    let encoded = serde_json::to_string(&before).map_err(|error| fault("describe", path, &error.into()))?;
    Ok(RollbackRecord { name: path.to_string_lossy().into_owned(), before: encoded })
}

fn tail_hash(disk: &dyn Disk, path: &Path, length: u64) -> Result<String, SinkError> {
    if length == 0 {
        return Ok(String::new());
    }
    let tail = disk.tail(path, length, TAIL_BYTES).map_err(|error| fault("read", path, &error))?;
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(tail)[..16]);
    Ok(EventId(short).to_string())
}

fn first_new_folder(disk: &dyn Disk, path: &Path) -> Result<Option<PathBuf>, SinkError> {
    let mut first = None;
    for folder in path.ancestors().skip(1) {
        if disk.state(folder).map_err(|error| fault("look at", folder, &error))?.is_some() {
            break;
        }
        first = Some(folder.to_owned());
    }
    Ok(first)
}

/// The folders whose names change when a file is made: its own, and for each new folder the one above it.
pub(super) fn folders_of_new_file(path: &Path, output: &RollbackRecord) -> Vec<PathBuf> {
    let Ok(Before::Absent { first_new_folder }) = serde_json::from_str(&output.before) else { return Vec::new() };
    let stop = first_new_folder.as_deref().and_then(Path::parent).or_else(|| path.parent()).map(Path::to_owned);
    let mut folders = Vec::new();
    for folder in path.ancestors().skip(1) {
        folders.push(folder.to_owned());
        if Some(folder) == stop.as_deref() {
            break;
        }
    }
    folders
}

/// Makes the operating system's files as they were before `outputs` were touched, whatever sink touched them.
///
/// # Errors
/// When a file cannot be looked at, cut or removed, or its folder is gone.
pub fn undo_local_files(outputs: &[RollbackRecord]) -> Result<(), SinkError> {
    blocking(|| undo(&LocalDisk, outputs))
}

/// Makes every file as it was: the last one touched first, so that folders are empty when their turn comes. Where a file
/// was recorded twice, an undo lies between the two, and the later record holds.
pub(super) fn undo(disk: &dyn Disk, outputs: &[RollbackRecord]) -> Result<(), SinkError> {
    let mut done = HashSet::new();
    let mut steps = Vec::new();
    for output in outputs.iter().rev() {
        if done.insert(output.name.as_str()) {
            steps.push((Path::new(&output.name), read(output)?));
        }
    }
    let made: Vec<PathBuf> = steps.iter().filter_map(|(_, before)| before.first_new_folder()).collect();
    for (path, before) in &steps {
        old_folder_is_there(disk, path, before, &made)?;
        match before {
            Before::File { length, tail } => cut_back(disk, path, *length, tail)?,
            Before::Absent { first_new_folder } => remove(disk, path, first_new_folder.as_deref())?,
        }
    }
    Ok(())
}

fn read(output: &RollbackRecord) -> Result<Before, SinkError> {
    serde_json::from_str(&output.before).map_err(|error| SinkError::Transient {
        message: format!(
            "a batch was begun on `{}` and this auditflow cannot read how it was before: {error}",
            output.name
        ),
        hint: "run the version of auditflow that began the batch once more, or cut the batch's lines off by hand"
            .to_owned(),
    })
}

/// A folder that was there before the batch and is gone now is most likely a disk that is not mounted. To go on without
/// it would leave the unfinished lines on that disk, and bring them twice when it comes back. Folders that the batch
/// made itself (`made`) may be gone: an undo before this one was interrupted.
fn old_folder_is_there(disk: &dyn Disk, path: &Path, before: &Before, made: &[PathBuf]) -> Result<(), SinkError> {
    let top = before.first_new_folder();
    let Some(folder) = top.as_deref().unwrap_or(path).parent() else { return Ok(()) };
    if made.iter().any(|new| folder.starts_with(new)) {
        return Ok(());
    }
    if disk.state(folder).map_err(|error| fault("look at", folder, &error))?.is_some() {
        return Ok(());
    }
    Err(SinkError::Transient {
        message: format!(
            "the folder {} is gone, and with it the unfinished batch in {}",
            folder.display(),
            path.display()
        ),
        hint: "mount its disk or move it back; if it was deleted on purpose, make it again, empty".to_owned(),
    })
}

fn cut_back(disk: &dyn Disk, path: &Path, length: u64, tail: &str) -> Result<(), SinkError> {
    let Some(state) = disk.state(path).map_err(|error| fault("look at", path, &error))? else {
        tracing::error!(file = %path.display(), "the file is gone; somebody removed it while a batch was open. What it held from before is not written again, the batch is");
        return Ok(());
    };
    if state.length < length {
        tracing::error!(file = %path.display(), was = length, is = state.length, "the file is shorter than before the open batch; somebody cut it. What was cut off is not written again, the batch is appended");
        return Ok(());
    }
    if tail_hash(disk, path, length)? != tail {
        tracing::error!(file = %path.display(), "the file is not the one that the open batch was written to; somebody replaced it. It is left as it is, the batch is appended");
        return Ok(());
    }
    disk.cut(path, length).map_err(|error| fault("cut back", path, &error))
}

fn remove(disk: &dyn Disk, path: &Path, first_new_folder: Option<&Path>) -> Result<(), SinkError> {
    absent_is_fine(disk.remove_file(path)).map_err(|error| fault("remove the unfinished", path, &error))?;
    let mut remaining = path.parent();
    if let Some(first) = first_new_folder {
        for folder in path.ancestors().skip(1).take_while(|folder| folder.starts_with(first)) {
            match absent_is_fine(disk.remove_folder(folder)) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => break,
                removed => removed.map_err(|error| fault("remove the empty", folder, &error))?,
            }
            remaining = folder.parent();
        }
    }
    let Some(folder) = remaining else { return Ok(()) };
    absent_is_fine(disk.sync_folder(folder)).map_err(|error| fault("make durable", folder, &error))
}

fn absent_is_fine(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
