//! Appending to one local file inside a batch, so that the batch's undo takes it back.

use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, LocalDisk, fault};
use super::undo::{folders_of_new_file, planned};
use crate::journal::RollbackRecord;
use crate::sinks::blocking::blocking;
use crate::sinks::{PlanLog, SinkError};

/// A file that a batch appends to. Recorded in the plan before it is touched for the first time.
#[derive(Debug)]
pub(in crate::sinks) struct LocalAppend {
    path: PathBuf,
    open: Option<OpenFile>,
}

#[derive(Debug)]
struct OpenFile {
    file: Box<dyn DiskFile>,
    new_folders: Vec<PathBuf>,
}

impl LocalAppend {
    /// Nothing is touched yet.
    pub(in crate::sinks) fn to(path: &Path) -> Self {
        Self { path: path.to_owned(), open: None }
    }

    /// Appends bytes; not durable yet.
    pub(in crate::sinks) async fn append(&mut self, bytes: &[u8], plan: &mut dyn PlanLog) -> Result<(), SinkError> {
        if self.open.is_none() {
            let output = blocking(|| self.output())?;
            plan.record(vec![output.clone()]).await?;
            self.open = Some(blocking(|| self.open(&output))?);
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        blocking(|| open.file.append(bytes)).map_err(|error| fault("write", &self.path, &error))
    }

    fn output(&self) -> Result<RollbackRecord, SinkError> {
        let state = LocalDisk.state(&self.path).map_err(|error| fault("look at", &self.path, &error))?;
        planned(&LocalDisk, &self.path, state)
    }

    fn open(&self, output: &RollbackRecord) -> Result<OpenFile, SinkError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        LocalDisk.make_folders(folder).map_err(|error| fault("make the folder", folder, &error))?;
        let file = LocalDisk.open(&self.path).map_err(|error| fault("open", &self.path, &error))?;
        Ok(OpenFile { file, new_folders: folders_of_new_file(&self.path, output) })
    }

    /// Makes what was appended durable.
    pub(in crate::sinks) fn sync(&mut self) -> Result<(), SinkError> {
        let Some(open) = &mut self.open else { return Ok(()) };
        blocking(|| {
            open.file.sync().map_err(|error| fault("make durable", &self.path, &error))?;
            for folder in &open.new_folders {
                LocalDisk.sync_folder(folder).map_err(|error| fault("make durable", folder, &error))?;
            }
            Ok(())
        })
    }
}
