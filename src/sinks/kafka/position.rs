//! How far a sink has come, as the broker holds it: a record in a compacted topic of the sink's own.
//!
//! ```text
//! transaction:  records of the batch | position record {journal, instance, first, last, last_event} | group offset
//! ```
//!
//! Compaction keeps the last record of each key for ever, and there is one key, so the position does not expire. Reading
//! it back needs no search: committed records stand in order, so the last one holds.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use serde::{Deserialize, Serialize};

use super::call::CALL_TIMEOUT;
use super::client::{Connection, ask};
use super::context::SinkContext;
use super::error::of_reading;
use crate::journal::Seq;
use crate::sinks::SinkError;

/// How many records back to look first. Records of transactions that were given up, and the marks that end transactions,
/// may stand behind the last position.
const FIRST_LOOK: i64 = 64;

/// What a batch leaves behind on the broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// The journal that the sequence numbers belong to.
    pub(super) journal: String,
    /// The process that wrote it.
    pub(super) instance: String,
    /// First sequence number of the batch.
    pub(super) first: Seq,
    /// Last sequence number of the batch: everything up to it is delivered.
    pub(super) last: Seq,
    /// The id of the batch's last event, if it had one.
    pub(super) last_event: Option<String>,
}

impl Position {
    /// As it is written.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers can be written as JSON")
    }
}

/// The last position that is committed; `None` if there never was one. Waits for the broker: not for async threads.
pub(super) fn read(connection: &Connection) -> Result<Option<Position>, SinkError> {
    let consumer = connection.consumer()?;
    let topic = &connection.names.position_topic;
    let failed = |error: &KafkaError| of_reading(error, &connection.names, consumer.context());
    let watermarks = ask(&consumer, |consumer| consumer.fetch_watermarks(topic, 0, CALL_TIMEOUT));
    let (low, high) = watermarks.map_err(|error| failed(&error))?;
    let mut from = high;
    let mut look = FIRST_LOOK;
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

/// Connections that end while the client looks for the right broker.
fn is_passing(error: &KafkaError) -> bool {
    use rdkafka::error::RDKafkaErrorCode as Code;
    matches!(error.rdkafka_error_code(), Some(Code::BrokerTransportFailure | Code::OperationTimedOut))
}

fn timed_out() -> KafkaError {
    KafkaError::MessageConsumption(rdkafka::error::RDKafkaErrorCode::OperationTimedOut)
}
