//! The `kafka` sink: one record an event, for those whose consumers read the topic.
//!
//! ```text
//! absorb: Event -> key, headers, value in own buffers                                   (record)
//! flush:  buffers -> topic known to exist? (topics) -> librdkafka's queue -> broker     (session)
//! commit: every delivery report is in; exactly once: position record + group offset + EndTxn
//!
//! at_least_once   a batch that failed half-way is sent again whole: records may come twice, never be missing
//! exactly_once    a batch is one transaction that also holds the journal's position     (position)
//! ```
//!
//! The second attempt at a batch is harmless with `exactly_once`, because the broker knows how far this sink has come:
//! a batch that the broker already holds is counted and not sent.
//!
//! The position is a record in a compacted topic of this sink's own, written in the batch's transaction, as Kafka
//! Connect does for its sources (KIP-618). It is also committed as the offset of a consumer group, for the usual tools;
//! that offset may expire (`offsets.retention.minutes`) while a pipeline rests, so nothing hangs on it.

mod call;
mod client;
mod config;
mod context;
mod error;
mod options;
mod position;
mod record;
mod refusals;
mod session;
#[cfg(test)]
mod tests;
mod topics;

use std::fmt;

use futures_util::future::BoxFuture;

pub use config::{CreateTopic, Delivery, KafkaConfig, Sasl, SaslMechanism, Tls};

use client::Connection;
use error::stopped;
use position::{Numbering, Position};
use record::{Encoder, RecordBuffer};
use refusals::Refusals;
use session::Session;
use topics::Topics;

use super::{BatchRange, EventForm, PlanLog, Refused, Sink, SinkError, Written};
use crate::event::Event;
use crate::journal::{RollbackRecord, Seq};

/// Records are handed to librdkafka when they pass this many bytes: little, so that it compresses and sends them on its
/// own threads while the next are encoded.
const FLUSH_BYTES: usize = 512 << 10;

/// Sends events to Kafka.
pub struct KafkaSink {
    delivery: Delivery,
    fingerprint: String,
    connection: Connection,
    topics: Topics,
    encoder: Encoder,
    /// Whose positions the broker holds.
    ours: Numbering,
    session: Option<Session>,
    /// Another producer has taken over this sink's name, or the broker gave up on a transaction: which one it was is
    /// looked up before a new session begins.
    was_fenced: bool,
    batch: Batch,
    buffer: RecordBuffer,
    refusals: Refusals,
}

/// The batch in hand.
#[derive(Debug)]
struct Batch {
    range: BatchRange,
    written: Written,
    /// The last event that was absorbed, to recognize the batch by.
    last_event: Option<String>,
    refused: Vec<Refused>,
}

impl Batch {
    fn new(range: BatchRange) -> Self {
        Self { range, written: Written::default(), last_event: None, refused: Vec::new() }
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl KafkaSink {
    fn new(delivery: Delivery, fingerprint: String, connection: Connection, topics: Topics, encoder: Encoder) -> Self {
        let buffer = RecordBuffer::default();
        let batch = Batch::new(BatchRange { first: 0, last: 0 });
        let ours = Numbering::default();
        let refusals = Refusals::default();
        Self {
            delivery,
            fingerprint,
            connection,
            topics,
            encoder,
            ours,
            session: None,
            was_fenced: false,
            batch,
            buffer,
            refusals,
        }
    }

    /// A session, begun if there is none.
    async fn connect(&mut self) -> Result<(), SinkError> {
        if self.session.is_some() {
            return Ok(());
        }
        let session = match self.delivery {
            Delivery::AtLeastOnce => Session::begin(&self.connection)?,
            Delivery::ExactlyOnce => {
                self.topics.ensure_position_topic(&self.connection).await?;
                let begun = Session::begin_transactional(&self.connection, &self.ours, self.was_fenced).await;
                self.noticing_fences(begun)?
            }
        };
        self.was_fenced = false;
        self.session = Some(session);
        Ok(())
    }

    /// Whether the broker already holds the batch in hand.
    fn is_delivered(&self) -> bool {
        self.position().is_some_and(|position| position.last >= self.batch.range.last)
    }

    fn position(&self) -> Option<&Position> {
        self.session.as_ref().and_then(Session::position)
    }

    async fn send(&mut self, plan: &mut dyn PlanLog) -> Result<(), SinkError> {
        self.connect().await?;
        if self.is_delivered() {
            self.buffer.clear();
            return Ok(());
        }
        self.topics.ensure(&self.connection, self.buffer.topics()).await?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let sent = session.send(&mut self.buffer, &self.refusals).await;
        let too_large = session.take_too_large();
        let sent = self.noticing_fences(sent);
        self.refuse(too_large, plan).await?;
        sent
    }

    async fn finish(&mut self, plan: &mut dyn PlanLog) -> Result<Written, SinkError> {
        self.send(plan).await?;
        if self.is_delivered() {
            return self.already_there();
        }
        let batch = Position {
            journal: self.ours.journal.clone(),
            generation: self.ours.generation,
            instance: self.connection.instance.clone(),
            first: self.batch.range.first,
            last: self.batch.range.last,
            last_event: self.batch.last_event.clone(),
        };
        let Some(session) = &mut self.session else { return Ok(self.batch.written) };
        let committed = session.commit(batch).await;
        let too_large = session.take_too_large();
        let committed = self.noticing_fences(committed);
        self.refuse(too_large, plan).await?;
        committed?;
        self.refusals.forget();
        Ok(self.batch.written)
    }

    /// The batch is counted and not sent again, if it is the one that the broker holds.
    fn already_there(&self) -> Result<Written, SinkError> {
        let Some(position) = self.position() else { return Ok(self.batch.written) };
        let same_end = position.last == self.batch.range.last;
        if same_end && position.last_event.is_some() && position.last_event != self.batch.last_event {
            return Err(stopped(
                format!(
                    "the journal's event {} is not the one that {} holds as delivered",
                    position.last, self.connection.names.position_topic
                ),
                format!(
                    "the journal was restored from a backup or replaced: what is delivered cannot be told any more. To deliver everything from the journal's own position, delete the topic `{}`; consumers then see some events twice, with the same id",
                    self.connection.names.position_topic
                ),
            ));
        }
        tracing::info!(
            sink = self.connection.names.sink,
            first = self.batch.range.first,
            last = self.batch.range.last,
            "the broker already holds this batch; it is counted and not sent again"
        );
        Ok(self.batch.written)
    }

    /// Records that the broker found too large: those that came alone are refused for good, the others are tried alone.
    async fn refuse(&mut self, too_large: Vec<record::RecordId>, plan: &mut dyn PlanLog) -> Result<(), SinkError> {
        let notes = self.refusals.learn(too_large);
        if notes.is_empty() {
            return Ok(());
        }
        let recorded = plan.record(notes.clone()).await;
        if recorded.is_err() {
            self.refusals.take_back(&notes);
        }
        Ok(recorded?)
    }

    /// After a failure in a transaction nothing is known for sure: the next attempt begins a session, in which the broker
    /// says what became of it.
    fn noticing_fences<T>(&mut self, done: Result<T, call::Failure>) -> Result<T, SinkError> {
        done.map_err(|failure| {
            self.was_fenced |= failure.fenced;
            if failure.ends_session {
                self.session = None;
            }
            failure.error
        })
    }
}

impl Sink for KafkaSink {
    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn begin(&mut self, range: BatchRange) {
        self.buffer.clear();
        self.batch = Batch::new(range);
        self.session = self.session.take().filter(|session| !session.is_busy());
        if let Some(session) = &mut self.session {
            session.begin_batch();
        }
    }

    fn absorb(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), SinkError> {
        let id = record::RecordId::of(event);
        self.batch.last_event = Some(event.id.to_string());
        let reason = match self.refusals.reason(id) {
            Some(reason) => Some(reason.to_owned()),
            None => self.encoder.push(event, form, &mut self.buffer),
        };
        let Some(reason) = reason else {
            self.batch.written.events += 1;
            self.batch.written.bytes += self.buffer.bytes_of_last();
            return Ok(());
        };
        self.batch.refused.push(Refused::new(event, reason));
        Ok(())
    }

    /// The last event of a batch is the same whatever filters drop, so that a changed filter does not look like another
    /// journal.
    fn pass_over(&mut self, event: &Event<'_>) {
        self.batch.last_event = Some(event.id.to_string());
    }

    fn buffered_bytes(&self) -> usize {
        self.buffer.bytes()
    }

    fn flush_bytes(&self) -> usize {
        FLUSH_BYTES
    }

    fn flush<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.send(plan))
    }

    fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.batch.refused)
    }

    fn commit<'a>(&'a mut self, plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<Written, SinkError>> {
        Box::pin(self.finish(plan))
    }

    fn use_generation(&mut self, generation: u64) {
        self.ours.generation = generation;
    }

    /// What was sent outside a transaction stays sent. An open transaction is given up, so that consumers need not wait
    /// for it. Files are undone if this sink was another type when the batch was begun.
    fn undo<'a>(&'a mut self, outputs: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.buffer.clear();
            super::foreign::undo_foreign(&self.refusals.recall(outputs))?;
            if let Some(session) = &mut self.session
                && !session.give_up().await
            {
                self.session = None;
            }
            Ok(())
        })
    }

    fn resume<'a>(&'a mut self, journal: &'a str) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(async move {
            journal.clone_into(&mut self.ours.journal);
            // The topic comes first: a producer is made once the broker has been reached with today's credentials.
            self.topics.ensure_fixed(&self.connection).await?;
            self.connect().await?;
            Ok(self.position().map(|position| position.last))
        })
    }

    fn check(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move { self.topics.check(&self.connection, self.delivery).await })
    }
}
