//! What went wrong inside, before it is known as which file's trouble it is told.

use rusqlite::ErrorCode;

use crate::journal::JournalError;

/// A call's failure, without the file's name.
#[derive(Debug)]
pub(super) enum SqliteError {
    /// SQLite refused.
    Sqlite(rusqlite::Error),
    /// What is stored makes no sense.
    Damaged(String),
    /// The file system refuses, or the journal is stopping.
    Storage(String),
    /// The call is refused for what it asks.
    Refused(JournalError),
}

impl SqliteError {
    pub(super) fn invalid_state(what: impl Into<String>) -> Self {
        Self::Refused(JournalError::InvalidState(what.into()))
    }

    /// The failure of a whole group of calls, once more for the next of them.
    pub(super) fn again(&self) -> Self {
        match self {
            Self::Sqlite(error) if is_damage(error) => Self::Damaged(error.to_string()),
            Self::Sqlite(error) => Self::Storage(error.to_string()),
            Self::Damaged(reason) => Self::Damaged(reason.clone()),
            Self::Storage(reason) => Self::Storage(reason.clone()),
            Self::Refused(error) => Self::Storage(error.to_string()),
        }
    }

    /// As the contract tells it, of the journal at `path`.
    pub(super) fn at(self, path: &str) -> JournalError {
        let path = path.to_owned();
        match self {
            Self::Refused(error) => error,
            Self::Damaged(reason) => JournalError::Damaged { path, reason },
            Self::Storage(reason) => JournalError::Storage { path, reason },
            Self::Sqlite(error) if is_damage(&error) => JournalError::Damaged { path, reason: error.to_string() },
            Self::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                JournalError::InvalidState(error.to_string())
            }
            Self::Sqlite(error) => JournalError::Storage { path, reason: error.to_string() },
        }
    }

    /// The same, of a journal that is being opened: nobody goes on by himself then.
    pub(super) fn at_open(self, path: &str) -> JournalError {
        match self.at(path) {
            JournalError::Storage { path, reason } => JournalError::NotOpened { path, reason },
            other => other,
        }
    }
}

/// Whether the file holds what it should not: pages that SQLite calls corrupt, or columns of another shape.
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
