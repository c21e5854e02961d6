//! Deliver: turns ranges of the journal into what a sink stores, exactly once. One task per sink.
//!
//! ```text
//!         +--> wait until a batch closes (max_events, max_bytes, timeout) <--- journal.head()      (batch_policy)
//!         |         |
//!         |    journal.prepare_batch(range, fingerprint)
//!         |         |
//!         |    read blocks -> decode -> normalize -> filter -> write -> flush ... -> commit        (batch_writer)
//!         |         |                          outputs are recorded before they are touched
//!         +--- journal.commit_batch(position, counters, state)
//!
//! error:     sink.prepare_retry(records), wait with jitter, the same range again, without limit    (sink_loop)
//! restart:   an unfinished batch is rolled back first; then the same range again, or, if the settings changed, new batches;
//!            a range that the target already stores as delivered is counted and not written again  (recovery)
//! rejected:  events that the target can never accept go to the dead letter, in the same batch
//! findings:  events that could not be normalized completely are counted with the position        (findings)
//! ```
//!
//! The loop is the only layer that waits or retries. It holds no event across a wait: whatever is not delivered is in the
//! journal.

mod batch_policy;
mod batch_writer;
mod contract;
mod findings;
mod recovery;
mod sink_loop;
#[cfg(test)]
mod tests;

pub use contract::{DeliverError, Route, SinkContext, SinkEnd, SinkTask};
pub use sink_loop::run;
