//! The source's way to the journal and through time: every call that the disk refuses is made again until it succeeds,
//! and every wait ends at once when the process shuts down.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::retry::Backoff;
use crate::journal::{CollectJournal, JournalError, JournalFuture};

/// Why the source's loop ends in the middle of something.
#[derive(Debug)]
pub(super) enum Halt {
    /// The process shuts down.
    Shutdown,
    /// The journal cannot be used any more.
    Journal(JournalError),
}

/// The journal with patience.
pub(super) struct Ledger {
    journal: Arc<dyn CollectJournal>,
    backoff: Backoff,
    shutdown: CancellationToken,
}

impl Ledger {
    pub(super) fn new(journal: Arc<dyn CollectJournal>, backoff: Backoff, shutdown: CancellationToken) -> Self {
        Self { journal, backoff, shutdown }
    }

    /// Makes a call until the disk takes it. What was refused is not done, so nothing is done twice.
    pub(super) async fn keep_trying<T>(
        &mut self,
        call: impl for<'j> Fn(&'j dyn CollectJournal) -> JournalFuture<'j, T>,
    ) -> Result<T, Halt> {
        let mut failures = 0;
        loop {
            match call(self.journal.as_ref()).await {
                Ok(answer) if failures == 0 => return Ok(answer),
                Ok(answer) => {
                    tracing::info!("the journal can be written again");
                    return Ok(answer);
                }
                Err(JournalError::Storage { path, reason }) => {
                    if failures == 0 {
                        let error = JournalError::Storage { path, reason };
                        tracing::error!(%error, "collecting waits for the journal");
                    }
                    failures += 1;
                    let wait = self.backoff.after_failure(failures);
                    self.unless_shut_down(tokio::time::sleep(wait)).await?;
                }
                Err(error) => return Err(Halt::Journal(error)),
            }
        }
    }

    /// Whether the journal is below its size limit.
    pub(super) fn has_room(&self) -> bool {
        !*self.journal.full().borrow()
    }

    /// Waits while the journal is at its size limit: the vendor still holds what is not collected yet.
    pub(super) async fn wait_for_room(&self) -> Result<(), Halt> {
        let mut full = self.journal.full();
        if !*full.borrow_and_update() {
            return Ok(());
        }
        tracing::warn!(
            "the journal is full: collecting pauses until the sinks have caught up; see max_size of the journal"
        );
        let freed = full.wait_for(|full| !full);
        tokio::select! {
            () = self.shutdown.cancelled() => return Err(Halt::Shutdown),
            freed = freed => if freed.is_err() { return Err(Halt::Shutdown) },
        }
        tracing::info!("the journal has room again: collecting goes on");
        Ok(())
    }

    /// Waits until a moment.
    pub(super) async fn sleep_until(&self, until: Instant) -> Result<(), Halt> {
        self.unless_shut_down(tokio::time::sleep_until(until)).await
    }

    /// Does something, unless the process shuts down first.
    pub(super) async fn unless_shut_down<T>(&self, work: impl Future<Output = T>) -> Result<T, Halt> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(Halt::Shutdown),
            done = work => Ok(done),
        }
    }
}
