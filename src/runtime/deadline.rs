//! When a bounded run gives up: errors have blocked all remaining work for too long. Otherwise `run --once` would wait forever
//! for a full disk or an unavailable vendor, and the timer that started it would not notice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::start::{RunMode, RunOptions};
use crate::journal::{Journal, JournalStats, LastError};
use crate::pipeline::ValidatedPipeline;
use crate::time::Timestamp;

/// The components that have not ended yet.
#[derive(Clone, Debug)]
pub(super) struct RunningComponents(Arc<Mutex<BTreeSet<String>>>);

impl RunningComponents {
    /// All components of the pipeline.
    pub(super) fn of(pipeline: &ValidatedPipeline) -> Self {
        let sources = pipeline.sources.iter().map(|source| source.name.clone());
        let sinks = pipeline.sinks.iter().map(|sink| sink.name.clone());
        Self(Arc::new(Mutex::new(sources.chain(sinks).collect())))
    }

    pub(super) fn remove(&self, name: &str) {
        self.names().remove(name);
    }

    /// Their names.
    pub(super) fn list(&self) -> Vec<String> {
        self.names().iter().cloned().collect()
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A panic while the lock is held leaves the set of names valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether errors of this run have blocked all remaining work since before `then`: that of every running source or, if
    /// none runs or all wait for a full journal, of every running sink.
    fn are_blocked_since(&self, started: Timestamp, then: Timestamp, stats: &JournalStats, full: bool) -> bool {
        let running = self.names();
        let sources: Vec<_> = stats
            .sources
            .iter()
            .filter(|source| running.contains(&source.name))
            .map(|source| &source.last_error)
            .collect();
        let sinks = stats.sinks.iter().filter(|sink| running.contains(&sink.name)).map(|sink| &sink.last_error);
        let remaining: Vec<_> = if sources.is_empty() || full { sinks.collect() } else { sources };
        // The journal may still hold an error of the run before, which says nothing about this one.
        let blocks = |error: &LastError| error.since >= started && error.since < then;
        !remaining.is_empty() && remaining.iter().all(|last_error| last_error.as_ref().is_some_and(blocks))
    }
}

/// Shuts a bounded run down if errors block all remaining work for `give_up_after`.
/// `started` is when the run began, before any component did.
pub(super) async fn give_up(
    journal: Arc<dyn Journal>,
    options: RunOptions,
    running: RunningComponents,
    started: Timestamp,
) {
    let RunMode::Once { give_up_after } = options.mode else { return };
    let mut ticks = tokio::time::interval(give_up_after.div_f64(10.0).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        let Ok(stats) = journal.stats().await else { continue };
        let full = *journal.full().borrow();
        if running.are_blocked_since(started, options.clock.now() - give_up_after, &stats, full) {
            tracing::error!(
                event = "run_gave_up",
                after_secs = give_up_after.as_secs(),
                "giving up: the remaining work is blocked by errors; the next run resumes it"
            );
            options.shutdown.cancel();
            return;
        }
    }
}
