//! The position that the broker stores: how far this sink has delivered.
//!
//! ```text
//! transaction:  records of the batch | position record {journal, generation, instance, first, last, last_event} | group offset
//! ```
//!
//! A sink that redelivers has a higher generation than the stored position: then that position does not count, and the first
//! record of the new generation replaces it.
//!
//! Compaction keeps the last record of each key, and there is one key, so the position does not expire. Reading it needs no
//! search: committed records are in order, so the last one holds.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::client::{CALL_TIMEOUT, Connection, query};
use super::context::SinkContext;
use super::error::{of_reading, stopped};
use super::names::Names;
use crate::journal::Seq;
use crate::sinks::SinkError;

/// How many records before the end to read first. Records of aborted transactions, and the markers that end transactions,
/// may follow the last position.
const FIRST_READ: i64 = 64;

/// The position that a batch stores on the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The journal that the sequence numbers belong to.
    pub(super) journal: String,
    /// The generation of the sink that the sequence numbers belong to.
    #[serde(default, skip_serializing_if = "is_first")]
    pub(super) generation: u64,
    /// The process that wrote it.
    pub(super) instance: String,
    /// First sequence number of the batch.
    pub(super) first: Seq,
    /// Last sequence number of the batch: everything up to it is delivered.
    pub(super) last: Seq,
    /// The id of the batch's last event, if it had one.
    pub(super) last_event: Option<String>,
}

fn is_first(generation: &u64) -> bool {
    *generation == 0
}

/// What a position belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PositionKey {
    /// The journal's identity.
    pub(super) journal: String,
    /// The sink's generation.
    pub(super) generation: u64,
}

impl Position {
    /// The position of a sink that has not delivered anything.
    pub(super) fn before_the_first(key: &PositionKey) -> Self {
        let PositionKey { journal, generation } = key.clone();
        Self { journal, generation, instance: String::new(), first: 0, last: 0, last_event: None }
    }

    /// The JSON form.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can be written as JSON")
    }
}

/// The last committed position of this journal and generation; `None` if there is none, or only one of an earlier
/// generation. Blocks: not for async threads.
pub(super) fn read_position_of(connection: &Connection, key: &PositionKey) -> Result<Option<Position>, SinkError> {
    let Some(position) = read(connection)? else { return Ok(None) };
    if position.journal != key.journal {
        return Err(of_another_journal(&connection.names));
    }
    if position.generation > key.generation {
        return Err(of_a_later_generation(&connection.names));
    }
    Ok(Some(position).filter(|position| position.generation == key.generation))
}

fn of_another_journal(names: &Names) -> SinkError {
    let Names { position_topic, group, .. } = names;
    stopped(
        format!("the position of `{group}` on the broker belongs to another journal (another data_dir)"),
        format!(
            "if another auditflow runs a pipeline with this name, rename one of them; if the old data_dir is lost, delete the topic `{position_topic}`: events are then delivered again, with the same ids"
        ),
    )
}

fn of_a_later_generation(names: &Names) -> SinkError {
    stopped(
        format!(
            "`{}` on the broker was changed by `auditflow state` after this journal was written: the journal was restored from a backup or is a copy",
            names.group
        ),
        format!(
            "restore the newest data_dir; if it is lost, delete the topic `{}`: the events after this journal's position are then delivered, and consumers see some events twice, with the same id",
            names.position_topic
        ),
    )
}

/// The last committed position; `None` if there is none.
fn read(connection: &Connection) -> Result<Option<Position>, SinkError> {
    let consumer = connection.consumer()?;
    let topic = &connection.names.position_topic;
    let failed = |error: &KafkaError| of_reading(error, &connection.names, consumer.context());
    let watermarks = query(&consumer, |consumer| consumer.fetch_watermarks(topic, 0, CALL_TIMEOUT));
    let (low, high) = watermarks.map_err(|error| failed(&error))?;
    let mut from = high;
    let mut look = FIRST_READ;
    while from > low {
        from = (high - look).max(low);
        let found = last_from(&consumer, topic, from).map_err(|error| failed(&error))?;
        if found.is_some() {
            return Ok(found);
        }
        look *= 64;
    }
    Ok(None)
}

fn last_from(consumer: &BaseConsumer<SinkContext>, topic: &str, from: i64) -> Result<Option<Position>, KafkaError> {
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Offset(from))?;
    consumer.assign(&assignment)?;
    let mut last = None;
    let mut silent = Duration::ZERO;
    loop {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                silent = Duration::ZERO;
                last = message.payload().and_then(|json| serde_json::from_slice(json).ok()).or(last);
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(last),
            Some(Err(error)) if is_passing(&error) => {}
            Some(Err(error)) => return Err(error),
            None if silent >= CALL_TIMEOUT => return Err(timed_out()),
            None => silent += POLL,
        }
    }
}

const POLL: Duration = Duration::from_millis(200);

/// Connections that close while the client looks for the right broker.
fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::BrokerTransportFailure | Code::OperationTimedOut))
}

fn timed_out() -> KafkaError {
    KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::OperationTimedOut)
}
