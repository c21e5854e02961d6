//! The settings of the process: its data directory, its log, its shutdown.
//!
//! ```text
//! defaults  <  top level of the pipeline file  <  AUDITFLOW_DATA_DIR, AUDITFLOW_LOG__LEVEL, ...  <  flags
//! ```
//!
//! Environment variables override these settings only, never a source, transform or sink. There, `${VAR}` in the file shows
//! where a value comes from.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::deserialize::field_names;
use super::diagnostic::{Diagnostic, Diagnostics};
use super::environment::Environment;
use super::node::{self, Entry, KeyPath, Node, ScalarValue};
use super::{multi_error, suggest};
use crate::shard::ShardCount;
use crate::units::{ByteSize, Span};

/// The prefix of the environment variables that override settings.
const PREFIX: &str = "AUDITFLOW_";

/// The settings of the process.
#[derive(Clone, Debug, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The pipeline's name, a part of the names of manifests, objects, markers and Kafka transactions: keep it. Default: the name
    /// of the file or directory that the pipeline is read from. Several files and directories need it.
    pub name: Option<String>,
    /// The directory of the journal. A relative path starts in the directory of the pipeline file.
    pub data_dir: PathBuf,
    /// Splits the pipeline into so many journals, 1 to 1024: a source belongs to one of them by its vendor and account. One process
    /// or several run them. It cannot be changed later. Default: one journal, without shards.
    #[schemars(with = "Option<u16>", range(min = 1, max = 1024))]
    pub shards: Option<ShardCount>,
    /// The log.
    pub log: LogSettings,
    /// The size and retention of the journal.
    pub journal: JournalSettings,
    /// Metrics and health over HTTP.
    pub api: ApiSettings,
    /// How long a shutdown may take. The next start resumes unfinished work.
    pub shutdown_timeout: Span,
    /// Worker threads. Default: one per CPU.
    pub threads: Option<NonZeroUsize>,
}

/// The log, which is written to standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The lowest level that is written.
    pub level: LogLevel,
    /// The format of log lines.
    pub format: LogFormat,
}

/// A log level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed and needs an operator.
    Error,
    /// Something is wrong, and the pipeline continues.
    Warn,
    /// What the pipeline does.
    #[default]
    Info,
    /// Each page, request and batch.
    Debug,
    /// Everything.
    Trace,
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The size and retention of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// The size at which the sources pause until the sinks catch up.
    pub max_size: ByteSize,
    /// How long the journal keeps events that every sink has delivered, from when they became visible.
    pub retention: Span,
    /// How long the journal keeps the keys that deduplicate records.
    pub key_retention: Span,
}

/// Metrics and health over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ApiSettings {
    /// IP address and port to listen on, such as `127.0.0.1:9598`; anyone who can connect can read. Default: none.
    pub address: Option<SocketAddr>,
}

/// The settings that flags override; they have the highest precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Overrides {
    /// Directory of the journal; a relative path starts in the directory of the pipeline file
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Lowest log level that is written
    #[arg(long, value_enum)]
    pub log_level: Option<LogLevel>,
    /// Format of log lines
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Number of worker threads
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Settings {
    fn default() -> Self {
        Self {
            name: None,
            data_dir: PathBuf::from("./data"),
            shards: None,
            log: LogSettings::default(),
            journal: JournalSettings::default(),
            api: ApiSettings::default(),
            shutdown_timeout: Span(Duration::from_secs(30)),
            threads: None,
        }
    }
}

impl Default for JournalSettings {
    fn default() -> Self {
        Self { max_size: ByteSize(10 << 30), retention: Span(DAY), key_retention: Span(90 * DAY) }
    }
}

impl Settings {
    /// Whether a flag or the environment says where the data directory is, and not a file.
    pub(crate) fn data_dir_is_overridden(environment: &Environment, overrides: &Overrides) -> bool {
        overrides.data_dir.is_some() || environment.get("AUDITFLOW_DATA_DIR").is_some()
    }

    /// The names of the settings at the top level of the file.
    pub(crate) const NAMES: &[&str] =
        &["name", "data_dir", "shards", "log", "journal", "api", "shutdown_timeout", "threads"];
}

impl LogLevel {
    /// Its name in log filters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// Reads the settings from all layers. Errors in the file and in the environment go to `diagnostics`, and the wrong values are
/// skipped.
pub(crate) fn read(
    root: &Node,
    environment: &Environment,
    overrides: &Overrides,
    diagnostics: &mut Diagnostics,
) -> Settings {
    let written = root.with_only(|key| Settings::NAMES.contains(&key));
    multi_error::read_type::<Settings>(&written, &KeyPath::default(), diagnostics);
    let file = FileLayer { entries: table(&written, diagnostics) };
    let environment = environment_layer(environment, diagnostics);
    let merged = merge(file, environment).and_then(Config::try_deserialize::<Settings>);
    let mut settings = merged.unwrap_or_else(|error| {
        diagnostics.push(Diagnostic::error(None, "", in_one_line(&error), ""));
        Settings::default()
    });
    overrides.apply_to(&mut settings);
    settings
}

fn merge(file: FileLayer, environment: Map<String, String>) -> Result<Config, ConfigError> {
    Config::builder().add_source(file).add_source(environment_source(environment)).build()
}

fn environment_source(variables: Map<String, String>) -> config::Environment {
    config::Environment::with_prefix("AUDITFLOW").prefix_separator("_").separator("__").source(Some(variables))
}

impl Overrides {
    /// Whether flags or the environment ask for a log in JSON: what is known of a file that cannot be read.
    #[must_use]
    pub fn wants_json_log(&self, environment: &Environment) -> bool {
        let variable = || environment.with_prefix("AUDITFLOW_LOG__FORMAT").any(|(_, value)| value == "json");
        self.log_format.map_or_else(variable, |format| format == LogFormat::Json)
    }

    fn apply_to(&self, settings: &mut Settings) {
        if let Some(data_dir) = &self.data_dir {
            settings.data_dir.clone_from(data_dir);
        }
        settings.log.level = self.log_level.unwrap_or(settings.log.level);
        settings.log.format = self.log_format.unwrap_or(settings.log.format);
        settings.threads = self.threads.or(settings.threads);
    }
}

/// The top level of the file as a layer of `config`, with the position of each value as its origin.
#[derive(Clone, Debug)]
struct FileLayer {
    entries: Map<String, Value>,
}

impl Source for FileLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.entries.clone())
    }
}

fn table(node: &Node, diagnostics: &Diagnostics) -> Map<String, Value> {
    let kept = node.entries().iter().filter(|entry| !diagnostics.is_dropped(entry.value.id) && !entry.value.is_null());
    kept.map(|entry| (entry.key.clone(), value(entry, diagnostics))).collect()
}

fn value(entry: &Entry, diagnostics: &Diagnostics) -> Value {
    let kind = match &entry.value.value {
        node::Value::Scalar(scalar) => kind_of(scalar.typed_value()),
        node::Value::Map(_) => ValueKind::Table(table(&entry.value, diagnostics)),
        node::Value::List(_) => ValueKind::Nil,
    };
    Value::new(Some(&diagnostics.place(entry.value.span)), kind)
}

fn kind_of(form: ScalarValue<'_>) -> ValueKind {
    match form {
        ScalarValue::Null => ValueKind::Nil,
        ScalarValue::Bool(value) => ValueKind::Boolean(value),
        ScalarValue::Unsigned(number) => ValueKind::U64(number),
        ScalarValue::Signed(number) => ValueKind::I64(number),
        ScalarValue::Float(number) => ValueKind::Float(number),
        ScalarValue::Text(text) => ValueKind::String(text.to_owned()),
    }
}

/// The environment variables that override settings. One that cannot be read is reported by name and skipped.
fn environment_layer(environment: &Environment, diagnostics: &mut Diagnostics) -> Map<String, String> {
    let known = variable_names();
    let mut layer = Map::new();
    for (name, value) in environment.with_prefix(PREFIX) {
        if !known.iter().any(|known| known == name) {
            warn_of_unknown(name, &known, diagnostics);
            continue;
        }
        let alone = Map::from_iter([(name.to_owned(), value.to_owned())]);
        match Config::builder()
            .add_source(environment_source(alone))
            .build()
            .and_then(Config::try_deserialize::<Settings>)
        {
            Ok(_) => drop(layer.insert(name.to_owned(), value.to_owned())),
            Err(error) => diagnostics.push(of_variable(name, in_one_line(&error))),
        }
    }
    layer
}

fn of_variable(name: &str, message: String) -> Diagnostic {
    let diagnostic = Diagnostic::error(None, "", message, "change the variable or unset it");
    diagnostic.with_origin(format!("environment variable {name}"))
}

/// Warns of unknown variables that are similar to a known one. Others may belong to other programs.
fn warn_of_unknown(name: &str, known: &[String], diagnostics: &mut Diagnostics) {
    let known = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
    let Some(meant) = name.strip_prefix(PREFIX).and_then(|name| suggest::nearest(name, known)) else { return };
    let hint = format!("did you mean `{PREFIX}{meant}`?");
    let diagnostic = Diagnostic::warning(None, "", format!("{name} is not a setting"), hint);
    diagnostics.push(diagnostic.with_origin(format!("environment variable {name}")));
}

/// `AUDITFLOW_DATA_DIR`, `AUDITFLOW_LOG__LEVEL` and so on.
fn variable_names() -> Vec<String> {
    let below = |section: &'static str| match section {
        "log" => field_names(|probe| LogSettings::deserialize(probe)),
        "journal" => field_names(|probe| JournalSettings::deserialize(probe)),
        "api" => field_names(|probe| ApiSettings::deserialize(probe)),
        _ => &[],
    };
    let mut names = Vec::new();
    for setting in Settings::NAMES {
        let inner = below(setting);
        if inner.is_empty() {
            names.push(format!("{PREFIX}{}", setting.to_uppercase()));
        }
        names.extend(inner.iter().map(|inner| format!("{PREFIX}{setting}__{inner}").to_uppercase()));
    }
    names
}

fn in_one_line(error: &ConfigError) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    fn layered(text: &str, environment: &[(&str, &str)], overrides: &Overrides) -> (Settings, Vec<String>) {
        let mut diagnostics = Diagnostics::of_file("x.yaml", text);
        let root = crate::config::yaml::read(0, &mut diagnostics).expect("YAML");
        let environment = Environment::from_pairs(environment.iter().copied());
        let settings = read(&root, &environment, overrides, &mut diagnostics);
        (settings, diagnostics.resolve("x.yaml").iter().map(ToString::to_string).collect())
    }

    #[test]
    fn an_empty_file_has_the_defaults() {
        let (settings, diagnostics) = layered("", &[], &Overrides::default());
        assert_eq!(settings, Settings::default());
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
    }

    #[test]
    fn flags_override_the_environment_which_overrides_the_file() {
        let text = "data_dir: /file\nlog: {level: debug, format: json}\nthreads: 3\napi: {address: 127.0.0.1:1}\njournal: {max_size: 2GiB, retention: 90}\n";
        let environment = [
            ("AUDITFLOW_DATA_DIR", "/environment"),
            ("AUDITFLOW_LOG__LEVEL", "warn"),
            ("AUDITFLOW_JOURNAL__RETENTION", "2h"),
            ("AUDITFLOW_API__ADDRESS", "[::1]:9598"),
            ("AUDITFLOW_THREADS", "5"),
            ("AUDITFLOW_SHUTDOWN_TIMEOUT", "7"),
        ];
        let overrides = Overrides { data_dir: Some("/flag".into()), ..Overrides::default() };
        let (settings, diagnostics) = layered(text, &environment, &overrides);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(settings.data_dir, PathBuf::from("/flag"));
        assert_eq!(settings.log, LogSettings { level: LogLevel::Warn, format: LogFormat::Json });
        assert_eq!(settings.journal.max_size, ByteSize(2 << 30));
        assert_eq!(settings.journal.retention, Span(Duration::from_secs(7_200)));
        assert_eq!(settings.journal.key_retention, JournalSettings::default().key_retention);
        assert_eq!(settings.api.address, Some(SocketAddr::from((Ipv6Addr::LOCALHOST, 9_598))));
        assert_eq!(settings.threads.map(NonZeroUsize::get), Some(5));
        assert_eq!(settings.shutdown_timeout.0, Duration::from_secs(7));
    }

    #[test]
    fn environment_variables_never_override_a_component() {
        let text = "sources: {a: {type: clumio}}\n";
        let (_, diagnostics) = layered(text, &[("AUDITFLOW_SOURCES__A__TYPE", "merge")], &Overrides::default());
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
    }

    #[test]
    fn every_error_names_its_origin() {
        let text = "threads: 0\nlog: {level: loud, fromat: json}\njournal: {max_size: big}\n";
        let environment = [("AUDITFLOW_LOG__FORMAT", "xml"), ("AUDITFLOW_LOG__LEVLE", "warn")];
        let (settings, diagnostics) = layered(text, &environment, &Overrides::default());
        assert_eq!(settings, Settings::default());
        for (index, words) in [
            (0, "--> x.yaml:1:10 (threads)"),
            (1, "--> x.yaml:2:14 (log.level)"),
            (2, "--> x.yaml:2:20 (log.fromat)"),
            (3, "--> x.yaml:3:21 (journal.max_size)"),
            (4, "--> environment variable AUDITFLOW_LOG__FORMAT"),
            (5, "did you mean `AUDITFLOW_LOG__LEVEL`?"),
        ] {
            assert!(diagnostics[index].contains(words), "{words}: {diagnostics:#?}");
        }
        assert_eq!(diagnostics.len(), 6, "{diagnostics:#?}");
    }
}
