//! The files that a pipeline is read from.
//!
//! ```text
//! arguments: files, directories --expanded--> pipeline files --read--> texts by number (in `Diagnostics`)
//!                                                             +------> directories of relative paths, own paths, hashes
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::node::TextSpan;
use crate::sinks::claims::OwnPath;

/// The hash of a file's contents; `None` if it cannot be read.
pub(crate) type FileDigest = Option<[u8; 32]>;

/// The hashes of several files, by path. Links are followed.
pub(crate) type FileDigests = BTreeMap<PathBuf, FileDigest>;

/// The files of one pipeline, as a user names them: files, and directories of files. `Display` writes them as arguments.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct PipelineFiles {
    /// The files of the pipeline; of a directory, its *.yaml and *.yml files
    #[arg(required = true, num_args = 1.., value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl PipelineFiles {
    /// Several files and directories, in this order.
    #[must_use]
    pub fn new(files: Vec<PathBuf>) -> Self {
        Self { files }
    }

    /// The pipeline's name: that of the first file or directory, without what is before and behind it.
    pub(super) fn name(&self) -> String {
        let first = self.files.first().cloned().unwrap_or_default();
        let whole = if first.file_name().is_some() { first } else { std::fs::canonicalize(&first).unwrap_or(first) };
        let name = if whole.is_dir() { whole.file_name() } else { whole.file_stem() };
        name.map_or_else(|| self.to_string(), |name| name.to_string_lossy().into_owned())
    }

    /// Whether a user names several files or directories, so that their order is no more than the order of arguments.
    pub(super) fn are_several(&self) -> bool {
        self.files.len() > 1
    }

    /// Where relative paths start that no file sets: the first directory, or the directory of the first file.
    pub(super) fn directory(&self) -> PathBuf {
        let first = self.files.first().map_or(Path::new(""), PathBuf::as_path);
        if first.is_dir() { first.to_owned() } else { directory_of(first) }
    }

    /// The files, with those of a directory in its place, by name; hidden files and subdirectories are left out. Each file once.
    ///
    /// # Errors
    /// A directory cannot be read, or has no such file.
    pub(crate) fn expanded(&self) -> Result<Vec<PathBuf>, Vec<Diagnostic>> {
        let (mut expanded, mut errors, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for path in &self.files {
            match path.is_dir() {
                true => expanded.extend(files_in(path, &mut errors)),
                false => expanded.push(path.clone()),
            }
        }
        expanded.retain(|file| seen.insert(std::fs::canonicalize(file).unwrap_or_else(|_| file.clone())));
        if errors.is_empty() { Ok(expanded) } else { Err(errors) }
    }
}

impl<P: Into<PathBuf>> From<P> for PipelineFiles {
    fn from(file: P) -> Self {
        Self::new(vec![file.into()])
    }
}

impl fmt::Display for PipelineFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.files.iter().map(|file| file.display().to_string()).collect();
        f.write_str(&names.join(" "))
    }
}

fn files_in(directory: &Path, errors: &mut Vec<Diagnostic>) -> Vec<PathBuf> {
    let name = directory.display().to_string();
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        Ok(entries.into_iter().map(|entry| entry.path()).filter(|path| is_pipeline_file(path)).collect())
    };
    let mut files = match list() {
        Ok(files) if files.is_empty() => {
            let hint = "put *.yaml or *.yml files into it, or name the pipeline's files or another directory";
            errors.push(Diagnostic::of_file(&name, "the directory has no pipeline files".to_owned(), hint.to_owned()));
            files
        }
        Ok(files) => files,
        Err(error) => {
            let hint = "check the path and its permissions".to_owned();
            errors.push(Diagnostic::of_file(&name, format!("cannot read the directory: {error}"), hint));
            Vec::new()
        }
    };
    files.sort_unstable();
    files
}

/// Whether a file of a directory is one of the pipeline. A link that leads nowhere is: reading it reports that.
fn is_pipeline_file(path: &Path) -> bool {
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    is_yaml && !is_hidden && !path.is_dir()
}

fn directory_of(file: &Path) -> PathBuf {
    file.parent().unwrap_or_else(|| Path::new("")).to_owned()
}

/// The files as they were read, by the number that spans have.
#[derive(Debug, Default)]
pub(super) struct ReadFiles {
    list: Vec<ReadFile>,
    /// What was read, and what could not be.
    pub(super) digests: FileDigests,
}

#[derive(Debug)]
struct ReadFile {
    directory: PathBuf,
    own: Option<OwnPath>,
}

/// What a list of sources is, for people.
pub(super) const LIST: &str = "a list of sources";

/// Opening a pipe would wait for a writer, in the middle of a reload.
fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    std::fs::read(path)
}

impl ReadFiles {
    /// Reads a file; `what` it is, for people. Returns its number.
    pub(super) fn read(
        &mut self,
        path: &Path,
        what: &'static str,
        diagnostics: &mut Diagnostics,
    ) -> Result<usize, io::Error> {
        let bytes = if what == LIST { read_regular(path) } else { std::fs::read(path) };
        let digest = bytes.as_ref().ok().map(|bytes| Sha256::digest(bytes).into());
        self.digests.insert(path.to_owned(), digest);
        let text = String::from_utf8(bytes?).map_err(|_| io::Error::other("it is not UTF-8 text"))?;
        let own = OwnPath { path: path.to_owned(), what };
        self.list.push(ReadFile { directory: directory_of(path), own: Some(own) });
        Ok(diagnostics.add_file(path.display().to_string(), &text))
    }

    /// Adds a text that is in no file. Returns its number.
    pub(super) fn add(&mut self, name: &str, text: &str, directory: &Path, diagnostics: &mut Diagnostics) -> usize {
        self.list.push(ReadFile { directory: directory.to_owned(), own: None });
        diagnostics.add_file(name.to_owned(), text)
    }

    /// Where the relative paths of a file start.
    pub(super) fn directory(&self, span: TextSpan) -> &Path {
        self.list.get(span.file).map_or(Path::new(""), |file| &file.directory)
    }

    /// The files, which no sink may write to.
    pub(super) fn own_paths(&self) -> impl Iterator<Item = OwnPath> {
        self.list.iter().filter_map(|file| file.own.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_directory_stands_for_its_yaml_files_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        for name in ["b.yaml", "a.yml", "z.yaml", ".hidden.yaml", "notes.txt", "README"] {
            fs::write(path(name), "").expect("written");
        }
        fs::create_dir_all(path("more.yaml")).expect("a directory");
        fs::write(path("more.yaml/deep.yaml"), "").expect("written");
        symlink("b.yaml", path("c.yaml")).expect("linked");
        let files = PipelineFiles::new(vec![path("z.yaml"), directory.path().to_owned()]);
        let expanded = files.expanded().expect("files");
        assert_eq!(expanded, [path("z.yaml"), path("a.yml"), path("b.yaml")], "each file once");
    }

    #[test]
    fn the_first_file_or_directory_gives_the_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let tenants = directory.path().join("tenants.d");
        fs::create_dir(&tenants).expect("a directory");
        let name = |path: &Path| PipelineFiles::new(vec![path.to_owned(), "other.yaml".into()]).name();
        assert_eq!(name(&tenants), "tenants.d");
        assert_eq!(name(&tenants.join(".")), "tenants.d");
        assert_eq!(name(Path::new("here/acme.yaml")), "acme");
    }
}
