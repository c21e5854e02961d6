//! The options that every source has, whatever its vendor.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::overlap::Overlap;
use super::tls::TlsOptions;
use crate::journal::LatenessCounts;
use crate::time::{TimeRange, Timestamp};
use crate::units::{RateLimit, Span};
use crate::vendors::{ApiSpec, Recheck};

/// When covered time is read once more, unless the source says otherwise.
const RECHECK_AFTER: Duration = Duration::from_secs(86_400);

/// Options common to all sources. An option that is not set comes from the vendor's [`ApiSpec`].
#[derive(Clone, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceOptions {
    /// Where collecting starts: a time, a date, a duration before now such as `30d`, or `earliest`. Unset: nothing from before the first start.
    pub backfill_start_time: Option<StartTime>,
    /// Where collecting ends, for a bounded backfill: the last `overlap` before it is read once more, so a running source
    /// ends `overlap` after it. Unset: never.
    pub end_time: Option<PointInTime>,
    /// Time between two polls.
    pub poll_interval: Option<Span>,
    /// How much of the recent past each poll reads again; `auto`: as the measured lateness of events recommends, at least
    /// the vendor's default, at most a day.
    pub overlap: Option<Overlap>,
    /// How far behind the vendor's present a poll stays.
    pub delay: Option<Span>,
    /// Records to ask for per page.
    pub page_size: Option<u32>,
    /// Allowed requests: `2/s`, or a list of rates that hold at once.
    pub rate_limit: Option<RateLimit>,
    /// Sources with the same name here share one request budget, with all their rates: for several sources of one account.
    pub rate_limit_group: Option<String>,
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
    /// How long after it was covered time is read once more, in full, from a tenth of the request budget; 0: never.
    /// Default: `24h`.
    pub recheck_after: Option<Span>,
    /// Checks of the vendor's answers that do not put time in doubt, such as `[total]` if the vendor's totals are wrong.
    pub ignore_checks: IgnoredChecks,
    /// Time until a source that stopped on a permanent error retries.
    pub error_retry_interval: Option<Span>,
    /// Certificate authorities to trust, and a client certificate.
    pub tls: TlsOptions,
    /// The longest accepted response body, after decompression.
    pub max_body_bytes: Option<crate::units::ByteSize>,
}

/// A check of a vendor's answers, by the name that it has as a reason of doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum CheckName {
    /// The last page is the last one.
    End,
    /// The announced total is the number of records met.
    Total,
    /// Each page begins where the one before ended.
    Place,
    /// No record is on two pages.
    Repeats,
    /// Records that are known are met again.
    Overlap,
    /// Records lie in the requested time.
    Range,
    /// Pages have the requested size.
    PageSize,
    /// A second scan adds nothing, where nothing else can prove that a scan was complete.
    Unconfirmed,
}

impl CheckName {
    /// The name in the pipeline file and in the reasons of doubt.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::Total => "total",
            Self::Place => "place",
            Self::Repeats => "repeats",
            Self::Overlap => "overlap",
            Self::Range => "range",
            Self::PageSize => "page_size",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// The check that a reason of doubt names; `None` if the reason is not a check (`found`, `unreadable:...`).
    #[must_use]
    pub fn of_reason(reason: &str) -> Option<Self> {
        use CheckName::{End, Overlap, PageSize, Place, Range, Repeats, Total, Unconfirmed};
        let all = [End, Total, Place, Repeats, Overlap, Range, PageSize, Unconfirmed];
        all.into_iter().find(|check| check.as_str() == reason)
    }
}

/// The checks that a source ignores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[schemars(inline)]
pub struct IgnoredChecks(BTreeSet<CheckName>);

impl IgnoredChecks {
    /// Whether the check that a reason of doubt names is ignored.
    #[must_use]
    pub fn contains(&self, reason: &str) -> bool {
        CheckName::of_reason(reason).is_some_and(|check| self.0.contains(&check))
    }

    /// Whether none is ignored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where collecting starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTime {
    /// As far back as the vendor keeps records.
    Earliest,
    /// At this time.
    At(Timestamp),
    /// This long before the first start: a later start does not move it.
    Ago(Duration),
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
        if let Some(time) = PointInTime::parse(&text) {
            return Ok(Self::At(time.0));
        }
        // Without its unit, a duration might be meant as a year.
        let ago = Span::parse(&text).ok().filter(|_| text.ends_with(|last: char| last.is_ascii_alphabetic()));
        ago.map(|ago| Self::Ago(ago.0)).ok_or_else(|| {
            de::Error::custom(format!(
                "`{text}` is not a time; write 2026-01-31T00:00:00Z, 2026-01-31, `30d` (before the first start) or `earliest`"
            ))
        })
    }
}

crate::json_schema::written_as!(StartTime, "StartTime", {
    "type": "string",
    "examples": ["2026-01-01", "2026-01-01T00:00:00Z", "30d", "earliest"]
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
    /// The vendor's spec with the options applied. Its overlap is the one before any lateness is measured.
    pub spec: ApiSpec,
    /// The configured overlap.
    pub(super) overlap: Overlap,
    /// The name of the request budget that it shares with other sources.
    pub rate_limit_group: Option<String>,
    /// How long after it was covered time is read once more; `None`: never.
    pub recheck_after: Option<Duration>,
    /// Checks that do not put time in doubt.
    pub ignore_checks: IgnoredChecks,
    /// Certificate authorities to trust, and a client certificate.
    pub tls: TlsOptions,
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
            Some(StartTime::Ago(ago)) => first_started_at - ago,
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
            Some(StartTime::At(_) | StartTime::Ago(_)) | None => self.starts_at(first_started_at),
        };
        TimeRange::new(from, self.end_time.unwrap_or(TimeRange::ALL.to))
    }

    /// The overlap, given the lateness measured so far.
    #[must_use]
    pub fn overlap(&self, lateness: &LatenessCounts) -> Duration {
        self.overlap.given(self.spec.overlap, lateness)
    }

    /// Whether the overlap follows the measured lateness.
    #[must_use]
    pub fn has_automatic_overlap(&self) -> bool {
        self.overlap == Overlap::Auto
    }

    /// The longest that its overlap can become.
    #[must_use]
    pub fn longest_overlap(&self) -> Duration {
        self.overlap.longest(self.spec.overlap)
    }

    /// How much earlier than its start a window may request, at most.
    #[must_use]
    pub fn max_lookback(&self) -> Duration {
        self.longest_overlap() + self.spec.time_granularity * 2
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
        if let Some(Overlap::Fixed(overlap)) = self.overlap {
            spec.overlap = overlap;
        }
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
            overlap: self.overlap.unwrap_or(Overlap::Fixed(spec.overlap)),
            spec,
            rate_limit_group: self.rate_limit_group.clone(),
            recheck_after: Some(self.recheck_after.map_or(RECHECK_AFTER, |span| span.0))
                .filter(|after| !after.is_zero()),
            ignore_checks: self.ignore_checks.clone(),
            tls: self.tls.clone(),
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
