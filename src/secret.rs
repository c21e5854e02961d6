//! Secrets: credentials, which must not appear in a log, error, metric, trace or state file.
//!
//! In the pipeline file a secret is a string (usually `${VARIABLE}`) or `{file: path}`. The file is read whenever the secret is
//! needed: a rotated file takes effect without a restart, and validating a pipeline only looks at its permissions. Reading never
//! waits: a pipe in the place of a file is an error.

mod mask;

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, OFlags, access};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

pub use mask::{SecretMask, SentSecrets};

/// The largest file of a secret. A larger one is the wrong file.
const MAX_FILE_BYTES: u64 = 64 << 10;

/// A value that must not be shown. `Debug` prints `***`; there is no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct Secret(Origin);

#[derive(Clone)]
enum Origin {
    Value(SecretString),
    File(PathBuf),
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read.
    #[error("cannot read the secret file {}: {source}; create it, or fix its path or permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The value is empty.
    #[error("the secret {origin} is empty; set it to the vendor's token")]
    Empty {
        /// Where it is configured.
        origin: String,
    },
}

impl Secret {
    /// A secret with this value.
    #[must_use]
    pub fn from_value(value: String) -> Self {
        Self(Origin::Value(value.into()))
    }

    /// A secret that is read from `path` whenever it is needed.
    #[must_use]
    pub fn from_file(path: PathBuf) -> Self {
        Self(Origin::File(path))
    }

    /// Its file, if it is in one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Origin::Value(_) => None,
            Origin::File(path) => Some(path),
        }
    }

    /// What is wrong with its file, and what to do, as far as that is visible without opening it; `None` if it is in none.
    #[must_use]
    pub fn file_problem(&self) -> Option<(String, String)> {
        let path = self.file()?;
        let shown = path.display();
        let found = match std::fs::metadata(path) {
            Ok(found) => found,
            Err(error) => {
                let hint = "create it, or fix its path or permissions".to_owned();
                return Some((format!("the secret file {shown} cannot be read: {error}"), hint));
            }
        };
        if !found.is_file() {
            let hint = "write the path of a file that contains only the secret".to_owned();
            return Some((format!("the secret file {shown} is not a regular file"), hint));
        }
        if access(path, Access::READ_OK).is_err() {
            let hint = "make it readable for the user that runs auditflow, and for nobody else".to_owned();
            return Some((format!("the secret file {shown} cannot be read by this user"), hint));
        }
        if found.permissions().mode() & 0o004 != 0 {
            let message = format!("every user of this host can read the secret file {shown}");
            return Some((
                message,
                format!("`chmod 600 {shown}`, and replace the secret if somebody may have read it"),
            ));
        }
        None
    }

    /// Makes a relative file path relative to `directory` (the directory of the pipeline file).
    pub fn resolve_against(&mut self, directory: &Path) {
        if let Origin::File(path) = &mut self.0 {
            *path = directory.join(&*path);
        }
    }

    /// The value, without surrounding white space (a file written with `echo` ends with a line break).
    ///
    /// # Errors
    /// Its file cannot be read, or it is empty.
    pub fn reveal(&self) -> Result<String, SecretError> {
        let (value, origin) = match &self.0 {
            Origin::Value(value) => (value.expose_secret().trim().to_owned(), "in the pipeline file".to_owned()),
            Origin::File(path) => {
                let text = read(path).map_err(|source| SecretError::Unreadable { path: path.clone(), source })?;
                (text.trim().to_owned(), format!("in {}", path.display()))
            }
        };
        if value.is_empty() {
            return Err(SecretError::Empty { origin });
        }
        Ok(value)
    }
}

fn read(path: &Path) -> io::Result<String> {
    let wrong = |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, reason.to_owned());
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(wrong("it is not a regular file"));
    }
    let mut text = String::new();
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(length).unwrap_or(u64::MAX) > MAX_FILE_BYTES {
        return Err(wrong("it is larger than 64 KiB, so it is not a secret"));
    }
    Ok(text)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Origin::Value(_) => f.write_str("***"),
            Origin::File(path) => write!(f, "{{file: {}}}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecretVisitor)
    }
}

struct SecretVisitor;

impl<'de> de::Visitor<'de> for SecretVisitor {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a secret: \"${VARIABLE}\" or {file: path}")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Secret, E> {
        if value.trim().is_empty() {
            return Err(E::custom("the secret is empty; set it to \"${VARIABLE}\" or {file: path}"));
        }
        Ok(Secret::from_value(value.to_owned()))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Secret, A::Error> {
        #[derive(Deserialize)]
        #[serde(field_identifier, rename_all = "lowercase")]
        enum Field {
            File,
        }
        let mut path: Option<PathBuf> = None;
        while let Some(Field::File) = map.next_key()? {
            path = Some(map.next_value()?);
        }
        path.map(Secret::from_file).ok_or_else(|| de::Error::missing_field("file"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_value() {
        let secret = Secret::from_value("hunter2".into());
        assert_eq!(format!("{secret:?}"), "***");
    }

    #[test]
    fn a_file_is_read_on_demand_and_trimmed() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        let secret = Secret::from_file(path.clone());
        assert!(secret.reveal().is_err());
        std::fs::write(&path, "abc\n").expect("written");
        assert_eq!(secret.reveal().expect("readable"), "abc");
    }

    #[test]
    fn only_small_regular_files_are_read_and_a_pipe_does_not_wait() {
        let directory = tempfile::tempdir().expect("a directory");
        let (pipe, large) = (directory.path().join("pipe"), directory.path().join("large"));
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
        std::fs::write(&large, "x".repeat(65_537)).expect("written");
        for (path, word) in
            [(&pipe, "regular file"), (&large, "64 KiB"), (&directory.path().to_owned(), "regular file")]
        {
            let error = Secret::from_file(path.clone()).reveal().expect_err("is not a secret");
            assert!(error.to_string().contains(word), "{error}");
        }
        std::fs::write(&large, "x".repeat(65_536)).expect("written");
        assert_eq!(Secret::from_file(large).reveal().expect("readable").len(), 65_536);
    }

    #[test]
    fn what_is_wrong_with_a_file_is_visible_before_it_is_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("token");
        let secret = Secret::from_file(path.clone());
        let problem = || secret.file_problem().map(|(message, _)| message);
        assert!(problem().expect("missing").contains("cannot be read"));
        std::fs::write(&path, "abc").expect("written");
        for (mode, is_public) in [(0o644, true), (0o640, false), (0o600, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("set");
            assert_eq!(problem().is_some_and(|message| message.contains("every user")), is_public, "{mode:o}");
        }
        assert_eq!(Secret::from_value("abc".to_owned()).file_problem(), None);
    }

    #[test]
    fn an_empty_secret_is_an_error() {
        assert!(Secret::from_value(" \n".into()).reveal().is_err());
    }
}
