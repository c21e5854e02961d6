//! What an outside that knows how far a sink has come means for the next batch.

use super::failure::Failure;
use crate::journal::Seq;
use crate::sinks::{BatchOptions, SinkError};

/// Events are durable in the journal before they are written outside: an outside that is ahead of the journal has been
/// written from another state of it.
pub(super) fn expect_known(sink: &str, outside: Seq, head: Seq) -> Result<(), Failure> {
    if outside <= head {
        return Ok(());
    }
    Err(Failure::from(SinkError::Stopped {
        message: format!(
            "`{sink}` has delivered up to event {outside}, and the journal ends at {head}: it was restored from a back-up, or is a copy"
        ),
        hint: "put the newest state of data_dir back, or give the sink another name: it then delivers everything that the journal holds, and consumers see some events twice, with the same id".to_owned(),
    }))
}

/// What the outside already has is one batch, so that the sink compares its end before the position moves at all.
pub(super) fn limits(configured: BatchOptions, outside: Seq, position: Seq) -> BatchOptions {
    if outside <= position {
        return configured;
    }
    let all = i64::MAX.unsigned_abs();
    BatchOptions { max_events: all, max_bytes: all, ..configured }
}
