//! The program's own files, which no sink may write to, and what can be seen of the files of secrets before they are read.

use super::component::Component;
use super::files::ReadFiles;
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::settings::Settings;
use crate::secret::Secret;
use crate::sinks::claims::OwnPath;

/// The data directory, and the files of the pipeline.
pub(super) fn of_process(settings: &Settings, read: &ReadFiles) -> Vec<OwnPath> {
    let data_dir = OwnPath { path: settings.data_dir.clone(), what: "the data directory" };
    std::iter::once(data_dir).chain(read.own_paths()).collect()
}

/// The files of a component's secrets. Warns of those that are missing, cannot be read, or can be read by others; does not
/// open them.
pub(super) fn secret_files<'s>(
    component: &Component<'_>,
    secrets: impl Iterator<Item = &'s Secret>,
    diagnostics: &mut Diagnostics,
) -> Vec<OwnPath> {
    let mut files = Vec::new();
    for secret in secrets {
        let Some(file) = secret.file() else { continue };
        files.push(OwnPath { path: file.to_owned(), what: "the file of a secret" });
        if let Some((message, hint)) = secret.file_problem() {
            let span = diagnostics.row_of(component.name).unwrap_or(component.span);
            diagnostics.push(Diagnostic::warning(Some(span), &component.path, message, hint));
        }
    }
    files
}
