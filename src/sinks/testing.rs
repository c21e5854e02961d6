//! What the sinks' tests share.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;

use super::PlanLog;
use crate::event::Event;
use crate::journal::{JournalError, RollbackRecord};
use crate::time::EventTime;
use crate::vendors::{ReadContext, record};

/// A clumio event of the source `acme` with the given record and time.
pub(crate) fn event<'a>(raw: &'a str, at: &str) -> Event<'a> {
    let timestamp = EventTime::parse_rfc3339(at).expect("a time");
    let context = ReadContext { source: "acme", observed_at: timestamp.at, occurrence: 0 };
    let mut event = record::unreadable("clumio", None, raw, &context, String::new());
    event.normalize_error = None;
    event.timestamp = timestamp;
    event
}

/// Remembers what was recorded, as the journal would.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryPlan {
    outputs: Arc<Mutex<Vec<Vec<RollbackRecord>>>>,
    refuses: bool,
}

impl MemoryPlan {
    /// A plan that cannot be written.
    pub(crate) fn refusing() -> Self {
        Self { refuses: true, ..Self::default() }
    }

    /// All that was recorded, in order.
    pub(crate) fn outputs(&self) -> Vec<RollbackRecord> {
        self.calls().concat()
    }

    /// What each call recorded.
    pub(crate) fn calls(&self) -> Vec<Vec<RollbackRecord>> {
        self.outputs.lock().expect("not poisoned").clone()
    }
}

impl PlanLog for MemoryPlan {
    fn record(&mut self, outputs: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>> {
        if self.refuses {
            let error = JournalError::Storage { path: "journal.db".to_owned(), reason: "disk full".to_owned() };
            return Box::pin(std::future::ready(Err(error)));
        }
        self.outputs.lock().expect("not poisoned").push(outputs);
        Box::pin(std::future::ready(Ok(())))
    }
}
