//! The sink itself.
//!
//! ```text
//! event -> path (template) -> buffer of that path -> flush: piece (compressed) -> file (rotation)
//!                                                           recorded: absolute path, length before
//!                                                           appended
//!                                              commit: fsync files, fsync directories with new entries
//! rollback: each recorded file is truncated to its length before, or removed
//! ```
//!
//! Before its first write a batch compares the marker beside the files (`marker`); after its last one it updates it. With
//! `manifest: true` the last output of a batch is a manifest that lists what the batch appended to which file.
//!
//! Between batches no file is open and no file's state is kept: the directory is the source of truth. Files may be moved or
//! removed at any time except during a batch.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::config::FileConfig;
use super::manifests::Manifests;
use super::marker::FileMarker;
use super::rotation::{Pins, Rotation};
use super::writer::{Appended, Batch, Partitions, Piece, WriteContext};
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::{Event, EventId};
use crate::journal::{FileRecord, RollbackRecord, Seq};
use crate::sinks::blocking::blocking;
use crate::sinks::claims::{Claims, real_path};
use crate::sinks::compression::Compression;
use crate::sinks::disk::{Disk, LocalDisk, check_appendable, check_writable, io_error};
use crate::sinks::encoding::{EncodingOptions, push_line};
use crate::sinks::local_files;
use crate::sinks::manifest::ManifestObject;
use crate::sinks::orphans::{has_marker, not_an_output, roll_back_orphans};
use crate::sinks::registry::SinkName;
use crate::sinks::template::{PathCache, Template};
use crate::sinks::verify::LocalOutputs;
use crate::sinks::{BatchRange, Committed, EventForm, RollbackLog, Sink, SinkError, StoredPosition, WriteOutcome};

/// Buffered bytes at which the buffers are written out; smaller than the second-level cache of a processor core.
const FLUSH_BYTES: usize = 512 << 10;
/// Bytes per path that are worth one write call.
const WRITE_BYTES: usize = 64 << 10;
const MAX_FLUSH_BYTES: usize = 8 << 20;

/// Writes events to files.
#[derive(Debug)]
pub struct FileSink {
    template: Template,
    /// The base of relative paths.
    pub(super) root: PathBuf,
    compression: Compression,
    encoding: EncodingOptions,
    rotation: Rotation,
    fingerprint: String,
    clock: SharedClock,
    disk: Arc<dyn Disk>,
    cache: PathCache,
    partitions: Partitions,
    range: BatchRange,
    /// Events written in this batch.
    events: u64,
    pub(super) batch: Batch,
    manifests: Option<Manifests>,
    marker: FileMarker,
    claims: Claims,
    /// The files of the batch that was rolled back last.
    pins: Pins,
}

impl FileConfig {
    /// Builds the sink. The clock gives the age of a file for `rotate.max_age`; the name is part of manifests.
    ///
    /// # Errors
    /// Every invalid setting.
    pub fn build(&self, clock: SharedClock, name: SinkName<'_>) -> Result<FileSink, Vec<SettingDiagnostic>> {
        self.build_on(clock, name, Arc::new(LocalDisk::new(self.file_mode)))
    }

    /// What the sink has written; `None` without manifests.
    pub(in crate::sinks) fn outputs(&self, name: SinkName<'_>) -> Result<Option<LocalOutputs>, Vec<SettingDiagnostic>> {
        let (true, Ok(template)) = (self.manifest, Template::parse(&self.path)) else { return Ok(None) };
        let base = self.absolute_root()?.join(template.fixed_directory());
        let manifests = Manifests::directory(&base, name);
        Ok(Some(LocalOutputs::new(base, manifests)))
    }

    pub(super) fn build_on(
        &self,
        clock: SharedClock,
        name: SinkName<'_>,
        disk: Arc<dyn Disk>,
    ) -> Result<FileSink, Vec<SettingDiagnostic>> {
        let problems = self.check();
        let (Ok(template), []) = (Template::parse(&self.path), problems.as_slice()) else { return Err(problems) };
        let root = self.absolute_root()?;
        let base = root.join(template.fixed_directory());
        let manifests = self.manifest.then(|| Manifests::new(base.clone(), name));
        let marker = FileMarker::new(&template, &root, base, name);
        Ok(FileSink {
            template,
            root,
            compression: self.compression,
            encoding: self.encoding,
            rotation: self.rotation(),
            fingerprint: self.fingerprint(),
            clock,
            disk,
            cache: PathCache::limited(),
            partitions: Partitions::default(),
            range: BatchRange { first: 0, last: 0 },
            events: 0,
            batch: Batch::default(),
            manifests,
            marker,
            claims: Claims::new(name.pipeline, name.sink),
            pins: Pins::default(),
        })
    }
}

impl FileSink {
    /// Written out before it leaves the processor's cache. With many paths, enough per path to be worth a write call; with
    /// compression, enough for a piece to compress well; with rotation by size, enough to estimate the rest of the batch.
    fn flush_bytes(&self) -> usize {
        match self.compression {
            Compression::None if self.rotation.max_bytes.is_none() => {
                (self.partitions.len() * WRITE_BYTES).clamp(FLUSH_BYTES, MAX_FLUSH_BYTES)
            }
            Compression::None | Compression::Gzip | Compression::Zstd => MAX_FLUSH_BYTES,
        }
    }

    fn take_pieces(&mut self) -> Result<Vec<Piece>, SinkError> {
        let mut pieces = Vec::new();
        for partition in self.partitions.take() {
            let base = self.root.join(&partition.path);
            let piece = self.compression.piece(partition.lines);
            let bytes = piece.map_err(|error| io_error("compress lines for", &base, &error))?;
            pieces.push(Piece { base, bytes, events: partition.events });
        }
        Ok(pieces)
    }

    /// The marker is written last: an output that is refused shows nothing of this journal.
    fn expect_own(&mut self, pieces: &[Piece]) -> Result<(), SinkError> {
        let disk = self.disk.as_ref();
        pieces.iter().try_for_each(|piece| self.marker.expect_own(disk, &piece.base))?;
        self.marker.compare(disk)
    }

    fn choose_files(&mut self, pieces: &[Piece]) -> Result<Vec<RollbackRecord>, SinkError> {
        let context = WriteContext {
            disk: self.disk.as_ref(),
            rotation: self.rotation,
            pins: &self.pins,
            claims: &self.claims,
            now: self.clock.now(),
        };
        self.batch.choose(&context, pieces)
    }

    /// Whether the files could be written now, and are this journal's. Of files that events name, only those events show more.
    fn check(&mut self, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        let file = self.template.fixed_name().map(|file| self.root.join(file));
        check_writable(self.marker.base())?;
        file.as_deref().map_or(Ok(()), check_appendable)?;
        let disk = self.disk.as_ref();
        self.marker.restore(disk, stored)?;
        file.map_or(Ok(()), |file| self.marker.expect_own(disk, &file))
    }

    async fn write_out(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        let pieces = blocking(|| self.take_pieces())?;
        if !pieces.is_empty() {
            blocking(|| self.expect_own(&pieces))?;
        }
        let records = blocking(|| self.choose_files(&pieces))?;
        if !records.is_empty() {
            log.record(records).await?;
        }
        blocking(|| self.batch.write(self.disk.as_ref(), &pieces))?;
        pieces.into_iter().for_each(|piece| self.partitions.reuse(piece.bytes));
        Ok(())
    }

    /// Writes the manifest of the batch, makes it durable and returns its length in bytes. A batch without files has none.
    async fn write_manifest(&mut self, log: &mut dyn RollbackLog) -> Result<u64, SinkError> {
        let Some(manifests) = &mut self.manifests else { return Ok(0) };
        let objects = objects(&self.batch, manifests);
        if objects.is_empty() {
            return Ok(0);
        }
        let disk = self.disk.as_ref();
        let manifest = manifests.encode(self.range, &objects);
        let record = blocking(|| manifest.record(disk))?;
        log.record(vec![RollbackRecord::File(record.clone())]).await?;
        let bytes = blocking(|| manifest.write(disk, &record))?;
        manifests.written(&manifest, self.range);
        Ok(bytes)
    }

    async fn finish(&mut self, log: &mut dyn RollbackLog) -> Result<Committed, SinkError> {
        self.write_out(log).await?;
        let mut bytes = blocking(|| self.batch.sync(self.disk.as_ref()))?;
        bytes += self.write_manifest(log).await?;
        if bytes > 0 {
            blocking(|| self.marker.commit(self.disk.as_ref(), self.range))?;
        }
        self.batch = Batch::default();
        self.pins = Pins::default();
        self.partitions = Partitions::default();
        let state = self.manifests.as_ref().and_then(Manifests::latest).map(str::to_owned);
        Ok(Committed { events: self.events, bytes, state })
    }

    fn roll_back(&mut self, records: &[RollbackRecord]) -> Result<(), SinkError> {
        self.partitions.discard();
        self.batch = Batch::default();
        let (mut files, mut others): (Vec<&FileRecord>, Vec<RollbackRecord>) = (Vec::new(), Vec::new());
        for record in records {
            match record {
                RollbackRecord::File(file) => files.push(file),
                other => others.push(other.clone()),
            }
        }
        blocking(|| {
            files.iter().try_for_each(|file| self.expect_output(file))?;
            local_files::roll_back(self.disk.as_ref(), &files)?;
            self.marker.roll_back(self.disk.as_ref(), &files)
        })?;
        roll_back_orphans(&others)?;
        self.pins = Pins::of(files.iter().map(|file| file.path.as_path()));
        Ok(())
    }
}

impl FileSink {
    /// A record in the journal is not a reason to touch a file: it must be below the directory of this sink's files, or this
    /// journal's marker must be beside it, from an earlier `path`.
    fn expect_output(&self, file: &FileRecord) -> Result<(), SinkError> {
        self.claims.claim(&file.path)?;
        let is_below = real_path(&file.path).starts_with(real_path(self.marker.base()));
        let journal = self.marker.journal();
        if is_below || (!journal.is_empty() && has_marker(&file.path, |other| other == journal)) {
            return Ok(());
        }
        Err(not_an_output(&file.path))
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
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn healthcheck<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(blocking(|| self.check(stored))))
    }

    fn recover_position<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        if let Some(manifests) = &mut self.manifests {
            manifests.restore(stored);
        }
        let compared = blocking(|| self.marker.restore(self.disk.as_ref(), stored));
        Box::pin(std::future::ready(compared.map(|()| None)))
    }

    fn adopt<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(blocking(|| self.marker.adopt(self.disk.as_ref(), stored))))
    }

    fn begin(&mut self, range: BatchRange) {
        self.range = range;
        self.events = 0;
        self.partitions.discard();
        self.cache.begin();
        self.marker.begin(range);
        self.batch = Batch::new(self.manifests.is_some());
        if let Some(manifests) = &mut self.manifests {
            manifests.begin(range);
        }
    }

    fn write(&mut self, _seq: Seq, event: &Event<'_>, form: EventForm) -> Result<WriteOutcome, SinkError> {
        let (path, changed) = self.cache.render(&self.template, event);
        let time = event.timestamp;
        self.partitions.append(path, !changed, time, |lines| push_line(event, form, self.encoding, lines));
        self.events += 1;
        Ok(if self.partitions.bytes() > self.flush_bytes() { WriteOutcome::FlushDue } else { WriteOutcome::Buffered })
    }

    fn flush<'a>(&'a mut self, log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.write_out(log))
    }

    fn commit<'a>(
        &'a mut self,
        _last_event: Option<EventId>,
        log: &'a mut dyn RollbackLog,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(self.finish(log))
    }

    fn prepare_retry<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        self.rollback(records)
    }

    fn rollback<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move { self.roll_back(records) })
    }
}
