//! Connections for reading, beside the one that writes, so that a sink that reads a backlog never waits for a commit.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::fault::SqliteError;
use super::schema;

/// Connections kept open while nobody reads.
const IDLE_READERS: usize = 4;

/// Reads at the same time, each on a thread: a thousand sources that start together would else take hundreds.
const MAX_READERS: usize = 16;

/// Lends connections; opens another one when all are lent.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    places: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), places: Semaphore::new(MAX_READERS) }
    }

    /// Runs `work` on a blocking thread, on one unchanging state of the journal.
    pub(super) async fn run<T, W>(self: Arc<Self>, work: W) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let readers = Arc::clone(&self);
        let _place = readers
            .places
            .acquire()
            .await
            .map_err(|_| SqliteError::Storage("the journal has been closed".to_owned()))?;
        let reading = tokio::task::spawn_blocking(move || self.run_here(work));
        reading.await.map_err(|error| SqliteError::Storage(format!("reading was stopped: {error}")))?
    }

    fn run_here<T>(&self, work: impl FnOnce(&Connection) -> Result<T, SqliteError>) -> Result<T, SqliteError> {
        let connection = self.take()?;
        let snapshot = connection.unchecked_transaction()?;
        let found = work(&snapshot)?;
        snapshot.finish()?;
        // A connection that failed is not kept: the next read begins with a fresh one.
        self.put_back(connection);
        Ok(found)
    }

    fn take(&self) -> Result<Connection, SqliteError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.map_or_else(|| schema::open_reader(&self.path), Ok)
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_READERS {
            idle.push(connection);
        }
    }
}
