//! The `s3` sink, the real program: killed and restarted while the store goes away, misbehaves and comes back. In the end
//! the bucket must hold what the simulator knows to be true, and its manifests must prove it.
//!
//! Plain `cargo test` runs the main path on a store in this process. The tests on MinIO need a container engine; `.ci/run`
//! runs them. Each has a server of its own, which ends with it.
#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod bucket;
#[path = "../common/mod.rs"]
mod common;
mod minio;
mod proxy;
#[cfg(feature = "parquet")]
mod readers;
mod state;
#[path = "../common/store.rs"]
#[allow(dead_code, reason = "shared with the sink's own tests")]
mod store;

use std::path::Path;
use std::time::Duration;

use auditflow::simulator::SimulatorOptions;
use bucket::Bucket;
use common::World;
use minio::Minio;
use proxy::{Fate, Proxy};
use store::Store;

const FAULTS: &[&str] =
    &["late_events=0.1", "ties", "identical_records", "server_error=0.03", "cut_body=0.03", "rate_limit=0.03"];

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

fn on_minio(endpoint: &str) -> Bucket {
    let bucket = Bucket::named_anew(endpoint, minio::ACCESS_KEY_ID, minio::SECRET_ACCESS_KEY);
    bucket.create();
    bucket
}

fn in_process(store: &Store) -> Bucket {
    let bucket = Bucket::named_anew(&store.endpoint(), store::ACCESS_KEY_ID, store::SECRET_ACCESS_KEY);
    bucket.create();
    bucket
}

/// A random life: mostly short, so that the first steps after a start are hit as often as the steady work.
fn life(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(100..500) + random.u64(0..3) * random.u64(0..500))
}

/// What `auditflow check` says, and whether it was content.
fn check(world: &World, file: &Path) -> (bool, String) {
    let output =
        world.program(&["check", file.to_str().unwrap()]).stdout(std::process::Stdio::piped()).output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

fn all_five_vendors_arrive(bucket: &Bucket, format: &str, extension: &str, content_type: &str) {
    let world = world(common::seed(), 300, &[]);
    let prefix = "key_prefix: \"audit/vendor={{ vendor }}/date=%Y-%m-%d/\"";
    let file = world.write_pipeline(&bucket.sink(&format!("{prefix}, format: {format}")));
    let (content, said) = check(&world, &file);
    assert!(content && bucket.is_empty(), "{said}");
    world.wait_until_quiet();
    world.run_once(&file);
    let objects = bucket.assert_exact(&world);
    let key = objects.keys().find(|key| key.contains("vendor=clumio/date=20")).expect("a partition");
    assert!(key.starts_with("audit/vendor=clumio/date=") && key.ends_with(extension), "{key}");
    assert_eq!(bucket.head(key).0, content_type);
    assert!(objects.keys().any(|key| key.starts_with("audit/_manifests/pipeline-lake/")), "{:?}", objects.keys());
    world.assert_counters_add_up(&["lake"]);
}

/// Kills the program `kills` times; `between` may do something before each life.
fn survives(bucket: &Bucket, seed: u64, kills: usize, mut between: impl FnMut(usize, &World, &Path)) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(seed, 2_000, FAULTS);
    let settings = "key_prefix: \"audit/vendor={{ vendor }}/\", batch: {max_events: 20, timeout_secs: 10ms}";
    let file = world.write_pipeline(&bucket.sink(settings));
    for kill in (0..3 * kills).take_while(|kill| *kill < kills || batches_hit(&world) == 0) {
        between(kill, &world, &file);
        world.run_and_kill(&file, life(&mut random));
    }
    let unfinished = batches_hit(&world);
    eprintln!("{unfinished} batches were begun and not finished");
    assert!(unfinished > 0, "no kill hit a batch: the test shows nothing");
    world.wait_until_quiet();
    world.run_once(&file);
    bucket.assert_exact(&world);
    world.assert_counters_add_up(&["lake"]);
}

/// How many batches were begun and not finished before a kill.
fn batches_hit(world: &World) -> usize {
    world.log_count("a batch was not finished")
}

fn the_config_may_change(bucket: &Bucket, seed: u64, rounds: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(seed, 2_000, FAULTS);
    let batch = "batch: {max_events: 80, timeout_secs: 50ms}";
    let forms = [
        format!("key_prefix: \"audit/vendor={{{{ vendor }}}}/\", {batch}"),
        format!("key_prefix: \"audit/%Y/%m/%d\", compression: zstd, {batch}"),
        #[cfg(feature = "parquet")]
        format!("key_prefix: \"audit/vendor={{{{ vendor }}}}/\", format: parquet, {batch}"),
        format!("key_prefix: \"\", compression: none, manifest_prefix: audit/_manifests, {batch}"),
        format!("key_prefix: \"audit/{{{{ action }}}}/\", checksum: crc32c, request: {{concurrency: 2}}, {batch}"),
    ];
    for _ in (0..3 * rounds).take_while(|round| *round < rounds || batches_hit(&world) == 0) {
        let file = world.write_pipeline(&bucket.sink(&forms[random.usize(..forms.len())]));
        world.run_and_kill(&file, life(&mut random));
    }
    world.wait_until_quiet();
    let file = world.write_pipeline(&bucket.sink(&forms[0]));
    world.run_once(&file);
    assert!(batches_hit(&world) > 0, "no kill hit a batch: the test shows nothing");
    bucket.assert_exact(&world);
    world.assert_counters_add_up(&["lake"]);
}

// --- on a store in this process ---

const NDJSON: (&str, &str, &str) = ("ndjson", ".ndjson.gz", "application/x-ndjson");
#[cfg(feature = "parquet")]
const PARQUET: (&str, &str, &str) = ("parquet", ".parquet", "application/vnd.apache.parquet");

#[test]
fn in_process_all_five_vendors_arrive_and_manifests_prove_it() {
    let store = Store::start();
    let (format, extension, content_type) = NDJSON;
    all_five_vendors_arrive(&in_process(&store), format, extension, content_type);
}

#[test]
#[cfg(feature = "parquet")]
fn in_process_all_five_vendors_arrive_as_parquet() {
    let store = Store::start();
    let (format, extension, content_type) = PARQUET;
    all_five_vendors_arrive(&in_process(&store), format, extension, content_type);
}

#[test]
fn in_process_nothing_is_lost_and_nothing_twice_under_kills() {
    let store = Store::start();
    survives(&in_process(&store), common::seed(), 15, |_, _, _| {});
}

#[test]
fn in_process_the_config_may_change_between_kill_and_restart() {
    let store = Store::start();
    the_config_may_change(&in_process(&store), common::seed(), 12);
}

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a python3 with duckdb and pyarrow, named by AUDITFLOW_TEST_PYTHON: tests/python/requirements.txt"]
fn in_process_duckdb_and_pyarrow_read_the_parquet_objects() {
    let store = Store::start();
    readers::read_by_others(&in_process(&store));
}

// --- on MinIO ---

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a container engine and a python3 with duckdb and pyarrow, named by AUDITFLOW_TEST_PYTHON: cargo test --features servers -- --ignored"]
fn duckdb_and_pyarrow_read_the_parquet_objects() {
    let minio = Minio::start();
    readers::read_by_others(&on_minio(&minio.endpoint));
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn all_five_vendors_arrive_and_manifests_prove_it() {
    let (format, extension, content_type) = NDJSON;
    let minio = Minio::start();
    all_five_vendors_arrive(&on_minio(&minio.endpoint), format, extension, content_type);
}

#[test]
#[cfg(feature = "parquet")]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn all_five_vendors_arrive_as_parquet() {
    let (format, extension, content_type) = PARQUET;
    let minio = Minio::start();
    all_five_vendors_arrive(&on_minio(&minio.endpoint), format, extension, content_type);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn exactly_once_under_forty_kills_and_six_restarts_of_the_server() {
    let minio = Minio::start();
    let bucket = on_minio(&minio.endpoint);
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(!seed);
    survives(&bucket, seed, 40, |kill, world, file| {
        if kill % 7 == 3 {
            minio.stop();
            world.run_and_kill(file, life(&mut random));
            minio.start_again();
        }
    });
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
fn a_large_object_goes_in_parts_and_a_cut_upload_leaves_none() {
    let minio = Minio::start();
    let endpoint = minio.endpoint.as_str();
    let bucket = on_minio(endpoint);
    let world = world(common::seed(), 5_000, &[]);
    world.wait_until_quiet();
    // The third part hangs: the program is killed while it waits.
    let third_part = |asked: &str| asked.starts_with("PUT") && asked.contains("partNumber=3");
    let proxy = Proxy::before(endpoint, move |asked| if third_part(asked) { Fate::Hang } else { Fate::Pass });
    let file = world.write_pipeline(&bucket.sink_through(&proxy.endpoint, minio::SECRET_ACCESS_KEY, ONE_LARGE_OBJECT));
    let mut running = world.program(&["run", file.to_str().unwrap(), "--once"]).spawn().unwrap();
    common::until("the third part is under way", || !proxy.faults().is_empty());
    running.kill().unwrap();
    running.wait().unwrap();
    let key = key_of_upload(&proxy.faults()[0]);
    assert_eq!(bucket.unfinished_uploads(&key), [key.as_str()], "the kill left an upload behind");
    // Then it is refused: the program gives its upload up by itself, and ends well once the store takes it.
    let mut refusals = 2;
    proxy.judge(move |asked| {
        refusals -= i32::from(third_part(asked) && refusals > 0);
        if third_part(asked) && refusals > 0 { Fate::JournalFuture(503, "SlowDown") } else { Fate::Pass }
    });
    world.run_once(&file);
    assert!(world.log_count("SlowDown") > 0, "{}", world.log_tail());
    let objects = bucket.assert_exact(&world);
    let (key, bytes) = objects.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert!(bytes.len() > 5 << 20 && bucket.head(key).2.contains('-'), "{key}: {} bytes", bytes.len());
    assert_eq!(bucket.unfinished_uploads(key), Vec::<String>::new());
}

/// The key in `PUT /bucket/key?...`.
fn key_of_upload(asked: &str) -> String {
    let path = asked.split(' ').nth(1).unwrap().split('?').next().unwrap();
    path.splitn(3, '/').nth(2).unwrap().to_owned()
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_server_that_is_away_for_a_minute_costs_nothing() {
    let minio = Minio::start();
    let bucket = on_minio(&minio.endpoint);
    let world = world(common::seed(), 500, &[]);
    let file = world.write_pipeline(&bucket.sink("key_prefix: \"{{ vendor }}\", batch: {timeout_secs: 50ms}"));
    let mut running = world.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("the first events are there", || !bucket.is_empty());
    minio.stop();
    std::thread::park_timeout(Duration::from_secs(60));
    assert!(running.try_wait().unwrap().is_none(), "the program ended by itself:\n{}", world.log_tail());
    minio.start_again();
    running.kill().unwrap();
    running.wait().unwrap();
    world.wait_until_quiet();
    world.run_once(&file);
    bucket.assert_exact(&world);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn wrong_credentials_are_named_and_right_ones_go_on() {
    let minio = Minio::start();
    let endpoint = minio.endpoint.as_str();
    let bucket = on_minio(endpoint);
    let world = world(common::seed(), 100, &[]);
    world.wait_until_quiet();
    let file = world.write_pipeline(&bucket.sink_through(endpoint, "a-wrong-secret", "batch: {timeout_secs: 50ms}"));
    let (content, said) = check(&world, &file);
    assert!(!content && said.contains("secret_access_key"), "{said}");
    let mut running = world.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("the wrong key is named", || world.log_count("SignatureDoesNotMatch") > 0);
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(world.log_count("a-wrong-secret"), 0, "not even a wrong secret is shown");
    let file = world.write_pipeline(&bucket.sink(""));
    world.run_once(&file);
    bucket.assert_exact(&world);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_missing_bucket_is_named_and_delivery_goes_on_once_it_is_there() {
    let minio = Minio::start();
    let bucket = Bucket::named_anew(&minio.endpoint, minio::ACCESS_KEY_ID, minio::SECRET_ACCESS_KEY);
    let world = world(common::seed(), 100, &[]);
    let file = world.write_pipeline(&bucket.sink("batch: {timeout_secs: 50ms}"));
    let mut running = world.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    common::until("the missing bucket is named", || world.log_count("NoSuchBucket") > 0);
    bucket.create();
    common::until("events arrive", || !bucket.is_empty());
    running.kill().unwrap();
    running.wait().unwrap();
    world.wait_until_quiet();
    world.run_once(&file);
    bucket.assert_exact(&world);
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn a_store_that_is_too_busy_now_and_then_costs_nothing() {
    let minio = Minio::start();
    let endpoint = minio.endpoint.as_str();
    let bucket = on_minio(endpoint);
    let seed = common::seed();
    let world = world(seed, 400, &[]);
    let mut random = fastrand::Rng::with_seed(seed);
    let proxy =
        Proxy::before(
            endpoint,
            move |_| if random.f64() < 0.1 { Fate::JournalFuture(503, "SlowDown") } else { Fate::Pass },
        );
    let settings = "key_prefix: \"audit/{{ vendor }}\", batch: {max_events: 60}";
    let file = world.write_pipeline(&bucket.sink_through(&proxy.endpoint, minio::SECRET_ACCESS_KEY, settings));
    world.wait_until_quiet();
    world.run_once(&file);
    assert!(proxy.faults().len() > 2 && world.log_count("SlowDown") > 0, "{} faults", proxy.faults().len());
    bucket.assert_exact(&world);
}
