//! The `kafka` sink compared with a bare rdkafka producer that sends the same bytes to the same broker.
//!
//! ```text
//! sink   Event --write--> encoded --flush, one commit per batch--> broker       as the deliver loop drives it
//! bare   bytes, headers and times prepared before ------------------> broker       same librdkafka settings
//! ```
//!
//! The two alternate several times in one run, and the ratio is the median of the rounds: above 1 the sink is faster. The
//! sink's time includes encoding, the bare producer's does not; the last columns are the time of encoding alone and the ratio
//! without it. Neither includes normalizing, which the deliver loop does.
//!
//! With `exactly_once` the bare producer commits a transaction for each batch, but writes no position. With
//! `at_least_once` it waits for all acknowledgements either at the end of each batch, as the sink must before the journal's
//! position moves, or once at the end.
#![allow(clippy::print_stdout)]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use auditflow::clock::SystemClock;
use auditflow::event::native::{self, RawForm};
use auditflow::event::{Event, SCHEMA_VERSION};
use auditflow::journal::{JournalError, RollbackRecord};
use auditflow::simulator::{Simulator, SimulatorOptions, VendorName};
use auditflow::sinks::registry::{SinkConfig, SinkName};
use auditflow::sinks::{BatchRange, EventForm, RollbackLog, Sink, StoredPosition, WriteOutcome};
use auditflow::time::Timestamp;
use auditflow::vendors::{self, NormalizerConfig, ReadContext};
use futures_util::future::BoxFuture;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use tokio::time::Instant;

/// Names the broker.
const BROKER_VARIABLE: &str = "AUDITFLOW_BENCH_KAFKA";

const EVENTS_PER_VENDOR: u64 = 10_000;

/// The sink's own default.
const EVENTS_PER_BATCH: usize = 10_000;

/// Rounds that count; one more before them warms both sides up.
const ROUNDS: usize = 9;

/// How long the broker may take for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What is compared.
#[derive(Clone, Copy)]
struct Contest {
    delivery: &'static str,
    compression: &'static str,
    bare_waits: Wait,
}

/// When the bare producer waits for acknowledgements.
#[derive(Clone, Copy, PartialEq)]
enum Wait {
    EachBatch,
    AtTheEnd,
}

const CONTESTS: [Contest; 5] = [
    Contest { delivery: "at_least_once", compression: "none", bare_waits: Wait::EachBatch },
    Contest { delivery: "at_least_once", compression: "none", bare_waits: Wait::AtTheEnd },
    Contest { delivery: "exactly_once", compression: "none", bare_waits: Wait::EachBatch },
    Contest { delivery: "at_least_once", compression: "zstd", bare_waits: Wait::EachBatch },
    Contest { delivery: "exactly_once", compression: "zstd", bare_waits: Wait::EachBatch },
];

fn main() -> anyhow::Result<()> {
    let Ok(broker) = std::env::var(BROKER_VARIABLE) else {
        bail!(
            "no broker is named: start one with `docker run -d -p 9092:9092 apache/kafka:4.1.0` and set {BROKER_VARIABLE}=localhost:9092"
        );
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(compare_all(&broker))
}

async fn compare_all(broker: &str) -> anyhow::Result<()> {
    let records = records_of_all_vendors().await?;
    let load = Load::of(&records)?;
    println!(
        "{} events of five vendors, {:.1} MB with keys and headers, {EVENTS_PER_BATCH} a batch, {ROUNDS} rounds",
        load.events.len(),
        load.bytes() as f64 / 1e6
    );
    println!(
        "{:<14} {:<5} {:<13} | {:>9} {:>7} | {:>9} {:>7} | {:>22} | {:>11} {:>16}",
        "delivery",
        "codec",
        "bare waits",
        "sink /s",
        "MB/s",
        "bare /s",
        "MB/s",
        "ratio (least, most)",
        "encoding /s",
        "ratio without it"
    );
    for contest in CONTESTS {
        compare(broker, contest, &load).await?;
    }
    Ok(())
}

/// Sink and bare producer in turns.
async fn compare(broker: &str, contest: Contest, load: &Load<'_>) -> anyhow::Result<()> {
    let run = format!("bench-{:x}", fastrand::u64(..));
    let mut sink = SinkRunner::new(broker, contest, &run).await?;
    let bare = BareProducer::new(broker, contest, &run).await?;
    let mut rounds = Vec::new();
    for number in 0..=ROUNDS {
        let headers = load.all_headers();
        let (of_sink, of_bare);
        if number % 2 == 0 {
            of_sink = sink.send(load).await?;
            of_bare = bare.send(load, headers)?;
        } else {
            of_bare = bare.send(load, headers)?;
            of_sink = sink.send(load).await?;
        }
        let encoding = sink.encode(load)?;
        rounds.push(Round { sink: of_sink, bare: of_bare, encoding });
    }
    report(contest, load, &rounds[1..]);
    delete_topics(broker, &[sink.topic, bare.topic, format!("auditflow.{run}.sink")]).await
}

/// How long each took.
struct Round {
    sink: Duration,
    bare: Duration,
    encoding: Duration,
}

fn report(contest: Contest, load: &Load<'_>, rounds: &[Round]) {
    let median_of = |of: fn(&Round) -> f64| median(rounds.iter().map(of).collect());
    let ratios: Vec<f64> = rounds.iter().map(|round| round.bare.as_secs_f64() / round.sink.as_secs_f64()).collect();
    let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), at| (least.min(*at), most.max(*at)));
    let (sink, bare) = (median_of(|round| round.sink.as_secs_f64()), median_of(|round| round.bare.as_secs_f64()));
    let encoding = median_of(|round| round.encoding.as_secs_f64());
    let apart = median_of(|round| round.bare.as_secs_f64() / (round.sink.saturating_sub(round.encoding)).as_secs_f64());
    let per_second = |seconds: f64| (load.events.len() as f64 / seconds, load.bytes() as f64 / 1e6 / seconds);
    println!(
        "{:<14} {:<5} {:<13} | {:>9.0} {:>7.1} | {:>9.0} {:>7.1} | {:>22} | {:>11.0} {:>16.2}",
        contest.delivery,
        contest.compression,
        match contest.bare_waits {
            Wait::EachBatch => "each batch",
            Wait::AtTheEnd => "at the end",
        },
        per_second(sink).0,
        per_second(sink).1,
        per_second(bare).0,
        per_second(bare).1,
        format!("{:.2} ({least:.2}, {most:.2})", median(ratios)),
        per_second(encoding).0,
        apart
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Records of all vendors, mixed as they come when all are collected at once.
async fn records_of_all_vendors() -> anyhow::Result<Vec<(VendorName, String)>> {
    let options = SimulatorOptions { events_per_vendor: EVENTS_PER_VENDOR, ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await?;
    let mut records = Vec::new();
    for vendor in VendorName::ALL {
        let truth = simulator.control().truth(vendor)?;
        records.extend(truth.into_iter().map(|record| (record.timestamp, vendor, record.raw)));
    }
    records.sort_by_key(|(timestamp, ..)| *timestamp);
    Ok(records.into_iter().map(|(_, vendor, raw)| (vendor, raw)).collect())
}

/// The events for the sink, and the same as bytes for the bare producer.
struct Load<'a> {
    events: Vec<Event<'a>>,
    values: Vec<u8>,
    value_of: Vec<Range<usize>>,
    key_and_header_bytes: usize,
}

impl<'a> Load<'a> {
    fn of(records: &'a [(VendorName, String)]) -> anyhow::Result<Self> {
        let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_767_225_600), occurrence: 0 };
        let mut load = Self { events: Vec::new(), values: Vec::new(), value_of: Vec::new(), key_and_header_bytes: 0 };
        for (vendor, raw) in records {
            let reader = vendors::registry::normalizer(vendor.as_str(), &NormalizerConfig::default())
                .context("a known vendor")?;
            let event = reader.normalize(raw, &context);
            let start = load.values.len();
            native::encode(&event, RawForm::Keep, &mut load.values);
            load.value_of.push(start..load.values.len());
            let headers = headers_of(&event).iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            load.key_and_header_bytes += event.id.hex().len() + headers;
            load.events.push(event);
        }
        Ok(load)
    }

    fn bytes(&self) -> usize {
        self.values.len() + self.key_and_header_bytes
    }

    /// The headers that the bare producer gives away with each record.
    fn all_headers(&self) -> Vec<OwnedHeaders> {
        let headers = self.events.iter().map(|event| {
            let start = OwnedHeaders::new_with_capacity(5);
            headers_of(event)
                .iter()
                .fold(start, |all, (key, value)| all.insert(Header { key, value: Some(value.as_slice()) }))
        });
        headers.collect()
    }
}

fn headers_of(event: &Event<'_>) -> [(&'static str, Vec<u8>); 5] {
    [
        ("content-type", b"application/json".to_vec()),
        ("schema_version", SCHEMA_VERSION.into()),
        ("vendor", event.vendor.into()),
        ("source", event.source.into()),
        ("event_id", event.id.hex().into()),
    ]
}

/// Drives the sink as the deliver loop does.
struct SinkRunner {
    sink: Box<dyn Sink>,
    topic: String,
    /// The last sequence number that was delivered.
    position: u64,
}

impl SinkRunner {
    async fn new(broker: &str, contest: Contest, run: &str) -> anyhow::Result<Self> {
        let topic = format!("{run}.sink");
        let settings = serde_json::json!({
            "bootstrap_servers": broker,
            "topic": topic,
            "compression": contest.compression,
            "delivery": contest.delivery,
            "create_topic": {"partitions": 3, "replication_factor": 1},
        });
        let config = SinkConfig::read("kafka", settings).context("the kafka sink is built in")??;
        let name = SinkName { pipeline: run, sink: "sink" };
        let built = config.build(Arc::new(SystemClock), name);
        let mut sink = built.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        sink.recover_position(StoredPosition { journal: "bench", generation: 0, state: None, position: 0, up_to: 0 })
            .await?;
        Ok(Self { sink, topic, position: 0 })
    }

    async fn send(&mut self, load: &Load<'_>) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let mut bytes = 0;
        for batch in load.events.chunks(EVENTS_PER_BATCH) {
            bytes += self.send_batch(batch).await?;
        }
        ensure!(bytes == load.bytes() as u64, "the sink wrote {bytes} bytes, the bare producer {}", load.bytes());
        Ok(begin.elapsed())
    }

    async fn send_batch(&mut self, batch: &[Event<'_>]) -> anyhow::Result<u64> {
        let range = BatchRange { first: self.position + 1, last: self.position + batch.len() as u64 };
        self.sink.begin(range);
        for (seq, event) in (range.first..).zip(batch) {
            match self.sink.write(seq, event, EventForm::Normalized)? {
                WriteOutcome::Buffered => {}
                WriteOutcome::FlushDue => self.sink.flush(&mut NoLog).await?,
                WriteOutcome::Rejected { reason } => bail!("no record is too large: {reason}"),
            }
        }
        let last_event = batch.last().map(|event| event.id);
        let written = self.sink.commit(last_event, &mut NoLog).await?;
        ensure!(written.events == batch.len() as u64, "{} of {} events", written.events, batch.len());
        self.position = range.last;
        Ok(written.bytes)
    }

    /// How long it takes to turn the events into records that are then thrown away.
    fn encode(&mut self, load: &Load<'_>) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        for batch in load.events.chunks(EVENTS_PER_BATCH) {
            let range = BatchRange { first: self.position + 1, last: self.position + batch.len() as u64 };
            self.sink.begin(range);
            for (seq, event) in (range.first..).zip(batch) {
                let _ = std::hint::black_box(self.sink.write(seq, event, EventForm::Normalized)?);
            }
        }
        Ok(begin.elapsed())
    }
}

/// The sink records nothing unless records are too large.
struct NoLog;

impl RollbackLog for NoLog {
    fn record(&mut self, _records: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// A producer with nothing around it.
struct BareProducer {
    producer: ThreadedProducer<CountingContext>,
    topic: String,
    transactional: bool,
    waits: Wait,
}

/// Counts what the broker did not take.
#[derive(Default)]
struct CountingContext {
    failures: AtomicUsize,
}

impl ClientContext for CountingContext {}

impl ProducerContext for CountingContext {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl BareProducer {
    async fn new(broker: &str, contest: Contest, run: &str) -> anyhow::Result<Self> {
        let topic = format!("{run}.bare");
        let admin: AdminClient<DefaultClientContext> = client(broker).create()?;
        let new = NewTopic::new(&topic, 3, TopicReplication::Fixed(1));
        for made in admin.create_topics([&new], &AdminOptions::new()).await? {
            made.map_err(|(topic, code)| anyhow::anyhow!("{topic}: {code}"))?;
        }
        let transactional = contest.delivery == "exactly_once";
        let mut config = client(broker);
        config
            .set("compression.type", contest.compression)
            .set("queue.buffering.max.kbytes", (32 * 1_024).to_string())
            .set("partitioner", "murmur2_random")
            .set("enable.idempotence", "true");
        if transactional {
            config.set("transactional.id", &topic);
        }
        let producer: ThreadedProducer<_> = config.create_with_context(CountingContext::default())?;
        if transactional {
            producer.init_transactions(CALL_TIMEOUT)?;
        }
        Ok(Self { producer, topic, transactional, waits: contest.bare_waits })
    }

    fn send(&self, load: &Load<'_>, headers: Vec<OwnedHeaders>) -> anyhow::Result<Duration> {
        let begin = Instant::now();
        let mut headers = headers.into_iter();
        for batch in (0..load.events.len()).collect::<Vec<_>>().chunks(EVENTS_PER_BATCH) {
            if self.transactional {
                self.producer.begin_transaction()?;
            }
            for (number, headers) in batch.iter().zip(&mut headers) {
                self.send_one(load, *number, headers)?;
            }
            if self.waits == Wait::EachBatch {
                self.wait_for_reports();
            }
            if self.transactional {
                self.producer.commit_transaction(CALL_TIMEOUT)?;
            }
        }
        self.wait_for_reports();
        let failures = self.producer.context().failures.load(Ordering::Relaxed);
        ensure!(failures == 0, "the broker did not take {failures} records");
        Ok(begin.elapsed())
    }

    fn send_one(&self, load: &Load<'_>, number: usize, headers: OwnedHeaders) -> anyhow::Result<()> {
        let event = &load.events[number];
        let key = event.id.hex();
        let mut record = BaseRecord::to(&self.topic)
            .key(key.as_slice())
            .payload(&load.values[load.value_of[number].clone()])
            .timestamp(event.timestamp.as_millis())
            .headers(headers);
        while let Err((error, returned)) = self.producer.send(record) {
            ensure!(is_full(&error), "{error}");
            // The queue is full: a moment for the thread that takes reports in.
            std::thread::park_timeout(Duration::from_millis(1));
            record = returned;
        }
        Ok(())
    }

    /// Not by `flush`: rdkafka's looks only every tenth of a second whether all are in, to the bare producer's loss.
    fn wait_for_reports(&self) {
        while self.producer.in_flight_count() > 0 {
            std::thread::park_timeout(Duration::from_micros(200));
        }
    }
}

fn is_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

fn client(broker: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker);
    config
}

/// Takes back what a contest has left on the broker.
async fn delete_topics(broker: &str, topics: &[String]) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = client(broker).create()?;
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    for deleted in admin.delete_topics(&names, &AdminOptions::new()).await? {
        match deleted {
            // The position topic is there with exactly_once only.
            Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
            Err((topic, code)) => bail!("{topic} cannot be deleted: {code}"),
        }
    }
    Ok(())
}
