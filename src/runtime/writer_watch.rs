//! Notices that the journal's writing thread has ended, which only a defect can cause: it panicked. Every call fails from
//! then on, and no retry helps: the run ends with an error, so that the service manager starts the process again.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::journal::Seq;

/// Cancels `writer_ended` when the thread that publishes `head` ends.
pub(super) async fn watch_writer(mut head: watch::Receiver<Seq>, writer_ended: CancellationToken) {
    while head.changed().await.is_ok() {}
    tracing::error!(
        event = "journal_writer_ended",
        hint = "restart auditflow, and report the panic in the log",
        "the journal's writing thread has ended; nothing can be collected or delivered"
    );
    writer_ended.cancel();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_waits_through_commits_and_ends_with_the_thread() {
        let (publisher, head) = watch::channel(0);
        let writer_ended = CancellationToken::new();
        let watching = tokio::spawn(watch_writer(head, writer_ended.clone()));
        for seq in 1..=3 {
            publisher.send(seq).expect("is watched");
            tokio::task::yield_now().await;
            assert!(!writer_ended.is_cancelled());
        }
        drop(publisher);
        watching.await.expect("ends");
        assert!(writer_ended.is_cancelled());
    }
}
