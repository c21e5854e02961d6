//! The connections: one thread that writes, and a few connections that read beside it.
//!
//! ```text
//! calls that change --channel--> BEGIN
//!                                  SAVEPOINT, call 1, RELEASE
//!                                  SAVEPOINT, call 2, ROLLBACK      an error rolls back this call alone
//!                                  SAVEPOINT, call 3, RELEASE
//!                                COMMIT (one fsync) --> head and full are published --> calls 1, 2, 3 return
//!
//! calls that read --> an idle connection --> one unchanging state; never waits for a commit
//! ```
//!
//! If the commit itself fails, or SQLite has rolled back the transaction (disk full), every call of the group returns the
//! error: none of them is done, each can be repeated.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::schema;
use super::sql::SqliteError;
use super::totals::{Publisher, Totals};

/// Calls that share one commit at most, and calls that wait at most before their callers wait.
const MAX_GROUP: usize = 64;

/// Reading connections kept open while idle.
const IDLE_READERS: usize = 4;

/// Concurrent reads, each on a thread: a thousand sources that start together would otherwise take hundreds.
const MAX_READERS: usize = 16;

/// A call in the writer's queue.
trait Call: Send {
    /// Does the work. The error is a copy of the result's.
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError>;
    /// The group was rolled back: so is this call, whether it succeeded or did not run.
    fn fail(&mut self, error: &SqliteError);
    /// Returns the result to the caller.
    fn finish(self: Box<Self>);
}

struct TypedCall<T, W> {
    work: Option<W>,
    result: Option<Result<T, SqliteError>>,
    caller: oneshot::Sender<Result<T, SqliteError>>,
}

impl<T, W> Call for TypedCall<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, SqliteError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError> {
        let work = self.work.take().ok_or_else(closed)?;
        let result = self.result.insert(work(connection));
        result.as_ref().map(|_| ()).map_err(SqliteError::copy)
    }

    fn fail(&mut self, error: &SqliteError) {
        if !matches!(self.result, Some(Err(_))) {
            self.result = Some(Err(error.copy()));
        }
    }

    fn finish(self: Box<Self>) {
        if let Some(result) = self.result {
            // A caller that was dropped does not need its result.
            let _ = self.caller.send(result);
        }
    }
}

impl std::fmt::Debug for dyn Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

/// Sends calls to the writing thread. Dropping it lets the thread finish the queue, close the file and end.
#[derive(Debug)]
pub(super) struct Writer {
    calls: Option<mpsc::Sender<Box<dyn Call>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread on `connection`.
    pub(super) fn start(connection: Connection, publisher: Publisher) -> std::io::Result<Self> {
        let (calls, queue) = mpsc::channel(MAX_GROUP);
        let thread = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || write_until_closed(connection, queue, &publisher))?;
        Ok(Self { calls: Some(calls), thread: Some(thread) })
    }

    /// Runs `work` in a transaction and returns once it is committed.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let (caller, result) = oneshot::channel();
        let call = TypedCall { work: Some(work), result: None, caller };
        let calls = self.calls.as_ref().ok_or_else(closed)?;
        calls.send(Box::new(call)).await.map_err(|_| closed())?;
        wait_for(result).await?
    }
}

/// On a single-threaded runtime (tests) the wait runs on a blocking thread: tokio's paused clock stops for those only, and
/// a commit must take no time there, whatever the disk does. Elsewhere that would cost a thread per call.
async fn wait_for<T: Send + 'static>(result: oneshot::Receiver<T>) -> Result<T, SqliteError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        return result.await.map_err(|_| closed());
    }
    let waiting = tokio::task::spawn_blocking(move || result.blocking_recv());
    waiting.await.map_err(|_| closed())?.map_err(|_| closed())
}

fn closed() -> SqliteError {
    SqliteError::Storage("the journal is closed".to_owned())
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed, and every caller has got an error.
            let _ = thread.join();
        }
    }
}

fn write_until_closed(mut connection: Connection, mut queue: mpsc::Receiver<Box<dyn Call>>, publisher: &Publisher) {
    while let Some(call) = queue.blocking_recv() {
        let mut group = vec![call];
        while group.len() < MAX_GROUP
            && let Ok(call) = queue.try_recv()
        {
            group.push(call);
        }
        if let Err(error) = commit_group(&mut connection, &mut group, publisher) {
            group.iter_mut().for_each(|call| call.fail(&error));
        }
        group.into_iter().for_each(Call::finish);
    }
}

fn commit_group(
    connection: &mut Connection,
    group: &mut [Box<dyn Call>],
    publisher: &Publisher,
) -> Result<(), SqliteError> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for call in group {
        run_in_savepoint(&mut transaction, call.as_mut())?;
    }
    let totals = Totals::read(&transaction)?;
    transaction.commit()?;
    publisher.publish(totals);
    Ok(())
}

fn run_in_savepoint(transaction: &mut Transaction<'_>, call: &mut dyn Call) -> Result<(), SqliteError> {
    let mut savepoint = transaction.savepoint()?;
    if let Err(error) = call.run(&savepoint) {
        // On a full disk SQLite may have ended the whole transaction: then this fails, and the group with it.
        savepoint.rollback().map_err(|_| error)?;
    }
    savepoint.commit()?;
    Ok(())
}

/// A pool of reading connections.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::default(), permits: Semaphore::new(MAX_READERS) }
    }

    /// Runs `work` on a blocking thread, on one unchanging state of the journal.
    pub(super) async fn run<T, W>(self: Arc<Self>, work: W) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let readers = Arc::clone(&self);
        let _permit = readers.permits.acquire().await.map_err(|_| closed())?;
        let reading = tokio::task::spawn_blocking(move || self.run_blocking(work));
        reading.await.map_err(|error| SqliteError::Storage(format!("the read was stopped: {error}")))?
    }

    fn run_blocking<T>(&self, work: impl FnOnce(&Connection) -> Result<T, SqliteError>) -> Result<T, SqliteError> {
        let connection = self.take()?;
        let snapshot = connection.unchecked_transaction()?;
        let found = work(&snapshot)?;
        snapshot.finish()?;
        // A connection that failed is not kept: the next read opens a new one.
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
