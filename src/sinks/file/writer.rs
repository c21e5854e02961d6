//! The current batch: buffers per path, the files it touches, and how they are written and made durable.
//!
//! ```text
//! events -> Partitions: one buffer per path -> pieces --choose--> files, and rollback records of those touched first
//!                                                     (recorded durably) --write--> appended --sync--> files, directories
//! ```

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::rotation::{self, Pins, Rotation};
use crate::journal::RollbackRecord;
use crate::sinks::SinkError;
use crate::sinks::claims::Claims;
use crate::sinks::disk::{Disk, DiskFile, io_error};
use crate::sinks::local_files::{changed_directories, record_of};
use crate::time::Timestamp;

/// Memory of a buffer besides its lines: its path twice and the map's entry.
const OVERHEAD_BYTES: usize = 256;

/// Buffers that were written out are kept for reuse: at most this many, of at most this many bytes each.
const SPARE_BUFFERS: usize = 8;
const SPARE_BYTES: usize = 2 << 20;

/// Lines for one path.
#[derive(Debug)]
pub(super) struct Partition {
    /// The path as the template gave it.
    pub(super) path: String,
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// The events in it.
    pub(super) events: Events,
}

/// A number of events and the time span that they cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Events {
    pub(super) count: u64,
    pub(super) first_time: Timestamp,
    pub(super) last_time: Timestamp,
}

impl Default for Events {
    /// No events: the span is inverted, so that the first event defines it.
    fn default() -> Self {
        Self { count: 0, first_time: Timestamp::MAX, last_time: Timestamp::from_nanos(i64::MIN) }
    }
}

impl Events {
    fn add(&mut self, time: Timestamp) {
        self.merge(Self { count: 1, first_time: time, last_time: time });
    }

    /// Adds the events of `other`.
    pub(super) fn merge(&mut self, other: Self) {
        self.count += other.count;
        self.first_time = self.first_time.min(other.first_time);
        self.last_time = self.last_time.max(other.last_time);
    }
}

/// Buffers in the order in which their paths first appeared; the order is the same at every attempt.
#[derive(Debug, Default)]
pub(super) struct Partitions {
    all: Vec<Partition>,
    by_path: HashMap<String, usize>,
    current: Option<usize>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Partitions {
    /// Appends an event of `time` with `write` to the buffer of `path`. `same` means that `path` is the same as in the last call.
    pub(super) fn append(&mut self, path: &str, same: bool, time: Timestamp, write: impl FnOnce(&mut Vec<u8>)) {
        let index = match self.current {
            Some(index) if same => index,
            _ => self.select(path),
        };
        let Partition { lines, events, .. } = &mut self.all[index];
        events.add(time);
        let before = lines.len();
        write(lines);
        self.bytes += lines.len() - before;
    }

    fn select(&mut self, path: &str) -> usize {
        let index = self.by_path.get(path).copied().unwrap_or_else(|| self.add(path));
        self.current = Some(index);
        index
    }

    fn add(&mut self, path: &str) -> usize {
        let index = self.all.len();
        self.by_path.insert(path.to_owned(), index);
        let lines = self.spare.pop().unwrap_or_default();
        self.all.push(Partition { path: path.to_owned(), lines, events: Events::default() });
        self.bytes += OVERHEAD_BYTES;
        index
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of paths with lines.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Removes and returns all buffers.
    pub(super) fn take(&mut self) -> Vec<Partition> {
        self.clear();
        std::mem::take(&mut self.all)
    }

    /// Discards all buffers.
    pub(super) fn discard(&mut self) {
        self.clear();
        self.all.clear();
    }

    fn clear(&mut self) {
        self.by_path.clear();
        self.current = None;
        self.bytes = 0;
    }

    /// Keeps the memory of a buffer that was written: growing a new buffer copies its lines several times.
    pub(super) fn reuse(&mut self, mut lines: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && lines.capacity() <= SPARE_BYTES {
            lines.clear();
            self.spare.push(lines);
        }
    }
}

/// Files kept open until the batch ends. More files are synced and closed after each write.
const MAX_OPEN_FILES: usize = 128;

/// Bytes for one file.
#[derive(Debug)]
pub(super) struct Piece {
    /// The path as the template gave it, made absolute.
    pub(super) base: PathBuf,
    /// Whole lines, or one whole compressed piece of them.
    pub(super) bytes: Vec<u8>,
    /// The events in it.
    pub(super) events: Events,
}

/// A file that the batch touches.
#[derive(Debug)]
struct Touched {
    /// Its length before the batch.
    offset: u64,
    /// Its expected length, if no other program writes to it.
    length: u64,
    handle: Option<Box<dyn DiskFile>>,
    events: Events,
    /// Of the appended bytes; only for manifests.
    digest: Option<Sha256>,
}

/// The bytes that a batch appended to one file.
pub(super) struct Appended<'a> {
    pub(super) path: &'a Path,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) events: Events,
}

/// What the choice of files depends on.
pub(super) struct WriteContext<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) rotation: Rotation,
    pub(super) pins: &'a Pins,
    pub(super) claims: &'a Claims,
    pub(super) now: Timestamp,
}

/// The current batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The file of each base path: a batch does not split one path over two files.
    chosen: HashMap<PathBuf, PathBuf>,
    files: BTreeMap<PathBuf, Touched>,
    /// Directories with new entries.
    directories: BTreeSet<PathBuf>,
    open_files: usize,
    with_digests: bool,
    /// Bytes written.
    bytes: u64,
}

impl Batch {
    /// Touches nothing yet. Digests are for manifests.
    pub(super) fn new(with_digests: bool) -> Self {
        Self { with_digests, ..Self::default() }
    }

    /// Chooses the file of each piece; returns what must be recorded before they are written.
    pub(super) fn choose(
        &mut self,
        context: &WriteContext<'_>,
        pieces: &[Piece],
    ) -> Result<Vec<RollbackRecord>, SinkError> {
        let mut records = Vec::new();
        for piece in pieces.iter().filter(|piece| !self.chosen.contains_key(&piece.base)).collect::<Vec<_>>() {
            records.extend(self.choose_file(context, piece)?);
        }
        Ok(records)
    }

    fn choose_file(&mut self, context: &WriteContext<'_>, piece: &Piece) -> Result<Option<RollbackRecord>, SinkError> {
        let incoming = u64::try_from(piece.bytes.len()).unwrap_or(u64::MAX);
        let choice = rotation::choose(context.disk, context.rotation, context.pins, &piece.base, incoming, context.now)
            .map_err(|error| io_error("inspect", &piece.base, &error))?;
        if choice.state.is_none_or(|state| state.regular) {
            context.claims.claim(&choice.path)?;
        }
        self.chosen.insert(piece.base.clone(), choice.path.clone());
        if self.files.contains_key(&choice.path) {
            return Ok(None);
        }
        let record = record_of(context.disk, &choice.path, choice.state)?;
        self.directories.extend(changed_directories(&choice.path, &record));
        let length = choice.state.map_or(0, |state| state.length);
        let digest = self.with_digests.then(Sha256::new);
        self.files
            .insert(choice.path, Touched { offset: length, length, handle: None, events: Events::default(), digest });
        Ok(Some(RollbackRecord::File(record)))
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
        handle.append(bytes).map_err(|error| io_error("write", path, &error))?;
        let added = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        file.length += added;
        file.events.merge(piece.events);
        if let Some(digest) = &mut file.digest {
            digest.update(bytes);
        }
        self.bytes += added;
        if self.open_files > MAX_OPEN_FILES {
            close(disk, path, file)?;
            self.open_files -= 1;
        }
        Ok(())
    }

    /// Makes the batch durable: the files first, then the directories with new entries. Returns the bytes written.
    pub(super) fn sync(&mut self, disk: &dyn Disk) -> Result<u64, SinkError> {
        for (path, file) in &mut self.files {
            close(disk, path, file)?;
        }
        for directory in &self.directories {
            disk.sync_directory(directory).map_err(|error| io_error("sync", directory, &error))?;
        }
        Ok(self.bytes)
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
    if let Some(directory) = path.parent() {
        disk.create_directories(directory).map_err(|error| io_error("create the directory", directory, &error))?;
    }
    disk.open(path).map_err(|error| io_error("open", path, &error))
}

/// Syncs and closes a file. A file that was removed or truncated while it was open has lost lines of this batch: that is
/// an error, and the batch is written again.
fn close(disk: &dyn Disk, path: &Path, file: &mut Touched) -> Result<(), SinkError> {
    let Some(mut handle) = file.handle.take() else { return Ok(()) };
    handle.sync().map_err(|error| io_error("sync", path, &error))?;
    let found = disk.state(path).map_err(|error| io_error("inspect", path, &error))?;
    if found.is_some_and(|state| state.length >= file.length || !state.regular) {
        return Ok(());
    }
    Err(SinkError::Transient {
        message: format!("{} was removed or truncated by another program while it was being written", path.display()),
        hint: "let other programs move or remove a file only after rotation or its day has ended".to_owned(),
    })
}

#[cfg(test)]
impl Batch {
    /// The number of open files.
    pub(super) fn open_files(&self) -> usize {
        self.open_files
    }
}
