//! `type: normalize`: normalizes each vendor's records into the common schema.
//!
//! The vendor does the work ([`Normalizer::normalize`](crate::vendors::Normalizer::normalize)); it depends only on the record and
//! the settings of its source. After this transform, events have the fields of the schema. A sink that reads a source directly
//! receives the vendor's records unchanged.

use serde::Deserialize;

/// The settings of a `normalize` transform. It has none: options that affect normalizing belong to the source, because they also
/// determine the events' ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {}
