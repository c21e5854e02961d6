//! `manifest: true`: what each batch appended to which file, one small file per batch, each with the hash of the previous one.
//!
//! ```text
//! audit/                              the fixed start of `path`
//!   clumio/2026-11-21.ndjson          bytes 0..812 of batch 1, bytes 812..1610 of batch 2
//!   _manifests/acme-archive/
//!     3f9a1c02-<first>-<last>.json    written last and made durable before the batch counts as delivered
//! ```
//!
//! Names and form are those of the `s3` sink. The journal stores the hash of the newest manifest, so that a chain whose end
//! was removed stays broken.

use std::io;
use std::path::{Path, PathBuf};

use crate::journal::{FileRecord, Seq};
use crate::sinks::disk::{Disk, io_error};
use crate::sinks::local_files::{changed_directories, record_of};
use crate::sinks::manifest::{MANIFEST_VERSION, Manifest, ManifestObject, name_of, sha256_hex};
use crate::sinks::registry::SinkName;
use crate::sinks::template::push_sanitized;
use crate::sinks::{BatchRange, SinkError, StoredPosition};

/// The manifests of one file sink.
#[derive(Debug)]
pub(super) struct Manifests {
    pipeline: String,
    sink: String,
    /// The base of the paths in manifests.
    base: PathBuf,
    directory: PathBuf,
    journal: String,
    generation: u64,
    /// The hash of the manifest before the current batch.
    previous: Option<String>,
    /// The last event and the hash of the newest manifest. The next batch shows whether its batch was kept.
    latest: Option<(Seq, String)>,
}

/// A manifest that is not written yet.
#[derive(Debug)]
pub(super) struct EncodedManifest {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Manifests {
    /// Manifests of a sink whose files are all below `base`.
    pub(super) fn new(base: PathBuf, name: SinkName<'_>) -> Self {
        let directory = Self::directory(&base, name);
        let (pipeline, sink) = (name.pipeline.to_owned(), name.sink.to_owned());
        Self { pipeline, sink, base, directory, journal: String::new(), generation: 0, previous: None, latest: None }
    }

    /// Where the manifests of a sink are.
    pub(super) fn directory(base: &Path, name: SinkName<'_>) -> PathBuf {
        base.join("_manifests").join(sanitized(name))
    }

    /// Continues the chain of the journal's newest manifest, under the journal's identity and the sink's generation.
    pub(super) fn restore(&mut self, stored: StoredPosition<'_>) {
        stored.journal.clone_into(&mut self.journal);
        self.generation = stored.generation;
        self.previous = stored.state.map(str::to_owned);
    }

    /// The hash of the manifest that was written last, for the journal.
    pub(super) fn latest(&self) -> Option<&str> {
        self.latest.as_ref().map(|(_, hash)| hash.as_str())
    }

    /// Starts a batch. If it begins after the latest manifest, that manifest was kept; otherwise it was rolled back.
    pub(super) fn begin(&mut self, range: BatchRange) {
        let kept = self.latest.take().filter(|(last, _)| *last < range.first);
        if let Some((_, hash)) = kept {
            self.previous = Some(hash);
        }
    }

    /// A file's path in manifests: relative to the directory that holds `_manifests`, so that the whole tree can be moved.
    pub(super) fn key(&self, path: &Path) -> String {
        path.strip_prefix(&self.base).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// The manifest of the batch `range`, which appended these pieces.
    pub(super) fn encode(&self, range: BatchRange, objects: &[ManifestObject]) -> EncodedManifest {
        let manifest = Manifest {
            manifest_version: MANIFEST_VERSION,
            pipeline: &self.pipeline,
            sink: &self.sink,
            journal: &self.journal,
            generation: self.generation,
            first: range.first,
            last: range.last,
            rows: objects.iter().map(|object| object.rows).sum(),
            objects,
            previous: self.previous.as_deref(),
        };
        EncodedManifest { path: self.directory.join(self.name_of(range)), bytes: manifest.encode() }
    }

    fn name_of(&self, range: BatchRange) -> String {
        name_of(&self.journal, self.generation, range.first, range.last) + ".json"
    }

    /// Notes that the manifest is durable.
    pub(super) fn written(&mut self, manifest: &EncodedManifest, range: BatchRange) {
        self.latest = Some((range.last, sha256_hex(&manifest.bytes)));
    }
}

impl EncodedManifest {
    /// The rollback record, to be stored before the manifest is written.
    ///
    /// # Errors
    /// The manifest exists already, so the batch's lines most likely do too.
    pub(super) fn record(&self, disk: &dyn Disk) -> Result<FileRecord, SinkError> {
        match disk.state(&self.path).map_err(|error| io_error("inspect", &self.path, &error))? {
            None => record_of(disk, &self.path, None),
            Some(_) => Err(exists_already(&self.path)),
        }
    }

    /// Writes the manifest, makes it durable and returns its length in bytes.
    pub(super) fn write(&self, disk: &dyn Disk, record: &FileRecord) -> Result<u64, SinkError> {
        let durable = || -> io::Result<()> {
            if let Some(directory) = self.path.parent() {
                disk.create_directories(directory)?;
            }
            let mut file = disk.open(&self.path)?;
            file.append(&self.bytes)?;
            file.sync()?;
            changed_directories(&self.path, record).iter().try_for_each(|directory| disk.sync_directory(directory))
        };
        durable().map_err(|error| io_error("write the manifest", &self.path, &error))?;
        Ok(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }
}

fn exists_already(path: &Path) -> SinkError {
    SinkError::Stopped {
        message: format!("the manifest {} of this batch exists already", path.display()),
        hint: "if the journal was restored from a backup, the batches since then are already in the files: move the files \
               and their `_manifests` directory away, or give the sink another `path`, then start again"
            .to_owned(),
    }
}

fn sanitized(name: SinkName<'_>) -> String {
    let mut directory = String::new();
    push_sanitized(name.pipeline, &mut directory);
    directory.push('-');
    push_sanitized(name.sink, &mut directory);
    directory
}
