//! A sink's trouble: said once when it begins or changes, once when it is over, and kept in the journal for `status`.

use crate::journal::{DeliverJournal, LastError, SinkId};
use crate::time::Timestamp;

/// The present trouble of a sink.
#[derive(Debug, Default)]
pub(super) struct TroubleReport {
    present: Option<LastError>,
    /// Whether the journal has been told. The process before this one may have left a trouble there.
    told: bool,
}

impl TroubleReport {
    pub(super) fn present(&self) -> Option<&LastError> {
        self.present.as_ref()
    }

    /// An attempt failed.
    pub(super) async fn raise(
        &mut self,
        journal: &dyn DeliverJournal,
        sink: (&str, Option<SinkId>),
        message: String,
        hint: String,
        now: Timestamp,
    ) {
        if self.present.as_ref().is_none_or(|present| present.message != message) {
            tracing::warn!(sink = sink.0, %hint, "{message}");
            let since = self.present.as_ref().map_or(now, |present| present.since);
            self.present = Some(LastError { message, hint, since });
            self.told = false;
        }
        self.tell(journal, sink.1).await;
    }

    /// An attempt succeeded.
    pub(super) async fn clear(&mut self, journal: &dyn DeliverJournal, sink: (&str, Option<SinkId>), now: Timestamp) {
        if let Some(past) = self.present.take() {
            tracing::info!(sink = sink.0, after_secs = now.since(past.since).as_secs(), "delivering again");
            self.told = false;
        }
        self.tell(journal, sink.1).await;
    }

    /// Tells the journal. If it cannot be written either, it is told with the next report.
    async fn tell(&mut self, journal: &dyn DeliverJournal, sink: Option<SinkId>) {
        let Some(sink) = sink.filter(|_| !self.told) else { return };
        match journal.set_sink_error(sink, self.present.clone()).await {
            Ok(()) => self.told = true,
            Err(error) => tracing::debug!(%error, "the sink's state could not be noted in the journal"),
        }
    }
}
