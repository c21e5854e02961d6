//! A checked pipeline: everything that running it needs, and nothing that can still be wrong in the file.

use std::sync::Arc;

use super::problem::Problem;
use super::settings::Settings;
use crate::collect::SourceOptions;
use crate::deliver::Route;
use crate::journal::SinkStart;
use crate::sinks::BatchOptions;
use crate::sinks::registry::SinkConfig;
use crate::vendors::Vendor;

/// A pipeline file that has been read and checked.
#[derive(Clone, Debug)]
pub struct Pipeline {
    /// Its name: the file's, without folder and ending. A broker knows a sink by it.
    pub name: String,
    /// The settings of the process.
    pub settings: Settings,
    /// The sources, in the order of the file.
    pub sources: Vec<SourcePlan>,
    /// The sinks, in the order of the file.
    pub sinks: Vec<SinkPlan>,
    /// How many transforms the file has.
    pub transforms: usize,
    /// What most likely is not as it was meant, though the pipeline can run.
    pub warnings: Vec<Problem>,
}

/// One source.
#[derive(Clone, Debug)]
pub struct SourcePlan {
    /// Its name.
    pub name: String,
    /// Its vendor: the `type`.
    pub vendor_name: &'static str,
    /// The vendor with its settings.
    pub vendor: Arc<dyn Vendor>,
    /// The settings that every source has.
    pub options: SourceOptions,
}

/// One sink.
#[derive(Clone, Debug)]
pub struct SinkPlan {
    /// Its name.
    pub name: String,
    /// Its type and settings.
    pub config: SinkConfig,
    /// When a batch closes.
    pub batch: BatchOptions,
    /// Where it begins at its first start.
    pub start: SinkStart,
    /// What it gets, ordered by source name; each source once.
    pub routes: Vec<Route>,
}
