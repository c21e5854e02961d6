//! The settings of a `file` sink and their validation.

use std::path::PathBuf;

use serde::Deserialize;

use super::rotation::Rotation;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::sinks::compression::Compression;
use crate::sinks::encoding::EncodingOptions;
use crate::sinks::template::Template;
use crate::units::{ByteSize, Span};

/// The longest file name that common file systems accept, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// What a rotation number can add to a name: a dot and six digits.
const NUMBER_BYTES: usize = 7;

/// The settings of a `file` sink.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileConfig {
    /// The path of the files, for example `audit/{{ vendor }}/%Y-%m-%d.ndjson`: event fields in double braces, parts of the
    /// event's time (UTC) as strftime letters. A relative path starts in the directory that auditflow is started in.
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

    /// Settings that work but are probably a mistake.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
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

    /// Two sinks with the same key would write the same files, each rolling back the other's batches.
    #[must_use]
    pub fn conflict_key(&self) -> String {
        let canonical = Template::parse(&self.path).map_or_else(|_| self.path.clone(), |template| template.canonical());
        let absolute = std::path::absolute(&canonical).unwrap_or_else(|_| PathBuf::from(&canonical));
        format!("file {}", absolute.display())
    }

    /// A string that changes whenever a changed configuration writes different bytes, or writes them elsewhere.
    pub(super) fn fingerprint(&self) -> String {
        format!(
            "{} compression={} encoding={:?} max_bytes={:?} max_age={:?} manifest={}",
            self.conflict_key(),
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
