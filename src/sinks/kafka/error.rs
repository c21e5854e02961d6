//! Kafka's errors, as sentences that say what to mend.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::context::SinkContext;
use super::names::Names;
use crate::sinks::SinkError;

/// A fault that may pass, or that somebody may mend outside. `doing` completes "cannot ... Kafka".
pub(super) fn transient(error: &KafkaError, doing: &str, client: Option<&SinkContext>) -> SinkError {
    let (code, reason) = explained(error, client);
    SinkError::Transient {
        message: format!("cannot {doing} Kafka: {reason}"),
        hint: code.map_or(RETRIED, hint).to_owned(),
    }
}

/// The code and the reason; what the client has complained about by itself, where the error says no more than that it did
/// not work.
fn explained(error: &KafkaError, client: Option<&SinkContext>) -> (Option<Code>, String) {
    let told = client.and_then(SinkContext::last_error);
    match (error.rdkafka_error_code(), told) {
        (Some(code), Some((told_code, told))) if says_little(code) => (Some(told_code), told),
        (Some(code), _) => (Some(code), reason_of(error, code)),
        (None, _) => (None, error.to_string()),
    }
}

/// The broker does not take this producer at all.
pub(super) fn of_producer(code: Code, reason: &str) -> SinkError {
    SinkError::Transient { message: format!("Kafka refuses the producer: {reason}"), hint: hint(code).to_owned() }
}

/// A fault of one topic.
pub(super) fn of_topic(error: &KafkaError, topic: &str, names: &Names) -> SinkError {
    let (code, reason) = explained(error, None);
    SinkError::Transient {
        message: format!("Kafka does not take records for topic `{topic}`: {reason}"),
        hint: topic_hint(code, topic, names).to_owned(),
    }
}

/// The topic that holds the position cannot be read.
pub(super) fn of_reading(error: &KafkaError, names: &Names, client: &SinkContext) -> SinkError {
    let topic = &names.position_topic;
    let (code, reason) = explained(error, Some(client));
    SinkError::Transient {
        message: format!("cannot read the position in topic `{topic}`: {reason}"),
        hint: topic_hint(code, topic, names).to_owned(),
    }
}

/// The topic that holds the position needs more rights than others: the sink makes it and reads it too.
fn topic_hint(code: Option<Code>, topic: &str, names: &Names) -> &'static str {
    match code {
        Some(Code::TopicAuthorizationFailed) if topic == names.position_topic => POSITION_RIGHTS,
        Some(code) => hint(code),
        None => RETRIED,
    }
}

/// A fault that no retry mends.
pub(super) fn stopped(message: impl Into<String>, hint: impl Into<String>) -> SinkError {
    SinkError::Stopped { message: message.into(), hint: hint.into() }
}

/// The last word of a chain that ends in one of these says no more than "it did not work".
const fn says_little(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::OperationTimedOut
            | Code::AllBrokersDown
            | Code::MessageTimedOut
            | Code::RequestTimedOut
    )
}

fn reason_of(error: &KafkaError, code: Code) -> String {
    match error {
        KafkaError::Transaction(inner) => inner.string(),
        _ => code.to_string(),
    }
}

const RETRIED: &str = "nothing is lost; auditflow tries again by itself";

const POSITION_RIGHTS: &str = "allow the user READ, WRITE, DESCRIBE and CREATE on the topic (kafka-acls --add --operation Read --operation Write --operation Describe --operation Create --topic ...)";

/// What the user can do.
const fn hint(code: Code) -> &'static str {
    match code {
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownPartition => {
            "create the topic, or let auditflow do it with `create_topic: {partitions: 6, replication_factor: 3}`"
        }
        Code::TopicAuthorizationFailed => {
            "allow the user WRITE and DESCRIBE on the topic (kafka-acls --add --operation Write --operation Describe --topic ...)"
        }
        Code::ClusterAuthorizationFailed => {
            "allow the user WRITE on the topic, which is enough since Kafka 3.0; before that also IDEMPOTENT_WRITE on the cluster. If auditflow is to create topics, allow CREATE"
        }
        Code::GroupAuthorizationFailed => {
            "allow the user READ and DESCRIBE on the groups with the prefix `auditflow.` (kafka-acls --add --resource-pattern-type prefixed --group auditflow.)"
        }
        Code::TransactionalIdAuthorizationFailed => {
            "allow the user WRITE and DESCRIBE on the transactional ids with the prefix `auditflow.` (kafka-acls --add --resource-pattern-type prefixed --transactional-id auditflow.)"
        }
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "mend `sasl`: the broker refuses this user name and password (or token) for this mechanism"
        }
        Code::UnsupportedSASLMechanism | Code::IllegalSASLState => {
            "mend `sasl.mechanism`: the broker does not offer it on this listener"
        }
        Code::SSL => {
            "mend `tls`: `ca_file` must hold the authority that signed the broker's certificate, and the host name in `bootstrap_servers` must be one of that certificate"
        }
        Code::Resolve => "mend `bootstrap_servers`: the host name is not known here",
        Code::BrokerTransportFailure | Code::AllBrokersDown => {
            "mend `bootstrap_servers` or start the brokers; if a listener wants TLS add `tls: {}`. auditflow goes on by itself"
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            "too few brokers hold the partition (min.insync.replicas): start them. auditflow goes on by itself"
        }
        Code::PolicyViolation => "the cluster's policy forbids it: ask its operator",
        Code::InvalidReplicationFactor => "the cluster has fewer brokers than the replication factor asks for",
        Code::InvalidTransactionTimeout => {
            "lower `message_timeout_ms` to what the broker allows a transaction (transaction.max.timeout.ms)"
        }
        _ => RETRIED,
    }
}

/// Whether a hint asks somebody to mend something that does not mend itself: a topic, credentials, rights.
pub(super) fn is_for_people(said: &str) -> bool {
    let codes = [
        Code::UnknownTopicOrPartition,
        Code::TopicAuthorizationFailed,
        Code::Authentication,
        Code::UnsupportedSASLMechanism,
        Code::SSL,
    ];
    said == POSITION_RIGHTS || codes.into_iter().any(|code| hint(code) == said)
}

/// Whether another producer with our name has taken over, or the broker gave up on our transaction: the two look alike.
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
                panic!("{code} may be mended outside");
            };
            assert!(hint.contains(word), "{hint}");
            assert!(message.contains("`audit`"), "{message}");
        }
    }

    #[test]
    fn the_position_topic_needs_more_rights_and_a_check_stops_at_either() {
        let names = Names::new("acme", "stream");
        let refused = KafkaError::MetadataFetch(Code::TopicAuthorizationFailed);
        for (topic, asks_for_read) in [("audit", false), (names.position_topic.as_str(), true)] {
            let SinkError::Transient { hint, .. } = of_topic(&refused, topic, &names) else { panic!("may be mended") };
            assert_eq!(hint.contains("READ"), asks_for_read, "{hint}");
            assert!(is_for_people(&hint));
        }
    }

    #[test]
    fn a_fence_is_told_apart_from_other_faults() {
        assert!(is_fenced(&KafkaError::MessageProduction(Code::Fenced)));
        assert!(!is_fenced(&KafkaError::MessageProduction(Code::MessageTimedOut)));
    }
}
