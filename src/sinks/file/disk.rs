//! What the file sink asks of the operating system, as a part that can be exchanged: tests make any call fail.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::UNIX_EPOCH;

use crate::sinks::SinkError;
use crate::time::Timestamp;

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    /// Bytes in it.
    pub(super) length: u64,
    /// Whether it is a file on disk, and not a device such as `/dev/null`, which has no length.
    pub(super) regular: bool,
    /// When it was made; `None` where the file system does not keep that.
    pub(super) created: Option<Timestamp>,
}

/// Files and folders. Every call is about one of them and does one thing.
pub(super) trait Disk: Send + Sync + fmt::Debug {
    /// The file's state; `None` if there is none.
    fn state(&self, path: &Path) -> io::Result<Option<FileState>>;
    /// At most the last `bytes` bytes before `end`.
    fn tail(&self, path: &Path, end: u64, bytes: u64) -> io::Result<Vec<u8>>;
    /// The names in a folder; none if the folder is not there.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Makes a folder and those above it.
    fn make_folders(&self, folder: &Path) -> io::Result<()>;
    /// Opens a file for appending; makes it if it is not there.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Cuts a file to `length` bytes, durably.
    fn cut(&self, path: &Path, length: u64) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a folder if it is empty.
    fn remove_folder(&self, folder: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
}

/// A file that is open for appending.
pub(super) trait DiskFile: Send + fmt::Debug {
    /// Appends all bytes, or an unknown part of them if it fails.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file's bytes and length durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Debug)]
pub(super) struct LocalDisk;

impl Disk for LocalDisk {
    fn state(&self, path: &Path) -> io::Result<Option<FileState>> {
        match fs::metadata(path) {
            Ok(found) => {
                Ok(Some(FileState { length: found.len(), regular: found.is_file(), created: created(&found) }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn tail(&self, path: &Path, end: u64, bytes: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        let start = end.saturating_sub(bytes);
        file.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        file.take(end - start).read_to_end(&mut tail)?;
        Ok(tail)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn make_folders(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create(true).open(path)?))
    }

    fn cut(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() > length {
            file.set_len(length)?;
        }
        tolerant(file.sync_all())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_folder(&self, folder: &Path) -> io::Result<()> {
        fs::remove_dir(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        tolerant(File::open(folder)?.sync_all())
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        tolerant(self.sync_all())
    }
}

/// Devices, and folders of some network file systems, answer "invalid" to fsync: they have nothing to make durable.
fn tolerant(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

fn created(found: &fs::Metadata) -> Option<Timestamp> {
    let since_epoch = found.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_nanos()).ok().map(Timestamp::from_nanos)
}

/// Says what could not be done, and what the user can do about it.
pub(super) fn fault(what: &str, path: &Path, error: &io::Error) -> SinkError {
    SinkError::Transient {
        message: format!("cannot {what} {}: {error}", path.display()),
        hint: format!("{}; auditflow goes on by itself", remedy(error.kind())),
    }
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull => "free space on that file system",
        io::ErrorKind::QuotaExceeded => "raise the disk quota of the user that runs auditflow, or free space",
        io::ErrorKind::PermissionDenied => "give the user that runs auditflow the right to write there",
        io::ErrorKind::ReadOnlyFilesystem => "mount that file system writable, or change `path`",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a part of the path is a file where a folder is needed: move it away, or change `path`"
        }
        io::ErrorKind::IsADirectory => "a folder has the name of the file: move it away, or change `path`",
        io::ErrorKind::InvalidFilename => "the name is too long for that file system: shorten `path`",
        _ => "mend what the message says, or change `path`",
    }
}
