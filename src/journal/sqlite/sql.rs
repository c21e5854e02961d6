//! The base of this module: its error, and how the contract's values are stored in columns.

use rusqlite::ErrorCode;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::journal::{CoverageState, JournalError, SinkId, SourceId, WindowId, WindowKind};
use crate::time::Timestamp;

/// Why a call failed, without the file's name.
#[derive(Debug)]
pub(super) enum SqliteError {
    /// SQLite returned an error.
    Sqlite(rusqlite::Error),
    /// What is stored is invalid.
    Damaged(String),
    /// The file system returned an error, or the journal is closed.
    Storage(String),
    /// The call itself is invalid.
    Rejected(JournalError),
}

impl SqliteError {
    pub(super) fn invalid_state(what: impl Into<String>) -> Self {
        Self::Rejected(JournalError::InvalidState(what.into()))
    }

    /// The error of a whole group of calls, copied for one of them.
    pub(super) fn copy(&self) -> Self {
        match self {
            Self::Sqlite(error) if is_damage(error) => Self::Damaged(error.to_string()),
            Self::Sqlite(error) => Self::Storage(error.to_string()),
            Self::Damaged(reason) => Self::Damaged(reason.clone()),
            Self::Storage(reason) => Self::Storage(reason.clone()),
            Self::Rejected(error) => Self::Storage(error.to_string()),
        }
    }

    /// The contract's error, for the journal at `path`.
    pub(super) fn at(self, path: &str) -> JournalError {
        let path = path.to_owned();
        match self {
            Self::Rejected(error) => error,
            Self::Damaged(reason) => JournalError::Damaged { path, reason },
            Self::Storage(reason) => JournalError::Storage { path, reason },
            Self::Sqlite(error) if is_damage(&error) => JournalError::Damaged { path, reason: error.to_string() },
            Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                JournalError::InvalidState(error.to_string())
            }
            Self::Sqlite(error) => JournalError::Storage { path, reason: error.to_string() },
        }
    }

    /// The same while the journal is being opened: nothing retries then.
    pub(super) fn at_open(self, path: &str) -> JournalError {
        match self.at(path) {
            JournalError::Storage { path, reason } => JournalError::NotOpened { path, reason },
            other => other,
        }
    }
}

/// Whether the file's content is invalid: pages that SQLite calls corrupt, or columns of an unexpected type.
fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::Error as E;
    match error {
        E::SqliteFailure(..) | E::SqlInputError { .. } => {
            matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
        }
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..)
        | E::QueryReturnedNoRows
        | E::Utf8Error(..) => true,
        _ => false,
    }
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

/// A count as SQLite stores it: its integers are signed.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count read from a column. A negative one is damage.
pub(super) struct Count(pub(super) u64);

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// Reads counts from a row without naming the wrapper each time.
pub(super) trait Counts {
    /// The count in column `index`.
    fn count(&self, index: usize) -> rusqlite::Result<u64>;
}

impl Counts for rusqlite::Row<'_> {
    fn count(&self, index: usize) -> rusqlite::Result<u64> {
        self.get::<_, Count>(index).map(|count| count.0)
    }
}

/// A value as JSON text.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, SqliteError> {
    serde_json::to_string(value).map_err(|error| SqliteError::invalid_state(error.to_string()))
}

/// A value from JSON text; `what` names the column in the error.
pub(super) fn from_json<T: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<T, SqliteError> {
    serde_json::from_str(text).map_err(|error| SqliteError::Damaged(format!("{what}: {error}")))
}

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_nanos().into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_i64().map(Self::from_nanos)
    }
}

macro_rules! id_columns {
    ($($id:ty),*) => {$(
        impl ToSql for $id {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.0.into())
            }
        }

        impl FromSql for $id {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_i64().map(Self)
            }
        }
    )*};
}

id_columns!(SourceId, SinkId, WindowId);

/// Kinds are stored as words, so that the file explains itself to whoever opens it.
const KINDS: [(WindowKind, &str); 3] =
    [(WindowKind::Live, "live"), (WindowKind::Backfill, "backfill"), (WindowKind::Recheck, "recheck")];

impl ToSql for WindowKind {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let word = KINDS.iter().find(|(kind, _)| kind == self).map_or("", |(_, word)| word);
        Ok(word.into())
    }
}

impl FromSql for WindowKind {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        KINDS.iter().find(|(_, word)| *word == text).map(|(kind, _)| *kind).ok_or(FromSqlError::InvalidType)
    }
}

impl ToSql for CoverageState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.as_str().into())
    }
}

impl FromSql for CoverageState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let text = value.as_str()?;
        Self::ALL.into_iter().find(|state| state.as_str() == text).ok_or(FromSqlError::InvalidType)
    }
}
