//! The consumers in `examples/` with a real broker: they print each event once, also if the topic contains duplicates.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use auditflow::simulator::SimulatorOptions;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::broker::Broker;
use super::common::{self, TestPipeline};
use super::harness::new_topic_name;
use super::reader::client;

/// Why the Python consumer's test fails without its package.
const PYTHON: &str = "needs python3 with confluent-kafka (pip install confluent-kafka); AUDITFLOW_TEST_PYTHON selects another interpreter";

/// Returns the command that starts an example, without its arguments.
type Start = fn() -> Command;

fn rust() -> Command {
    Command::new(built_example())
}

fn python() -> Command {
    let mut command = Command::new(interpreter());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kafka_consumer.py"));
    command
}

fn interpreter() -> String {
    std::env::var("AUDITFLOW_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// The Rust consumer, built with the features of this test.
fn built_example() -> PathBuf {
    let deps = std::env::current_exe().unwrap();
    let profile_directory = deps.parent().and_then(Path::parent).unwrap();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--example", "kafka_consumer", "--target-dir"]);
    build.arg(profile_directory.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
    if cfg!(feature = "servers") {
        build.args(["--features", "servers"]);
    }
    if profile_directory.ends_with("release") {
        build.arg("--release");
    }
    assert!(build.status().unwrap().success(), "the example is not built");
    profile_directory.join("examples/kafka_consumer")
}

/// A topic with one partition, so that records are read in the order in which they were written.
fn single_partition_topic(broker: &str) -> String {
    use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
    let name = new_topic_name();
    let admin: AdminClient<rdkafka::client::DefaultClientContext> = client(broker).create().unwrap();
    let topic = NewTopic::new(&name, 1, TopicReplication::Fixed(1));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
    name
}

/// Delivers every event to the topic and to files, by a new pipeline with its own name and data directory.
fn deliver(pipeline: &TestPipeline, broker: &str, topic: &str, delivery: &str) -> PathBuf {
    let name = format!("p{:x}", fastrand::u64(..));
    let files = pipeline.path(&format!("{name}-files"));
    let written = pipeline.write_pipeline(&format!(
        "sinks:
  stream: {{type: kafka, inputs: [events], bootstrap_servers: \"{broker}\", topic: {topic}, delivery: {delivery}}}
  files: {{type: file, inputs: [events], path: \"{}/{{{{ vendor }}}}.ndjson\"}}
",
        files.display()
    ));
    let text = std::fs::read_to_string(&written).unwrap();
    let (data_dir, rest) = (format!("data_dir: {}", pipeline.path(&name).display()), text.split_once('\n').unwrap().1);
    let file = pipeline.path(&format!("{name}.yaml"));
    std::fs::write(&file, format!("{data_dir}\n{rest}")).unwrap();
    pipeline.run_once(&file);
    files
}

/// A record as a later auditflow might write it.
fn write_record_of_version_2(broker: &str, topic: &str) {
    let producer: BaseProducer = client(broker).create().unwrap();
    let headers = OwnedHeaders::new().insert(Header { key: "schema_version", value: Some("2.0") });
    producer.send(BaseRecord::to(topic).key("k").payload("{}").headers(headers)).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn start(example: Start, broker: &str, topic: &str, group: &str) -> Child {
    let arguments = ["--bootstrap-servers", broker, "--topic", topic, "--group", group];
    example().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The id and version that begin each printed line.
fn ids<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<(String, u64)> {
    let columns = lines.into_iter().map(|line| line.split('\t').collect::<Vec<_>>());
    columns.map(|columns| (columns[0].to_owned(), columns[1].parse().unwrap())).collect()
}

fn expected(files: &Path) -> BTreeSet<(String, u64)> {
    let events = common::delivered_below(files).into_values().flatten();
    events.map(|event| (event.id, event.version)).collect()
}

fn assert_each_once(printed: &[(String, u64)], expected: &BTreeSet<(String, u64)>) {
    assert_eq!(printed.len(), expected.len());
    assert_eq!(&printed.iter().cloned().collect::<BTreeSet<_>>(), expected);
}

/// The group's committed offset in the topic's only partition.
fn committed_offset(broker: &str, topic: &str, group: &str) -> Option<i64> {
    let consumer: BaseConsumer = client(broker).set("group.id", group).create().unwrap();
    let mut partition = TopicPartitionList::new();
    partition.add_partition(topic, 0);
    let offsets = consumer.committed_offsets(partition, Duration::from_secs(30)).unwrap();
    offsets.elements()[0].offset().to_raw()
}

fn terminate(child: &Child) {
    let id = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
}

fn test_pipeline() -> TestPipeline {
    TestPipeline::new(SimulatorOptions {
        seed: common::seed(),
        events_per_vendor: 200,
        span: Duration::from_secs(2 * 86_400),
        faults: ["identical_records", "ties", "malformed_records"].map(|fault| fault.parse().unwrap()).to_vec(),
        clock: common::system_clock(),
        ..SimulatorOptions::default()
    })
}

/// The consumer reads every event and is stopped. A second one reads duplicates and a record of an unknown version.
fn reads_each_event_once(example: Start) {
    let shared = Broker::shared();
    let broker = shared.address();
    let broker = broker.as_str();
    let pipeline = test_pipeline();
    pipeline.wait_until_quiet();
    let topic = single_partition_topic(broker);
    let files = deliver(&pipeline, broker, &topic, "at_least_once");
    pipeline.assert_exact(&files);
    let expected = expected(&files);

    let group = format!("readers-{topic}");
    let mut reader = start(example, broker, &topic, &group);
    let stdout = BufReader::new(reader.stdout.take().unwrap());
    let lines: Vec<String> = stdout.lines().take(expected.len()).map(Result::unwrap).collect();
    assert_each_once(&ids(lines.iter().map(String::as_str)), &expected);
    terminate(&reader);
    let status = common::wait(reader, Duration::from_secs(60), String::new);
    assert!(status.success(), "the consumer ended with {status} after SIGTERM");
    assert_eq!(committed_offset(broker, &topic, &group), Some(i64::try_from(expected.len()).unwrap()));

    // Another auditflow delivers the same events again, and then one record of an unknown schema version follows.
    deliver(&pipeline, broker, &topic, "exactly_once");
    write_record_of_version_2(broker, &topic);
    let mut reader = start(example, broker, &topic, &format!("new-{group}"));
    let (mut printed, mut errors) = (String::new(), String::new());
    reader.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
    reader.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(reader.wait().unwrap().code(), Some(1), "{errors}");
    assert_each_once(&ids(printed.lines()), &expected);
    assert!(
        errors.contains("schema version 2.0") && errors.contains(&format!("topic {topic}, partition 0")),
        "{errors}"
    );
}

#[test]
#[ignore = "needs a container engine: cargo test --features servers -- --ignored"]
fn the_rust_example_prints_each_event_once() {
    reads_each_event_once(rust);
}

#[test]
#[ignore = "needs a container engine, and python3 with confluent-kafka: cargo test --features servers -- --ignored"]
fn the_python_example_prints_each_event_once() {
    let has_client = Command::new(interpreter()).args(["-c", "import confluent_kafka"]).output();
    assert!(has_client.is_ok_and(|output| output.status.success()), "{PYTHON}");
    reads_each_event_once(python);
}

#[test]
#[ignore = "needs python3"]
fn the_python_example_has_valid_syntax() {
    let text = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
    let mut check = Command::new(interpreter());
    check.args(["-c", text]).arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/kafka_consumer.py"));
    let output = check.output().expect("python3");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
