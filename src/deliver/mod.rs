//! Deliver: turns ranges of the journal into what a sink stores, exactly once. One task a sink.
//!
//! ```text
//!         +--> wait until a batch closes (max_events, max_bytes, timeout) <--- journal.head()
//!         |         |
//!         |    journal.prepare_batch(range, fingerprint)
//!         |         |
//!         |    read blocks -> decode -> normalize -> filter -> absorb -> flush ... -> commit     (writing)
//!         |         |                                   outputs recorded before they are touched
//!         +--- journal.commit_batch(position, counters)
//!
//! failure:   sink.undo(outputs), wait with jitter, the same range again, for ever
//! restart:   an open plan is undone first; then the same range again, or, if the config has changed, new batches;
//!            what lies before the position that the outside itself knows makes batches of its own, which the sink
//!            counts and does not write again
//! refused:   events that the outside will never take go to the dead letter, in the same batch
//! ```
//!
//! The loop is the only layer that waits or retries. It holds no event across a wait: whatever is not delivered is in the
//! journal.

mod announce;
mod closing;
mod failure;
mod last_error;
mod outside;
mod routed;
mod task;
#[cfg(test)]
mod tests;
mod writing;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::clock::SharedClock;
use crate::journal::{DeliverJournal, LastError, Seq, SinkStart};
use crate::sinks::{BatchOptions, EventForm, Sink};
use crate::transform::condition::Condition;

pub use failure::DeliverError;

/// A sink as the pipeline file describes it, ready to run.
pub struct SinkTask {
    /// Its name in the pipeline file. Its position in the journal belongs to this name.
    pub name: String,
    /// Where events land.
    pub sink: Box<dyn Sink>,
    /// The sources that it gets, each once. Events of other sources are passed over.
    pub routes: Vec<Route>,
    /// When a batch closes.
    pub batch: BatchOptions,
    /// Where it begins at its first start.
    pub start: SinkStart,
    /// The file for events that the outside will never take.
    pub dead_letter: PathBuf,
}

impl fmt::Debug for SinkTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SinkTask").field("name", &self.name).field("routes", &self.routes).finish_non_exhaustive()
    }
}

/// One source that a sink gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The source's name in the pipeline file.
    pub source: String,
    /// In which form its events come.
    pub form: EventForm,
    /// Which of its events come; `None` for all of them.
    pub condition: Option<Condition>,
}

/// What a sink's loop works with.
#[derive(Clone)]
pub struct Parts {
    /// Where events come from.
    pub journal: Arc<dyn DeliverJournal>,
    /// Tells how long events have waited.
    pub clock: SharedClock,
    /// Seeds the jitter of retries.
    pub rng_seed: u64,
    /// Cancel it when no source adds events any more: everything visible is delivered without waiting for a batch's
    /// limits, then the loop ends.
    pub drain: CancellationToken,
    /// Cancel it to stop: the batch in hand is finished, no other begun, and every wait ends.
    pub shutdown: CancellationToken,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("clock", &self.clock).field("rng_seed", &self.rng_seed).finish_non_exhaustive()
    }
}

/// How a sink's loop ended.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkEnd {
    /// The sink.
    pub name: String,
    /// Whether it was drained: everything that was visible has been delivered.
    pub drained: bool,
    /// The last event that it has delivered or passed over.
    pub position: Seq,
    /// Batches finished by this run.
    pub batches: u64,
    /// Events delivered by this run.
    pub delivered: u64,
    /// Events that a filter dropped in this run.
    pub filtered: u64,
    /// Events that went to the dead letter in this run.
    pub dead_lettered: u64,
    /// Bytes written by this run.
    pub bytes: u64,
    /// What kept it from delivering when it ended.
    pub last_error: Option<LastError>,
}

impl SinkEnd {
    fn new(name: &str) -> Self {
        let name = name.to_owned();
        Self {
            name,
            drained: false,
            position: 0,
            batches: 0,
            delivered: 0,
            filtered: 0,
            dead_lettered: 0,
            bytes: 0,
            last_error: None,
        }
    }
}

/// Delivers to a sink until it is drained or stopped.
///
/// # Errors
/// Only what no retry can mend: a damaged journal, or counters that do not add up. The position stays before the batch,
/// so nothing is lost.
pub async fn run(task: SinkTask, parts: Parts) -> Result<SinkEnd, DeliverError> {
    task::SinkLoop::new(task, parts).run().await
}
