//! The harness of one rule for one vendor: a simulator of the vendor, a manual clock, a journal in a temporary directory, and
//! the real collector between them.
//!
//! ```text
//!  simulator (HTTP) <==== HttpTransport <-- collect::run --> SqliteJournal (directory)
//!      |     ^                 ^                  ^                |
//!      |     |    Harness: clock, faults, checks  |                |
//!      +-- truth ------------------ compare ---------- events -----+
//! ```
//!
//! The clock does not advance unless a rule advances it, so results do not depend on the speed of the machine. Only backoff
//! waits are real, a second or two.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auditflow::clock::{Clock, ManualClock, SharedClock};
use auditflow::collect::{self, CollectMode, HttpTransport, Source, SourceContext, SourceEnd, Transport};
use auditflow::journal::{
    CollectJournal, CoverageState, JournalOptions, LastError, LogReader, SourceStats, SqliteJournal,
};
use auditflow::pipeline::{self, Environment, Overrides, ValidatedSource};
use auditflow::simulator::proof::{self, Delivered, Verdict};
use auditflow::simulator::{
    FaultOrder, NewRecord, RunningSimulator, Simulator, SimulatorControl, SimulatorOptions, TruthRecord, Variants,
    VendorName,
};
use auditflow::time::{TimeRange, Timestamp};
use auditflow::units::ByteSize;
use auditflow::vendors::ReadContext;
use tokio_util::sync::CancellationToken;

/// The current time at the start. Two hours after midnight, so that the history crosses the end of a day, where every vendor's
/// windows end.
pub(crate) const NOW: &str = "2026-03-02T02:00:00Z";
/// The length of the history. Collecting starts at [`FLOOR`].
const HISTORY: Duration = Duration::from_secs(160 * 60);
const FLOOR: &str = "2026-03-01T23:00:00Z";
/// The time between the end of the history and [`NOW`].
const QUIET: Duration = Duration::from_secs(600);
/// How far behind the clock a source stays.
const DELAY: Duration = Duration::from_secs(1);
/// Records per page. Small, so that every window has several pages.
pub(crate) const PAGE_SIZE: u64 = 7;
/// The events of the history, unless a rule sets another number.
pub(crate) const EVENTS: u64 = 60;
/// Time in doubt is read again at the latest so long after it was read.
pub(crate) const FIRST_RECHECK: Duration = Duration::from_secs(20 * 60);
/// The longest time that a rule may take.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a rule changes in the defaults.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Events of the history.
    pub(crate) events: u64,
    /// Faults from the start.
    pub(crate) faults: Vec<&'static str>,
    /// Settings of the source. They replace the defaults of the same name; an empty value removes the default.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self { events: EVENTS, faults: Vec::new(), settings: Vec::new() }
    }
}

impl Scenario {
    pub(crate) fn fault(fault: &'static str) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }

    pub(crate) fn setting(name: &'static str, value: &'static str) -> Self {
        Self { settings: vec![(name, value)], ..Self::default() }
    }
}

/// One event in the journal.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) delivered: Delivered,
    pub(crate) occurrence: u32,
    pub(crate) normalize_error: Option<String>,
}

/// A vendor, its simulator, and a journal.
pub(crate) struct Harness {
    pub(crate) vendor: VendorName,
    pub(crate) source: ValidatedSource,
    clock: Arc<ManualClock>,
    simulator: RunningSimulator,
    directory: tempfile::TempDir,
    journal: Option<Arc<SqliteJournal>>,
}

impl Harness {
    pub(crate) async fn new(vendor: VendorName, scenario: Scenario) -> Self {
        let clock = Arc::new(ManualClock::fixed_at(timestamp(NOW)));
        let mut variants = Variants::default();
        variants.lift_rate_limits();
        let options = SimulatorOptions {
            seed: 20_260_302,
            vendors: vec![vendor],
            events_per_vendor: scenario.events,
            span: HISTORY,
            start: Some(timestamp(NOW) - QUIET),
            faults: scenario.faults.iter().map(|fault| fault.parse::<FaultOrder>().expect("a fault")).collect(),
            variants,
            clock: Arc::clone(&clock) as SharedClock,
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(options).await.expect("a free port");
        let directory = tempfile::tempdir().expect("a directory");
        let source = validated_source(&simulator, &scenario, directory.path());
        Self { vendor, source, clock, simulator, directory, journal: None }
    }

    pub(crate) fn control(&self) -> SimulatorControl {
        self.simulator.control()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The time to which a run covers: `delay` before the clock.
    pub(crate) fn covered_to(&self) -> Timestamp {
        self.now() - DELAY
    }

    /// Adds a record with this timestamp. It is visible at once.
    pub(crate) fn insert_at(&self, at: Timestamp) -> String {
        let record = NewRecord { timestamp: Some(at), ..NewRecord::default() };
        self.control().insert(self.vendor, record).expect("the simulator has the vendor")
    }

    pub(crate) fn truth(&self) -> Vec<TruthRecord> {
        self.control().truth(self.vendor).expect("the simulator has the vendor")
    }

    pub(crate) fn requests(&self) -> u64 {
        self.control().requests(self.vendor).expect("the simulator has the vendor").requests
    }

    /// How many responses had this status.
    pub(crate) fn responses(&self, status: u16) -> u64 {
        let stats = self.control().requests(self.vendor).expect("the simulator has the vendor");
        stats.by_status.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn journal(&mut self) -> Arc<SqliteJournal> {
        let journal = self.journal.get_or_insert_with(|| {
            let options = JournalOptions { data_dir: self.directory.path().join("data"), max_size: ByteSize(1 << 30) };
            Arc::new(SqliteJournal::open(&options).expect("a journal"))
        });
        Arc::clone(journal)
    }

    /// Drops everything but the journal file, as a new process starts.
    pub(crate) fn restart(&mut self) {
        self.journal = None;
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        let clock = Arc::clone(&self.clock) as SharedClock;
        Arc::new(HttpTransport::new(self.source.vendor.base_url(), clock).expect("an address"))
    }

    /// The running source, to be awaited or spawned.
    pub(crate) fn work(
        &mut self,
        mode: CollectMode,
        transport: Arc<dyn Transport>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = SourceEnd> + Send + 'static {
        let source = Source {
            name: self.source.name.clone(),
            vendor: Arc::clone(&self.source.vendor),
            settings: self.source.options.over(self.source.vendor.spec()),
        };
        let context = SourceContext {
            journal: self.journal(),
            transport,
            rate_limit_groups: collect::RateLimitGroups::default(),
            max_staged_bytes: 1 << 28,
            clock: Arc::clone(&self.clock) as SharedClock,
            rng_seed: 1,
            mode,
            shutdown,
        };
        async move {
            let run = tokio::time::timeout(DEADLINE, collect::run(source, context));
            run.await.expect("collecting ends in time").expect("the journal is sound")
        }
    }

    pub(crate) fn once(&self) -> CollectMode {
        CollectMode::Once { until: self.covered_to() }
    }

    /// Collects everything up to [`Self::covered_to`].
    pub(crate) async fn run(&mut self) -> SourceEnd {
        let transport = self.transport();
        self.work(self.once(), transport, CancellationToken::new()).await
    }

    /// As [`Self::run`]; fails unless the run finishes.
    pub(crate) async fn collect(&mut self) {
        assert_eq!(self.run().await, SourceEnd::Finished);
    }

    /// Every visible event, in order.
    pub(crate) async fn collected(&mut self) -> Vec<Collected> {
        let journal = self.journal();
        let head = *journal.head().borrow();
        let sources = journal.sources().await.expect("readable").iter().map(|source| source.id).collect();
        let blocks = journal.read(1, head, sources, usize::MAX >> 1).await.expect("readable");
        let mut events = Vec::new();
        for block in blocks {
            for record in block.decode().expect("sound").records() {
                let context = ReadContext {
                    source: &self.source.name,
                    observed_at: block.observed_at,
                    occurrence: record.occurrence,
                };
                let event = self.source.vendor.normalizer().normalize(record.raw, &context);
                events.push(Collected {
                    delivered: Delivered {
                        vendor: event.vendor.to_owned(),
                        id: String::from_utf8(event.id.hex().to_vec()).expect("hex digits"),
                        version: event.version.unwrap_or(0),
                        raw: record.raw.to_owned(),
                    },
                    occurrence: record.occurrence,
                    normalize_error: event.normalize_error,
                });
            }
        }
        events
    }

    /// How many times each raw record was collected.
    pub(crate) async fn counts(&mut self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for event in self.collected().await {
            *counts.entry(event.delivered.raw).or_default() += 1;
        }
        counts
    }

    /// The source's stats; `None` before its first start.
    async fn stats_if_started(&mut self) -> Option<SourceStats> {
        self.journal().stats().await.expect("readable").sources.pop()
    }

    pub(crate) async fn stats(&mut self) -> SourceStats {
        self.stats_if_started().await.expect("the source was started")
    }

    /// Why time is in doubt: the reasons of each window.
    pub(crate) async fn doubts(&mut self) -> Vec<String> {
        let name = self.source.name.clone();
        let rows = self.journal().evidence(&name, TimeRange::ALL).await.expect("readable");
        rows.into_iter().filter(|row| row.state == CoverageState::InDoubt).flat_map(|row| row.reasons).collect()
    }

    /// The last error that the source reports.
    pub(crate) async fn last_error(&mut self) -> Option<LastError> {
        self.stats_if_started().await?.last_error
    }

    /// The journal contains each record of the simulator once, byte for byte, and the stats agree.
    pub(crate) async fn assert_exact(&mut self) -> Verdict {
        let truth = self.truth();
        assert!(!truth.is_empty(), "the rule has nothing to collect");
        self.assert_equals(&truth).await
    }

    pub(crate) async fn assert_equals(&mut self, truth: &[TruthRecord]) -> Verdict {
        let collected = self.collected().await;
        let delivered: Vec<Delivered> = collected.iter().map(|event| event.delivered.clone()).collect();
        let verdict = proof::compare(truth.iter().map(|record| record.raw.as_str()), &delivered);
        assert!(verdict.is_perfect(), "{verdict:#?}");
        assert!(delivered.iter().all(|event| event.vendor == self.vendor.as_str()));
        assert_occurrences_are_correct(truth, &collected);
        assert_eq!(self.stats().await.events, delivered.len() as u64, "the number of collected events in the stats");
        self.assert_no_secret();
        verdict
    }

    /// No file of the journal contains a secret.
    pub(crate) fn assert_no_secret(&self) {
        for entry in fs::read_dir(self.directory.path().join("data")).expect("the journal's directory").flatten() {
            let bytes = fs::read(entry.path()).expect("readable");
            for secret in self.simulator.credentials().secrets() {
                let found = memchr::memmem::find(&bytes, secret.as_bytes());
                assert!(found.is_none(), "a secret is in {}", entry.path().display());
            }
        }
    }
}

/// The source of the simulator's pipeline file, with the rule's settings.
fn validated_source(simulator: &RunningSimulator, scenario: &Scenario, directory: &Path) -> ValidatedSource {
    let mut settings = vec![
        ("backfill_start_time", FLOOR),
        ("poll_interval", "50ms"),
        ("overlap", "10m"),
        ("delay", "1s"),
        ("page_size", "7"),
        ("rate_limit", "1000/s"),
        ("backfill_slice", "1h"),
        ("recheck_lookback", "0s"),
    ];
    for setting in &scenario.settings {
        settings.retain(|(name, _)| *name != setting.0);
        settings.extend((!setting.1.is_empty()).then_some(*setting));
    }
    let lines: Vec<String> = settings.iter().map(|(name, value)| format!("    {name}: {value}\n")).collect();
    let default = "    backfill_start_time: earliest\n";
    let text = simulator.pipeline_file();
    assert!(text.contains(default), "the simulator's pipeline file has changed:\n{text}");
    let text = text.replace(default, &lines.concat());
    let checked = pipeline::validate("pipeline.yaml", &text, directory, &Environment::default(), &Overrides::default());
    let mut validated = checked.unwrap_or_else(|diagnostics| panic!("{diagnostics:#?}\n{text}"));
    validated.sources.remove(0)
}

/// Occurrence numbers above 0 are only for identical records.
fn assert_occurrences_are_correct(truth: &[TruthRecord], collected: &[Collected]) {
    let mut copies: HashMap<&str, u32> = HashMap::new();
    for record in truth {
        *copies.entry(&record.raw).or_default() += 1;
    }
    for event in collected.iter().filter(|event| event.occurrence > 0) {
        let raw = event.delivered.raw.as_str();
        assert!(copies.get(raw).is_some_and(|copies| event.occurrence < *copies), "not an identical record: {raw}");
    }
}

pub(crate) fn timestamp(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

/// Waits for a condition that another task fulfills.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}
