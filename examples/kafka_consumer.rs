//! A consumer of auditflow's events to begin your own from: what a reader of the topic must do, and no more.
//!
//! ```text
//! poll -> schema version known? -> seen already? -> process -> remember the offset -> commit, now and then
//! ```
//!
//! ```console
//! $ cargo run --example kafka_consumer -- --bootstrap-servers kafka:9092 --topic audit --group my-team
//! ```
//!
//! Copy this file into a crate of yours that depends on `anyhow`, `clap` (features `derive`, `env`), `rdkafka`, `serde`
//! (feature `derive`), `serde_json` and `tokio` (features `macros`, `rt`, `signal`).
#![allow(clippy::print_stdout)]

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance, StreamConsumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, ClientContext};
use serde::Deserialize;
use tokio::signal::unix::{SignalKind, signal};

/// The schema that this consumer was written for: any 1.x. A minor step only adds fields, so they are ignored; a major
/// step may change what fields mean, so nothing is guessed.
const SCHEMA_MAJOR: &str = "1";

/// How many of the latest events are remembered, to know repeats by: some 10 MB. More than a batch of auditflow's
/// (`batch.max_events`), since a batch is what may be sent again.
const REMEMBERED_EVENTS: usize = 100_000;

/// How often offsets are committed. After a crash, what was processed since then is read once more.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Parser)]
struct Arguments {
    /// Brokers to begin with: host:port, several with commas between
    #[arg(long, env = "KAFKA_BOOTSTRAP_SERVERS")]
    bootstrap_servers: String,
    /// A topic to read; may be repeated. `^audit\..*` reads every topic that matches
    #[arg(long = "topic", env = "KAFKA_TOPICS", value_delimiter = ',', required = true)]
    topics: Vec<String>,
    /// The consumer group. Members of one group share the partitions, and go on where the group has come to
    #[arg(long, env = "KAFKA_GROUP")]
    group: String,
}

/// The fields that this consumer uses. Others are ignored, also those that later versions add.
#[derive(Deserialize)]
struct Event {
    id: String,
    /// Only where a vendor changes a record after the fact: the same id comes again with a higher version.
    #[serde(default)]
    version: u64,
    timestamp: String,
    action: String,
    actor: Actor,
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Actor {
    id: Option<String>,
    name: Option<String>,
    email: Option<String>,
}

#[derive(Deserialize)]
struct Target {
    id: Option<String>,
    name: Option<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let consumer = subscribe(&arguments)?;
    let done = consume(&consumer).await;
    // What was processed is committed, whatever ended the loop.
    commit(&consumer, CommitMode::Sync)?;
    done
}

fn subscribe(arguments: &Arguments) -> anyhow::Result<StreamConsumer<CommitBeforeHandover>> {
    let consumer: StreamConsumer<CommitBeforeHandover> = ClientConfig::new()
        .set("bootstrap.servers", &arguments.bootstrap_servers)
        .set("group.id", &arguments.group)
        // Records of transactions that were given up are not shown. Without this line `delivery: exactly_once` is lost
        // on the last metre.
        .set("isolation.level", "read_committed")
        // A new group begins with the oldest record.
        .set("auto.offset.reset", "earliest")
        // An offset counts only once its event is processed, so both are done by hand below.
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .create_with_context(CommitBeforeHandover)
        .context("cannot make a consumer")?;
    let topics: Vec<&str> = arguments.topics.iter().map(String::as_str).collect();
    consumer.subscribe(&topics).context("cannot subscribe")?;
    Ok(consumer)
}

/// Reads until Ctrl-C or SIGTERM.
async fn consume(consumer: &StreamConsumer<CommitBeforeHandover>) -> anyhow::Result<()> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut commit_time = tokio::time::interval(COMMIT_INTERVAL);
    let mut seen = Seen::default();
    loop {
        tokio::select! {
            _ = interrupted.recv() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
            _ = commit_time.tick() => commit(consumer, CommitMode::Async)?,
            received = consumer.recv() => match received {
                Ok(message) => {
                    handle(&message, &mut seen)?;
                    consumer.store_offset_from_message(&message)?;
                }
                // Brokers that are down, and the like: the client retries.
                Err(error) => eprintln!("{error}"),
            },
        }
    }
}

/// One record, from the check of its version to the end of its processing. An error stops the consumer before this
/// record's offset counts, so that nothing is skipped.
fn handle(message: &BorrowedMessage<'_>, seen: &mut Seen) -> anyhow::Result<()> {
    check_schema_version(message).with_context(|| place(message))?;
    let value = message.payload().unwrap_or_default();
    let event: Event = serde_json::from_slice(value).with_context(|| place(message))?;
    if seen.is_new(&event) {
        process(message, &event)?;
    }
    Ok(())
}

/// The version stands in a header, so it is known before the value is read.
fn check_schema_version(message: &BorrowedMessage<'_>) -> anyhow::Result<()> {
    let Some(version) = header(message, "schema_version") else {
        bail!("the record has no header schema_version: it is not auditflow's")
    };
    if version.split('.').next() != Some(SCHEMA_MAJOR) {
        bail!("schema version {version}: this consumer understands {SCHEMA_MAJOR}.x; update it before it goes on");
    }
    Ok(())
}

/// This is where your own work goes. Here: a line an event, its columns separated by tabs.
fn process(message: &BorrowedMessage<'_>, event: &Event) -> anyhow::Result<()> {
    let actor = &event.actor;
    let actor = [&actor.name, &actor.email, &actor.id].into_iter().flatten().next();
    let target = event.target.iter().flat_map(|target| [&target.name, &target.id]).flatten().next();
    println!(
        "{}\t{}\t{}\t{}\t{}\t{}\t{}",
        event.id,
        event.version,
        event.timestamp,
        header(message, "vendor").unwrap_or_default(),
        event.action,
        serde_json::to_string(&actor)?,
        serde_json::to_string(&target)?,
    );
    Ok(())
}

/// Which events were processed lately, by id and version.
///
/// Needed with `delivery: at_least_once`, where a batch that failed half-way is sent again; and with either guarantee
/// after this consumer has crashed or lost a partition between processing and commit. A memory like this one catches
/// repeats that come soon, and forgets them all when the process ends. Where every repeat must be caught, let the place
/// that you write to do it instead, by a unique key:
///
/// ```sql
/// INSERT INTO events (id, version, ...) VALUES (...) ON CONFLICT (id, version) DO NOTHING
/// ```
///
/// With `exactly_once` and such a place (or one where writing twice does no harm) this memory is not needed.
#[derive(Default)]
struct Seen {
    known: HashSet<(String, u64)>,
    oldest_first: VecDeque<(String, u64)>,
}

impl Seen {
    /// Whether the event was not seen yet; remembers it.
    fn is_new(&mut self, event: &Event) -> bool {
        let key = (event.id.clone(), event.version);
        if !self.known.insert(key.clone()) {
            return false;
        }
        self.oldest_first.push_back(key);
        if self.oldest_first.len() > REMEMBERED_EVENTS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

/// Commits before partitions go to another member of the group, so that it does not read again what we have processed.
struct CommitBeforeHandover;

impl ClientContext for CommitBeforeHandover {}

impl ConsumerContext for CommitBeforeHandover {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Revoke(_))
            && let Err(error) = commit(consumer, CommitMode::Sync)
        {
            eprintln!("cannot commit before the partitions go: {error}");
        }
    }
}

/// Commits what was processed.
fn commit<C: ConsumerContext>(consumer: &impl Consumer<C>, mode: CommitMode) -> Result<(), KafkaError> {
    match consumer.commit_consumer_state(mode) {
        // Nothing new to commit.
        Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => Ok(()),
        other => other,
    }
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let found = message.headers()?.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}

fn place(message: &BorrowedMessage<'_>) -> String {
    let key = String::from_utf8_lossy(message.key().unwrap_or_default());
    format!("topic {}, partition {}, offset {}, key {key}", message.topic(), message.partition(), message.offset())
}
