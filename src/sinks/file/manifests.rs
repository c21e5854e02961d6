//! `manifest: true`: what each batch has appended to which file, one small file a batch, each with the hash of the one before.
//!
//! ```text
//! audit/                              the fixed beginning of `path`
//!   clumio/2026-11-21.ndjson          bytes 0..812 of batch 1, bytes 812..1610 of batch 2
//!   _manifests/acme-archive/
//!     3f9a1c02-<first>-<last>.json    written last and made durable before the batch counts as delivered
//! ```
//!
//! Names and form are those of the `s3` sink. The hash of the newest manifest is kept in the journal, so a chain whose end
//! somebody removed is not mended by the next batch.

use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, fault};
use super::undo;
use crate::journal::{RollbackRecord, Seq};
use crate::sinks::manifest::{MANIFEST_VERSION, Manifest, ManifestObject, name_of, sha256_hex};
use crate::sinks::registry::SinkName;
use crate::sinks::template::push_safe;
use crate::sinks::{BatchRange, SinkError};

/// The manifests of one file sink.
#[derive(Debug)]
pub(super) struct Manifests {
    pipeline: String,
    sink: String,
    /// Paths in manifests begin here.
    base: PathBuf,
    folder: PathBuf,
    journal: String,
    generation: u64,
    /// The hash of the manifest before the batch in hand.
    previous: Option<String>,
    /// The last event of the manifest that was written last, and its hash: whether its batch stands is known when another
    /// one begins.
    latest: Option<(Seq, String)>,
}

/// A manifest that is not written yet.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Manifests {
    /// Those of the sink whose files all lie below `base`.
    pub(super) fn new(base: PathBuf, name: SinkName<'_>) -> Self {
        let folder = base.join("_manifests").join(safe(name));
        let (pipeline, sink) = (name.pipeline.to_owned(), name.sink.to_owned());
        Self { pipeline, sink, base, folder, journal: String::new(), generation: 0, previous: None, latest: None }
    }

    /// The sequence numbers to come are of this journal.
    pub(super) fn use_journal(&mut self, journal: &str) {
        journal.clone_into(&mut self.journal);
    }

    /// The sequence numbers to come are of this generation.
    pub(super) fn use_generation(&mut self, generation: u64) {
        self.generation = generation;
    }

    /// The hash of the newest manifest, by the journal.
    pub(super) fn follow(&mut self, hash: &str) {
        self.previous = Some(hash.to_owned());
    }

    /// The hash of the manifest that was written last, for the journal.
    pub(super) fn latest(&self) -> Option<&str> {
        self.latest.as_ref().map(|(_, hash)| hash.as_str())
    }

    /// A batch begins. If it comes behind the latest manifest, that one stands; else it was undone.
    pub(super) fn begin(&mut self, range: BatchRange) {
        let stands = self.latest.take().filter(|(last, _)| *last < range.first);
        if let Some((_, hash)) = stands {
            self.previous = Some(hash);
        }
    }

    /// A file's path as manifests give it: below the folder that holds `_manifests`, so that the whole can be moved.
    pub(super) fn key(&self, path: &Path) -> String {
        path.strip_prefix(&self.base).unwrap_or(path).to_string_lossy().into_owned()
    }

    /// The manifest of the batch `range` with these pieces of files.
    pub(super) fn draft(&self, range: BatchRange, objects: &[ManifestObject]) -> Draft {
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
        Draft { path: self.folder.join(self.name_of(range)), bytes: manifest.encode() }
    }

    fn name_of(&self, range: BatchRange) -> String {
        name_of(&self.journal, self.generation, range.first, range.last) + ".json"
    }

    /// The manifest is written and durable.
    pub(super) fn written(&mut self, draft: &Draft, range: BatchRange) {
        self.latest = Some((range.last, sha256_hex(&draft.bytes)));
    }
}

impl Draft {
    /// What must be recorded before it is written.
    ///
    /// # Errors
    /// It is there already, so the batch's lines most likely are too.
    pub(super) fn output(&self, disk: &dyn Disk) -> Result<RollbackRecord, SinkError> {
        match disk.state(&self.path).map_err(|error| fault("look at", &self.path, &error))? {
            None => undo::planned(disk, &self.path, None),
            Some(_) => Err(written_before(&self.path)),
        }
    }

    /// Writes it and makes it durable; returns its length in bytes.
    pub(super) fn write(&self, disk: &dyn Disk, output: &RollbackRecord) -> Result<u64, SinkError> {
        let durable = || -> io::Result<()> {
            if let Some(folder) = self.path.parent() {
                disk.make_folders(folder)?;
            }
            let mut file = disk.open(&self.path)?;
            file.append(&self.bytes)?;
            file.sync()?;
            undo::folders_of_new_file(&self.path, output).iter().try_for_each(|folder| disk.sync_folder(folder))
        };
        durable().map_err(|error| fault("write the manifest", &self.path, &error))?;
        Ok(u64::try_from(self.bytes.len()).unwrap_or(u64::MAX))
    }
}

fn written_before(path: &Path) -> SinkError {
    SinkError::Stopped {
        message: format!("the manifest {} of this batch is there already", path.display()),
        hint: "if the journal was restored from a backup, the batches since then are already in the files: move the files \
               and their `_manifests` folder away, or give the sink another `path`, then start again"
            .to_owned(),
    }
}

fn safe(name: SinkName<'_>) -> String {
    let mut folder = String::new();
    push_safe(name.pipeline, &mut folder);
    folder.push('-');
    push_safe(name.sink, &mut folder);
    folder
}
