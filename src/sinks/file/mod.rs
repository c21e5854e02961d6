//! The file sink: NDJSON files, each batch appended exactly once.
//!
//! ```text
//! event -> path (template) -> buffer of that path -> flush: piece (compressed) -> file chosen (rotation)
//!                                                           recorded in the plan: absolute path, length before
//!                                                           appended
//!                                              commit: fsync files, fsync folders with new names
//! undo: each recorded file cut back to its length before, or removed
//! ```
//!
//! With `manifest: true` a batch's last output is a manifest of what it has appended to which file.
//!
//! Between batches nothing is open and nothing of the files is remembered: the folder is the truth, so files may be moved away or
//! removed at any time but the middle of a batch. What users should know is in `docs/files.md`.

mod append;
mod config;
mod disk;
mod manifests;
mod partitions;
mod reach;
mod rotation;
#[cfg(test)]
mod tests;
mod undo;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub(in crate::sinks) use append::LocalAppend;
pub use config::{FileConfig, RotateOptions};
pub use undo::undo_local_files;

use self::disk::{Disk, LocalDisk, fault};
use self::manifests::Manifests;
use self::partitions::Partitions;
use self::rotation::{Pins, Rotation};
use self::writer::{Appended, Batch, Circumstances, Piece};
use super::blocking::blocking;
use super::compression::Compression;
use super::encoding::{EncodingOptions, push_line};
use super::foreign::undo_foreign;
use super::manifest::ManifestObject;
use super::registry::SinkName;
use super::template::{PathCache, Template};
use super::{BatchRange, EventForm, PlanLog, Sink, SinkError, Written};
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::journal::{RollbackRecord, Seq};

/// Bytes in buffers at which they are written out; less than the second-level cache of a processor core.
const FLUSH_BYTES: usize = 512 << 10;
/// Bytes of each path that are worth a write.
const WRITE_BYTES: usize = 64 << 10;
const MAX_FLUSH_BYTES: usize = 8 << 20;

/// Writes events to files.
#[derive(Debug)]
pub struct FileSink {
    template: Template,
    /// Relative paths begin here.
    root: PathBuf,
    compression: Compression,
    encoding: EncodingOptions,
    rotation: Rotation,
    fingerprint: String,
    clock: SharedClock,
    disk: Arc<dyn Disk>,
    cache: PathCache,
    partitions: Partitions,
    range: BatchRange,
    batch: Batch,
    manifests: Option<Manifests>,
    /// Files of the batch that was undone last.
    pins: Pins,
}

impl FileConfig {
    /// Builds the sink. The clock tells how old a file is, for `rotate.max_age_secs`; the name stands in manifests.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    pub fn build(&self, clock: SharedClock, name: SinkName<'_>) -> Result<FileSink, Vec<SettingDiagnostic>> {
        self.build_on(clock, name, Arc::new(LocalDisk))
    }

    fn build_on(
        &self,
        clock: SharedClock,
        name: SinkName<'_>,
        disk: Arc<dyn Disk>,
    ) -> Result<FileSink, Vec<SettingDiagnostic>> {
        let problems = self.check();
        let (Ok(template), []) = (Template::parse(&self.path), problems.as_slice()) else { return Err(problems) };
        let root = current_folder()?;
        let manifests =
            self.manifest.then(|| Manifests::new(root.join(reach::fixed_folder(template.fixed_start())), name));
        Ok(FileSink {
            template,
            root,
            compression: self.compression,
            encoding: self.encoding,
            rotation: self.rotation(),
            fingerprint: self.fingerprint(),
            clock,
            disk,
            cache: PathCache::default(),
            partitions: Partitions::default(),
            range: BatchRange { first: 0, last: 0 },
            batch: Batch::default(),
            manifests,
            pins: Pins::default(),
        })
    }
}

/// Paths are recorded as absolute text, so that a restart in another folder undoes the right files.
fn current_folder() -> Result<PathBuf, Vec<SettingDiagnostic>> {
    let problem = |message: String| {
        let hint = "start auditflow in a folder that exists and whose name is valid UTF-8".to_owned();
        vec![SettingDiagnostic { key: "path".to_owned(), message, hint }]
    };
    let folder = std::env::current_dir().map_err(|error| problem(format!("there is no current folder: {error}")))?;
    if folder.to_str().is_none() {
        return Err(problem(format!("the current folder {} cannot be written as text", folder.display())));
    }
    Ok(folder)
}

impl FileSink {
    fn take_pieces(&mut self) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        for partition in self.partitions.take() {
            let base = self.root.join(&partition.path);
            let piece = self.compression.piece(partition.lines);
            let bytes = piece.map_err(|error| fault("compress lines for", &base, &error))?;
            pieces.push(Piece { base, bytes, events: partition.events });
        }
        Ok(pieces)
    }

    fn choose_files(&mut self, pieces: &[Piece]) -> Result<Vec<RollbackRecord>, SinkError> {
        let around = Circumstances {
            disk: self.disk.as_ref(),
            rotation: self.rotation,
            pins: &self.pins,
            now: self.clock.now(),
        };
        self.batch.choose(&around, pieces)
    }

    async fn write_out(&mut self, plan: &mut dyn PlanLog) -> Result<(), SinkError> {
        let pieces = blocking(|| self.take_pieces())?;
        let outputs = blocking(|| self.choose_files(&pieces))?;
        if !outputs.is_empty() {
            plan.record(outputs).await?;
        }
        blocking(|| self.batch.write(self.disk.as_ref(), &pieces))?;
        pieces.into_iter().for_each(|piece| self.partitions.reuse(piece.bytes));
        Ok(())
    }

    /// Writes the manifest of the batch and makes it durable; returns its length in bytes. A batch without files has none.
    async fn write_manifest(&mut self, plan: &mut dyn PlanLog) -> Result<u64, SinkError> {
        let Some(manifests) = &mut self.manifests else { return Ok(0) };
        let objects = objects(&self.batch, manifests);
        if objects.is_empty() {
            return Ok(0);
        }
        let disk = self.disk.as_ref();
        let draft = manifests.draft(self.range, &objects);
        let output = blocking(|| draft.output(disk))?;
        plan.record(vec![output.clone()]).await?;
        let bytes = blocking(|| draft.write(disk, &output))?;
        manifests.written(&draft, self.range);
        Ok(bytes)
    }
}

fn objects(batch: &Batch, manifests: &Manifests) -> Vec<ManifestObject> {
    let object = |piece: Appended<'_>| ManifestObject {
        key: manifests.key(piece.path),
        offset: Some(piece.offset),
        size: piece.size,
        sha256: piece.sha256,
        rows: piece.events.count,
        first_time: piece.events.first_time,
        last_time: piece.events.last_time,
    };
    batch.appended().map(object).collect()
}

impl Sink for FileSink {
    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn begin(&mut self, range: BatchRange) {
        self.range = range;
        self.partitions.forget();
        self.batch = Batch::new(self.manifests.is_some());
        if let Some(manifests) = &mut self.manifests {
            manifests.begin(range);
        }
    }

    fn absorb(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), SinkError> {
        let (path, changed) = self.cache.render(&self.template, event);
        let time = event.timestamp.at;
        self.partitions.append(path, !changed, time, |lines| push_line(event, form, self.encoding, lines));
        self.batch.written.events += 1;
        Ok(())
    }

    fn buffered_bytes(&self) -> usize {
        self.partitions.bytes()
    }

    /// What fits into a processor's cache is written before it leaves it. With many paths, enough for each that a write is
    /// worth its call; with compression, enough for a piece to compress well; with a size to rotate at, enough to tell how
    /// much of the batch is to come.
    fn flush_bytes(&self) -> usize {
        match self.compression {
            Compression::None if self.rotation.max_bytes.is_none() => {
                (self.partitions.len() * WRITE_BYTES).clamp(FLUSH_BYTES, MAX_FLUSH_BYTES)
            }
            Compression::None | Compression::Gzip | Compression::Zstd => MAX_FLUSH_BYTES,
        }
    }

    fn flush<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.write_out(plan))
    }

    fn commit<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<Written, SinkError>> {
        Box::pin(async move {
            self.write_out(plan).await?;
            let mut written = blocking(|| self.batch.make_durable(self.disk.as_ref()))?;
            written.bytes += self.write_manifest(plan).await?;
            self.batch = Batch::default();
            self.pins = Pins::default();
            self.partitions = Partitions::default();
            Ok(written)
        })
    }

    fn memo(&self) -> Option<String> {
        self.manifests.as_ref()?.latest().map(str::to_owned)
    }

    fn use_generation(&mut self, generation: u64) {
        if let Some(manifests) = &mut self.manifests {
            manifests.use_generation(generation);
        }
    }

    fn remember(&mut self, memo: &str) {
        if let Some(manifests) = &mut self.manifests {
            manifests.follow(memo);
        }
    }

    fn undo<'a>(&'a mut self, outputs: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.partitions.forget();
            self.batch = Batch::default();
            let (files, others): (Vec<_>, Vec<_>) =
                outputs.iter().cloned().partition(|output| Path::new(&output.name).is_absolute());
            blocking(|| undo::undo(self.disk.as_ref(), &files))?;
            undo_foreign(&others)?;
            self.pins = Pins::of(outputs);
            Ok(())
        })
    }

    fn resume<'a>(&'a mut self, journal: &'a str) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        if let Some(manifests) = &mut self.manifests {
            manifests.use_journal(journal);
        }
        Box::pin(std::future::ready(Ok(None)))
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(std::future::ready(reach::check(&self.root, &self.template)))
    }
}
