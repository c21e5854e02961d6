//! One process per data directory: a lock file that names its owner.
//!
//! The operating system releases the lock when its owner ends, however it ends. A lock file on disk therefore means
//! nothing by itself and is never deleted: deleting it would let two processes lock two files of the same name.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::JournalError;
use super::data_dir::{not_opened, open_file, read_file};

pub use super::data_dir::LOCK_FILE;

/// The exclusive right to use a data directory, until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Locks `directory`, which must exist, and writes this process's id into the lock file.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another process, or another part of this one, has the lock; [`JournalError::LockHeld`] if a
    /// process that is not an auditflow has it; [`JournalError::Unsafe`] or [`JournalError::NotOpened`] if the lock file cannot
    /// be used.
    pub fn take(directory: &Path) -> Result<Self, JournalError> {
        let path = directory.join(LOCK_FILE);
        let failed = |error: std::io::Error| not_opened(&path, &error);
        let mut file = open_file(&path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(directory, &path, &mut file)),
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
    owner_in(&mut read_file(&directory.join(LOCK_FILE)).ok()?)
}

fn owner_in(file: &mut File) -> Option<LockOwner> {
    let lock = fcntl_getlk(&*file, &Flock::from(FlockType::WriteLock)).ok()??;
    let written = read_pid(file);
    // The kernel's answer is right on one machine; the written id is right across containers too.
    let from_kernel = lock.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    Some(LockOwner { pid: written.or(from_kernel) })
}

fn write_pid(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Who holds the lock. An auditflow holds a record lock too; this process does not see its own.
fn in_use(directory: &Path, path: &Path, file: &mut File) -> JournalError {
    let own = Some(std::process::id());
    let seen = owner_in(file);
    let is_own = || read_pid(file).filter(|pid| Some(*pid) == own).map(|pid| LockOwner { pid: Some(pid) });
    match seen.or_else(is_own) {
        Some(LockOwner { pid }) => {
            let pid = pid.map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
            JournalError::InUse { path: directory.display().to_string(), pid }
        }
        None => JournalError::LockHeld { path: path.display().to_string() },
    }
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
    fn a_program_that_is_not_auditflow_is_not_named_by_the_process_that_ran_last() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(LOCK_FILE);
        std::fs::write(&path, "99999999\n").expect("writes");
        let file = File::open(&path).expect("opens");
        flock(&file, FlockOperation::NonBlockingLockShared).expect("free");
        let error = DirectoryLock::take(directory.path()).expect_err("held");
        assert!(matches!(&error, JournalError::LockHeld { .. }), "{error}");
        assert!(!error.to_string().contains("99999999"), "{error}");
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
