//! The harness of one test: the simulator, a broker, a topic, a pipeline file that connects them, and the program.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use auditflow::simulator::proof::{self, Verdict};
use auditflow::simulator::{SimulatorOptions, Variants, VendorName};

use crate::broker::Broker;
use crate::common::{self, TestPipeline};
use crate::reader::{self, Received, by_vendor};

const FAULTS: &[&str] =
    &["late_events=0.1", "ties", "identical_records", "server_error=0.03", "cut_body=0.03", "rate_limit=0.03"];

/// The simulator, the broker and the pipeline file of one test.
pub struct Harness {
    pub pipeline: TestPipeline,
    pub broker: Arc<Broker>,
    /// The test's own topic. It has three partitions once the test creates it.
    pub topic: String,
    /// The pipeline file.
    pub file: PathBuf,
    /// The sink's name on the broker: consumer group, transactional id and position topic.
    pub group: String,
    pub seed: u64,
}

impl Harness {
    /// Vendors without faults, with `events` each and no new ones.
    pub fn without_faults(broker: Arc<Broker>, events: u64) -> Self {
        Self::new(broker, events, 0.0, &[])
    }

    /// Vendors with faults, with `events` each and a stream of new ones.
    pub fn with_faults(broker: Arc<Broker>, events: u64) -> Self {
        Self::new(broker, events, 10.0, FAULTS)
    }

    fn new(broker: Arc<Broker>, events: u64, rate: f64, faults: &[&str]) -> Self {
        let seed = common::seed();
        let mut variants = Variants::default();
        variants.lift_rate_limits();
        let pipeline = TestPipeline::new(SimulatorOptions {
            variants,
            seed,
            events_per_vendor: events,
            span: Duration::from_secs(2 * 86_400),
            rate,
            faults: faults.iter().map(|fault| fault.parse().unwrap()).collect(),
            clock: common::system_clock(),
            ..SimulatorOptions::default()
        });
        let name = format!("p{:x}", fastrand::u64(..));
        let file = pipeline.path(&format!("{name}.yaml"));
        Self { pipeline, broker, topic: new_topic_name(), file, group: format!("auditflow.{name}.stream"), seed }
    }

    pub fn create_topic(&self) {
        reader::create_topic(&self.broker.address(), &self.topic, &[]);
    }

    /// Writes the pipeline file. Its sink uses the listener without TLS and authentication.
    pub fn configure(&self, more: &str) {
        self.configure_at(&self.broker.address(), more);
    }

    /// Writes the pipeline file with this broker address.
    pub fn configure_at(&self, address: &str, more: &str) {
        let topic = &self.topic;
        let topic = if more.contains("topic: ") { String::new() } else { format!("topic: {topic}, ") };
        let written = self.pipeline.write_pipeline(&format!(
            "sinks:\n  stream: {{type: kafka, inputs: [events], bootstrap_servers: \"{address}\", {topic}{more}}}\n"
        ));
        fs::rename(written, &self.file).unwrap();
    }

    pub fn file(&self) -> &str {
        self.file.to_str().unwrap()
    }

    /// Starts the program. It is killed when the returned value is dropped.
    pub fn start(&self) -> Running {
        self.start_with(&[])
    }

    pub fn start_with(&self, more: &[&str]) -> Running {
        let mut arguments = vec!["run", self.file(), "--skip-check", "--log-level", "debug"];
        arguments.extend(more);
        Running(self.pipeline.program(&arguments).spawn().unwrap())
    }

    /// Whether `auditflow check` passes, and its output.
    pub fn check(&self) -> (bool, String) {
        let output = self.pipeline.program(&["check", self.file()]).stdout(Stdio::piped()).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    }

    pub fn run_once(&self) {
        self.pipeline.run_once(&self.file);
    }

    pub fn committed(&self) -> Vec<Received> {
        reader::committed(&self.broker.address(), &[&self.topic])
    }

    pub fn until_first_records(&self) {
        common::until("the first records are delivered", || !self.committed().is_empty());
    }

    /// Stops new events, and waits until the running program has delivered every event to the topic.
    pub fn until_all_is_delivered(&self) {
        self.pipeline.wait_until_quiet();
        common::until("every event is in the topic", || {
            let records = self.committed();
            let keys: HashSet<_> = records.iter().map(|record| record.key.as_str()).collect();
            keys.len() >= self.truth()
        });
    }

    /// How many records the vendors have.
    pub fn truth(&self) -> usize {
        VendorName::ALL.iter().map(|vendor| self.pipeline.simulator.control().truth(*vendor).unwrap().len()).sum()
    }

    /// The records contain every event once.
    pub fn assert_exactly_once(&self, records: &[Received]) {
        self.pipeline.assert_all_delivered_once(by_vendor(records));
    }

    /// The records contain every event at least once, and nothing else. Returns the number of duplicates.
    pub fn assert_nothing_lost(&self, records: &[Received]) -> usize {
        let delivered = by_vendor(records);
        let mut duplicates = 0;
        for vendor in VendorName::ALL {
            let truth = self.pipeline.simulator.control().truth(vendor).unwrap();
            let of_vendor = delivered.get(vendor.as_str()).map_or(&[][..], Vec::as_slice);
            let verdict: Verdict = proof::compare(truth.iter().map(|record| record.raw.as_str()), of_vendor);
            assert!(verdict.expected > 0 && verdict.lost.is_empty() && verdict.unexpected.is_empty(), "{verdict:?}");
            duplicates += verdict.duplicated.len();
        }
        eprintln!("{} records, {duplicates} of them duplicates", records.len());
        duplicates
    }

    /// Deletes the consumer group, as the broker does after `offsets.retention.minutes` without commits.
    pub fn delete_group(&self) {
        let group = self.group.as_str();
        let address = self.broker.address();
        let deleted =
            reader::administer(&address, async |admin, options| admin.delete_groups(&[group], &options).await);
        deleted.unwrap().into_iter().for_each(|result| drop(result.unwrap()));
    }

    /// Resets the sink's position in the journal, as if the journal had lost every commit.
    pub fn reset_journal_position(&self) {
        let journal = rusqlite::Connection::open(self.pipeline.path("data").join("journal.db")).unwrap();
        let changed = journal.execute("UPDATE sinks SET position = 0", []).unwrap();
        assert_eq!(changed, 1);
    }
}

pub fn new_topic_name() -> String {
    format!("audit-{:x}", fastrand::u64(..))
}

/// The running program. It is killed when dropped.
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
