//! The check before a run: whether files could be made where the template's first folder is. Nothing is made.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::disk::fault;
use crate::sinks::SinkError;
use crate::sinks::template::Template;

/// Looks at the lowest folder of the path that no event decides about, or the nearest one above it that exists.
///
/// # Errors
/// The user that runs auditflow could not make files or folders there.
pub(super) fn check(root: &Path, template: &Template) -> Result<(), SinkError> {
    let folder = nearest_existing(&root.join(fixed_folder(template.fixed_start())));
    let state = folder.metadata().map_err(|error| fault("look at", &folder, &error))?;
    if !state.is_dir() {
        return Err(fault("make files below", &folder, &io::ErrorKind::NotADirectory.into()));
    }
    access(&folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| fault("make files in", &folder, &error.into()))
}

/// The folder in which every file lies that a template with this fixed start can give; empty if there is none.
pub(super) fn fixed_folder(start: &str) -> &str {
    start.rsplit_once('/').map_or("", |(folder, _)| if folder.is_empty() { "/" } else { folder })
}

fn nearest_existing(folder: &Path) -> PathBuf {
    folder.ancestors().find(|path| path.exists()).unwrap_or(folder).to_path_buf()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn check_below(root: &Path, path: &str) -> Result<(), SinkError> {
        check(root, &Template::parse(path).expect("a template"))
    }

    #[test]
    fn a_folder_that_can_be_made_is_enough_and_none_is_made() {
        let root = tempfile::tempdir().expect("a folder");
        check_below(root.path(), "new/deep/{{ vendor }}.ndjson").expect("can be made");
        assert!(!root.path().join("new").exists());
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let root = tempfile::tempdir().expect("a folder");
        fs::write(root.path().join("audit"), "").expect("written");
        let error = check_below(root.path(), "audit/{{ vendor }}.ndjson").expect_err("a file");
        assert!(error.to_string().contains("audit"), "{error}");
    }
}
