//! The settings of a `kafka` sink, and what can be wrong with them.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use serde::Deserialize;

use super::client::{self, Connection, Names};
use super::record::{Encoder, KeyField};
use super::topics::{self, Topics, sanitized};
use super::{KafkaSink, options};
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;
use crate::event::native::RawForm;
use crate::event::ocsf::OcsfVersion;
use crate::secret::Secret;
use crate::sinks::encoding::{EncodingOptions, Schema};
use crate::sinks::template::{Template, TemplateError};
use crate::units::PlainText;

/// The settings of a `kafka` sink.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Brokers to begin with: `host:port`, several with commas between.
    pub bootstrap_servers: String,
    /// Where events go: a name, or a template such as `audit.{{ vendor }}`. What a topic's name cannot hold becomes `_`.
    pub topic: String,
    /// Which of the event's fields is the record's key: `id` (default), `vendor_event_id`, or a field that templates know
    /// such as `actor.id`. Records of one key keep their order. A record whose field is empty has no key.
    #[serde(default)]
    pub key_field: Option<String>,
    /// Further headers: texts, or templates such as `{{ actor.name }}`. A header that comes to nothing is left out.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// `none` (default), `gzip`, `snappy`, `lz4` or `zstd`.
    #[serde(default)]
    pub compression: Compression,
    /// `native` (default), `ocsf` or `ecs`.
    #[serde(default)]
    pub schema: Schema,
    /// With `schema: ocsf`: `1.8.0` (default) or `1.7.0`.
    #[serde(default)]
    pub ocsf_version: OcsfVersion,
    /// What becomes of the vendor's record: `keep` (default), `string` or `drop`.
    #[serde(default)]
    pub raw: RawForm,
    /// `at_least_once` (default) or `exactly_once`.
    #[serde(default)]
    pub delivery: Delivery,
    /// How a topic that is missing is made. Without it a missing topic is an error.
    #[serde(default)]
    pub create_topic: Option<CreateTopic>,
    /// Encrypted connections.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// How we say who we are.
    #[serde(default)]
    pub sasl: Option<Sasl>,
    /// How long a record may wait for the broker's word before the batch is tried again, in milliseconds. With
    /// `exactly_once` also how long a transaction may take, at most 15 minutes by the broker's default.
    #[serde(default)]
    pub message_timeout_ms: Option<NonZeroU32>,
    /// Any further option of librdkafka by its own name, but for those that would break the guarantee.
    #[serde(default)]
    pub librdkafka_options: BTreeMap<String, PlainText>,
}

/// What a failure in the middle of a batch may lead to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Records of that batch may come twice, with the same id; none is missing.
    #[default]
    AtLeastOnce,
    /// Each record comes once, for consumers that read with `isolation.level=read_committed`.
    ExactlyOnce,
}

/// How record batches are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Not at all.
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

/// How a missing topic is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTopic {
    /// How many partitions.
    pub partitions: NonZeroU16,
    /// On how many brokers each lies.
    pub replication_factor: NonZeroU16,
}

/// `tls:` of a `kafka` sink. Given at all, connections are encrypted.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// `false` turns encryption off without taking the settings out.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// The certificate authority that signed the brokers' certificates, PEM. Without it those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Our own certificate, PEM, where brokers ask for one.
    pub crt_file: Option<PathBuf>,
    /// The key of our own certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// The pass phrase of the key.
    pub key_pass: Option<Secret>,
    /// Whether brokers must show a certificate that is valid; `false` only for trying things out.
    #[serde(default = "yes")]
    pub verify_certificate: bool,
    /// Whether that certificate must be for the broker's host name.
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

/// How we say who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
pub enum SaslMechanism {
    /// Name and password in the clear: only over TLS.
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
    /// Everything that reads well but cannot be right. Looks at neither network nor disk.
    #[must_use]
    pub fn check(&self) -> Vec<SettingDiagnostic> {
        let mut problems = Vec::new();
        if self.bootstrap_servers.split(',').all(|server| server.trim().is_empty()) {
            problems.push(problem("bootstrap_servers", "no broker is named", "write one such as kafka:9092"));
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
        let message = topics::template_problem(&template)?;
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
            if let Some(hint) = options::refusal(name) {
                problems.push(problem(&key, format!("`{name}` cannot be set here"), hint));
            } else if let Err(message) = client::try_option(name, value.as_str()) {
                problems.push(problem(&key, message, "see the producer's options in librdkafka's CONFIGURATION.md"));
            }
        }
        problems
    }

    /// What works but is probably not meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
        let in_the_clear = !self.tls.as_ref().is_some_and(|tls| tls.enabled);
        let plain = self.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == SaslMechanism::Plain);
        if in_the_clear && plain {
            let message = "the password goes over the network in the clear";
            return vec![problem("sasl.mechanism", message, "add `tls: {}`, or use SCRAM-SHA-512")];
        }
        Vec::new()
    }

    /// Every secret of the sink, for resolving relative files.
    pub fn secrets_mut(&mut self) -> Vec<&mut Secret> {
        let tls = self.tls.as_mut().and_then(|tls| tls.key_pass.as_mut());
        let sasl = self.sasl.as_mut().map(|sasl| [sasl.password.as_mut(), sasl.token.as_mut()]);
        tls.into_iter().chain(sasl.into_iter().flatten().flatten()).collect()
    }

    /// Builds the sink called `sink` of the pipeline called `pipeline`. Touches nothing outside.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    pub fn build(&self, clock: SharedClock, pipeline: &str, sink: &str) -> Result<KafkaSink, Vec<SettingDiagnostic>> {
        let problems = self.check();
        if !problems.is_empty() {
            return Err(problems);
        }
        let topic = Template::parse(&self.topic).map_err(|error| vec![of_template("topic", &self.topic, &error)])?;
        let encoder =
            Encoder::new(self, &topic).map_err(|error| vec![problem("headers", error.message, error.hint)])?;
        let connection = Connection::new(self, Names::new(pipeline, sink), clock);
        let topics = Topics::new(topic, self.create_topic);
        Ok(KafkaSink::new(self.delivery, self.fingerprint(), connection, topics, encoder))
    }

    /// The topic and key of an event's record.
    #[must_use]
    pub fn example(&self, event: &Event<'_>) -> Vec<(&'static str, String)> {
        let Ok(topic) = Template::parse(&self.topic) else { return Vec::new() };
        let mut key = Vec::new();
        KeyField::of(self).push(event, &mut key);
        let key = if key.is_empty() { "(none)".to_owned() } else { String::from_utf8_lossy(&key).into_owned() };
        vec![("topic", sanitized(&topic.render(event))), ("key", key)]
    }

    pub(super) fn encoding(&self) -> EncodingOptions {
        EncodingOptions { schema: self.schema, ocsf_version: self.ocsf_version, raw: self.raw }
    }

    /// The largest record that librdkafka takes, in bytes: its own default unless an option says otherwise.
    pub(super) fn max_record_bytes(&self) -> usize {
        const LIBRDKAFKA_DEFAULT: usize = 1_000_000;
        let given = self.librdkafka_options.get("message.max.bytes");
        given.and_then(|value| value.as_str().parse().ok()).unwrap_or(LIBRDKAFKA_DEFAULT)
    }

    /// A text that changes whenever other records would be written, or elsewhere.
    fn fingerprint(&self) -> String {
        format!(
            "kafka {} topic={} key={:?} headers={:?} {:?} max={} {:?}",
            self.bootstrap_servers,
            self.topic,
            self.key_field,
            self.headers,
            self.encoding(),
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

fn problem(key: &str, message: impl Into<String>, hint: impl Into<String>) -> SettingDiagnostic {
    SettingDiagnostic { key: key.to_owned(), message: message.into(), hint: hint.into() }
}
