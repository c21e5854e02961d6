//! The options that every source has, whatever its vendor.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::time::{TimeRange, Timestamp};
use crate::units::{RateLimit, Span};
use crate::vendors::{ApiSpec, Recheck};

/// Covered time is read again after this.
const RECHECK_AFTER: Duration = Duration::from_secs(86_400);

/// Options common to all sources. An option that is not set comes from the vendor's [`ApiSpec`].
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceOptions {
    /// Where collecting starts: a time, a date, or `earliest`. Unset: nothing from before the first start.
    pub backfill_start_time: Option<StartTime>,
    /// Where collecting ends, for a bounded backfill: the last `overlap` before it is read once more, so a running source
    /// ends `overlap` after it. Unset: never.
    pub end_time: Option<PointInTime>,
    /// Time between two polls.
    pub poll_interval: Option<Span>,
    /// How much of the recent past each poll reads again.
    pub overlap: Option<Span>,
    /// How far behind the vendor's present a poll stays.
    pub delay: Option<Span>,
    /// Records to ask for per page.
    pub page_size: Option<u32>,
    /// Allowed requests: `2/s`, or a list of rates that hold at once.
    pub rate_limit: Option<RateLimit>,
    /// Time limit of one request.
    pub timeout: Option<Span>,
    /// Length of a backfill window.
    pub backfill_slice: Option<Span>,
    /// A window with more records than this is split.
    pub max_window_records: Option<u64>,
    /// Time between two rechecks over records that change later.
    pub recheck_interval: Option<Span>,
    /// How much of the past a recheck reads again; 0 disables rechecks.
    pub recheck_lookback: Option<Span>,
    /// Time after which covered time is read again, once, to see whether records were missed; 0 disables it.
    pub recheck_after: Option<Span>,
    /// Time until a source that stopped on a permanent error retries.
    pub error_retry_interval: Option<Span>,
    /// The longest accepted response body, after decompression.
    pub max_body_bytes: Option<crate::units::ByteSize>,
}

/// Where collecting starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// As far back as the vendor keeps records.
    Earliest,
    /// At this time.
    At(Timestamp),
}

/// A time (RFC 3339) or a date (its first instant in UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PointInTime(pub Timestamp);

impl PointInTime {
    /// Parses one; `None` if the text is neither.
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

/// The vendor's spec with the source's options applied: what collecting works with.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// Where collecting starts.
    pub backfill_start_time: Option<StartTime>,
    /// Where it ends; `None`: never.
    pub end_time: Option<Timestamp>,
    /// The vendor's spec with the options applied.
    pub spec: ApiSpec,
    /// Time after which covered time is read again; `None`: never.
    pub recheck_after: Option<Duration>,
    /// Time until a stopped source retries.
    pub error_retry_interval: Duration,
    /// The longest accepted body, in bytes.
    pub max_body_bytes: u64,
}

impl SourceSettings {
    /// Where collecting starts: nothing from before this time is requested, except for the overlap. `earliest` counts
    /// from the first start, so that it does not move.
    #[must_use]
    pub fn starts_at(&self, first_started_at: Timestamp) -> Timestamp {
        match self.backfill_start_time {
            None => first_started_at,
            Some(StartTime::At(at)) => at,
            Some(StartTime::Earliest) => match self.spec.retention {
                Some(retention) => self.spec.earliest.max(first_started_at - retention),
                None => self.spec.earliest,
            },
        }
    }

    /// The records that are kept, by their own time: from the start of the backfill to `end_time`. With `earliest`,
    /// however old they are.
    #[must_use]
    pub fn kept(&self, first_started_at: Timestamp) -> TimeRange {
        let from = match self.backfill_start_time {
            Some(StartTime::Earliest) => TimeRange::ALL.from,
            Some(StartTime::At(_)) | None => self.starts_at(first_started_at),
        };
        TimeRange::new(from, self.end_time.unwrap_or(TimeRange::ALL.to))
    }

    /// How much earlier than its start a window may request, at most.
    #[must_use]
    pub fn max_lookback(&self) -> Duration {
        self.spec.overlap + self.spec.time_granularity * 2
    }
}

impl SourceOptions {
    /// Applies the options to the vendor's spec.
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
            recheck_after: Some(self.recheck_after.map_or(RECHECK_AFTER, |span| span.0)).filter(|span| !span.is_zero()),
            error_retry_interval: self.error_retry_interval.map_or(Duration::from_secs(300), |span| span.0),
            max_body_bytes: self.max_body_bytes.map_or(64 << 20, |size| size.0),
        }
    }

    fn recheck(&self, default: Option<Recheck>) -> Option<Recheck> {
        let mut recheck = default.unwrap_or(Recheck { interval: Duration::from_secs(900), lookback: Duration::ZERO });
        if let Some(interval) = self.recheck_interval {
            recheck.interval = interval.0;
        }
        if let Some(lookback) = self.recheck_lookback {
            recheck.lookback = lookback.0;
        }
        (!recheck.lookback.is_zero()).then_some(recheck)
    }
}
