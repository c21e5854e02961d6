//! The settings of a `file` sink and their validation.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::rotation::Rotation;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::sinks::claims::real_path;
use crate::sinks::compression::Compression;
use crate::sinks::disk::FileMode;
use crate::sinks::encoding::EncodingOptions;
use crate::sinks::template::Template;
use crate::units::{ByteSize, PlainText, Span};

/// The longest file name that common file systems accept, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What a rotation number can add to a name: a dot and six digits.
const NUMBER_BYTES: usize = 7;

/// The settings of a `file` sink.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The path of the files, for example `audit/{{ vendor }}/%Y-%m-%d.ndjson`: event fields in double braces, parts of the
    /// event's time (UTC) as strftime letters. A relative path starts in the directory of the pipeline file.
    pub path: String,
    /// `none` (default), `gzip` or `zstd`. Write the matching extension, `.gz` or `.zst`, in `path`.
    #[serde(default)]
    pub compression: Compression,
    /// How an event is encoded.
    #[serde(default)]
    pub encoding: EncodingOptions,
    /// When to start a new file. Default: files grow without limit.
    #[serde(default)]
    pub rotate: RotateOptions,
    /// Whether each batch writes a manifest: what it appended to which file, with hashes.
    #[serde(default)]
    pub manifest: bool,
    /// The permissions of new files, in octal digits such as `0640`. Whoever may read a file may also list the directories that
    /// are created for it. Default: `0600`, for the user that runs auditflow only.
    #[serde(default)]
    #[schemars(with = "Option<PlainText>")]
    pub file_mode: FileMode,
    /// The base of a relative path; the working directory if it is empty.
    #[serde(skip)]
    root: PathBuf,
}

/// `rotate:` of a `file` sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RotateOptions {
    /// A file does not grow beyond this, unless one batch alone is larger.
    pub max_bytes: Option<ByteSize>,
    /// No batch is appended to a file that is older than this: seconds, or a duration such as `1h`.
    pub max_age: Option<Span>,
}

impl FileConfig {
    /// What an operator should know before this sink redelivers events.
    #[must_use]
    pub fn when_redelivered(&self) -> &'static str {
        if self.manifest {
            "the events are appended again, where `path` puts them now; new manifests with the number of the redelivery in their names continue the chain"
        } else {
            "the events are appended again, where `path` puts them now; existing lines stay"
        }
    }

    /// What an operator should know before this sink is renamed.
    #[must_use]
    pub fn when_renamed(&self) -> &'static str {
        if self.manifest {
            "the files stay unchanged; new manifests are written to a directory with the new name, the first one with the hash of the last old one"
        } else {
            "the files stay unchanged"
        }
    }

    /// Every setting that parses but is invalid.
    #[must_use]
    pub fn check(&self) -> Vec<SettingDiagnostic> {
        let mut problems = Vec::new();
        match Template::parse(&self.path) {
            Ok(template) => problems.extend(self.path_problem(&template)),
            Err(error) => problems.push(problem(
                "path",
                format!("`{}`, column {}: {}", self.path, error.column, error.message),
                error.hint,
            )),
        }
        if self.rotate.max_bytes.is_some_and(|size| size.0 == 0) {
            problems.push(problem(
                "rotate.max_bytes",
                "a file of 0 bytes cannot contain an event",
                "set a size such as 256MiB",
            ));
        }
        if self.rotate.max_age.is_some_and(|age| age.0.is_zero()) {
            problems.push(problem(
                "rotate.max_age",
                "an age of 0 would start a file per batch",
                "set a duration such as 1h",
            ));
        }
        problems
    }

    fn path_problem(&self, template: &Template) -> Option<SettingDiagnostic> {
        if self.path.trim().is_empty() {
            return Some(problem("path", "the path is empty", "set one such as audit/{{ vendor }}/%Y-%m-%d.ndjson"));
        }
        if template.fixed_end().ends_with('/') || matches!(self.path.rsplit('/').next(), Some("." | "..")) {
            let hint = "add a file name such as %Y-%m-%d.ndjson";
            return Some(problem("path", format!("`{}` is a directory", self.path), hint));
        }
        if self.path.contains('\0') {
            return Some(problem("path", "a path cannot contain a NUL character", "remove it"));
        }
        if template.longest_part() + NUMBER_BYTES > MAX_NAME_BYTES {
            let message = format!("a part of `{}` can become longer than a file name can be", self.path);
            return Some(problem("path", message, "put fewer fields between two slashes"));
        }
        None
    }

    /// Makes a relative path start in `directory`.
    pub fn resolve_against(&mut self, directory: &Path) {
        directory.clone_into(&mut self.root);
    }

    /// The base of relative paths. Paths are recorded as absolute text, so that a restart in another working directory rolls
    /// back the right files.
    pub(super) fn absolute_root(&self) -> Result<PathBuf, Vec<SettingDiagnostic>> {
        let hint =
            "start auditflow in a directory that exists, with a pipeline file in a directory whose name is valid UTF-8";
        let absolute =
            if self.root.as_os_str().is_empty() { std::env::current_dir() } else { std::path::absolute(&self.root) };
        let root = absolute.map_err(|error| {
            vec![problem("path", format!("the directory of the pipeline file is not available: {error}"), hint)]
        })?;
        if root.to_str().is_none() {
            return Err(vec![problem("path", format!("the directory {} is not valid UTF-8", root.display()), hint)]);
        }
        Ok(root)
    }

    /// The file that every event goes to, or else the directory that all files are below.
    #[must_use]
    pub fn local_target(&self) -> Option<PathBuf> {
        let template = Template::parse(&self.path).ok()?;
        let root = self.absolute_root().ok()?;
        Some(root.join(template.fixed_name().unwrap_or_else(|| template.fixed_directory())))
    }

    /// Settings that work but are probably a mistake.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
        let mut warnings = self.name_warnings();
        if let Ok(template) = Template::parse(&self.path) {
            warnings.extend(self.encoding.schema.partition_warnings("path", &template));
        }
        if self.file_mode.is_public() {
            let message = "every user of this host can read the audit trail";
            warnings.push(problem("file_mode", message, "set 0600, or 0640 for a group of readers"));
        }
        warnings
    }

    fn name_warnings(&self) -> Vec<SettingDiagnostic> {
        let expected = self.compression.extension();
        let ends = [Compression::Gzip.extension(), Compression::Zstd.extension()];
        if !expected.is_empty() && !self.path.ends_with(expected) {
            let message = format!(
                "the files contain {} but their names do not end with its extension",
                self.compression.as_str()
            );
            return vec![problem("path", message, format!("end the path with `{expected}`"))];
        }
        let misleading = ends.iter().find(|end| self.path.ends_with(**end) && **end != expected);
        let Some(end) = misleading else { return Vec::new() };
        let message = format!("the names end with `{end}` but the compression is {}", self.compression.as_str());
        vec![problem("path", message, "set `compression` to match, or change the end of the path")]
    }

    /// The file that an event would be appended to, before any rotation.
    #[must_use]
    pub fn example(&self, event: &Event<'_>) -> Vec<(&'static str, String)> {
        Template::parse(&self.path).map(|template| ("path", template.render(event))).into_iter().collect()
    }

    /// Two sinks with the same key would write the same files, each rolling back the other's batches. Links on the way to the
    /// files are resolved.
    #[must_use]
    pub fn conflict_key(&self) -> String {
        let (Ok(template), Some(target)) = (Template::parse(&self.path), self.local_target()) else {
            return self.target();
        };
        let below = template.fixed_name().is_none().then(|| template.below_fixed_directory().canonical());
        format!("file {}", real_path(&target).join(below.unwrap_or_default()).display())
    }

    /// The absolute path as it is written: links may change while a batch is unfinished.
    fn target(&self) -> String {
        let canonical = Template::parse(&self.path).map_or_else(|_| self.path.clone(), |template| template.canonical());
        let joined = self.root.join(canonical);
        let absolute = std::path::absolute(&joined).unwrap_or(joined);
        format!("file {}", absolute.display())
    }

    /// A string that changes whenever a changed configuration writes different bytes, or writes them elsewhere.
    pub(super) fn fingerprint(&self) -> String {
        format!(
            "{} compression={} encoding={:?} max_bytes={:?} max_age={:?} manifest={}",
            self.target(),
            self.compression.as_str(),
            self.encoding,
            self.rotation().max_bytes,
            self.rotation().max_age,
            self.manifest,
        )
    }

    pub(super) fn rotation(&self) -> Rotation {
        Rotation { max_bytes: self.rotate.max_bytes.map(|size| size.0), max_age: self.rotate.max_age.map(|age| age.0) }
    }
}

fn problem(key: &str, message: impl Into<String>, hint: impl Into<String>) -> SettingDiagnostic {
    SettingDiagnostic { key: key.to_owned(), message: message.into(), hint: hint.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> FileConfig {
        serde_json::from_str(text).expect("a config")
    }

    #[test]
    fn a_bad_template_names_its_key_and_the_fix() {
        let problems = config(r#"{"path": "{{ vendr }}.ndjson"}"#).check();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "path");
        assert!(problems[0].message.contains("column 4"), "{problems:?}");
        assert!(problems[0].hint.contains("did you mean `vendor`?"), "{problems:?}");
    }

    #[test]
    fn paths_that_cannot_be_files_are_rejected() {
        for path in ["", "  ", "audit/", "audit/..", "a/{{ actor.id }}{{ actor.name }}{{ target.id }}{{ target.name }}"]
        {
            let problems = FileConfig { path: path.to_owned(), ..config(r#"{"path": ""}"#) }.check();
            assert_eq!(problems.len(), 1, "{path}: {problems:?}");
        }
        assert_eq!(config(r#"{"path": "audit/{{ vendor }}/%Y-%m-%d.ndjson"}"#).check(), []);
    }

    #[test]
    fn every_mistake_is_found_in_one_run() {
        let text = r#"{"path": "%Q", "rotate": {"max_bytes": 0, "max_age": 0}}"#;
        let keys: Vec<_> = config(text).check().into_iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["path", "rotate.max_bytes", "rotate.max_age"]);
    }

    #[test]
    fn a_name_that_contradicts_its_compression_is_a_warning() {
        assert_eq!(config(r#"{"path": "a.ndjson", "compression": "gzip"}"#).warnings().len(), 1);
        assert_eq!(config(r#"{"path": "a.ndjson.zst", "compression": "gzip"}"#).warnings().len(), 1);
        assert_eq!(config(r#"{"path": "a.ndjson.gz"}"#).warnings().len(), 1);
        assert_eq!(config(r#"{"path": "a.ndjson.gz", "compression": "gzip"}"#).warnings(), []);
        assert_eq!(config(r#"{"path": "a.ndjson"}"#).warnings(), []);
        assert_eq!(config(r#"{"path": "vendor={{ vendor }}/a.ndjson"}"#).warnings().len(), 1);
        assert_eq!(config(r#"{"path": "event_vendor={{ vendor }}/a.ndjson"}"#).warnings(), []);
    }

    #[test]
    fn the_same_files_written_differently_conflict() {
        let here = std::env::current_dir().expect("a directory");
        let key = |path: &str| config(&format!(r#"{{"path": "{path}"}}"#)).conflict_key();
        assert_eq!(
            key("a/{{vendor}}/%F.ndjson"),
            key(&format!("{}/./a/{{{{ vendor }}}}/%Y-%m-%d.ndjson", here.display()))
        );
        assert_ne!(key("a/{{vendor}}.ndjson"), key("b/{{vendor}}.ndjson"));
    }

    #[test]
    fn a_relative_path_starts_in_the_directory_of_the_pipeline_file() {
        let mut relative = config(r#"{"path": "a/{{ vendor }}.ndjson"}"#);
        relative.resolve_against(Path::new("/etc/auditflow"));
        let absolute = config(r#"{"path": "/etc/auditflow/a/{{ vendor }}.ndjson"}"#);
        assert_eq!(relative.conflict_key(), absolute.conflict_key());
        assert_eq!(relative.fingerprint(), absolute.fingerprint());
        assert_eq!(relative.local_target(), Some(PathBuf::from("/etc/auditflow/a")));
    }

    #[test]
    fn links_to_the_same_file_conflict() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(directory.path().join("real")).expect("created");
        std::os::unix::fs::symlink("real", directory.path().join("link")).expect("links");
        let key = |path: &str| {
            let mut config = config(&format!(r#"{{"path": "{path}"}}"#));
            config.resolve_against(directory.path());
            config.conflict_key()
        };
        assert_eq!(key("real/a.ndjson"), key("link/a.ndjson"));
        assert_eq!(key("real/{{ vendor }}/%F"), key("link/./{{vendor}}/%Y-%m-%d"));
        assert_ne!(key("real/a.ndjson"), key("link/b.ndjson"));
    }

    #[test]
    fn the_mode_is_octal_and_a_public_one_is_a_warning() {
        assert_eq!(config(r#"{"path": "a"}"#).file_mode, FileMode::PRIVATE);
        assert_eq!(config(r#"{"path": "a", "file_mode": "0640"}"#).warnings(), []);
        assert_eq!(config(r#"{"path": "a", "file_mode": 644}"#).warnings().len(), 1);
        assert!(serde_json::from_str::<FileConfig>(r#"{"path": "a", "file_mode": "0777"}"#).is_err());
    }

    #[test]
    fn the_fingerprint_differs_between_configs() {
        let texts = [
            r#"{"path": "a"}"#,
            r#"{"path": "b"}"#,
            r#"{"path": "a", "compression": "gzip"}"#,
            r#"{"path": "a", "encoding": {"raw": "drop"}}"#,
            r#"{"path": "a", "encoding": {"schema": "ecs"}}"#,
            r#"{"path": "a", "rotate": {"max_bytes": 5}}"#,
            r#"{"path": "a", "rotate": {"max_age": 5}}"#,
            r#"{"path": "a", "manifest": true}"#,
        ];
        let prints: std::collections::BTreeSet<_> = texts.iter().map(|text| config(text).fingerprint()).collect();
        assert_eq!(prints.len(), texts.len());
    }
}
