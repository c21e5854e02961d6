//! The `kafka` sink on a real Apache Kafka: the real program, killed and restarted, while the broker goes away and comes
//! back. In the end a consumer that reads what is committed must find what the simulator knows to be true.
//!
//! These tests need a container engine; `.ci/run` runs them. One broker serves them all, but for those that stop it.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used)]

mod broker;
#[path = "../common/mod.rs"]
mod common;
mod examples;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use auditflow::simulator::SimulatorOptions;
use auditflow::simulator::VendorName;
use auditflow::simulator::proof::{self, Delivered, Verdict};
use broker::Broker;
use common::World;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

const FAULTS: &[&str] = &["late_events=0.1", "ties", "twins", "server_error=0.03", "cut_body=0.03", "rate_limit=0.03"];

fn client(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

fn create_topic(broker: &str, name: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> = client(broker).create().unwrap();
    let topic = settings
        .iter()
        .fold(NewTopic::new(name, 3, TopicReplication::Fixed(1)), |topic, (key, value)| topic.set(key, value));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results = runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    results.into_iter().for_each(|result| drop(result.unwrap()));
}

/// One record as a consumer sees it.
struct Received {
    key: String,
    headers: BTreeMap<String, String>,
    value: String,
}

/// Every committed record of the topics that there are.
fn committed(broker: &str, topics: &[&str]) -> Vec<Received> {
    let consumer: BaseConsumer = client(broker)
        .set("group.id", format!("reader-{}", fastrand::u64(..)))
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for topic in topics {
        let metadata = consumer.fetch_metadata(Some(topic), Duration::from_secs(20)).unwrap();
        for partition in metadata.topics()[0].partitions() {
            all.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
        }
    }
    consumer.assign(&all).unwrap();
    let (mut records, mut open) = (Vec::new(), all.count());
    while open > 0 {
        match consumer.poll(Duration::from_secs(60)).expect("an answer within a minute") {
            Ok(message) => records.push(Received::of(&message)),
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => eprintln!("the reader goes on after: {error}"),
        }
    }
    records
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

fn by_vendor(records: &[Received]) -> BTreeMap<String, Vec<Delivered>> {
    let mut events: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    for record in records {
        let event = Delivered::from_line(&record.value).unwrap();
        events.entry(event.vendor.clone()).or_default().push(event);
    }
    events
}

fn world(seed: u64, events: u64, faults: &[&str]) -> World {
    World::new(SimulatorOptions {
        seed,
        events_per_vendor: events,
        span: Duration::from_secs(2 * 86_400),
        rate: 10.0,
        faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

/// A pipeline file of its own name: the broker knows a sink by it.
fn pipeline(world: &World, broker: &str, more: &str) -> PathBuf {
    let file = world.write_pipeline(&format!(
        "sinks:\n  stream: {{type: kafka, inputs: [events], bootstrap_servers: \"{broker}\", {more}}}\n"
    ));
    let named = world.path(&format!("p{:x}.yaml", fastrand::u64(..)));
    fs::rename(file, &named).unwrap();
    named
}

fn topic_name() -> String {
    format!("audit-{:x}", fastrand::u64(..))
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn all_five_vendors_arrive_with_key_headers_and_value() {
    let broker = Broker::shared();
    let world = world(common::seed(), 300, &[]);
    let prefix = topic_name();
    let file = pipeline(
        &world,
        broker,
        &format!(
            "topic: \"{prefix}.{{{{ vendor }}}}\", create_topic: {{partitions: 2, replication_factor: 1}}, compression: zstd, headers: {{env: test}}"
        ),
    );
    world.simulator.control().stop_growth();
    world.wait_until_quiet();
    world.run_once(&file);
    let topics: Vec<_> = VendorName::ALL.iter().map(|vendor| format!("{prefix}.{}", vendor.as_str())).collect();
    let records = committed(broker, &topics.iter().map(String::as_str).collect::<Vec<_>>());
    for record in &records {
        let event = Delivered::from_line(&record.value).unwrap();
        assert_eq!(record.key, event.id);
        assert_eq!(record.headers["event_id"], event.id);
        assert_eq!(record.headers["vendor"], event.vendor);
        assert_eq!(record.headers["schema_version"], "1.0");
        assert_eq!(record.headers["env"], "test");
    }
    world.assert_all_delivered_once(by_vendor(&records));
    world.assert_no_secret_anywhere();
}

/// A random life: mostly short, so that the first steps after a start are hit as often as the steady work.
fn life(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(200..900) + random.u64(0..3) * random.u64(0..700))
}

fn survives(delivery: &str) -> (World, Vec<Received>) {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let broker = Broker::start();
    let world = world(seed, 3_000, FAULTS);
    let topic = topic_name();
    create_topic(&broker.address, &topic, &[]);
    let file = pipeline(
        &world,
        &broker.address,
        &format!("topic: {topic}, delivery: {delivery}, batch: {{max_events: 200, timeout_secs: 50ms}}"),
    );
    for kill in 0..40 {
        if kill % 7 == 3 {
            broker.stop();
            world.run_and_kill(&file, life(&mut random));
            broker.start_again();
        }
        world.run_and_kill(&file, life(&mut random));
    }
    world.wait_until_quiet();
    world.run_once(&file);
    let records = committed(&broker.address, &[&topic]);
    (world, records)
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn exactly_once_under_forty_kills_and_five_restarts_of_the_broker() {
    let (world, records) = survives("exactly_once");
    world.assert_all_delivered_once(by_vendor(&records));
    world.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn at_least_once_loses_nothing_under_the_same() {
    let (world, records) = survives("at_least_once");
    let delivered = by_vendor(&records);
    for vendor in VendorName::ALL {
        let verdict = verdict(&world, vendor, &delivered);
        eprintln!("{}: {} twice", vendor.as_str(), verdict.twice.len());
        assert!(verdict.expected > 0 && verdict.lost.is_empty() && verdict.foreign.is_empty(), "{verdict:?}");
    }
}

fn verdict(world: &World, vendor: VendorName, delivered: &BTreeMap<String, Vec<Delivered>>) -> Verdict {
    let truth = world.simulator.control().truth(vendor).unwrap();
    let none = Vec::new();
    let delivered = delivered.get(vendor.as_str()).unwrap_or(&none);
    proof::compare(truth.iter().map(|record| record.raw.as_str()), delivered)
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_lost_group_offset_changes_nothing() {
    let broker = Broker::shared();
    let world = world(common::seed(), 200, &[]);
    let topic = topic_name();
    create_topic(broker, &topic, &[]);
    let file = pipeline(&world, broker, &format!("topic: {topic}, delivery: exactly_once"));
    world.simulator.control().stop_growth();
    world.wait_until_quiet();
    world.run_once(&file);
    forget_delivery(&world, &file);
    // As after a rest longer than offsets.retention.minutes: the group is gone, and so is what the journal noted last.
    let group = format!("auditflow.{}.stream", file.file_stem().unwrap().to_str().unwrap());
    let admin: AdminClient<DefaultClientContext> = client(broker).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let gone = runtime.block_on(admin.delete_groups(&[&group], &AdminOptions::new())).unwrap();
    gone.into_iter().for_each(|result| drop(result.unwrap()));
    world.run_once(&file);
    world.assert_all_delivered_once(by_vendor(&committed(broker, &[&topic])));
}

/// Sets the sink back to the beginning in the journal, as if every note after the commit had been lost.
fn forget_delivery(world: &World, _file: &Path) {
    let journal = rusqlite::Connection::open(world.path("data").join("journal.db")).unwrap();
    let changed = journal.execute("UPDATE sinks SET position = 0", []).unwrap();
    assert_eq!(changed, 1);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_broker_that_is_away_for_a_minute_costs_nothing() {
    let broker = Broker::start();
    let world = world(common::seed(), 500, &[]);
    let topic = topic_name();
    create_topic(&broker.address, &topic, &[]);
    let file = pipeline(
        &world,
        &broker.address,
        &format!("topic: {topic}, delivery: exactly_once, batch: {{timeout_secs: 50ms}}"),
    );
    let mut running = world.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("the first events are there", || !committed(&broker.address, &[&topic]).is_empty());
    broker.stop();
    std::thread::park_timeout(Duration::from_secs(60));
    assert!(running.try_wait().unwrap().is_none(), "the program ended by itself:\n{}", world.log_tail());
    broker.start_again();
    running.kill().unwrap();
    running.wait().unwrap();
    world.wait_until_quiet();
    world.run_once(&file);
    world.assert_all_delivered_once(by_vendor(&committed(&broker.address, &[&topic])));
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn an_oversized_record_goes_to_the_dead_letter_once_and_the_rest_arrives() {
    let broker = Broker::shared();
    let world = world(common::seed(), 200, &[]);
    let topic = topic_name();
    let file = pipeline(
        &world,
        broker,
        &format!("topic: {topic}, delivery: exactly_once, librdkafka_options: {{batch.num.messages: 1}}"),
    );
    world.simulator.control().stop_growth();
    world.wait_until_quiet();
    // The largest records become larger than this in their envelope, most do not.
    let records = VendorName::ALL.iter().flat_map(|vendor| world.simulator.control().truth(*vendor).unwrap());
    let largest = records.map(|record| record.raw.len()).max().unwrap();
    create_topic(broker, &topic, &[("max.message.bytes", &(largest + 600).to_string())]);
    world.run_once(&file);
    let records = committed(broker, &[&topic]);
    let dead = fs::read_to_string(world.path("data/dead_letter/stream.ndjson")).unwrap();
    let dead: Vec<serde_json::Value> = dead.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(!dead.is_empty() && !records.is_empty(), "{} dead, {} delivered", dead.len(), records.len());
    assert!(dead.iter().all(|line| line["reason"].as_str().unwrap().contains("max.message.bytes")), "{}", dead[0]);
    let mut ids: Vec<_> = dead.iter().map(|line| line["event"]["id"].as_str().unwrap().to_owned()).collect();
    ids.extend(records.iter().map(|record| record.key.clone()));
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "an event is twice in the topic and the dead letter together");
    let truth: usize =
        VendorName::ALL.iter().map(|vendor| world.simulator.control().truth(*vendor).unwrap().len()).sum();
    assert_eq!(all, truth);
    world.assert_counters_add_up(&["stream"]);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn of_two_instances_the_older_is_fenced_and_nothing_comes_twice() {
    let broker = Broker::shared();
    let world = world(common::seed(), 300, &[]);
    let topic = topic_name();
    create_topic(broker, &topic, &[]);
    let file =
        pipeline(&world, broker, &format!("topic: {topic}, delivery: exactly_once, batch: {{timeout_secs: 50ms}}"));
    let mut older = world.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("the first events are there", || !committed(broker, &[&topic]).is_empty());
    // The data folder is copied to another machine and started there, while the first one still runs.
    let copy = world.path("copy");
    let source = rusqlite::Connection::open(world.path("data/journal.db")).unwrap();
    fs::create_dir(&copy).unwrap();
    source.execute("VACUUM INTO ?1", [copy.join("journal.db").to_str().unwrap()]).unwrap();
    let mut newer =
        world.program(&["run", file.to_str().unwrap(), "--data-dir", copy.to_str().unwrap()]).spawn().unwrap();
    common::until("the older one says that it is fenced", || world.log_tail().contains("fenced"));
    assert!(newer.try_wait().unwrap().is_none(), "the newer one works on");
    older.kill().unwrap();
    older.wait().unwrap();
    newer.kill().unwrap();
    newer.wait().unwrap();
    let mut keys: Vec<_> = committed(broker, &[&topic]).into_iter().map(|record| record.value).collect();
    let all = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), all);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_missing_topic_is_named_and_delivery_goes_on_once_it_is_there() {
    let broker = Broker::shared();
    let world = world(common::seed(), 100, &[]);
    let topic = topic_name();
    let file = pipeline(&world, broker, &format!("topic: {topic}"));
    let mut running = world.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("the missing topic is named", || world.log_tail().contains(&format!("`{topic}`")));
    create_topic(broker, &topic, &[]);
    common::until("events arrive", || !committed(broker, &[&topic]).is_empty());
    running.kill().unwrap();
    running.wait().unwrap();
}

/// What `auditflow check` says, and whether it was content.
fn check(world: &World, file: &Path) -> (bool, String) {
    let output =
        world.program(&["check", file.to_str().unwrap()]).stdout(std::process::Stdio::piped()).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn the_check_names_what_is_missing_and_a_run_does_not_begin() {
    let broker = Broker::shared();
    let world = world(common::seed(), 20, &[]);
    let topic = topic_name();
    let file = pipeline(&world, broker, &format!("topic: {topic}"));
    let (content, said) = check(&world, &file);
    assert!(!content && said.contains(&format!("`{topic}`")) && said.contains("clumio: ok"), "{said}");
    let status = world.program(&["run", file.to_str().unwrap()]).status().unwrap();
    assert_eq!(status.code(), Some(1));
    create_topic(broker, &topic, &[]);
    let (content, said) = check(&world, &file);
    assert!(content, "{said}");
    assert!(committed(broker, &[&topic]).is_empty(), "a check writes nothing");
}
