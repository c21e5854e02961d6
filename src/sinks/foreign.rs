//! What an unfinished batch has touched, undone without the sink that wrote it: the sink was taken out of the pipeline file,
//! renamed, or became one of another type.
//!
//! Local files can be undone by anyone. Notes of the `kafka` sink stand for nothing outside. Objects in a store need the
//! address and the rights of the sink that put them there, so they are named for the user to delete.

use std::path::Path;

use super::SinkError;
use super::file::undo_local_files;
use crate::journal::RollbackRecord;

/// What the names of objects in a store begin with.
pub const OBJECT: &str = "s3://";

/// Makes the outside as it was before an unfinished batch, as far as that is possible without its sink; says what is left.
///
/// # Errors
/// A local file could not be undone.
pub fn undo_foreign(outputs: &[RollbackRecord]) -> Result<(), SinkError> {
    let files: Vec<_> = outputs.iter().filter(|output| Path::new(&output.name).is_absolute()).cloned().collect();
    undo_local_files(&files)?;
    if !files.is_empty() {
        tracing::warn!(
            files = names(&files),
            "the pipeline file has changed in the middle of a batch: what the batch had written to files is undone"
        );
    }
    let objects: Vec<_> = outputs.iter().filter(|output| output.name.starts_with(OBJECT)).cloned().collect();
    if !objects.is_empty() {
        tracing::error!(
            objects = names(&objects),
            "the pipeline file has changed in the middle of a batch: delete these objects if they exist, the manifest among them first, since readers may take it for a complete batch; what they hold is delivered again by whichever sink still gets it"
        );
    }
    Ok(())
}

fn names(outputs: &[RollbackRecord]) -> String {
    let names: Vec<_> = outputs.iter().map(|output| output.name.as_str()).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn only_what_is_a_file_is_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("x.ndjson");
        fs::write(&file, "unfinished\n").expect("written");
        let before = r#"{"absent":{"first_new_folder":null}}"#.to_owned();
        let output = |name: &str| RollbackRecord { name: name.to_owned(), before: before.clone() };
        let outputs = [output(&file.to_string_lossy()), output("kafka refused 12"), output("s3://lake/a/b.parquet")];
        undo_foreign(&outputs).expect("undone");
        assert!(!file.exists());
    }
}
