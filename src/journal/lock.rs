//! One process a data folder: a lock file that names the process which holds it.
//!
//! The operating system frees the lock when its holder ends, however it ends, so a lock file that lies about means
//! nothing by itself and is never deleted (deleting it would let two processes lock two files of the same name).

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;
use rustix::process::{Flock, FlockType, fcntl_getlk};

use super::JournalError;

/// The name of the lock file in the data folder.
pub const LOCK_FILE: &str = "auditflow.lock";

/// The sole right to use a data folder, until it is dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of `folder`, which must exist, and writes this process's number into it.
    ///
    /// # Errors
    /// [`JournalError::InUse`] if another process, or another part of this one, has it; [`JournalError::NotOpened`] if
    /// the lock file cannot be written.
    pub fn take(folder: &Path) -> Result<Self, JournalError> {
        let path = folder.join(LOCK_FILE);
        let failed = |error: std::io::Error| not_opened(&path, &error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(in_use(folder, &mut file)),
            Err(errno) => return Err(failed(errno.into())),
        }
        show_to_others(&file);
        note_holder(&mut file).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Takes a record lock besides: unlike the lock itself, others can ask for it without taking it ([`holder`]). It excludes
/// nobody, so a file system that has none does no harm.
fn show_to_others(file: &File) {
    if let Err(errno) = fcntl_lock(file, FlockOperation::NonBlockingLockExclusive) {
        tracing::debug!(%errno, "`auditflow status` will not see that this process runs");
    }
}

/// The process that uses a data folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number, if it could be read.
    pub pid: Option<u32>,
}

/// Which process uses `folder` now, if any. Asks the operating system and takes no lock, so it never keeps a pipeline from
/// starting. Do not call it from the process that holds the lock: it does not see itself, and is not seen by others after.
#[must_use]
pub fn holder(folder: &Path) -> Option<Holder> {
    let mut file = File::open(folder.join(LOCK_FILE)).ok()?;
    let theirs = fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
    let mut text = String::new();
    let noted = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
    // The system's own answer is right within one machine; what is noted is right across containers too.
    let told = theirs.pid.and_then(|pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    Some(Holder { pid: noted.or(told) })
}

fn note_holder(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn in_use(folder: &Path, file: &mut File) -> JournalError {
    let mut pid = String::new();
    let known = file.read_to_string(&mut pid).is_ok() && !pid.trim().is_empty();
    let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
    JournalError::InUse { path: folder.display().to_string(), pid }
}

fn not_opened(path: &Path, error: &std::io::Error) -> JournalError {
    JournalError::NotOpened { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_holder_is_told_of_the_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let held = DirectoryLock::take(folder.path()).expect("free");
        let error = DirectoryLock::take(folder.path()).expect_err("held");
        assert!(matches!(&error, JournalError::InUse { pid, .. } if *pid == std::process::id().to_string()), "{error}");
        drop(held);
        DirectoryLock::take(folder.path()).expect("free again");
    }

    #[test]
    fn nobody_is_seen_where_nobody_runs() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(holder(folder.path()), None);
        std::fs::write(folder.path().join(LOCK_FILE), "99999999\n").expect("writes");
        assert_eq!(holder(folder.path()), None);
    }

    #[test]
    fn a_lock_file_left_by_a_dead_process_does_not_lock() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(LOCK_FILE), "99999999\n").expect("writes");
        DirectoryLock::take(folder.path()).expect("nobody holds it");
        let text = std::fs::read_to_string(folder.path().join(LOCK_FILE)).expect("reads");
        assert_eq!(text.trim(), std::process::id().to_string());
    }
}
