//! `type: route`: named conditions, each with an output of its own.
//!
//! A sink or another transform reads `name.output`; the events that no condition holds for are `name._unmatched`. The pipeline
//! makes a filter of each output (`pipeline/fan_out.rs`).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

/// The settings of a `route` transform.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Conditions on events by the name of their output, such as `{iam: 'category == "iam"'}`: read it as `by_kind.iam` if the transform is called `by_kind`. An event goes to every output whose condition holds; what none holds for, to `by_kind._unmatched`.
    #[serde(deserialize_with = "not_empty")]
    pub route: BTreeMap<String, String>,
}

fn not_empty<'de, D: Deserializer<'de>>(value: D) -> Result<BTreeMap<String, String>, D::Error> {
    let routes = BTreeMap::deserialize(value)?;
    if routes.is_empty() {
        return Err(D::Error::custom("a route needs at least one output: `name: condition`"));
    }
    Ok(routes)
}
