//! `auditflow state` on real processes: the command killed with SIGKILL at random moments, and `run` right afterwards. In the
//! end every event is there once, and once more where that was asked for, never more and never less.
//!
//! The random moments come from a printed seed; set `AUDITFLOW_TEST_SEED` to repeat a run.
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
use common::World;
use serde_json::Value;

const SOURCES: [&str; 5] = ["akuity", "captivateiq", "clumio", "confluence", "merge"];
const SPAN: Duration = Duration::from_secs(3 * 86_400);
const SMALL_BATCHES: &str = "batch: {max_events: 20, timeout_secs: 0.01}";

fn world(seed: u64, events: u64, rate: f64, faults: &[&str]) -> World {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    World::new(SimulatorOptions {
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

fn write(world: &World, sink: &str) -> PathBuf {
    world.write_pipeline(&format!("sinks:\n  {sink}\njournal: {{retention: 1h}}\n"))
}

fn files(world: &World, name: &str, more: &str) -> String {
    let out = world.path("out");
    format!(
        "{name}: {{type: file, inputs: [events], path: \"{}/{{{{ vendor }}}}.ndjson\", {SMALL_BATCHES}{more}}}",
        out.display()
    )
}

/// Says it with `--yes`; returns the exit code and all that was said.
fn state(world: &World, file: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = world.program(&["state", arguments[0], file.to_str().unwrap()]);
    let output =
        command.args(&arguments[1..]).arg("--yes").stdout(Stdio::piped()).stderr(Stdio::piped()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code().unwrap(), said)
}

/// Says it with `--yes` and kills it at a random moment, early or late.
fn state_and_kill(world: &World, file: &Path, arguments: &[&str], random: &mut fastrand::Rng) {
    let mut command = world.program(&["state", arguments[0], file.to_str().unwrap()]);
    let mut child = command.args(&arguments[1..]).arg("--yes").spawn().unwrap();
    std::thread::park_timeout(Duration::from_micros(random.u64(0..30_000) + random.u64(0..2) * random.u64(0..60_000)));
    child.kill().ok();
    child.wait().unwrap();
}

fn life(random: &mut fastrand::Rng) -> Duration {
    Duration::from_millis(random.u64(20..150) + random.u64(0..4) * random.u64(0..250))
}

/// Runs it until the journal knows every source and sink, and kills it.
fn until_all_are_known(world: &World, file: &Path) {
    let mut child = world.program(&["run", file.to_str().unwrap(), "--skip-check"]).spawn().unwrap();
    let look = SnapshotQuery { now: world.simulator.control().now(), sources: None, sinks: &[], evidence: None };
    common::until("all sources and sinks are known", || {
        // While the journal is being made it cannot be read yet.
        let seen = SqliteJournal::snapshot(&world.path("data"), &look);
        seen.ok().flatten().is_some_and(|seen| seen.sources.len() == SOURCES.len() && !seen.stats.sinks.is_empty())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A moment in the time that the simulator's events are of.
fn moment(world: &World, random: &mut fastrand::Rng) -> Timestamp {
    world.simulator.control().now() - SPAN.mul_f64(random.f64())
}

fn journal<T>(world: &World, look: impl AsyncFnOnce(&SqliteJournal) -> T) -> T {
    let options = JournalOptions { data_dir: world.path("data"), max_size: ByteSize(1 << 30) };
    let journal = SqliteJournal::open(&options).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(look(&journal))
}

fn source_history(world: &World, name: &str) -> SourceHistory {
    journal(world, async |journal| journal.source_history(name).await.unwrap().unwrap())
}

/// How often each event is there, and its time.
fn copies(world: &World) -> BTreeMap<(String, u64), (usize, Timestamp)> {
    let mut copies = BTreeMap::new();
    let out = common::files_below(&world.path("out"));
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
fn rewinds_lose_nothing_and_bring_nothing_twice_however_often_they_are_killed() {
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
    let world = world(seed, 3_000, 40.0, FAULTS);
    let file = write(&world, &files(&world, "files", ""));
    until_all_are_known(&world, &file);
    let mut done = 0;
    for _ in 0..40 {
        world.run_and_kill(&file, life(&mut random) + Duration::from_millis(100));
        let source = SOURCES[random.usize(..SOURCES.len())];
        let to = moment(&world, &mut random).to_string();
        let before = source_history(&world, source);
        if random.bool() {
            state_and_kill(&world, &file, &["rewind", source, "--to", &to], &mut random);
        } else {
            let (code, said) = state(&world, &file, &["rewind", source, "--to", &to]);
            assert_eq!(code, 0, "{said}");
        }
        let after = source_history(&world, source);
        assert!(after == before || (after.open_windows == 0 && after.coverage != before.coverage), "half a rewind");
        done += usize::from(after != before);
    }
    eprintln!("{done} rewinds were done");
    assert!(done > 10, "only {done} rewinds were done: the test shows nothing");
    world.wait_until_quiet();
    world.run_once(&file);
    world.assert_exact(&world.path("out"));
    world.assert_counters_add_up(&["files"]);
    world.assert_no_secret_anywhere();
}

#[test]
fn with_redeliver_exactly_what_was_asked_for_comes_once_more() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(seed, 400, 0.0, &["ties", "identical_records"]);
    let file = write(&world, &files(&world, "files", ""));
    world.wait_until_quiet();
    world.run_once(&file);
    world.assert_exact(&world.path("out"));
    let vendors: BTreeMap<String, String> = common::delivered_below(&world.path("out"))
        .into_iter()
        .flat_map(|(vendor, events)| events.into_iter().map(move |event| (event.id, vendor.clone())))
        .collect();
    let mut expected = copies(&world);
    let mut done = 0;
    for round in 0..12 {
        let source = SOURCES[round % SOURCES.len()];
        let to = moment(&world, &mut random);
        state_and_kill(&world, &file, &["rewind", source, "--to", &to.to_string(), "--redeliver"], &mut random);
        if source_history(&world, source).coverage.last().unwrap().to == to {
            done += 1;
            expected
                .iter_mut()
                .filter(|((id, _), (_, time))| vendors[id] == source && *time >= to)
                .for_each(|(_, (copies, _))| *copies += 1);
        }
        for _ in 0..2 {
            world.run_and_kill(&file, life(&mut random));
        }
        world.run_once(&file);
        assert_eq!(copies(&world), expected, "after a redelivery of {source} from {to}");
    }
    eprintln!("{done} rewinds were done");
    assert!(done > 2, "only {done} rewinds were done: the test shows nothing");
}

#[test]
fn redeliveries_bring_what_they_said_and_keep_the_chain_of_manifests() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(seed, 500, 20.0, &["ties", "identical_records", "late_events=0.1"]);
    let file = write(&world, &files(&world, "files", ", manifest: true"));
    until_all_are_known(&world, &file);
    let mut refused = 0;
    for _ in 0..25 {
        world.run_and_kill(&file, life(&mut random) + Duration::from_millis(100));
        let from = moment(&world, &mut random).to_string();
        if random.bool() {
            state_and_kill(&world, &file, &["redeliver", "files", "--from", &from], &mut random);
            continue;
        }
        let (code, said) = state(&world, &file, &["redeliver", "files", "--from", &from]);
        if code != 0 {
            assert!(said.contains("begun and not finished"), "{said}");
            refused += 1;
            world.run_once(&file);
        }
    }
    world.wait_until_quiet();
    world.run_once(&file);
    let summary = journal(&world, async |journal| journal.stats().await.unwrap());
    let (collected, sink) = (summary.head, &summary.sinks[0]);
    eprintln!("{collected} collected, {} asked for once more, {refused} times a batch was open", sink.redelivered);
    assert!(sink.redelivered > 500, "the test shows nothing");
    assert_eq!((sink.delivered, sink.position), (collected + sink.redelivered, collected));
    let copies = copies(&world);
    assert_eq!(copies.len() as u64, collected, "lost or foreign events");
    assert_eq!(copies.values().map(|(copies, _)| *copies as u64).sum::<u64>(), collected + sink.redelivered);
    assert_chain(&world);
}

fn assert_chain(world: &World) {
    let mut names = common::files_below(&world.path("out/_manifests"));
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
fn names_change_in_mid_life_and_nothing_is_lost_or_comes_twice() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(seed, 1_500, 40.0, &["ties", "identical_records", "late_events=0.1"]);
    let (mut source, mut sink) = ("akuity".to_owned(), "files".to_owned());
    let file_of = |source: &str, sink: &str| {
        let file = write(&world, &files(&world, sink, ""));
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("  akuity: {", &format!("  {source}: {{")).replace("[akuity,", &format!("[{source},"));
        fs::write(&file, text).unwrap();
        file
    };
    for round in 0..8 {
        let file = file_of(&source, &sink);
        world.run_and_kill(&file, life(&mut random) + Duration::from_millis(100));
        world.run_once(&file);
        let (new_source, new_sink) = (format!("source_{round}"), format!("sink_{round}"));
        let file = file_of(&new_source, &new_sink);
        for (old, new) in [(&source, &new_source), (&sink, &new_sink)] {
            state_and_kill(&world, &file, &["rename", old, new], &mut random);
            let (code, said) = state(&world, &file, &["rename", old, new]);
            assert!(code == 0 || said.contains("has ever run"), "{said}");
        }
        (source, sink) = (new_source, new_sink);
    }
    let file = file_of(&source, &sink);
    world.wait_until_quiet();
    world.run_once(&file);
    world.assert_exact(&world.path("out"));
    world.assert_counters_add_up(&[&sink]);
    let text = fs::read_to_string(world.path("out/akuity.ndjson")).unwrap();
    let says = |name: &str| text.lines().any(|line| line.contains(&format!("\"source\":\"{name}\"")));
    assert!(says("akuity") && says("source_0"), "events do not say under which name they were delivered");
}

#[test]
fn what_was_forgotten_begins_anew_and_what_is_gone_holds_nothing_back() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let world = world(seed, 300, 0.0, &["ties", "identical_records"]);
    let file = write(&world, &files(&world, "files", ""));
    world.wait_until_quiet();
    world.run_once(&file);
    let once = copies(&world);
    let head = journal(&world, async |journal| journal.stats().await.unwrap().head);
    // Killed before, in the middle or after: the past is there or it is not.
    state_and_kill(&world, &file, &["reset", "clumio"], &mut random);
    let anew = source_history(&world, "clumio").coverage.is_empty();
    for _ in 0..3 {
        world.run_and_kill(&file, life(&mut random));
    }
    world.run_once(&file);
    let clumio = common::delivered_below(&world.path("out"))["clumio"].len() as u64;
    assert_eq!(clumio, if anew { 600 } else { 300 });
    assert_eq!(copies(&world).len(), once.len());
    // A sink that is gone from the file and forgotten, and one that takes its place.
    let file = write(&world, &files(&world, "others", "").replace("/out/", "/others/"));
    let (code, said) = state(&world, &file, &["remove", "files"]);
    assert!(code == 0 && said.contains("no longer keeps events"), "{said}");
    world.run_once(&file);
    let delivered = common::delivered_below(&world.path("others")).values().map(Vec::len).sum::<usize>() as u64;
    assert_eq!(delivered, head + if anew { 300 } else { 0 });
}
