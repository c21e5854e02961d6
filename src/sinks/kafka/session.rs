//! A producer's life: from its first word with the broker to the first failure that leaves a doubt.
//!
//! ```text
//! at least once:  begin ---------------------------------> send* -> every report in
//! exactly once:   begin -> init (fences others, ends what we left open) -> read position -> claim
//!                       -> [ begin txn -> send* -> position -> every report in -> offset -> commit ]*
//! ```
//!
//! The claim is a position record that says who we are, written at once: so a producer that finds itself fenced can tell
//! whether another one has taken over or the broker merely gave up on a slow transaction.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};

use super::call::{CALL_TIMEOUT, Failure, call, on_a_thread};
use super::client::{Connection, Names};
use super::context::{Failures, SinkContext};
use super::error::{is_fenced, of_producer, of_topic, stopped, transient};
use super::position::{self, Numbering, Position};
use super::record::{Record, RecordBuffer, RecordId};
use super::refusals::Refusals;
use crate::journal::Seq;
use crate::sinks::SinkError;

/// How long giving up a transaction may take: if the broker is away, the next session gives it up.
const ABORT_TIMEOUT: Duration = Duration::from_secs(3);

/// The number that the position record is sent with.
const POSITION_RECORD: usize = usize::MAX;

/// A producer that the broker knows.
pub(super) struct Session {
    names: Names,
    producer: Arc<ThreadedProducer<SinkContext>>,
    transaction: Option<Transactions>,
    /// Which records were sent in the batch, by the number they were sent with.
    sent: Vec<RecordId>,
    too_large: Vec<RecordId>,
}

/// What a session with transactions knows beside.
struct Transactions {
    position: Option<Position>,
    /// What offsets are committed with.
    group: Arc<ConsumerGroupMetadata>,
    is_open: bool,
}

impl Session {
    /// A producer without transactions. It speaks to the broker when the first record comes.
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

    /// A producer with transactions: it takes over the sink's name from any other, and knows how far that one has come.
    ///
    /// # Errors
    /// The position belongs to another journal or a later generation, or (if we were fenced) another process has taken over: both stop the sink.
    pub(super) async fn begin_transactional(
        connection: &Connection,
        ours: &Numbering,
        was_fenced: bool,
    ) -> Result<Self, Failure> {
        let before = read_position(connection, ours).await?;
        if was_fenced && before.as_ref().is_some_and(|position| position.instance != connection.instance) {
            return Err(Failure::from(superseded(&connection.names)));
        }
        let producer = Arc::new(connection.producer(true)?);
        call(&producer, |producer| producer.init_transactions(CALL_TIMEOUT)).await?;
        let position = read_position(connection, ours).await?;
        let transactions = Transactions {
            group: Arc::new(connection.consumer()?.group_metadata().ok_or(KafkaError::Canceled)?),
            position: position.clone(),
            is_open: false,
        };
        let mut session = Self::new(connection, producer, Some(transactions));
        let claim = Position {
            instance: connection.instance.clone(),
            ..position.unwrap_or_else(|| Position::before_the_first(ours))
        };
        session.commit(claim).await?;
        Ok(session)
    }

    /// A batch begins: what was sent before is of no interest.
    pub(super) fn begin_batch(&mut self) {
        self.sent.clear();
        self.too_large.clear();
        drop(self.tally().take_failures());
    }

    /// How far the broker says that this sink has come; `None` without transactions.
    pub(super) fn position(&self) -> Option<&Position> {
        self.transaction.as_ref()?.position.as_ref()
    }

    /// Whether records are under way, or a transaction is open.
    pub(super) fn is_busy(&self) -> bool {
        self.tally().under_way() > 0 || self.transaction.as_ref().is_some_and(|transaction| transaction.is_open)
    }

    fn tally(&self) -> &super::context::Tally {
        &self.producer.context().tally
    }

    /// Hands the buffer's records to librdkafka, which sends them. Waits only while its queue is full.
    pub(super) async fn send(&mut self, buffer: &mut RecordBuffer, refusals: &Refusals) -> Result<(), Failure> {
        let records = buffer.take_records();
        if !records.is_empty() {
            self.open_transaction()?;
        }
        let mut refused = None;
        for record in records {
            if refusals.is_suspect(record.id) {
                refused = self.send_alone(buffer, record).await?.or(refused);
            } else {
                self.send_one(buffer, record).await?;
            }
        }
        if let Some(failure) = refused {
            return Err(failure);
        }
        buffer.clear();
        Ok(())
    }

    fn open_transaction(&mut self) -> Result<(), Failure> {
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        if !transaction.is_open {
            self.producer.begin_transaction()?;
            transaction.is_open = true;
        }
        Ok(())
    }

    /// Sends a record in a request of its own. Outside a transaction the others go on after one that is too large, so that
    /// one attempt finds them all; the failure is returned as a value then.
    async fn send_alone(&mut self, buffer: &RecordBuffer, record: Record) -> Result<Option<Failure>, Failure> {
        self.settle().await?;
        self.send_one(buffer, record).await?;
        match self.settle().await {
            Ok(()) => Ok(None),
            Err(failure) if !failure.ends_session && matches!(failure.error, SinkError::Again { .. }) => {
                Ok(Some(failure))
            }
            Err(failure) => Err(failure),
        }
    }

    async fn send_one(&mut self, buffer: &RecordBuffer, record: Record) -> Result<(), Failure> {
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

    async fn enqueue(&mut self, mut record: BaseRecord<'_, [u8], [u8], usize>) -> Result<(), Failure> {
        loop {
            self.tally().sent();
            let Err((error, returned)) = self.producer.send(record) else { return Ok(()) };
            let (topic, number) = (returned.topic, returned.delivery_opaque);
            self.tally().not_sent();
            if self.transaction.is_some() && self.tally().has_failures() {
                // The transaction takes nothing more: what failed first says why.
                return self.settle().await;
            }
            match error.rdkafka_error_code() {
                Some(Code::QueueFull) => self.tally().more_reports().await,
                Some(Code::MessageSizeTooLarge) => {
                    self.tally().failed(error, topic, number);
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

    /// Waits until every record has its report. A transaction is given up at the first failure, since then nothing of it
    /// counts. The session ends with it: librdkafka may hold the other records back until they time out, also when the
    /// transaction is aborted, and its sequence numbers can be astray afterwards.
    async fn settle(&mut self) -> Result<(), Failure> {
        let is_lost = self.transaction.is_some();
        if is_lost {
            self.tally().all_reported_or_failed().await;
            if self.tally().has_failures() {
                self.give_up().await;
            }
        } else {
            self.tally().all_reported().await;
        }
        let failures = self.tally().take_failures();
        let sent = &self.sent;
        self.too_large.extend(failures.too_large.iter().filter_map(|number| sent.get(*number)));
        self.outcome(failures, is_lost)
    }

    /// What the reports amount to. Records that are too large are looked at first: whatever else failed, failed with them.
    fn outcome(&self, failures: Failures, is_lost: bool) -> Result<(), Failure> {
        if !self.too_large.is_empty() {
            let reason = format!("the broker refused {} records as too large", self.too_large.len());
            return Err(Failure { error: SinkError::Again { reason }, ends_session: is_lost, fenced: false });
        }
        if failures.too_large.contains(&POSITION_RECORD) {
            return Err(self.position_refused(is_lost));
        }
        if let Some((error, topic)) = failures.first {
            // A new session reads the credentials again, which may be what is to be mended.
            return Err(self.failure(&error, true, |error| match error.rdkafka_error_code() {
                Some(Code::MessageTimedOut) => transient(error, "write to", Some(self.producer.context().as_ref())),
                _ => of_topic(error, &topic, &self.names),
            }));
        }
        if let Some(reason) = failures.transaction {
            return Err(self.transaction_failed(&reason, is_lost));
        }
        match failures.dropped {
            Some((error, topic)) => Err(self.failure(&error, true, |error| of_topic(error, &topic, &self.names))),
            None => Ok(()),
        }
    }

    fn transaction_failed(&self, reason: &str, is_lost: bool) -> Failure {
        let error = KafkaError::MessageProduction(Code::State);
        self.failure(&error, is_lost, |_| SinkError::Transient {
            message: format!("Kafka has given up the transaction: {reason}"),
            hint: "nothing is lost; auditflow tries again by itself".to_owned(),
        })
    }

    fn position_refused(&self, is_lost: bool) -> Failure {
        let error = KafkaError::MessageProduction(Code::MessageSizeTooLarge);
        self.failure(&error, is_lost, |error| of_topic(error, &self.names.position_topic, &self.names))
    }

    /// The records that were refused as too large since this was asked last.
    pub(super) fn take_too_large(&mut self) -> Vec<RecordId> {
        std::mem::take(&mut self.too_large)
    }

    /// Makes the batch durable: every record acknowledged by all in-sync replicas; with transactions also committed,
    /// together with `position`.
    pub(super) async fn commit(&mut self, position: Position) -> Result<(), Failure> {
        if self.transaction.is_some() {
            self.commit_transaction(position).await?;
        } else {
            self.settle().await?;
        }
        Ok(())
    }

    async fn commit_transaction(&mut self, position: Position) -> Result<(), Failure> {
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
        self.settle().await?;
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

    /// Gives the open transaction up, so that consumers need not wait for it; returns whether the broker has agreed, and
    /// this producer can go on.
    pub(super) async fn give_up(&mut self) -> bool {
        let Some(transaction) = &mut self.transaction else { return self.tally().under_way() == 0 };
        if !transaction.is_open {
            return true;
        }
        let producer = Arc::clone(&self.producer);
        match on_a_thread(move || producer.abort_transaction(ABORT_TIMEOUT)).await {
            Ok(()) => transaction.is_open = false,
            Err(error) => tracing::debug!(%error, "the transaction cannot be given up now; the next session ends it"),
        }
        !transaction.is_open
    }

    fn failure(
        &self,
        error: &KafkaError,
        ends_session: bool,
        sentence: impl FnOnce(&KafkaError) -> SinkError,
    ) -> Failure {
        let fatal = self.producer.client().fatal_error();
        let fenced = is_fenced(error) || fatal.as_ref().is_some_and(|(code, _)| matches!(code, Code::Fenced));
        let ends_session = ends_session || fatal.is_some();
        // What comes after a fatal error says only that there was one.
        let error = match fatal {
            Some((code, reason)) if !fenced => of_producer(code, &reason),
            _ => sentence(error),
        };
        Failure { error, ends_session, fenced }
    }
}

/// The group's offset: the last event that is delivered.
fn committed_offset(last: Seq) -> Offset {
    Offset::Offset(i64::try_from(last).unwrap_or(i64::MAX))
}

async fn read_position(connection: &Connection, ours: &Numbering) -> Result<Option<Position>, SinkError> {
    let (reader, ours) = (connection.clone(), ours.clone());
    on_a_thread(move || position::read_ours(&reader, &ours)).await
}

fn superseded(names: &Names) -> SinkError {
    stopped(
        format!(
            "another auditflow has taken over `{}` and this one is fenced: it writes nothing any more",
            names.group
        ),
        "run one auditflow for a pipeline; to stop the other one instead, stop it first and then start this one",
    )
}
