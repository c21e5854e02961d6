//! Local files: appending within a batch, and rolling a batch back.
//!
//! ```text
//! before a file is touched:   record_of(path) -> RollbackRecord: its length and a hash of its last bytes, or that it is absent
//! rollback, last file first:  existing -> truncated to that length, if its last bytes are still the same
//!                             absent   -> removed, with the directories that were created for it, if they are empty
//! ```
//!
//! A file that somebody replaced since is left alone, because its last bytes differ.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::blocking::blocking;
use super::disk::{Disk, DiskFile, FileState, LocalDisk, io_error};
use super::{RollbackLog, SinkError};
use crate::event::EventId;
use crate::journal::{FileBefore, FileRecord, RollbackRecord};

/// How many of a file's last bytes are hashed to recognize the file.
const TAIL_BYTES: u64 = 256;

// --- rollback records ---

/// The record of a file that is about to be touched and has this metadata.
pub(super) fn record_of(disk: &dyn Disk, path: &Path, state: Option<FileState>) -> Result<FileRecord, SinkError> {
    let before = match state {
        Some(state) => FileBefore::Existing { length: state.length, tail_hash: tail_hash(disk, path, state.length)? },
        None => FileBefore::Absent { first_new_directory: first_new_directory(disk, path)? },
    };
    Ok(FileRecord { path: path.to_string_lossy().into_owned().into(), before })
}

fn tail_hash(disk: &dyn Disk, path: &Path, length: u64) -> Result<String, SinkError> {
    if length == 0 {
        return Ok(String::new());
    }
    let tail = disk.tail(path, length, TAIL_BYTES).map_err(|error| io_error("read", path, &error))?;
    let mut short = [0; 16];
    short.copy_from_slice(&Sha256::digest(tail)[..16]);
    Ok(EventId(short).to_string())
}

fn first_new_directory(disk: &dyn Disk, path: &Path) -> Result<Option<PathBuf>, SinkError> {
    let mut first = None;
    for directory in path.ancestors().skip(1) {
        if disk.state(directory).map_err(|error| io_error("inspect", directory, &error))?.is_some() {
            break;
        }
        first = Some(directory.to_owned());
    }
    match first {
        Some(directory) if directory.to_str().is_none() => {
            Err(io_error("record", path, &io::ErrorKind::InvalidFilename.into()))
        }
        first => Ok(first),
    }
}

/// The directories whose entries change when the file is created: its own, and the parent of each new directory.
pub(super) fn changed_directories(path: &Path, record: &FileRecord) -> Vec<PathBuf> {
    let FileBefore::Absent { first_new_directory } = &record.before else { return Vec::new() };
    let stop = first_new_directory.as_deref().and_then(Path::parent).or_else(|| path.parent());
    let mut directories = Vec::new();
    for directory in path.ancestors().skip(1) {
        directories.push(directory.to_owned());
        if Some(directory) == stop {
            break;
        }
    }
    directories
}

// --- rollback ---

/// Restores the operating system's files to their state before `records` were touched, whichever sink touched them.
///
/// # Errors
/// A file cannot be inspected, truncated or removed, or its directory is missing.
pub(super) fn roll_back_files(records: &[&FileRecord]) -> Result<(), SinkError> {
    blocking(|| roll_back(&LocalDisk::PRIVATE, records))
}

/// Restores every file, the last one first, so that directories are empty when they are removed. If a file was recorded
/// twice, a rollback lies between the two records and the later one holds.
pub(super) fn roll_back(disk: &dyn Disk, records: &[&FileRecord]) -> Result<(), SinkError> {
    let mut seen = HashSet::new();
    let latest: Vec<_> = records.iter().rev().filter(|record| seen.insert(record.path.as_path())).collect();
    let created: Vec<&Path> = latest.iter().filter_map(|record| new_directory(record)).collect();
    for record in latest {
        expect_old_directory(disk, record, &created)?;
        let path = record.path.as_path();
        match &record.before {
            FileBefore::Existing { length, tail_hash } => truncate(disk, path, *length, tail_hash)?,
            FileBefore::Absent { first_new_directory } => remove(disk, path, first_new_directory.as_deref())?,
        }
    }
    Ok(())
}

fn new_directory(record: &FileRecord) -> Option<&Path> {
    match &record.before {
        FileBefore::Existing { .. } => None,
        FileBefore::Absent { first_new_directory } => first_new_directory.as_deref(),
    }
}

/// A directory that existed before the batch and is missing now is most likely a disk that is not mounted. Without this
/// check the unfinished lines would stay on that disk, and be there twice when it is mounted again. Directories that the
/// batch itself `created` may be missing: an earlier rollback was interrupted.
fn expect_old_directory(disk: &dyn Disk, record: &FileRecord, created: &[&Path]) -> Result<(), SinkError> {
    let path = record.path.as_path();
    let Some(directory) = new_directory(record).unwrap_or(path).parent() else { return Ok(()) };
    if created.iter().any(|new| directory.starts_with(new)) {
        return Ok(());
    }
    if disk.state(directory).map_err(|error| io_error("inspect", directory, &error))?.is_some() {
        return Ok(());
    }
    Err(SinkError::Transient {
        message: format!(
            "the directory {} is missing, and with it the unfinished batch in {}",
            directory.display(),
            path.display()
        ),
        hint: "mount its disk or move it back; if you deleted it on purpose, create it again, empty".to_owned(),
    })
}

fn truncate(disk: &dyn Disk, path: &Path, length: u64, tail: &str) -> Result<(), SinkError> {
    let Some(state) = disk.state(path).map_err(|error| io_error("inspect", path, &error))? else {
        tracing::error!(
            event = "file_missing",
            file = %path.display(),
            "the file was removed by another program during a batch; earlier lines are lost, the batch is written again"
        );
        return Ok(());
    };
    if state.length < length {
        tracing::error!(
            event = "file_truncated",
            file = %path.display(),
            expected_bytes = length,
            actual_bytes = state.length,
            "the file was truncated by another program during a batch; the truncated lines are lost, the batch is appended"
        );
        return Ok(());
    }
    if tail_hash(disk, path, length)? != tail {
        tracing::error!(
            event = "file_replaced",
            file = %path.display(),
            "the file was replaced by another program during a batch; it is left unchanged, the batch is appended"
        );
        return Ok(());
    }
    disk.truncate(path, length).map_err(|error| io_error("truncate", path, &error))
}

fn remove(disk: &dyn Disk, path: &Path, first_new_directory: Option<&Path>) -> Result<(), SinkError> {
    ignore_missing(disk.remove_file(path)).map_err(|error| io_error("remove the unfinished", path, &error))?;
    let mut remaining = path.parent();
    if let Some(first) = first_new_directory {
        for directory in path.ancestors().skip(1).take_while(|directory| directory.starts_with(first)) {
            match ignore_missing(disk.remove_directory(directory)) {
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => break,
                removed => removed.map_err(|error| io_error("remove the empty directory", directory, &error))?,
            }
            remaining = directory.parent();
        }
    }
    let Some(directory) = remaining else { return Ok(()) };
    ignore_missing(disk.sync_directory(directory)).map_err(|error| io_error("sync", directory, &error))
}

fn ignore_missing(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

// --- appending ---

/// One file that a batch appends to. It is recorded before it is touched for the first time.
#[derive(Debug)]
pub(super) struct LocalAppend {
    path: PathBuf,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: Box<dyn DiskFile>,
    changed_directories: Vec<PathBuf>,
}

impl LocalAppend {
    /// Touches nothing yet.
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    /// Appends bytes; not durable yet. `kind` makes the rollback record of the file's state.
    pub(super) async fn append(
        &mut self,
        bytes: &[u8],
        kind: impl FnOnce(FileRecord) -> RollbackRecord,
        log: &mut dyn RollbackLog,
    ) -> Result<(), SinkError> {
        if self.open.is_none() {
            let record = blocking(|| self.record())?;
            log.record(vec![kind(record.clone())]).await?;
            self.open = Some(blocking(|| self.open(&record))?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        blocking(|| open.file.append(bytes)).map_err(|error| io_error("write", &self.path, &error))
    }

    fn record(&self) -> Result<FileRecord, SinkError> {
        let state = LocalDisk::PRIVATE.state(&self.path).map_err(|error| io_error("inspect", &self.path, &error))?;
        record_of(&LocalDisk::PRIVATE, &self.path, state)
    }

    fn open(&self, record: &FileRecord) -> Result<OpenFile, SinkError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        LocalDisk::PRIVATE
            .create_directories(directory)
            .map_err(|error| io_error("create the directory", directory, &error))?;
        let file = LocalDisk::PRIVATE.open(&self.path).map_err(|error| io_error("open", &self.path, &error))?;
        Ok(OpenFile { file, changed_directories: changed_directories(&self.path, record) })
    }

    /// Makes the appended bytes durable.
    pub(super) fn sync(&mut self) -> Result<(), SinkError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        blocking(|| {
            open.file.sync().map_err(|error| io_error("sync", &self.path, &error))?;
            for directory in &open.changed_directories {
                LocalDisk::PRIVATE.sync_directory(directory).map_err(|error| io_error("sync", directory, &error))?;
            }
            Ok(())
        })
    }
}
