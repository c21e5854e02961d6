//! The settings that every source has, whatever its vendor.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::time::Timestamp;
use crate::units::{RateLimit, Span};
use crate::vendors::{ApiSpec, Recheck};

/// Settings common to all sources. What is not given comes from the vendor's [`ApiSpec`].
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceOptions {
    /// Where collecting begins: a time, a date, or `earliest`. Unset: nothing from before the first start.
    pub backfill_start_time: Option<StartTime>,
    /// Where collecting ends, for a bounded backfill. Unset: never.
    pub end_time: Option<PointInTime>,
    /// Time between two polls.
    pub poll_interval: Option<Span>,
    /// How much of the recent past each poll reads again.
    pub overlap: Option<Span>,
    /// How far behind the present a poll stays.
    pub delay: Option<Span>,
    /// Records asked for a page.
    pub page_size: Option<u32>,
    /// Requests allowed: `2/s`, or a list of rates that all hold.
    pub rate_limit: Option<RateLimit>,
    /// Time limit of one request.
    pub timeout: Option<Span>,
    /// Length of a backfill window.
    pub backfill_slice: Option<Span>,
    /// A window with more records than this is cut in two.
    pub max_window_records: Option<u64>,
    /// Time between two rechecks over records that change later.
    pub recheck_interval: Option<Span>,
    /// How much of the past a recheck reads again; 0 switches rechecks off.
    pub recheck_lookback: Option<Span>,
    /// How soon a source that stopped on a permanent fault looks again.
    pub error_retry_interval: Option<Span>,
    /// The longest answer body that is accepted, after decompression.
    pub max_body_bytes: Option<crate::units::ByteSize>,
}

/// Where collecting begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// As far back as the vendor keeps records.
    Earliest,
    /// At this moment.
    At(Timestamp),
}

/// A time (RFC 3339) or a date (its first moment in UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointInTime(pub Timestamp);

impl PointInTime {
    /// Reads one; `None` if it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Timestamp::parse_rfc3339(text).or_else(|| Timestamp::parse_rfc3339(&format!("{text}T00:00:00Z"))).map(Self)
    }
}

impl<'de> Deserialize<'de> for PointInTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not a time; write 2026-01-31T00:00:00Z or 2026-01-31"))
        })
    }
}

impl<'de> Deserialize<'de> for StartTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "earliest" {
            return Ok(Self::Earliest);
        }
        PointInTime::parse(&text).map(|time| Self::At(time.0)).ok_or_else(|| {
            de::Error::custom(format!("`{text}` is not a time; write 2026-01-31T00:00:00Z, 2026-01-31 or `earliest`"))
        })
    }
}

crate::json_schema::written_as!(StartTime, "StartTime", {
    "type": "string",
    "examples": ["2026-01-01", "2026-01-01T00:00:00Z", "earliest"]
});

crate::json_schema::written_as!(PointInTime, "PointInTime", {
    "type": "string",
    "examples": ["2026-01-31", "2026-01-31T00:00:00Z"]
});

/// The options laid over the vendor's facts: what the collector works with.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Where collecting begins.
    pub backfill_start_time: Option<StartTime>,
    /// Where it ends.
    pub end_time: Option<Timestamp>,
    /// The vendor's facts with the options laid over them.
    pub spec: ApiSpec,
    /// How soon a stopped source looks again.
    pub error_retry_interval: Duration,
    /// The longest body accepted, in bytes.
    pub max_body_bytes: u64,
}

impl SourceOptions {
    /// Lays the options over the vendor's facts.
    #[must_use]
    pub fn over(&self, spec: &ApiSpec) -> SourceSettings {
        let mut spec = spec.clone();
        let set = |target: &mut Duration, option: Option<Span>| {
            if let Some(span) = option {
                *target = span.0;
            }
        };
        set(&mut spec.poll_interval, self.poll_interval);
        set(&mut spec.overlap, self.overlap);
        set(&mut spec.delay, self.delay);
        set(&mut spec.timeout, self.timeout);
        set(&mut spec.slice, self.backfill_slice);
        if let Some(page_size) = self.page_size {
            spec.page_size = page_size.clamp(1, spec.max_page_size);
        }
        if let Some(limit) = &self.rate_limit {
            spec.rate_limit.clone_from(&limit.0);
        }
        if let Some(records) = self.max_window_records {
            spec.max_window_records = records.max(1);
        }
        spec.recheck = self.recheck(spec.recheck);
        SourceSettings {
            backfill_start_time: self.backfill_start_time,
            end_time: self.end_time.map(|end| end.0),
            spec,
            error_retry_interval: self.error_retry_interval.map_or(Duration::from_secs(300), |span| span.0),
            max_body_bytes: self.max_body_bytes.map_or(64 << 20, |size| size.0),
        }
    }

    fn recheck(&self, of_vendor: Option<Recheck>) -> Option<Recheck> {
        let mut recheck = of_vendor.unwrap_or(Recheck { interval: Duration::from_secs(900), lookback: Duration::ZERO });
        if let Some(interval) = self.recheck_interval {
            recheck.interval = interval.0;
        }
        if let Some(lookback) = self.recheck_lookback {
            recheck.lookback = lookback.0;
        }
        (!recheck.lookback.is_zero()).then_some(recheck)
    }
}
