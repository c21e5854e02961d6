//! Points in time: nanoseconds since 1970 in UTC, parsed from and written as RFC 3339.
//!
//! A separate type keeps the date library out of public interfaces. It has eight bytes and sorts as a number.

mod rfc3339;

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use rfc3339::FormattedTime;

/// A point in time in UTC, in nanoseconds since 1970-01-01T00:00:00Z. The range is 1677 to 2262; arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The latest point in time.
    pub const MAX: Self = Self(i64::MAX);

    /// From nanoseconds since 1970.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From microseconds since 1970; saturates.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros.saturating_mul(1_000))
    }

    /// From milliseconds since 1970; saturates.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// From seconds since 1970; saturates.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since 1970.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole microseconds since 1970, rounded down.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole milliseconds since 1970, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The latest multiple of `step` (counted from 1970) that is not after this time. A zero step changes nothing.
    #[must_use]
    pub fn floor_to(self, step: Duration) -> Self {
        let step = nanos_of(step);
        if step == 0 {
            return self;
        }
        Self(self.0.saturating_sub(self.0.rem_euclid(step)))
    }

    /// The earliest multiple of `step` (counted from 1970) that is not before this time.
    #[must_use]
    pub fn ceil_to(self, step: Duration) -> Self {
        let floor = self.floor_to(step);
        if floor == self { self } else { floor + step }
    }

    /// The duration from `earlier` to this time; zero if `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        let nanos = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }

    /// Parses RFC 3339 (`2026-03-02T09:14:07.12Z`, numeric offsets too). `None` for anything else, and out of range.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        EventTime::parse_rfc3339(text).map(|time| time.at)
    }

    /// As a value of the date library, for formatting.
    pub(crate) fn calendar(self) -> jiff::Timestamp {
        // Every i64 of nanoseconds lies inside the calendar's years -9999 to 9999.
        jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// Without what is finer than a microsecond, as events are written.
    #[must_use]
    pub fn to_micros(self) -> Self {
        self.floor_to(Duration::from_micros(1))
    }

    /// RFC 3339 with microseconds, without an allocation; finer digits are cut off.
    #[must_use]
    pub fn formatted(self) -> FormattedTime {
        FormattedTime::new(self.0, 6)
    }

    /// With `digits` (0 to 9) sub-second digits when written; further digits are cut off, not rounded.
    #[must_use]
    pub fn with_digits(self, digits: u8) -> EventTime {
        EventTime { at: self, digits: digits.min(9) }
    }
}

fn nanos_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos_of(duration)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(nanos_of(duration)))
    }
}

/// RFC 3339 in UTC, with as many sub-second digits as needed.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.calendar().fmt(f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse_rfc3339(&text)
            .ok_or_else(|| de::Error::custom(format!("`{text}` is not a time such as 2026-01-31T00:00:00Z")))
    }
}

/// A point in time with the number of sub-second digits that its vendor wrote, so that it is written in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTime {
    /// The point in time.
    pub at: Timestamp,
    /// Number of sub-second digits, 0 to 9.
    pub digits: u8,
}

impl EventTime {
    /// Parses RFC 3339 and keeps the number of sub-second digits (at most nine). `None` for anything else.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        if let Some((nanos, digits)) = rfc3339::parse(text) {
            return Some(Self { at: Timestamp(nanos), digits });
        }
        let parsed: jiff::Timestamp = text.parse().ok()?;
        let at = i64::try_from(parsed.as_nanosecond()).ok().map(Timestamp)?;
        Some(Self { at, digits: sub_second_digits(text) })
    }

    fn formatted(self) -> FormattedTime {
        FormattedTime::new(self.at.0, self.digits)
    }
}

/// The number of digits after the decimal point or comma of a time text, at most nine.
#[must_use]
pub fn sub_second_digits(text: &str) -> u8 {
    let Some(point) = text.find(['.', ',']) else { return 0 };
    let digits = text[point + 1..].bytes().take_while(u8::is_ascii_digit).take(9).count();
    u8::try_from(digits).unwrap_or(9)
}

/// RFC 3339 in UTC, always with `Z`.
impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.formatted().fmt(f)
    }
}

/// A half-open time range: `from` is included, `to` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TimeRange {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
}

impl TimeRange {
    /// All time.
    pub const ALL: Self = Self::new(Timestamp(i64::MIN), Timestamp::MAX);

    /// The range from `from` (included) to `to` (excluded).
    #[must_use]
    pub const fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to }
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.from >= self.to
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_digits_is_kept() {
        for text in [
            "2025-02-23T14:30:00Z",
            "2025-02-23T14:22:07.320468Z",
            "2026-03-02T09:02:11.10Z",
            "2026-03-02T09:02:11.123456789Z",
        ] {
            assert_eq!(EventTime::parse_rfc3339(text).expect(text).to_string(), text);
        }
    }

    #[test]
    fn offsets_become_utc() {
        let time = EventTime::parse_rfc3339("2026-03-02T11:02:11.5+02:00").expect("a time");
        assert_eq!(time.to_string(), "2026-03-02T09:02:11.5Z");
    }

    #[test]
    fn text_that_is_not_a_time_is_rejected() {
        for text in ["", "2026-03-02", "2026-03-02T11:02:11", "yesterday"] {
            assert_eq!(Timestamp::parse_rfc3339(text), None, "{text}");
        }
    }

    #[test]
    fn floors_and_ceils_to_days_before_and_after_1970() {
        let day = Duration::from_secs(86_400);
        let noon = Timestamp::from_secs(43_200);
        assert_eq!(noon.floor_to(day), Timestamp::EPOCH);
        assert_eq!(noon.ceil_to(day), Timestamp::EPOCH + day);
        assert_eq!((Timestamp::EPOCH - Duration::from_secs(1)).floor_to(day), Timestamp::EPOCH - day);
        assert_eq!(Timestamp::EPOCH.ceil_to(day), Timestamp::EPOCH);
    }
}
