//! The table of sinks: the one place that knows them all by name. A new sink is one file or folder and its lines here.

use std::time::Duration;

use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde::{Deserialize as _, Deserializer};

use super::console::ConsoleConfig;
use super::file::FileConfig;
#[cfg(feature = "kafka")]
use super::kafka::KafkaConfig;
#[cfg(feature = "s3")]
use super::s3::S3Config;
use super::{BatchOptions, Sink};
use crate::clock::SharedClock;
use crate::diagnostic::SettingDiagnostic;
use crate::event::Event;

/// The settings of a sink, by type.
#[derive(Clone, Debug)]
pub enum SinkConfig {
    /// `type: console`
    Console(ConsoleConfig),
    /// `type: file`
    File(FileConfig),
    /// `type: kafka`
    #[cfg(feature = "kafka")]
    Kafka(Box<KafkaConfig>),
    /// `type: s3`
    #[cfg(feature = "s3")]
    S3(Box<S3Config>),
}

/// Every sink type's name, in alphabetical order.
pub const NAMES: &[&str] = &[
    "console",
    "file",
    #[cfg(feature = "kafka")]
    "kafka",
    #[cfg(feature = "s3")]
    "s3",
];

/// What a sink is called, for those whose outside knows them by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkName<'a> {
    /// The pipeline's name.
    pub pipeline: &'a str,
    /// The sink's name in the pipeline file.
    pub sink: &'a str,
}

impl SinkConfig {
    /// Reads the settings of the sink type called `name`; `None` if there is no such type.
    ///
    /// # Errors
    /// What the deserializer finds wrong: unknown keys, wrong types, missing settings.
    pub fn read<'de, D: Deserializer<'de>>(name: &str, settings: D) -> Option<Result<Self, D::Error>> {
        match name {
            "console" => Some(ConsoleConfig::deserialize(settings).map(Self::Console)),
            "file" => Some(FileConfig::deserialize(settings).map(Self::File)),
            #[cfg(feature = "kafka")]
            "kafka" => Some(KafkaConfig::deserialize(settings).map(|config| Self::Kafka(Box::new(config)))),
            #[cfg(feature = "s3")]
            "s3" => Some(S3Config::deserialize(settings).map(|config| Self::S3(Box::new(config)))),
            _ => None,
        }
    }

    /// The JSON Schema of the settings of the sink type called `name`; `None` if there is no such type.
    #[must_use]
    pub fn schema(name: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
        match name {
            "console" => Some(ConsoleConfig::json_schema(generator)),
            "file" => Some(FileConfig::json_schema(generator)),
            #[cfg(feature = "kafka")]
            "kafka" => Some(KafkaConfig::json_schema(generator)),
            #[cfg(feature = "s3")]
            "s3" => Some(S3Config::json_schema(generator)),
            _ => None,
        }
    }

    /// Everything that reads well but cannot be right. Looks at neither network nor disk.
    #[must_use]
    pub fn check(&self) -> Vec<SettingDiagnostic> {
        match self {
            Self::Console(_) => Vec::new(),
            Self::File(config) => config.check(),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => config.check(),
            #[cfg(feature = "s3")]
            Self::S3(config) => config.check(),
        }
    }

    /// What works but is probably not meant.
    #[must_use]
    pub fn warnings(&self) -> Vec<SettingDiagnostic> {
        match self {
            Self::Console(_) => Vec::new(),
            Self::File(config) => config.warnings(),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => config.warnings(),
            #[cfg(feature = "s3")]
            Self::S3(config) => config.warnings(),
        }
    }

    /// Two sinks of one pipeline must not have the same key: they would write the same place. `None`: any number may.
    #[must_use]
    pub fn conflict_key(&self) -> Option<String> {
        match self {
            Self::Console(_) => None,
            Self::File(config) => Some(config.conflict_key()),
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => None,
            #[cfg(feature = "s3")]
            Self::S3(_) => None,
        }
    }

    /// Every secret of the sink, for resolving relative files.
    pub fn secrets_mut(&mut self) -> Vec<&mut crate::secret::Secret> {
        match self {
            Self::Console(_) | Self::File(_) => Vec::new(),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => config.secrets_mut(),
            #[cfg(feature = "s3")]
            Self::S3(config) => config.secrets_mut(),
        }
    }

    /// When a batch closes unless the pipeline file says otherwise.
    #[must_use]
    pub fn default_batch(&self) -> BatchOptions {
        match self {
            Self::Console(_) => {
                BatchOptions { max_events: 1_000, max_bytes: 1 << 20, timeout: Duration::from_millis(200) }
            }
            // A manifest a batch: one a second would be more manifests than anyone wants to list.
            Self::File(config) if config.manifest => {
                BatchOptions { max_events: 100_000, max_bytes: 64 << 20, timeout: Duration::from_secs(60) }
            }
            Self::File(_) => BatchOptions { max_events: 10_000, max_bytes: 16 << 20, timeout: Duration::from_secs(1) },
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => BatchOptions { max_events: 10_000, max_bytes: 16 << 20, timeout: Duration::from_secs(1) },
            // Few large objects: waiting costs nothing, the journal holds the data.
            #[cfg(feature = "s3")]
            Self::S3(_) => {
                BatchOptions { max_events: 1_000_000, max_bytes: 64 << 20, timeout: Duration::from_secs(15 * 60) }
            }
        }
    }

    /// The word for it in the pipeline file.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Console(_) => "console",
            Self::File(_) => "file",
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => "kafka",
            #[cfg(feature = "s3")]
            Self::S3(_) => "s3",
        }
    }

    /// What an operator should know when this sink delivers again what it has delivered already.
    #[must_use]
    pub fn when_redelivered(&self) -> &'static str {
        match self {
            Self::Console(_) => "they are printed once more",
            Self::File(config) => config.when_redelivered(),
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => "they are sent once more, as new records with the same keys",
            #[cfg(feature = "s3")]
            Self::S3(_) => {
                "they come in new objects, with the number of the redelivery in their names; what was put before stays, and the chain of manifests goes on"
            }
        }
    }

    /// What an operator should know when this sink goes by another name.
    #[must_use]
    pub fn when_renamed(&self) -> &'static str {
        match self {
            Self::Console(_) => "nothing outside knows its name",
            Self::File(config) => config.when_renamed(),
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => {
                "the broker knows it by a new name (auditflow.PIPELINE.SINK: group, transactions, position topic) and takes the position from here; give the new name the rights of the old one, and delete the old position topic when you like"
            }
            #[cfg(feature = "s3")]
            Self::S3(_) => {
                "new objects and manifests carry the new name; those that are there keep theirs, and the first new manifest names the last old one's hash"
            }
        }
    }

    /// Where an event would land: a few parts, each with its name. Looks at neither network nor disk.
    #[must_use]
    pub fn example(&self, event: &Event<'_>) -> Vec<(&'static str, String)> {
        match self {
            Self::Console(_) => vec![("stream", "standard output".to_owned())],
            Self::File(config) => config.example(event),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => config.example(event),
            #[cfg(feature = "s3")]
            Self::S3(config) => config.example(event),
        }
    }

    /// Builds the sink. Touches nothing outside.
    ///
    /// # Errors
    /// Every setting that cannot be right.
    pub fn build(&self, clock: SharedClock, name: SinkName<'_>) -> Result<Box<dyn Sink>, Vec<SettingDiagnostic>> {
        match self {
            Self::Console(config) => Ok(Box::new(config.build())),
            Self::File(config) => Ok(Box::new(config.build(clock, name)?)),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => Ok(Box::new(config.build(clock, name.pipeline, name.sink)?)),
            #[cfg(feature = "s3")]
            Self::S3(config) => Ok(Box::new(config.build(&clock, name.pipeline, name.sink)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::SystemClock;

    fn settings(name: &str) -> serde_json::Value {
        match name {
            "file" => serde_json::json!({"path": "audit/{{ vendor }}.ndjson"}),
            "kafka" => serde_json::json!({"bootstrap_servers": "kafka:9092", "topic": "audit.{{ vendor }}"}),
            "s3" => serde_json::json!({"bucket": "audit", "region": "eu-central-1"}),
            _ => serde_json::json!({}),
        }
    }

    #[test]
    fn every_name_reads_checks_and_builds() {
        let mut prints = std::collections::BTreeSet::new();
        for name in NAMES {
            let config = SinkConfig::read(name, settings(name)).expect(name).expect(name);
            assert_eq!(config.check(), []);
            assert!(config.default_batch().max_events > 0);
            prints.insert(
                config.build(Arc::new(SystemClock), SinkName { pipeline: "p", sink: "s" }).expect(name).fingerprint(),
            );
        }
        assert_eq!(prints.len(), NAMES.len());
        assert!(SinkConfig::read("files", settings("file")).is_none());
    }

    #[test]
    fn an_example_names_the_place() {
        let event = crate::sinks::testing::event("{}", "2026-01-02T03:04:05Z");
        for name in NAMES {
            let places = SinkConfig::read(name, settings(name)).expect(name).expect(name).example(&event);
            let told: Vec<_> = places.iter().map(|(part, place)| format!("{part} {place}")).collect();
            match *name {
                "file" => assert_eq!(told, [format!("path audit/{}.ndjson", event.vendor)]),
                "kafka" => assert_eq!(told, [format!("topic audit.{}", event.vendor), format!("key {}", event.id)]),
                _ => assert!(!told.is_empty(), "{name}"),
            }
        }
    }

    #[test]
    fn unknown_settings_are_refused() {
        for name in NAMES {
            let mut settings = settings(name);
            settings["compresion"] = "gzip".into();
            let error = SinkConfig::read(name, settings).expect(name).expect_err(name);
            assert!(error.to_string().contains("compresion"), "{error}");
        }
    }
}
