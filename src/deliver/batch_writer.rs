//! Writes one prepared batch: a few blocks of the journal at a time, one event at a time.
//!
//! ```text
//! journal.read --blocks--> decode --records--> normalize --Event--> filter --> redact --> Sink::write
//!                                                                     dropped: counted
//!                                              FlushDue:   Sink::flush
//!                                              Rejected:   the dead letter
//!                                              at the end: the dead letter is made durable, then Sink::commit
//! ```
//!
//! In memory at any time: a few compressed blocks, one decompressed block, and the sink's buffers.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::contract::{DeliverError, Route, StepError};
use super::findings::BatchFindings;
use crate::event::{Event, EventId};
use crate::journal::{
    DecodedBlock, DeliverJournal, JournalError, RecordBlock, RollbackRecord, Seq, SinkId, SourceId, SourceInfo,
};
use crate::sinks::blocking::blocking;
use crate::sinks::dead_letter::DeadLetter;
use crate::sinks::{BatchRange, Committed, RollbackLog, Sink, WriteOutcome};
use crate::time::Timestamp;
use crate::transform::redact::Redactor;
use crate::vendors::{self, Normalizer, ReadContext};

/// Blocks read from the journal at once. A block is a vendor's page.
const BLOCKS_AT_ONCE: usize = 8;

/// Buffered bytes of rejected events at which they are written to the dead letter.
const DEAD_LETTER_BYTES: usize = 1 << 20;

/// Everything that writing a batch needs.
pub(super) struct BatchWriter<'a> {
    pub(super) journal: &'a dyn DeliverJournal,
    pub(super) sources: &'a RoutedSources,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) log: BatchLog<'a>,
    pub(super) dead_letter: DeadLetter<'a>,
    /// Events of the batch that filters have dropped so far.
    pub(super) filtered: u64,
    /// The last event that was read, whether filters dropped it or not.
    pub(super) last_event: Option<EventId>,
    /// What normalizing has found so far.
    pub(super) findings: BatchFindings,
}

/// What was read and what was written.
#[derive(Clone, Debug)]
pub(super) struct BatchTotals {
    /// Events of the routed sources in the range: each one is written, filtered or dead-lettered.
    pub(super) read: u64,
    pub(super) committed: Committed,
    pub(super) filtered: u64,
    pub(super) dead_lettered: u64,
}

impl BatchWriter<'_> {
    /// Writes the events of the routed sources in `range` and makes them durable: rejected events first, then the others.
    pub(super) async fn write(&mut self, range: BatchRange) -> Result<BatchTotals, StepError> {
        self.sink.begin(range);
        let ids = self.sources.ids();
        let (mut next, mut read) = (range.first, 0);
        while next <= range.last {
            let blocks = self.journal.read(next, range.last, ids.clone(), BLOCKS_AT_ONCE).await?;
            let Some(last) = blocks.last() else { break };
            next = last.last() + 1;
            for block in &blocks {
                read += self.write_block(block, range).await?;
            }
        }
        let dead_lettered = self.dead_letter.finish(&mut self.log).await?;
        let committed = self.sink.commit(self.last_event, &mut self.log).await?;
        Ok(BatchTotals { read, committed, filtered: self.filtered, dead_lettered })
    }

    /// Writes the block's part of the range; returns the number of events in it, filtered ones included.
    async fn write_block(&mut self, block: &RecordBlock, range: BatchRange) -> Result<u64, StepError> {
        let Some(source) = self.sources.get(block.source) else { return Ok(0) };
        let decoded = blocking(|| block.decode())?;
        let (first, last) = (range.first.max(block.first), range.last.min(block.last()));
        let mut next = first;
        while next <= last {
            let (resume_at, flush_due) =
                blocking(|| self.write_until_full(source, block.observed_at, &decoded, next..=last))?;
            next = resume_at;
            if flush_due {
                self.sink.flush(&mut self.log).await?;
            }
            self.dead_letter.flush(&mut self.log).await?;
        }
        Ok(next - first)
    }

    /// Writes records until a buffer is full; returns the next sequence number and whether the sink must be flushed.
    fn write_until_full(
        &mut self,
        source: &RoutedSource,
        observed_at: Timestamp,
        block: &DecodedBlock,
        range: RangeInclusive<Seq>,
    ) -> Result<(Seq, bool), StepError> {
        for record in block.records().filter(|record| range.contains(&record.seq)) {
            let context = ReadContext { source: source.name(), observed_at, occurrence: record.occurrence };
            let mut redacted_raw = String::new();
            let mut event = source.normalizer.normalize(record.raw, &context);
            event.version = event.version.or((record.version > 0).then_some(record.version));
            self.last_event = Some(event.id);
            self.findings.note(source.info.id, record.seq, &event);
            if !source.passes(&event) {
                self.filtered += 1;
                continue;
            }
            source.redactor.apply(&mut event, &mut redacted_raw);
            match self.sink.write(record.seq, &event, source.route.form)? {
                WriteOutcome::Buffered => {}
                WriteOutcome::FlushDue => return Ok((record.seq + 1, true)),
                WriteOutcome::Rejected { reason } => {
                    self.dead_letter.add(&event, &reason);
                    if self.dead_letter.buffered_bytes() > DEAD_LETTER_BYTES {
                        return Ok((record.seq + 1, false));
                    }
                }
            }
        }
        Ok((range.end() + 1, false))
    }
}

/// Stores rollback records in the journal and keeps them for a rollback in this process. A record that an earlier attempt at
/// the same batch has stored unchanged is not stored again, so that the batch intent does not grow while a disk is full.
pub(super) struct BatchLog<'a> {
    journal: &'a dyn DeliverJournal,
    sink: SinkId,
    recorded: &'a mut Vec<RollbackRecord>,
    /// The latest record of each output, by the output's name.
    latest: HashMap<String, RollbackRecord>,
}

impl<'a> BatchLog<'a> {
    pub(super) fn new(journal: &'a dyn DeliverJournal, sink: SinkId, recorded: &'a mut Vec<RollbackRecord>) -> Self {
        let latest = recorded.iter().map(|record| (record.to_string(), record.clone())).collect();
        Self { journal, sink, recorded, latest }
    }

    async fn record_new(&mut self, records: Vec<RollbackRecord>) -> Result<(), JournalError> {
        let new: Vec<_> =
            records.into_iter().filter(|record| self.latest.get(&record.to_string()) != Some(record)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.journal.add_rollback_records(self.sink, new.clone()).await?;
        self.latest.extend(new.iter().map(|record| (record.to_string(), record.clone())));
        self.recorded.extend(new);
        Ok(())
    }
}

impl RollbackLog for BatchLog<'_> {
    fn record(&mut self, records: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(self.record_new(records))
    }
}

/// A source that is routed to the sink and registered in the journal.
#[derive(Debug)]
pub(super) struct RoutedSource {
    info: SourceInfo,
    route: Route,
    normalizer: Arc<dyn Normalizer>,
    redactor: Redactor,
}

impl RoutedSource {
    fn name(&self) -> &str {
        &self.info.name
    }

    /// Whether the event passes the filters before the sink.
    fn passes(&self, event: &Event<'_>) -> bool {
        self.route.condition.as_ref().is_none_or(|condition| condition.holds(event))
    }
}

/// The routed sources that are registered in the journal. A source registers at its first start, which may be later than the
/// sink's, and its normalizer settings may change with the pipeline file: so this is updated for every batch.
#[derive(Debug)]
pub(super) struct RoutedSources {
    routes: HashMap<String, Route>,
    known: HashMap<SourceId, RoutedSource>,
}

impl RoutedSources {
    pub(super) fn new(routes: &[Route]) -> Self {
        let routes = routes.iter().map(|route| (route.source.clone(), route.clone())).collect();
        Self { routes, known: HashMap::new() }
    }

    /// The ids of the registered sources, in order.
    pub(super) fn ids(&self) -> Vec<SourceId> {
        let mut ids: Vec<_> = self.known.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    /// The name of a registered source.
    pub(super) fn name_of(&self, id: SourceId) -> String {
        self.get(id).map_or_else(String::new, |source| source.name().to_owned())
    }

    fn get(&self, id: SourceId) -> Option<&RoutedSource> {
        self.known.get(&id)
    }

    /// Adds the sources that are registered now. Returns whether a routed source is new.
    pub(super) fn update(&mut self, sources: Vec<SourceInfo>) -> Result<bool, DeliverError> {
        let mut is_new = false;
        for info in sources {
            let Some(route) = self.routes.get(&info.name) else { continue };
            if self.known.get(&info.id).is_some_and(|known| known.info == info) {
                continue;
            }
            let normalizer = vendors::registry::normalizer(&info.vendor, &info.normalizer_config)
                .ok_or_else(|| DeliverError::UnknownVendor { name: info.name.clone(), vendor: info.vendor.clone() })?;
            let redactor = route.redactions.redactor(&*normalizer);
            let source = RoutedSource { route: route.clone(), normalizer, redactor, info };
            is_new |= self.known.insert(source.info.id, source).is_none();
        }
        Ok(is_new)
    }
}
