//! `table: delta`: what the log of the table names is every record once, under kills and compaction, read by this project's
//! code and by Delta readers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::bucket::{self, Bucket};
use crate::common::{self, TestPipeline};
use crate::readers::{PYTHON_VARIABLE, by_vendor};
use crate::store::Store;
use crate::{FAULTS, run_duration, test_pipeline};

const SETTINGS: &str = "table: delta, format: parquet, key_prefix: \"audit/event_vendor={{ vendor }}/event_date=%Y-%m-%d/\", batch: {max_events: 40, timeout_secs: 10ms}";

/// Kills the program `kills` times; `before_each` runs before each start. At the end everything is delivered.
pub fn deliver_under_kills(bucket: &Bucket, kills: usize, mut before_each: impl FnMut(usize)) -> TestPipeline {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 2_000, FAULTS);
    let file = pipeline.write_pipeline(&bucket.sink(SETTINGS));
    for kill in (0..3 * kills).take_while(|kill| *kill < kills || pipeline.interrupted_batches() == 0) {
        before_each(kill);
        pipeline.run_and_kill(&file, run_duration(&mut random));
    }
    assert!(pipeline.interrupted_batches() > 0, "no kill interrupted a batch: the test is inconclusive");
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_counters_add_up(&["lake"]);
    pipeline
}

/// The sink leaves the pipeline file after a commit whose answer was lost, and returns later. No log line says to delete what the
/// table has, and the sink continues where the table is.
pub fn a_removed_sink_returns(store: &Store, bucket: &Bucket) {
    let pipeline = test_pipeline(common::seed(), 100, &[]);
    let with_table = bucket.sink(SETTINGS);
    let file = pipeline.write_pipeline(&with_table);
    let has_committed = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&has_committed);
    store.lose_answers(move |method, uri| {
        let is_commit = method == "PUT" && uri.path().contains("_delta_log/0");
        noted.fetch_or(is_commit, Ordering::SeqCst);
        is_commit.then_some((500, "InternalError"))
    });
    store.set_fault(move |_, _| has_committed.load(Ordering::SeqCst).then_some((503, "SlowDown")));
    let arguments = ["run", file.to_str().unwrap(), "--once", "--give-up-after", "1s"];
    let child = pipeline.program(&arguments).spawn().unwrap();
    let status = common::wait(child, Duration::from_secs(120), || pipeline.log_tail());
    assert_eq!(status.code(), Some(3), "{}", pipeline.log_tail());
    store.clear_fault();
    assert_eq!(bucket.objects().keys().filter(|key| key.contains("_delta_log/0")).count(), 1, "one commit has arrived");

    pipeline.run_once(&pipeline.with_files());
    assert_eq!((pipeline.event_count("batch_orphaned"), pipeline.event_count("orphaned_outputs_left")), (1, 0));
    let lines = pipeline.event_lines("table_objects_left");
    assert!(lines.len() == 1 && lines[0].contains(".parquet") && !lines[0].contains("delete"), "{lines:?}");

    pipeline.wait_until_quiet();
    pipeline.run_once(&pipeline.write_pipeline(&with_table));
    assert_eq!(pipeline.event_count("batch_recovered"), 1);
    assert_exact(bucket, &pipeline);
}

/// The files that the log adds are in the bucket, none of them twice, and contain each record of the simulator once.
pub fn assert_exact(bucket: &Bucket, pipeline: &TestPipeline) {
    let mut objects = bucket.objects();
    let (mut added, mut removed) = (BTreeSet::new(), BTreeSet::new());
    let is_version = |key: &&String| key.starts_with("audit/_delta_log/0") && key.ends_with(".json");
    let versions: Vec<_> = objects.keys().filter(is_version).cloned().collect();
    for (number, key) in versions.iter().enumerate() {
        assert_eq!(*key, format!("audit/_delta_log/{number:020}.json"), "the log has a gap");
        for line in String::from_utf8(objects[key].clone()).unwrap().lines() {
            let entry: Value = serde_json::from_str(line).unwrap();
            if let Some(path) = entry["add"]["path"].as_str() {
                assert!(added.insert(format!("audit/{path}")), "{path} was added twice");
            }
            removed.extend(entry["remove"]["path"].as_str().map(|path| format!("audit/{path}")));
        }
    }
    let checkpoints = objects.keys().filter(|key| key.ends_with(".checkpoint.parquet")).count();
    eprintln!(
        "{} versions, {checkpoints} checkpoints, {} files, {} removed",
        versions.len(),
        added.len(),
        removed.len()
    );
    assert!(checkpoints == versions.len() / 100 || checkpoints > 1, "{checkpoints} checkpoints");
    objects.retain(|key, _| added.contains(key) && !removed.contains(key));
    assert_eq!(objects.len(), added.len() - removed.len(), "a file of the table is missing");
    pipeline.assert_all_delivered_once(bucket::events(&objects));
}

/// `status` shows the last commit of the log, from the journal alone.
pub fn assert_status(bucket: &Bucket, pipeline: &TestPipeline) {
    let objects = bucket.objects();
    let is_version = |key: &&String| key.starts_with("audit/_delta_log/0") && key.ends_with(".json");
    let last = objects.keys().rfind(is_version).unwrap();
    let (mut files, mut rows) = (0, 0);
    for line in String::from_utf8(objects[last].clone()).unwrap().lines() {
        let entry: Value = serde_json::from_str(line).unwrap();
        let Some(stats) = entry["add"]["stats"].as_str() else { continue };
        let stats: Value = serde_json::from_str(stats).unwrap();
        (files, rows) = (files + 1, rows + stats["numRecords"].as_u64().unwrap());
    }
    let number = |key: &str| key.rsplit('/').next().unwrap()[..20].parse::<u64>().unwrap();
    let checkpoint = objects.keys().rfind(|key| key.ends_with(".checkpoint.parquet")).map(|key| number(key));
    let file = pipeline.path("pipeline.yaml");
    let status = |more: &[&str]| {
        let mut command = pipeline.program(&["status", file.to_str().unwrap()]);
        String::from_utf8(command.args(more).stdout(std::process::Stdio::piped()).output().unwrap().stdout).unwrap()
    };
    let report: Value = serde_json::from_str(&status(&["--json"])).unwrap();
    let version = number(last);
    let expected = json!({"version": version, "checkpoint": checkpoint, "files": files, "rows": rows});
    assert_eq!(report["sinks"][0]["table"], expected);
    let text = status(&[]);
    assert!(text.contains(&format!("lake: table version {} (+", auditflow::format::count(version))), "{text}");
}

/// What the readers found.
#[derive(Deserialize)]
struct Results {
    raws: Vec<(String, String, Option<u64>, String)>,
    /// By reader: rows and distinct ids.
    readers: BTreeMap<String, (usize, usize)>,
    /// Rows of one vendor and day, by the partitions and by the columns.
    pruned: (usize, usize),
    has_time_statistics: bool,
}

pub fn assert_readers_agree(bucket: &Bucket, pipeline: &TestPipeline, copy: &Path) {
    let results: Results = serde_json::from_slice(&python(bucket, "read", copy)).unwrap();
    let total = results.raws.len();
    pipeline.assert_all_delivered_once(by_vendor(&results.raws));
    eprintln!("{total} rows, read by {:?}", results.readers);
    assert!(results.readers.len() >= 2);
    let distinct = results.raws.iter().map(|(id, ..)| id).collect::<BTreeSet<_>>().len();
    for (reader, found) in &results.readers {
        assert_eq!(*found, (total, distinct), "{reader}");
    }
    assert!(results.pruned.0 > 0 && results.pruned.0 == results.pruned.1, "{:?}", results.pruned);
    assert!(results.has_time_statistics);
}

/// An engine compacts the table.
pub fn compact(bucket: &Bucket) {
    python(bucket, "compact", Path::new(""));
}

fn python(bucket: &Bucket, what: &str, copy: &Path) -> Vec<u8> {
    let python = std::env::var(PYTHON_VARIABLE)
        .unwrap_or_else(|_| panic!("set {PYTHON_VARIABLE} to a python3 with tests/python/requirements.txt"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/table.py");
    let output = Command::new(python).arg(script).arg(what).args(bucket.address()).arg(copy).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
