//! Writes one planned batch: a few blocks of the journal at a time, an event at a time.
//!
//! ```text
//! journal.read --blocks--> decode --records--> normalize --Event--> filter --> Sink::absorb
//!                                                                     dropped: counted, Sink::pass_over
//!                                                    buffers over the limit: Sink::flush
//!                                                    Sink::take_refused:     the dead letter
//!                                                    at the end:             Sink::commit
//! ```
//!
//! In memory at any time: a few compressed blocks, one block decompressed, and the sink's buffers up to the limit.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use futures_util::future::BoxFuture;

use super::failure::Failure;
use super::routed::{RoutedSource, RoutedSources};
use crate::journal::{DecodedBlock, DeliverJournal, JournalError, RecordBlock, RollbackRecord, Seq, SinkId};
use crate::sinks::blocking::blocking;
use crate::sinks::dead_letter::DeadLetter;
use crate::sinks::{BatchRange, PlanLog, Sink, Written};
use crate::time::Timestamp;
use crate::vendors::ReadContext;

/// Blocks read from the journal at once. A block is a vendor's page.
const BLOCKS_AT_ONCE: usize = 8;

/// Everything that writing a batch needs.
pub(super) struct BatchWriter<'a> {
    pub(super) journal: &'a dyn DeliverJournal,
    pub(super) sources: &'a RoutedSources,
    pub(super) sink: &'a mut dyn Sink,
    pub(super) recorder: Recorder<'a>,
    pub(super) dead_letter: DeadLetter<'a>,
    /// Events of the batch that a filter has dropped so far.
    pub(super) filtered: u64,
}

/// What was read and what was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// Events of the routed sources in the range: each is written, filtered or dead-lettered.
    pub(super) read: u64,
    pub(super) written: Written,
    pub(super) filtered: u64,
    pub(super) dead_lettered: u64,
}

impl BatchWriter<'_> {
    /// Writes the events of the routed sources in `range` and makes them durable.
    pub(super) async fn write(&mut self, range: BatchRange) -> Result<Outcome, Failure> {
        self.sink.begin(range);
        let ids = self.sources.ids();
        let (mut next, mut read) = (range.first, 0);
        while next <= range.last {
            let blocks = self.journal.read(next, range.last, ids.clone(), BLOCKS_AT_ONCE).await?;
            let Some(last) = blocks.last() else { break };
            next = last.last() + 1;
            for block in &blocks {
                read += self.absorb_block(block, range).await?;
            }
        }
        self.put_refused_away().await?;
        let dead_lettered = self.dead_letter.finish()?;
        let written = self.sink.commit(&mut self.recorder).await?;
        Ok(Outcome { read, written, filtered: self.filtered, dead_lettered })
    }

    /// Absorbs the block's part of the range; returns how many events that were, filtered ones included.
    async fn absorb_block(&mut self, block: &RecordBlock, range: BatchRange) -> Result<u64, Failure> {
        let Some(source) = self.sources.get(block.source) else { return Ok(0) };
        let decoded = blocking(|| block.decode())?;
        let (first, last) = (range.first.max(block.first), range.last.min(block.last()));
        let mut next = first;
        while next <= last {
            next = blocking(|| self.absorb_until_full(source, block.observed_at, &decoded, next..=last))?;
            if self.sink.buffered_bytes() > self.sink.flush_bytes() {
                self.sink.flush(&mut self.recorder).await?;
            }
            self.put_refused_away().await?;
        }
        Ok(next - first)
    }

    async fn put_refused_away(&mut self) -> Result<(), Failure> {
        let refused = self.sink.take_refused();
        Ok(self.dead_letter.add(refused, &mut self.recorder).await?)
    }

    /// Absorbs records until the sink's buffers are over the limit; returns where to go on.
    fn absorb_until_full(
        &mut self,
        source: &RoutedSource,
        observed_at: Timestamp,
        block: &DecodedBlock,
        range: RangeInclusive<Seq>,
    ) -> Result<Seq, Failure> {
        for record in block.records().filter(|record| range.contains(&record.seq)) {
            let context = ReadContext { source: source.name(), observed_at, occurrence: record.occurrence };
            let event = source.records.normalize(record.raw, &context);
            if !source.lets_through(&event) {
                self.sink.pass_over(&event);
                self.filtered += 1;
                continue;
            }
            self.sink.next_is(record.seq);
            self.sink.absorb(&event, source.route.form)?;
            if self.sink.buffered_bytes() > self.sink.flush_bytes() {
                return Ok(record.seq + 1);
            }
        }
        Ok(range.end() + 1)
    }
}

/// Records outputs in the journal's plan and remembers them for an undo in this process. What a former attempt at the
/// same batch has recorded in the same words is not recorded again, so that a plan does not grow while a disk is full.
pub(super) struct Recorder<'a> {
    journal: &'a dyn DeliverJournal,
    sink: SinkId,
    recorded: &'a mut Vec<RollbackRecord>,
    latest: HashMap<String, String>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(journal: &'a dyn DeliverJournal, sink: SinkId, recorded: &'a mut Vec<RollbackRecord>) -> Self {
        let latest = recorded.iter().map(|output| (output.name.clone(), output.before.clone())).collect();
        Self { journal, sink, recorded, latest }
    }

    async fn record_new(&mut self, outputs: Vec<RollbackRecord>) -> Result<(), JournalError> {
        let new: Vec<_> =
            outputs.into_iter().filter(|output| self.latest.get(&output.name) != Some(&output.before)).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.journal.add_rollback_records(self.sink, new.clone()).await?;
        self.latest.extend(new.iter().map(|output| (output.name.clone(), output.before.clone())));
        self.recorded.extend(new);
        Ok(())
    }
}

impl PlanLog for Recorder<'_> {
    fn record(&mut self, outputs: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(self.record_new(outputs))
    }
}
