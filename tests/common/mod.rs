//! A pipeline for end-to-end tests: the simulator in this process, the real program in another, files in a temporary
//! directory, and the comparison of the delivered events with the simulator's records.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub, missing_docs)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use auditflow::clock::{SharedClock, SystemClock};
use auditflow::journal::LogReader;
use auditflow::journal::sqlite::{JournalOptions, SqliteJournal};
use auditflow::simulator::proof::{self, Delivered, Verdict};
use auditflow::simulator::{RunningSimulator, Simulator, SimulatorOptions, Variants, VendorName};
use auditflow::units::ByteSize;
use tokio::time::Instant;

/// The seed of a test's random times: from `AUDITFLOW_TEST_SEED`, else random. It is printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    let seed = std::env::var("AUDITFLOW_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed of the random times: AUDITFLOW_TEST_SEED={seed}");
    seed
}

/// The simulator, a temporary directory, and the program under test.
pub struct TestPipeline {
    pub directory: tempfile::TempDir,
    pub simulator: RunningSimulator,
    runtime: tokio::runtime::Runtime,
}

impl TestPipeline {
    pub fn new(options: SimulatorOptions) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let simulator = runtime.block_on(Simulator::start(options)).unwrap();
        Self { directory: tempfile::tempdir().unwrap(), simulator, runtime }
    }

    /// With so many events of each vendor, no further ones, and no rate limits.
    pub fn without_growth(events_per_vendor: u64) -> Self {
        let mut variants = Variants::default();
        variants.lift_rate_limits();
        let pipeline = Self::new(SimulatorOptions {
            events_per_vendor,
            variants,
            clock: system_clock(),
            ..SimulatorOptions::default()
        });
        pipeline.simulator.control().stop_growth();
        pipeline
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a pipeline file with five sources that poll at short intervals, and `rest`: more transforms, and the sinks.
    pub fn write_pipeline(&self, rest: &str) -> PathBuf {
        let common = "backfill_start_time: earliest, poll_interval: 500ms, delay: 1s, overlap: 120s, rate_limit: 1000/s, recheck_interval: 2s";
        let text = format!(
            "data_dir: {directory}/data
sources:
  akuity: {{type: akuity, base_url: \"${{SIMULATOR}}\", organization_id: \"${{AKUITY_ORGANIZATION_ID}}\", api_key_id: \"${{AKUITY_API_KEY_ID}}\", api_key_secret: \"${{AKUITY_API_KEY_SECRET}}\", {common}}}
  captivateiq: {{type: captivateiq, base_url: \"${{SIMULATOR}}/ciq/v1\", api_token: \"${{CAPTIVATEIQ_API_TOKEN}}\", {common}}}
  clumio: {{type: clumio, base_url: \"${{SIMULATOR}}\", access_token: \"${{CLUMIO_ACCESS_TOKEN}}\", {common}}}
  confluence: {{type: confluence, base_url: \"${{SIMULATOR}}/ex/confluence/${{CONFLUENCE_CLOUD_ID}}\", cloud_id: \"${{CONFLUENCE_CLOUD_ID}}\", email: \"${{CONFLUENCE_EMAIL}}\", api_token: \"${{CONFLUENCE_API_TOKEN}}\", {common}}}
  merge: {{type: merge, base_url: \"${{SIMULATOR}}/api\", api_key: \"${{MERGE_API_KEY}}\", {common}}}
transforms:
  events: {{type: normalize, inputs: [akuity, captivateiq, clumio, confluence, merge]}}
{rest}",
            directory = self.directory.path().display()
        );
        let file = self.path("pipeline.yaml");
        fs::write(&file, text).unwrap();
        file
    }

    /// Writes a pipeline file with a sink `files` that writes all events below `out`, a file per vendor.
    pub fn with_files(&self) -> PathBuf {
        self.write_pipeline("sinks:\n  files: {type: file, inputs: [events], path: \"out/{{ vendor }}.ndjson\"}\n")
    }

    /// The program, with the secrets in its environment. Its output is appended to `log`.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        command
            .args(arguments)
            .envs(self.environment())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }

    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let credentials = self.simulator.credentials().clone();
        vec![
            ("SIMULATOR", format!("http://{}", self.simulator.address())),
            ("CLUMIO_ACCESS_TOKEN", credentials.clumio_access_token),
            ("CAPTIVATEIQ_API_TOKEN", credentials.captivateiq_api_token),
            ("MERGE_API_KEY", credentials.merge_api_key),
            ("AKUITY_ORGANIZATION_ID", credentials.akuity_organization_id),
            ("AKUITY_API_KEY_ID", credentials.akuity_api_key_id),
            ("AKUITY_API_KEY_SECRET", credentials.akuity_api_key_secret),
            ("CONFLUENCE_CLOUD_ID", credentials.confluence_cloud_id),
            ("CONFLUENCE_EMAIL", credentials.confluence_email),
            ("CONFLUENCE_API_TOKEN", credentials.confluence_api_token),
        ]
    }

    /// Starts `run FILE` and kills it with SIGKILL after `run_duration`. Fails if the program ends before.
    pub fn run_and_kill(&self, file: &Path, run_duration: Duration) {
        self.kill_after(self.start(file), run_duration);
    }

    /// Starts `run FILE`, waits until it logs `event` once, and kills it with SIGKILL after a further `run_duration`. This
    /// interrupts that work, however long the program needs to start it.
    pub fn run_until_event_and_kill(&self, file: &Path, event: &str, run_duration: Duration) {
        let before = self.event_count(event);
        let mut child = self.start(file);
        until(event, || {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the program ended before it was killed:\n{}",
                self.log_tail()
            );
            self.event_count(event) > before
        });
        self.kill_after(child, run_duration);
    }

    fn start(&self, file: &Path) -> Child {
        self.program(&["run", file.to_str().unwrap(), "--log-level", "debug", "--skip-check"]).spawn().unwrap()
    }

    fn kill_after(&self, mut child: Child, run_duration: Duration) {
        let begin = Instant::now();
        while begin.elapsed() < run_duration {
            assert!(
                child.try_wait().unwrap().is_none(),
                "the program ended before it was killed:\n{}",
                self.log_tail()
            );
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(2));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Runs `run FILE --once` and waits until it ends with exit code 0.
    pub fn run_once(&self, file: &Path) {
        let child = self.program(&["run", file.to_str().unwrap(), "--once", "--log-level", "debug"]).spawn().unwrap();
        let status = wait(child, Duration::from_secs(240), || self.log_tail());
        assert!(status.success(), "run --once ended with {status}:\n{}", self.log_tail());
    }

    /// Number of log lines with this event name, over all runs so far.
    pub fn event_count(&self, event: &str) -> usize {
        self.event_lines(event).len()
    }

    /// The log lines with this event name, over all runs so far. A running program may be in the middle of its last line.
    pub fn event_lines(&self, event: &str) -> Vec<String> {
        let fields = [format!("event=\"{event}\""), format!("\"event\":\"{event}\"")];
        let has_event = |line: &&str| fields.iter().any(|field| line.contains(field));
        whole_lines(&self.log()).filter(has_event).map(str::to_owned).collect()
    }

    /// Waits until a line with this event name has `text` in one of its fields, for example the option that its hint names.
    /// Returns that line.
    pub fn until_event(&self, event: &str, text: &str) -> String {
        let begin = Instant::now();
        loop {
            let lines = self.event_lines(event);
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return line.clone();
            }
            assert!(
                begin.elapsed() < DEADLINE,
                "no `{event}` with `{text}` within {DEADLINE:?}:\n{}\nwarnings and errors:\n{}",
                lines.join("\n"),
                self.log_lines_with(&["WARN", "ERROR"])
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// How many batches were unfinished after a kill and were rolled back at the next start.
    pub fn interrupted_batches(&self) -> usize {
        self.event_count("batch_recovered") + self.event_count("batch_reconfigured")
    }

    /// Number of occurrences of a text in the output of all runs so far: of a secret, or of printed output that has no event.
    pub fn text_count(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("log")).unwrap_or_default()).into_owned()
    }

    /// Collected = delivered + filtered + dead-lettered + pending, for every sink that was in the file from the start; and each
    /// collected event has its own sequence number.
    pub fn assert_counters_add_up(&self, sinks: &[&str]) {
        let options = JournalOptions { data_dir: self.path("data"), max_size: ByteSize(1 << 30) };
        let journal = SqliteJournal::open(&options).unwrap();
        let stats = self.runtime.block_on(journal.stats()).unwrap();
        let collected: u64 = stats.sources.iter().map(|source| source.events).sum();
        assert_eq!(collected, stats.head, "collected events and sequence numbers");
        for name in sinks {
            let sink = stats.sinks.iter().find(|sink| sink.name == *name).unwrap();
            let pending = stats.head - sink.position;
            assert_eq!(
                collected,
                sink.delivered + sink.filtered + sink.dead_lettered + pending,
                "the counters of {name}"
            );
        }
    }

    /// The last lines of the log that contain one of the words.
    pub fn log_lines_with(&self, words: &[&str]) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().filter(|line| words.iter().any(|word| line.contains(word))).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Stops new events and faults, and waits until every event is visible and older than the sources' `delay`.
    pub fn wait_until_quiet(&self) {
        let control = self.simulator.control();
        control.stop_growth();
        control.clear_faults();
        until("the simulator is quiet", || control.is_quiet());
        let collectable = control.now() + Duration::from_millis(1_500);
        until("every event is older than the delay", || control.now() > collectable);
    }

    /// Compares every NDJSON file below `directory` with each vendor's records.
    pub fn assert_exact(&self, directory: &Path) {
        self.assert_all_delivered_once(delivered_below(directory));
    }

    /// Compares events, by vendor, with each vendor's records.
    pub fn assert_all_delivered_once(&self, mut delivered: BTreeMap<String, Vec<Delivered>>) {
        for vendor in VendorName::ALL {
            let truth = self.simulator.control().truth(vendor).unwrap();
            let verdict = proof::compare(
                truth.iter().map(|record| record.raw.as_str()),
                &delivered.remove(vendor.as_str()).unwrap_or_default(),
            );
            eprintln!("{}: {}", vendor.as_str(), stats(&verdict));
            assert!(verdict.expected > 0, "the test has no events of {}", vendor.as_str());
            assert!(verdict.is_perfect(), "{}: {}", vendor.as_str(), details(&verdict));
        }
        assert!(delivered.is_empty(), "events of vendors that do not exist: {:?}", delivered.keys());
    }

    /// No file that the program wrote contains a secret: logs, journal, output.
    pub fn assert_no_secret_anywhere(&self) {
        let secrets = self.simulator.credentials().secrets().map(str::to_owned);
        for file in files_below(self.directory.path()) {
            let bytes = fs::read(&file).unwrap();
            for secret in &secrets {
                assert!(memchr::memmem::find(&bytes, secret.as_bytes()).is_none(), "a secret is in {}", file.display());
            }
        }
    }
}

fn stats(verdict: &Verdict) -> String {
    format!(
        "{} expected, {} delivered, {} earlier versions, {} lost, {} duplicates, {} unexpected",
        verdict.expected,
        verdict.delivered,
        verdict.earlier_versions,
        verdict.lost.len(),
        verdict.duplicated.len(),
        verdict.unexpected.len()
    )
}

fn details(verdict: &Verdict) -> String {
    let first = |records: &[String]| records.iter().take(3).cloned().collect::<Vec<_>>().join("\n  ");
    format!(
        "{}\nlost:\n  {}\nduplicates:\n  {}\nunexpected:\n  {}",
        stats(verdict),
        first(&verdict.lost),
        first(&verdict.duplicated),
        first(&verdict.unexpected)
    )
}

/// The longest wait for a condition.
const DEADLINE: Duration = Duration::from_secs(120);

/// Waits for `condition`; fails after [`DEADLINE`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Waits until a process ends; kills it and fails after `deadline`.
pub fn wait(mut child: Child, deadline: Duration, log: impl Fn() -> String) -> std::process::ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > deadline {
            child.kill().unwrap();
            panic!("the program did not end within {deadline:?}:\n{}", log());
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// The events of every `.ndjson`, `.ndjson.gz` and `.ndjson.zst` file below a directory, by vendor.
pub fn delivered_below(directory: &Path) -> BTreeMap<String, Vec<Delivered>> {
    let mut by_vendor: BTreeMap<String, Vec<Delivered>> = BTreeMap::new();
    for file in files_below(directory) {
        for line in read_text(&file).lines() {
            let event =
                Delivered::from_line(line).unwrap_or_else(|reason| panic!("{}: {reason}: {line}", file.display()));
            by_vendor.entry(event.vendor.clone()).or_default().push(event);
        }
    }
    by_vendor
}

/// How many events a running program has written whole so far below a directory, as plain NDJSON.
pub fn events_so_far(directory: &Path) -> usize {
    if !directory.exists() {
        return 0;
    }
    files_below(directory).iter().map(|file| lines_so_far(file)).sum()
}

/// How many lines a running program has written whole so far.
pub fn lines_so_far(file: &Path) -> usize {
    whole_lines(&String::from_utf8_lossy(&fs::read(file).unwrap_or_default())).count()
}

/// The lines that end: what a program is about to write is not one yet.
fn whole_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(|line| line.trim_end_matches('\n'))
}

fn read_text(file: &Path) -> String {
    let bytes = fs::read(file).unwrap();
    let mut text = String::new();
    match file.extension().and_then(|extension| extension.to_str()) {
        Some("gz") => flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_string(&mut text).unwrap(),
        Some("zst") => zstd::Decoder::new(bytes.as_slice()).unwrap().read_to_string(&mut text).unwrap(),
        _ => return String::from_utf8(bytes).unwrap(),
    };
    text
}

/// All files below a directory but the markers of outputs.
pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap_or_else(|reason| panic!("{}: {reason}", directory.display())).flatten()
    {
        let path = entry.path();
        if path.ends_with(".auditflow") {
            continue;
        }
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// A clock that the simulator and the test share with the operating system.
pub fn system_clock() -> SharedClock {
    Arc::new(SystemClock)
}
