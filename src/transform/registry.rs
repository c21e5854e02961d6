//! The registry of transforms: the only place that knows all of them. A new transform is one file and one entry here.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};

use super::{filter, normalize, redact, route};

/// The configuration of a transform, by type.
#[derive(Clone, Debug)]
pub enum TransformConfig {
    /// `type: filter`
    Filter(filter::Config),
    /// `type: normalize`
    Normalize(normalize::Config),
    /// `type: redact`
    Redact(redact::Config),
    /// `type: route`
    Route,
}

/// The type of transform that makes events of raw records.
pub const NORMALIZE: &str = "normalize";
/// The type of transform that passes the events that satisfy a condition.
pub const FILTER: &str = "filter";
/// The type of transform that removes or hashes parts of events.
pub const REDACT: &str = "redact";
/// The type of transform that has an output for each of its conditions.
pub const ROUTE: &str = "route";

/// Every transform's name, in alphabetical order.
pub const NAMES: &[&str] = &[FILTER, NORMALIZE, REDACT, ROUTE];

impl TransformConfig {
    /// Reads the settings of the transform called `name`; `None` if there is no such transform.
    ///
    /// # Errors
    /// What the deserializer finds wrong: unknown keys, wrong types, missing settings.
    pub fn read<'de, D: Deserializer<'de>>(name: &str, settings: D) -> Option<Result<Self, D::Error>> {
        match name {
            FILTER => Some(filter::Config::deserialize(settings).map(Self::Filter)),
            NORMALIZE => Some(normalize::Config::deserialize(settings).map(Self::Normalize)),
            REDACT => Some(redact::Config::deserialize(settings).map(Self::Redact)),
            ROUTE => Some(route::Config::deserialize(settings).map(|_: route::Config| Self::Route)),
            _ => None,
        }
    }

    /// The JSON Schema of the settings of the transform called `name`; `None` if there is no such transform.
    #[must_use]
    pub fn schema(name: &str, generator: &mut SchemaGenerator) -> Option<Schema> {
        match name {
            FILTER => Some(filter::Config::json_schema(generator)),
            NORMALIZE => Some(normalize::Config::json_schema(generator)),
            REDACT => Some(redact::Config::json_schema(generator)),
            ROUTE => Some(route::Config::json_schema(generator)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_known_and_unknown_settings_are_errors() {
        let right = [
            serde_json::json!({"condition": "true"}),
            serde_json::json!({}),
            serde_json::json!({"drop_credentials": true}),
            serde_json::json!({"route": {"all": "true"}}),
        ];
        for (name, settings) in NAMES.iter().zip(right) {
            assert!(TransformConfig::read(name, settings).is_some_and(|read| read.is_ok()), "{name}");
            assert!(TransformConfig::read(name, serde_json::json!({"odd": 1})).is_some_and(|read| read.is_err()));
        }
        assert!(TransformConfig::read("normalise", serde_json::json!({})).is_none());
    }
}
