//! When a bounded run gives up: nothing but trouble is left, and has been for long. Without it a `run --once` would wait for
//! ever for a disk that is full or a vendor that is down, and the timer that started it would never hear of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::plan::Pipeline;
use super::run::{Mode, RunOptions};
use crate::journal::{JournalStats, LogReader};
use crate::time::Timestamp;

/// The parts that have not ended yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<BTreeSet<String>>>);

impl Running {
    pub(super) fn start(&self, pipeline: &Pipeline) {
        let sources = pipeline.sources.iter().map(|source| source.name.clone());
        self.names().extend(sources.chain(pipeline.sinks.iter().map(|sink| sink.name.clone())));
    }

    pub(super) fn ended(&self, name: &str) {
        self.names().remove(name);
    }

    fn names(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // A set of names is whole even if somebody panicked while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing but trouble is left: every source that still runs, or, if none does, every sink, has been in
    /// trouble since before `then`.
    fn only_trouble_since(&self, then: Timestamp, summary: &JournalStats) -> bool {
        let running = self.names();
        let sources: Vec<_> = summary
            .sources
            .iter()
            .filter(|source| running.contains(&source.name))
            .map(|source| &source.last_error)
            .collect();
        let sinks = summary.sinks.iter().filter(|sink| running.contains(&sink.name)).map(|sink| &sink.last_error);
        let left: Vec<_> = if sources.is_empty() { sinks.collect() } else { sources };
        !left.is_empty()
            && left.iter().all(|last_error| last_error.as_ref().is_some_and(|last_error| last_error.since < then))
    }
}

/// Ends a bounded run when nothing but long trouble is left: whoever started it (a timer, mostly) must hear of it.
pub(super) async fn give_up(journal: Arc<dyn LogReader>, options: RunOptions, running: Running) {
    let Mode::Once { give_up_after } = options.mode else { return };
    let mut ticks = tokio::time::interval(give_up_after.div_f64(10.0).max(Duration::from_millis(100)));
    loop {
        ticks.tick().await;
        let Ok(summary) = journal.stats().await else { continue };
        if running.only_trouble_since(options.clock.now() - give_up_after, &summary) {
            tracing::error!("what is left cannot be done at present: the run ends without it, the next one goes on");
            options.shutdown.cancel();
            return;
        }
    }
}
