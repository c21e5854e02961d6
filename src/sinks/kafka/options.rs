//! Which librdkafka options a pipeline file may set: a list of options that only tune.
//!
//! librdkafka has options that load libraries, run commands, read files or hold credentials. Some take effect as soon as they
//! are set, so an option is passed to librdkafka, also to validate its value, only after it was found in the list.

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

/// The options that only tune. `docs/kafka.md` lists them too.
const ALLOWED: &[&str] = &[
    // Client and logging.
    "client.id",
    "client.rack",
    "client.dns.lookup",
    "debug",
    "enable.metrics.push",
    "log.connection.close",
    // Connections.
    "api.version.request.timeout.ms",
    "broker.address.family",
    "broker.address.ttl",
    "connections.max.idle.ms",
    "reconnect.backoff.jitter.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.cipher.suites",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    // Metadata.
    "metadata.max.age.ms",
    "metadata.recovery.rebootstrap.trigger.ms",
    "metadata.recovery.strategy",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
    // Records, batches and queues.
    "batch.num.messages",
    "batch.size",
    "compression.level",
    "linger.ms",
    "message.copy.max.bytes",
    "message.max.bytes",
    "partitioner",
    "queue.buffering.backpressure.threshold",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "receive.message.max.bytes",
    "sticky.partitioning.linger.ms",
];

const CONSUMING: &[&str] = &[
    "auto.commit.",
    "auto.offset.",
    "check.crcs",
    "consume.",
    "coordinator.query.",
    "enable.auto.",
    "enable.partition.eof",
    "fetch.",
    "group.",
    "heartbeat.",
    "isolation.level",
    "max.partition.fetch.bytes",
    "max.poll.",
    "offset.store.method",
    "offset.store.sync.",
    "partition.assignment.",
    "queued.",
    "session.timeout.ms",
];

const GUARANTEE: &[&str] = &[
    "acks",
    "api.version.fallback.ms",
    "api.version.request",
    "broker.version.fallback",
    "delivery.report.",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "max.in.flight",
    "message.send.max.retries",
    "queuing.strategy",
    "request.required.acks",
    "retries",
    "test.mock.",
    "transactional.id",
];

/// Options that reach outside of the connection to the brokers: files, libraries, commands, callbacks.
const REACHING_OUT: &[&str] = &[
    "https.",
    "interceptors",
    "offset.store.path",
    "opaque",
    "plugin.",
    "sasl.kerberos.",
    "ssl.engine.",
    "ssl.providers",
    "ssl_engine",
];

/// The hint for an option that a pipeline file must not set; `None` if it may.
pub(super) fn rejection(name: &str) -> Option<String> {
    if ALLOWED.contains(&name) {
        return None;
    }
    let is_one_of = |names: &[&str]| names.iter().any(|known| is_or_begins(name, known));
    let hint = match name {
        "bootstrap.servers" | "metadata.broker.list" => "set `bootstrap_servers` instead",
        "security.protocol" => "set `tls` and `sasl` instead",
        "message.timeout.ms" | "delivery.timeout.ms" | "transaction.timeout.ms" => "set `message_timeout_ms` instead",
        "compression.type" | "compression.codec" => "set `compression` instead",
        "allow.auto.create.topics" => "set `create_topic` instead",
        "statistics.interval.ms" => "auditflow does not read statistics: remove it",
        "log_level" | "log.queue" | "log.thread.name" => "set `log.level` of the pipeline instead, and `debug` here",
        _ if is_one_of(REACHING_OUT) || name.ends_with("_cb") => {
            "it reads files, loads libraries or runs commands, which a pipeline file cannot ask for: remove it"
        }
        _ if name.starts_with("sasl.") || name.contains("oauthbearer") => {
            "set `sasl` instead, where secrets are protected; Kerberos and the retrieval of tokens are not supported"
        }
        _ if name.starts_with("ssl") || name == "enable.ssl.certificate.verification" => {
            "set `tls` instead, where secrets are protected"
        }
        _ if is_one_of(GUARANTEE) => "auditflow sets it, because the delivery guarantee depends on it: remove it",
        _ if is_one_of(CONSUMING) => "it is for consumers: remove it",
        _ => return Some(of_unknown(name)),
    };
    Some(hint.to_owned())
}

/// Whether `known` is the name, or a beginning of it that ends with a dot or at one.
fn is_or_begins(name: &str, known: &str) -> bool {
    let rest = name.strip_prefix(known);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_']) || known.ends_with('.'))
}

fn of_unknown(name: &str) -> String {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    let nearest = ALLOWED.iter().min_by_key(|known| distance(known)).filter(|known| distance(known) <= known.len() / 3);
    match nearest {
        Some(known) => format!("did you mean `{known}`? docs/kafka.md lists the options"),
        None => "remove it; docs/kafka.md lists the options that can be set".to_owned(),
    }
}

/// Whether librdkafka accepts the value of an option that can be set.
pub(super) fn check_value(name: &str, value: &str) -> Result<(), String> {
    let mut config = ClientConfig::new();
    config.set(name, value);
    match config.create_native_config() {
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, reason, ..)) => Err(reason),
        Err(other) => Err(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_that_is_rejected_says_what_to_do_instead() {
        for (names, word) in [
            (&["bootstrap.servers", "metadata.broker.list"][..], "`bootstrap_servers`"),
            (&["security.protocol", "ssl.ca.location", "ssl.key.pem", "ssl_key", "ssl.crl.location"], "`tls`"),
            (&["ssl.keystore.location", "ssl.keystore.password", "enable.ssl.certificate.verification"], "`tls`"),
            (&["sasl.password", "sasl.oauthbearer.token.endpoint.url", "sasl.oauthbearer.assertion.file"], "`sasl`"),
            (&["enable.sasl.oauthbearer.unsecure.jwt", "sasl.mechanism"], "`sasl`"),
            (&["compression.type", "compression.codec"], "`compression`"),
            (&["message.timeout.ms", "delivery.timeout.ms", "transaction.timeout.ms"], "`message_timeout_ms`"),
            (&["allow.auto.create.topics"], "`create_topic`"),
            (&["acks", "enable.idempotence", "max.in.flight.requests.per.connection", "retries"], "guarantee"),
            (&["transactional.id", "test.mock.num.brokers", "broker.version.fallback"], "guarantee"),
            (&["isolation.level", "group.id", "fetch.min.bytes", "enable.auto.offset.store"], "consumers"),
            (&["plugin.library.paths", "ssl.engine.location", "ssl.engine.id", "ssl.providers"], "loads libraries"),
            (&["sasl.kerberos.kinit.cmd", "sasl.kerberos.keytab", "https.ca.location"], "runs commands"),
            (&["open_cb", "socket_cb", "oauthbearer_token_refresh_cb", "interceptors", "opaque"], "remove it"),
            (&["offset.store.path"], "reads files"),
            (&["statistics.interval.ms"], "statistics"),
            (&["log_level"], "`log.level`"),
            (&["linger.msec"], "did you mean `linger.ms`"),
            (&["topic.blacklist", "builtin.features"], "docs/kafka.md"),
        ] {
            for name in names {
                let hint = rejection(name).unwrap_or_else(|| panic!("{name} is accepted"));
                assert!(hint.contains(word), "{name}: {hint}");
            }
        }
    }

    #[test]
    fn every_allowed_option_exists_and_is_documented() {
        let page = include_str!("../../../docs/kafka.md");
        for name in ALLOWED {
            assert_eq!(rejection(name), None);
            let error = check_value(name, "\u{0}").err().or_else(|| check_value(name, "1").err()).unwrap_or_default();
            assert!(!error.contains("No such configuration property"), "{name}: {error}");
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/kafka.md");
        }
    }
}
