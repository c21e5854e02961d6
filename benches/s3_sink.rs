//! The `s3` sink compared with the bare SDK that puts the same objects, and with the encoders alone; and the memory that a
//! gibibyte of backlog needs.
//!
//! ```text
//! sink      Event --write--> objects by vendor and day --flush, one commit per batch--> store      as the deliver loop drives it
//! bare SDK  the objects that the sink has put ------------------------------> store      as many at once as the sink
//! encoder   Event ----------> objects by vendor, discarded
//! ```
//!
//! Rates are in events and in megabytes of native NDJSON before compression, whatever the format, so that they are comparable.
//! None includes normalizing, which the deliver loop does. `AUDITFLOW_BENCH_S3` is the URL of the store, for example
//! `http://localhost:9000`; `AUDITFLOW_BENCH_S3_KEY` and `AUDITFLOW_BENCH_S3_SECRET` are its credentials (default: `minioadmin`).

#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use auditflow::clock::SystemClock;
use auditflow::event::Event;
use auditflow::event::native::{self, RawForm};
use auditflow::journal::{JournalError, RollbackRecord};
use auditflow::simulator::{Simulator, SimulatorOptions, VendorName};
use auditflow::sinks::compression::Compression;
use auditflow::sinks::parquet::{ParquetOptions, ParquetWriter};
use auditflow::sinks::registry::{SinkConfig, SinkName};
use auditflow::sinks::{BatchRange, EventForm, RollbackLog, Sink, StoredPosition, WriteOutcome};
use auditflow::time::Timestamp;
use auditflow::vendors::{self, NormalizerConfig, ReadContext};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use futures_util::future::BoxFuture;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::time::Instant;

const STORE_VARIABLE: &str = "AUDITFLOW_BENCH_S3";
const BUCKET: &str = "auditflow-bench";
const EVENTS_PER_VENDOR: u64 = 10_000;

/// The sink's own defaults.
const BATCH_BYTES: usize = 64 << 20;
const CONCURRENCY: usize = 8;

/// Raw bytes of a round: four batches.
const ROUND_BYTES: usize = 4 * BATCH_BYTES;
const ROUNDS: usize = 3;

/// Raw bytes of the backlog whose memory is looked at.
const BACKLOG_BYTES: usize = 1 << 30;

const CONTESTS: [(&str, &str); 3] = [("parquet", "zstd"), ("ndjson", "zstd"), ("ndjson", "gzip")];

fn main() -> anyhow::Result<()> {
    let Ok(endpoint) = std::env::var(STORE_VARIABLE) else {
        bail!(
            "no store is named: start one with `docker run -d -p 9000:9000 minio/minio server /data` and set {STORE_VARIABLE}=http://localhost:9000"
        );
    };
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run(&endpoint))
}

async fn run(endpoint: &str) -> anyhow::Result<()> {
    let store = Store::open(endpoint).await?;
    let records = records_of_all_vendors().await?;
    let events = normalized(&records)?;
    let load = Load::of(&events);
    println!(
        "{} events of five vendors, {:.0} bytes each as NDJSON, batches of 64 MiB",
        events.len(),
        load.bytes_per_event
    );
    println!(
        "{:<8} {:<6} | {:>9} {:>7} | {:>9} {:>7} {:>6} | {:>9} {:>7} {:>6} | {:>9} {:>8}",
        "format",
        "codec",
        "sink /s",
        "MB/s",
        "bare /s",
        "MB/s",
        "ratio",
        "coder /s",
        "MB/s",
        "ratio",
        "bytes/row",
        "objects"
    );
    for contest in CONTESTS {
        compare(&store, contest, &load).await?;
    }
    println!("{:<8} {:<6} | {:>11} {:>11} {:>11}", "1 GiB", "codec", "before MiB", "peak MiB", "more MiB");
    for contest in CONTESTS {
        measure_memory(&store, contest, &load).await?;
    }
    Ok(())
}

/// Sink, bare SDK and encoder in turns.
async fn compare(store: &Store, contest: (&str, &str), load: &Load<'_>) -> anyhow::Result<()> {
    let (mut sinks, mut bares, mut coders) = (Vec::new(), Vec::new(), Vec::new());
    let (mut objects, mut stored) = (0, 0);
    for _ in 0..ROUNDS {
        let mut runner = SinkRunner::new(store, contest).await?;
        let begin = Instant::now();
        runner.write(load, ROUND_BYTES).await?;
        sinks.push(begin.elapsed());
        let bodies = store.bodies(&runner.prefix).await?;
        (objects, stored) = (bodies.len(), bodies.iter().map(Vec::len).sum());
        let begin = Instant::now();
        store.put_all(&format!("bare/{}", runner.prefix), bodies).await?;
        bares.push(begin.elapsed());
        let begin = Instant::now();
        encode(contest, load, ROUND_BYTES)?;
        coders.push(begin.elapsed());
        store.empty().await?;
    }
    let events = load.events_in(ROUND_BYTES) as f64;
    let [sink, bare, coder] = [sinks, bares, coders].map(median);
    let rate = |time: Duration| (events / time.as_secs_f64(), events * load.bytes_per_event / 1e6 / time.as_secs_f64());
    let ratio = |time: Duration| time.as_secs_f64() / sink.as_secs_f64();
    println!(
        "{:<8} {:<6} | {:>9.0} {:>7.1} | {:>9.0} {:>7.1} {:>6.2} | {:>9.0} {:>7.1} {:>6.2} | {:>9.1} {:>8}",
        contest.0,
        contest.1,
        rate(sink).0,
        rate(sink).1,
        rate(bare).0,
        rate(bare).1,
        ratio(bare),
        rate(coder).0,
        rate(coder).1,
        ratio(coder),
        stored as f64 / events,
        objects
    );
    Ok(())
}

async fn measure_memory(store: &Store, contest: (&str, &str), load: &Load<'_>) -> anyhow::Result<()> {
    let mut runner = SinkRunner::new(store, contest).await?;
    std::fs::write("/proc/self/clear_refs", "5").context("the peak cannot be reset")?;
    let before = memory_mib("VmRSS")?;
    runner.write(load, BACKLOG_BYTES).await?;
    let peak = memory_mib("VmHWM")?;
    println!("{:<8} {:<6} | {before:>11.0} {peak:>11.0} {:>11.0}", contest.0, contest.1, peak - before);
    store.empty().await
}

fn memory_mib(field: &str) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with(field)).context("no such field")?;
    let kib: f64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib / 1_024.0)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
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

fn normalized(records: &[(VendorName, String)]) -> anyhow::Result<Vec<Event<'_>>> {
    let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_767_225_600), occurrence: 0 };
    let mut events = Vec::new();
    for (vendor, raw) in records {
        let reader =
            vendors::registry::normalizer(vendor.as_str(), &NormalizerConfig::default()).context("a known vendor")?;
        events.push(reader.normalize(raw, &context));
    }
    Ok(events)
}

/// Events that are written over and over.
struct Load<'a> {
    events: &'a [Event<'a>],
    raw_bytes: usize,
    bytes_per_event: f64,
}

impl<'a> Load<'a> {
    fn of(events: &'a [Event<'a>]) -> Self {
        let mut lines = Vec::new();
        events.iter().for_each(|event| native::encode(event, RawForm::Keep, &mut lines));
        let raw_bytes = events.iter().map(|event| event.raw.len()).sum();
        Self { events, raw_bytes, bytes_per_event: lines.len() as f64 / events.len() as f64 + 1.0 }
    }

    /// How many events have so many raw bytes.
    fn events_in(&self, raw_bytes: usize) -> usize {
        raw_bytes / (self.raw_bytes / self.events.len())
    }

    /// The events of so many raw bytes, in batches.
    fn batches(&self, raw_bytes: usize) -> impl Iterator<Item = impl Iterator<Item = &'a Event<'a>>> {
        let (total, a_batch) = (self.events_in(raw_bytes), self.events_in(BATCH_BYTES));
        let events = self.events;
        (0..total)
            .step_by(a_batch)
            .map(move |first| events.iter().cycle().skip(first % events.len()).take(a_batch.min(total - first)))
    }
}

/// Drives the sink as the deliver loop does.
struct SinkRunner {
    sink: Box<dyn Sink>,
    prefix: String,
    position: u64,
}

impl SinkRunner {
    async fn new(store: &Store, (format, compression): (&str, &str)) -> anyhow::Result<Self> {
        let prefix = format!("run-{:x}/", fastrand::u64(..));
        let settings = serde_json::json!({
            "bucket": BUCKET,
            "endpoint": store.endpoint,
            "key_prefix": format!("{prefix}event_vendor={{{{ vendor }}}}/event_date=%Y-%m-%d/"),
            "format": format,
            "compression": compression,
            "auth": {"access_key_id": store.key, "secret_access_key": store.secret},
        });
        let config = SinkConfig::read("s3", settings).context("the s3 sink is built in")??;
        let built = config.build(Arc::new(SystemClock), SinkName { pipeline: "bench", sink: "lake" });
        let mut sink = built.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        sink.recover_position(StoredPosition { journal: "bench", generation: 0, state: None, position: 0, up_to: 0 })
            .await?;
        Ok(Self { sink, prefix, position: 0 })
    }

    async fn write(&mut self, load: &Load<'_>, raw_bytes: usize) -> anyhow::Result<()> {
        for batch in load.batches(raw_bytes) {
            self.write_batch(batch).await?;
        }
        Ok(())
    }

    async fn write_batch<'a>(&mut self, batch: impl Iterator<Item = &'a Event<'a>>) -> anyhow::Result<()> {
        let first = self.position + 1;
        // The sink names objects by the range's end, so any end after all others will do.
        self.sink.begin(BatchRange { first, last: first + 10_000_000 });
        let mut events = 0;
        for event in batch {
            let outcome = self.sink.write(first + events, event, EventForm::Normalized)?;
            events += 1;
            if outcome == WriteOutcome::FlushDue {
                self.sink.flush(&mut NoLog).await?;
            }
        }
        let written = self.sink.commit(None, &mut NoLog).await?;
        ensure!(written.events == events, "{} of {events} events", written.events);
        self.position = first + 10_000_000;
        Ok(())
    }
}

/// Nothing fails here, so nothing is rolled back.
struct NoLog;

impl RollbackLog for NoLog {
    fn record(&mut self, _records: Vec<RollbackRecord>) -> BoxFuture<'_, Result<(), JournalError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Turns the events into one object a vendor and batch, and throws them away.
fn encode((format, compression): (&str, &str), load: &Load<'_>, raw_bytes: usize) -> anyhow::Result<()> {
    let compression = if compression == "gzip" { Compression::Gzip } else { Compression::Zstd };
    for batch in load.batches(raw_bytes) {
        if format == "parquet" {
            encode_parquet(batch)?
        } else {
            encode_lines(batch, compression)?
        };
    }
    Ok(())
}

fn encode_parquet<'a>(batch: impl Iterator<Item = &'a Event<'a>>) -> anyhow::Result<()> {
    let mut writers: BTreeMap<&str, ParquetWriter> = BTreeMap::new();
    for event in batch {
        let writer = writers.entry(event.vendor).or_insert_with(|| ParquetWriter::new(ParquetOptions::default()));
        writer.push(event, EventForm::Normalized)?;
    }
    for writer in writers.into_values() {
        std::hint::black_box(writer.finish()?);
    }
    Ok(())
}

fn encode_lines<'a>(batch: impl Iterator<Item = &'a Event<'a>>, compression: Compression) -> anyhow::Result<()> {
    let mut objects: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for event in batch {
        let lines = objects.entry(event.vendor).or_default();
        native::encode(event, RawForm::Keep, lines);
        lines.push(b'\n');
    }
    for lines in objects.into_values() {
        std::hint::black_box(compression.piece(lines)?);
    }
    Ok(())
}

/// The store by the bare SDK.
struct Store {
    endpoint: String,
    key: String,
    secret: String,
    client: Client,
}

impl Store {
    async fn open(endpoint: &str) -> anyhow::Result<Self> {
        let variable = |name| std::env::var(name).unwrap_or_else(|_| "minioadmin".to_owned());
        let (key, secret) = (variable("AUDITFLOW_BENCH_S3_KEY"), variable("AUDITFLOW_BENCH_S3_SECRET"));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .credentials_provider(Credentials::new(&key, &secret, None, None, "bench"))
            .build();
        let store = Self { endpoint: endpoint.to_owned(), key, secret, client: Client::from_conf(config) };
        if store.client.head_bucket().bucket(BUCKET).send().await.is_err() {
            store.client.create_bucket().bucket(BUCKET).send().await.context("no bucket can be made")?;
        }
        store.empty().await?;
        Ok(store)
    }

    async fn keys(&self, prefix: &str) -> anyhow::Result<Vec<String>> {
        let mut pages = self.client.list_objects_v2().bucket(BUCKET).prefix(prefix).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page?.contents().iter().filter_map(|object| object.key().map(str::to_owned)));
        }
        Ok(keys)
    }

    async fn bodies(&self, prefix: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut bodies = Vec::new();
        for key in self.keys(prefix).await? {
            let object = self.client.get_object().bucket(BUCKET).key(key).send().await?;
            bodies.push(object.body.collect().await?.to_vec());
        }
        Ok(bodies)
    }

    async fn put_all(&self, prefix: &str, bodies: Vec<Vec<u8>>) -> anyhow::Result<()> {
        let puts = bodies.into_iter().enumerate().map(|(number, body)| {
            self.client.put_object().bucket(BUCKET).key(format!("{prefix}{number}")).body(body.into()).send()
        });
        stream::iter(puts).buffer_unordered(CONCURRENCY).try_for_each(|_| async { Ok(()) }).await?;
        Ok(())
    }

    async fn empty(&self) -> anyhow::Result<()> {
        for key in self.keys("").await? {
            self.client.delete_object().bucket(BUCKET).key(key).send().await?;
        }
        Ok(())
    }
}
