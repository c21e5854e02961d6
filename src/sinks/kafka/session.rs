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

use super::client::{CALL_TIMEOUT, Connection, Requests, SessionError, call, on_a_thread};
use super::context::{DeliveryReports, Failures, SinkContext};
use super::error::{is_fenced, of_producer, of_topic, stopped, transient};
use super::names::Names;
use super::position::{self, Position, PositionKey};
use super::record::{Record, RecordBuffer, RecordId};
use super::rejections::{Refused, Rejections};
use crate::journal::Seq;
use crate::sinks::SinkError;

/// Timeout for aborting a transaction. If the broker is down, the next session aborts it.
const ABORT_TIMEOUT: Duration = Duration::from_secs(3);

/// The number under which the position record is sent.
const POSITION_RECORD: usize = usize::MAX;

/// The partition of a record that was not passed to one.
const NO_PARTITION: i32 = -1;

/// A producer and its state.
pub(super) struct Session {
    names: Names,
    producer: Arc<ThreadedProducer<SinkContext>>,
    transaction: Option<Transactions>,
    requests: Requests,
    /// The records sent in the batch, by the number under which they were sent.
    sent: Vec<SentRecord>,
    refused: Vec<Refused>,
}

/// What is known of a record that was sent.
#[derive(Clone, Copy, Debug)]
struct SentRecord {
    id: RecordId,
    time_ms: i64,
    batch_bytes: usize,
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
    pub(super) fn begin(connection: &Connection, requests: Requests) -> Result<Self, SinkError> {
        let producer = Arc::new(connection.producer(false, requests)?);
        Ok(Self::new(connection, requests, producer, None))
    }

    fn new(
        connection: &Connection,
        requests: Requests,
        producer: Arc<ThreadedProducer<SinkContext>>,
        transaction: Option<Transactions>,
    ) -> Self {
        let names = connection.names.clone();
        Self { names, producer, transaction, requests, sent: Vec::new(), refused: Vec::new() }
    }

    /// A producer with transactions: it takes over the sink's name from any other producer and reads that one's position.
    ///
    /// # Errors
    /// The position belongs to another journal or a later generation, or (if this one was fenced) another process has taken over: both stop the sink.
    pub(super) async fn begin_transactional(
        connection: &Connection,
        requests: Requests,
        key: &PositionKey,
        was_fenced: bool,
    ) -> Result<Self, SessionError> {
        let before = read_position(connection, key).await?;
        if was_fenced && before.as_ref().is_some_and(|position| position.instance != connection.instance) {
            return Err(SessionError::from(superseded(&connection.names)));
        }
        let producer = Arc::new(connection.producer(true, requests)?);
        call(&producer, |producer| producer.init_transactions(CALL_TIMEOUT)).await?;
        let position = read_position(connection, key).await?;
        let transactions = Transactions {
            group: Arc::new(connection.consumer()?.group_metadata().ok_or(KafkaError::Canceled)?),
            position: position.clone(),
            is_open: false,
        };
        let mut session = Self::new(connection, requests, producer, Some(transactions));
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
        self.refused.clear();
        drop(self.reports().take_failures());
    }

    /// The position on the broker; `None` without transactions.
    pub(super) fn position(&self) -> Option<&Position> {
        self.transaction.as_ref()?.position.as_ref()
    }

    /// What the producer puts into one request.
    pub(super) fn requests(&self) -> Requests {
        self.requests
    }

    /// Whether a record of the batch was sent.
    pub(super) fn has_sent(&self) -> bool {
        !self.sent.is_empty()
    }

    /// Whether records are in flight or a transaction is open.
    pub(super) fn is_busy(&self) -> bool {
        self.reports().in_flight() > 0 || self.has_open_transaction()
    }

    fn has_open_transaction(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.is_open)
    }

    fn reports(&self) -> &DeliveryReports {
        &self.producer.context().reports
    }

    /// Passes the buffer's records to librdkafka, which sends them. Waits only while its queue is full, and for records that
    /// may be refused in a transaction.
    pub(super) async fn send(
        &mut self,
        buffer: &mut RecordBuffer,
        rejections: &Rejections,
    ) -> Result<(), SessionError> {
        let records = buffer.take_records();
        if !records.is_empty() {
            self.open_transaction()?;
        }
        for record in records {
            let is_large = record.batch_bytes > self.requests.max_bytes;
            if self.transaction.is_some() && (is_large || rejections.is_suspect(record.id)) {
                self.probe(buffer, record).await?;
            } else if self.refused.is_empty() {
                self.send_one(buffer, record).await?;
            }
        }
        buffer.clear();
        Ok(())
    }

    /// Sends a record that may be refused in a request of its own, and waits. A transaction with a refused record is aborted;
    /// another one begins, for the other records of the batch that may be refused, so that one attempt finds all of them.
    /// It is not committed.
    async fn probe(&mut self, buffer: &RecordBuffer, record: Record) -> Result<(), SessionError> {
        self.await_reports().await?;
        self.send_one(buffer, record).await?;
        let done = self.await_reports().await;
        if self.refused.is_empty() || done.is_ok() || done.as_ref().is_err_and(|failure| failure.fenced) {
            return done;
        }
        // After a refused record the sequence numbers have a hole, so a record that would be accepted may fail too.
        if self.has_open_transaction() || self.open_transaction().is_err() {
            return Err(self.again(true));
        }
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

    async fn send_one(&mut self, buffer: &RecordBuffer, record: Record) -> Result<(), SessionError> {
        let number = self.sent.len();
        let Record { id, time_ms, batch_bytes, .. } = record;
        self.sent.push(SentRecord { id, time_ms, batch_bytes });
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
                    // Too large for librdkafka itself: nothing else is in the request.
                    self.reports().failed(error, topic, NO_PARTITION, number);
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
        let refused = self.refused_records(&failures);
        if refused.is_empty() {
            return self.outcome(failures, aborted);
        }
        self.refused.extend(refused);
        Err(self.again(aborted))
    }

    /// Records were refused, which comes before other errors: they follow from it.
    fn again(&self, ends_session: bool) -> SessionError {
        let reason = format!("the broker refused requests with {} records", self.refused.len());
        SessionError { error: SinkError::Again { reason }, ends_session, fenced: false }
    }

    fn refused_records(&self, failures: &Failures) -> Vec<Refused> {
        let mut refused = Vec::new();
        for record in &failures.refused {
            let Some(SentRecord { id, time_ms, batch_bytes }) = self.sent.get(record.number).copied() else { continue };
            let (topic, partition) = record.partition.clone();
            let was_alone = self.requests.of_one_record || batch_bytes > self.requests.max_bytes;
            let is_certain = was_alone || partition == NO_PARTITION || failures.is_named(record);
            refused.push(Refused { id, topic, time_ms, code: record.code, is_certain });
        }
        refused
    }

    /// The result of the reports if no record was refused.
    fn outcome(&self, failures: Failures, aborted: bool) -> Result<(), SessionError> {
        if let Some(position) = failures.refused.iter().find(|refused| refused.number == POSITION_RECORD) {
            return Err(self.position_rejected(position.code, aborted));
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

    fn position_rejected(&self, code: Code, aborted: bool) -> SessionError {
        let error = KafkaError::MessageProduction(code);
        self.failure(&error, aborted, |error| of_topic(error, &self.names.position_topic, &self.names))
    }

    /// Removes and returns the records that were refused since the last call.
    pub(super) fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
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
        if !self.refused.is_empty() {
            self.abort().await;
            return Err(self.again(true));
        }
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
                let error = self.producer.context().sent.mask().mask(&error.to_string());
                tracing::debug!(
                    event = "transaction_abort_failed",
                    sink = self.names.sink,
                    error,
                    "cannot abort the transaction; the next session aborts it"
                );
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
