//! The simulator, a broker, a topic and a pipeline file between them; and the program, running or killed.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use auditflow::simulator::proof::{self, Verdict};
use auditflow::simulator::{SimulatorOptions, Variants, VendorName};

use crate::broker::Broker;
use crate::common::{self, World};
use crate::reader::{self, Received, by_vendor};

const FAULTS: &[&str] =
    &["late_events=0.1", "ties", "identical_records", "server_error=0.03", "cut_body=0.03", "rate_limit=0.03"];

/// What a test plays on.
pub struct Stage {
    pub world: World,
    pub broker: Arc<Broker>,
    /// A topic of its own with three partitions, if the test has made it.
    pub topic: String,
    /// The pipeline file.
    pub file: PathBuf,
    /// Under which name the broker knows the sink.
    pub group: String,
    pub seed: u64,
}

/// How long a line of the log is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

impl Stage {
    /// Vendors that behave, with `events` each and no more to come.
    pub fn calm(broker: Arc<Broker>, events: u64) -> Self {
        Self::new(broker, events, 0.0, &[])
    }

    /// Vendors that misbehave, and that have new events all the time.
    pub fn lively(broker: Arc<Broker>, events: u64) -> Self {
        Self::new(broker, events, 10.0, FAULTS)
    }

    fn new(broker: Arc<Broker>, events: u64, rate: f64, faults: &[&str]) -> Self {
        let seed = common::seed();
        let mut variants = Variants::default();
        variants.lift_rate_limits();
        let world = World::new(SimulatorOptions {
            variants,
            seed,
            events_per_vendor: events,
            span: Duration::from_secs(2 * 86_400),
            rate,
            faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
            clock: common::system_clock(),
            ..SimulatorOptions::default()
        });
        let pipeline = format!("p{:x}", fastrand::u64(..));
        let file = world.path(&format!("{pipeline}.yaml"));
        Self { world, broker, topic: new_topic_name(), file, group: format!("auditflow.{pipeline}.stream"), seed }
    }

    pub fn create_topic(&self) {
        reader::create_topic(&self.broker.address(), &self.topic, &[]);
    }

    /// Writes the pipeline file: a sink that comes to the broker without further ado.
    pub fn configure(&self, more: &str) {
        self.configure_at(&self.broker.address(), more);
    }

    /// Writes the pipeline file, with the address of the broker.
    pub fn configure_at(&self, address: &str, more: &str) {
        let topic = &self.topic;
        let topic = if more.contains("topic: ") { String::new() } else { format!("topic: {topic}, ") };
        let written = self.world.write_pipeline(&format!(
            "sinks:\n  stream: {{type: kafka, inputs: [events], bootstrap_servers: \"{address}\", {topic}{more}}}\n"
        ));
        fs::rename(written, &self.file).unwrap();
    }

    pub fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// Starts the program. It is killed when the value is dropped.
    pub fn start(&self) -> Running {
        self.start_with(&[])
    }

    pub fn start_with(&self, more: &[&str]) -> Running {
        let mut arguments = vec!["run", self.file(), "--skip-check", "--log-level", "debug"];
        arguments.extend(more);
        Running(self.world.program(&arguments).spawn().unwrap())
    }

    /// What `auditflow check` says, and whether it was content.
    pub fn check(&self) -> (bool, String) {
        let output = self.world.program(&["check", self.file()]).stdout(Stdio::piped()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    pub fn run_once(&self) {
        self.world.run_once(&self.file);
    }

    pub fn committed(&self) -> Vec<Received> {
        reader::committed(&self.broker.address(), &[&self.topic])
    }

    pub fn until_logged(&self, what: &str, text: &str) {
        let begin = tokio::time::Instant::now();
        while self.world.log_count(text) == 0 {
            let warnings = || self.world.log_lines_with(&["WARN", "ERROR"]);
            assert!(begin.elapsed() < PATIENCE, "waited in vain until {what}: no `{text}` in the log:\n{}", warnings());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub fn until_first_records(&self) {
        common::until("the first records are there", || !self.committed().is_empty());
    }

    /// The running program brings everything that has happened to the topic.
    pub fn until_all_is_there(&self) {
        self.world.wait_until_quiet();
        common::until("every event is in the topic", || {
            let records = self.committed();
            let keys: HashSet<_> = records.iter().map(|record| record.key.as_str()).collect();
            keys.len() >= self.truth()
        });
    }

    /// How many records the vendors have.
    pub fn truth(&self) -> usize {
        VendorName::ALL.iter().map(|vendor| self.world.simulator.control().truth(*vendor).unwrap().len()).sum()
    }

    /// Everything is in the records, once.
    pub fn assert_exactly_once(&self, records: &[Received]) {
        self.world.assert_all_delivered_once(by_vendor(records));
    }

    /// Everything is in the records, and nothing that no vendor has. Returns how many of them are repeats.
    pub fn assert_nothing_lost(&self, records: &[Received]) -> usize {
        let delivered = by_vendor(records);
        let mut repeats = 0;
        for vendor in VendorName::ALL {
            let truth = self.world.simulator.control().truth(vendor).unwrap();
            let of_vendor = delivered.get(vendor.as_str()).map_or(&[][..], Vec::as_slice);
            let verdict: Verdict = proof::compare(truth.iter().map(|record| record.raw.as_str()), of_vendor);
            assert!(verdict.expected > 0 && verdict.lost.is_empty() && verdict.unexpected.is_empty(), "{verdict:?}");
            repeats += verdict.duplicated.len();
        }
        eprintln!("{} records, {repeats} of them repeats", records.len());
        repeats
    }

    /// Deletes the consumer group, as the broker does after a rest longer than `offsets.retention.minutes`.
    pub fn forget_group(&self) {
        let group = self.group.as_str();
        let address = self.broker.address();
        let gone = reader::administer(&address, async |admin, options| admin.delete_groups(&[group], &options).await);
        gone.unwrap().into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Sets the sink back to the beginning in the journal, as if every note after the commit had been lost.
    pub fn forget_delivery(&self) {
        let journal = rusqlite::Connection::open(self.world.path("data").join("journal.db")).unwrap();
        let changed = journal.execute("UPDATE sinks SET position = 0", []).unwrap();
        assert_eq!(changed, 1);
    }
}

pub fn new_topic_name() -> String {
    format!("audit-{:x}", fastrand::u64(..))
}

/// The program while it runs; killed when dropped.
pub struct Running(Child);

impl Running {
    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.end();
        }
    }
}
