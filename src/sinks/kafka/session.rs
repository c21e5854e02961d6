//! A producer session: from the first call to the broker to the first error that leaves its state unknown.
//!
//! ```text
//! at least once:  begin ---------------------------------> send* -> every report in
//! exactly once:   begin -> init (fences others, aborts open transactions) -> read position -> fencing record
//!                       -> [ begin txn -> send* -> position -> every report in -> offset -> commit ]*
//! ```
//!
//! The fencing record is a position record with this process's name, written immediately: so a producer that is fenced knows
//! whether another one has taken over or the broker only aborted a slow transaction.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::client::{CALL_TIMEOUT, Connection, SessionError, call, on_a_thread};
use super::context::{DeliveryReports, Failures, SinkContext};
use super::error::{is_fenced, of_producer, of_topic, stopped, transient};
use super::names::Names;
use super::position::{self, Position, PositionKey};
use super::record::{Record, RecordBuffer, RecordId, Rejections};
use crate::journal::Seq;
use crate::sinks::SinkError;

/// Timeout for aborting a transaction. If the broker is down, the next session aborts it.
const ABORT_TIMEOUT: Duration = Duration::from_secs(3);

/// The number under which the position record is sent.
const POSITION_RECORD: usize = usize::MAX;

/// A producer and its state.
pub(super) struct Session {
    names: Names,
    producer: Arc<ThreadedProducer<SinkContext>>,
    transaction: Option<Transactions>,
    /// The records sent in the batch, by the number under which they were sent.
    sent: Vec<RecordId>,
    too_large: Vec<RecordId>,
}

/// The state of a session with transactions.
struct Transactions {
    position: Option<Position>,
    /// Commits the offsets.
    group: Arc<ConsumerGroupMetadata>,
    is_open: bool,
}

impl Session {
    /// A producer without transactions. It connects when the first record is sent.
    pub(super) fn begin(connection: &Connection) -> Result<Self, SinkError> {
        let producer = Arc::new(connection.producer(false)?);
        Ok(Self::new(connection, producer, None))
    }

    fn new(
        connection: &Connection,
        producer: Arc<ThreadedProducer<SinkContext>>,
        transaction: Option<Transactions>,
    ) -> Self {
        Self { names: connection.names.clone(), producer, transaction, sent: Vec::new(), too_large: Vec::new() }
    }

    /// A producer with transactions: it takes over the sink's name from any other producer and reads that one's position.
    ///
    /// # Errors
    /// The position belongs to another journal or a later generation, or (if this one was fenced) another process has taken over: both stop the sink.
    pub(super) async fn begin_transactional(
        connection: &Connection,
        key: &PositionKey,
        was_fenced: bool,
    ) -> Result<Self, SessionError> {
        let before = read_position(connection, key).await?;
        if was_fenced && before.as_ref().is_some_and(|position| position.instance != connection.instance) {
            return Err(SessionError::from(superseded(&connection.names)));
        }
        let producer = Arc::new(connection.producer(true)?);
        call(&producer, |producer| producer.init_transactions(CALL_TIMEOUT)).await?;
        let position = read_position(connection, key).await?;
        let transactions = Transactions {
            group: Arc::new(connection.consumer()?.group_metadata().ok_or(KafkaError::Canceled)?),
            position: position.clone(),
            is_open: false,
        };
        let mut session = Self::new(connection, producer, Some(transactions));
        let fencing_record = Position {
            instance: connection.instance.clone(),
            ..position.unwrap_or_else(|| Position::before_the_first(key))
        };
        session.commit(fencing_record).await?;
        Ok(session)
    }

    /// Starts a batch and forgets the records sent before.
    pub(super) fn begin_batch(&mut self) {
        self.sent.clear();
        self.too_large.clear();
        drop(self.reports().take_failures());
    }

    /// The position on the broker; `None` without transactions.
    pub(super) fn position(&self) -> Option<&Position> {
        self.transaction.as_ref()?.position.as_ref()
    }

    /// Whether records are in flight or a transaction is open.
    pub(super) fn is_busy(&self) -> bool {
        self.reports().in_flight() > 0 || self.transaction.as_ref().is_some_and(|transaction| transaction.is_open)
    }

    fn reports(&self) -> &DeliveryReports {
        &self.producer.context().reports
    }

    /// Passes the buffer's records to librdkafka, which sends them. Waits only while its queue is full.
    pub(super) async fn send(
        &mut self,
        buffer: &mut RecordBuffer,
        rejections: &Rejections,
    ) -> Result<(), SessionError> {
        let records = buffer.take_records();
        if !records.is_empty() {
            self.open_transaction()?;
        }
        let mut rejected = None;
        for record in records {
            if rejections.is_suspect(record.id) {
                rejected = self.send_alone(buffer, record).await?.or(rejected);
            } else {
                self.send_one(buffer, record).await?;
            }
        }
        if let Some(failure) = rejected {
            return Err(failure);
        }
        buffer.clear();
        Ok(())
    }

    fn open_transaction(&mut self) -> Result<(), SessionError> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        if !transaction.is_open {
            self.producer.begin_transaction()?;
            transaction.is_open = true;
        }
        Ok(())
    }

    /// Sends a record in a request of its own. Without a transaction, the others are sent after one that is too large, so
    /// that one attempt finds all of them; then the error is returned as a value.
    async fn send_alone(
        &mut self,
        buffer: &RecordBuffer,
        record: Record,
    ) -> Result<Option<SessionError>, SessionError> {
        self.await_reports().await?;
        self.send_one(buffer, record).await?;
        match self.await_reports().await {
            Ok(()) => Ok(None),
            Err(failure) if !failure.ends_session && matches!(failure.error, SinkError::Again { .. }) => {
                Ok(Some(failure))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn send_one(&mut self, buffer: &RecordBuffer, record: Record) -> Result<(), SessionError> {
        let number = self.sent.len();
        self.sent.push(record.id);
        let (topic, key) = (buffer.topic(&record), buffer.key(&record));
        let mut next = BaseRecord::with_opaque_to(topic, number)
            .payload(buffer.value(&record))
            .timestamp(record.time_ms)
            .headers(record.headers);
        if !key.is_empty() {
            next.key = Some(key);
        }
        self.enqueue(next).await
    }

    async fn enqueue(&mut self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), SessionError> {
        loop {
            self.reports().sent();
            let Err((error, returned)) = self.producer.send(record) else { return Ok(()) };
            let (topic, number) = (returned.topic, returned.delivery_opaque);
            self.reports().not_sent();
            if self.transaction.is_some() && self.reports().has_failures() {
                // The transaction accepts no more records: the first error is the cause.
                return self.await_reports().await;
            }
            match error.rdkafka_error_code() {
                Some(Code::QueueFull) => self.reports().more_reports().await,
                Some(Code::MessageSizeTooLarge) => {
                    self.reports().failed(error, topic, number);
                    return Ok(());
                }
                _ => {
                    return Err(
                        self.failure(&error, self.transaction.is_some(), |error| of_topic(error, topic, &self.names))
                    );
                }
            }
            record = returned;
        }
    }

    /// Waits until every record has its report. A transaction is aborted at the first error, because then none of it counts.
    /// The session ends too: librdkafka may hold the other records back until they time out, even when the transaction is
    /// aborted, and its sequence numbers can be inconsistent afterwards.
    async fn await_reports(&mut self) -> Result<(), SessionError> {
        let aborted = self.transaction.is_some();
        if aborted {
            self.reports().all_reported_or_failed().await;
            if self.reports().has_failures() {
                self.abort().await;
            }
        } else {
            self.reports().all_reported().await;
        }
        let failures = self.reports().take_failures();
        let sent = &self.sent;
        self.too_large.extend(failures.too_large.iter().filter_map(|number| sent.get(*number)));
        self.outcome(failures, aborted)
    }

    /// The result of the reports. Records that are too large come first: other errors follow from them.
    fn outcome(&self, failures: Failures, aborted: bool) -> Result<(), SessionError> {
        if !self.too_large.is_empty() {
            let reason = format!("the broker rejected {} records as too large", self.too_large.len());
            return Err(SessionError { error: SinkError::Again { reason }, ends_session: aborted, fenced: false });
        }
        if failures.too_large.contains(&POSITION_RECORD) {
            return Err(self.position_rejected(aborted));
        }
        if let Some((error, topic)) = failures.first {
            // A new session reads the credentials again, which may be the cause.
            return Err(self.failure(&error, true, |error| match error.rdkafka_error_code() {
                Some(Code::MessageTimedOut) => transient(error, "write to", Some(self.producer.context().as_ref())),
                _ => of_topic(error, &topic, &self.names),
            }));
        }
        if let Some(reason) = failures.transaction {
            return Err(self.transaction_failed(&reason, aborted));
        }
        match failures.dropped {
            Some((error, topic)) => Err(self.failure(&error, true, |error| of_topic(error, &topic, &self.names))),
            None => Ok(()),
        }
    }

    fn transaction_failed(&self, reason: &str, aborted: bool) -> SessionError {
        let error = KafkaError::MessageProduction(Code::State);
        self.failure(&error, aborted, |_| SinkError::Transient {
            message: format!("Kafka aborted the transaction: {reason}"),
            hint: "if it happens again, raise `message_timeout_ms` or check the brokers".to_owned(),
        })
    }

    fn position_rejected(&self, aborted: bool) -> SessionError {
        let error = KafkaError::MessageProduction(Code::MessageSizeTooLarge);
        self.failure(&error, aborted, |error| of_topic(error, &self.names.position_topic, &self.names))
    }

    /// Removes and returns the records that were rejected as too large since the last call.
    pub(super) fn take_too_large(&mut self) -> Vec<RecordId> {
        std::mem::take(&mut self.too_large)
    }

    /// Makes the batch durable: every record acknowledged by all in-sync replicas; with transactions also committed,
    /// together with `position`.
    pub(super) async fn commit(&mut self, position: Position) -> Result<(), SessionError> {
        if self.transaction.is_some() {
            self.commit_transaction(position).await?;
        } else {
            self.await_reports().await?;
        }
        Ok(())
    }

    async fn commit_transaction(&mut self, position: Position) -> Result<(), SessionError> {
        self.open_transaction()?;
        let Some(transaction) = &self.transaction else { return Ok(()) };
        let names = self.names.clone();
        let group = Arc::clone(&transaction.group);
        let value = position.to_json();
        let record = BaseRecord::with_opaque_to(&names.position_topic, POSITION_RECORD)
            .key(names.group.as_bytes())
            .payload(value.as_bytes())
            .partition(0);
        self.enqueue(record).await?;
        self.await_reports().await?;
        let offset = committed_offset(position.last);
        call(&self.producer, move |producer| {
            let mut offsets = TopicPartitionList::new();
            offsets.add_partition_offset(&names.position_topic, 0, offset)?;
            producer.send_offsets_to_transaction(&offsets, &group, CALL_TIMEOUT)?;
            producer.commit_transaction(CALL_TIMEOUT)
        })
        .await?;
        if let Some(transaction) = &mut self.transaction {
            transaction.is_open = false;
            transaction.position = Some(position);
        }
        Ok(())
    }

    /// Aborts the open transaction, so that consumers do not wait for it; returns whether the broker has confirmed and this
    /// producer can continue.
    pub(super) async fn abort(&mut self) -> bool {
        let Some(transaction) = &mut self.transaction else { return self.reports().in_flight() == 0 };
        if !transaction.is_open {
            return true;
        }
        let producer = Arc::clone(&self.producer);
        match on_a_thread(move || producer.abort_transaction(ABORT_TIMEOUT)).await {
            Ok(()) => transaction.is_open = false,
            Err(error) => {
                tracing::debug!(event = "transaction_abort_failed", sink = self.names.sink, %error, "cannot abort the transaction; the next session aborts it");
            }
        }
        !transaction.is_open
    }

    fn failure(
        &self,
        error: &KafkaError,
        ends_session: bool,
        sentence: impl FnOnce(&KafkaError) -> SinkError,
    ) -> SessionError {
        let fatal = self.producer.client().fatal_error();
        let fenced = is_fenced(error) || fatal.as_ref().is_some_and(|(code, _)| matches!(code, Code::Fenced));
        let ends_session = ends_session || fatal.is_some();
        // Errors after a fatal error only report that there was one.
        let error = match fatal {
            Some((code, reason)) if !fenced => of_producer(code, &reason),
            _ => sentence(error),
        };
        SessionError { error, ends_session, fenced }
    }
}

/// The group's offset: the last event that is delivered.
fn committed_offset(last: Seq) -> Offset {
    Offset::Offset(i64::try_from(last).unwrap_or(i64::MAX))
}

async fn read_position(connection: &Connection, key: &PositionKey) -> Result<Option<Position>, SinkError> {
    let (reader, key) = (connection.clone(), key.clone());
    on_a_thread(move || position::read_position_of(&reader, &key)).await
}

fn superseded(names: &Names) -> SinkError {
    stopped(
        format!("another auditflow has taken over `{}`; this one is fenced and writes nothing", names.group),
        "run one auditflow per pipeline: stop the other one, then start this one again",
    )
}
