//! How the contract's numbers and times are kept in columns.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::journal::{SinkId, SourceId, WindowId, WindowKind};
use crate::time::Timestamp;

/// A count as SQLite keeps it: its integers are signed.
pub(super) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A count as it comes out of a column. A negative one is damage.
pub(super) struct Count(pub(super) u64);

impl FromSql for Count {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        u64::try_from(number).map(Self).map_err(|_| FromSqlError::OutOfRange(number))
    }
}

/// Reads counts from a row without naming the wrapper at each place.
pub(super) trait Counts {
    /// The count in column `index`.
    fn count(&self, index: usize) -> rusqlite::Result<u64>;
}

impl Counts for rusqlite::Row<'_> {
    fn count(&self, index: usize) -> rusqlite::Result<u64> {
        self.get::<_, Count>(index).map(|count| count.0)
    }
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

/// Kinds are kept as words, so that the file explains itself to whoever opens it.
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
