//! Changes of the past by an operator. Each is one call, so one transaction; [`preview`](SqliteJournal::preview_rewind) reads
//! what it would come to.
//!
//! ```text
//! rewind      coverage is cut, open windows go; keys are made whole again, or stripped     `rewind`
//! redeliver   a sink's position goes back, its generation forward                          `redeliver`
//! rename      a row gets another name; a sink's generation goes forward                    `names`
//! forget      a row is emptied, or goes with all that hangs on it                          `names`
//! ```
//!
//! **Generations.** What a sink has written outside can be named by its range of the journal, and the outside can know how
//! far it has come. Both hold for one generation: a sink that goes back, is renamed or begins anew gets a number that no
//! sink of this journal has had, and a sink that the journal does not know begins with the highest so far.

mod names;
mod redeliver;
mod rewind;
#[cfg(test)]
mod tests;

use rusqlite::Connection;

use super::fault::SqliteError;
use super::values::{Counts, int};
use super::{SqliteJournal, log};
use crate::journal::editing::{
    ComponentKind, Edit, Redeliver, RedeliverPreview, Rewind, RewindPreview, SinkPast, SourcePast,
};
use crate::journal::{JournalError, SourceId};

impl SqliteJournal {
    /// What a rewind would do; `None` if the source is not known.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn preview_rewind(&self, rewind: Rewind) -> Result<Option<RewindPreview>, JournalError> {
        self.look(move |file| rewind::preview(file, &rewind)).await
    }

    /// What a redelivery would do; `None` if the sink is not known.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn preview_redeliver(&self, redeliver: Redeliver) -> Result<Option<RedeliverPreview>, JournalError> {
        self.look(move |file| redeliver::preview(file, &redeliver)).await
    }

    /// What is known of a source; `None` if nothing is.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn past_of_source(&self, name: &str) -> Result<Option<SourcePast>, JournalError> {
        let name = name.to_owned();
        self.look(move |file| names::past_of_source(file, &name)).await
    }

    /// What is known of a sink; `None` if nothing is.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn past_of_sink(&self, name: &str) -> Result<Option<SinkPast>, JournalError> {
        let name = name.to_owned();
        self.look(move |file| names::past_of_sink(file, &name)).await
    }

    /// Makes a change, in one transaction: done and durable when it answers.
    ///
    /// # Errors
    /// [`JournalError::InvalidState`] if the change does not fit what the journal holds, which a look beforehand shows; else the
    /// journal cannot be written. Nothing is changed then.
    pub async fn apply(&self, edit: Edit) -> Result<(), JournalError> {
        self.write(move |file| match &edit {
            Edit::Rewind(edit) => rewind::apply(file, edit),
            Edit::Redeliver(edit) => redeliver::apply(file, edit),
            Edit::Rename(edit) => names::rename(file, edit),
            Edit::Forget(edit) => names::forget(file, edit),
        })
        .await
    }
}

/// The numbers of the named sources that are known.
fn ids_of(connection: &Connection, names: &[String]) -> Result<Vec<SourceId>, SqliteError> {
    let known = log::sources(connection)?;
    Ok(known.into_iter().filter(|source| names.contains(&source.name)).map(|source| source.id).collect())
}

/// A generation that no sink has had.
fn new_generation(connection: &Connection) -> Result<i64, SqliteError> {
    connection.execute("UPDATE totals SET generations = generations + 1", [])?;
    Ok(int(connection.query_row("SELECT generations FROM totals", [], |row| row.count(0))?))
}

fn unknown(kind: ComponentKind, name: &str) -> SqliteError {
    SqliteError::invalid_state(format!("there is no {} `{name}`", kind.as_str()))
}
