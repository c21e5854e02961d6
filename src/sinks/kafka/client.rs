//! Creates the clients of a sink from names, addresses and credentials, and runs their blocking calls.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::producer::{Producer, ThreadedProducer};

use super::config::{KafkaConfig, Sasl, SaslMechanism, Tls};
use super::context::{BearerToken, DeliveryReports, SinkContext};
use super::error::{is_fenced, stopped, transient};
use super::log::FoldedLog;
use super::names::Names;
use crate::clock::SharedClock;
use crate::secret::{Secret, SentSecrets};
use crate::sinks::SinkError;

/// The transaction timeout unless `message_timeout_ms` is set: librdkafka's own default.
const TRANSACTION_TIMEOUT_MS: u32 = 60_000;

/// The longest transaction that brokers allow by default (`transaction.max.timeout.ms`).
const LONGEST_TRANSACTION_MS: u32 = 900_000;

/// The size of librdkafka's queue.
const QUEUE_KBYTES: u32 = 32 * 1_024;

/// librdkafka's default of `batch.size`.
const BATCH_BYTES: usize = 1_000_000;

/// How long one poll for callbacks takes before the result of a call is checked again.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// What a producer puts into one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Requests {
    /// The most bytes of records that share a request; a larger record is alone in its own.
    pub(super) max_bytes: usize,
    /// Each record has a request of its own.
    pub(super) of_one_record: bool,
}

/// Creates clients. Secrets are read when a client is created, so that a rotated one takes effect in the next session.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) names: Names,
    /// Identifies this process among all that ever used the names.
    pub(super) instance: String,
    pub(super) clock: SharedClock,
    /// What may come back in texts of brokers and librdkafka.
    pub(super) sent: SentSecrets,
    log: Arc<FoldedLog>,
    base: ClientConfig,
    tls: Option<Tls>,
    sasl: Option<Sasl>,
    transaction_timeout_ms: u32,
    message_timeout_ms: Option<u32>,
}

impl Connection {
    pub(super) fn new(config: &KafkaConfig, names: Names, clock: SharedClock) -> Self {
        keep_openssl_until_exit();
        let mut base = ClientConfig::new();
        for (name, value) in &config.librdkafka_options {
            base.set(name, value.as_str());
        }
        set_default(&mut base, "client.id", "auditflow");
        base.set("bootstrap.servers", &config.bootstrap_servers).set("compression.type", config.compression.as_str());
        let message_timeout_ms = config.message_timeout_ms.map(std::num::NonZeroU32::get);
        let transaction_timeout_ms = message_timeout_ms.unwrap_or(TRANSACTION_TIMEOUT_MS).min(LONGEST_TRANSACTION_MS);
        Self {
            instance: instance_of(&clock),
            names,
            clock,
            sent: SentSecrets::default(),
            log: Arc::default(),
            base,
            tls: config.tls.clone().filter(|tls| tls.enabled),
            sasl: config.sasl.clone(),
            transaction_timeout_ms,
            message_timeout_ms,
        }
    }

    /// A producer whose records are each written once to their partition, in order.
    pub(super) fn producer(
        &self,
        transactional: bool,
        requests: Requests,
    ) -> Result<ThreadedProducer<SinkContext>, SinkError> {
        let mut config = self.secured()?;
        config.set("batch.size", requests.max_bytes.to_string());
        if requests.of_one_record {
            config.set("batch.num.messages", "1");
        }
        set_default(&mut config, "queue.buffering.max.kbytes", &QUEUE_KBYTES.to_string());
        // A key lands on the partition that Java's producers choose for it.
        set_default(&mut config, "partitioner", "murmur2_random");
        config.set("enable.idempotence", "true");
        if transactional {
            config.set("transactional.id", &self.names.group);
            config.set("transaction.timeout.ms", self.transaction_timeout_ms.to_string());
        } else if let Some(millis) = self.message_timeout_ms {
            config.set("message.timeout.ms", millis.to_string());
        }
        config.create_with_context(self.context()?).map_err(|error| unusable(&error))
    }

    /// The requests of a producer for topics that accept this many bytes in one.
    pub(super) fn requests(&self, accepted: Option<usize>, of_one_record: bool) -> Requests {
        let configured = self.base.get("batch.size").and_then(|bytes| bytes.parse().ok()).unwrap_or(BATCH_BYTES);
        Requests { max_bytes: accepted.map_or(configured, |accepted| accepted.min(configured)).max(1), of_one_record }
    }

    /// A consumer that sees what is committed, for the position and for the cluster's metadata. It joins no group.
    pub(super) fn consumer(&self) -> Result<BaseConsumer<SinkContext>, SinkError> {
        let mut config = self.without_producer_options()?;
        config
            .set("group.id", &self.names.group)
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest");
        config.create_with_context(self.context()?).map_err(|error| unusable(&error))
    }

    /// A client that makes topics and reads their settings.
    pub(super) fn admin(&self) -> Result<rdkafka::admin::AdminClient<SinkContext>, SinkError> {
        let config = self.without_producer_options()?;
        config.create_with_context(self.context()?).map_err(|error| unusable(&error))
    }

    /// Whether topics can be made and described: librdkafka's administrator, as the Rust library runs it, never asks for a
    /// bearer token.
    pub(super) fn has_administrator(&self) -> bool {
        self.sasl.as_ref().is_none_or(|sasl| sasl.mechanism != SaslMechanism::OauthBearer)
    }

    /// Only the options that lead to the broker: a consumer warns about options of producers.
    fn without_producer_options(&self) -> Result<ClientConfig, SinkError> {
        const OF_CLIENTS: [&str; 9] = [
            "socket.",
            "ssl.",
            "broker.",
            "reconnect.",
            "debug",
            "client.",
            "topic.metadata.",
            "metadata.",
            "connections.",
        ];
        let secured = self.secured()?;
        let mut config = ClientConfig::new();
        // The map shows no secrets, also not to us: values are asked for one by one.
        for name in secured.config_map().into_keys() {
            let leads_to_broker = ["bootstrap.servers", "security.protocol"].contains(&name)
                || name.starts_with("sasl.")
                || OF_CLIENTS.iter().any(|prefix| name.starts_with(prefix));
            if let Some(value) = secured.get(name).filter(|_| leads_to_broker) {
                config.set(name, value);
            }
        }
        Ok(config)
    }

    fn secured(&self) -> Result<ClientConfig, SinkError> {
        let mut config = self.base.clone();
        config.set("security.protocol", self.protocol());
        if let Some(tls) = &self.tls {
            set_tls(&mut config, tls, &self.sent)?;
        }
        if let Some(sasl) = &self.sasl {
            set_sasl(&mut config, sasl, &self.sent)?;
        }
        Ok(config)
    }

    fn protocol(&self) -> &'static str {
        match (&self.tls, &self.sasl) {
            (None, None) => "plaintext",
            (Some(_), None) => "ssl",
            (None, Some(_)) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        }
    }

    /// The addresses of `bootstrap_servers`, with scheme and port.
    fn addresses(&self) -> String {
        let servers = self.base.get("bootstrap.servers").unwrap_or_default().split(',').map(str::trim);
        let addresses: Vec<String> =
            servers.filter(|server| !server.is_empty()).map(|server| self.address(server)).collect();
        addresses.join(", ")
    }

    fn address(&self, server: &str) -> String {
        let (scheme, host) = server.split_once("://").unwrap_or((self.protocol(), server));
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if has_port { "" } else { ":9092" };
        format!("{}://{host}{port}", scheme.to_lowercase())
    }

    fn context(&self) -> Result<SinkContext, SinkError> {
        let token = self.sasl.as_ref().and_then(|sasl| sasl.token.clone());
        let token = token.map(|secret| BearerToken { secret, clock: self.clock.clone() });
        Ok(SinkContext {
            sink: self.names.sink.clone(),
            log: Arc::clone(&self.log),
            addresses: self.addresses(),
            reports: DeliveryReports::default(),
            token,
            sent: self.sent.clone(),
            last_error: Default::default(),
        })
    }
}

/// Keeps OpenSSL from freeing its memory when the process exits. By default it does so in an exit handler, and a thread that
/// used TLS and ends at that moment frees its own part a second time, which aborts a process whose work was done. Only the
/// first initialization can choose, so this precedes every client.
fn keep_openssl_until_exit() {
    openssl_sys::init();
}

/// Runs a consumer call that waits for the broker, and polls meanwhile, so that the client's callbacks run: it may need a
/// token to connect, or report why it cannot. Blocks: not for async threads.
pub(super) fn query<T: Send>(
    consumer: &BaseConsumer<SinkContext>,
    request: impl FnOnce(&BaseConsumer<SinkContext>) -> KafkaResult<T> + Send,
) -> KafkaResult<T> {
    std::thread::scope(|scope| {
        let running = scope.spawn(|| request(consumer));
        while !running.is_finished() {
            // Only runs callbacks; nothing is assigned, so no record arrives.
            drop(consumer.poll(POLL_INTERVAL));
        }
        running.join().unwrap_or_else(|panicked| std::panic::resume_unwind(panicked))
    })
}

fn set_tls(config: &mut ClientConfig, tls: &Tls, sent: &SentSecrets) -> Result<(), SinkError> {
    // A librdkafka with its own OpenSSL does not find the system's certificates; `probe` does.
    let authorities = tls.ca_file.as_ref().map_or("probe".into(), |path| path.to_string_lossy());
    config.set("ssl.ca.location", authorities);
    if let Some(path) = &tls.crt_file {
        config.set("ssl.certificate.location", path.to_string_lossy());
    }
    if let Some(path) = &tls.key_file {
        config.set("ssl.key.location", path.to_string_lossy());
    }
    if let Some(secret) = &tls.key_pass {
        config.set("ssl.key.password", revealed(secret, sent)?);
    }
    config.set("enable.ssl.certificate.verification", tls.verify_certificate.to_string());
    config.set("ssl.endpoint.identification.algorithm", if tls.verify_hostname { "https" } else { "none" });
    Ok(())
}

fn set_sasl(config: &mut ClientConfig, sasl: &Sasl, sent: &SentSecrets) -> Result<(), SinkError> {
    config.set("sasl.mechanism", sasl.mechanism.as_str());
    if sasl.mechanism == SaslMechanism::OauthBearer {
        return Ok(());
    }
    if let Some(username) = &sasl.username {
        config.set("sasl.username", username);
    }
    if let Some(secret) = &sasl.password {
        config.set("sasl.password", revealed(secret, sent)?);
    }
    Ok(())
}

fn revealed(secret: &Secret, sent: &SentSecrets) -> Result<String, SinkError> {
    let value = secret.reveal().map_err(|error| SinkError::Transient {
        message: error.to_string(),
        hint: "make the secret readable for the user that runs auditflow".to_owned(),
    })?;
    sent.add(std::slice::from_ref(&value));
    Ok(value)
}

fn set_default(config: &mut ClientConfig, name: &str, value: &str) {
    if config.get(name).is_none() {
        config.set(name, value);
    }
}

/// A client cannot be created: a certificate file is not readable, or options exclude each other.
fn unusable(error: &KafkaError) -> SinkError {
    match error {
        KafkaError::ClientCreation(reason) => SinkError::Transient {
            message: format!("cannot create a Kafka client: {reason}"),
            hint: "fix `tls`, `sasl` or `librdkafka_options`; certificate and key files must be readable PEM files"
                .to_owned(),
        },
        KafkaError::ClientConfig(_, reason, name, _) => {
            stopped(format!("librdkafka rejects the option {name}: {reason}"), "fix it in the pipeline file")
        }
        other => transient(other, "create a client of", None),
    }
}

/// A name that no other process has: the process id and the start time.
fn instance_of(clock: &SharedClock) -> String {
    format!("{}-{:x}", std::process::id(), clock.now().as_nanos())
}

// --- calls that wait for the broker ---

/// Timeout of one call to the broker. The deliver loop retries.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a step failed.
#[derive(Debug)]
pub(super) struct SessionError {
    pub(super) error: SinkError,
    /// The state of the session is unknown: the next attempt needs a new session.
    pub(super) ends_session: bool,
    /// The broker rejects this producer: it is fenced.
    pub(super) fenced: bool,
}

impl From<SinkError> for SessionError {
    fn from(error: SinkError) -> Self {
        Self { error, ends_session: true, fenced: false }
    }
}

impl From<KafkaError> for SessionError {
    fn from(error: KafkaError) -> Self {
        Self { fenced: is_fenced(&error), ends_session: true, error: transient(&error, "talk to", None) }
    }
}

/// Runs a call of a producer; any error ends the session.
pub(super) async fn call(
    producer: &Arc<ThreadedProducer<SinkContext>>,
    work: impl FnOnce(&ThreadedProducer<SinkContext>) -> Result<(), KafkaError> + Send + 'static,
) -> Result<(), SessionError> {
    let worker = Arc::clone(producer);
    let done = on_a_thread(move || work(&worker)).await;
    done.map_err(|error| SessionError {
        fenced: is_fenced(&error),
        ends_session: true,
        error: transient(&error, "commit to", Some(producer.context().as_ref())),
    })
}

/// Runs a blocking call on a thread where it blocks no other task.
pub(super) async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn every_client_gets_the_secrets_and_only_producers_get_their_options() {
        let settings = json!({"bootstrap_servers": "kafka:9092", "topic": "audit",
            "librdkafka_options": {"linger.ms": 7, "socket.timeout.ms": 9000},
            "tls": {"key_pass": "hunter1"},
            "sasl": {"mechanism": "SCRAM-SHA-512", "username": "u", "password": "hunter2"}});
        let config: KafkaConfig = serde_json::from_value(settings).expect("settings");
        let connection = Connection::new(&config, Names::new("acme", "stream"), Arc::new(SystemClock));
        let options = connection.without_producer_options().expect("options");
        for (name, value) in [
            ("ssl.key.password", "hunter1"),
            ("sasl.password", "hunter2"),
            ("sasl.username", "u"),
            ("security.protocol", "sasl_ssl"),
            ("socket.timeout.ms", "9000"),
        ] {
            assert_eq!(options.get(name), Some(value), "{name}");
        }
        assert_eq!(options.get("linger.ms"), None);
        assert_eq!(connection.sent.mask().mask("no hunter2 and no hunter1"), "no *** and no ***");
    }

    #[test]
    fn an_address_has_its_scheme_and_port() {
        for (servers, tls, addresses) in [
            ("kafka-1:9093, kafka-2", json!({}), "ssl://kafka-1:9093, ssl://kafka-2:9092"),
            ("PLAINTEXT://[::1]:9094", json!(null), "plaintext://[::1]:9094"),
            ("[::1],", json!(null), "plaintext://[::1]:9092"),
        ] {
            let settings = json!({"bootstrap_servers": servers, "topic": "audit", "tls": tls});
            let config: KafkaConfig = serde_json::from_value(settings).expect("settings");
            let connection = Connection::new(&config, Names::new("acme", "stream"), Arc::new(SystemClock));
            assert_eq!(connection.addresses(), addresses);
        }
    }
}
