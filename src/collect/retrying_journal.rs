//! The source's access to the journal and to time: a call that the storage rejects is made again until it succeeds, and
//! every wait ends at once when the process shuts down.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::journal::{CollectJournal, JournalError, JournalFuture};

/// Why the source loop stops before its work is done.
#[derive(Debug)]
pub(super) enum StopReason {
    /// The process shuts down.
    Shutdown,
    /// The journal cannot be used any more.
    Journal(JournalError),
}

/// The journal, with retries on storage errors.
pub(super) struct RetryingJournal {
    journal: Arc<dyn CollectJournal>,
    backoff: Backoff,
    shutdown: CancellationToken,
}

impl RetryingJournal {
    pub(super) fn new(journal: Arc<dyn CollectJournal>, backoff: Backoff, shutdown: CancellationToken) -> Self {
        Self { journal, backoff, shutdown }
    }

    /// Makes a call until the storage accepts it. A call that failed has changed nothing, so nothing is done twice.
    pub(super) async fn retry<T>(
        &mut self,
        call: impl for<'j> Fn(&'j dyn CollectJournal) -> JournalFuture<'j, T>,
    ) -> Result<T, StopReason> {
        let mut failures = 0;
        loop {
            match call(self.journal.as_ref()).await {
                Ok(answer) => {
                    if failures > 0 {
                        tracing::info!(event = "journal_recovered", failures, "journal can be written again");
                    }
                    return Ok(answer);
                }
                Err(error @ JournalError::Storage { .. }) => {
                    failures += 1;
                    let wait = self.backoff.after_failure(failures);
                    if failures == 1 {
                        let retry_in_secs = wait.as_secs_f64();
                        tracing::error!(event = "journal_unavailable", %error, retry_in_secs, "journal is unavailable, retrying");
                    }
                    self.unless_shut_down(tokio::time::sleep(wait)).await?;
                }
                Err(error) => return Err(StopReason::Journal(error)),
            }
        }
    }

    /// Whether the journal is below its size limit.
    pub(super) fn has_room(&self) -> bool {
        !*self.journal.full().borrow()
    }

    /// Waits while the journal is at its size limit. The vendor still holds what is not collected yet.
    pub(super) async fn wait_for_room(&self) -> Result<(), StopReason> {
        let mut full = self.journal.full();
        if !*full.borrow_and_update() {
            return Ok(());
        }
        let hint = "raise `max_size` of the journal, or fix the sink that does not keep up";
        tracing::warn!(event = "journal_full", hint, "journal is full, collecting pauses until the sinks catch up");
        let freed = full.wait_for(|full| !full);
        tokio::select! {
            () = self.shutdown.cancelled() => return Err(StopReason::Shutdown),
            freed = freed => if freed.is_err() { return Err(StopReason::Shutdown) },
        }
        tracing::info!(event = "journal_has_room", "journal has room again, collecting resumes");
        Ok(())
    }

    /// Waits until `until`.
    pub(super) async fn sleep_until(&self, until: Instant) -> Result<(), StopReason> {
        self.unless_shut_down(tokio::time::sleep_until(until)).await
    }

    /// Awaits `work`, unless the process shuts down first.
    pub(super) async fn unless_shut_down<T>(&self, work: impl Future<Output = T>) -> Result<T, StopReason> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => Err(StopReason::Shutdown),
            done = work => Ok(done),
        }
    }
}
