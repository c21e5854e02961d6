//! The file system as a trait that tests can make fail, and the modes of what auditflow creates in it.

use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{Access, access};
use serde::{Deserialize, Deserializer, de};

use super::SinkError;
use crate::time::Timestamp;
use crate::units::PlainText;

/// The permissions of the files that a sink creates, such as `0640`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileMode(u32);

impl FileMode {
    /// Only their owner can read and write them.
    pub(super) const PRIVATE: Self = Self(0o600);

    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0o").unwrap_or(text);
        let is_octal = (3..=4).contains(&digits.len()) && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(digits, 8).ok().filter(|_| is_octal)?;
        let (owner_works, nobody_executes) = (mode & 0o600 == 0o600, mode & !0o666 == 0);
        let others_cannot_write = mode & 0o002 == 0;
        (owner_works && nobody_executes && others_cannot_write).then_some(Self(mode))
    }

    /// The permissions of a directory with such files: whoever may read the files may list it.
    fn of_directory(self) -> u32 {
        self.0 | (self.0 & 0o444) >> 2
    }

    /// Whether every user of the host can read the files.
    pub(super) fn is_public(self) -> bool {
        self.0 & 0o004 != 0
    }
}

impl Default for FileMode {
    fn default() -> Self {
        Self::PRIVATE
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = PlainText::deserialize(deserializer)?;
        let wrong = || {
            let text = text.as_str();
            de::Error::custom(format!(
                "`{text}` is not a mode for files; write octal digits such as 0640: the owner can read and write, nobody can execute, not everybody can write"
            ))
        };
        Self::parse(text.as_str()).ok_or_else(wrong)
    }
}

/// A file's metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileState {
    /// Its length in bytes.
    pub(super) length: u64,
    /// Whether it is a regular file. A device such as `/dev/null` is not and has no length.
    pub(super) regular: bool,
    /// When it was created; `None` if the file system does not store that.
    pub(super) created: Option<Timestamp>,
    /// When its contents were written last.
    pub(super) modified: Option<Timestamp>,
}

/// The file system. Every call does one thing with one file or directory.
pub(super) trait Disk: Send + Sync + fmt::Debug {
    /// The file's metadata; `None` if there is no file.
    fn state(&self, path: &Path) -> io::Result<Option<FileState>>;
    /// At most the last `bytes` bytes before `end`.
    fn tail(&self, path: &Path, end: u64, bytes: u64) -> io::Result<Vec<u8>>;
    /// The names in a directory; empty if the directory does not exist.
    fn names(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents.
    fn create_directories(&self, directory: &Path) -> io::Result<()>;
    /// The bytes of a small file; `None` if there is no file.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Replaces a small file, so that it has either its old bytes or the new ones, whatever happens. Durable.
    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Opens a file for appending and creates it if it does not exist.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Truncates a file to `length` bytes, durably.
    fn truncate(&self, path: &Path, length: u64) -> io::Result<()>;
    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory if it is empty.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// A file that is open for appending.
pub(super) trait DiskFile: Send + fmt::Debug {
    /// Appends all bytes. On failure, an unknown part of them is appended.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file's bytes and length durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalDisk {
    mode: FileMode,
}

impl LocalDisk {
    /// Creates files for their owner only.
    pub(super) const PRIVATE: Self = Self::new(FileMode::PRIVATE);

    /// Creates files of this mode.
    pub(super) const fn new(mode: FileMode) -> Self {
        Self { mode }
    }

    /// The process's umask takes bits away, so the mode is set as well.
    fn create(self, path: &Path) -> io::Result<File> {
        let file = OpenOptions::new().append(true).create_new(true).mode(self.mode.0).open(path)?;
        file.set_permissions(Permissions::from_mode(self.mode.0))?;
        Ok(file)
    }
}

impl Disk for LocalDisk {
    fn state(&self, path: &Path) -> io::Result<Option<FileState>> {
        match fs::metadata(path) {
            Ok(found) => {
                let (created, modified) = (timestamp(found.created()), timestamp(found.modified()));
                Ok(Some(FileState { length: found.len(), regular: found.is_file(), created, modified }))
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

    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn create_directories(&self, directory: &Path) -> io::Result<()> {
        let mode = self.mode.of_directory();
        let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
        for path in missing.into_iter().rev().filter(|path| !path.as_os_str().is_empty()) {
            match DirBuilder::new().mode(mode).create(path) {
                // Another sink was faster.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
                created => created.and_then(|()| fs::set_permissions(path, Permissions::from_mode(mode)))?,
            }
        }
        if directory.is_dir() { Ok(()) } else { fs::create_dir_all(directory) }
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = self.create(&temporary)?;
        file.write_all(bytes)?;
        tolerant(file.sync_all())?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |directory| self.sync_directory(directory))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match self.create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Ok(Box::new(OpenOptions::new().append(true).open(path)?))
            }
            created => Ok(Box::new(created?)),
        }
    }

    fn truncate(&self, path: &Path, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() > length {
            file.set_len(length)?;
        }
        tolerant(file.sync_all())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        tolerant(File::open(directory)?.sync_all())
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

/// Devices, and directories on some network file systems, answer fsync with "invalid": they have nothing to make durable.
fn tolerant(synced: io::Result<()>) -> io::Result<()> {
    match synced {
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

fn timestamp(at: io::Result<SystemTime>) -> Option<Timestamp> {
    let since_epoch = at.ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since_epoch.as_nanos()).ok().map(Timestamp::from_nanos)
}

/// The error for an operation that failed, with a hint for the user.
pub(super) fn io_error(what: &str, path: &Path, error: &io::Error) -> SinkError {
    SinkError::Transient {
        message: format!("cannot {what} {}: {error}", path.display()),
        hint: remedy(error.kind()).to_owned(),
    }
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::StorageFull => "free space on that file system",
        io::ErrorKind::QuotaExceeded => "raise the disk quota of the user that runs auditflow, or free space",
        io::ErrorKind::PermissionDenied => "give the user that runs auditflow permission to write there",
        io::ErrorKind::ReadOnlyFilesystem => "mount that file system writable, or change `path`",
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
            "a part of the path is a file where a directory is needed: move the file, or change `path`"
        }
        io::ErrorKind::IsADirectory => "a directory has the name of the file: move the directory, or change `path`",
        io::ErrorKind::InvalidFilename => "the file name is too long for that file system: shorten `path`",
        _ => "fix the cause in the message, or change `path`",
    }
}

/// Whether files can be created below `directory`: checks the directory, or its nearest parent that exists. Creates nothing.
///
/// # Errors
/// The user that runs auditflow cannot create files or directories there.
pub(super) fn check_writable(directory: &Path) -> Result<(), SinkError> {
    let directory = directory.ancestors().find(|path| path.exists()).unwrap_or(directory);
    let state = directory.metadata().map_err(|error| io_error("inspect", directory, &error))?;
    if !state.is_dir() {
        return Err(io_error("create files below", directory, &io::ErrorKind::NotADirectory.into()));
    }
    access(directory, Access::WRITE_OK | Access::EXEC_OK)
        .map_err(|error| io_error("create files in", directory, &error.into()))
}

/// Whether events can be appended to the file at `path`: it does not exist yet, or is a regular file or a device that can be
/// written. Opens nothing.
///
/// # Errors
/// It is a directory or a pipe, or cannot be written.
pub(super) fn check_appendable(path: &Path) -> Result<(), SinkError> {
    use std::os::unix::fs::FileTypeExt as _;
    let state = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        state => state.map_err(|error| io_error("inspect", path, &error))?,
    };
    if state.is_dir() {
        return Err(io_error("write", path, &io::ErrorKind::IsADirectory.into()));
    }
    if state.file_type().is_fifo() || state.file_type().is_socket() {
        return Err(SinkError::Stopped {
            message: format!("{} is a pipe or a socket: what is written there cannot be rolled back", path.display()),
            hint: "change `path` to a file".to_owned(),
        });
    }
    access(path, Access::WRITE_OK).map_err(|error| io_error("write", path, &error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("there").permissions().mode() & 0o777
    }

    #[test]
    fn what_is_created_is_private_unless_the_mode_says_otherwise() {
        let directory = tempfile::tempdir().expect("a directory");
        for (text, file_mode, directory_mode) in [("600", 0o600, 0o700), ("0640", 0o640, 0o750), ("0664", 0o664, 0o775)]
        {
            let disk = LocalDisk::new(FileMode::parse(text).expect(text));
            let below = directory.path().join(text).join("deep");
            disk.create_directories(&below).expect("created");
            disk.open(&below.join("a")).expect("opened");
            disk.replace(&below.join("b"), b"x").expect("written");
            assert_eq!((mode(&below.join("a")), mode(&below.join("b"))), (file_mode, file_mode));
            assert_eq!((mode(&below), mode(below.parent().expect("a parent"))), (directory_mode, directory_mode));
        }
    }

    #[test]
    fn an_existing_file_keeps_its_mode_and_its_bytes() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a");
        fs::write(&path, "theirs\n").expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("set");
        LocalDisk::PRIVATE.open(&path).expect("opened").append(b"ours\n").expect("appended");
        assert_eq!((mode(&path), fs::read(&path).expect("read")), (0o644, b"theirs\nours\n".to_vec()));
    }

    #[test]
    fn modes_that_make_no_sense_are_rejected() {
        for text in ["0400", "0755", "0666", "0602", "888", "6", "rw", "06400", ""] {
            assert_eq!(FileMode::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pipes_and_directories_are_not_files() {
        let directory = tempfile::tempdir().expect("a directory");
        let (new, file) = (directory.path().join("new"), directory.path().join("file"));
        fs::write(&file, "").expect("written");
        check_appendable(&new).expect("can be created");
        check_appendable(&file).expect("can be appended to");
        check_appendable(Path::new("/dev/null")).expect("a device");
        assert!(check_appendable(directory.path()).is_err());
        let pipe = directory.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
        assert!(check_appendable(&pipe).expect_err("a pipe").to_string().contains("pipe"));
        assert!(!new.exists());
    }
}
