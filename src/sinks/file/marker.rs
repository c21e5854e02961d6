//! The marker of the files of a sink, in a hidden directory. Its name is made from the rest of `path`, so that two sinks may
//! share a directory, and two journals may not share files.
//!
//! ```text
//! path: out/%F.ndjson     the sink creates out/:    .auditflow/0f3a9c11.json        readers of out/* meet events alone
//!                         out/ was there before:    out/.auditflow/5d21b7e4.json    perhaps a mount, and all that may be written
//! ```

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::journal::FileRecord;
use crate::sinks::disk::{Disk, io_error};
use crate::sinks::manifest::sha256_hex;
use crate::sinks::marker::{HIDDEN_DIRECTORY, Marker, MarkerState, of_overlapping_journals};
use crate::sinks::registry::SinkName;
use crate::sinks::template::Template;
use crate::sinks::{BatchRange, SinkError, StoredPosition};

/// Characters of the hash in a marker's name.
const NAME_CHARACTERS: usize = 8;

/// A place for the marker.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// The template of the files, below the directory that the marker's directory is in.
    files: String,
}

impl Place {
    fn new(directory: &Path, files: String) -> Self {
        let hash = sha256_hex(files.as_bytes());
        Self { path: directory.join(HIDDEN_DIRECTORY).join(format!("{}.json", &hash[..NAME_CHARACTERS])), files }
    }
}

/// The marker of one file sink.
#[derive(Debug)]
pub(super) struct FileMarker {
    pipeline: String,
    sink: String,
    /// The file, if every event goes to one.
    fixed: Option<PathBuf>,
    /// The directory that contains every file of the sink.
    base: PathBuf,
    /// In `base`.
    inside: Place,
    /// In the directory above it.
    beside: Option<Place>,
    state: MarkerState,
    /// The markers of other journals that were found in this batch, by the directory of their files.
    others: HashMap<PathBuf, Vec<OtherMarker>>,
}

/// The marker of another journal.
#[derive(Debug)]
struct OtherMarker {
    path: PathBuf,
    marker: Marker,
    files: Template,
}

impl FileMarker {
    /// The marker of the files of `template`, all of which are below `base`.
    pub(super) fn new(template: &Template, root: &Path, base: PathBuf, name: SinkName<'_>) -> Self {
        let files = template.below_fixed_directory().canonical();
        let beside = base
            .parent()
            .zip(base.file_name().and_then(OsStr::to_str))
            .map(|(parent, name)| Place::new(parent, format!("{}/{files}", name.replace('%', "%%"))));
        let inside = Place::new(&base, files);
        let (pipeline, sink) = (name.pipeline.to_owned(), name.sink.to_owned());
        let fixed = template.fixed_name().map(|name| root.join(name));
        let (state, others) = (MarkerState::default(), HashMap::new());
        Self { pipeline, sink, fixed, base, inside, beside, state, others }
    }

    /// The identity of the journal; empty until it is known.
    pub(super) fn journal(&self) -> &str {
        self.state.journal()
    }

    /// The directory that contains every file of the sink.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// At the start of the sink. Creates nothing: the output's disk may not be mounted.
    pub(super) fn restore(&mut self, disk: &dyn Disk, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        self.state.restore(stored, &self.pipeline, &self.sink);
        self.find(disk).and_then(|(place, found)| self.state.compare(found.as_ref(), &place)).map(drop)
    }

    /// Starts a batch.
    pub(super) fn begin(&mut self, range: BatchRange) {
        self.state.begin(range);
        self.others.clear();
    }

    /// Before a batch writes a file for the first time: no sink of another journal writes it under another template.
    pub(super) fn expect_own(&mut self, disk: &dyn Disk, file: &Path) -> Result<(), SinkError> {
        if !self.state.is_known() {
            return Ok(());
        }
        let own = [Some(&self.inside), self.beside.as_ref()].map(|place| place.map(|place| place.path.as_path()));
        for directory in file.ancestors().skip(1) {
            if !self.others.contains_key(directory) {
                let others = others_in(disk, directory, self.state.journal());
                let others = others.map_err(|error| io_error("read the markers in", directory, &error))?;
                self.others.insert(directory.to_owned(), others);
            }
            let below = file.strip_prefix(directory).ok().and_then(Path::to_str).unwrap_or_default();
            let could_write = |other: &&OtherMarker| !own.contains(&Some(&other.path)) && other.files.may_render(below);
            let other = self.others[directory].iter().find(could_write);
            if let Some(OtherMarker { path, marker, .. }) = other {
                return Err(of_overlapping_journals(marker, &path.display().to_string()));
            }
        }
        Ok(())
    }

    /// Before the first write of a batch: the output is still this journal's.
    pub(super) fn compare(&mut self, disk: &dyn Disk) -> Result<(), SinkError> {
        if self.state.is_compared || !self.is_used(disk)? {
            return Ok(());
        }
        self.report_missing(disk)?;
        let (place, found) = self.find(disk)?;
        if let Some(marker) = self.state.compare(found.as_ref(), &place)? {
            self.write(disk, &marker)?;
        }
        self.state.is_compared = true;
        Ok(())
    }

    /// After the batch is durable.
    pub(super) fn commit(&mut self, disk: &dyn Disk, range: BatchRange) -> Result<(), SinkError> {
        if !self.is_used(disk)? {
            return Ok(());
        }
        match self.state.with_batch(range) {
            Some(marker) => self.write(disk, &marker),
            None => Ok(()),
        }
    }

    /// After a batch was rolled back. An earlier `path` of this sink may have had another marker.
    pub(super) fn roll_back(&mut self, disk: &dyn Disk, files: &[&FileRecord]) -> Result<(), SinkError> {
        if !self.state.is_known() {
            return Ok(());
        }
        let mut directories = Vec::new();
        let files = files.iter().flat_map(|file| file.path.ancestors().skip(1));
        for directory in self.base.ancestors().take(2).chain(files) {
            let directory = directory.join(HIDDEN_DIRECTORY);
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
        for directory in directories.iter().filter(|directory| directory.is_dir()) {
            let names = if_permitted(disk.names(directory)).map_err(|error| io_error("list", directory, &error))?;
            for name in names.unwrap_or_default().iter().filter(|name| name.ends_with(".json")) {
                self.take_back(disk, &directory.join(name))?;
            }
        }
        Ok(())
    }

    fn take_back(&mut self, disk: &dyn Disk, path: &Path) -> Result<(), SinkError> {
        let found = if_permitted(disk.read(path)).map_err(|error| io_error("read the marker", path, &error))?.flatten();
        let found = found.and_then(|bytes| Marker::decode(&bytes, "").ok()).filter(|found| found.sink == self.sink);
        let files = found.as_ref().map_or_else(String::new, |found| found.files.clone());
        match self.state.without_batch(found.as_ref()).map(|marker| Marker { files, ..marker }) {
            Some(marker) => disk.replace(path, &marker.encode()).map_err(|error| io_error("write", path, &error)),
            None => Ok(()),
        }
    }

    /// Takes the output over.
    pub(super) fn adopt(&mut self, disk: &dyn Disk, stored: StoredPosition<'_>) -> Result<(), SinkError> {
        self.state.restore(stored, &self.pipeline, &self.sink);
        match self.state.adopted().cloned() {
            Some(marker) if self.is_used(disk)? => self.write(disk, &marker),
            _ => Ok(()),
        }
    }

    /// Whether there is a marker: a device is not an output that anybody reads again.
    fn is_used(&self, disk: &dyn Disk) -> Result<bool, SinkError> {
        let Some(fixed) = self.fixed.as_deref().filter(|_| self.state.is_known()) else {
            return Ok(self.state.is_known());
        };
        let state = disk.state(fixed).map_err(|error| io_error("inspect", fixed, &error))?;
        Ok(state.is_none_or(|state| state.regular))
    }

    /// The marker, and its path for messages.
    fn find(&self, disk: &dyn Disk) -> Result<(String, Option<Marker>), SinkError> {
        let place = self.place(disk).map_err(|error| io_error("find the marker of", &self.base, &error))?;
        // Whoever deletes the directory of the files deletes the output: the marker beside it is about nothing.
        let is_output = exists(disk, &self.base).map_err(|error| io_error("inspect", &self.base, &error))?;
        let found = if is_output && self.is_used(disk)? { read(disk, &place.path)? } else { None };
        Ok((place.path.display().to_string(), found))
    }

    fn write(&self, disk: &dyn Disk, marker: &Marker) -> Result<(), SinkError> {
        let place = self.place(disk).map_err(|error| io_error("find the marker of", &self.base, &error))?;
        let marker = Marker { files: place.files.clone(), ..marker.clone() };
        let directory = place.path.parent().unwrap_or(&self.base);
        let written = disk.state(directory).and_then(|found| {
            if found.is_none() {
                create(disk, directory)?;
            }
            disk.replace(&place.path, &marker.encode())
        });
        written.map_err(|error| io_error("write the marker", &place.path, &error))
    }

    /// Where the marker is, or else will be: beside the directory of the files if the sink creates it, or if another sink of this
    /// journal has; otherwise in it. Looked up each time: the directory may be a disk that is mounted later.
    fn place(&self, disk: &dyn Disk) -> io::Result<&Place> {
        let Some(beside) = &self.beside else { return Ok(&self.inside) };
        if exists(disk, &self.inside.path)? {
            return Ok(&self.inside);
        }
        let is_beside =
            exists(disk, &beside.path)? || !exists(disk, &self.base)? || self.has_neighbor(disk, &beside.path)?;
        Ok(if is_beside { beside } else { &self.inside })
    }
}

impl FileMarker {
    /// Warns if this journal has delivered to files whose directory is gone.
    fn report_missing(&self, disk: &dyn Disk) -> Result<(), SinkError> {
        let (false, Some(beside)) =
            (exists(disk, &self.base).map_err(|error| io_error("inspect", &self.base, &error))?, &self.beside)
        else {
            return Ok(());
        };
        let found = read(disk, &beside.path)?;
        if let Some(marker) = found.filter(|found| found.journal == self.state.journal() && found.position > 0) {
            tracing::warn!(
                event = "output_missing",
                directory = %self.base.display(),
                position = marker.position,
                hint = "if a disk is not mounted, stop, mount it and start again; if the files were deleted on purpose, nothing is wrong; `auditflow state redeliver` writes them again",
                "the directory of the files that this sink has written is gone: it is created anew, for the events that follow"
            );
        }
        Ok(())
    }

    /// Whether another sink of this journal has its marker beside this one.
    fn has_neighbor(&self, disk: &dyn Disk, marker: &Path) -> io::Result<bool> {
        let directory = marker.parent().unwrap_or(&self.base);
        for name in if_permitted(disk.names(directory))?.unwrap_or_default() {
            let found = if_permitted(disk.read(&directory.join(name)))?.flatten();
            let found = found.and_then(|bytes| Marker::decode(&bytes, "").ok());
            if found.is_some_and(|found| found.journal == self.state.journal()) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// The markers of other journals in a directory. What this user may not read says nothing, nor does one that is older than the
/// directory of its files, or has none: that directory was deleted and created again since.
fn others_in(disk: &dyn Disk, directory: &Path, journal: &str) -> io::Result<Vec<OtherMarker>> {
    let directory = directory.join(HIDDEN_DIRECTORY);
    let mut others = Vec::new();
    for name in if_permitted(disk.names(&directory))?.unwrap_or_default() {
        let path = directory.join(name);
        let Some(bytes) = if_permitted(disk.read(&path))?.flatten() else { continue };
        let Ok(marker) = Marker::decode(&bytes, "") else { continue };
        let Ok(files) = Template::parse(&marker.files) else { continue };
        let above = directory.parent().unwrap_or(&directory).join(files.fixed_directory());
        if marker.journal == journal {
            continue;
        }
        let Some(directory) = if_permitted(disk.state(&above))?.flatten() else { continue };
        let written = if_permitted(disk.state(&path))?.flatten().and_then(|state| state.modified);
        if directory.created.zip(written).is_none_or(|(created, written)| written >= created) {
            others.push(OtherMarker { path, marker, files });
        }
    }
    Ok(others)
}

fn exists(disk: &dyn Disk, path: &Path) -> io::Result<bool> {
    if_permitted(disk.state(path)).map(|state| state.flatten().is_some())
}

fn if_permitted<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NotADirectory) => Ok(None),
        done => done.map(Some),
    }
}

/// Creates a directory, durably.
fn create(disk: &dyn Disk, directory: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for parent in directory.ancestors() {
        if disk.state(parent)?.is_some() {
            break;
        }
        missing.push(parent);
    }
    disk.create_directories(directory)?;
    missing.iter().filter_map(|new| new.parent()).try_for_each(|parent| disk.sync_directory(parent))
}

fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Marker>, SinkError> {
    match disk.read(path) {
        Ok(None) => Ok(None),
        Ok(Some(bytes)) => Marker::decode(&bytes, &path.display().to_string()).map(Some),
        Err(error) => Err(io_error("read the marker", path, &error)),
    }
}
