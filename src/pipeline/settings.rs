//! The settings of the process: where it keeps its data, how it logs, how it stops.
//!
//! ```text
//! defaults  <  top level of the pipeline file  <  AUDITFLOW_DATA_DIR, AUDITFLOW_LOG__LEVEL, ...  <  flags
//! ```
//!
//! The environment reaches these settings only, never a source, transform or sink: `${VAR}` in the file says plainly
//! where a value comes from.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use config::{Config, ConfigError, Map, Source, Value, ValueKind};
use serde::Deserialize;

use super::environment::Environment;
use super::node::{self, Entry, Form, Node};
use super::path::KeyPath;
use super::problem::{Finding, Findings};
use super::{collect_all, suggest};
use crate::units::{ByteSize, Span};

/// What the names of environment variables for settings begin with.
const PREFIX: &str = "AUDITFLOW_";

/// The settings of the process.
#[derive(Clone, Debug, PartialEq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the journal lies. Relative to the working directory.
    pub data_dir: PathBuf,
    /// How it logs.
    pub log: LogSettings,
    /// How much the journal keeps.
    pub journal: JournalSettings,
    /// How long a stop may take before what is unfinished is left for the next start.
    pub shutdown_timeout_secs: Span,
    /// Threads that run the tasks; unset: one a processor.
    pub threads: Option<NonZeroUsize>,
}

/// How the process logs, on standard error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// The least important messages that are written.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How important a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something failed and needs a person.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What a running pipeline does.
    #[default]
    Info,
    /// Each page and each batch.
    Debug,
    /// Everything.
    Trace,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much the journal keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JournalSettings {
    /// The size at which the sources pause until the sinks catch up.
    pub max_size: ByteSize,
    /// How long events are kept from when they became visible, if every sink has passed them.
    pub retention: Span,
    /// How long the keys of records are kept by which they are known again.
    pub key_retention: Span,
}

/// What the command line says; it wins over everything else.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
pub struct Overrides {
    /// Where the journal lies
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The least important log messages that are written
    #[arg(long, value_enum)]
    pub log_level: Option<LogLevel>,
    /// Log lines for people or for machines
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormat>,
    /// Threads that run the tasks
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

const DAY: Duration = Duration::from_secs(86_400);

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./data"),
            log: LogSettings::default(),
            journal: JournalSettings::default(),
            shutdown_timeout_secs: Span(Duration::from_secs(30)),
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
    /// The names of the settings at the top level of the file.
    pub(super) const NAMES: &[&str] = &["data_dir", "log", "journal", "shutdown_timeout_secs", "threads"];

    /// How long a stop may take.
    #[must_use]
    pub fn shutdown_timeout(&self) -> Duration {
        self.shutdown_timeout_secs.0
    }
}

impl LogLevel {
    /// Its name, as logging filters take it.
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

/// Reads the settings from all layers. Mistakes in the file and in the environment go to `findings`; a layer's mistake
/// leaves out that one value.
pub(super) fn read(
    file_name: &str,
    root: &Node,
    environment: &Environment,
    overrides: &Overrides,
    findings: &mut Findings,
) -> Settings {
    let written = root.with_only(|key| Settings::NAMES.contains(&key));
    collect_all::read_type::<Settings>(&written, &KeyPath::default(), findings);
    let file = FileLayer { entries: table(&written, file_name, findings) };
    let environment = environment_layer(environment, findings);
    let merged = merge(file, environment).and_then(Config::try_deserialize::<Settings>);
    let mut settings = merged.unwrap_or_else(|error| {
        findings.push(Finding::error(None, "", in_one_line(&error), ""));
        Settings::default()
    });
    overrides.lay_over(&mut settings);
    settings
}

fn merge(file: FileLayer, environment: Map<String, String>) -> Result<Config, ConfigError> {
    Config::builder().add_source(file).add_source(reader_of(environment)).build()
}

fn reader_of(variables: Map<String, String>) -> config::Environment {
    config::Environment::with_prefix("AUDITFLOW").prefix_separator("_").separator("__").source(Some(variables))
}

impl Overrides {
    fn lay_over(&self, settings: &mut Settings) {
        if let Some(data_dir) = &self.data_dir {
            settings.data_dir.clone_from(data_dir);
        }
        settings.log.level = self.log_level.unwrap_or(settings.log.level);
        settings.log.format = self.log_format.unwrap_or(settings.log.format);
        settings.threads = self.threads.or(settings.threads);
    }
}

/// The top level of the file as a layer of `config`, with the place of each value as its origin.
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

fn table(node: &Node, file_name: &str, findings: &Findings) -> Map<String, Value> {
    let kept = node.entries().iter().filter(|entry| !findings.is_dropped(entry.value.id) && !entry.value.is_nothing());
    kept.map(|entry| (entry.key.clone(), value(entry, file_name, findings))).collect()
}

fn value(entry: &Entry, file_name: &str, findings: &Findings) -> Value {
    let place = entry.value.place;
    let kind = match &entry.value.value {
        node::Value::Scalar(scalar) => kind_of(scalar.form()),
        node::Value::Map(_) => ValueKind::Table(table(&entry.value, file_name, findings)),
        node::Value::List(_) => ValueKind::Nil,
    };
    Value::new(Some(&format!("{file_name}:{}:{}", place.line, place.column)), kind)
}

fn kind_of(form: Form<'_>) -> ValueKind {
    match form {
        Form::Nothing => ValueKind::Nil,
        Form::Bool(value) => ValueKind::Boolean(value),
        Form::Unsigned(number) => ValueKind::U64(number),
        Form::Signed(number) => ValueKind::I64(number),
        Form::Float(number) => ValueKind::Float(number),
        Form::Text(text) => ValueKind::String(text.to_owned()),
    }
}

/// The environment variables that set something. One that cannot be read is reported by its name and left out.
fn environment_layer(environment: &Environment, findings: &mut Findings) -> Map<String, String> {
    let known = variable_names();
    let mut layer = Map::new();
    for (name, value) in environment.with_prefix(PREFIX) {
        if !known.iter().any(|known| known == name) {
            warn_of_unknown(name, &known, findings);
            continue;
        }
        let alone = Map::from_iter([(name.to_owned(), value.to_owned())]);
        match Config::builder().add_source(reader_of(alone)).build().and_then(Config::try_deserialize::<Settings>) {
            Ok(_) => drop(layer.insert(name.to_owned(), value.to_owned())),
            Err(error) => findings.push(of_variable(name, in_one_line(&error))),
        }
    }
    layer
}

fn of_variable(name: &str, message: String) -> Finding {
    let finding = Finding::error(None, "", message, "change the variable or unset it");
    finding.with_origin(format!("environment variable {name}"))
}

/// Other programs and other parts of auditflow have variables of their own, so only a near miss is worth a word.
fn warn_of_unknown(name: &str, known: &[String], findings: &mut Findings) {
    let known = known.iter().filter_map(|known| known.strip_prefix(PREFIX));
    let Some(meant) = name.strip_prefix(PREFIX).and_then(|name| suggest::nearest(name, known)) else { return };
    let hint = format!("did you mean `{PREFIX}{meant}`?");
    let finding = Finding::warning(None, "", format!("{name} sets nothing"), hint);
    findings.push(finding.with_origin(format!("environment variable {name}")));
}

/// `AUDITFLOW_DATA_DIR`, `AUDITFLOW_LOG__LEVEL` and so on.
fn variable_names() -> Vec<String> {
    use super::fields::fields_of;
    let below = |section: &'static str| match section {
        "log" => fields_of(|probe| LogSettings::deserialize(probe)),
        "journal" => fields_of(|probe| JournalSettings::deserialize(probe)),
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
    use super::*;

    fn layered(text: &str, environment: &[(&str, &str)], overrides: &Overrides) -> (Settings, Vec<String>) {
        let mut findings = Findings::default();
        let root = crate::pipeline::yaml::read(text, &mut findings).expect("YAML");
        let environment = Environment::from_pairs(environment.iter().copied());
        let settings = read("x.yaml", &root, &environment, overrides, &mut findings);
        (settings, findings.into_problems("x.yaml", text).iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_given_is_the_defaults() {
        let (settings, problems) = layered("", &[], &Overrides::default());
        assert_eq!(settings, Settings::default());
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn flags_win_over_the_environment_over_the_file_over_defaults() {
        let text = "data_dir: /file\nlog: {level: debug, format: json}\nthreads: 3\njournal: {max_size: 2GiB, retention: 90}\n";
        let environment = [
            ("AUDITFLOW_DATA_DIR", "/environment"),
            ("AUDITFLOW_LOG__LEVEL", "warn"),
            ("AUDITFLOW_JOURNAL__RETENTION", "2h"),
            ("AUDITFLOW_THREADS", "5"),
            ("AUDITFLOW_SHUTDOWN_TIMEOUT_SECS", "7"),
        ];
        let overrides = Overrides { data_dir: Some("/flag".into()), ..Overrides::default() };
        let (settings, problems) = layered(text, &environment, &overrides);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(settings.data_dir, PathBuf::from("/flag"));
        assert_eq!(settings.log, LogSettings { level: LogLevel::Warn, format: LogFormat::Json });
        assert_eq!(settings.journal.max_size, ByteSize(2 << 30));
        assert_eq!(settings.journal.retention, Span(Duration::from_secs(7_200)));
        assert_eq!(settings.journal.key_retention, JournalSettings::default().key_retention);
        assert_eq!(settings.threads.map(NonZeroUsize::get), Some(5));
        assert_eq!(settings.shutdown_timeout(), Duration::from_secs(7));
    }

    #[test]
    fn the_environment_never_reaches_a_component() {
        let text = "sources: {a: {type: clumio}}\n";
        let (_, problems) = layered(text, &[("AUDITFLOW_SOURCES__A__TYPE", "merge")], &Overrides::default());
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn every_mistake_names_its_origin() {
        let text = "threads: 0\nlog: {level: loud, fromat: json}\njournal: {max_size: big}\n";
        let environment = [("AUDITFLOW_LOG__FORMAT", "xml"), ("AUDITFLOW_LOG__LEVLE", "warn")];
        let (settings, problems) = layered(text, &environment, &Overrides::default());
        assert_eq!(settings, Settings::default());
        for (index, words) in [
            (0, "--> x.yaml:1:10 (threads)"),
            (1, "--> x.yaml:2:14 (log.level)"),
            (2, "--> x.yaml:2:20 (log.fromat)"),
            (3, "--> x.yaml:3:21 (journal.max_size)"),
            (4, "--> environment variable AUDITFLOW_LOG__FORMAT"),
            (5, "did you mean `AUDITFLOW_LOG__LEVEL`?"),
        ] {
            assert!(problems[index].contains(words), "{words}: {problems:#?}");
        }
        assert_eq!(problems.len(), 6, "{problems:#?}");
    }
}
