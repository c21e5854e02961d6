//! The registry of sinks: the only file that knows all of them by name. A new sink is one module and its lines here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::{JsonSchema as _, Schema, SchemaGenerator};
use serde::{Deserialize as _, Deserializer};

use super::console::ConsoleConfig;
use super::file::FileConfig;
#[cfg(feature = "kafka")]
use super::kafka::KafkaConfig;
#[cfg(feature = "s3")]
use super::s3::S3Config;
use super::shard_path::{separates_shards, with_shard};
use super::table_state::TableState;
#[cfg(feature = "s3")]
use super::verify::LocalOutputs;
use super::verify::WrittenOutputs;
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

/// The name of every sink type, in alphabetical order.
pub const NAMES: &[&str] = &[
    "console",
    "file",
    #[cfg(feature = "kafka")]
    "kafka",
    #[cfg(feature = "s3")]
    "s3",
];

/// The names of a sink, for targets that use them.
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

    /// Every setting that parses but is invalid. Uses neither network nor disk.
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

    /// The table that the sink writes, from what the journal keeps for it (`SinkStats::state`).
    #[must_use]
    #[cfg_attr(not(feature = "s3"), allow(unused_variables))]
    pub fn table_state(&self, state: &str) -> Option<TableState> {
        match self {
            #[cfg(feature = "s3")]
            Self::S3(config) => config.table_state(state),
            _ => None,
        }
    }

    /// Whether its objects are those of a table, which others may compact.
    #[must_use]
    pub fn is_table(&self) -> bool {
        match self {
            #[cfg(feature = "s3")]
            Self::S3(config) => config.table.is_some(),
            _ => false,
        }
    }

    /// The hash of the newest manifest, from what the journal keeps for the sink (`SinkStats::state`).
    #[must_use]
    pub fn newest_manifest(&self, state: &str) -> Option<String> {
        match self {
            Self::File(config) => config.manifest.then(|| state.to_owned()),
            #[cfg(feature = "s3")]
            Self::S3(config) => config.newest_manifest(state),
            _ => None,
        }
    }

    /// What the sink has written, as its manifests name it, in the target or, of a bucket, in its local `copy`. `None` if it
    /// writes no manifests. Does not connect.
    ///
    /// # Errors
    /// Every invalid setting.
    #[cfg_attr(not(feature = "s3"), allow(unused_variables))]
    pub fn outputs(
        &self,
        clock: &SharedClock,
        name: SinkName<'_>,
        copy: Option<&Path>,
    ) -> Result<Option<Box<dyn WrittenOutputs>>, Vec<SettingDiagnostic>> {
        match self {
            Self::File(config) => Ok(config.outputs(name)?.map(|outputs| Box::new(outputs) as _)),
            #[cfg(feature = "s3")]
            Self::S3(config) => match copy {
                Some(copy) => {
                    let directory = config.manifest_directory(name.pipeline, name.sink)?;
                    let local = |directory: String| LocalOutputs::new(copy.to_owned(), copy.join(directory));
                    Ok(directory.map(|directory| Box::new(local(directory)) as _))
                }
                None => Ok(config.outputs(clock, name.pipeline, name.sink)?.map(|outputs| Box::new(outputs) as _)),
            },
            _ => Ok(None),
        }
    }

    /// What is wrong with the limits of a batch, as this sink's target sees them.
    #[must_use]
    #[cfg_attr(not(feature = "s3"), allow(unused_variables))]
    pub fn check_batch(&self, batch: &BatchOptions) -> Option<SettingDiagnostic> {
        match self {
            #[cfg(feature = "s3")]
            Self::S3(config) => config.batch_problem(batch),
            _ => None,
        }
    }

    /// Settings that work but are probably a mistake.
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

    /// Two sinks of one pipeline must not have the same key, because they would write to the same files. `None`: no conflict.
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

    /// The settings with `{{ shard }}` replaced in the paths of outputs.
    #[must_use]
    pub fn with_shard(&self, shard: &str) -> Self {
        let mut config = self.clone();
        match &mut config {
            Self::File(config) => config.path = with_shard(&config.path, shard),
            #[cfg(feature = "s3")]
            Self::S3(config) => config.key_prefix = with_shard(&config.key_prefix, shard),
            _ => {}
        }
        config
    }

    /// Whether two shards would write to one file, and how not to.
    #[must_use]
    pub fn check_shards(&self) -> Option<SettingDiagnostic> {
        let Self::File(config) = self else { return None };
        (!separates_shards(&config.path)).then(|| SettingDiagnostic {
            key: "path".to_owned(),
            message: "the shards of the pipeline would write to the same files".to_owned(),
            hint: "put `{{ shard }}` into the path, between two of `/`, `-`, `.` and `_`, best in a part of its own: `audit/shard-{{ shard }}/%Y-%m-%d.ndjson`".to_owned(),
        })
    }

    /// Says how old the events are that are going to be collected, so that the check of a target can compare.
    #[cfg_attr(not(feature = "kafka"), allow(unused_variables))]
    pub fn expect_events_since(&mut self, oldest: crate::time::Timestamp) {
        #[cfg(feature = "kafka")]
        if let Self::Kafka(config) = self {
            config.oldest_event = Some(oldest);
        }
    }

    /// Makes relative paths start in `directory`: of outputs, certificates and files of secrets.
    pub fn resolve_against(&mut self, directory: &Path) {
        if let Self::File(config) = self {
            config.resolve_against(directory);
        }
        #[cfg(feature = "kafka")]
        if let Self::Kafka(config) = self {
            config.resolve_against(directory);
        }
        self.secrets_mut().into_iter().for_each(|secret| secret.resolve_against(directory));
    }

    /// The local file that every event goes to, or else the local directory that all files are below; `None` if the sink writes
    /// elsewhere.
    #[must_use]
    pub fn local_target(&self) -> Option<PathBuf> {
        if let Self::File(config) = self { config.local_target() } else { None }
    }

    /// Every secret of the sink, so that relative file paths can be resolved.
    pub fn secrets_mut(&mut self) -> Vec<&mut crate::secret::Secret> {
        match self {
            Self::Console(_) | Self::File(_) => Vec::new(),
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => config.secrets_mut(),
            #[cfg(feature = "s3")]
            Self::S3(config) => config.secrets_mut(),
        }
    }

    /// The files that the sink reads besides those of its secrets.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => config.files(),
            _ => Vec::new(),
        }
    }

    /// The default batch limits.
    #[must_use]
    pub fn default_batch(&self) -> BatchOptions {
        match self {
            Self::Console(_) => {
                BatchOptions { max_events: 1_000, max_bytes: 1 << 20, timeout: Duration::from_millis(200) }
            }
            // One manifest per batch: one per second would be too many to list.
            Self::File(config) if config.manifest => {
                BatchOptions { max_events: 100_000, max_bytes: 64 << 20, timeout: Duration::from_secs(60) }
            }
            Self::File(_) => BatchOptions { max_events: 10_000, max_bytes: 16 << 20, timeout: Duration::from_secs(1) },
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => BatchOptions { max_events: 10_000, max_bytes: 16 << 20, timeout: Duration::from_secs(1) },
            // Few large objects: waiting is safe because the journal has the data. Five vendors with events all day
            // long give 71 objects and manifests a day.
            #[cfg(feature = "s3")]
            Self::S3(_) => {
                BatchOptions { max_events: 1_000_000, max_bytes: 64 << 20, timeout: Duration::from_secs(2 * 3_600) }
            }
        }
    }

    /// The `type` in the pipeline file.
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

    /// Whether no event is written twice after an error or a crash.
    #[must_use]
    pub fn is_exactly_once(&self) -> bool {
        match self {
            Self::Console(_) => false,
            Self::File(_) => true,
            #[cfg(feature = "kafka")]
            Self::Kafka(config) => config.delivery == super::kafka::DeliveryGuarantee::ExactlyOnce,
            #[cfg(feature = "s3")]
            Self::S3(_) => true,
        }
    }

    /// What an operator should know before this sink redelivers events.
    #[must_use]
    pub fn when_redelivered(&self) -> &'static str {
        match self {
            Self::Console(_) => "the events are printed again",
            Self::File(config) => config.when_redelivered(),
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => "the events are sent again, as new records with the same keys",
            #[cfg(feature = "s3")]
            Self::S3(_) => {
                "the events are put into new objects, with the number of the redelivery in their names; earlier objects stay, and the chain of manifests continues"
            }
        }
    }

    /// What an operator should know before this sink is renamed.
    #[must_use]
    pub fn when_renamed(&self) -> &'static str {
        match self {
            Self::Console(_) => "the target does not use its name",
            Self::File(config) => config.when_renamed(),
            #[cfg(feature = "kafka")]
            Self::Kafka(_) => {
                "the broker uses the new name (auditflow.PIPELINE.SINK: group, transactions, position topic) and gets the position from the journal; grant the new name the permissions of the old one; the old position topic can be deleted"
            }
            #[cfg(feature = "s3")]
            Self::S3(_) => {
                "new objects and manifests have the new name; existing ones keep theirs, and the first new manifest contains the hash of the last old one"
            }
        }
    }

    /// Where an event would be written: a few parts, each with its name. Uses neither network nor disk.
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

    /// Builds the sink. Does not connect.
    ///
    /// # Errors
    /// Every invalid setting.
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
                config
                    .build(Arc::new(SystemClock), SinkName { pipeline: "p", sink: "s" })
                    .expect(name)
                    .fingerprint()
                    .to_owned(),
            );
        }
        assert_eq!(prints.len(), NAMES.len());
        assert!(SinkConfig::read("files", settings("file")).is_none());
    }

    #[cfg(feature = "kafka")]
    #[test]
    fn every_file_of_a_kafka_sink_is_relative_to_the_pipeline_file() {
        let mut settings = settings("kafka");
        settings["tls"] = serde_json::json!({"ca_file": "ca.pem", "crt_file": "tls/client.pem", "key_file": "/k/client.key",
            "key_pass": {"file": "pass"}});
        let mut config = SinkConfig::read("kafka", settings).expect("a sink").expect("settings");
        config.resolve_against(Path::new("/etc/acme"));
        assert_eq!(config.secrets_mut()[0].file(), Some(Path::new("/etc/acme/pass")));
        let SinkConfig::Kafka(config) = config else { panic!("not a kafka sink") };
        let tls = config.tls.expect("tls");
        let files = [tls.ca_file, tls.crt_file, tls.key_file].map(|file| file.expect("a file"));
        assert_eq!(files, ["/etc/acme/ca.pem", "/etc/acme/tls/client.pem", "/k/client.key"].map(PathBuf::from));
    }

    #[test]
    fn an_example_names_the_destination() {
        let event = crate::sinks::testing::event("{}", "2026-01-02T03:04:05Z");
        for name in NAMES {
            let parts = SinkConfig::read(name, settings(name)).expect(name).expect(name).example(&event);
            let shown: Vec<_> = parts.iter().map(|(part, value)| format!("{part} {value}")).collect();
            match *name {
                "file" => assert_eq!(shown, [format!("path audit/{}.ndjson", event.vendor)]),
                "kafka" => assert_eq!(shown, [format!("topic audit.{}", event.vendor), format!("key {}", event.id)]),
                _ => assert!(!shown.is_empty(), "{name}"),
            }
        }
    }

    #[test]
    fn unknown_settings_are_rejected() {
        for name in NAMES {
            let mut settings = settings(name);
            settings["compresion"] = "gzip".into();
            let error = SinkConfig::read(name, settings).expect(name).expect_err(name);
            assert!(error.to_string().contains("compresion"), "{error}");
        }
    }
}
