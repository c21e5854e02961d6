//! The data directory: whose it is, and how its files are opened. State decides what is delivered and what is rolled back, so
//! nobody else may write it, and no link may lead elsewhere.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, access};

use super::JournalError;

/// The name of the lock file in the data directory.
pub const LOCK_FILE: &str = "auditflow.lock";

/// The name of the journal in the data directory.
pub const JOURNAL_FILE: &str = "journal.db";

/// Write permissions of the group and of others.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The permissions of everybody but the owner.
const OF_OTHERS: u32 = 0o077;

/// Whether a pipeline can run with this data directory, as far as that is visible. Changes nothing.
///
/// # Errors
/// The directory is not safe to use, or cannot be written or created.
pub fn check(directory: &Path) -> Result<(), JournalError> {
    let found = match std::fs::symlink_metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return check_parent(directory),
        found => found.map_err(|error| not_opened(directory, &error))?,
    };
    expect_safe(directory, &found)?;
    for name in [LOCK_FILE, JOURNAL_FILE] {
        let path = directory.join(name);
        match std::fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => expect_own_file(&path, &found.map_err(|error| not_opened(&path, &error))?)?,
        }
    }
    expect_access(directory)
}

fn check_parent(directory: &Path) -> Result<(), JournalError> {
    let absolute = std::path::absolute(directory).map_err(|error| not_opened(directory, &error))?;
    let parent = absolute.ancestors().skip(1).find(|path| path.exists()).unwrap_or(Path::new("/"));
    expect_access(parent)
}

fn expect_access(directory: &Path) -> Result<(), JournalError> {
    access(directory, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| not_opened(directory, &errno.into()))
}

/// Creates the directory if it does not exist, for its owner only: audit trails are confidential. Returns its path without
/// links above it.
///
/// # Errors
/// It is a link, belongs to another user, can be written by others, or cannot be created.
pub(super) fn open(directory: &Path) -> Result<PathBuf, JournalError> {
    let failed = |error: io::Error| not_opened(directory, &error);
    if std::fs::symlink_metadata(directory).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        directory.parent().map_or(Ok(()), sync).map_err(failed)?;
    }
    expect_safe(directory, &std::fs::symlink_metadata(directory).map_err(failed)?)?;
    directory.canonicalize().map_err(failed)
}

/// A new file name survives power loss only once its directory is flushed.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory)?.sync_all()
}

/// Opens a file of the data directory for writing, and creates it if it does not exist. It is then its owner's only, whatever
/// it was before.
///
/// # Errors
/// It is a link or not a file, belongs to another user, or cannot be opened.
pub(super) fn open_file(path: &Path) -> Result<File, JournalError> {
    let failed = |error: io::Error| match std::fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => is_link(path),
        _ => not_opened(path, &error),
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow());
    let file = options.open(path).map_err(failed)?;
    let found = file.metadata().map_err(failed)?;
    expect_own_file(path, &found)?;
    if found.mode() & OF_OTHERS != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(file)
}

/// Opens a file of the data directory for reading, if it is there and not a link.
pub(super) fn read_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(no_follow()).open(path)
}

/// A pipe in the place of a file does not block.
fn no_follow() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits().cast_signed()
}

fn expect_safe(directory: &Path, found: &Metadata) -> Result<(), JournalError> {
    if found.is_symlink() {
        return Err(is_link(directory));
    }
    if !found.is_dir() {
        return Err(wrong(directory, "is not a directory", "move it away, or fix `data_dir`"));
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user {
        let problem = format!("belongs to user {}, and auditflow runs as user {user}", found.uid());
        return Err(wrong(
            directory,
            &problem,
            &format!(
                "run auditflow as its owner, or `chown -R {user}` it; on a volume, set `data_dir` to a new directory below it"
            ),
        ));
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        let problem = format!("can be written by others (mode {:04o})", found.mode() & 0o7777);
        let remedy = format!(
            "`chmod 700 {}`, after a look at what is in it; on a volume, set `data_dir` to a new directory below it",
            directory.display()
        );
        return Err(wrong(directory, &problem, &remedy));
    }
    Ok(())
}

fn expect_own_file(path: &Path, found: &Metadata) -> Result<(), JournalError> {
    if found.is_symlink() {
        return Err(is_link(path));
    }
    if !found.is_file() {
        return Err(wrong(path, "is not a file", "move it away"));
    }
    let user = rustix::process::geteuid().as_raw();
    if found.uid() != user {
        let problem = format!("belongs to user {}, and auditflow runs as user {user}", found.uid());
        return Err(wrong(
            path,
            &problem,
            "run auditflow as its owner, or change the owner of everything in the directory",
        ));
    }
    if found.mode() & WRITABLE_BY_OTHERS != 0 {
        let problem = format!("can be written by others (mode {:04o})", found.mode() & 0o7777);
        return Err(wrong(path, &problem, &format!("`chmod 600 {}`, if you trust what is in it", path.display())));
    }
    Ok(())
}

fn is_link(path: &Path) -> JournalError {
    let target =
        std::fs::canonicalize(path).map_or_else(|_| "where it leads to".to_owned(), |real| real.display().to_string());
    wrong(path, "is a symbolic link", &format!("links are not followed: write {target} itself"))
}

fn wrong(path: &Path, problem: &str, remedy: &str) -> JournalError {
    let path = path.display().to_string();
    JournalError::Unsafe { path, problem: problem.to_owned(), remedy: remedy.to_owned() }
}

pub(super) fn not_opened(path: &Path, error: &io::Error) -> JournalError {
    JournalError::NotOpened { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::journal::lock::DirectoryLock;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("set");
    }

    fn refused(error: &JournalError, word: &str) {
        assert!(matches!(error, JournalError::Unsafe { .. }) && error.to_string().contains(word), "{error}");
    }

    #[test]
    fn a_directory_that_is_a_link_or_can_be_written_by_others_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let (data, link) = (directory.path().join("data"), directory.path().join("link"));
        check(&data).expect("can be created");
        assert!(!data.exists(), "a check changes nothing");
        assert_eq!(open(&data).expect("created"), data.canonicalize().expect("there"));
        symlink("data", &link).expect("links");
        for refuse in [|path: &Path| open(path).map(drop), check] {
            refused(&refuse(&link).expect_err("a link"), "symbolic link");
            set_mode(&data, 0o770);
            refused(&refuse(&data).expect_err("writable"), "chmod 700");
            set_mode(&data, 0o755);
            refuse(&data).expect("readable is safe: its files are not");
        }
    }

    #[test]
    fn a_link_in_the_place_of_a_file_is_not_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let victim = directory.path().join("victim");
        fs::write(&victim, "theirs").expect("written");
        symlink("victim", directory.path().join(LOCK_FILE)).expect("links");
        refused(&DirectoryLock::take(directory.path()).expect_err("a link"), "symbolic link");
        refused(&check(directory.path()).expect_err("a link"), "symbolic link");
        assert_eq!(fs::read(&victim).expect("there"), b"theirs");
    }

    #[test]
    fn a_lock_file_that_others_could_open_is_closed_to_them() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join(LOCK_FILE);
        fs::write(&path, "1\n").expect("written");
        set_mode(&path, 0o644);
        let _lock = DirectoryLock::take(directory.path()).expect("free");
        assert_eq!(fs::metadata(&path).expect("there").mode() & 0o777, 0o600);
        set_mode(&path, 0o666);
        refused(&check(directory.path()).expect_err("writable"), "chmod 600");
    }
}
