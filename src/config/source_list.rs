//! The settings of a list of sources, beside its name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The section of the lists.
pub(crate) const SOURCES_FROM: &str = "sources_from";

/// The setting whose variables are replaced row by row.
pub(crate) const TEMPLATE: &str = "template";

/// A list with a source for each of its rows.
#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceList {
    /// The list: CSV with a header (`*.csv`), or a YAML list of flat maps (`*.yaml`, `*.yml`). A relative path starts in the
    /// directory of the pipeline file.
    pub(crate) file: PathBuf,
    /// The settings of each source, as under `sources`. `{{ column }}` in a string is the row's value; a setting that is only
    /// that is left out where the value is empty.
    #[expect(dead_code, reason = "only its presence is checked: it is read for each row")]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    template: BTreeMap<String, IgnoredAny>,
}
