//! The data folder and the file in it, before SQLite opens it.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// The name of the journal in the data folder.
pub const JOURNAL_FILE: &str = "journal.db";

/// Makes the folder if it is not there, for its owner alone: audit trails are nobody else's business.
pub(super) fn create_folder(folder: &Path) -> std::io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        folder.parent().map_or(Ok(()), sync_folder)?;
    }
    if is_on_network(folder) {
        tracing::warn!(
            "the data folder {} is on a network file system, where file locks and flushes may not hold; \
             put data_dir on a local disk",
            folder.display()
        );
    }
    Ok(())
}

/// Makes an empty file for its owner alone if there is none. SQLite takes an empty file as a new database and gives its
/// other files the same permissions.
pub(super) fn create_file(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// A new name survives power loss only once its folder is on disk.
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    File::open(folder)?.sync_all()
}

#[cfg(target_os = "linux")]
fn is_on_network(folder: &Path) -> bool {
    /// NFS, SMB, CIFS and SMB2, from `statfs(2)`.
    const NETWORK: [u64; 4] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42];
    let kind = rustix::fs::statfs(folder).ok().and_then(|found| u64::try_from(found.f_type).ok());
    kind.is_some_and(|kind| NETWORK.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
fn is_on_network(_folder: &Path) -> bool {
    false
}
