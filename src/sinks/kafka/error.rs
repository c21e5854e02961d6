//! Kafka's errors, with hints.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::context::{SinkContext, is_unspecific};
use super::names::Names;
use crate::sinks::SinkError;

/// An error that is retried. `doing` completes "cannot ... Kafka".
pub(super) fn transient(error: &KafkaError, doing: &str, client: Option<&SinkContext>) -> SinkError {
    let (code, reason) = explained(error, client);
    let place = client.map(|client| format!(" at {}", client.addresses)).unwrap_or_default();
    SinkError::Transient {
        message: format!("cannot {doing} Kafka{place}: {reason}"),
        hint: code.map_or(RETRIED, hint).to_owned(),
    }
}

/// The code and the reason; if the error only says that something failed, the client's last own error.
fn explained(error: &KafkaError, client: Option<&SinkContext>) -> (Option<Code>, String) {
    let reported = client.and_then(SinkContext::last_error);
    match (error.rdkafka_error_code(), reported) {
        (Some(code), Some((own_code, own_reason))) if is_unspecific(code) => (Some(own_code), own_reason),
        (Some(code), _) => (Some(code), reason_of(error, code)),
        (None, _) => (None, error.to_string()),
    }
}

/// The broker rejects this producer.
pub(super) fn of_producer(code: Code, reason: &str) -> SinkError {
    SinkError::Transient { message: format!("Kafka rejects the producer: {reason}"), hint: hint(code).to_owned() }
}

/// An error of one topic.
pub(super) fn of_topic(error: &KafkaError, topic: &str, names: &Names) -> SinkError {
    let (code, reason) = explained(error, None);
    SinkError::Transient {
        message: format!("cannot write to topic `{topic}`: {reason}"),
        hint: topic_hint(code, topic, names).to_owned(),
    }
}

/// The position topic cannot be read.
pub(super) fn of_reading(error: &KafkaError, names: &Names, client: &SinkContext) -> SinkError {
    let topic = &names.position_topic;
    let (code, reason) = explained(error, Some(client));
    SinkError::Transient {
        message: format!("cannot read the position in topic `{topic}` at {}: {reason}", client.addresses),
        hint: topic_hint(code, topic, names).to_owned(),
    }
}

/// The position topic needs more permissions than others: the sink also creates and reads it.
fn topic_hint(code: Option<Code>, topic: &str, names: &Names) -> &'static str {
    match code {
        Some(Code::TopicAuthorizationFailed) if topic == names.position_topic => POSITION_PERMISSIONS,
        Some(code) => hint(code),
        None => RETRIED,
    }
}

/// An error that a retry does not fix.
pub(super) fn stopped(message: impl Into<String>, hint: impl Into<String>) -> SinkError {
    SinkError::Stopped { message: message.into(), hint: hint.into() }
}

fn reason_of(error: &KafkaError, code: Code) -> String {
    match error {
        KafkaError::Transaction(inner) => inner.string(),
        _ => code.to_string(),
    }
}

const RETRIED: &str = "check the brokers and the settings of this sink";

const POSITION_PERMISSIONS: &str = "grant the user READ, WRITE, DESCRIBE and CREATE on the topic (kafka-acls --add --operation Read --operation Write --operation Describe --operation Create --topic ...)";

/// What the user can do.
const fn hint(code: Code) -> &'static str {
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "create the topic, or set `create_topic: {partitions: 6, replication_factor: 3}`"
        }
        Code::TopicAuthorizationFailed => {
            "grant the user WRITE and DESCRIBE on the topic (kafka-acls --add --operation Write --operation Describe --topic ...)"
        }
        Code::ClusterAuthorizationFailed => {
            "grant the user WRITE on the topic, which is enough since Kafka 3.0; before that also IDEMPOTENT_WRITE on the cluster. With `create_topic`, also grant CREATE"
        }
        Code::GroupAuthorizationFailed => {
            "grant the user READ and DESCRIBE on the groups with the prefix `auditflow.` (kafka-acls --add --resource-pattern-type prefixed --group auditflow.)"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "grant the user WRITE and DESCRIBE on the transactional ids with the prefix `auditflow.` (kafka-acls --add --resource-pattern-type prefixed --transactional-id auditflow.)"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "fix `sasl`: the broker rejects this user name and password (or token) for this mechanism"
        }
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            "fix `sasl.mechanism`: the broker does not offer it on this listener"
        }
        Code::SSL => {
            "fix `tls`: `ca_file` must contain the authority of the broker's certificate, and the host name in `bootstrap_servers` must be in that certificate"
        }
        Code::Resolve => "fix `bootstrap_servers`: the host name cannot be resolved",
        Code::BrokerTransportFailure | Code::AllBrokersDown => {
            "fix `bootstrap_servers` or start the brokers; if the listener requires TLS, add `tls: {}`"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "start the missing brokers: the partition has too few in-sync replicas (min.insync.replicas)"
        }
        Code::PolicyViolation => "ask the cluster's operator: its policy forbids this",
        Code::InvalidReplicationFactor => "lower the replication factor: the cluster has fewer brokers",
        Code::InvalidTransactionTimeout => "lower `message_timeout_ms` to the broker's transaction.max.timeout.ms",
        _ => RETRIED,
    }
}

/// Whether a hint names something that only a person can fix: a topic, credentials, permissions.
pub(super) fn is_for_people(given: &str) -> bool {
    let codes = [
        Code::UnknownTopicOrPartition,
        Code::TopicAuthorizationFailed,
        Code::Authentication,
        Code::UnsupportedSASLMechanism,
        Code::SSL,
    ];
    given == POSITION_PERMISSIONS || codes.into_iter().any(|code| hint(code) == given)
}

/// Whether another producer with this name has taken over, or the broker aborted the transaction: both have the same codes.
pub(super) fn is_fenced(error: &KafkaError) -> bool {
    let code = match error {
        KafkaError::Transaction(inner) => Some(inner.code()),
        other => other.rdkafka_error_code(),
    };
    matches!(code, Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hint_says_what_to_do() {
        let names = Names::new("acme", "stream");
        for (code, word) in [
            (Code::UnknownTopicOrPartition, "create_topic"),
            (Code::TopicAuthorizationFailed, "WRITE"),
            (Code::SSL, "ca_file"),
            (Code::Authentication, "sasl"),
            (Code::Resolve, "bootstrap_servers"),
        ] {
            let SinkError::Transient { message, hint } =
                of_topic(&KafkaError::MessageProduction(code), "audit", &names)
            else {
                panic!("{code} is retried");
            };
            assert!(hint.contains(word), "{hint}");
            assert!(message.contains("`audit`"), "{message}");
        }
    }

    #[test]
    fn the_position_topic_needs_more_permissions_and_a_health_check_stops_at_either() {
        let names = Names::new("acme", "stream");
        let denied = KafkaError::MetadataFetch(Code::TopicAuthorizationFailed);
        for (topic, asks_for_read) in [("audit", false), (names.position_topic.as_str(), true)] {
            let SinkError::Transient { hint, .. } = of_topic(&denied, topic, &names) else { panic!("is retried") };
            assert_eq!(hint.contains("READ"), asks_for_read, "{hint}");
            assert!(is_for_people(&hint));
        }
    }

    #[test]
    fn fencing_differs_from_other_errors() {
        assert!(is_fenced(&KafkaError::MessageProduction(Code::Fenced)));
        assert!(!is_fenced(&KafkaError::MessageProduction(Code::MessageTimedOut)));
    }
}
