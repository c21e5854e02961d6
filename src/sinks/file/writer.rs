//! The batch in hand: which files it has touched, how they are written and made durable.
//!
//! ```text
//! pieces --choose--> files, and what to record of those touched for the first time
//!                    (recorded in the plan, durably) --write--> appended --make_durable--> fsync files, then folders
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk::{Disk, DiskFile, fault};
use super::partitions::Events;
use super::rotation::{self, Pins, Rotation};
use super::undo;
use crate::journal::RollbackRecord;
use crate::sinks::{SinkError, Written};
use crate::time::Timestamp;

/// Files kept open until the batch ends. Further ones are made durable and closed after each write.
const MAX_OPEN_FILES: usize = 128;

/// Bytes for one file.
#[derive(Debug)]
pub(super) struct Piece {
    /// The path as the template gave it, made absolute.
    pub(super) base: PathBuf,
    /// Whole lines, or one whole compressed piece of them.
    pub(super) bytes: Vec<u8>,
    /// Whose lines they are.
    pub(super) events: Events,
}

/// A file that the batch touches.
#[derive(Debug)]
struct Touched {
    /// Its length before.
    offset: u64,
    /// Its length if nobody else writes to it.
    length: u64,
    handle: Option<Box<dyn DiskFile>>,
    events: Events,
    /// Of the bytes that were appended, if a manifest wants it.
    digest: Option<Sha256>,
}

/// What a batch has appended to a file.
pub(super) struct Appended<'a> {
    pub(super) path: &'a Path,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) events: Events,
}

/// What all choices of a batch hang on.
pub(super) struct Circumstances<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) rotation: Rotation,
    pub(super) pins: &'a Pins,
    pub(super) now: Timestamp,
}

/// The batch in hand.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The file of each base path: a batch never splits one path over two files.
    chosen: HashMap<PathBuf, PathBuf>,
    files: BTreeMap<PathBuf, Touched>,
    /// Folders that get new names.
    folders: BTreeSet<PathBuf>,
    open_files: usize,
    with_digests: bool,
    /// What has been written.
    pub(super) written: Written,
}

impl Batch {
    /// Nothing touched yet. Digests are for manifests.
    pub(super) fn new(with_digests: bool) -> Self {
        Self { with_digests, ..Self::default() }
    }

    /// Chooses the file of each piece; returns what must be recorded before they are written.
    pub(super) fn choose(
        &mut self,
        around: &Circumstances<'_>,
        pieces: &[Piece],
    ) -> Result<Vec<RollbackRecord>, SinkError> {
        let mut outputs = Vec::new();
        for piece in pieces.iter().filter(|piece| !self.chosen.contains_key(&piece.base)).collect::<Vec<_>>() {
            outputs.extend(self.choose_file(around, piece)?);
        }
        Ok(outputs)
    }

    fn choose_file(&mut self, around: &Circumstances<'_>, piece: &Piece) -> Result<Option<RollbackRecord>, SinkError> {
        let incoming = u64::try_from(piece.bytes.len()).unwrap_or(u64::MAX);
        let choice = rotation::choose(around.disk, around.rotation, around.pins, &piece.base, incoming, around.now)
            .map_err(|error| fault("look at", &piece.base, &error))?;
        self.chosen.insert(piece.base.clone(), choice.path.clone());
        if self.files.contains_key(&choice.path) {
            return Ok(None);
        }
        let output = undo::planned(around.disk, &choice.path, choice.state)?;
        self.folders.extend(undo::folders_of_new_file(&choice.path, &output));
        let length = choice.state.map_or(0, |state| state.length);
        let digest = self.with_digests.then(Sha256::new);
        self.files
            .insert(choice.path, Touched { offset: length, length, handle: None, events: Events::default(), digest });
        Ok(Some(output))
    }

    /// Appends the pieces to their files.
    pub(super) fn write(&mut self, disk: &dyn Disk, pieces: &[Piece]) -> Result<(), SinkError> {
        for piece in pieces {
            let path = self.chosen.get(&piece.base).unwrap_or(&piece.base).clone();
            self.append(disk, &path, piece)?;
        }
        Ok(())
    }

    fn append(&mut self, disk: &dyn Disk, path: &Path, piece: &Piece) -> Result<(), SinkError> {
        let bytes = &piece.bytes;
        let Some(file) = self.files.get_mut(path) else { return Ok(()) };
        if file.handle.is_none() {
            file.handle = Some(open(disk, path)?);
            self.open_files += 1;
        }
        let Some(handle) = file.handle.as_mut() else { return Ok(()) };
        handle.append(bytes).map_err(|error| fault("write", path, &error))?;
        let added = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        file.length += added;
        file.events.merge(piece.events);
        if let Some(digest) = &mut file.digest {
            digest.update(bytes);
        }
        self.written.bytes += added;
        if self.open_files > MAX_OPEN_FILES {
            close(disk, path, file)?;
            self.open_files -= 1;
        }
        Ok(())
    }

    /// Makes all of it durable: the files first, then the folders that hold new names.
    pub(super) fn make_durable(&mut self, disk: &dyn Disk) -> Result<Written, SinkError> {
        for (path, file) in &mut self.files {
            close(disk, path, file)?;
        }
        for folder in &self.folders {
            disk.sync_folder(folder).map_err(|error| fault("make durable", folder, &error))?;
        }
        Ok(self.written)
    }

    /// What has been appended to each file, by path.
    pub(super) fn appended(&self) -> impl Iterator<Item = Appended<'_>> {
        self.files.iter().map(|(path, file)| Appended {
            path,
            offset: file.offset,
            size: file.length - file.offset,
            sha256: file.digest.clone().map_or_else(String::new, |digest| hex(&digest.finalize())),
            events: file.events,
        })
    }
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn open(disk: &dyn Disk, path: &Path) -> Result<Box<dyn DiskFile>, SinkError> {
    if let Some(folder) = path.parent() {
        disk.make_folders(folder).map_err(|error| fault("make the folder", folder, &error))?;
    }
    disk.open(path).map_err(|error| fault("open", path, &error))
}

/// Makes a file durable and closes it. A file that was removed or cut while it was open has lost lines of this batch:
/// that is a fault, and the batch is written again.
fn close(disk: &dyn Disk, path: &Path, file: &mut Touched) -> Result<(), SinkError> {
    let Some(mut handle) = file.handle.take() else { return Ok(()) };
    handle.sync().map_err(|error| fault("make durable", path, &error))?;
    let found = disk.state(path).map_err(|error| fault("look at", path, &error))?;
    if found.is_some_and(|state| state.length >= file.length || !state.regular) {
        return Ok(());
    }
    Err(SinkError::Transient {
        message: format!("{} was removed or cut by somebody else while it was being written", path.display()),
        hint: "let other programs move or remove a file only after its day or size is over; the batch is written again"
            .to_owned(),
    })
}

#[cfg(test)]
impl Batch {
    /// Files that are open at present.
    pub(super) fn open_files(&self) -> usize {
        self.open_files
    }
}
