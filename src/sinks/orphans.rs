//! Rolls back what an unfinished batch touched, without the sink that wrote it: the sink was removed from the pipeline file,
//! renamed, or changed its type.
//!
//! Local files need only their records. Objects in a bucket need the sink's endpoint and credentials, so they are left and
//! named in a log line. A Kafka rejection has no effect on the target.

use super::SinkError;
use super::local_files::roll_back_files;
use crate::journal::{FileRecord, RollbackRecord};

/// Rolls back the records that need no sink, and logs the outputs that are left.
///
/// # Errors
/// A local file could not be rolled back.
pub fn roll_back_orphans(records: &[RollbackRecord]) -> Result<(), SinkError> {
    let (mut files, mut objects): (Vec<&FileRecord>, Vec<String>) = (Vec::new(), Vec::new());
    for record in records {
        match record {
            RollbackRecord::File(file) | RollbackRecord::DeadLetter(file) => files.push(file),
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::journal::{FileBefore, KafkaRejection, S3Location, S3ObjectRecord};

    #[test]
    fn only_files_are_touched() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("x.ndjson");
        fs::write(&file, "unfinished\n").expect("written");
        let before = FileBefore::Absent { first_new_directory: None };
        let object = S3ObjectRecord {
            bucket: "lake".to_owned(),
            key: "a/b.parquet".to_owned(),
            location: S3Location { endpoint: None, region: None, force_path_style: false },
            multipart: false,
            manifest: false,
            token: None,
        };
        let rejection = KafkaRejection { event_id: "12".to_owned(), version: 0, reason: "too large".to_owned() };
        let records = [
            RollbackRecord::File(FileRecord { path: file.clone(), before }),
            RollbackRecord::KafkaRejection(rejection),
            RollbackRecord::S3Object(object),
        ];
        roll_back_orphans(&records).expect("rolled back");
        assert!(!file.exists());
    }
}
