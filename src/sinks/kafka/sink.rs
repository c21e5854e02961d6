//! The sink itself.
//!
//! ```text
//! write:  Event -> key, headers, value in own buffers                                   (record)
//! flush:  buffers -> topic exists? (topics) -> librdkafka's queue -> broker             (session)
//! commit: every delivery report received; exactly once: position record + group offset + EndTxn
//!
//! at_least_once   a batch that failed is sent again completely: records may arrive twice, none is missing
//! exactly_once    a batch is one transaction that also contains the journal's position  (position)
//! ```
//!
//! With `exactly_once` the second attempt at a batch is harmless, because the broker stores the position of this sink: a batch
//! that the broker already has is counted and not sent.
//!
//! The position is a record in a compacted topic of this sink, written in the batch's transaction, as Kafka Connect does for
//! its sources (KIP-618). It is also committed as the offset of a consumer group, for the usual tools; that offset may expire
//! (`offsets.retention.minutes`) while a pipeline is stopped, so the sink does not read it.

use std::fmt;

use futures_util::future::BoxFuture;

use super::client::{Connection, SessionError};
use super::config::{DeliveryGuarantee, KafkaConfig, problem};
use super::error::stopped;
use super::names::Names;
use super::position::{Position, PositionKey};
use super::record::{Encoder, RecordBuffer, RecordId, Rejections};
use super::session::Session;
use super::topics::Topics;
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::{Event, EventId};
use crate::journal::{RollbackRecord, Seq};
use crate::sinks::orphans::roll_back_orphans;
use crate::sinks::{BatchRange, Committed, EventForm, RollbackLog, Sink, SinkError, StoredPosition, WriteOutcome};

/// Records are passed to librdkafka when they exceed this many bytes: few, so that it compresses and sends them on its own
/// threads while the next ones are encoded.
const FLUSH_BYTES: usize = 512 << 10;

/// Sends events to Kafka.
pub struct KafkaSink {
    delivery: DeliveryGuarantee,
    fingerprint: String,
    connection: Connection,
    topics: Topics,
    encoder: Encoder,
    /// What this sink's positions belong to.
    key: PositionKey,
    session: Option<Session>,
    /// Another producer has taken over this sink's name, or the broker aborted a transaction: the next session reads which
    /// of the two happened.
    was_fenced: bool,
    batch: Batch,
    buffer: RecordBuffer,
    rejections: Rejections,
}

/// The current batch.
#[derive(Debug)]
struct Batch {
    range: BatchRange,
    events: u64,
    bytes: u64,
}

impl Batch {
    fn new(range: BatchRange) -> Self {
        Self { range, events: 0, bytes: 0 }
    }

    fn committed(&self) -> Committed {
        Committed { events: self.events, bytes: self.bytes, state: None }
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSink").field("fingerprint", &self.fingerprint).finish_non_exhaustive()
    }
}

impl KafkaConfig {
    /// Builds the sink called `sink` of the pipeline called `pipeline`. Does not connect.
    ///
    /// # Errors
    /// Every invalid setting.
    pub fn build(&self, clock: SharedClock, pipeline: &str, sink: &str) -> Result<KafkaSink, Vec<SettingDiagnostic>> {
        let problems = self.check();
        if !problems.is_empty() {
            return Err(problems);
        }
        let topic = self.topic_template()?;
        let encoder =
            Encoder::new(self, &topic).map_err(|error| vec![problem("headers", error.message, error.hint)])?;
        Ok(KafkaSink {
            delivery: self.delivery,
            fingerprint: self.fingerprint(),
            connection: Connection::new(self, Names::new(pipeline, sink), clock),
            topics: Topics::new(topic, self.create_topic),
            encoder,
            key: PositionKey::default(),
            session: None,
            was_fenced: false,
            batch: Batch::new(BatchRange { first: 0, last: 0 }),
            buffer: RecordBuffer::default(),
            rejections: Rejections::default(),
        })
    }
}

impl KafkaSink {
    /// Starts a session if there is none.
    async fn connect(&mut self) -> Result<(), SinkError> {
        if self.session.is_some() {
            return Ok(());
        }
        let session = match self.delivery {
            DeliveryGuarantee::AtLeastOnce => Session::begin(&self.connection)?,
            DeliveryGuarantee::ExactlyOnce => {
                self.topics.ensure_position_topic(&self.connection).await?;
                let session = Session::begin_transactional(&self.connection, &self.key, self.was_fenced).await;
                self.end_on_error(session)?
            }
        };
        self.was_fenced = false;
        self.session = Some(session);
        Ok(())
    }

    /// Whether the broker already has the current batch.
    fn is_delivered(&self) -> bool {
        self.position().is_some_and(|position| position.last >= self.batch.range.last)
    }

    fn position(&self) -> Option<&Position> {
        self.session.as_ref().and_then(Session::position)
    }

    async fn send(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        self.connect().await?;
        if self.is_delivered() {
            self.buffer.clear();
            return Ok(());
        }
        self.topics.ensure(&self.connection, self.buffer.topics()).await?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let sent = session.send(&mut self.buffer, &self.rejections).await;
        let too_large = session.take_too_large();
        let sent = self.end_on_error(sent);
        self.reject(too_large, log).await?;
        sent
    }

    async fn finish(&mut self, last_event: Option<EventId>, log: &mut dyn RollbackLog) -> Result<Committed, SinkError> {
        let last_event = last_event.map(|id| id.to_string());
        self.send(log).await?;
        if self.is_delivered() {
            return self.already_delivered(last_event.as_deref());
        }
        let batch = Position {
            journal: self.key.journal.clone(),
            generation: self.key.generation,
            instance: self.connection.instance.clone(),
            first: self.batch.range.first,
            last: self.batch.range.last,
            last_event,
        };
        let Some(session) = &mut self.session else { return Ok(self.batch.committed()) };
        let committed = session.commit(batch).await;
        let too_large = session.take_too_large();
        let committed = self.end_on_error(committed);
        self.reject(too_large, log).await?;
        committed?;
        self.rejections.clear();
        Ok(self.batch.committed())
    }

    /// Counts the batch without sending it, if it is the one that the broker has.
    fn already_delivered(&self, last_event: Option<&str>) -> Result<Committed, SinkError> {
        let Some(position) = self.position() else { return Ok(self.batch.committed()) };
        let same_end = position.last == self.batch.range.last;
        if same_end && position.last_event.is_some() && position.last_event.as_deref() != last_event {
            return Err(stopped(
                format!(
                    "event {} of the journal is not the event that topic {} stores as delivered",
                    position.last, self.connection.names.position_topic
                ),
                format!(
                    "the journal was restored from a backup or replaced. To deliver everything after the journal's own position, delete the topic `{}`; consumers then see some events twice, with the same id",
                    self.connection.names.position_topic
                ),
            ));
        }
        tracing::info!(
            event = "batch_already_delivered",
            sink = self.connection.names.sink,
            first = self.batch.range.first,
            last = self.batch.range.last,
            "the broker already has this batch; it is counted and not sent again"
        );
        Ok(self.batch.committed())
    }

    /// Handles records that the broker found too large: a record that was sent alone is rejected permanently, the others are
    /// sent alone at the next attempt.
    async fn reject(&mut self, too_large: Vec<RecordId>, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        let records = self.rejections.add(too_large);
        if records.is_empty() {
            return Ok(());
        }
        let recorded = log.record(records.clone()).await;
        if recorded.is_err() {
            self.rejections.remove(&records);
        }
        Ok(recorded?)
    }

    /// After an error in a transaction its state is unknown: the next attempt starts a session and reads the position.
    fn end_on_error<T>(&mut self, done: Result<T, SessionError>) -> Result<T, SinkError> {
        done.map_err(|error| {
            self.was_fenced |= error.fenced;
            if error.ends_session {
                self.session = None;
            }
            error.error
        })
    }
}

impl Sink for KafkaSink {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    fn healthcheck(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        Box::pin(async move { self.topics.check(&self.connection, self.delivery).await })
    }

    fn recover_position<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(async move {
            self.key = PositionKey { journal: stored.journal.to_owned(), generation: stored.generation };
            // The topic comes first: a producer is created after the broker was reached with the current credentials.
            self.topics.ensure_fixed(&self.connection).await?;
            self.connect().await?;
            Ok(self.position().map(|position| position.last))
        })
    }

    /// The broker keeps the position: whoever takes over deletes its topic.
    fn adopt<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        let Names { position_topic, .. } = &self.connection.names;
        let message = "the position of this sink is on the broker".to_owned();
        let hint = format!(
            "to take over, delete the topic `{position_topic}` (with `delivery: at_least_once` there is nothing to take over)"
        );
        Box::pin(std::future::ready(Err(stopped(message, hint))))
    }

    fn begin(&mut self, range: BatchRange) {
        self.buffer.clear();
        self.batch = Batch::new(range);
        self.session = self.session.take().filter(|session| !session.is_busy());
        if let Some(session) = &mut self.session {
            session.begin_batch();
        }
    }

    fn write(&mut self, _seq: Seq, event: &Event<'_>, form: EventForm) -> Result<WriteOutcome, SinkError> {
        let known = self.rejections.reason(RecordId::of(event)).map(str::to_owned);
        if let Some(reason) = known.or_else(|| self.encoder.push(event, form, &mut self.buffer)) {
            return Ok(WriteOutcome::Rejected { reason });
        }
        self.batch.events += 1;
        self.batch.bytes += self.buffer.bytes_of_last();
        Ok(if self.buffer.bytes() > FLUSH_BYTES { WriteOutcome::FlushDue } else { WriteOutcome::Buffered })
    }

    fn flush<'a>(&'a mut self, log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(self.send(log))
    }

    fn commit<'a>(
        &'a mut self,
        last_event: Option<EventId>,
        log: &'a mut dyn RollbackLog,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(self.finish(last_event, log))
    }

    /// Records that were sent without a transaction stay on the broker. An open transaction is aborted, so that consumers do
    /// not wait for it.
    fn rollback<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.buffer.clear();
            roll_back_orphans(&self.rejections.restore(records))?;
            if let Some(session) = &mut self.session
                && !session.abort().await
            {
                self.session = None;
            }
            Ok(())
        })
    }
}
