//! `auditflow state` with real processes: the command is killed with SIGKILL at random times, and `run` starts right afterwards.
//! At the end every event is delivered once, and once more for each redelivery that includes it.
//!
//! The random times come from a printed seed; set `AUDITFLOW_TEST_SEED` to repeat a run.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use auditflow::journal::{CollectJournal, JournalOptions, LogReader, SnapshotQuery, SourceHistory, SqliteJournal};
use auditflow::simulator::{SimulatorOptions, Variants};
use auditflow::sinks::manifest::sha256_hex;
use auditflow::time::Timestamp;
use auditflow::units::ByteSize;
use common::TestPipeline;
use serde_json::Value;

const SOURCES: [&str; 5] = ["akuity", "captivateiq", "clumio", "confluence", "merge"];
const SPAN: Duration = Duration::from_secs(3 * 86_400);
const SMALL_BATCHES: &str = "batch: {max_events: 20, timeout_secs: 0.01}";

fn test_pipeline(seed: u64, events: u64, rate: f64, faults: &[&str]) -> TestPipeline {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    TestPipeline::new(SimulatorOptions {
        variants,
        seed,
        events_per_vendor: events,
        span: SPAN,
        rate,
        faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

fn write(pipeline: &TestPipeline, sink: &str) -> PathBuf {
    pipeline.write_pipeline(&format!("sinks:\n  {sink}\njournal: {{retention: 1h}}\n"))
}

fn files(pipeline: &TestPipeline, name: &str, more: &str) -> String {
    let out = pipeline.path("out");
    format!(
        "{name}: {{type: file, inputs: [events], path: \"{}/{{{{ vendor }}}}.ndjson\", {SMALL_BATCHES}{more}}}",
        out.display()
    )
}

/// Runs a `state` command with `--yes`. Returns its exit code and output.
fn state(pipeline: &TestPipeline, file: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = pipeline.program(&["state", arguments[0], file.to_str().unwrap()]);
    let output =
        command.args(&arguments[1..]).arg("--yes").stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), printed)
}

/// Runs a `state` command with `--yes` and kills it at a random time, early or late.
fn state_and_kill(pipeline: &TestPipeline, file: &Path, arguments: &[&str], random: &mut fastrand::Rng) {
    let mut command = pipeline.program(&["state", arguments[0], file.to_str().unwrap()]);
    let mut child = command.args(&arguments[1..]).arg("--yes").spawn().unwrap();
    std::thread::park_timeout(Duration::from_micros(random.u64(0..30_000) + random.u64(0..2) * random.u64(0..60_000)));
    child.kill().ok();
    child.wait().unwrap();
}

fn run_duration(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(20..150) + random.u64(0..4) * random.u64(0..250))
}

/// Runs the pipeline until every source and sink is in the journal, and kills it.
fn run_until_all_are_in_the_journal(pipeline: &TestPipeline, file: &Path) {
    let mut child = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    let query = SnapshotQuery { sources: None, sinks: &[], evidence: None };
    common::until("all sources and sinks are in the journal", || {
        // The journal cannot be read while it is created.
        let snapshot = SqliteJournal::snapshot(&pipeline.path("data"), &query);
        snapshot
            .ok()
            .flatten()
            .is_some_and(|snapshot| snapshot.sources.len() == SOURCES.len() && !snapshot.stats.sinks.is_empty())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A random time in the span of the simulator's events.
fn random_time(pipeline: &TestPipeline, random: &mut fastrand::Rng) -> Timestamp {
    pipeline.simulator.control().now() - SPAN.mul_f64(random.f64())
}

fn journal<T>(pipeline: &TestPipeline, query: impl AsyncFnOnce(&SqliteJournal) -> T) -> T {
    let options = JournalOptions { data_dir: pipeline.path("data"), max_size: ByteSize(1 << 30) };
    let journal = SqliteJournal::open(&options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(query(&journal))
}

fn source_history(pipeline: &TestPipeline, name: &str) -> SourceHistory {
    journal(pipeline, async |journal| journal.source_history(name).await.unwrap().unwrap())
}

/// How many times each event was delivered, and its time.
fn copies(pipeline: &TestPipeline) -> BTreeMap<(String, u64), (usize, Timestamp)> {
    let mut copies = BTreeMap::new();
    let out = common::files_below(&pipeline.path("out"));
    for file in out.iter().filter(|file| file.extension().is_some_and(|end| end == "ndjson")) {
        for line in fs::read_to_string(file).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let time = Timestamp::parse_rfc3339(event["timestamp"].as_str().unwrap()).unwrap();
            let key = (event["id"].as_str().unwrap().to_owned(), event["version"].as_u64().unwrap_or(0));
            copies.entry(key).or_insert((0, time)).0 += 1;
        }
    }
    copies
}

#[test]
fn killed_rewinds_lose_and_duplicate_nothing() {
    const FAULTS: &[&str] = &[
        "late_events=0.1",
        "ties",
        "identical_records",
        "server_error=0.03",
        "rate_limit=0.03",
        "cut_body=0.03",
        "changing_records=0.2:8",
    ];
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 3_000, 40.0, FAULTS);
    let file = write(&pipeline, &files(&pipeline, "files", ""));
    run_until_all_are_in_the_journal(&pipeline, &file);
    let mut done = 0;
    for _ in 0..40 {
        pipeline.run_and_kill(&file, run_duration(&mut random) + Duration::from_millis(100));
        let source = SOURCES[random.usize(..SOURCES.len())];
        let to = random_time(&pipeline, &mut random).to_string();
        let before = source_history(&pipeline, source);
        if random.bool() {
            state_and_kill(&pipeline, &file, &["rewind", source, "--to", &to], &mut random);
        } else {
            let (code, printed) = state(&pipeline, &file, &["rewind", source, "--to", &to]);
            assert_eq!(code, 0, "{printed}");
        }
        let after = source_history(&pipeline, source);
        assert!(
            after == before || (after.open_windows == 0 && after.coverage != before.coverage),
            "a rewind was done partly"
        );
        done += usize::from(after != before);
    }
    eprintln!("{done} rewinds were done");
    assert!(done > 10, "only {done} rewinds were done: the test is inconclusive");
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_counters_add_up(&["files"]);
    pipeline.assert_no_secret_anywhere();
}

#[test]
fn a_rewind_with_redelivery_delivers_exactly_its_range_once_more() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 400, 0.0, &["ties", "identical_records"]);
    let file = write(&pipeline, &files(&pipeline, "files", ""));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    let vendors: BTreeMap<String, String> = common::delivered_below(&pipeline.path("out"))
        .into_iter()
        .flat_map(|(vendor, events)| events.into_iter().map(move |event| (event.id, vendor.clone())))
        .collect();
    let mut expected = copies(&pipeline);
    let mut done = 0;
    // On a busy machine most commands are killed before they have done anything.
    for round in 0..60 {
        if round >= 12 && done > 2 {
            break;
        }
        let source = SOURCES[round % SOURCES.len()];
        let to = random_time(&pipeline, &mut random);
        state_and_kill(&pipeline, &file, &["rewind", source, "--to", &to.to_string(), "--redeliver"], &mut random);
        if source_history(&pipeline, source).coverage.last().unwrap().to == to {
            done += 1;
            expected
                .iter_mut()
                .filter(|((id, _), (_, time))| vendors[id] == source && *time >= to)
                .for_each(|(_, (copies, _))| *copies += 1);
        }
        for _ in 0..2 {
            pipeline.run_and_kill(&file, run_duration(&mut random));
        }
        pipeline.run_once(&file);
        assert_eq!(copies(&pipeline), expected, "after a redelivery of {source} from {to}");
    }
    eprintln!("{done} rewinds were done");
    assert!(done > 2, "only {done} rewinds were done: the test is inconclusive");
}

#[test]
fn redeliveries_deliver_what_they_announce_and_keep_the_chain_of_manifests() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 500, 20.0, &["ties", "identical_records", "late_events=0.1"]);
    let file = write(&pipeline, &files(&pipeline, "files", ", manifest: true"));
    run_until_all_are_in_the_journal(&pipeline, &file);
    let mut rejected = 0;
    for _ in 0..25 {
        pipeline.run_and_kill(&file, run_duration(&mut random) + Duration::from_millis(100));
        let from = random_time(&pipeline, &mut random).to_string();
        if random.bool() {
            state_and_kill(&pipeline, &file, &["redeliver", "files", "--from", &from], &mut random);
            continue;
        }
        let (code, printed) = state(&pipeline, &file, &["redeliver", "files", "--from", &from]);
        if code != 0 {
            assert!(printed.contains("has an unfinished batch"), "{printed}");
            rejected += 1;
            pipeline.run_once(&file);
        }
    }
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let stats = journal(&pipeline, async |journal| journal.stats().await.unwrap());
    let (collected, sink) = (stats.head, &stats.sinks[0]);
    eprintln!("{collected} collected, {} redelivered, {rejected} times a batch was unfinished", sink.redelivered);
    assert!(sink.redelivered > 500, "only {} events were redelivered: the test is inconclusive", sink.redelivered);
    assert_eq!((sink.delivered, sink.position), (collected + sink.redelivered, collected));
    let copies = copies(&pipeline);
    assert_eq!(copies.len() as u64, collected, "lost or unexpected events");
    assert_eq!(copies.values().map(|(copies, _)| *copies as u64).sum::<u64>(), collected + sink.redelivered);
    assert_chain(&pipeline);
}

fn assert_chain(pipeline: &TestPipeline) {
    let mut names = common::files_below(&pipeline.path("out/_manifests"));
    names.sort();
    let mut previous = Value::Null;
    for name in &names {
        let bytes = fs::read(name).unwrap();
        let manifest: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(manifest["previous"], previous, "{}", name.display());
        previous = sha256_hex(&bytes).into();
    }
}

#[test]
fn renaming_between_runs_loses_and_duplicates_nothing() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 1_500, 40.0, &["ties", "identical_records", "late_events=0.1"]);
    let (mut source, mut sink) = ("akuity".to_owned(), "files".to_owned());
    let file_of = |source: &str, sink: &str| {
        let file = write(&pipeline, &files(&pipeline, sink, ""));
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("  akuity: {", &format!("  {source}: {{")).replace("[akuity,", &format!("[{source},"));
        fs::write(&file, text).unwrap();
        file
    };
    for round in 0..8 {
        let file = file_of(&source, &sink);
        pipeline.run_and_kill(&file, run_duration(&mut random) + Duration::from_millis(100));
        pipeline.run_once(&file);
        let (new_source, new_sink) = (format!("source_{round}"), format!("sink_{round}"));
        let file = file_of(&new_source, &new_sink);
        for (old, new) in [(&source, &new_source), (&sink, &new_sink)] {
            state_and_kill(&pipeline, &file, &["rename", old, "--to", new], &mut random);
            let (code, printed) = state(&pipeline, &file, &["rename", old, "--to", new]);
            assert!(code == 0 || printed.contains("has never run"), "{printed}");
        }
        (source, sink) = (new_source, new_sink);
    }
    let file = file_of(&source, &sink);
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_counters_add_up(&[&sink]);
    let text = fs::read_to_string(pipeline.path("out/akuity.ndjson")).unwrap();
    let has_source = |name: &str| text.lines().any(|line| line.contains(&format!("\"source\":\"{name}\"")));
    assert!(has_source("akuity") && has_source("source_0"), "events must have the source name of their delivery");
}

#[test]
fn a_reset_source_starts_over_and_a_removed_sink_keeps_no_events() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = test_pipeline(seed, 300, 0.0, &["ties", "identical_records"]);
    let file = write(&pipeline, &files(&pipeline, "files", ""));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let once = copies(&pipeline);
    let head = journal(&pipeline, async |journal| journal.stats().await.unwrap().head);
    // Killed before, during or after the change: the coverage exists completely or not at all.
    state_and_kill(&pipeline, &file, &["reset", "clumio"], &mut random);
    let is_reset = source_history(&pipeline, "clumio").coverage.is_empty();
    for _ in 0..3 {
        pipeline.run_and_kill(&file, run_duration(&mut random));
    }
    pipeline.run_once(&file);
    let clumio = common::delivered_below(&pipeline.path("out"))["clumio"].len() as u64;
    assert_eq!(clumio, if is_reset { 600 } else { 300 });
    assert_eq!(copies(&pipeline).len(), once.len());
    // The sink is removed from the file and from the journal, and another one is added.
    let file = write(&pipeline, &files(&pipeline, "others", "").replace("/out/", "/others/"));
    let (code, printed) = state(&pipeline, &file, &["remove", "files"]);
    assert!(code == 0 && printed.contains("no longer keeps events"), "{printed}");
    pipeline.run_once(&file);
    let delivered = common::delivered_below(&pipeline.path("others")).values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!(delivered, head + if is_reset { 300 } else { 0 });
}
