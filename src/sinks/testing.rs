//! Helpers that the sinks' tests share.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::RollbackLog;
use crate::event::Event;
use crate::journal::{JournalError, RollbackRecord};
use crate::time::Timestamp;
use crate::vendors::{ReadContext, record};

/// A clumio event of the source `acme` with the given record and time.
pub(crate) fn event<'a>(raw: &'a str, at: &str) -> Event<'a> {
    let timestamp = Timestamp::parse_rfc3339(at).expect("a time");
    let context = ReadContext { source: "acme", observed_at: timestamp, occurrence: 0 };
    let mut event = record::unreadable("clumio", None, raw, &context, String::new());
    event.normalize_error = None;
    event.timestamp = timestamp;
    event
}

/// Keeps rollback records in memory, as the journal does on disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryLog {
    calls: Arc<Mutex<Vec<Vec<RollbackRecord>>>>,
    fails: bool,
}

impl MemoryLog {
    /// A log that cannot be written.
    pub(crate) fn failing() -> Self {
        Self { fails: true, ..Self::default() }
    }

    /// All records, in order.
    pub(crate) fn records(&self) -> Vec<RollbackRecord> {
        self.calls().concat()
    }

    /// The records of each call.
    pub(crate) fn calls(&self) -> Vec<Vec<RollbackRecord>> {
        self.calls.lock().expect("not poisoned").clone()
    }
}

impl RollbackLog for MemoryLog {
    fn record(&mut self, records: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>> {
        if self.fails {
            let error = JournalError::Storage { path: "journal.db".to_owned(), reason: "disk full".to_owned() };
            return Box::pin(std::future::ready(Err(error)));
        }
        self.calls.lock().expect("not poisoned").push(records);
        Box::pin(std::future::ready(Ok(())))
    }
}
