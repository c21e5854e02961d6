//! Rolls back what an unfinished batch touched, without the sink that wrote it: the sink was removed from the pipeline file,
//! renamed, or changed its type.
//!
//! Local files need only their records, and a proof that they are outputs of this journal: its marker beside them. A record
//! alone is not a reason to touch a file. Objects in a bucket need the sink's endpoint and credentials, so they are left and
//! named in a log line: those of a table in one of its own, since only the table's log says whether they belong to it. A Kafka
//! rejection has no effect on the target.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use super::SinkError;
use super::claims::{is_dead_letter, real_path};
use super::disk::{Disk as _, LocalDisk, io_error};
use super::local_files::roll_back_files;
use super::marker::{HIDDEN_DIRECTORY, Marker};
use super::template::Template;
use crate::journal::{FileRecord, RollbackRecord, Seq};

static JOURNALS: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Names a journal of this process: its outputs may be rolled back.
pub fn own_journal(identity: &str) {
    JOURNALS.lock().unwrap_or_else(PoisonError::into_inner).insert(identity.to_owned());
}

/// Whether the file is below a directory that a marker names, of a journal for which `is_own` holds.
pub(super) fn has_marker(file: &Path, is_own: impl Fn(&str) -> bool) -> bool {
    let real = real_path(file);
    real.ancestors().skip(1).any(|directory| {
        let entries = std::fs::read_dir(directory.join(HIDDEN_DIRECTORY)).into_iter().flatten().flatten();
        let mut markers = entries.filter_map(|entry| {
            let path = entry.path();
            let bytes = path.extension().filter(|end| *end == "json").and_then(|_| std::fs::read(&path).ok())?;
            Marker::decode(&bytes, "").ok()
        });
        markers.any(|marker| {
            is_own(&marker.journal) && files_below(&marker).is_some_and(|files| real.starts_with(directory.join(files)))
        })
    })
}

/// Where all files of a marker are, from the directory that its own directory is in; `None` if it names no files.
fn files_below(marker: &Marker) -> Option<String> {
    let files = Some(&marker.files).filter(|files| !files.is_empty())?;
    Template::parse(files).ok().map(|files| files.fixed_directory().to_owned())
}

/// The journal's record names a file that is not an output of the sink.
pub(super) fn not_an_output(file: &Path) -> SinkError {
    SinkError::Stopped {
        message: format!(
            "the journal says that an unfinished batch wrote {}, which is not below the place that this sink writes to, and no marker beside it says that this journal wrote it: nothing was touched",
            file.display()
        ),
        hint: "if the sink wrote there before, restore its settings in the pipeline file and run once; if data_dir was copied from elsewhere, restore the right one".to_owned(),
    }
}

fn expect_output(file: &FileRecord, is_output: bool) -> Result<(), SinkError> {
    if is_output { Ok(()) } else { Err(not_an_output(&file.path)) }
}

/// Rolls back the records that need no sink, and logs the outputs that are left.
///
/// # Errors
/// A local file could not be rolled back. [`SinkError::Stopped`] if it is not an output of this journal: nothing is touched then.
pub fn roll_back_orphans(records: &[RollbackRecord]) -> Result<(), SinkError> {
    let mut files = Vec::new();
    let (mut objects, mut table_objects) = (Vec::new(), Vec::new());
    for record in records {
        match record {
            RollbackRecord::File(file) => {
                expect_output(file, has_marker(&file.path, is_own_journal))?;
                files.push(file);
            }
            RollbackRecord::DeadLetter(file) => {
                expect_output(file, is_dead_letter(&file.path))?;
                files.push(file);
            }
            RollbackRecord::S3Object(object) if object.table => table_objects.push(record.to_string()),
            RollbackRecord::S3Object(_) => objects.push(record.to_string()),
            RollbackRecord::KafkaRejection(_) => {}
        }
    }
    roll_back_files(&files)?;
    if !files.is_empty() {
        let paths: Vec<_> = files.iter().map(|file| file.path.display().to_string()).collect();
        tracing::warn!(
            event = "orphaned_outputs_rolled_back",
            files = paths.join(", "),
            "the pipeline file changed during a batch; what the batch wrote to these files is rolled back"
        );
    }
    if !objects.is_empty() {
        tracing::warn!(
            event = "orphaned_outputs_left",
            objects = objects.join(", "),
            "the pipeline file changed during a batch; delete these objects if they exist, the manifest first, because readers may take it for a complete batch; the events in them are delivered again by the sinks that still receive them"
        );
    }
    if !table_objects.is_empty() {
        tracing::warn!(
            event = "table_objects_left",
            objects = table_objects.join(", "),
            "the pipeline file changed during a batch of a Delta table; the objects of the batch stay, because the table may have them: `VACUUM` removes those that it does not have"
        );
    }
    Ok(())
}

/// Takes back the markers of files that were rolled back: a sink that returns to the pipeline file finds them where the journal
/// is, `position`.
///
/// # Errors
/// A marker cannot be read or written.
pub fn take_back_markers(
    records: &[RollbackRecord],
    sink: &str,
    generation: u64,
    position: Seq,
) -> Result<(), SinkError> {
    let disk = LocalDisk::PRIVATE;
    let mut directories = BTreeSet::new();
    for record in records {
        let RollbackRecord::File(file) = record else { continue };
        directories.extend(file.path.ancestors().skip(1).map(|directory| directory.join(HIDDEN_DIRECTORY)));
    }
    for directory in directories {
        for name in disk.names(&directory).unwrap_or_default() {
            let path = directory.join(name);
            let found = disk.read(&path).ok().flatten().and_then(|bytes| Marker::decode(&bytes, "").ok());
            let is_ahead = |marker: &Marker| {
                is_own_journal(&marker.journal)
                    && (marker.sink.as_str(), marker.generation) == (sink, generation)
                    && marker.position > position
            };
            let Some(marker) = found.filter(is_ahead) else { continue };
            let marker = Marker { position, ..marker };
            disk.replace(&path, &marker.encode()).map_err(|error| io_error("write the marker", &path, &error))?;
        }
    }
    Ok(())
}

fn is_own_journal(identity: &str) -> bool {
    JOURNALS.lock().unwrap_or_else(PoisonError::into_inner).contains(identity)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::{FileBefore, KafkaRejection, S3Location, S3ObjectRecord};

    #[test]
    fn a_marker_goes_back_with_the_files_of_a_sink_that_was_removed() {
        let directory = tempfile::tempdir().expect("a directory");
        own_journal("the journal of this sink");
        let marker = Marker {
            journal: "the journal of this sink".to_owned(),
            pipeline: "p".to_owned(),
            sink: "s".to_owned(),
            generation: 0,
            position: 48,
            files: "out/x.ndjson".to_owned(),
        };
        let path = directory.path().join(HIDDEN_DIRECTORY).join("a.json");
        fs::create_dir(directory.path().join(HIDDEN_DIRECTORY)).expect("created");
        fs::write(&path, marker.encode()).expect("written");
        let before = FileBefore::Absent { first_new_directory: None };
        let records = [RollbackRecord::File(FileRecord { path: directory.path().join("out/x.ndjson"), before })];
        let position = || Marker::decode(&fs::read(&path).expect("read"), "").expect("a marker").position;
        take_back_markers(&records, "another", 0, 20).expect("not its own");
        take_back_markers(&records, "s", 1, 20).expect("another generation");
        assert_eq!(position(), 48);
        take_back_markers(&records, "s", 0, 20).expect("taken back");
        assert_eq!(position(), 20);
    }

    #[test]
    fn only_files_that_this_journal_wrote_are_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("out/x.ndjson");
        fs::create_dir(directory.path().join("out")).expect("created");
        let beside = directory.path().join("pipeline.yaml");
        fs::write(&beside, "theirs\n").expect("written");
        let other = tempfile::tempdir().expect("a directory");
        let victim = other.path().join("x.ndjson");
        fs::write(&file, "unfinished\n").expect("written");
        fs::write(&victim, "theirs\n").expect("written");
        own_journal("the journal of this test");
        let marker = Marker {
            journal: "the journal of this test".to_owned(),
            pipeline: "p".to_owned(),
            sink: "s".to_owned(),
            generation: 0,
            position: 0,
            files: "out/{{ vendor }}.ndjson".to_owned(),
        };
        fs::create_dir(directory.path().join(HIDDEN_DIRECTORY)).expect("created");
        fs::write(directory.path().join(HIDDEN_DIRECTORY).join("a.json"), marker.encode()).expect("written");
        let before = FileBefore::Absent { first_new_directory: None };
        let object = S3ObjectRecord {
            bucket: "lake".to_owned(),
            key: "a/b.parquet".to_owned(),
            location: S3Location { endpoint: None, region: None, force_path_style: false },
            multipart: false,
            manifest: false,
            table: false,
            token: None,
        };
        let rejection = KafkaRejection { event_id: "12".to_owned(), version: 0, reason: "too large".to_owned() };
        let records = [
            RollbackRecord::File(FileRecord { path: file.clone(), before: before.clone() }),
            RollbackRecord::KafkaRejection(rejection),
            RollbackRecord::S3Object(object),
        ];
        for victim in [victim, beside] {
            let record = RollbackRecord::File(FileRecord { path: victim.clone(), before: before.clone() });
            let hostile = [&records[..], &[record]].concat();
            let error = roll_back_orphans(&hostile).expect_err("not an output");
            assert!(error.to_string().contains(victim.to_str().expect("text")), "{error}");
            assert!(file.exists() && victim.exists());
        }
        roll_back_orphans(&records).expect("rolled back");
        assert!(!file.exists());
    }
}
