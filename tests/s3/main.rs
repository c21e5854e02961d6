//! The `s3` sink with the real program, which is killed and restarted while the store stops, returns errors and starts again.
//! Afterwards the bucket must contain each record of the simulator once, and its manifests must prove it.
//!
//! `cargo test` runs the main tests with a store in this process. The tests with MinIO need a container engine; `.ci/run`
//! runs them. Each starts its own server.
#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod bucket;
#[path = "../common/mod.rs"]
mod common;
#[cfg(feature = "parquet")]
mod matrix;
mod minio;
mod proxy;
#[cfg(feature = "parquet")]
mod readers;
#[cfg(feature = "parquet")]
mod redact;
#[cfg(feature = "parquet")]
mod security_lake;
mod state;
#[path = "../common/store.rs"]
#[allow(dead_code, reason = "shared with the sink's own tests")]
mod store;
#[cfg(feature = "parquet")]
mod table;

use std::fs;
use std::path::Path;
use std::time::Duration;

use auditflow::simulator::SimulatorOptions;
use bucket::Bucket;
use common::TestPipeline;
use minio::Minio;
use proxy::{Action, Proxy};
use store::Store;

const FAULTS: &[&str] =
    &["late_events=0.1", "ties", "identical_records", "server_error=0.03", "cut_body=0.03", "rate_limit=0.03"];

fn test_pipeline(seed: u64, events: u64, faults: &[&str]) -> TestPipeline {
    TestPipeline::new(SimulatorOptions {
        seed,
        events_per_vendor: events,
        span: Duration::from_secs(2 * 86_400),
        rate: 10.0,
        faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

fn on_minio(endpoint: &str) -> Bucket {
    let bucket = Bucket::with_new_name(endpoint, minio::ACCESS_KEY_ID, minio::SECRET_ACCESS_KEY);
    bucket.create();
    bucket
}

fn in_process(store: &Store) -> Bucket {
    let bucket = Bucket::with_new_name(&store.endpoint(), store::ACCESS_KEY_ID, store::SECRET_ACCESS_KEY);
    bucket.create();
    bucket
}

/// A random time until the kill. It is mostly short, so that kills interrupt the start as often as the work after it.
fn run_duration(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(100..500) + random.u64(0..3) * random.u64(0..500))
}

/// Whether `auditflow check` passes, and its output.
fn check(pipeline: &TestPipeline, file: &Path) -> (bool, String) {
    let output =
        pipeline.program(&["check", file.to_str().unwrap()]).stdout(std::process::Stdio::piped()).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn all_vendors_are_delivered(bucket: &Bucket, format: &str, extension: &str, content_type: &str) {
    let pipeline = test_pipeline(common::seed(), 300, &[]);
    let prefix = "key_prefix: \"audit/event_vendor={{ vendor }}/event_date=%Y-%m-%d/\"";
    let file = pipeline.write_pipeline(&bucket.sink(&format!("{prefix}, format: {format}")));
    let (passed, printed) = check(&pipeline, &file);
    assert!(passed && bucket.is_empty(), "{printed}");
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let objects = bucket.assert_exact(&pipeline);
    let key = objects.keys().find(|key| key.contains("event_vendor=clumio/event_date=20")).expect("a partition");
    assert!(key.starts_with("audit/event_vendor=clumio/event_date=") && key.ends_with(extension), "{key}");
    assert_eq!(bucket.head(key).0, content_type);
    assert!(objects.keys().any(|key| key.starts_with("audit/_manifests/pipeline-lake/")), "{:?}", objects.keys());
    pipeline.assert_counters_add_up(&["lake"]);
    let verified = |more: &[&str]| {
        let arguments = [&["verify", file.to_str().unwrap(), "--sink", "lake"], more].concat();
        let output = pipeline.program(&arguments).stdout(std::process::Stdio::piped()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, printed) = verified(&[]);
    assert!(code == Some(0) && printed.contains(" events in ") && printed.contains("complete: "), "{printed}");
    let copy = pipeline.path("copy");
    bucket::copy_to(&copy, &objects);
    let in_copy = ["--copy", copy.to_str().unwrap()];
    assert_eq!(verified(&in_copy).0, Some(0));
    fs::write(copy.join(key), "changed").unwrap();
    let (code, printed) = verified(&in_copy);
    assert!(code == Some(1) && printed.contains("PROBLEM"), "{printed}");
}

/// Kills the program `kills` times; `before_each` runs before each start.
fn deliver_under_kills(
    bucket: &Bucket,
    seed: u64,
    kills: usize,
    mut before_each: impl FnMut(usize, &TestPipeline, &Path),
) {
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 2_000, FAULTS);
    let settings = "key_prefix: \"audit/event_vendor={{ vendor }}/\", batch: {max_events: 20, timeout_secs: 10ms}";
    let file = pipeline.write_pipeline(&bucket.sink(settings));
    for kill in (0..3 * kills).take_while(|kill| *kill < kills || pipeline.interrupted_batches() == 0) {
        before_each(kill, &pipeline, &file);
        pipeline.run_and_kill(&file, run_duration(&mut random));
    }
    let batches = pipeline.interrupted_batches();
    eprintln!("{batches} batches were interrupted");
    assert!(batches > 0, "no kill interrupted a batch: the test is inconclusive");
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    bucket.assert_exact(&pipeline);
    pipeline.assert_counters_add_up(&["lake"]);
}

fn the_config_may_change(bucket: &Bucket, seed: u64, rounds: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 2_000, FAULTS);
    let batch = "batch: {max_events: 80, timeout_secs: 50ms}";
    let forms = [
        format!("key_prefix: \"audit/event_vendor={{{{ vendor }}}}/\", {batch}"),
        format!("key_prefix: \"audit/%Y/%m/%d\", compression: zstd, {batch}"),
        #[cfg(feature = "parquet")]
        format!("key_prefix: \"audit/event_vendor={{{{ vendor }}}}/\", format: parquet, {batch}"),
        format!("key_prefix: \"\", compression: none, manifest_prefix: audit/_manifests, {batch}"),
        format!("key_prefix: \"audit/{{{{ action }}}}/\", checksum: crc32c, request: {{concurrency: 2}}, {batch}"),
    ];
    for _ in (0..3 * rounds).take_while(|round| *round < rounds || pipeline.interrupted_batches() == 0) {
        let file = pipeline.write_pipeline(&bucket.sink(&forms[random.usize(..forms.len())]));
        pipeline.run_and_kill(&file, run_duration(&mut random));
    }
    pipeline.wait_until_quiet();
    let file = pipeline.write_pipeline(&bucket.sink(&forms[0]));
    pipeline.run_once(&file);
    assert!(pipeline.interrupted_batches() > 0, "no kill interrupted a batch: the test is inconclusive");
    bucket.assert_exact(&pipeline);
    pipeline.assert_counters_add_up(&["lake"]);
}

// --- with a store in this process ---

const NDJSON: (&str, &str, &str) = ("ndjson", ".ndjson.gz", "application/x-ndjson");
#[cfg(feature = "parquet")]
const PARQUET: (&str, &str, &str) = ("parquet", ".parquet", "application/vnd.apache.parquet");

#[test]
fn in_process_all_vendors_are_delivered_and_manifests_prove_it() {
    let store = Store::start();
    let (format, extension, content_type) = NDJSON;
    all_vendors_are_delivered(&in_process(&store), format, extension, content_type);
}

#[test]
#[cfg(feature = "parquet")]
fn in_process_all_vendors_are_delivered_as_parquet() {
    let store = Store::start();
    let (format, extension, content_type) = PARQUET;
    all_vendors_are_delivered(&in_process(&store), format, extension, content_type);
}

#[test]
#[cfg(feature = "parquet")]
fn in_process_redacted_events_hold_nothing_that_is_redacted() {
    let store = Store::start();
    redact::redacted_events_hold_nothing_that_is_redacted(&in_process(&store));
}

#[test]
fn in_process_kills_lose_and_duplicate_nothing() {
    let store = Store::start();
    deliver_under_kills(&in_process(&store), common::seed(), 15, |_, _, _| {});
    assert_eq!((store.second_puts(), store.deletes()), (Vec::new(), Vec::new()));
}

#[test]
fn in_process_the_config_may_change_between_kill_and_restart() {
    let store = Store::start();
    the_config_may_change(&in_process(&store), common::seed(), 12);
}

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a python3 with tests/python/requirements.txt, named by AUDITFLOW_TEST_PYTHON"]
fn in_process_lake_readers_read_the_parquet_objects() {
    let store = Store::start();
    readers::third_party_readers_find_every_event(&in_process(&store));
}

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a python3 with tests/python/requirements.txt, named by AUDITFLOW_TEST_PYTHON"]
fn in_process_every_reader_reads_every_format() {
    let store = Store::start();
    matrix::readers_times_formats(&in_process(&store));
}

#[test]
#[cfg(feature = "parquet")]
fn in_process_kills_leave_each_event_in_the_table_once() {
    let store = Store::start();
    let bucket = in_process(&store);
    let pipeline = table::deliver_under_kills(&bucket, 15, |_| {});
    table::assert_exact(&bucket, &pipeline);
    table::assert_status(&bucket, &pipeline);
    let data = |keys: Vec<String>| keys.into_iter().filter(|key| key.contains("/event_vendor=")).collect::<Vec<_>>();
    assert_eq!((data(store.second_puts()), data(store.deletes())), (Vec::new(), Vec::new()));
}

#[test]
#[cfg(feature = "parquet")]
fn in_process_a_removed_sink_returns_to_its_table() {
    let store = Store::start();
    table::a_removed_sink_returns(&store, &in_process(&store));
}

#[test]
#[cfg(feature = "parquet")]
fn in_process_kills_leave_each_event_in_security_lake_once() {
    let store = Store::start();
    security_lake::deliver_under_kills(&in_process(&store), 15);
    assert_eq!((store.second_puts(), store.deletes()), (Vec::new(), Vec::new()));
}

#[test]
#[cfg(feature = "parquet")]
fn in_process_each_source_of_security_lake_is_written_by_its_role() {
    let store = Store::start();
    security_lake::each_source_is_written_by_its_role(&store.endpoint(), &in_process(&store));
}

// --- with MinIO ---

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a container engine and a python3 with tests/python/requirements.txt, named by AUDITFLOW_TEST_PYTHON: cargo test --features servers -- --ignored"]
fn delta_readers_read_the_table_after_kills_and_compaction() {
    let minio = Minio::start();
    let bucket = on_minio(&minio.endpoint);
    let pipeline = table::deliver_under_kills(&bucket, 12, |kill| {
        if kill % 4 == 3 {
            table::compact(&bucket);
        }
    });
    table::assert_exact(&bucket, &pipeline);
    table::assert_readers_agree(&bucket, &pipeline, &pipeline.path("copy"));
}

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn kills_leave_each_event_in_security_lake_once() {
    let minio = Minio::start();
    let bucket = on_minio(&minio.endpoint);
    bucket.keep_versions();
    security_lake::deliver_under_kills(&bucket, 8);
    bucket.assert_put_once();
}

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a container engine and a python3 with tests/python/requirements.txt, named by AUDITFLOW_TEST_PYTHON: cargo test --features servers -- --ignored"]
fn lake_readers_read_the_parquet_objects() {
    let minio = Minio::start();
    readers::third_party_readers_find_every_event(&on_minio(&minio.endpoint));
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn all_vendors_are_delivered_and_manifests_prove_it() {
    let (format, extension, content_type) = NDJSON;
    let minio = Minio::start();
    all_vendors_are_delivered(&on_minio(&minio.endpoint), format, extension, content_type);
}

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn all_vendors_are_delivered_as_parquet() {
    let (format, extension, content_type) = PARQUET;
    let minio = Minio::start();
    all_vendors_are_delivered(&on_minio(&minio.endpoint), format, extension, content_type);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn exactly_once_under_forty_kills_and_six_restarts_of_the_server() {
    let minio = Minio::start();
    let bucket = on_minio(&minio.endpoint);
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(!seed);
    deliver_under_kills(&bucket, seed, 40, |kill, pipeline, file| {
        if kill % 7 == 3 {
            minio.stop();
            pipeline.run_and_kill(file, run_duration(&mut random));
            minio.restart();
        }
    });
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn twenty_kills_put_no_object_twice_and_delete_none() {
    let minio = Minio::start();
    let bucket = on_minio(&minio.endpoint);
    bucket.keep_versions();
    deliver_under_kills(&bucket, common::seed(), 20, |_, _, _| {});
    bucket.assert_put_once();
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn the_config_may_change_between_kill_and_restart() {
    let minio = Minio::start();
    the_config_may_change(&on_minio(&minio.endpoint), common::seed(), 30);
}

/// One object of many MiB: all events in one partition, uncompressed.
const ONE_LARGE_OBJECT: &str =
    "key_prefix: large, compression: none, batch: {max_bytes: 1GiB, timeout_secs: 600}, request: {timeout_secs: 5s}";

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_large_object_is_uploaded_in_parts_and_an_interrupted_upload_leaves_none() {
    let minio = Minio::start();
    let endpoint = minio.endpoint.as_str();
    let bucket = on_minio(endpoint);
    let pipeline = test_pipeline(common::seed(), 5_000, &[]);
    pipeline.wait_until_quiet();
    // The third part hangs: the program is killed while it waits.
    let third_part = |request: &str| request.starts_with("PUT") && request.contains("partNumber=3");
    let proxy = Proxy::before(endpoint, move |request| if third_part(request) { Action::Hang } else { Action::Pass });
    let file =
        pipeline.write_pipeline(&bucket.sink_through(&proxy.endpoint, minio::SECRET_ACCESS_KEY, ONE_LARGE_OBJECT));
    let mut running = pipeline.program(&["run", file.to_str().unwrap(), "--once"]).spawn().unwrap();
    common::until("the third part is being uploaded", || !proxy.faults().is_empty());
    running.kill().unwrap();
    running.wait().unwrap();
    let key = key_of_upload(&proxy.faults()[0]);
    assert_eq!(bucket.unfinished_uploads(&key), [key.as_str()], "the kill leaves an unfinished upload");
    // Then the store rejects the part: the program aborts the upload, and finishes once the store accepts it.
    let mut rejections = 2;
    proxy.decide_by(move |request| {
        rejections -= i32::from(third_part(request) && rejections > 0);
        if third_part(request) && rejections > 0 { Action::Reply(503, "SlowDown") } else { Action::Pass }
    });
    pipeline.run_once(&file);
    assert_slow_down_is_reported(&pipeline);
    let objects = bucket.assert_exact(&pipeline);
    let (key, bytes) = objects.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert!(bytes.len() > 5 << 20 && bucket.head(key).2.contains('-'), "{key}: {} bytes", bytes.len());
    assert_eq!(bucket.unfinished_uploads(key), Vec::<String>::new());
}

/// The run that has ended reported the store's error code as the sink's error.
fn assert_slow_down_is_reported(pipeline: &TestPipeline) {
    let lines = pipeline.event_lines("sink_retrying");
    assert!(lines.iter().any(|line| line.contains("SlowDown")), "{}", pipeline.log_tail());
}

/// The key in `PUT /bucket/key?...`.
fn key_of_upload(request: &str) -> String {
    let path = request.split(' ').nth(1).unwrap().split('?').next().unwrap();
    path.splitn(3, '/').nth(2).unwrap().to_owned()
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_minute_without_the_server_loses_and_duplicates_nothing() {
    let minio = Minio::start();
    let bucket = on_minio(&minio.endpoint);
    let pipeline = test_pipeline(common::seed(), 500, &[]);
    let file = pipeline.write_pipeline(&bucket.sink("key_prefix: \"{{ vendor }}\", batch: {timeout_secs: 50ms}"));
    let mut running = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("the first events are delivered", || !bucket.is_empty());
    minio.stop();
    std::thread::park_timeout(Duration::from_secs(60));
    assert!(running.try_wait().unwrap().is_none(), "the program ended before it was killed:\n{}", pipeline.log_tail());
    minio.restart();
    running.kill().unwrap();
    running.wait().unwrap();
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    bucket.assert_exact(&pipeline);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn wrong_credentials_are_reported_and_delivery_resumes_with_the_right_ones() {
    let minio = Minio::start();
    let endpoint = minio.endpoint.as_str();
    let bucket = on_minio(endpoint);
    let pipeline = test_pipeline(common::seed(), 100, &[]);
    pipeline.wait_until_quiet();
    let file = pipeline.write_pipeline(&bucket.sink_through(endpoint, "a-wrong-secret", "batch: {timeout_secs: 50ms}"));
    let (passed, printed) = check(&pipeline, &file);
    assert!(!passed && printed.contains("secret_access_key"), "{printed}");
    let mut running = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    let line = pipeline.until_event("sink_retrying", "SignatureDoesNotMatch");
    assert!(line.contains("fix `auth.secret_access_key`"), "{line}");
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(pipeline.text_count("a-wrong-secret"), 0, "the log must not contain a wrong secret either");
    let file = pipeline.write_pipeline(&bucket.sink(""));
    pipeline.run_once(&file);
    bucket.assert_exact(&pipeline);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_missing_bucket_is_reported_and_delivery_resumes_when_it_is_created() {
    let minio = Minio::start();
    let bucket = Bucket::with_new_name(&minio.endpoint, minio::ACCESS_KEY_ID, minio::SECRET_ACCESS_KEY);
    let pipeline = test_pipeline(common::seed(), 100, &[]);
    let file = pipeline.write_pipeline(&bucket.sink("batch: {timeout_secs: 50ms}"));
    let mut running = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    let line = pipeline.until_event("sink_retrying", "NoSuchBucket");
    assert!(line.contains("create the bucket"), "{line}");
    bucket.create();
    common::until("events are delivered", || !bucket.is_empty());
    assert_eq!(pipeline.event_count("sink_retrying"), 1, "a missing bucket is said once");
    running.kill().unwrap();
    running.wait().unwrap();
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    bucket.assert_exact(&pipeline);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn occasional_slow_down_errors_lose_and_duplicate_nothing() {
    let minio = Minio::start();
    let endpoint = minio.endpoint.as_str();
    let bucket = on_minio(endpoint);
    let seed = common::seed();
    let pipeline = test_pipeline(seed, 400, &[]);
    let mut random = fastrand::Rng::with_seed(seed);
    let proxy = Proxy::before(
        endpoint,
        move |_| if random.f64() < 0.1 { Action::Reply(503, "SlowDown") } else { Action::Pass },
    );
    let settings = "key_prefix: \"audit/{{ vendor }}\", batch: {max_events: 60}";
    let file = pipeline.write_pipeline(&bucket.sink_through(&proxy.endpoint, minio::SECRET_ACCESS_KEY, settings));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    assert!(proxy.faults().len() > 2, "{} faults", proxy.faults().len());
    assert_slow_down_is_reported(&pipeline);
    bucket.assert_exact(&pipeline);
}
