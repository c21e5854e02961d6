//! The sink with an S3 store in this process.

#[path = "../../../tests/common/store.rs"]
#[allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared with the tests of the whole program"
)]
mod store;
#[cfg(feature = "parquet")]
mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use self::store::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, Store};
use super::rollback;
use super::upload::Put;
use super::*;
use crate::clock::SystemClock;
use crate::journal::Seq;
use crate::sinks::compression::Compression;
use crate::sinks::compression::tests::decompressed;
use crate::sinks::conformance;
use crate::sinks::manifest::sha256_hex;
use crate::sinks::testing::{MemoryLog, event};
use crate::sinks::{BatchRange, Committed, EventForm, Sink, SinkError, StoredPosition};

const JOURNAL: &str = "0011223344556677";

const FIRST_START: StoredPosition<'_> =
    StoredPosition { journal: JOURNAL, generation: 0, state: None, position: 0, up_to: 0 };

/// Settings for `bucket` on a store; `more` wins.
fn settings(store: &Store, more: Value) -> Value {
    let mut settings = json!({
        "bucket": "audit",
        "endpoint": store.endpoint(),
        "key_prefix": "audit/event_vendor={{ vendor }}/event_date=%Y-%m-%d/",
        "auth": {"access_key_id": ACCESS_KEY_ID, "secret_access_key": SECRET_ACCESS_KEY},
    });
    let Value::Object(more) = more else { panic!("settings") };
    settings.as_object_mut().expect("a map").extend(more);
    settings
}

fn sink_of(settings: Value) -> S3Sink {
    let config: S3Config = serde_json::from_value(settings).expect("a config");
    let clock: crate::clock::SharedClock = Arc::new(SystemClock);
    let mut sink = config.build(&clock, "acme", "lake").expect("a sink");
    sink.keys.journal = JOURNAL.to_owned();
    sink
}

fn sink(store: &Store, more: Value) -> S3Sink {
    sink_of(settings(store, more))
}

/// Writes events `first..=last`, each of about `bytes` bytes, on two days.
fn write_events(sink: &mut S3Sink, first: Seq, last: Seq, bytes: usize) {
    for seq in first..=last {
        let raw = format!(r#"{{"number":{seq},"text":"{}"}}"#, "x".repeat(bytes));
        let event = event(&raw, &format!("2026-01-0{}T00:00:00Z", 1 + seq % 2));
        let _ = sink.write(seq, &event, EventForm::Raw).expect("encoded");
    }
}

async fn deliver(sink: &mut S3Sink, first: Seq, last: Seq, log: &mut MemoryLog) -> Result<Committed, SinkError> {
    sink.begin(BatchRange { first, last });
    write_events(sink, first, last, 10);
    sink.commit(None, log).await
}

fn put_of(key: &str) -> Put {
    let bytes = vec![0; 100];
    Put { key: key.to_owned(), sha256: sha256_hex(&bytes), bytes, is_manifest: false }
}

fn numbers(objects: &BTreeMap<String, Vec<u8>>) -> Vec<u64> {
    let mut numbers = Vec::new();
    for (key, bytes) in objects.iter().filter(|(key, _)| !key.contains("_manifests/")) {
        let compression = Compression::ALL.iter().rfind(|compression| key.ends_with(compression.extension()));
        let text = decompressed(*compression.expect("none matches all"), bytes);
        for line in String::from_utf8(text).expect("text").lines() {
            let value: Value = serde_json::from_str(line).expect("JSON");
            numbers.push(value["number"].as_u64().expect("a number"));
        }
    }
    numbers.sort_unstable();
    numbers
}

fn manifests(objects: &BTreeMap<String, Vec<u8>>) -> Vec<(String, Value)> {
    let found = objects.iter().filter(|(key, _)| key.contains("_manifests/"));
    found.map(|(_, bytes)| (sha256_hex(bytes), serde_json::from_slice(bytes).expect("JSON"))).collect()
}

fn text_of(error: &SinkError) -> String {
    match error {
        SinkError::Transient { message, hint } | SinkError::Stopped { message, hint } => format!("{message} | {hint}"),
        other => other.to_string(),
    }
}

// --- the suite ---

/// A sink that closes objects early, so that flushes have objects to put.
struct Conforming<const IN_PARTS: bool>(Store);

impl<const IN_PARTS: bool> Conforming<IN_PARTS> {
    fn small(&self, more: Value) -> Box<dyn Sink> {
        let mut sink = sink(&self.0, more);
        sink.open_bytes = 4_096;
        if IN_PARTS {
            sink.store.multipart_above = 300;
        }
        Box::new(sink)
    }
}

impl<const IN_PARTS: bool> conformance::Fixture for Conforming<IN_PARTS> {
    fn new() -> Self {
        Self(Store::with_bucket("audit"))
    }

    fn sink(&self) -> Box<dyn Sink> {
        self.small(json!({"compression": "zstd", "manifest": !IN_PARTS}))
    }

    fn reconfigured(&self) -> Box<dyn Sink> {
        self.0.create_bucket("other");
        self.small(json!({"bucket": "other", "compression": "none", "key_prefix": "elsewhere"}))
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        assert_eq!(self.0.unfinished_uploads(), Vec::<String>::new());
        self.0.objects("audit")
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (_, bytes) in self.contents().into_iter().filter(|(key, _)| !key.contains("_manifests/")) {
            let text = String::from_utf8(decompressed(Compression::Zstd, &bytes)).expect("text");
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }
}

#[tokio::test]
async fn the_sink_passes_the_suite() {
    conformance::passes::<Conforming<false>>().await;
}

#[tokio::test]
async fn it_passes_with_every_object_in_parts() {
    conformance::passes::<Conforming<true>>().await;
}

// --- batches ---

#[tokio::test]
async fn manifests_name_every_object_and_form_a_chain() {
    let store = Store::with_bucket("audit");
    let mut sink = sink(&store, json!({}));
    for (first, last) in [(1, 10), (11, 30), (35, 40)] {
        deliver(&mut sink, first, last, &mut MemoryLog::default()).await.expect("delivered");
    }
    let objects = store.objects("audit");
    let manifests = manifests(&objects);
    assert_eq!(manifests.len(), 3);
    let mut previous = Value::Null;
    let mut named = Vec::new();
    for (hash, manifest) in &manifests {
        assert_eq!(manifest["previous"], previous);
        previous = json!(hash);
        for object in manifest["objects"].as_array().expect("a list") {
            let key = object["key"].as_str().expect("a key");
            assert_eq!(object["sha256"], sha256_hex(&objects[key]));
            assert_eq!(object["size"], objects[key].len());
            named.push(key.to_owned());
        }
    }
    let data: Vec<_> = objects.keys().filter(|key| !key.contains("_manifests/")).cloned().collect();
    named.sort_unstable();
    assert_eq!(named, data);
    assert_eq!(manifests[0].1["rows"], 10);
    assert!(objects.contains_key(
        "audit/event_vendor=clumio/event_date=2026-01-01/acme-lake-00112233-0000000000000001-0000000000000010.ndjson.gz"
    ));
    assert!(
        objects.contains_key("audit/_manifests/acme-lake/00112233-0000000000000001-0000000000000010.json"),
        "{:?}",
        objects.keys()
    );
}

#[tokio::test]
async fn memory_stays_bounded_and_every_event_is_there_once() {
    let store = Store::with_bucket("audit");
    let mut sink = sink(&store, json!({"compression": "none"}));
    sink.open_bytes = 64 << 10;
    sink.begin(BatchRange { first: 1, last: 2_000 });
    let mut log = MemoryLog::default();
    for seq in 1..=2_000 {
        write_events(&mut sink, seq, seq, 1_000);
        assert!(sink.batch.objects.open_bytes() <= 64 << 10);
        if sink.batch.objects.closed_bytes() > 128 << 10 {
            sink.flush(&mut log).await.expect("flushed");
        }
    }
    let written = sink.commit(None, &mut log).await.expect("committed");
    assert_eq!(written.events, 2_000);
    assert_eq!(numbers(&store.objects("audit")), (1..=2_000).collect::<Vec<_>>());
    assert!(log.calls().len() > 10);
}

#[tokio::test]
async fn an_object_in_parts_is_complete_and_an_error_leaves_no_parts() {
    let store = Store::with_bucket("audit");
    let mut sink = sink(&store, json!({"compression": "none", "key_prefix": ""}));
    store.set_fault(|_, uri| uri.query()?.contains("partNumber=2").then_some((503, "SlowDown")));
    let mut log = MemoryLog::default();
    sink.begin(BatchRange { first: 1, last: 200 });
    write_events(&mut sink, 1, 200, 150_000);
    let error = sink.commit(None, &mut log).await.expect_err("a part is rejected");
    assert!(text_of(&error).contains("SlowDown"), "{error}");
    assert_eq!(store.unfinished_uploads(), Vec::<String>::new());
    assert!(store.objects("audit").is_empty());

    store.clear_fault();
    sink.rollback(&log.records()).await.expect("rolled back");
    sink.begin(BatchRange { first: 1, last: 200 });
    write_events(&mut sink, 1, 200, 150_000);
    sink.commit(None, &mut log).await.expect("committed");
    let parts = store.requests().iter().filter(|request| request.contains("partNumber=")).count();
    assert!(parts > 4, "{parts}");
    assert_eq!(numbers(&store.objects("audit")), (1..=200).collect::<Vec<_>>());
}

#[tokio::test]
async fn parts_that_a_crash_left_are_aborted_by_the_rollback() {
    let store = Store::with_bucket("audit");
    let mut sink = sink(&store, json!({"key_prefix": ""}));
    sink.store.multipart_above = 10;
    let put = put_of("a key/with=signs");
    let output = rollback::record_of(&sink.store, &put);
    let client = sink.store.client().await.expect("a client");
    for key in ["a key/with=signs", "a key/with=signs and more"] {
        client.create_multipart_upload().bucket("audit").key(key).send().await.expect("created");
    }
    sink.rollback(&[output]).await.expect("rolled back");
    assert_eq!(store.unfinished_uploads(), ["a key/with=signs and more"]);
}

#[tokio::test]
async fn a_store_that_cannot_list_uploads_does_not_block() {
    let store = Store::with_bucket("audit");
    let mut sink = sink(&store, json!({"key_prefix": ""}));
    sink.store.multipart_above = 10;
    let put = put_of("key");
    store.set_fault(|method, uri| {
        (method == "GET" && uri.query()?.contains("uploads")).then_some((501, "NotImplemented"))
    });
    sink.rollback(&[rollback::record_of(&sink.store, &put)]).await.expect("rolled back");
}

#[tokio::test]
async fn the_manifest_is_put_last_and_deleted_first() {
    let store = Store::with_bucket("audit");
    let mut sink = sink(&store, json!({}));
    let mut log = MemoryLog::default();
    deliver(&mut sink, 1, 10, &mut log).await.expect("delivered");
    let puts: Vec<_> = store.requests().into_iter().filter(|request| request.starts_with("PUT")).collect();
    assert!(puts.last().expect("puts").contains("_manifests/"), "{puts:?}");
    sink.rollback(&log.records()).await.expect("rolled back");
    let deletes: Vec<_> = store.requests().into_iter().filter(|request| request.starts_with("DELETE")).collect();
    assert!(deletes[0].contains("_manifests/") && deletes.len() == 3, "{deletes:?}");
    assert!(store.objects("audit").is_empty());
}

#[tokio::test]
async fn the_buckets_of_an_earlier_config_are_rolled_back_even_if_one_is_missing() {
    let store = Store::with_bucket("audit");
    store.create_bucket("former");
    let mut former = sink(&store, json!({"bucket": "former"}));
    let mut log = MemoryLog::default();
    deliver(&mut former, 1, 10, &mut log).await.expect("delivered");
    let mut gone = MemoryLog::default();
    store.create_bucket("gone");
    deliver(&mut sink(&store, json!({"bucket": "gone"})), 1, 10, &mut gone).await.expect("delivered");
    std::fs::remove_dir_all(store.directory.path().join("gone")).expect("removed");

    let outputs = [log.records(), gone.records()].concat();
    sink(&store, json!({})).rollback(&outputs).await.expect("rolled back");
    assert!(store.objects("former").is_empty());
}

// --- a second attempt ---

/// A sink that closes objects early, one request at a time, its first batch delivered.
async fn early(store: &Store, in_parts: bool, state: Option<&str>, up_to: Seq) -> S3Sink {
    let mut sink = sink(store, json!({"request": {"concurrency": 1}}));
    sink.open_bytes = 2_048;
    if in_parts {
        sink.store.multipart_above = 300;
    }
    let stored = StoredPosition { state, position: if up_to > 10 { 10 } else { 0 }, up_to, ..FIRST_START };
    sink.recover_position(stored).await.expect("opened");
    sink
}

/// Writes events 11 to 70, with a flush in the middle.
async fn attempt(sink: &mut S3Sink, bytes: usize, log: &mut MemoryLog) -> Result<Committed, SinkError> {
    sink.begin(BatchRange { first: 11, last: 70 });
    write_events(sink, 11, 40, bytes);
    sink.flush(log).await?;
    write_events(sink, 41, 70, bytes);
    sink.commit(None, log).await
}

/// Runs a batch of a store that answers nothing after `requests` requests, then again in a new process.
async fn after_a_crash(requests: usize, in_parts: bool, restarts: bool) -> (Store, bool) {
    let store = Store::with_bucket("audit");
    let mut sink = early(&store, in_parts, None, 0).await;
    let state = deliver(&mut sink, 1, 10, &mut MemoryLog::default()).await.expect("delivered").state;
    let mut log = MemoryLog::default();
    let mut left = requests;
    store.set_fault(move |_, _| {
        let is_down = left == 0;
        left = left.saturating_sub(1);
        is_down.then_some((503, "SlowDown"))
    });
    let is_complete = attempt(&mut sink, 10, &mut log).await.is_ok();
    store.clear_fault();
    if restarts {
        sink = early(&store, in_parts, state.as_deref(), 70).await;
    }
    sink.prepare_retry(&log.records()).await.expect("prepared");
    let committed = attempt(&mut sink, 10, &mut log).await.expect("delivered");
    assert_eq!((committed.events, store.unfinished_uploads()), (60, Vec::new()));
    (store, is_complete)
}

#[tokio::test]
async fn after_a_crash_at_any_request_nothing_is_put_twice_or_deleted() {
    let mut untouched = None;
    for (in_parts, restarts) in [(false, true), (false, false), (true, true)] {
        let mut requests = 0;
        loop {
            let (store, is_complete) = after_a_crash(requests, in_parts, restarts).await;
            assert_eq!(store.second_puts(), Vec::<String>::new(), "{requests} requests, in parts: {in_parts}");
            assert_eq!(store.deletes(), Vec::<String>::new(), "{requests} requests, in parts: {in_parts}");
            let objects = store.objects("audit");
            assert_eq!(numbers(&objects), (1..=70).collect::<Vec<_>>(), "{requests} requests");
            assert_eq!(untouched.get_or_insert_with(|| objects.clone()), &objects, "{requests} requests");
            if is_complete {
                break;
            }
            requests += 1;
        }
        assert!(requests > 6, "{requests}");
    }
}

#[tokio::test]
async fn what_an_earlier_attempt_left_in_other_bytes_is_replaced_and_its_manifest_goes_first() {
    // Another version of auditflow writes other bytes, at other keys too if it splits elsewhere.
    for (bytes, has_same_keys) in [(201, true), (10, false)] {
        let store = Store::with_bucket("audit");
        let mut former = early(&store, false, None, 10).await;
        let mut log = MemoryLog::default();
        attempt(&mut former, 200, &mut log).await.expect("put");
        let before = store.objects("audit");
        let mut again = early(&store, false, None, 70).await;
        again.prepare_retry(&log.records()).await.expect("prepared");
        assert_eq!(store.objects("audit"), before);
        attempt(&mut again, bytes, &mut log).await.expect("delivered");
        let deletes = store.deletes();
        assert!(deletes[0].contains("_manifests/") && deletes.len() == before.len(), "{deletes:?}");
        assert!(deletes.iter().all(|key| before.contains_key(key.strip_prefix("audit/").expect("the bucket"))));
        let objects = store.objects("audit");
        assert_eq!(objects.keys().eq(before.keys()), has_same_keys, "{:?}", objects.keys());
        assert_eq!(numbers(&objects), (11..=70).collect::<Vec<_>>());
        let named = manifests(&objects)[0].1["objects"].as_array().expect("a list").len();
        assert_eq!(objects.len(), named + 1, "{:?}", objects.keys());
    }
}

#[tokio::test]
async fn an_object_of_others_is_not_taken_for_the_sinks_own() {
    let store = Store::with_bucket("audit");
    let settings = || json!({"key_prefix": "", "manifest": false});
    let (mut former, mut log) = (sink(&store, settings()), MemoryLog::default());
    deliver(&mut former, 1, 4, &mut log).await.expect("delivered");
    let (key, bytes) = store.objects("audit").pop_first().expect("an object");
    let client = former.store.client().await.expect("a client");
    client.put_object().bucket("audit").key(&key).body(bytes.clone().into()).send().await.expect("put");
    let mut again = sink(&store, settings());
    again.prepare_retry(&log.records()).await.expect("prepared");
    deliver(&mut again, 1, 4, &mut log).await.expect("delivered");
    assert_eq!(store.deletes(), Vec::<String>::new());
    again.rollback(&log.records()).await.expect("rolled back");
    assert!(store.objects("audit").is_empty(), "the sink's own object took its place");
}

// --- errors ---

async fn error_of(sink: &mut S3Sink) -> String {
    let error = deliver(sink, 1, 4, &mut MemoryLog::default()).await.expect_err("an error");
    assert!(matches!(error, SinkError::Transient { .. }), "{error:?}");
    let text = text_of(&error);
    assert!(!text.contains(SECRET_ACCESS_KEY) && !format!("{error:?}").contains(SECRET_ACCESS_KEY), "{text}");
    text
}

#[tokio::test]
async fn errors_name_the_cause_and_the_fix() {
    let store = Store::with_bucket("audit");
    store.set_fault(|_, _| Some((404, "NoSuchBucket")));
    let mut missing = sink(&store, json!({}));
    let text = error_of(&mut missing).await;
    assert!(text.starts_with("cannot use the bucket audit: NoSuchBucket"), "{text}");
    assert!(text.contains("create the bucket"), "{text}");
    let again = error_of(&mut sink(&store, json!({"key_prefix": "elsewhere/"}))).await;
    assert_eq!(again, text, "one error, whatever is put");
    store.clear_fault();
    deliver(&mut missing, 1, 4, &mut MemoryLog::default()).await.expect("the bucket is there now");

    let wrong = json!({"auth": {"access_key_id": ACCESS_KEY_ID, "secret_access_key": "wrong"}});
    let text = error_of(&mut sink(&store, wrong)).await;
    assert!(text.contains("SignatureDoesNotMatch") && text.contains("secret_access_key"), "{text}");

    store.set_fault(|_, _| Some((503, "SlowDown")));
    let text = error_of(&mut sink(&store, json!({}))).await;
    assert!(text.contains("SlowDown"), "{text}");

    let nobody = json!({"endpoint": "http://127.0.0.1:1"});
    let text = error_of(&mut sink(&store, nobody)).await;
    assert!(text.contains("start the store") && text.to_lowercase().contains("refused"), "{text}");
}

#[tokio::test]
async fn a_rotated_secret_takes_effect_after_a_failure() {
    let store = Store::with_bucket("audit");
    let file = store.directory.path().join("secret");
    std::fs::write(&file, "an old one").expect("written");
    let auth = json!({"auth": {"access_key_id": ACCESS_KEY_ID, "secret_access_key": {"file": file}}});
    let mut sink = sink(&store, auth);
    error_of(&mut sink).await;
    std::fs::write(&file, SECRET_ACCESS_KEY).expect("written");
    deliver(&mut sink, 1, 4, &mut MemoryLog::default()).await.expect("the new secret is right");
}

#[tokio::test]
async fn the_sdk_does_not_retry() {
    let store = Store::with_bucket("audit");
    store.set_fault(|_, _| Some((503, "SlowDown")));
    let mut sink = sink(&store, json!({"key_prefix": "", "manifest": false}));
    error_of(&mut sink).await;
    assert_eq!(store.requests().len(), 1, "{:?}", store.requests());
}

#[tokio::test]
async fn the_check_leaves_nothing_behind_and_names_what_is_wrong() {
    let store = Store::with_bucket("audit");
    sink(&store, json!({})).healthcheck(FIRST_START).await.expect("content");
    assert!(store.objects("audit").is_empty() && store.unfinished_uploads().is_empty());
    store.set_fault(|_, _| Some((404, "NoSuchBucket")));
    let error = sink(&store, json!({})).healthcheck(FIRST_START).await.expect_err("no such bucket");
    assert!(text_of(&error).contains("create the bucket"), "{error}");
    store.clear_fault();
    sink(&store, json!({"if_none_match": true})).recover_position(FIRST_START).await.expect("conditions are heeded");
    let tried: Vec<_> = store.requests().into_iter().filter(|request| request.contains("check")).collect();
    assert!(tried.len() > 4 && tried.iter().all(|request| request.contains("/_")), "{tried:?}");
    store.set_fault(|_, uri| uri.path().contains("_manifests").then_some((403, "AccessDenied")));
    let error = sink(&store, json!({})).healthcheck(FIRST_START).await.expect_err("manifests cannot be written");
    assert!(text_of(&error).contains("s3:PutObject"), "{error}");
}

#[tokio::test]
async fn with_if_none_match_an_object_of_others_is_neither_overwritten_nor_deleted() {
    let store = Store::with_bucket("audit");
    let mut sink = sink(&store, json!({"if_none_match": true, "key_prefix": "", "compression": "none"}));
    sink.recover_position(FIRST_START).await.expect("the store heeds conditions");
    assert!(store.objects("audit").is_empty(), "the probe is gone");
    let key = sink.keys.object("", 1, 4);
    let client = sink.store.client().await.expect("a client");
    client.put_object().bucket("audit").key(&key).body(b"of others".to_vec().into()).send().await.expect("put");
    let mut log = MemoryLog::default();
    let error = deliver(&mut sink, 1, 4, &mut log).await.expect_err("it is exists already");
    assert!(text_of(&error).contains("exists already"), "{error}");
    sink.rollback(&log.records()).await.expect("rolled back");
    assert_eq!(store.objects("audit")[&key], b"of others");

    client.delete_object().bucket("audit").key(&key).send().await.expect("deleted");
    deliver(&mut sink, 1, 4, &mut log).await.expect("nothing is there now");
    sink.rollback(&log.records()).await.expect("rolled back");
    assert!(store.objects("audit").is_empty(), "the sink's own objects are rolled back");
}

#[tokio::test]
async fn a_store_that_ignores_conditions_is_detected() {
    let store = Store::with_bucket("audit");
    store.ignore_conditions();
    let error =
        sink(&store, json!({"if_none_match": true})).recover_position(FIRST_START).await.expect_err("not heeded");
    assert!(matches!(&error, SinkError::Stopped { hint, .. } if hint.contains("if_none_match")), "{error:?}");
}

#[tokio::test]
async fn the_files_of_an_earlier_file_sink_are_rolled_back_too() {
    let store = Store::with_bucket("audit");
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a.ndjson");
    let config: crate::sinks::file::FileConfig = serde_json::from_value(json!({"path": path})).expect("a config");
    let mut file = config
        .build(Arc::new(SystemClock), crate::sinks::registry::SinkName { pipeline: "acme", sink: "lake" })
        .expect("a sink");
    let mut log = MemoryLog::default();
    crate::sinks::orphans::own_journal(JOURNAL);
    file.recover_position(FIRST_START).await.expect("free");
    file.begin(BatchRange { first: 1, last: 1 });
    let _ = file.write(1, &event("{}", "2026-01-02T03:04:05Z"), EventForm::Raw).expect("encoded");
    file.flush(&mut log).await.expect("flushed");
    assert!(path.exists());
    sink(&store, json!({})).rollback(&log.records()).await.expect("rolled back");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_redelivery_overwrites_nothing_and_continues_the_chain() {
    let store = Store::with_bucket("audit");
    let mut former = sink(&store, json!({}));
    let state = deliver(&mut former, 1, 10, &mut MemoryLog::default()).await.expect("delivered").state;
    let before = store.objects("audit");
    let mut again = sink(&store, json!({}));
    let stored = StoredPosition { generation: 3, state: state.as_deref(), position: 10, up_to: 10, ..FIRST_START };
    assert_eq!(again.recover_position(stored).await.expect("opened"), None);
    let mut log = MemoryLog::default();
    // The same range, and what lies in it is not the same: a filter has changed.
    again.begin(BatchRange { first: 1, last: 10 });
    write_events(&mut again, 2, 7, 10);
    again.commit(None, &mut log).await.expect("delivered");
    let after = store.objects("audit");
    assert!(before.iter().all(|(key, bytes)| after.get(key) == Some(bytes)), "{:?}", after.keys());
    assert_eq!(numbers(&after), [1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10]);
    let manifests = manifests(&after);
    assert_eq!((manifests.len(), &manifests[1].1["previous"]), (2, &json!(manifests[0].0)));
    assert_eq!(manifests[1].1["generation"], 3);
    assert!(after.contains_key("audit/_manifests/acme-lake/00112233.003-0000000000000001-0000000000000010.json"));
    again.rollback(&log.records()).await.expect("rolled back");
    assert_eq!(store.objects("audit"), before);
}

// --- whose output it is, and whether it is there ---

fn stopped(error: &SinkError) -> String {
    assert!(matches!(error, SinkError::Stopped { .. }), "{error:?}");
    text_of(error)
}

#[tokio::test]
async fn a_second_journal_and_an_older_copy_are_refused() {
    let store = Store::with_bucket("audit");
    let mut first = sink(&store, json!({}));
    first.recover_position(FIRST_START).await.expect("free");
    deliver(&mut first, 1, 10, &mut MemoryLog::default()).await.expect("delivered");
    deliver(&mut first, 11, 20, &mut MemoryLog::default()).await.expect("delivered");
    let after = |position| StoredPosition { position, up_to: position, ..FIRST_START };
    sink(&store, json!({})).recover_position(after(20)).await.expect("as the journal left it");
    let unfinished = StoredPosition { up_to: 20, ..after(10) };
    sink(&store, json!({})).recover_position(unfinished).await.expect("killed before the journal moved its position");
    let restored = sink(&store, json!({})).recover_position(after(10)).await.expect_err("is refused");
    assert!(stopped(&restored).contains("restored"));
    let checked = sink(&store, json!({})).healthcheck(after(10)).await.expect_err("is refused");
    assert_eq!(stopped(&checked), stopped(&restored));
    sink(&store, json!({})).healthcheck(after(20)).await.expect("its own");
    let other = StoredPosition { journal: "ffff", ..FIRST_START };
    let checked = sink(&store, json!({})).healthcheck(other).await.expect_err("is refused");
    assert!(stopped(&checked).contains("another data_dir"), "{checked}");
    let mut second = sink(&store, json!({}));
    let refused = stopped(&second.recover_position(other).await.expect_err("is refused"));
    assert!(refused.contains("another data_dir") && refused.contains("state adopt FILE lake"), "{refused}");
    second.adopt(other).await.expect("adopted");
    let error = deliver(&mut first, 21, 30, &mut MemoryLog::default()).await.expect_err("not its output any more");
    assert!(stopped(&error).contains("another journal"));
    assert_eq!(numbers(&store.objects("audit")), (1..=20).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_second_journal_below_the_prefix_of_the_first_is_refused() {
    let store = Store::with_bucket("audit");
    let mut first = sink(&store, json!({}));
    first.recover_position(FIRST_START).await.expect("free");
    deliver(&mut first, 1, 10, &mut MemoryLog::default()).await.expect("delivered");
    let below = json!({"key_prefix": "audit/event_vendor=clumio/event_date=%F/"});
    sink(&store, below.clone()).recover_position(FIRST_START).await.expect("the same journal");
    let other = StoredPosition { journal: "ffff", ..FIRST_START };
    let refused = stopped(&sink(&store, below).recover_position(other).await.expect_err("is refused"));
    assert!(refused.contains("another data_dir") && refused.contains("audit/_auditflow/"), "{refused}");
    let beside = json!({"key_prefix": "other/event_vendor=clumio/"});
    sink(&store, beside).recover_position(other).await.expect("elsewhere");
}

#[tokio::test]
async fn a_rolled_back_batch_takes_the_marker_back_whatever_the_prefix_is_now() {
    let store = Store::with_bucket("audit");
    let mut former = sink(&store, json!({}));
    former.recover_position(FIRST_START).await.expect("free");
    let mut log = MemoryLog::default();
    deliver(&mut former, 1, 10, &mut log).await.expect("delivered");
    let mut other = sink(&store, json!({"key_prefix": "elsewhere/"}));
    other.recover_position(StoredPosition { up_to: 10, ..FIRST_START }).await.expect("opened");
    other.rollback(&log.records()).await.expect("rolled back");
    assert!(store.objects("audit").is_empty());
    sink(&store, json!({})).recover_position(FIRST_START).await.expect("the journal's position");
}

#[tokio::test]
async fn a_rollback_deletes_only_what_this_sink_put_and_asks_no_other_store() {
    let (store, other) = (Store::with_bucket("audit"), Store::with_bucket("audit"));
    let mut sink = sink(&store, json!({"if_none_match": false, "key_prefix": "", "compression": "none"}));
    let mut log = MemoryLog::default();
    deliver(&mut sink, 1, 4, &mut log).await.expect("delivered");
    let key = sink.keys.object("", 1, 4);
    let client = sink.store.client().await.expect("a client");
    client.put_object().bucket("audit").key(&key).body(b"of others".to_vec().into()).send().await.expect("put");
    sink.rollback(&log.records()).await.expect("rolled back");
    assert_eq!(store.objects("audit")[&key], b"of others");

    let mut elsewhere = sink_of(settings(&other, json!({})));
    let mut log = MemoryLog::default();
    deliver(&mut elsewhere, 1, 4, &mut log).await.expect("delivered");
    let before = other.requests().len();
    let refused = stopped(&sink.rollback(&log.records()).await.expect_err("another store"));
    assert!(refused.contains("another store") && refused.contains("nothing was touched"), "{refused}");
    assert_eq!(other.requests().len(), before);
}

/// A server that answers every request with `answer`, which gets the head of the request.
async fn server(answer: impl Fn(&str) -> String + Send + 'static) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut text, mut buffer) = (Vec::new(), [0; 65_536]);
            let head = loop {
                let read = stream.read(&mut buffer).await.unwrap_or(0);
                text.extend_from_slice(&buffer[..read]);
                let request = String::from_utf8_lossy(&text).to_lowercase();
                let Some((head, _)) = request.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
                if read == 0 || text.len() >= head.len() + 4 + length.unwrap_or(0) {
                    break head.to_owned();
                }
            };
            let reply = answer(&head);
            stream.write_all(reply.as_bytes()).await.ok();
        }
    });
    format!("http://{address}")
}

fn reply(status: u16, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

#[tokio::test]
async fn an_answer_that_proves_nothing_is_an_error() {
    let store = Store::with_bucket("audit");
    for (headers, word) in [("", "without an ETag"), ("etag: \"a\"\r\nx-amz-checksum-crc32: AAAAAA==\r\n", "checksum")]
    {
        let endpoint = server(move |_| reply(200, headers, "")).await;
        let mut sink = sink(&store, json!({"endpoint": endpoint, "manifest": false}));
        let error = deliver(&mut sink, 1, 4, &mut MemoryLog::default()).await.expect_err("nothing is stored");
        let text = text_of(&error);
        assert!(text.contains(word) && text.contains("fix `endpoint`"), "{text}");
    }
}

#[tokio::test]
async fn a_bucket_that_needs_checksums_gets_them() {
    let store = Store::with_bucket("audit");
    let endpoint = server(|head| {
        let needs = "<Error><Code>InvalidRequest</Code><Message>Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters</Message></Error>";
        if head.contains("\r\nx-amz-checksum-") { reply(200, "etag: \"a\"\r\n", "") } else { reply(400, "", needs) }
    })
    .await;
    let mut sink = sink(&store, json!({"endpoint": endpoint, "manifest": false}));
    let mut log = MemoryLog::default();
    let error = deliver(&mut sink, 1, 4, &mut log).await.expect_err("no checksum yet");
    assert!(matches!(error, SinkError::Again { .. }), "{error:?}");
    assert_eq!(deliver(&mut sink, 1, 4, &mut log).await.expect("delivered").events, 4);
}
