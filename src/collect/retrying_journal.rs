//! The source's access to the journal and to time: a call that the storage rejects is made again until it succeeds, and
//! every wait ends at once when the process shuts down.

use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::clock::SharedClock;
use crate::journal::{CollectJournal, JournalError, JournalFuture, LastError, SourceId};

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
    clock: SharedClock,
    /// The source that works with it, once it is registered.
    source: Option<SourceId>,
    /// The last error of that source, beside those of the journal.
    last_error: Option<LastError>,
}

impl RetryingJournal {
    pub(super) fn new(
        journal: Arc<dyn CollectJournal>,
        backoff: Backoff,
        shutdown: CancellationToken,
        clock: SharedClock,
    ) -> Self {
        Self { journal, backoff, shutdown, clock, source: None, last_error: None }
    }

    /// The source is registered: from now on it has an error while the journal cannot be written.
    pub(super) fn registered(&mut self, source: SourceId) {
        self.source = Some(source);
    }

    /// Stores the last error of the source.
    pub(super) async fn set_last_error(&mut self, last_error: Option<LastError>) -> Result<(), StopReason> {
        self.last_error.clone_from(&last_error);
        let Some(source) = self.source else { return Ok(()) };
        self.retry(|journal| journal.set_source_error(source, last_error.clone())).await
    }

    /// Shows an error of the journal as that of the source, or what error it has beside that.
    async fn show_error(&self, last_error: Option<LastError>) {
        let Some(source) = self.source else { return };
        if let Err(error) = self.journal.set_source_error(source, last_error).await {
            tracing::debug!(event = "source_error_not_stored", %error, "cannot store the source's error");
        }
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
                        self.show_error(self.last_error.clone()).await;
                    }
                    return Ok(answer);
                }
                Err(error @ JournalError::Storage { .. }) => {
                    failures += 1;
                    let wait = self.backoff.after_failure(failures);
                    if failures == 1 {
                        let retry_in_secs = wait.as_secs_f64();
                        tracing::error!(event = "journal_unavailable", %error, retry_in_secs, "journal is unavailable, retrying");
                        self.show_error(Some(self.journal_error(&error))).await;
                    }
                    self.unless_shut_down(tokio::time::sleep(wait)).await?;
                }
                Err(error) => return Err(StopReason::Journal(error)),
            }
        }
    }

    fn journal_error(&self, error: &JournalError) -> LastError {
        let hint = "free space on the disk that holds `data_dir`, or fix the disk".to_owned();
        LastError { message: error.to_string(), hint, since: self.clock.now() }
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
