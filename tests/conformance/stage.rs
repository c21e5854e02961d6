//! The stage of one rule for one vendor: a simulator that plays the vendor, a clock set by hand, a journal in a folder of
//! its own, and the real collector between them.
//!
//! ```text
//!  simulator (HTTP) <==== HttpTransport <-- collect::run --> SqliteJournal (folder)
//!      |     ^                 ^                  ^                |
//!      |     |    Stage: clock, faults, watch     |                |
//!      +-- truth ------------------ compare ---------- events -----+
//! ```
//!
//! The time of day stands still unless a rule moves it, so that what is settled, late or inside the overlap never depends
//! on how fast the machine is. Only back-off waits are real, and they are a second or two.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use auditflow::clock::{Clock, ManualClock, SharedClock};
use auditflow::collect::{self, CollectMode, HttpTransport, Source, SourceContext, SourceEnd, Transport};
use auditflow::journal::{JournalOptions, LastError, LogReader, SourceStats, SqliteJournal};
use auditflow::pipeline::{self, Environment, Overrides, ValidatedSource};
use auditflow::simulator::proof::{self, Delivered, Verdict};
use auditflow::simulator::{
    FaultOrder, NewRecord, RunningSimulator, Simulator, SimulatorControl, SimulatorOptions, TruthRecord, Variants,
    VendorName,
};
use auditflow::time::Timestamp;
use auditflow::units::ByteSize;
use auditflow::vendors::ReadContext;
use tokio_util::sync::CancellationToken;

/// The present moment at the beginning. Two hours after midnight, so that the history crosses a day's end, which is a
/// window's end for every vendor.
pub(crate) const NOW: &str = "2026-03-02T02:00:00Z";
/// Where the history begins, and where collecting begins.
const HISTORY: Duration = Duration::from_secs(160 * 60);
const FLOOR: &str = "2026-03-01T23:00:00Z";
/// The history ends so long before the present.
const CALM: Duration = Duration::from_secs(600);
/// How far behind the present a source stays.
const SETTLE: Duration = Duration::from_secs(1);
/// A page has so many records, so that every window has several pages.
pub(crate) const PAGE_SIZE: u64 = 7;
/// The events of the history, if a rule does not want another number.
pub(crate) const EVENTS: u64 = 60;
/// No rule may take longer.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a rule wants to be otherwise than usual.
#[derive(Clone, Debug)]
pub(crate) struct Wishes {
    /// Events of the history.
    pub(crate) events: u64,
    /// Faults from the start.
    pub(crate) faults: Vec<&'static str>,
    /// Settings of the source beside the usual ones; the same name replaces the usual one, an empty value takes it out.
    pub(crate) settings: Vec<(&'static str, &'static str)>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { events: EVENTS, faults: Vec::new(), settings: Vec::new() }
    }
}

impl Wishes {
    pub(crate) fn fault(fault: &'static str) -> Self {
        Self { faults: vec![fault], ..Self::default() }
    }

    pub(crate) fn setting(name: &'static str, value: &'static str) -> Self {
        Self { settings: vec![(name, value)], ..Self::default() }
    }
}

/// One event as the journal holds it.
#[derive(Clone, Debug)]
pub(crate) struct Collected {
    pub(crate) delivered: Delivered,
    pub(crate) occurrence: u32,
    pub(crate) normalize_error: Option<String>,
}

/// A vendor, its simulator, and a journal.
pub(crate) struct Stage {
    pub(crate) vendor: VendorName,
    pub(crate) plan: ValidatedSource,
    clock: Arc<ManualClock>,
    simulator: RunningSimulator,
    folder: tempfile::TempDir,
    journal: Option<Arc<SqliteJournal>>,
}

impl Stage {
    pub(crate) async fn new(vendor: VendorName, wishes: Wishes) -> Self {
        let clock = Arc::new(ManualClock::fixed_at(moment(NOW)));
        let mut variants = Variants::default();
        variants.lift_rate_limits();
        let options = SimulatorOptions {
            seed: 20_260_302,
            vendors: vec![vendor],
            events_per_vendor: wishes.events,
            span: HISTORY,
            start: Some(moment(NOW) - CALM),
            faults: wishes.faults.iter().map(|fault| fault.parse::<FaultOrder>().expect("a fault")).collect(),
            variants,
            clock: Arc::clone(&clock) as SharedClock,
            ..SimulatorOptions::default()
        };
        let simulator = Simulator::start(options).await.expect("a free port");
        let folder = tempfile::tempdir().expect("a folder");
        let plan = plan_of(&simulator, &wishes, folder.path());
        Self { vendor, plan, clock, simulator, folder, journal: None }
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

    /// The moment up to which a run covers: what is later has not settled.
    pub(crate) fn settled(&self) -> Timestamp {
        self.now() - SETTLE
    }

    /// A record of the given moment, visible at once.
    pub(crate) fn insert_at(&self, at: Timestamp) -> String {
        let record = NewRecord { timestamp: Some(at), ..NewRecord::default() };
        self.control().insert(self.vendor, record).expect("the vendor is played")
    }

    pub(crate) fn truth(&self) -> Vec<TruthRecord> {
        self.control().truth(self.vendor).expect("the vendor is played")
    }

    pub(crate) fn requests(&self) -> u64 {
        self.control().requests(self.vendor).expect("the vendor is played").requests
    }

    /// How many answers had this status.
    pub(crate) fn answers(&self, status: u16) -> u64 {
        let stats = self.control().requests(self.vendor).expect("the vendor is played");
        stats.by_status.get(&status).copied().unwrap_or(0)
    }

    pub(crate) fn journal(&mut self) -> Arc<SqliteJournal> {
        let journal = self.journal.get_or_insert_with(|| {
            let options = JournalOptions { data_dir: self.folder.path().join("data"), max_size: ByteSize(1 << 30) };
            Arc::new(SqliteJournal::open(&options).expect("a journal"))
        });
        Arc::clone(journal)
    }

    /// As a new process would find it: nothing is left but the file.
    pub(crate) fn restart(&mut self) {
        self.journal = None;
    }

    pub(crate) fn transport(&self) -> Arc<dyn Transport> {
        let clock = Arc::clone(&self.clock) as SharedClock;
        Arc::new(HttpTransport::new(self.plan.vendor.base_url(), clock).expect("an address"))
    }

    /// The source at work, to be awaited or spawned.
    pub(crate) fn work(
        &mut self,
        mode: CollectMode,
        transport: Arc<dyn Transport>,
        shutdown: CancellationToken,
    ) -> impl Future<Output = SourceEnd> + Send + 'static {
        let source = Source {
            name: self.plan.name.clone(),
            vendor: Arc::clone(&self.plan.vendor),
            settings: self.plan.options.over(self.plan.vendor.spec()),
        };
        let parts = SourceContext {
            journal: self.journal(),
            transport,
            clock: Arc::clone(&self.clock) as SharedClock,
            rng_seed: 1,
            mode,
            shutdown,
        };
        async move {
            let run = tokio::time::timeout(DEADLINE, collect::run(source, parts));
            run.await.expect("collecting ends in time").expect("the journal is sound")
        }
    }

    pub(crate) fn once(&self) -> CollectMode {
        CollectMode::Once { until: self.settled() }
    }

    /// Collects everything up to the settled moment.
    pub(crate) async fn run(&mut self) -> SourceEnd {
        let transport = self.transport();
        self.work(self.once(), transport, CancellationToken::new()).await
    }

    /// As [`Self::run`], which must come to its end.
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
                    source: &self.plan.name,
                    observed_at: block.observed_at,
                    occurrence: record.occurrence,
                };
                let event = self.plan.vendor.normalizer().normalize(record.raw, &context);
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

    /// How often each raw text was collected.
    pub(crate) async fn counts(&mut self) -> HashMap<String, usize> {
        let mut counts = HashMap::new();
        for event in self.collected().await {
            *counts.entry(event.delivered.raw).or_default() += 1;
        }
        counts
    }

    /// The source's figures; `None` before it was started.
    async fn figures(&mut self) -> Option<SourceStats> {
        self.journal().stats().await.expect("readable").sources.pop()
    }

    pub(crate) async fn stats(&mut self) -> SourceStats {
        self.figures().await.expect("the source was started")
    }

    /// The trouble that the source shows.
    pub(crate) async fn last_error(&mut self) -> Option<LastError> {
        self.figures().await?.last_error
    }

    /// The journal holds what is true: nothing lost, nothing twice, byte for byte, and the figures say so.
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
        assert_no_false_twin(truth, &collected);
        assert_eq!(self.stats().await.events, delivered.len() as u64, "the figure of collected events");
        self.assert_keeps_secrets();
        verdict
    }

    /// No secret stands in what was written.
    pub(crate) fn assert_keeps_secrets(&self) {
        for entry in fs::read_dir(self.folder.path().join("data")).expect("the journal's folder").flatten() {
            let bytes = fs::read(entry.path()).expect("readable");
            for secret in self.simulator.credentials().secrets() {
                let found = memchr::memmem::find(&bytes, secret.as_bytes());
                assert!(found.is_none(), "a secret stands in {}", entry.path().display());
            }
        }
    }
}

/// The source as a pipeline file would give it: the simulator's own file with the rule's settings.
fn plan_of(simulator: &RunningSimulator, wishes: &Wishes, folder: &Path) -> ValidatedSource {
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
    for wish in &wishes.settings {
        settings.retain(|(name, _)| *name != wish.0);
        settings.extend((!wish.1.is_empty()).then_some(*wish));
    }
    let lines: Vec<String> = settings.iter().map(|(name, value)| format!("    {name}: {value}\n")).collect();
    let usual = "    backfill_start_time: earliest\n";
    let text = simulator.pipeline_file();
    assert!(text.contains(usual), "the simulator's file has another form now:\n{text}");
    let text = text.replace(usual, &lines.concat());
    let checked = pipeline::validate("pipeline.yaml", &text, folder, &Environment::default(), &Overrides::default());
    let mut plan = checked.unwrap_or_else(|problems| panic!("{problems:#?}\n{text}"));
    plan.sources.remove(0)
}

/// Only what is there twice may count as a twin.
fn assert_no_false_twin(truth: &[TruthRecord], collected: &[Collected]) {
    let mut copies: HashMap<&str, u32> = HashMap::new();
    for record in truth {
        *copies.entry(&record.raw).or_default() += 1;
    }
    for event in collected.iter().filter(|event| event.occurrence > 0) {
        let raw = event.delivered.raw.as_str();
        assert!(copies.get(raw).is_some_and(|copies| event.occurrence < *copies), "no twin: {raw}");
    }
}

pub(crate) fn moment(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

/// Waits for a condition that another task brings about.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}
