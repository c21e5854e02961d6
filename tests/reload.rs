//! Reloading with the real program: SIGHUP and `--watch-config` under faults, by component, with broken files, rotated
//! secrets and kills; and the messages to the service manager.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use auditflow::journal::sqlite::{JournalOptions, SqliteJournal};
use auditflow::journal::{DeliverJournal, FileBefore, FileRecord, RollbackRecord, SinkStart};
use auditflow::simulator::{SimulatorOptions, Variants, VendorName};
use auditflow::units::ByteSize;
use common::TestPipeline;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

const EVENTS: u64 = 60;

/// How often the storm asks for a reload.
const STORM_INTERVAL: Duration = Duration::from_millis(200);
const STORM_RELOADS: u32 = 60;

const FAULTS: &[&str] = &[
    "late_events=0.1",
    "identical_records",
    "page_shift=0.1",
    "rate_limit=0.03",
    "server_error=0.03",
    "cut_body=0.03",
    "changing_records=0.2:8",
];

fn under_faults(seed: u64) -> TestPipeline {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    TestPipeline::new(SimulatorOptions {
        variants,
        seed,
        events_per_vendor: 4_000,
        span: Duration::from_secs(3 * 86_400),
        rate: 40.0,
        faults: FAULTS.iter().map(|fault| fault.parse().unwrap()).collect(),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

/// A running program, which is killed in the end.
struct Running(Child);

impl Running {
    fn start(pipeline: &TestPipeline, file: &Path, options: &[&str]) -> Self {
        let before = pipeline.event_count("source_started");
        let arguments = [&["run", file.to_str().unwrap(), "--skip-check"], options].concat();
        let running = Self(pipeline.program(&arguments).spawn().unwrap());
        common::until("it runs", || pipeline.event_count("source_started") >= before + 5);
        running
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// Asks for a reload and waits until `event` is logged once more. Returns that line.
    fn reload(&self, pipeline: &TestPipeline, event: &str) -> String {
        let before = pipeline.event_count(event);
        self.signal(Signal::HUP);
        common::until(event, || pipeline.event_count(event) > before);
        pipeline.event_lines(event).pop().unwrap()
    }

    /// Ends it in order.
    fn stop(self, pipeline: &TestPipeline) {
        self.stop_with(pipeline, 0);
    }

    fn stop_with(self, pipeline: &TestPipeline, code: i32) {
        self.signal(Signal::TERM);
        self.ended(pipeline, code);
    }

    fn ended(mut self, pipeline: &TestPipeline, code: i32) {
        let mut status = None;
        common::until("it has ended", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(code), "{}", pipeline.log_tail());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Replaces a file at once, as editors and deployment tools do.
fn replace(file: &Path, text: &str) {
    let next = file.with_extension("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, file).unwrap();
}

/// Changes one line: that of a source or sink.
fn with_line(text: &str, component: &str, from: &str, to: &str) -> String {
    let is_its = |line: &str| line.starts_with(&format!("  {component}: "));
    let changed: Vec<_> =
        text.lines().map(|line| if is_its(line) { line.replace(from, to) } else { line.to_owned() }).collect();
    let changed = changed.join("\n") + "\n";
    assert_ne!(changed, text, "{component} has no {from}");
    changed
}

/// Removes a source.
fn without_source(text: &str, source: &str) -> String {
    let prefix = format!("  {source}: ");
    let kept: Vec<_> = text.lines().filter(|line| !line.starts_with(&prefix)).collect();
    kept.join("\n").replace(&format!(", {source}]"), "]") + "\n"
}

/// Whether all events of all vendors are below `out`.
fn is_all_delivered(pipeline: &TestPipeline) -> bool {
    common::events_so_far(&pipeline.path("out")) as u64 >= 5 * EVENTS
}

const STORM_SINKS: &str = "sinks:
  files: {type: file, inputs: [events], path: \"out/{{ vendor }}.ndjson\", batch: {max_events: 50, timeout_secs: 0.01}}
";
const SECOND_SINK: &str = "  packed: {type: file, inputs: [events], path: \"packed/{{ vendor }}.ndjson.zst\", compression: zstd, batch: {timeout_secs: 0.05}}\n";

/// Adds a source with a sink of its own: what a sink has not delivered of a source that leaves its inputs is skipped.
fn with_another_source(text: &str) -> String {
    let merge = text.lines().find(|line| line.starts_with("  merge: ")).unwrap();
    let another = merge.replace("  merge: ", "  another: ");
    let text = text.replace(merge, &format!("{merge}\n{another}"));
    text + "  aside: {type: file, inputs: [another], path: aside.ndjson}\n"
}

/// A change of a pipeline file, chosen at random.
fn changed(text: &str, random: &mut fastrand::Rng) -> String {
    let mut text = text.to_owned();
    if random.bool() {
        text.push_str(SECOND_SINK);
    }
    if random.bool() {
        text = with_line(&text, "files", "max_events: 50", &format!("max_events: {}", random.u32(51..200)));
    }
    if random.bool() {
        text = with_another_source(&text);
    }
    for source in ["akuity", "captivateiq", "clumio", "confluence"] {
        if random.u8(0..4) == 0 {
            text = with_line(&text, source, "500ms", &format!("{}ms", random.u32(300..500)));
        }
    }
    text
}

#[test]
fn a_reload_every_200_ms_under_faults_loses_and_duplicates_nothing() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = under_faults(seed);
    let file = pipeline.write_pipeline(STORM_SINKS);
    let text = fs::read_to_string(&file).unwrap();
    let running = Running::start(&pipeline, &file, &["--log-level", "debug"]);
    let begin = Instant::now();
    for number in 1..=STORM_RELOADS {
        replace(&file, &changed(&text, &mut random));
        running.signal(Signal::HUP);
        common::until("the next one is due", || begin.elapsed() >= number * STORM_INTERVAL);
    }
    replace(&file, &(text + SECOND_SINK));
    running.reload(&pipeline, "config_reloaded");
    assert_eq!(pipeline.event_count("config_reload_failed"), 0);
    let reloads = pipeline.event_count("config_reloaded");
    eprintln!(
        "{STORM_RELOADS} requests, {reloads} changes applied, {} starts of sources, {} of sinks",
        pipeline.event_count("source_started"),
        pipeline.event_count("sink_started")
    );
    assert!(reloads > 10, "the test reloads too little");
    pipeline.wait_until_quiet();
    running.stop(&pipeline);
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_exact(&pipeline.path("packed"));
    pipeline.assert_no_secret_anywhere();
}

#[test]
fn kills_in_the_middle_of_reloads_lose_and_duplicate_nothing() {
    let seed = common::seed();
    let mut random = fastrand::Rng::with_seed(seed);
    let pipeline = under_faults(seed);
    let file = pipeline.write_pipeline(STORM_SINKS);
    let text = fs::read_to_string(&file).unwrap();
    for _ in 0..15 {
        replace(&file, &text);
        let running = Running::start(&pipeline, &file, &["--log-level", "debug"]);
        let other = with_line(&changed(&text, &mut random), "files", "timeout_secs: 0.01", "timeout_secs: 0.02");
        replace(&file, &other);
        running.signal(Signal::HUP);
        let (begin, wait) = (Instant::now(), Duration::from_millis(random.u64(0..60)));
        common::until("the kill is due", || begin.elapsed() >= wait);
    }
    replace(&file, &(text + SECOND_SINK));
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    pipeline.assert_exact(&pipeline.path("packed"));
}

/// What `auditflow status` reports.
fn status(pipeline: &TestPipeline, file: &Path) -> serde_json::Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    let output = command.args(["status", file.to_str().unwrap(), "--json"]).envs(pipeline.environment()).output();
    serde_json::from_slice(&output.unwrap().stdout).unwrap()
}

/// The state of a source that `auditflow status` reports.
fn state_of(pipeline: &TestPipeline, file: &Path, source: &str) -> String {
    let report = status(pipeline, file);
    let mut sources = report["sources"].as_array().unwrap().iter();
    sources.find(|found| found["name"] == source).unwrap()["state"].as_str().unwrap().to_owned()
}

#[test]
fn only_what_has_changed_is_restarted() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.write_pipeline(
        "  of_clumio: {type: normalize, inputs: [clumio]}
sinks:
  files: {type: file, inputs: [events], path: \"out/first/{{ vendor }}.ndjson\"}
  clumio_files: {type: file, inputs: [of_clumio], path: \"clumio/{{ vendor }}.ndjson\"}
",
    );
    let text = with_line(&fs::read_to_string(&file).unwrap(), "clumio", "poll_interval: 500ms", "poll_interval: 1h");
    let text = with_line(&text, "clumio", "recheck_interval: 2s", "recheck_interval: 1h");
    replace(&file, &text);
    let running = Running::start(&pipeline, &file, &[]);
    common::until("all is delivered", || is_all_delivered(&pipeline));
    common::until("the source waits for its next poll", || state_of(&pipeline, &file, "clumio") == "live");
    let requests = || pipeline.simulator.control().requests(VendorName::Clumio).unwrap().requests;
    let before = requests();

    assert!(running.reload(&pipeline, "config_unchanged").contains("nothing has changed"));
    replace(&file, &format!("# a comment\n{text}"));
    running.reload(&pipeline, "config_unchanged");

    // Another path, and a source that leaves.
    let moved = without_source(&with_line(&text, "files", "out/first", "out/second"), "merge");
    replace(&file, &moved);
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("changed=\"files\"") && line.contains("removed=\"merge\""), "{line}");
    assert_eq!(pipeline.event_count("source_removed"), 1);

    // It comes back, and what is doubtful about the new file is said, as at a start.
    assert_eq!(pipeline.event_count("config_warning"), 0);
    let doubtful = with_line(&text, "files", "out/first", "out/second");
    replace(&file, &with_line(&doubtful, "merge", "type: merge", "type: merge, page_size: 1000000"));
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("added=\"merge\"") && line.contains("changed=\"files\""), "{line}");
    assert!(pipeline.event_lines("config_warning")[0].contains("page_size"));
    let started = |event: &str, name: &str| {
        pipeline
            .event_lines(event)
            .iter()
            .filter(|line| line.contains(&format!("={name}")) || line.contains(&format!("=\"{name}\"")))
            .count()
    };
    common::until("it is started again", || started("source_started", "merge") == 2);
    common::until("the sink is started again", || started("sink_started", "files") == 3);
    assert_eq!(started("source_started", "clumio"), 1, "{}", pipeline.log_tail());
    assert_eq!(started("sink_started", "clumio_files"), 1);
    assert_eq!(requests(), before, "a reload made an unchanged source ask");
    running.stop(&pipeline);
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
}

/// The body of an answer of the API, and its status.
fn get(pipeline: &TestPipeline, path: &str) -> (u16, String) {
    let line = pipeline.event_lines("api_started").pop().unwrap();
    let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn what_is_refused_changes_nothing() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    let text = format!("api: {{address: \"127.0.0.1:0\"}}\n{}", fs::read_to_string(&file).unwrap());
    replace(&file, &text);
    let running = Running::start(&pipeline, &file, &[]);
    common::until("all is delivered", || is_all_delivered(&pipeline));
    assert!(get(&pipeline, "/metrics").1.contains("\nauditflow_config_reload_success 1\n"));

    let refused = [
        // Found in the file, with its place.
        (with_line(&text, "clumio", "poll_interval: 500ms", "poll_intervall: 500ms"), "pipeline.yaml:6:"),
        ("sources: [".to_owned(), "pipeline.yaml:"),
        // Found when the new component is built.
        (with_line(&text, "clumio", "type: clumio", "type: clumio, tls: {ca_file: missing.pem}"), "missing.pem"),
        // Found by what the journal knows.
        (
            with_line(
                &text,
                "clumio",
                "type: clumio, base_url: \"${SIMULATOR}\", access_token: \"${CLUMIO_ACCESS_TOKEN}\"",
                "type: merge, base_url: \"${SIMULATOR}/api\", api_key: \"${MERGE_API_KEY}\"",
            ),
            "clumio",
        ),
    ];
    for (number, (broken, error)) in refused.into_iter().enumerate() {
        replace(&file, &broken);
        let line = running.reload(&pipeline, "config_reload_failed");
        assert!(line.contains(error) && line.contains("hint="), "{line}");
        assert_eq!(pipeline.event_count("config_reload_failed"), number + 1);
        assert_eq!(get(&pipeline, "/readyz").0, 200);
        assert!(get(&pipeline, "/metrics").1.contains("\nauditflow_config_reload_success 0\n"));
    }
    assert_eq!(pipeline.event_count("source_started"), 5, "something was restarted");
    assert_eq!(pipeline.event_count("sink_started"), 1, "something was restarted");

    // What only a start applies.
    replace(&file, &text.replace("127.0.0.1:0", "127.0.0.1:1").replace("/data\n", "/other\n"));
    running.reload(&pipeline, "config_unchanged");
    let kept = pipeline.event_lines("config_setting_kept").join("\n");
    assert!(kept.contains("api.address") && kept.contains("data_dir"), "{kept}");
    assert!(get(&pipeline, "/metrics").1.contains("\nauditflow_config_reload_success 1\n"));
    assert!(!pipeline.path("other").exists());

    // A source that is added shows.
    replace(&file, &without_source(&text, "merge"));
    running.reload(&pipeline, "config_reloaded");
    assert!(!get(&pipeline, "/status.json").1.contains("\"name\":\"merge\""));
    running.stop(&pipeline);
}

/// As a process that was killed while its sink `packed` wrote this file.
fn leave_unfinished_batch(pipeline: &TestPipeline, file: &Path) {
    let options = JournalOptions { data_dir: pipeline.path("data"), max_size: ByteSize(1 << 30) };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let journal = SqliteJournal::open(&options).unwrap();
        let sink = journal.open_sink("packed", SinkStart::Beginning).await.unwrap().id;
        journal.prepare_batch(sink, 1, 3, "of other settings".to_owned()).await.unwrap();
        let before = FileBefore::Absent { first_new_directory: None };
        let record = RollbackRecord::File(FileRecord { path: file.to_owned(), before });
        journal.add_rollback_records(sink, vec![record]).await.unwrap();
    });
}

/// A removed sink has an unfinished batch that cannot be rolled back: a start refuses that, and so does a reload. It shows only
/// after the sink has ended, so what was stopped is started again.
#[test]
fn a_refusal_after_the_stop_restores_what_ran() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let victim = pipeline.path("victim.ndjson");
    fs::write(&victim, "theirs\n").unwrap();
    leave_unfinished_batch(&pipeline, &victim);
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, &format!("{text}{SECOND_SINK}"));
    let running = Running::start(&pipeline, &file, &[]);
    common::until("the sink has stopped", || pipeline.event_count("sink_stopped") == 1);
    let started = pipeline.event_count("source_started");
    replace(&file, &with_line(&text, "clumio", "poll_interval: 500ms", "poll_interval: 400ms"));
    let line = running.reload(&pipeline, "config_reload_failed");
    assert!(line.contains("victim.ndjson"), "{line}");
    common::until("the source is started again", || pipeline.event_count("source_started") == started + 1);
    assert_eq!(pipeline.event_count("sink_removed") + pipeline.event_count("config_reloaded"), 0);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "theirs\n");
    running.stop_with(&pipeline, 3);
}

/// The file system of a target does not answer: a pipe in place of a marker, which a reload reads before it rolls back.
#[test]
fn a_file_system_that_hangs_during_a_reload_stops_neither_the_watchdog_nor_the_shutdown() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    pipeline.wait_until_quiet();
    pipeline.run_once(&file);
    let text = format!("shutdown_timeout: 1s\n{}", fs::read_to_string(&file).unwrap());
    leave_unfinished_batch(&pipeline, &pipeline.path("victim.ndjson"));
    replace(&file, &format!("{text}{SECOND_SINK}"));
    let socket = UnixDatagram::bind(pipeline.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let is_alive = || {
        let mut buffer = [0; 1_024];
        let length = socket.recv(&mut buffer).unwrap();
        buffer[..length].starts_with(b"WATCHDOG=1")
    };
    let mut command = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]);
    command.env("NOTIFY_SOCKET", pipeline.path("notify")).env("WATCHDOG_USEC", "2000000");
    let running = Running(command.spawn().unwrap());
    common::until("the sink has stopped", || pipeline.event_count("sink_stopped") == 1);
    assert!(pipeline.event_lines("sink_stopped")[0].contains("then reload (SIGHUP)"), "{}", pipeline.log_tail());

    fs::create_dir_all(pipeline.path(".auditflow")).unwrap();
    let marker = pipeline.path(".auditflow/pipe.json");
    assert!(Command::new("mkfifo").arg(marker).status().unwrap().success());
    replace(&file, &text);
    running.signal(Signal::HUP);
    common::until("the reload waits", || pipeline.event_count("reload_waiting") > 0);
    socket.set_nonblocking(true).unwrap();
    while socket.recv(&mut [0; 1_024]).is_ok() {}
    socket.set_nonblocking(false).unwrap();
    assert!(is_alive(), "the watchdog is fed while the reload waits");
    running.stop_with(&pipeline, 3);
    assert_eq!(pipeline.event_count("config_reloaded"), 0);
}

/// Delivers only when it must: its batches close after an hour.
const PATIENT_SINK: &str = "sinks:
  files: {type: file, inputs: [events], path: \"out/{{ vendor }}.ndjson\", batch: {max_events: 100000, timeout_secs: 3600}}
";

/// Runs a pipeline until everything is collected and nothing is delivered.
fn start_until_all_waits(pipeline: &TestPipeline, file: &Path) -> Running {
    let running = Running::start(pipeline, file, &[]);
    common::until("everything waits for the sink", || {
        let report = status(pipeline, file);
        report["sinks"][0]["pending_events"] == 5 * EVENTS && report["sinks"][0]["delivered"] == 0
    });
    running
}

#[test]
fn what_is_pending_of_a_source_that_a_reload_removes_is_delivered() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.write_pipeline(PATIENT_SINK);
    let running = start_until_all_waits(&pipeline, &file);
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, &without_source(&text, "merge"));
    assert!(running.reload(&pipeline, "config_reloaded").contains("removed=\"merge\""));
    let written = common::lines_so_far(&pipeline.path("out/merge.ndjson"));
    assert_eq!(written as u64, EVENTS, "it is in the file before the reload is done");
    running.stop(&pipeline);
    replace(&file, &text);
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
    assert_eq!(pipeline.event_count("sink_events_skipped"), 0);
    assert_eq!(status(&pipeline, &file)["sinks"][0]["skipped"], 0);
}

#[test]
fn what_is_pending_of_a_source_that_is_gone_at_a_start_is_counted_as_skipped() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.write_pipeline(PATIENT_SINK);
    drop(start_until_all_waits(&pipeline, &file));
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, &without_source(&text, "merge"));
    for _ in 0..2 {
        pipeline.run_once(&file);
    }
    assert!(!pipeline.path("out/merge.ndjson").exists());
    assert_eq!(common::events_so_far(&pipeline.path("out")) as u64, 4 * EVENTS);
    let lines = pipeline.event_lines("sink_events_skipped");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains(&format!("events={EVENTS}")) && lines[0].contains("sources=\"merge\""), "{lines:?}");
    assert_eq!(status(&pipeline, &file)["sinks"][0]["skipped"], EVENTS);
    assert!(pipeline.text_count(&format!("{EVENTS} skipped")) > 0, "the summary says it");
}

/// A bounded pipeline whose sink cannot write: the sources have ended, and the run waits for the sink.
#[test]
fn a_reload_of_a_run_that_is_ending_is_refused() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    pipeline.wait_until_quiet();
    let end = pipeline.simulator.control().now() - Duration::from_secs(600);
    let end_time = format!("delay: 1s, end_time: \"{end}\"");
    replace(&file, &fs::read_to_string(&file).unwrap().replace("delay: 1s", &end_time));
    fs::create_dir_all(pipeline.path("out/clumio.ndjson")).unwrap();
    let running = Running::start(&pipeline, &file, &[]);
    common::until("the sink cannot write", || pipeline.event_count("sink_retrying") > 0);
    common::until("the sources have ended, and a reload is refused", || {
        running.signal(Signal::HUP);
        pipeline.event_count("config_reload_failed") > 0
    });
    let line = &pipeline.event_lines("config_reload_failed")[0];
    assert!(line.contains("the run is ending") && line.contains("restart auditflow"), "{line}");
    running.stop_with(&pipeline, 3);
}

#[test]
fn a_component_that_cannot_be_built_does_not_stop_the_others_and_a_reload_tries_it_again() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    let text = with_line(
        &fs::read_to_string(&file).unwrap(),
        "clumio",
        "type: clumio",
        "type: clumio, tls: {ca_file: missing.pem}",
    );
    replace(&file, &text);
    let running = Running(pipeline.program(&["run", file.to_str().unwrap()]).spawn().unwrap());
    common::until("the others run", || pipeline.event_count("source_started") == 4);
    common::until("it has failed", || pipeline.event_count("component_failed") == 1);
    assert!(pipeline.event_lines("healthcheck_failed")[0].contains("missing.pem"), "{}", pipeline.log_tail());
    assert!(pipeline.event_lines("component_failed")[0].contains("missing.pem"), "{}", pipeline.log_tail());

    // It is still missing: what else has changed is applied.
    replace(&file, &with_line(&text, "merge", "poll_interval: 500ms", "poll_interval: 400ms"));
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("changed=\"merge\"") && line.contains("restarted=\"clumio\""), "{line}");
    common::until("it has failed again", || pipeline.event_count("component_failed") == 2);

    fs::copy("tests/fixtures/tls/authority.pem", pipeline.path("missing.pem")).unwrap();
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("changed=\"clumio\""), "{line}");
    common::until("all is delivered", || is_all_delivered(&pipeline));
    running.stop(&pipeline);
    pipeline.assert_exact(&pipeline.path("out"));
}

#[test]
fn a_rotated_secret_file_restarts_the_source_that_uses_it() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    let token = pipeline.path("token");
    fs::write(&token, "expired").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    replace(&file, &with_line(&text, "clumio", "\"${CLUMIO_ACCESS_TOKEN}\"", "{file: token}"));
    let running = Running::start(&pipeline, &file, &[]);
    let errors = ["source_stopped", "source_retrying", "source_error"];
    common::until("the vendor rejects it", || errors.iter().any(|event| pipeline.event_count(event) > 0));
    replace(&token, &pipeline.simulator.credentials().clumio_access_token);
    let line = running.reload(&pipeline, "config_reloaded");
    assert!(line.contains("changed=\"clumio\"") && line.contains("added=\"\""), "{line}");
    common::until("all is delivered", || is_all_delivered(&pipeline));
    assert_eq!(pipeline.event_count("source_started"), 6);
    running.stop(&pipeline);
    pipeline.assert_exact(&pipeline.path("out"));
}

#[test]
fn watching_follows_links_and_notices_a_rotated_secret() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let text = fs::read_to_string(pipeline.with_files()).unwrap();
    // As Kubernetes mounts a ConfigMap: pipeline.yaml -> ..data/pipeline.yaml, ..data -> a directory that is replaced.
    let mount = pipeline.path("mount");
    let swap = |version: &str, text: &str, token: &str| {
        fs::create_dir_all(mount.join(version)).unwrap();
        fs::write(mount.join(version).join("pipeline.yaml"), text).unwrap();
        fs::write(mount.join(version).join("token"), token).unwrap();
        symlink(version, mount.join("next")).unwrap();
        fs::rename(mount.join("next"), mount.join("..data")).unwrap();
    };
    let token = &pipeline.simulator.credentials().clumio_access_token;
    let text = with_line(&text, "clumio", "\"${CLUMIO_ACCESS_TOKEN}\"", "{file: token}");
    let text = text.replace("path: \"out/", &format!("path: \"{}/", pipeline.path("out").display()));
    swap("v1", &text, token);
    for name in ["pipeline.yaml", "token"] {
        symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
    }
    let file: PathBuf = mount.join("pipeline.yaml");
    let running = Running::start(&pipeline, &file, &["--watch-config"]);
    common::until("all is delivered", || is_all_delivered(&pipeline));
    let reloaded = |number| common::until("it is noticed", || pipeline.event_count("config_reloaded") == number);
    swap("v2", &with_line(&text, "merge", "poll_interval: 500ms", "poll_interval: 400ms"), token);
    reloaded(1);
    swap("v3", &with_line(&text, "merge", "poll_interval: 500ms", "poll_interval: 400ms"), &format!("{token}\n"));
    reloaded(2);
    let lines = pipeline.event_lines("config_reloaded");
    assert!(lines[0].contains("changed=\"merge\"") && lines[1].contains("changed=\"clumio\""), "{lines:?}");
    assert_eq!(pipeline.event_count("config_unchanged") + pipeline.event_count("config_reload_failed"), 0);
    running.stop(&pipeline);
}

#[test]
fn requests_during_the_start_and_the_end_do_no_harm() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    let running = Running(pipeline.program(&["run", file.to_str().unwrap()]).spawn().unwrap());
    common::until("its signals are handled", || pipeline.event_count("run_started") == 1);
    common::until("it runs", || {
        running.signal(Signal::HUP);
        pipeline.event_count("source_started") == 5
    });
    common::until("the requests of the start are one reload", || pipeline.event_count("config_unchanged") > 0);
    running.signal(Signal::HUP);
    running.signal(Signal::TERM);
    running.signal(Signal::HUP);
    running.ended(&pipeline, 0);
    pipeline.run_once(&file);
    pipeline.assert_exact(&pipeline.path("out"));
}

#[test]
fn the_service_manager_is_notified() {
    let pipeline = TestPipeline::without_growth(EVENTS);
    let file = pipeline.with_files();
    let socket = UnixDatagram::bind(pipeline.path("notify")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let next = || {
        let mut buffer = [0; 1_024];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let until = |start: &str| std::iter::repeat_with(&next).find(|message| message.starts_with(start)).unwrap();
    let mut command = pipeline.program(&["run", file.to_str().unwrap(), "--skip-check"]);
    command.env("NOTIFY_SOCKET", pipeline.path("notify")).env("WATCHDOG_USEC", "400000");
    let running = Running(command.spawn().unwrap());
    let ready = next();
    assert_eq!(ready, "READY=1\nSTATUS=running: sources 5, sinks 1");
    assert!(pipeline.path("data/journal.db").exists(), "ready before the journal was open");
    until("WATCHDOG=1");
    until("WATCHDOG=1");
    running.signal(Signal::HUP);
    assert!(until("RELOADING=1").contains("\nMONOTONIC_USEC="));
    until("READY=1");
    fs::write(&file, "sources: [").unwrap();
    running.signal(Signal::HUP);
    until("RELOADING=1");
    assert!(until("READY=1").ends_with("the last reload failed, see the log"));
    running.signal(Signal::TERM);
    until("STOPPING=1");
    running.ended(&pipeline, 0);
}

/// The unit with the program under test, and without what the installed systemd (before 253) does not know.
fn unit_for_this_machine(directory: &Path, version: u32) -> PathBuf {
    let unit = fs::read_to_string("deploy/systemd/auditflow.service").unwrap();
    let unit = unit.replace("/usr/local/bin/auditflow", env!("CARGO_BIN_EXE_auditflow"));
    let unit = if version < 253 { unit.replace("Type=notify-reload", "Type=notify") } else { unit };
    let file = directory.join("auditflow.service");
    fs::write(&file, unit).unwrap();
    file
}

#[test]
#[ignore = "needs systemd-analyze (Debian's package systemd)"]
fn the_unit_is_valid_and_confines_the_service() {
    let analyze = |arguments: &[&str]| {
        let output = Command::new("systemd-analyze").args(arguments).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr))
    };
    let (_, text) = analyze(&["--version"]);
    let version = text.split_whitespace().nth(1).unwrap().parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let unit = unit_for_this_machine(directory.path(), version);
    let unit = unit.to_str().unwrap();
    let (is_valid, text) = analyze(&["verify", unit]);
    assert!(is_valid && !text.contains("auditflow.service"), "{text}");
    let (_, text) = analyze(&["security", "--offline=true", unit]);
    let exposure = text.lines().find(|line| line.contains("Overall exposure level")).unwrap();
    eprintln!("{exposure}");
    assert!(exposure.contains("OK"), "{text}");
}

#[test]
fn the_unit_asks_for_what_the_program_does() {
    let unit = fs::read_to_string("deploy/systemd/auditflow.service").unwrap();
    for line in ["Type=notify-reload", "WatchdogSec=120", "RestartPreventExitStatus=2", "ProtectSystem=strict"] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
}
