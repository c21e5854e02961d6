//! Secrets: credentials, which must not appear in a log, error, metric, trace or state file.
//!
//! In the pipeline file a secret is a string (usually `${VARIABLE}`) or `{file: path}`. The file is read whenever the secret is
//! needed: a rotated file takes effect without a restart, and validating a pipeline reads no secret files.

mod mask;

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

pub use mask::SecretMask;

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
        source: std::io::Error,
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
                let text = std::fs::read_to_string(path)
                    .map_err(|source| SecretError::Unreadable { path: path.clone(), source })?;
                (text.trim().to_owned(), format!("in {}", path.display()))
            }
        };
        if value.is_empty() {
            return Err(SecretError::Empty { origin });
        }
        Ok(value)
    }
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
    fn an_empty_secret_is_an_error() {
        assert!(Secret::from_value(" \n".into()).reveal().is_err());
    }
}
