//! `table: delta`. The log is read here by other code than the sink's.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow_array::cast::AsArray as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;

fn delta(store: &Store, more: Value) -> S3Sink {
    let mut all = json!({"table": "delta", "format": "parquet", "request": {"concurrency": 1}});
    let Value::Object(more) = more else { panic!("settings") };
    all.as_object_mut().expect("a map").extend(more);
    sink(store, all)
}

fn log_directory(store: &Store) -> PathBuf {
    store.directory.path().join("audit/audit/_delta_log")
}

/// The versions of the log, which has no gaps.
fn versions(store: &Store) -> Vec<Vec<Value>> {
    let mut versions = Vec::new();
    loop {
        let path = log_directory(store).join(format!("{:020}.json", versions.len()));
        let Ok(text) = fs::read_to_string(path) else { break };
        versions.push(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect());
    }
    let files = fs::read_dir(log_directory(store)).into_iter().flatten().flatten();
    let json = files.filter(|file| file.path().extension().is_some_and(|extension| extension == "json")).count();
    assert_eq!(json, versions.len(), "the log has a gap");
    versions
}

/// The numbers of all events in the table, and the rows of each file are as the log says.
fn rows(store: &Store) -> Vec<u64> {
    let (mut numbers, mut paths) = (Vec::new(), BTreeSet::new());
    for entry in versions(store).iter().flatten() {
        let Some(path) = entry["add"]["path"].as_str() else { continue };
        assert!(paths.insert(path.to_owned()), "{path} was added twice");
        let path = percent_encoding::percent_decode_str(path).decode_utf8().expect("text").into_owned();
        let bytes = fs::read(store.directory.path().join("audit/audit").join(&path)).expect("a file of the table");
        assert_eq!(entry["add"]["size"], bytes.len());
        let stats: Value = serde_json::from_str(entry["add"]["stats"].as_str().expect("stats")).expect("JSON");
        let before = numbers.len();
        numbers.extend(numbers_in(bytes));
        assert_eq!(stats["numRecords"], numbers.len() - before);
    }
    numbers.sort_unstable();
    numbers
}

fn numbers_in(bytes: Vec<u8>) -> Vec<u64> {
    let file = ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(bytes)).expect("Parquet");
    let mut numbers = Vec::new();
    for batch in file.build().expect("a reader") {
        let batch = batch.expect("rows");
        for raw in batch["raw"].as_string::<i32>().iter().flatten() {
            let raw: Value = serde_json::from_str(raw).expect("JSON");
            numbers.push(raw["number"].as_u64().unwrap_or_default());
        }
    }
    numbers
}

/// A commit of somebody else, which changes nothing that the table holds.
fn commit_of_a_stranger(store: &Store, more: &str) -> usize {
    let version = versions(store).len();
    let line = format!("{{\"commitInfo\":{{\"operation\":\"OPTIMIZE\"}}}}\n{more}");
    fs::create_dir_all(log_directory(store)).expect("created");
    fs::write(log_directory(store).join(format!("{version:020}.json")), line).expect("written");
    version
}

fn stored(position: Seq, up_to: Seq) -> StoredPosition<'static> {
    StoredPosition { position, up_to, ..FIRST_START }
}

/// Delivers `first..=last` as the deliver loop does: until nothing fails, each attempt by a new process if `restarts`.
async fn until_delivered(
    store: &Store,
    sink: &mut S3Sink,
    range: (Seq, Seq),
    restarts: bool,
    state: Option<String>,
) -> Option<String> {
    let mut log = MemoryLog::default();
    let mut is_touched = false;
    for _ in 0..20 {
        let done = async {
            if is_touched {
                sink.prepare_retry(&log.records()).await?;
            }
            is_touched = true;
            deliver(sink, range.0, range.1, &mut log).await
        };
        match done.await {
            Ok(committed) => {
                assert_eq!(committed.events, range.1 - range.0 + 1);
                return committed.state;
            }
            Err(SinkError::Transient { .. }) if restarts => {
                *sink = delta(store, json!({}));
                let stored = StoredPosition { state: state.as_deref(), ..stored(range.0 - 1, range.1) };
                while sink.recover_position(stored).await.is_err() {}
            }
            Err(SinkError::Transient { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("no attempt succeeded");
}

async fn stop_of(sink: &mut S3Sink, first: Seq, last: Seq) -> String {
    let error = deliver(sink, first, last, &mut MemoryLog::default()).await.expect_err("it stops");
    assert!(matches!(error, SinkError::Stopped { .. }), "{error:?}");
    text_of(&error)
}

// --- the suite ---

struct Fixture(Store);

impl conformance::Fixture for Fixture {
    const ROLLS_BACK: bool = false;
    const KEEPS_POSITION: bool = true;

    fn new() -> Self {
        Self(Store::with_bucket("audit"))
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(delta(&self.0, json!({})))
    }

    fn reconfigured(&self) -> Box<dyn Sink> {
        Box::new(delta(&self.0, json!({"key_prefix": "elsewhere/", "compression": "snappy"})))
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.objects("audit")
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for entry in versions(&self.0).iter().flatten().filter(|entry| entry["add"].is_object()) {
            let path = entry["add"]["path"].as_str().expect("a path");
            let bytes = fs::read(self.0.directory.path().join("audit/audit").join(path)).expect("a file");
            let file = ParquetRecordBatchReaderBuilder::try_new(axum::body::Bytes::from(bytes)).expect("Parquet");
            for batch in file.build().expect("a reader") {
                lines.extend(batch.expect("rows")["raw"].as_string::<i32>().iter().flatten().map(str::to_owned));
            }
        }
        lines
    }
}

#[tokio::test]
async fn the_table_passes_the_suite() {
    conformance::passes::<Fixture>().await;
}

// --- commits ---

#[tokio::test]
async fn a_batch_is_one_version_and_the_manifest_is_named_in_it() {
    let store = Store::with_bucket("audit");
    let mut sink = delta(&store, json!({}));
    assert_eq!(sink.recover_position(FIRST_START).await.expect("opened"), Some(0));
    for (first, last) in [(1, 10), (11, 30)] {
        deliver(&mut sink, first, last, &mut MemoryLog::default()).await.expect("delivered");
    }
    let versions = versions(&store);
    assert_eq!(versions.len(), 2);
    let of = |version: usize, kind: &str| -> Vec<Value> {
        versions[version].iter().filter(|entry| entry[kind].is_object()).map(|entry| entry[kind].clone()).collect()
    };
    assert_eq!(of(0, "protocol"), [json!({"minReaderVersion": 1, "minWriterVersion": 2})]);
    let metadata = &of(0, "metaData")[0];
    assert_eq!(metadata["partitionColumns"], json!(["event_vendor", "event_date"]));
    let schema: Value = serde_json::from_str(metadata["schemaString"].as_str().expect("text")).expect("JSON");
    let fields = schema["fields"].as_array().expect("a list");
    assert_eq!(fields.last().expect("fields")["type"], "date");
    assert!(fields.iter().any(|field| field["name"] == "timestamp" && field["type"] == "timestamp"));
    assert!(of(1, "protocol").is_empty() && of(1, "metaData").is_empty());
    assert_eq!(of(1, "txn")[0]["appId"], format!("auditflow/acme/lake/{JOURNAL}"));
    assert_eq!(of(1, "txn")[0]["version"], 30);
    let add = &of(1, "add")[0];
    assert_eq!(add["partitionValues"]["event_vendor"], "clumio");
    assert!(add["path"].as_str().expect("a path").starts_with("event_vendor=clumio/event_date=2026-01-0"), "{add}");
    let note: Value =
        serde_json::from_str(of(1, "commitInfo")[0]["userMetadata"].as_str().expect("a note")).expect("JSON");
    let manifest = &store.objects("audit")[note["manifest"].as_str().expect("a key")];
    assert_eq!(note["manifest_sha256"], sha256_hex(manifest));
    let puts: Vec<_> = store.requests().into_iter().filter(|request| request.starts_with("PUT")).collect();
    let manifest = puts.iter().rposition(|put| put.contains("_manifests/0") || put.contains("/acme-lake/0"));
    let commit = puts.iter().rposition(|put| put.contains("_delta_log/0"));
    assert!(manifest < commit, "{puts:?}");
    assert_eq!(rows(&store), (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn whatever_answer_is_lost_each_event_is_in_the_table_once() {
    for (acts, restarts) in [(true, false), (true, true), (false, false), (false, true)] {
        let mut number = 0;
        loop {
            let store = Store::with_bucket("audit");
            let mut sink = delta(&store, json!({}));
            sink.recover_position(FIRST_START).await.expect("opened");
            let (mut left, has_failed) = (number, Arc::new(AtomicBool::new(false)));
            let noted = Arc::clone(&has_failed);
            let fault = move |_: &_, _: &_| {
                let is_now = left == 0 && !noted.swap(left == 0, Ordering::SeqCst);
                left = usize::saturating_sub(left, 1);
                is_now.then_some((503, "SlowDown"))
            };
            if acts {
                store.lose_answers(fault)
            } else {
                store.set_fault(fault)
            }
            let state = until_delivered(&store, &mut sink, (1, 10), restarts, None).await;
            until_delivered(&store, &mut sink, (11, 30), restarts, state).await;
            store.clear_fault();
            let context = format!("request {number}, acts: {acts}, restarts: {restarts}");
            assert_eq!(rows(&store), (1..=30).collect::<Vec<_>>(), "{context}");
            assert_eq!(versions(&store).len(), 2, "{context}");
            let is_data = |key: &&String| !key.contains("auditflow-check");
            let (second, deletes) = (store.second_puts(), store.deletes());
            assert_eq!(second.iter().chain(&deletes).find(is_data), None, "{context}");
            if !has_failed.load(Ordering::SeqCst) {
                break;
            }
            number += 1;
        }
        assert!(number > 12, "{number}");
    }
}

#[tokio::test]
async fn a_version_that_somebody_else_takes_is_gone_round() {
    for is_lost in [false, true] {
        let store = Arc::new(Store::with_bucket("audit"));
        let mut sink = delta(&store, json!({}));
        sink.recover_position(FIRST_START).await.expect("opened");
        deliver(&mut sink, 1, 10, &mut MemoryLog::default()).await.expect("delivered");
        let path = log_directory(&store).join(format!("{:020}.json", 1));
        let mut left = 1;
        store.set_fault(move |method, uri| {
            if method == "PUT" && uri.path().ends_with("00001.json") && left > 0 {
                left -= 1;
                fs::write(&path, "{\"commitInfo\":{\"operation\":\"OPTIMIZE\"}}\n").expect("written");
            }
            None
        });
        if is_lost {
            store.lose_answers(|method, uri| {
                (method == "PUT" && uri.path().ends_with("00001.json")).then_some((500, "InternalError"))
            });
        }
        until_delivered(&store, &mut sink, (11, 30), false, None).await;
        assert_eq!(versions(&store).len(), 3, "lost: {is_lost}");
        assert_eq!(rows(&store), (1..=30).collect::<Vec<_>>());
    }
}

/// S3 answers 409 if another conditional put of the key is under way, or was.
#[tokio::test]
async fn a_conflict_at_a_commit_is_looked_up() {
    for (acts, restarts) in [(true, false), (true, true), (false, false), (false, true)] {
        let store = Store::with_bucket("audit");
        let mut sink = delta(&store, json!({}));
        sink.recover_position(FIRST_START).await.expect("opened");
        let mut left = 2;
        let fault = move |method: &_, uri: &axum::http::Uri| {
            let is_commit = method == "PUT" && uri.path().contains("_delta_log/0");
            left -= i32::from(is_commit && left > 0);
            (is_commit && left > 0).then_some((409, "ConditionalRequestConflict"))
        };
        if acts {
            store.lose_answers(fault)
        } else {
            store.set_fault(fault)
        }
        let state = until_delivered(&store, &mut sink, (1, 10), restarts, None).await;
        until_delivered(&store, &mut sink, (11, 30), restarts, state).await;
        let mut commits = store.requests();
        commits.retain(|line| line.starts_with("PUT") && line.contains("_delta_log/0"));
        assert_eq!(commits.len(), if acts { 2 } else { 3 });
        assert_eq!((rows(&store), versions(&store).len()), ((1..=30).collect(), 2), "{acts} {restarts}");
    }
}

/// The next commit is stored, and neither its answer nor the log can be read.
fn lose_a_commit(store: &Store) {
    let is_stored = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&is_stored);
    store.lose_answers(move |method, uri| {
        let is_commit = method == "PUT" && uri.path().contains("_delta_log/0");
        noted.fetch_or(is_commit, Ordering::SeqCst);
        is_commit.then_some((500, "InternalError"))
    });
    store.set_fault(move |_, _| is_stored.load(Ordering::SeqCst).then_some((503, "SlowDown")));
}

/// The batch that the table had was begun by another process than the next one.
#[tokio::test]
async fn a_commit_after_one_that_an_earlier_process_began_may_be_lost_too() {
    let store = Store::with_bucket("audit");
    let (mut first, mut second) = (MemoryLog::default(), MemoryLog::default());
    let mut sink = delta(&store, json!({}));
    sink.recover_position(FIRST_START).await.expect("opened");
    lose_a_commit(&store);
    deliver(&mut sink, 1, 10, &mut first).await.expect_err("no answer");
    store.clear_fault();

    let mut again = delta(&store, json!({}));
    assert_eq!(again.recover_position(stored(0, 10)).await.expect("opened"), Some(10));
    again.prepare_retry(&first.records()).await.expect("prepared");
    deliver(&mut again, 1, 10, &mut first).await.expect("counted");
    lose_a_commit(&store);
    deliver(&mut again, 11, 30, &mut second).await.expect_err("no answer");
    store.clear_fault();
    again.prepare_retry(&second.records()).await.expect("prepared");
    deliver(&mut again, 11, 30, &mut second).await.expect("found in the log");
    assert_eq!((rows(&store), versions(&store).len()), ((1..=30).collect(), 2));
}

// --- copies of the journal ---

#[tokio::test]
async fn of_two_processes_with_one_journal_the_second_stops() {
    let store = Store::with_bucket("audit");
    let (mut one, mut other) = (delta(&store, json!({})), delta(&store, json!({})));
    one.recover_position(FIRST_START).await.expect("opened");
    deliver(&mut one, 1, 10, &mut MemoryLog::default()).await.expect("delivered");
    other.recover_position(stored(10, 10)).await.expect("the copy is as far");
    // Before any put, whatever its batch is; and the first one goes on.
    deliver(&mut one, 11, 30, &mut MemoryLog::default()).await.expect("delivered");
    let before = store.objects("audit");
    fs::remove_dir_all(store.directory.path().join("audit/audit/_auditflow")).expect("no marker says so");
    for last in [20, 30, 40] {
        let text = stop_of(&mut other, 11, last).await;
        assert!(text.contains("copy of this journal") && text.contains("state rename FILE lake"), "{text}");
    }
    assert_eq!(store.objects("audit"), before);
    fs::remove_dir_all(store.directory.path().join("audit/audit/_auditflow")).ok();
    deliver(&mut one, 31, 40, &mut MemoryLog::default()).await.expect("delivered");
    assert_eq!(rows(&store), (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn two_processes_that_commit_at_once_do_not_both_succeed() {
    let store = Store::with_bucket("audit");
    let mut sink = delta(&store, json!({}));
    sink.recover_position(FIRST_START).await.expect("opened");
    let txn = format!(r#"{{"txn":{{"appId":"auditflow/acme/lake/{JOURNAL}","version":10}}}}"#);
    let protocol = r#"{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}"#;
    let path = log_directory(&store);
    store.set_fault(move |method, uri| {
        if method == "PUT" && uri.path().contains("_delta_log/0") {
            fs::create_dir_all(&path).expect("created");
            fs::write(path.join(format!("{:020}.json", 0)), format!("{protocol}\n{txn}\n")).expect("written");
        }
        None
    });
    let text = stop_of(&mut sink, 1, 10).await;
    assert!(text.contains("another process"), "{text}");
    assert_eq!(versions(&store).len(), 1);
}

#[tokio::test]
async fn a_journal_behind_the_table_stops_and_a_new_generation_writes() {
    let store = Store::with_bucket("audit");
    let mut sink = delta(&store, json!({}));
    sink.recover_position(FIRST_START).await.expect("opened");
    deliver(&mut sink, 1, 30, &mut MemoryLog::default()).await.expect("delivered");
    for adopts in [false, true] {
        let mut restored = delta(&store, json!({}));
        let error = match adopts {
            true => restored.adopt(stored(10, 10)).await.expect_err("it stops"),
            false => restored.recover_position(stored(10, 10)).await.map(drop).expect_err("it stops"),
        };
        let text = text_of(&error);
        assert!(text.contains("restored from a backup") && text.contains("state rename FILE lake"), "{text}");
    }
    let mut again = delta(&store, json!({}));
    let generation = StoredPosition { generation: 1, position: 10, up_to: 10, ..FIRST_START };
    assert_eq!(again.recover_position(generation).await.expect("opened"), Some(0));
    deliver(&mut again, 11, 30, &mut MemoryLog::default()).await.expect("delivered");
    assert_eq!(rows(&store).len(), 50, "twice what was delivered again on purpose");
}

#[tokio::test]
async fn what_the_table_has_is_neither_put_again_nor_deleted() {
    let store = Store::with_bucket("audit");
    let mut log = MemoryLog::default();
    let mut sink = delta(&store, json!({}));
    sink.recover_position(FIRST_START).await.expect("opened");
    let state = deliver(&mut sink, 1, 30, &mut log).await.expect("delivered, and then the process dies").state;
    // An engine rewrites the files meanwhile, and deletes them.
    commit_of_a_stranger(&store, "");
    for key in store.objects("audit").keys().filter(|key| key.ends_with(".parquet")) {
        fs::remove_file(store.directory.path().join("audit").join(key)).expect("removed");
    }
    let before = store.objects("audit");
    // Settings that move the bucket, and others that change the bytes.
    for more in [json!({"region": "eu-central-1"}), json!({"compression": "snappy"})] {
        let mut again = delta(&store, more);
        assert_eq!(again.recover_position(stored(0, 30)).await.expect("opened"), Some(30));
        again.prepare_retry(&log.records()).await.expect("prepared");
        let committed = deliver(&mut again, 1, 30, &mut MemoryLog::default()).await.expect("counted");
        assert_eq!(
            (committed.events, &committed.state),
            (30, &state),
            "the chain goes on with the manifest that is there"
        );
        assert_eq!(store.objects("audit"), before);
        assert!(store.deletes().iter().all(|key| key.contains("auditflow-check")), "{:?}", store.deletes());
    }
}

#[tokio::test]
async fn a_batch_that_was_given_up_is_deleted_only_where_the_log_was_read() {
    let store = Store::with_bucket("audit");
    let mut log = MemoryLog::default();
    let mut sink = delta(&store, json!({}));
    sink.recover_position(FIRST_START).await.expect("opened");
    store
        .set_fault(|method, uri| (method == "PUT" && uri.path().contains("_delta_log/0")).then_some((503, "SlowDown")));
    deliver(&mut sink, 1, 30, &mut log).await.expect_err("no commit");
    store.clear_fault();
    let before = store.objects("audit");
    for more in [json!({"key_prefix": "other/x=%d/"}), json!({"key_prefix": "other/x=%d/", "table": null})] {
        let mut elsewhere = delta(&store, more);
        elsewhere.recover_position(stored(0, 30)).await.expect("opened");
        elsewhere.rollback(&log.records()).await.expect("rolled back");
        assert_eq!(store.objects("audit"), before);
    }
    let mut here = delta(&store, json!({"compression": "snappy"}));
    here.recover_position(stored(0, 30)).await.expect("opened");
    here.rollback(&log.records()).await.expect("rolled back");
    assert!(store.objects("audit").is_empty(), "nobody has committed them");
}

#[tokio::test]
async fn a_table_is_not_removed_while_a_commit_is_unanswered() {
    for acts in [true, false] {
        let store = Store::with_bucket("audit");
        let mut log = MemoryLog::default();
        let mut sink = delta(&store, json!({}));
        sink.recover_position(FIRST_START).await.expect("opened");
        let (has_committed, is_commit) =
            (AtomicBool::new(false), |line: &str| line.starts_with("PUT") && line.contains("_delta_log/0"));
        store.set_fault(move |method, uri| {
            let line = format!("{method} {uri}");
            let has_committed = has_committed.fetch_or(is_commit(&line), Ordering::SeqCst);
            let is_look = has_committed && line.starts_with("GET") && line.contains("_delta_log");
            (is_look || (is_commit(&line) && !acts)).then_some((500, "InternalError"))
        });
        if acts {
            store.lose_answers(move |method, uri| {
                is_commit(&format!("{method} {uri}")).then_some((500, "InternalError"))
            });
        }
        deliver(&mut sink, 1, 30, &mut log).await.expect_err("no answer");
        store.clear_fault();
        let before = store.objects("audit");
        for prefix in ["audit/event_vendor={{ vendor }}/event_date=%Y-%m-%d/", "audit/%Y/", "{{ vendor }}/"] {
            let mut plain = delta(&store, json!({"table": null, "key_prefix": prefix}));
            let stopped = plain.rollback(&log.records()).await.expect_err("refused");
            assert!(matches!(stopped, SinkError::Stopped { .. }), "{stopped:?}");
            assert!(text_of(&stopped).contains("restore `table: delta`"), "{stopped}");
            assert_eq!(store.objects("audit"), before);
        }
        // As the hint says.
        let mut restored = delta(&store, json!({}));
        restored.recover_position(stored(0, 30)).await.expect("opened");
        restored.prepare_retry(&log.records()).await.expect("prepared");
        deliver(&mut restored, 1, 30, &mut MemoryLog::default()).await.expect("delivered");
        assert_eq!((rows(&store), versions(&store).len()), ((1..=30).collect(), 1), "acts: {acts}");
    }
}

#[tokio::test]
async fn a_table_over_an_unfinished_batch_without_one_has_each_event_once() {
    let store = Store::with_bucket("audit");
    let mut log = MemoryLog::default();
    let mut plain = delta(&store, json!({"table": null}));
    plain.recover_position(FIRST_START).await.expect("opened");
    deliver(&mut plain, 1, 30, &mut log).await.expect("delivered, and then the process dies");
    let mut table = delta(&store, json!({}));
    assert_eq!(table.recover_position(stored(0, 30)).await.expect("opened"), Some(0));
    table.rollback(&log.records()).await.expect("rolled back");
    assert!(
        store.objects("audit").keys().all(|key| key.contains("_auditflow/")),
        "{:?}",
        store.objects("audit").keys()
    );
    for (first, last) in [(1, 20), (21, 30)] {
        deliver(&mut table, first, last, &mut MemoryLog::default()).await.expect("delivered");
    }
    assert_eq!(rows(&store), (1..=30).collect::<Vec<_>>());
    let files = store.objects("audit").into_keys().filter(|key| key.ends_with(".parquet")).count();
    assert_eq!(files, 4, "the table has every object");
}

// --- the table ---

#[tokio::test]
async fn new_columns_are_added_and_other_tables_are_refused() {
    let store = Store::with_bucket("audit");
    let mut sink = delta(&store, json!({"encoding": {"raw": "drop"}}));
    sink.recover_position(FIRST_START).await.expect("opened");
    deliver(&mut sink, 1, 10, &mut MemoryLog::default()).await.expect("delivered");
    let mut grown = delta(&store, json!({}));
    grown.recover_position(stored(10, 10)).await.expect("opened");
    deliver(&mut grown, 11, 20, &mut MemoryLog::default()).await.expect("delivered");
    let metadata: Vec<_> =
        versions(&store).concat().into_iter().filter(|entry| entry["metaData"].is_object()).collect();
    let raw = r#"{"name":"raw","type":"string","nullable":true,"metadata":{}}"#;
    let has_raw = |entry: &Value| entry["metaData"]["schemaString"].as_str().expect("text").contains(raw);
    assert_eq!(metadata.iter().map(has_raw).collect::<Vec<_>>(), [false, true]);
    assert_eq!(metadata[0]["metaData"]["id"], metadata[1]["metaData"]["id"]);

    let narrow = json!({"key_prefix": "audit/event_vendor={{ vendor }}/"});
    let error = delta(&store, narrow).healthcheck(FIRST_START).await.expect_err("other partitions");
    assert!(text_of(&error).contains("partitioned by (event_vendor, event_date)"), "{error}");
    commit_of_a_stranger(
        &store,
        r#"{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"writerFeatures":["rowTracking"]}}"#,
    );
    let error = delta(&store, json!({})).healthcheck(FIRST_START).await.expect_err("another protocol");
    assert!(matches!(error, SinkError::Stopped { .. }) && text_of(&error).contains("writer version 7"), "{error}");
    let text = stop_of(&mut grown, 21, 30).await;
    assert!(text.contains("writer version 7"), "{text}");
}

#[tokio::test]
async fn a_checkpoint_keeps_the_position_and_may_fail() {
    for fails in [false, true] {
        let store = Store::with_bucket("audit");
        let mut sink = delta(&store, json!({}));
        sink.recover_position(FIRST_START).await.expect("opened");
        deliver(&mut sink, 1, 10, &mut MemoryLog::default()).await.expect("delivered");
        while commit_of_a_stranger(&store, "") < 99 {}
        if fails {
            store.set_fault(|_, uri| uri.path().contains("checkpoint.parquet").then_some((503, "SlowDown")));
        }
        deliver(&mut sink, 11, 30, &mut MemoryLog::default()).await.expect("delivered");
        store.clear_fault();
        assert_eq!(rows(&store), (1..=30).collect::<Vec<_>>());
        let last = fs::read(log_directory(&store).join("_last_checkpoint"));
        if fails {
            assert!(last.is_err());
            continue;
        }
        let last: Value = serde_json::from_slice(&last.expect("a checkpoint")).expect("JSON");
        assert_eq!(last, json!({"version": 100, "size": 7}));
        // An engine cleans the log up.
        for version in 0..=100 {
            fs::remove_file(log_directory(&store).join(format!("{version:020}.json"))).expect("removed");
        }
        for hint in [true, false] {
            if !hint {
                fs::remove_file(log_directory(&store).join("_last_checkpoint")).expect("removed");
            }
            let mut again = delta(&store, json!({}));
            assert_eq!(again.recover_position(stored(0, 30)).await.expect("opened"), Some(30));
        }
        deliver(&mut sink, 31, 40, &mut MemoryLog::default()).await.expect("delivered");
        assert!(log_directory(&store).join(format!("{:020}.json", 101)).exists());
    }
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_refused() {
    let store = Store::with_bucket("audit");
    delta(&store, json!({})).healthcheck(FIRST_START).await.expect("the condition is heeded");
    let tried = store.requests().into_iter().filter(|request| request.contains("_delta_log/_auditflow-check")).count();
    assert!(tried > 1 && store.objects("audit").is_empty(), "{tried}");
    store.ignore_conditions();
    for starts in [false, true] {
        let mut sink = delta(&store, json!({}));
        let error = match starts {
            true => sink.recover_position(FIRST_START).await.map(drop).expect_err("refused"),
            false => sink.healthcheck(FIRST_START).await.expect_err("refused"),
        };
        assert!(matches!(error, SinkError::Stopped { .. }) && text_of(&error).contains("remove `table`"), "{error}");
    }
}

#[tokio::test]
async fn a_store_that_demands_headers_can_hold_a_table() {
    for (header, more) in [("x-amz-tagging", json!({"tags": {"team": "audit"}})), ("x-amz-checksum-crc32", json!({}))] {
        let store = Store::with_bucket("audit");
        store.demand_header(header);
        delta(&store, more.clone()).healthcheck(FIRST_START).await.expect(header);
        let mut sink = delta(&store, more);
        sink.recover_position(FIRST_START).await.expect(header);
        deliver(&mut sink, 1, 10, &mut MemoryLog::default()).await.expect(header);
        assert_eq!(rows(&store), (1..=10).collect::<Vec<_>>());
    }
}

#[test]
fn settings_that_cannot_be_a_table_are_named() {
    let problems = |settings: Value| -> Vec<String> {
        let config: S3Config = serde_json::from_value(settings).expect("a config");
        config.check().into_iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
    };
    let of = |more: Value| {
        let mut all = json!({"bucket": "audit", "table": "delta", "format": "parquet"});
        let Value::Object(more) = more else { panic!("settings") };
        all.as_object_mut().expect("a map").extend(more);
        problems(all)
    };
    assert_eq!(of(json!({})), [""; 0]);
    for (more, word) in [
        (json!({"format": "ndjson"}), "table: a Delta table consists of Parquet"),
        (json!({"key_prefix": "audit/%Y/day=%d/"}), "key_prefix: this cannot be the prefix of a Delta table"),
        (json!({"key_prefix": "audit/vendor={{ vendor }}/"}), "the partition `vendor` has the name of a column"),
        (json!({"key_prefix": "audit/x=%d/", "manifest_prefix": "audit/manifests"}), "manifest_prefix: `VACUUM`"),
    ] {
        let found = of(more);
        assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
    }
}
