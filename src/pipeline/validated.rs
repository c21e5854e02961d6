//! A validated pipeline: everything that the runtime needs.

use std::path::PathBuf;
use std::sync::Arc;

use crate::collect::SourceOptions;
use crate::config::diagnostic::Diagnostic;
use crate::config::settings::Settings;
use crate::config::unit_test::UnitTest;
use crate::deliver::Route;
use crate::journal::SinkStart;
use crate::journal::shard_dirs::ShardsOfSources;
use crate::shard::ShardSelection;
use crate::sinks::BatchOptions;
use crate::sinks::claims::OwnPath;
use crate::sinks::registry::SinkConfig;
use crate::vendors::Vendor;

/// A pipeline whose files are read and validated.
#[derive(Clone, Debug)]
pub struct ValidatedPipeline {
    /// Its name: that of its first file without directory and extension, or of its first directory. Kafka transactional ids
    /// contain it.
    pub name: String,
    /// The settings of the process.
    pub settings: Settings,
    /// The sources, in the order of the files.
    pub sources: Vec<ValidatedSource>,
    /// The sinks, in the order of the files.
    pub sinks: Vec<ValidatedSink>,
    /// All components and what they read, in the order of the files.
    pub components: Vec<WiredComponent>,
    /// The program's own files, which no sink may write to.
    pub own_paths: Vec<OwnPath>,
    /// The tests of the file, or what is wrong with them; a run does not care.
    pub tests: Result<Vec<UnitTest>, Vec<Diagnostic>>,
    /// The shards whose sources these are, in order; empty without `shards`.
    pub shards: Vec<u16>,
    /// The shard of each source of the files, selected or not.
    pub shards_of_sources: ShardsOfSources,
    /// How they were selected.
    pub selection: ShardSelection,
    /// The shard, if this is the pipeline of one.
    pub shard: Option<u16>,
    /// Warnings: the pipeline runs, but probably not as intended.
    pub warnings: Vec<Diagnostic>,
}

impl ValidatedPipeline {
    /// Logs the warnings.
    pub(crate) fn log_warnings(&self) {
        for warning in &self.warnings {
            tracing::warn!(event = "config_warning", setting = warning.key, hint = warning.hint, "{}", warning.message);
        }
    }
}

/// The kind of a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ComponentKind {
    /// Collects.
    Source,
    /// Normalizes or filters.
    Transform,
    /// Delivers.
    Sink,
}

/// A component, and how the file joins it to others.
#[derive(Clone, Debug)]
pub struct WiredComponent {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: ComponentKind,
    /// Its `type`.
    pub type_name: String,
    /// The condition of a filter.
    pub condition: Option<String>,
    /// The components that it reads.
    pub inputs: Vec<String>,
    /// What passes it, by source.
    pub routes: Vec<Route>,
}

/// One source.
#[derive(Clone, Debug)]
pub struct ValidatedSource {
    /// Its name.
    pub name: String,
    /// The name of its vendor: the `type`.
    pub vendor_name: &'static str,
    /// The vendor with its settings.
    pub vendor: Arc<dyn Vendor>,
    /// The common settings of sources.
    pub options: SourceOptions,
    /// The shard that it belongs to; `None` without `shards`.
    pub shard: Option<u16>,
    /// What its settings are compared by, and the files that they name.
    pub identity: SettingsIdentity,
}

/// One sink.
#[derive(Clone, Debug)]
pub struct ValidatedSink {
    /// Its name.
    pub name: String,
    /// Its type and settings. In those of the whole pipeline, `{{ shard }}` is 0.
    pub config: SinkConfig,
    /// The same with `{{ shard }}` as written.
    pub written: SinkConfig,
    /// When a batch closes.
    pub batch: BatchOptions,
    /// Where it begins at its first start.
    pub start: SinkStart,
    /// What it reads, ordered by source name; each source once.
    pub routes: Vec<Route>,
    /// What its settings are compared by, and the files that they name.
    pub identity: SettingsIdentity,
}

/// What the settings of a component are compared by when the pipeline file is read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettingsIdentity {
    /// A hash of the settings as written, with variables replaced.
    pub digest: [u8; 32],
    /// Where the relative paths among them start.
    pub directory: PathBuf,
    /// The files that the settings name: of secrets, certificates and keys. Their contents count as settings.
    pub files: Vec<PathBuf>,
}
