//! The one thread that writes. Calls that wait at the same time share one commit.
//!
//! ```text
//! calls --channel--> BEGIN
//!                      SAVEPOINT, call 1, RELEASE
//!                      SAVEPOINT, call 2, ROLLBACK      refused: undoes itself alone
//!                      SAVEPOINT, call 3, RELEASE
//!                    COMMIT (one fsync) --> head and full are told --> calls 1, 2, 3 are answered
//! ```
//!
//! If the commit itself fails, or SQLite has rolled all back (disk full), every call that had gone well is answered with
//! the reason: none of them is done, each can be asked again.

use std::thread::JoinHandle;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot};

use super::fault::SqliteError;
use super::totals::{Announcer, Totals};

/// Calls that share one commit at most, and calls that wait at most before callers wait in turn.
const MAX_GROUP: usize = 64;

/// A call with its answer's address.
trait Call: Send {
    /// Does the work. The error is a copy of the answer's.
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError>;
    /// All of the group is undone: so is this, if it had gone well or was not run.
    fn undo(&mut self, why: &SqliteError);
    /// Tells the caller.
    fn answer(self: Box<Self>);
}

struct TypedCall<T, W> {
    work: Option<W>,
    outcome: Option<Result<T, SqliteError>>,
    caller: oneshot::Sender<Result<T, SqliteError>>,
}

impl<T, W> Call for TypedCall<T, W>
where
    T: Send,
    W: FnOnce(&Connection) -> Result<T, SqliteError> + Send,
{
    fn run(&mut self, connection: &Connection) -> Result<(), SqliteError> {
        let work = self.work.take().ok_or_else(stopped)?;
        let outcome = self.outcome.insert(work(connection));
        outcome.as_ref().map(|_| ()).map_err(SqliteError::again)
    }

    fn undo(&mut self, why: &SqliteError) {
        if !matches!(self.outcome, Some(Err(_))) {
            self.outcome = Some(Err(why.again()));
        }
    }

    fn answer(self: Box<Self>) {
        if let Some(outcome) = self.outcome {
            // A caller that has gone away does not want its answer.
            let _ = self.caller.send(outcome);
        }
    }
}

/// Hands calls to the writing thread. Dropping it lets the thread finish what waits, close the file and end.
#[derive(Debug)]
pub(super) struct Writer {
    calls: Option<mpsc::Sender<Box<dyn Call>>>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for dyn Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Call")
    }
}

impl Writer {
    /// Starts the thread on `connection`.
    pub(super) fn start(connection: Connection, announcer: Announcer) -> std::io::Result<Self> {
        let (calls, waiting) = mpsc::channel(MAX_GROUP);
        let thread = std::thread::Builder::new()
            .name("journal-writer".to_owned())
            .spawn(move || write_until_closed(connection, waiting, &announcer))?;
        Ok(Self { calls: Some(calls), thread: Some(thread) })
    }

    /// Runs `work` in a transaction and answers once it is committed.
    pub(super) async fn run<T, W>(&self, work: W) -> Result<T, SqliteError>
    where
        T: Send + 'static,
        W: FnOnce(&Connection) -> Result<T, SqliteError> + Send + 'static,
    {
        let (caller, answer) = oneshot::channel();
        let call = TypedCall { work: Some(work), outcome: None, caller };
        let calls = self.calls.as_ref().ok_or_else(stopped)?;
        calls.send(Box::new(call)).await.map_err(|_| stopped())?;
        wait_for(answer).await?
    }
}

/// On a single-threaded runtime (tests) the wait is on a blocking thread, since tokio's paused clock stands still for those
/// alone: a commit must take no time there, whatever the disk does. Elsewhere that would be a thread for each call.
async fn wait_for<T: Send + 'static>(answer: oneshot::Receiver<T>) -> Result<T, SqliteError> {
    if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        return answer.await.map_err(|_| stopped());
    }
    let answered = tokio::task::spawn_blocking(move || answer.blocking_recv());
    answered.await.map_err(|_| stopped())?.map_err(|_| stopped())
}

fn stopped() -> SqliteError {
    SqliteError::Storage("the journal has been closed".to_owned())
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.calls = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been printed; every caller has been answered with an error.
            let _ = thread.join();
        }
    }
}

fn write_until_closed(mut connection: Connection, mut waiting: mpsc::Receiver<Box<dyn Call>>, announcer: &Announcer) {
    while let Some(call) = waiting.blocking_recv() {
        let mut group = vec![call];
        while group.len() < MAX_GROUP
            && let Ok(call) = waiting.try_recv()
        {
            group.push(call);
        }
        if let Err(why) = commit_group(&mut connection, &mut group, announcer) {
            group.iter_mut().for_each(|call| call.undo(&why));
        }
        group.into_iter().for_each(Call::answer);
    }
}

fn commit_group(
    connection: &mut Connection,
    group: &mut [Box<dyn Call>],
    announcer: &Announcer,
) -> Result<(), SqliteError> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for call in group {
        run_in_savepoint(&mut transaction, call.as_mut())?;
    }
    let totals = Totals::read(&transaction)?;
    transaction.commit()?;
    announcer.announce(totals);
    Ok(())
}

fn run_in_savepoint(transaction: &mut Transaction<'_>, call: &mut dyn Call) -> Result<(), SqliteError> {
    let mut savepoint = transaction.savepoint()?;
    if let Err(why) = call.run(&savepoint) {
        // After a full disk SQLite may have ended the whole transaction: then this fails, and the group with it.
        savepoint.rollback().map_err(|_| why)?;
    }
    savepoint.commit()?;
    Ok(())
}
