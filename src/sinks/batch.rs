//! When a batch closes.

use std::time::Duration;

use serde::Deserialize;

use crate::units::{ByteSize, Span};

/// A batch closes at whichever limit is reached first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// At most this many events.
    pub max_events: u64,
    /// About this many bytes of raw records.
    pub max_bytes: u64,
    /// How long the oldest event waits.
    pub timeout: Duration,
}

/// `batch:` in the pipeline file. What is not given comes from the sink's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchSettings {
    /// A batch closes with this many events.
    pub max_events: Option<std::num::NonZeroU64>,
    /// A batch closes with about this many bytes of raw records.
    pub max_bytes: Option<ByteSize>,
    /// A batch closes when its oldest event has waited this long: seconds, or a length of time such as `15m`.
    pub timeout_secs: Option<Span>,
}

impl BatchSettings {
    /// Lays the settings over a sink's defaults.
    #[must_use]
    pub fn over(&self, defaults: BatchOptions) -> BatchOptions {
        BatchOptions {
            max_events: self.max_events.map_or(defaults.max_events, std::num::NonZeroU64::get),
            max_bytes: self.max_bytes.map_or(defaults.max_bytes, |size| size.0.max(1)),
            timeout: self.timeout_secs.map_or(defaults.timeout, |span| span.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_wins() {
        let defaults = BatchOptions { max_events: 10, max_bytes: 100, timeout: Duration::from_secs(1) };
        let settings: BatchSettings =
            serde_json::from_str(r#"{"max_bytes": "64MiB", "timeout_secs": 2.5}"#).expect("settings");
        let expected = BatchOptions { max_events: 10, max_bytes: 64 << 20, timeout: Duration::from_millis(2_500) };
        assert_eq!(settings.over(defaults), expected);
        assert_eq!(BatchSettings::default().over(defaults), defaults);
    }

    #[test]
    fn a_batch_of_no_events_is_refused() {
        assert!(serde_json::from_str::<BatchSettings>(r#"{"max_events": 0}"#).is_err());
    }
}
