//! The verifying consumer, and topic administration.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use auditflow::simulator::proof::Delivered;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// The longest wait for a response of the broker.
const TIMEOUT: Duration = Duration::from_secs(60);

pub fn client(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

/// Runs a call of the admin client.
pub fn administer<T>(broker: &str, call: impl AsyncFnOnce(AdminClient<DefaultClientContext>, AdminOptions) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(call(client(broker).create().unwrap(), AdminOptions::new()))
}

pub fn create_topic(broker: &str, name: &str, settings: &[(&str, &str)]) {
    let topic = settings
        .iter()
        .fold(NewTopic::new(name, 3, TopicReplication::Fixed(1)), |topic, (key, value)| topic.set(key, value));
    let created = administer(broker, async |admin, options| admin.create_topics([&topic], &options).await);
    created.unwrap().into_iter().for_each(|result| drop(result.unwrap()));
}

/// The names of all topics.
pub fn topics(broker: &str) -> BTreeSet<String> {
    let consumer: BaseConsumer = client(broker).create().unwrap();
    let metadata = consumer.fetch_metadata(None, TIMEOUT).unwrap();
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

/// One record as a consumer sees it.
pub struct Received {
    pub key: String,
    pub headers: BTreeMap<String, String>,
    pub value: String,
}

impl Received {
    fn of(message: &impl Message) -> Self {
        let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap();
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            key: text(message.key()),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
            value: text(message.payload()),
        }
    }
}

/// Every committed record of these topics.
pub fn committed(broker: &str, topics: &[&str]) -> Vec<Received> {
    read(broker, topics, "read_committed")
}

/// Every record of these topics, those of aborted transactions too.
pub fn written(broker: &str, topics: &[&str]) -> Vec<Received> {
    read(broker, topics, "read_uncommitted")
}

fn read(broker: &str, topics: &[&str], isolation: &str) -> Vec<Received> {
    let consumer: BaseConsumer = client(broker)
        .set("group.id", format!("reader-{}", fastrand::u64(..)))
        .set("isolation.level", isolation)
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut records = Vec::new();
    // One topic at a time: the end-of-partition message has only the partition number.
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        let mut open: HashSet<i32> = metadata.topics()[0].partitions().iter().map(|each| each.id()).collect();
        let mut all = TopicPartitionList::new();
        for partition in &open {
            all.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        while !open.is_empty() {
            match consumer.poll(TIMEOUT).expect("a record or the end of a partition within the timeout") {
                Ok(message) => records.push(Received::of(&message)),
                Err(KafkaError::PartitionEOF(partition)) => drop(open.remove(&partition)),
                Err(error) => eprintln!("the reader continues after: {error}"),
            }
        }
    }
    records
}

pub fn by_vendor(records: &[Received]) -> BTreeMap<String, Vec<Delivered>> {
    let mut events: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    for record in records {
        let event = Delivered::from_line(&record.value).unwrap();
        events.entry(event.vendor.clone()).or_default().push(event);
    }
    events
}
