//! `tests:` of the pipeline file, as written. [`crate::pipeline`] checks it against the components, `auditflow test` runs it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

/// The key of the section.
pub(crate) const SECTION: &str = "tests";

/// One test: records of vendors, and the events that must arrive at components.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnitTest {
    /// What the test shows, such as `deletions reach the archive`.
    pub name: String,
    /// The records, in the order in which they are read.
    pub inputs: Vec<TestInput>,
    /// What must arrive at which transforms and sinks.
    #[serde(default)]
    pub outputs: Vec<TestOutput>,
    /// Transforms and sinks at which nothing may arrive.
    #[serde(default)]
    pub no_outputs_from: Vec<String>,
    /// The file that it is in.
    #[serde(skip)]
    pub file: String,
    /// Where it begins there, from 1.
    #[serde(skip)]
    pub line: usize,
}

/// Records of a source.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestInput {
    /// The source.
    pub insert_at: String,
    /// The vendor's record: a map, or a string with its JSON, byte for byte; a list of such for several records.
    #[serde(default)]
    pub raw: Option<Value>,
    /// A file with the vendor's records instead: NDJSON, a JSON array, or pages of the vendor's API. A relative path starts in the directory of the pipeline file.
    #[serde(default)]
    pub file: Option<PathBuf>,
    /// When auditflow reads the records, the events' `observed_at`. Default: `2026-01-01T00:00:00Z`.
    #[serde(default)]
    pub observed_at: Option<String>,
}

/// Events that must arrive at a component.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestOutput {
    /// The transform or sink; an output of a route as `name.output`.
    pub extract_from: String,
    /// How many events arrive. Default: as many as `events` has, else one or more.
    #[serde(default)]
    pub count: Option<usize>,
    /// The events in their order, each with the fields that matter; `null` also stands for a missing field.
    #[serde(default)]
    pub events: Option<Vec<Value>>,
    /// Conditions that hold for every event that arrives, before redaction, as in a filter.
    #[serde(default)]
    pub conditions: Vec<String>,
    /// Where a sink writes the events, in their order, as `auditflow plan` names it: `path`; `bucket` and `prefix`; `topic` and `key`.
    #[serde(default)]
    pub destinations: Option<Vec<BTreeMap<String, String>>>,
}
