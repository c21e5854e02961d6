//! The settings of a `kafka` sink and their validation.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::names::{sanitized, template_problem};
use super::options;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::secret::Secret;
use crate::sinks::encoding::EncodingOptions;
use crate::sinks::template::{Field, Template, TemplateError};
use crate::time::Timestamp;
use crate::units::PlainText;

/// The settings of a `kafka` sink.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Initial brokers: `host:port`, separated by commas.
    pub bootstrap_servers: String,
    /// The topic: a name, or a template such as `audit.{{ vendor }}`. In values, dots and characters that a topic name cannot
    /// contain become `_`.
    pub topic: String,
    /// The event field that is the record's key: `id` (default), `vendor_event_id`, or a template field such as `actor.id`.
    /// Records with one key keep their order. A record whose field is empty has no key.
    #[serde(default)]
    pub key_field: Option<String>,
    /// More headers: strings or templates such as `{{ actor.name }}`. An empty header is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `none` (default), `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    pub compression: Compression,
    /// How an event is encoded.
    #[serde(default)]
    pub encoding: EncodingOptions,
    /// `at_least_once` (default) or `exactly_once`.
    #[serde(default)]
    pub delivery: DeliveryGuarantee,
    /// How to create a topic that does not exist. Default: a missing topic is an error.
    #[serde(default)]
    pub create_topic: Option<CreateTopic>,
    /// TLS settings.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// Authentication.
    #[serde(default)]
    pub sasl: Option<Sasl>,
    /// Timeout for the delivery of a record, in milliseconds; then the batch is retried. With `exactly_once` also the
    /// transaction timeout, at most 15 minutes by the broker's default.
    #[serde(default)]
    pub message_timeout_ms: Option<NonZeroU32>,
    /// More librdkafka options by their own names: those that only tune connections, metadata, batches and queues.
    #[serde(default)]
    pub librdkafka_options: BTreeMap<String, PlainText>,
    /// The time of the oldest event that is going to be collected, if there is a backfill: for checks of the topic.
    #[serde(skip)]
    pub oldest_event: Option<Timestamp>,
}

/// The delivery guarantee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryGuarantee {
    /// After an error, records of a batch may be delivered twice, with the same id; none is missing.
    #[default]
    AtLeastOnce,
    /// Each record is delivered once to consumers with `isolation.level=read_committed`.
    ExactlyOnce,
}

/// How record batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// No compression.
    #[default]
    None,
    /// gzip
    Gzip,
    /// Snappy
    Snappy,
    /// LZ4
    Lz4,
    /// Zstandard
    Zstd,
}

impl Compression {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// How to create a missing topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTopic {
    /// The number of partitions.
    pub partitions: NonZeroU16,
    /// The number of replicas of each partition.
    pub replication_factor: NonZeroU16,
}

/// `tls:` of a `kafka` sink. If present, connections are encrypted.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// `false` turns encryption off without removing the settings.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The certificate authority of the brokers' certificates, PEM file. Default: the system's certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// The client certificate, PEM file, for brokers that require one.
    pub crt_file: Option<PathBuf>,
    /// The key of the client certificate, PEM file.
    pub key_file: Option<PathBuf>,
    /// The pass phrase of the key.
    pub key_pass: Option<Secret>,
    /// Whether to verify the brokers' certificates; `false` only for tests.
    #[serde(default = "yes")]
    pub verify_certificate: bool,
    /// Whether to verify the host name in the brokers' certificates.
    #[serde(default = "yes")]
    pub verify_hostname: bool,
}

const fn yes() -> bool {
    true
}

/// `sasl:` of a `kafka` sink.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.
    pub mechanism: SaslMechanism,
    /// The user name; not with `OAUTHBEARER`.
    pub username: Option<String>,
    /// The password; not with `OAUTHBEARER`.
    pub password: Option<Secret>,
    /// With `OAUTHBEARER`: the token. A `{file: path}` is read again every few minutes, so that it can be renewed.
    pub token: Option<Secret>,
}

/// Authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum SaslMechanism {
    /// User name and password unencrypted: use only with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Challenge and response, SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Challenge and response, SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
    /// A bearer token.
    #[serde(rename = "OAUTHBEARER")]
    OauthBearer,
}

impl SaslMechanism {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

impl KafkaConfig {
    /// Every setting that parses but is invalid. Uses neither network nor disk.
    #[must_use]
    pub fn check(&self) -> Vec<SettingDiagnostic> {
        let mut problems = Vec::new();
        if self.bootstrap_servers.split(',').all(|server| server.trim().is_empty()) {
            problems.push(problem("bootstrap_servers", "no broker is given", "set one such as kafka:9092"));
        }
        problems.extend(self.topic_problem());
        problems.extend(self.key_problem());
        for (name, value) in &self.headers {
            problems.extend(
                Template::parse(value).err().map(|error| of_template(&format!("headers.{name}"), value, &error)),
            );
        }
        problems.extend(self.sasl.as_ref().and_then(sasl_problem));
        problems.extend(self.tls.as_ref().and_then(tls_problem));
        problems.extend(self.option_problems());
        problems
    }

    fn topic_problem(&self) -> Option<SettingDiagnostic> {
        let template = match Template::parse(&self.topic) {
            Ok(template) => template,
            Err(error) => return Some(of_template("topic", &self.topic, &error)),
        };
        let message = template_problem(&template)?;
        Some(problem("topic", message, "use letters, digits, `.`, `_` and `-`: audit.{{ vendor }}"))
    }

    fn key_problem(&self) -> Option<SettingDiagnostic> {
        let name = self.key_field.as_deref()?;
        let hint = KeyField::parse(name).err()?;
        Some(problem("key_field", format!("an event has no field `{name}`"), hint))
    }

    fn option_problems(&self) -> Vec<SettingDiagnostic> {
        let mut problems = Vec::new();
        for (name, value) in &self.librdkafka_options {
            let key = format!("librdkafka_options.{name}");
            if let Some(hint) = options::rejection(name) {
                problems.push(problem(&key, format!("`{name}` cannot be set here"), hint));
            } else if let Err(message) = options::check_value(name, value.as_str()) {
                problems.push(problem(&key, message, "see the producer's options in librdkafka's CONFIGURATION.md"));
            }
        }
        problems
    }

    /// Settings that work but are probably a mistake.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
        let tls = self.tls.as_ref().filter(|tls| tls.enabled);
        let mut warnings = Vec::new();
        let mechanism = self.sasl.as_ref().filter(|_| tls.is_none()).map(|sasl| sasl.mechanism);
        match mechanism {
            Some(SaslMechanism::Plain) => {
                let message = "the password is sent unencrypted over the network";
                warnings.push(problem("sasl.mechanism", message, "add `tls: {}`, or use SCRAM-SHA-512"));
            }
            Some(SaslMechanism::OauthBearer) => {
                let message = "the token is sent unencrypted over the network";
                warnings.push(problem("sasl.mechanism", message, "add `tls: {}`"));
            }
            _ => {}
        }
        if tls.is_some_and(|tls| !tls.verify_certificate) {
            let message = "anybody on the network path can pose as the brokers and read events and credentials";
            warnings.push(problem(
                "tls.verify_certificate",
                message,
                "set `ca_file` to the brokers' authority instead",
            ));
        }
        if tls.is_some_and(|tls| !tls.verify_hostname) {
            let message = "anybody with a certificate of the same authority can pose as the brokers";
            let hint = "connect by a host name that is in the brokers' certificates instead";
            warnings.push(problem("tls.verify_hostname", message, hint));
        }
        warnings
    }

    /// Makes relative paths of certificates relative to `directory` (the directory of the pipeline file).
    pub fn resolve_against(&mut self, directory: &Path) {
        let Some(tls) = &mut self.tls else { return };
        for path in [&mut tls.ca_file, &mut tls.crt_file, &mut tls.key_file].into_iter().flatten() {
            *path = directory.join(&*path);
        }
    }

    /// The files of certificates and keys.
    pub fn files(&self) -> Vec<PathBuf> {
        let of_tls = self.tls.iter().flat_map(|tls| [&tls.ca_file, &tls.crt_file, &tls.key_file]);
        of_tls.flatten().cloned().collect()
    }

    /// Every secret of the sink, so that relative file paths can be resolved.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        let tls = self.tls.as_mut().and_then(|tls| tls.key_pass.as_mut());
        let sasl = self.sasl.as_mut().map(|sasl| [sasl.password.as_mut(), sasl.token.as_mut()]);
        tls.into_iter().chain(sasl.into_iter().flatten().flatten()).collect()
    }

    /// The template of the topic's name.
    ///
    /// # Errors
    /// What is wrong with the template.
    pub(super) fn topic_template(&self) -> Result<Template, Vec<SettingDiagnostic>> {
        let template = Template::parse(&self.topic).map_err(|error| vec![of_template("topic", &self.topic, &error)])?;
        Ok(template.with_plain_values())
    }

    /// The topic and key of an event's record.
    #[must_use]
    pub fn example(&self, event: &Event<'_>) -> Vec<(&'static str, String)> {
        let Ok(topic) = self.topic_template() else { return Vec::new() };
        let mut key = Vec::new();
        KeyField::of(self).push(event, &mut key);
        let key = if key.is_empty() { "(none)".to_owned() } else { String::from_utf8_lossy(&key).into_owned() };
        vec![("topic", sanitized(&topic.render(event))), ("key", key)]
    }

    /// The largest record that librdkafka accepts, in bytes.
    pub(super) fn max_record_bytes(&self) -> usize {
        const LIBRDKAFKA_DEFAULT: usize = 1_000_000;
        let given = self.librdkafka_options.get("message.max.bytes");
        given.and_then(|value| value.as_str().parse().ok()).unwrap_or(LIBRDKAFKA_DEFAULT)
    }

    /// A string that changes whenever a changed configuration writes different records, or writes them elsewhere.
    pub(super) fn fingerprint(&self) -> String {
        format!(
            "kafka {} topic={} key={:?} headers={:?} {:?} max={} {:?}",
            self.bootstrap_servers,
            self.topic,
            self.key_field,
            self.headers,
            self.encoding,
            self.max_record_bytes(),
            self.delivery,
        )
    }
}

fn sasl_problem(sasl: &Sasl) -> Option<SettingDiagnostic> {
    let by_token = sasl.mechanism == SaslMechanism::OauthBearer;
    let (key, missing) = match sasl {
        Sasl { token: None, .. } if by_token => ("sasl.token", "OAUTHBEARER needs a token"),
        Sasl { username: None, .. } if !by_token => ("sasl.username", "the mechanism needs a user name"),
        Sasl { password: None, .. } if !by_token => ("sasl.password", "the mechanism needs a password"),
        _ => return None,
    };
    Some(problem(key, missing, "add it, as a \"${VARIABLE}\" or {file: path} if it is secret"))
}

fn tls_problem(tls: &Tls) -> Option<SettingDiagnostic> {
    let (key, missing) = match (&tls.crt_file, &tls.key_file) {
        (Some(_), None) => ("tls.key_file", "a certificate needs its key"),
        (None, Some(_)) => ("tls.crt_file", "a key needs its certificate"),
        _ => return None,
    };
    Some(problem(key, missing, "add the PEM file"))
}

fn of_template(key: &str, text: &str, error: &TemplateError) -> SettingDiagnostic {
    problem(key, format!("`{text}`, column {}: {}", error.column, error.message), error.hint.clone())
}

pub(super) fn problem(key: &str, message: impl Into<String>, hint: impl Into<String>) -> SettingDiagnostic {
    SettingDiagnostic { key: key.to_owned(), message: message.into(), hint: hint.into() }
}

/// The event field that is the record's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyField(Field);

impl KeyField {
    /// Reads a field's name.
    ///
    /// # Errors
    /// The valid names.
    pub(super) fn parse(name: &str) -> Result<Self, String> {
        let names = || Field::for_keys().map(Field::path).collect::<Vec<_>>().join(", ");
        Field::for_keys()
            .find(|field| field.path() == name)
            .map(Self)
            .ok_or_else(|| format!("the fields are {}", names()))
    }

    /// The configured field; `id` by default.
    pub(super) fn of(config: &KafkaConfig) -> Self {
        let name = config.key_field.as_deref().unwrap_or("id");
        Self::parse(name).or_else(|_| Self::parse("id")).expect("`id` is a field")
    }

    pub(super) fn push(self, event: &Event<'_>, out: &mut Vec<u8>) {
        self.0.push(event, out);
    }

    /// Whether the field of an event may be empty.
    pub(super) fn may_be_empty(self) -> bool {
        const NEVER_EMPTY: [&str; 7] = ["id", "vendor", "source", "action", "category", "outcome", "actor.type"];
        !NEVER_EMPTY.contains(&self.0.path())
    }
}
