//! One process per data directory: a lock file that names its owner.
//!
//! The operating system releases the lock when its owner ends, however it ends. A lock file on disk therefore means
//! nothing by itself and is never deleted: deleting it would let two processes lock two files of the same name.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::JournalError;

/// The name of the lock file in the data directory.
pub const LOCK_FILE: &str = "auditflow.lock";

/// The exclusive right to use a data directory, until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `directory`, which must exist, and writes this process's id into the lock file.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another process, or another part of this one, has the lock; [`JournalError::NotOpened`]
    /// if the lock file cannot be written.
    pub fn take(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(LOCK_FILE);
        let failed = |error: std::io::Error| not_opened(&path, &error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(directory, &mut file)),
            Err(errno) => return Err(failed(errno.into())),
        }
        make_queryable(&file);
        write_pid(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Takes a record lock as well: unlike the lock itself, others can query it without taking it ([`owner`]). It excludes
/// nobody, so a file system without record locks does no harm.
fn make_queryable(file: &File) {
    if let Err(errno) = fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        tracing::debug!(
            event = "lock_owner_hidden",
            error = %errno,
            "`auditflow status` cannot see that this process runs: no record locks on this file system"
        );
    }
}

/// The process that uses a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockOwner {
    /// Its id, if it could be read.
    pub pid: Option<u32>,
}

/// Which process uses `directory` now, if any. Queries the operating system and takes no lock, so it never keeps a
/// pipeline from starting. Do not call it in the process that holds the lock: it does not see itself, and closing the file
/// releases its record lock.
#[must_use]
pub fn owner(directory: &Path) -> Option<LockOwner> {
    let mut file = File::open(directory.join(LOCK_FILE)).ok()?;
    let lock = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    let mut text = String::new();
    let written = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    // The kernel's answer is right on one machine; the written id is right across containers too.
    let from_kernel = lock.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    Some(LockOwner { pid: written.or(from_kernel) })
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn in_use(directory: &Path, file: &mut File) -> JournalError {
    let mut pid = String::new();
    let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
    let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
    JournalError::InUse { path: directory.display().to_string(), pid }
}

fn not_opened(path: &Path, error: &std::io::Error) -> JournalError {
    JournalError::NotOpened { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_fails_and_names_the_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        let lock = DirectoryLock::take(directory.path()).expect("free");
        let error = DirectoryLock::take(directory.path()).expect_err("locked");
        assert!(matches!(&error, JournalError::InUse { pid, .. } if *pid == std::process::id().to_string()), "{error}");
        drop(lock);
        DirectoryLock::take(directory.path()).expect("free again");
    }

    #[test]
    fn a_directory_that_no_process_uses_has_no_owner() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(owner(directory.path()), None);
        std::fs::write(directory.path().join(LOCK_FILE), "99999999\n").expect("writes");
        assert_eq!(owner(directory.path()), None);
    }

    #[test]
    fn a_lock_file_left_by_a_dead_process_does_not_lock() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join(LOCK_FILE), "99999999\n").expect("writes");
        DirectoryLock::take(directory.path()).expect("free");
        let text = std::fs::read_to_string(directory.path().join(LOCK_FILE)).expect("reads");
        assert_eq!(text.trim(), std::process::id().to_string());
    }
}
