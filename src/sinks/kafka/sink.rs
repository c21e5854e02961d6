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
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::client::{Connection, Requests, SessionError};
use super::config::{Compression, DeliveryGuarantee, KafkaConfig, KeyField, problem};
use super::error::stopped;
use super::healthcheck::{Expected, healthcheck};
use super::names::Names;
use super::position::{Position, PositionKey};
use super::record::{Encoder, RecordBuffer, RecordId};
use super::rejections::{Refused, Rejections, may_mean_time};
use super::session::Session;
use super::topics::{MAX_TOPICS_OF_VALUES, Topics};
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::{Event, EventId};
use crate::journal::{RollbackRecord, Seq};
use crate::sinks::orphans::roll_back_orphans;
use crate::sinks::{BatchRange, Committed, EventForm, RollbackLog, Sink, SinkError, StoredPosition, WriteOutcome};

/// Records are passed to librdkafka when they exceed this many bytes: few, so that it compresses and sends them on its own
/// threads while the next ones are encoded.
const FLUSH_BYTES: usize = 512 << 10;

/// The warning about too many topics is repeated after this time.
const WARNING_INTERVAL: Duration = Duration::from_secs(3_600);

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
    /// What the topics must accept.
    expected: Expected,
    /// Another producer has taken over this sink's name, or the broker aborted a transaction: the next session reads which
    /// of the two happened.
    was_fenced: bool,
    batch: Batch,
    buffer: RecordBuffer,
    rejections: Rejections,
    warned_of_topics: Option<Instant>,
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
            topics: Topics::new(topic, self.create_topic, self.compression != Compression::None),
            encoder,
            key: PositionKey::default(),
            expected: Expected {
                delivery: self.delivery,
                may_lack_key: KeyField::of(self).may_be_empty(),
                oldest_event: self.oldest_event,
            },
            session: None,
            was_fenced: false,
            batch: Batch::new(BatchRange { first: 0, last: 0 }),
            buffer: RecordBuffer::default(),
            rejections: Rejections::default(),
            warned_of_topics: None,
        })
    }
}

impl KafkaSink {
    /// What brokers and librdkafka say may repeat what they received.
    fn without_secrets<T>(&self, done: Result<T, SinkError>) -> Result<T, SinkError> {
        done.map_err(|error| error.masked(&self.connection.sent.mask()))
    }

    /// The topic comes first: a producer is created after the broker was reached with the current credentials.
    async fn open(&mut self) -> Result<Option<Seq>, SinkError> {
        self.topics.ensure_fixed(&self.connection).await?;
        self.connect().await?;
        Ok(self.position().map(|position| position.last))
    }

    /// Starts a session if there is none, or if nothing of the batch was sent and its requests must be others.
    async fn connect(&mut self) -> Result<(), SinkError> {
        let requests = self.requests();
        if self.session.as_ref().is_some_and(|session| session.has_sent() || session.requests() == requests) {
            return Ok(());
        }
        self.session = None;
        let session = match self.delivery {
            DeliveryGuarantee::AtLeastOnce => Session::begin(&self.connection, requests)?,
            DeliveryGuarantee::ExactlyOnce => {
                self.topics.ensure_position_topic(&self.connection).await?;
                let session =
                    Session::begin_transactional(&self.connection, requests, &self.key, self.was_fenced).await;
                self.end_on_error(session)?
            }
        };
        self.was_fenced = false;
        self.session = Some(session);
        Ok(())
    }

    fn requests(&self) -> Requests {
        self.connection.requests(self.topics.accepted_bytes(), self.rejections.has_suspects())
    }

    /// Whether the broker already has the current batch.
    fn is_delivered(&self) -> bool {
        self.position().is_some_and(|position| position.last >= self.batch.range.last)
    }

    fn position(&self) -> Option<&Position> {
        self.session.as_ref().and_then(Session::position)
    }

    async fn send(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        self.store_rejections(log).await?;
        self.connect().await?;
        if self.is_delivered() {
            self.buffer.clear();
            return Ok(());
        }
        self.reject_known(log).await?;
        let topics: Vec<_> = self.buffer.used_topics().map(|topic| topic.name.clone()).collect();
        self.topics.ensure(&self.connection, &topics).await?;
        self.reject_known(log).await?;
        self.fit_requests().await?;
        let Some(session) = &mut self.session else { return Ok(()) };
        let sent = session.send(&mut self.buffer, &self.rejections).await;
        self.conclude(sent, log).await
    }

    /// Makes requests as small as topics demand that were seen for the first time.
    async fn fit_requests(&mut self) -> Result<(), SinkError> {
        let fits = |session: &Session| session.requests().max_bytes <= self.requests().max_bytes;
        let Some(session) = self.session.as_ref().filter(|session| !fits(session)) else { return Ok(()) };
        if session.has_sent() {
            self.session = None;
            return Err(SinkError::Again { reason: "a topic accepts smaller requests only".to_owned() });
        }
        self.connect().await
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
        self.conclude(committed, log).await?;
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

    /// Rejects the records of the buffer that will never be accepted, which was not known when they were encoded: before topics
    /// are created, those of too many topics; then those that their topics refuse.
    async fn reject_known(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        let now_ms = self.now_ms();
        let mut refused = 0_usize;
        for (record, topic) in self.buffer.records() {
            if let Some(reason) = self.topics.refusal(record, topic, now_ms) {
                self.rejections.reject(record.id, reason);
                refused += 1;
            }
        }
        if refused == 0 {
            return Ok(());
        }
        self.warn_of_topics();
        self.store_rejections(log).await?;
        Err(SinkError::Again { reason: format!("{refused} records cannot be accepted by their topics") })
    }

    /// Ends a step of the session: refused records are rejected permanently, or sent alone at the next attempt.
    async fn conclude(&mut self, done: Result<(), SessionError>, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        if done.is_ok() {
            return Ok(());
        }
        let refused = self.session.as_mut().map(Session::take_refused).unwrap_or_default();
        let done = self.end_on_error(done);
        let mut topics: Vec<String> = refused.iter().map(|record| record.topic.clone()).collect();
        topics.dedup();
        self.topics.renew(&self.connection, &topics).await?;
        self.reject(refused);
        self.store_rejections(log).await?;
        done
    }

    fn reject(&mut self, refused: Vec<Refused>) {
        let now_ms = self.now_ms();
        for record in refused {
            let by_time = may_mean_time(record.code)
                .then(|| self.topics.refuse_time(&record.topic, record.time_ms, now_ms))
                .flatten();
            match by_time {
                Some(rule) => self.rejections.reject(record.id, format!("{}; {rule}", record.reason())),
                None if record.is_certain => self.rejections.reject(record.id, record.reason()),
                None => self.rejections.suspect(record.id),
            }
        }
    }

    fn now_ms(&self) -> i64 {
        self.connection.clock.now().as_millis()
    }

    async fn store_rejections(&mut self, log: &mut dyn RollbackLog) -> Result<(), SinkError> {
        let records = self.rejections.take_unstored();
        if records.is_empty() {
            return Ok(());
        }
        let recorded = log.record(records.clone()).await;
        if recorded.is_err() {
            self.rejections.remove(&records);
        }
        Ok(recorded?)
    }

    /// Rejects the record that was encoded last if its topic will never accept it. A batch that the broker already has stays
    /// as it was decided then.
    fn reject_last(&mut self) -> Option<String> {
        if self.session.is_none() || self.is_delivered() {
            return None;
        }
        let now_ms = self.now_ms();
        let (record, topic) = self.buffer.last()?;
        let reason = self.topics.refusal(record, topic, now_ms)?;
        self.rejections.reject(record.id, reason.clone());
        self.buffer.remove_last();
        self.warn_of_topics();
        Some(reason)
    }

    fn warn_of_topics(&mut self) {
        let is_given = self.warned_of_topics.is_some_and(|given| given.elapsed() < WARNING_INTERVAL);
        if is_given || !self.topics.is_full() {
            return;
        }
        self.warned_of_topics = Some(Instant::now());
        tracing::warn!(
            event = "topic_limit_reached",
            sink = self.connection.names.sink,
            topics = MAX_TOPICS_OF_VALUES,
            hint = "use a field with few values in `topic`; the events are in the dead letter",
            "too many topics made from values of events: events of further ones are rejected"
        );
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

    /// Whose position the broker has is compared at the start: to read it fences the process that delivers now.
    fn healthcheck<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async {
            let done = healthcheck(&self.connection, &self.topics, self.expected).await;
            self.without_secrets(done)
        })
    }

    fn recover_position<'a>(&'a mut self, stored: StoredPosition<'a>) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(async move {
            self.key = PositionKey { journal: stored.journal.to_owned(), generation: stored.generation };
            let done = self.open().await;
            self.without_secrets(done)
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
        if self.batch.range != range {
            self.topics.begin_batch();
        }
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
        if let Some(reason) = self.reject_last() {
            return Ok(WriteOutcome::Rejected { reason });
        }
        self.batch.events += 1;
        self.batch.bytes += self.buffer.bytes_of_last();
        Ok(if self.buffer.bytes() > FLUSH_BYTES { WriteOutcome::FlushDue } else { WriteOutcome::Buffered })
    }

    fn flush<'a>(&'a mut self, log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async {
            let done = self.send(log).await;
            self.without_secrets(done)
        })
    }

    fn commit<'a>(
        &'a mut self,
        last_event: Option<EventId>,
        log: &'a mut dyn RollbackLog,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async move {
            let done = self.finish(last_event, log).await;
            self.without_secrets(done)
        })
    }

    fn prepare_retry<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        self.rollback(records)
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
