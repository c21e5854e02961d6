//! The sink with librdkafka's mock cluster, in this process. What only a real broker does (isolation, expiry, authorization)
//! is tested in `tests/kafka.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::*;
use crate::clock::SystemClock;
use crate::event::EventId;
use crate::journal::Seq;
use crate::sinks::conformance::{self, Fixture};
use crate::sinks::testing::{MemoryLog, event};
use crate::sinks::{BatchRange, Committed, EventForm, Sink, SinkError, StoredPosition, WriteOutcome};

type Cluster = MockCluster<'static, DefaultProducerContext>;

const JOURNAL: &str = "0123456789abcdef";
const POSITIONS: &str = "auditflow.acme.stream";

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).expect("a cluster");
    cluster.create_topic("audit", 2, 1).expect("a topic");
    cluster.create_topic(POSITIONS, 1, 1).expect("a topic");
    cluster
}

fn config(cluster: &Cluster, more: Value) -> KafkaConfig {
    let mut settings = json!({"bootstrap_servers": cluster.bootstrap_servers(), "topic": "audit"});
    let (Value::Object(all), Value::Object(more)) = (&mut settings, more) else { panic!("settings are a map") };
    all.extend(more);
    serde_json::from_value(settings).expect("settings")
}

fn sink(cluster: &Cluster, more: Value) -> KafkaSink {
    config(cluster, more).build(Arc::new(SystemClock), "acme", "stream").expect("a sink")
}

fn exactly_once() -> Value {
    json!({"delivery": "exactly_once"})
}

fn stored(journal: &str, generation: u64) -> StoredPosition<'_> {
    StoredPosition { journal, generation, state: None, position: 0, up_to: 0 }
}

async fn open(sink: &mut KafkaSink) -> Option<Seq> {
    sink.recover_position(stored(JOURNAL, 0)).await.expect("opened")
}

/// Writes events `first..=last` into the buffers; returns the last event's id and the number of rejected events.
fn write_events(sink: &mut KafkaSink, first: Seq, last: Seq) -> (Option<EventId>, usize) {
    sink.begin(BatchRange { first, last });
    let (mut last_event, mut rejected) = (None, 0);
    for number in first..=last {
        let raw = format!(r#"{{"number":{number}}}"#);
        let event = event(&raw, "2026-01-02T03:04:05.678Z");
        last_event = Some(event.id);
        let outcome = sink.write(number, &event, EventForm::Normalized).expect("encoded");
        rejected += usize::from(matches!(outcome, WriteOutcome::Rejected { .. }));
    }
    (last_event, rejected)
}

async fn write(sink: &mut KafkaSink, first: Seq, last: Seq) -> Result<Committed, SinkError> {
    let (last_event, _) = write_events(sink, first, last);
    sink.commit(last_event, &mut MemoryLog::default()).await
}

/// As the deliver loop does: rolls back, then writes the same batch again.
async fn write_again(
    sink: &mut KafkaSink,
    log: &mut MemoryLog,
    first: Seq,
    last: Seq,
) -> Result<(Committed, usize), SinkError> {
    sink.rollback(&log.records()).await.expect("rolled back");
    let (last_event, rejected) = write_events(sink, first, last);
    sink.commit(last_event, log).await.map(|committed| (committed, rejected))
}

struct Received {
    key: Option<String>,
    value: Value,
    time_ms: Option<i64>,
    headers: Vec<(String, String)>,
}

/// Everything in a topic of the cluster.
fn received(cluster: &Cluster, topic: &str, partitions: i32) -> Vec<Received> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", cluster.bootstrap_servers())
        .set("group.id", "reader")
        .set("enable.partition.eof", "true")
        .create()
        .expect("a consumer");
    let mut all = TopicPartitionList::new();
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).expect("a partition");
    }
    consumer.assign(&all).expect("assigned");
    let (mut records, mut ends) = (Vec::new(), 0);
    while ends < partitions {
        match consumer.poll(Duration::from_secs(20)).expect("an answer in time") {
            Ok(message) => records.push(Received::of(&message)),
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    records
}

impl Received {
    fn of(message: &impl Message) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            key: message.key().map(text),
            value: serde_json::from_slice(message.payload().expect("a value")).expect("JSON"),
            time_ms: message.timestamp().to_millis(),
            headers: headers.map(|header| (header.key.to_owned(), text(header.value.unwrap_or_default()))).collect(),
        }
    }
}

fn numbers(records: &[Received]) -> Vec<u64> {
    let mut numbers: Vec<_> = records.iter().filter_map(|record| record.value["raw"]["number"].as_u64()).collect();
    numbers.sort_unstable();
    numbers
}

fn sentence(error: SinkError) -> String {
    match error {
        SinkError::Transient { message, hint } => format!("transient: {message}; {hint}"),
        SinkError::Again { reason } => format!("again: {reason}"),
        SinkError::Stopped { message, hint } => format!("stopped: {message}; {hint}"),
        other @ (SinkError::Journal(_) | SinkError::ReaderClosed) => other.to_string(),
    }
}

// --- the conformance suite: a topic cannot be rolled back ---

struct KafkaFixture<const EXACTLY_ONCE: bool>(Cluster);

impl<const EXACTLY_ONCE: bool> KafkaFixture<EXACTLY_ONCE> {
    fn settings() -> Value {
        if EXACTLY_ONCE { exactly_once() } else { json!({}) }
    }
}

impl<const EXACTLY_ONCE: bool> Fixture for KafkaFixture<EXACTLY_ONCE> {
    const ROLLS_BACK: bool = false;
    const KEEPS_POSITION: bool = EXACTLY_ONCE;

    fn new() -> Self {
        Self(cluster())
    }

    fn sink(&self) -> Box<dyn Sink> {
        Box::new(sink(&self.0, Self::settings()))
    }

    fn reconfigured(&self) -> Box<dyn Sink> {
        Box::new(sink(&self.0, json!({"key_field": "source"})))
    }

    fn contents(&self) -> BTreeMap<String, Vec<u8>> {
        let records = self.lines();
        BTreeMap::from([("audit".to_owned(), records.join("\n").into_bytes())])
    }

    fn lines(&self) -> Vec<String> {
        received(&self.0, "audit", 2).into_iter().map(|record| record.value.to_string()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_at_least_once() {
    conformance::passes::<KafkaFixture<false>>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conforms_exactly_once() {
    conformance::passes::<KafkaFixture<true>>().await;
}

// --- records and topics ---

#[tokio::test(flavor = "multi_thread")]
async fn a_record_has_key_time_headers_and_value() {
    let cluster = cluster();
    let headers =
        json!({"headers": {"env": "prod", "what": "{{ action }}/{{ target.name }}", "none": "{{ actor.id }}"}});
    let mut sink = sink(&cluster, headers);
    let written = write(&mut sink, 1, 1).await.expect("written");
    assert_eq!(written.events, 1);
    let records = received(&cluster, "audit", 2);
    let [record] = records.as_slice() else { panic!("{} records", records.len()) };
    let id = record.value["id"].as_str().expect("an id");
    assert_eq!(record.key.as_deref(), Some(id));
    assert_eq!(record.time_ms, Some(1_767_323_045_678));
    let headers: Vec<_> = record.headers.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("content-type", "application/json"),
            ("schema_version", "1.0"),
            ("vendor", "clumio"),
            ("source", "acme"),
            ("event_id", id),
            ("env", "prod"),
            ("what", "other/"),
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn topic_key_and_schema_are_as_configured() {
    let cluster = cluster();
    cluster.create_topic("audit.clumio", 1, 1).expect("a topic");
    let settings = json!({"topic": "audit.{{ vendor }}", "key_field": "source", "encoding": {"schema": "ocsf"}, "compression": "zstd"});
    let mut sink = sink(&cluster, settings);
    write(&mut sink, 1, 3).await.expect("written");
    let records = received(&cluster, "audit.clumio", 1);
    assert_eq!(records.len(), 3);
    assert!(records.iter().all(|record| record.key.as_deref() == Some("acme")));
    assert_eq!(records[0].value["metadata"]["version"], "1.8.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn passing_errors_cause_neither_loss_nor_duplicates() {
    for settings in [json!({}), exactly_once()] {
        let cluster = cluster();
        let mut sink = sink(&cluster, settings);
        open(&mut sink).await;
        let passing = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 3];
        cluster.request_errors(RDKafkaApiKey::Produce, &passing);
        write(&mut sink, 1, 500).await.expect("written");
        assert_eq!(numbers(&received(&cluster, "audit", 2)), (1..=500).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_permissions_are_named_and_the_batch_is_delivered_later() {
    let cluster = cluster();
    let mut sink = sink(&cluster, json!({}));
    let denied = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED];
    cluster.request_errors(RDKafkaApiKey::Produce, &denied);
    let error = sentence(write(&mut sink, 1, 1).await.expect_err("denied"));
    assert!(error.contains("`audit`") && error.contains("WRITE"), "{error}");
    // The client caches the error for a moment.
    while write_again(&mut sink, &mut MemoryLog::default(), 1, 1).await.is_err() {}
    assert_eq!(numbers(&received(&cluster, "audit", 2)), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_too_large_is_rejected_and_the_others_are_sent() {
    let cluster = cluster();
    let mut sink = sink(&cluster, json!({"librdkafka_options": {"message.max.bytes": 4_000}}));
    sink.begin(BatchRange { first: 1, last: 3 });
    let large = format!(r#"{{"number":2,"text":"{}"}}"#, "x".repeat(5_000));
    let mut outcomes = Vec::new();
    for (seq, raw) in [(1, r#"{"number":1}"#), (2, large.as_str()), (3, r#"{"number":3}"#)] {
        let event = event(raw, "2026-01-02T03:04:05Z");
        outcomes.push(sink.write(seq, &event, EventForm::Normalized).expect("encoded"));
    }
    let [WriteOutcome::Buffered, WriteOutcome::Rejected { reason }, WriteOutcome::Buffered] = outcomes.as_slice()
    else {
        panic!("{outcomes:?}")
    };
    assert!(reason.contains("4000"), "{reason}");
    assert_eq!(sink.commit(None, &mut MemoryLog::default()).await.expect("written").events, 2);
    assert_eq!(numbers(&received(&cluster, "audit", 2)), [1, 3]);
}

/// The mock cluster names no record of a request that it refuses, as brokers before Kafka 2.4.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_the_broker_refuses_is_sent_alone_before_it_is_rejected() {
    for code in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
    ] {
        for settings in [json!({}), exactly_once()] {
            let cluster = cluster();
            let mut sink = sink(&cluster, settings);
            open(&mut sink).await;
            let mut log = MemoryLog::default();
            let mut attempts = 0;
            while log.records().is_empty() {
                attempts += 1;
                assert!(attempts < 20, "never rejected");
                open(&mut sink).await;
                // Two requests: the record's, and with transactions the position's.
                cluster.request_errors(RDKafkaApiKey::Produce, &[code; 2]);
                write_again(&mut sink, &mut log, 1, 1).await.expect_err("refused");
                cluster.clear_request_errors(RDKafkaApiKey::Produce);
            }
            assert!(attempts > 1, "rejected without being sent alone");
            assert_eq!(log.records().len(), 1, "the rejection is recorded");

            let (committed, rejected) = write_again(&mut sink, &mut log, 1, 1).await.expect("nothing is left to write");
            assert_eq!((committed.events, rejected), (0, 1));
            write(&mut sink, 2, 3).await.expect("the next batch is written");
            assert_eq!(numbers(&received(&cluster, "audit", 2)), [2, 3]);
        }
    }
}

/// One refused request of many records, with nothing that says which of them is refused: two attempts find it out.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_is_taken_apart_in_one_more_attempt() {
    for settings in [json!({}), exactly_once()] {
        let cluster = cluster();
        let mut sink = sink(&cluster, settings);
        let mut log = MemoryLog::default();
        open(&mut sink).await;
        cluster.request_errors(RDKafkaApiKey::Produce, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD; 4]);
        let again = write_again(&mut sink, &mut log, 1, 50).await.expect_err("refused");
        assert!(matches!(again, SinkError::Again { .. }), "{again:?}");
        cluster.clear_request_errors(RDKafkaApiKey::Produce);
        let (committed, rejected) = write_again(&mut sink, &mut log, 1, 50).await.expect("each alone is accepted");
        assert_eq!((committed.events, rejected), (50, 0));
        assert_eq!(log.records(), [], "nothing is rejected with others");
        assert_eq!(numbers(&received(&cluster, "audit", 2)), (1..=50).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_made_from_values_are_limited_and_the_events_of_further_ones_are_rejected() {
    let cluster = cluster();
    let mut sink = sink(&cluster, json!({"topic": "audit.{{ source }}"}));
    open(&mut sink).await;
    let names: Vec<String> = (0..=topics::MAX_TOPICS_OF_VALUES).map(|number| format!("s{number}")).collect();
    sink.begin(BatchRange { first: 1, last: names.len() as Seq });
    let mut rejected = Vec::new();
    for (seq, name) in (1..).zip(&names) {
        let raw = format!(r#"{{"number":{seq}}}"#);
        let mut event = event(&raw, "2026-01-02T03:04:05Z");
        event.source = name;
        // The connection is known: the first batch of a template's topics is checked as it is encoded.
        if let WriteOutcome::Rejected { reason } = sink.write(seq, &event, EventForm::Normalized).expect("encoded") {
            rejected.push(reason);
        }
    }
    let [reason] = rejected.as_slice() else { panic!("{rejected:?}") };
    assert!(reason.contains("`audit.s1000`") && reason.contains("1000 topics"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_the_broker_has_is_counted_and_not_sent_again() {
    let cluster = cluster();
    let mut sink = sink_of(&cluster);
    assert_eq!(open(&mut sink).await, Some(0));
    write(&mut sink, 1, 5).await.expect("written");

    // The process was killed before the journal knew.
    let mut after = sink_of(&cluster);
    assert_eq!(open(&mut after).await, Some(5));
    assert_eq!(write(&mut after, 1, 5).await.expect("counted").events, 5);
    write(&mut after, 6, 7).await.expect("written");
    assert_eq!(numbers(&received(&cluster, "audit", 2)), [1, 2, 3, 4, 5, 6, 7]);
}

/// The sink redelivers, was renamed or was reset: the position of the earlier generation does not count.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_generation_is_sent_again_and_has_its_own_position() {
    let cluster = cluster();
    let mut former = sink_of(&cluster);
    open(&mut former).await;
    write(&mut former, 1, 5).await.expect("written");
    let open_generation = async |generation| {
        let mut sink = sink_of(&cluster);
        let position = sink.recover_position(stored(JOURNAL, generation)).await?;
        Ok::<_, SinkError>((sink, position))
    };
    let (again, position) = open_generation(2).await.expect("opened");
    assert_eq!(position, Some(0));
    // The process is killed before its first batch.
    drop(again);
    let (mut again, position) = open_generation(2).await.expect("opened");
    assert_eq!(position, Some(0));
    assert_eq!(write(&mut again, 3, 4).await.expect("written").events, 2);
    // It is killed before the journal knows of the batch.
    let (mut again, position) = open_generation(2).await.expect("opened");
    assert_eq!(position, Some(4));
    write(&mut again, 3, 4).await.expect("counted");
    write(&mut again, 5, 6).await.expect("written");
    assert_eq!(numbers(&received(&cluster, "audit", 2)), [1, 2, 3, 3, 4, 4, 5, 5, 6]);

    // A journal from before that is put back does not know what was delivered since.
    let error = sentence(open_generation(1).await.expect_err("older"));
    assert!(error.starts_with("stopped") && error.contains("restored from a backup"), "{error}");
}

fn sink_of(cluster: &Cluster) -> KafkaSink {
    sink(cluster, exactly_once())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_with_other_events_stops_the_sink() {
    let cluster = cluster();
    let mut sink = sink_of(&cluster);
    open(&mut sink).await;
    write(&mut sink, 1, 5).await.expect("written");
    let mut restored = sink_of(&cluster);
    open(&mut restored).await;
    restored.begin(BatchRange { first: 1, last: 5 });
    let other = event(r#"{"number":99}"#, "2026-01-02T03:04:05Z");
    let outcome = restored.write(5, &other, EventForm::Normalized).expect("encoded");
    assert_eq!(outcome, WriteOutcome::Buffered);
    let error = sentence(restored.commit(Some(other.id), &mut MemoryLog::default()).await.expect_err("not the same"));
    assert!(error.starts_with("stopped") && error.contains(POSITIONS), "{error}");
}

/// A filter that changed after the batch was written passes other events; the journal is the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_filter_does_not_look_like_another_journal() {
    let cluster = cluster();
    let mut sink = sink_of(&cluster);
    open(&mut sink).await;
    write(&mut sink, 1, 5).await.expect("written");
    let mut after = sink_of(&cluster);
    open(&mut after).await;
    after.begin(BatchRange { first: 1, last: 5 });
    let filtered = event(r#"{"number":5}"#, "2026-01-02T03:04:05.678Z");
    assert_eq!(after.commit(Some(filtered.id), &mut MemoryLog::default()).await.expect("counted").events, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_without_events_moves_the_position_on_the_broker() {
    let cluster = cluster();
    let mut sink = sink_of(&cluster);
    open(&mut sink).await;
    sink.begin(BatchRange { first: 1, last: 5 });
    let written = sink.commit(None, &mut MemoryLog::default()).await.expect("committed");
    assert_eq!(written, Committed::default());
    assert_eq!(open(&mut sink_of(&cluster)).await, Some(5));

    let mut at_least_once = self::sink(&cluster, json!({}));
    at_least_once.begin(BatchRange { first: 1, last: 5 });
    assert_eq!(at_least_once.commit(None, &mut MemoryLog::default()).await.expect("committed"), Committed::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_of_another_journal_stops_the_sink() {
    let cluster = cluster();
    let mut sink = sink_of(&cluster);
    open(&mut sink).await;
    write(&mut sink, 1, 5).await.expect("written");
    let error = sentence(sink_of(&cluster).recover_position(stored("another journal", 0)).await.expect_err("not ours"));
    assert!(error.starts_with("stopped") && error.contains("data_dir") && error.contains(POSITIONS), "{error}");
    write(&mut sink, 6, 6).await.expect("the healthy one was not fenced");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_is_an_error_that_names_the_option() {
    let cluster = cluster();
    let settings = json!({"bootstrap_servers": "127.0.0.1:1", "message_timeout_ms": 300});
    let mut sink = sink(&cluster, settings);
    let error = sentence(sink.healthcheck(stored(JOURNAL, 0)).await.expect_err("nobody there"));
    assert!(error.starts_with("transient") && error.contains("bootstrap_servers"), "{error}");
}

#[test]
fn invalid_settings_are_found_without_a_broker() {
    let problems = |more: Value| {
        let mut settings = json!({"bootstrap_servers": "kafka:9092", "topic": "audit"});
        let (Value::Object(all), Value::Object(more)) = (&mut settings, more) else { panic!("settings are a map") };
        all.extend(more);
        let config: KafkaConfig = serde_json::from_value(settings).expect("settings");
        config.check().into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    assert_eq!(problems(json!({})), [""; 0]);
    for (settings, key) in [
        (json!({"bootstrap_servers": " , "}), "bootstrap_servers"),
        (json!({"topic": "audit/{{ vendor }}"}), "topic"),
        (json!({"topic": "audit.{{ vender }}"}), "topic"),
        (json!({"key_field": "actor.ids"}), "key_field"),
        (json!({"headers": {"x": "{{ nothing }}"}}), "headers.x"),
        (json!({"sasl": {"mechanism": "PLAIN", "username": "u"}}), "sasl.password"),
        (json!({"sasl": {"mechanism": "OAUTHBEARER"}}), "sasl.token"),
        (json!({"tls": {"crt_file": "a.pem"}}), "tls.key_file"),
        (json!({"librdkafka_options": {"acks": 1}}), "librdkafka_options.acks"),
        (json!({"librdkafka_options": {"linger.msec": 1}}), "librdkafka_options.linger.msec"),
        (json!({"librdkafka_options": {"linger.ms": "soon"}}), "librdkafka_options.linger.ms"),
        (json!({"librdkafka_options": {"plugin.library.paths": "a.so"}}), "librdkafka_options.plugin.library.paths"),
    ] {
        assert_eq!(problems(settings.clone()), [key], "{settings}");
    }
}

#[test]
fn settings_that_expose_credentials_are_warned_about() {
    let warnings = |more: Value| {
        let mut settings = json!({"bootstrap_servers": "kafka:9092", "topic": "audit"});
        let (Value::Object(all), Value::Object(more)) = (&mut settings, more) else { panic!("settings are a map") };
        all.extend(more);
        let config: KafkaConfig = serde_json::from_value(settings).expect("settings");
        config.warnings().into_iter().map(|problem| problem.key).collect::<Vec<_>>()
    };
    let plain = json!({"mechanism": "PLAIN", "username": "u", "password": "p"});
    let token = json!({"mechanism": "OAUTHBEARER", "token": "t"});
    for (settings, keys) in [
        (json!({}), &[][..]),
        (json!({"sasl": plain}), &["sasl.mechanism"]),
        (json!({"sasl": token}), &["sasl.mechanism"]),
        (json!({"sasl": token, "tls": {"enabled": false}}), &["sasl.mechanism"]),
        (json!({"sasl": token, "tls": {}}), &[]),
        (json!({"tls": {"verify_certificate": false}}), &["tls.verify_certificate"]),
        (json!({"tls": {"verify_hostname": false}}), &["tls.verify_hostname"]),
        (json!({"tls": {"verify_hostname": false, "enabled": false}}), &[]),
    ] {
        assert_eq!(warnings(settings.clone()), keys, "{settings}");
    }
}

#[test]
fn secrets_are_not_shown() {
    let settings = json!({"bootstrap_servers": "kafka:9092", "topic": "audit",
        "tls": {"key_pass": "hunter1"}, "sasl": {"mechanism": "PLAIN", "username": "u", "password": "hunter2"}});
    let mut config: KafkaConfig = serde_json::from_value(settings).expect("settings");
    assert_eq!(config.secrets_mut().len(), 2);
    let shown = format!("{config:?} {:?}", config.build(Arc::new(SystemClock), "acme", "stream").expect("a sink"));
    assert!(!shown.contains("hunter"), "{shown}");
}
