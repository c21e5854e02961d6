//! `type: normalize`: brings each vendor's records into the one schema.
//!
//! The work itself is the vendor's ([`Normalizer::normalize`](crate::vendors::Normalizer::normalize)), since it depends on
//! nothing but the record and the settings of its source. This transform marks the place in a pipeline from which on
//! events have the schema's fields; a sink that is fed by a source directly gets the vendor's records as they came.

use serde::Deserialize;

/// The settings of a `normalize` transform. It has none of its own: what bears upon normalizing is set at the source,
/// where it is also part of the events' ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
