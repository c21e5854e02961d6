//! Times in vendors' records: any form that can mean only one moment.
//!
//! ```text
//! 2026-11-29T10:00:00.5Z  12:00:00+0200   RFC 3339
//! 2026-11-29 10:00:00,25 UTC              the same with a blank, a comma, more than nine digits, a zone's name, or no zone
//! 1795946400  1795946400123  "1795946400.25"  1.7959464E+9   since 1970 in seconds, milli-, micro- or nanoseconds
//! Sun, 29 Nov 2026 10:00:00 GMT           an HTTP date
//! ```
//!
//! A time without a zone is read as UTC, and [`ReadTime::zone_assumed`] says so.

use std::borrow::Cow;
use std::iter;

use super::json::Kind;
use super::lenient::{FromJson, Text};
use super::shape::Shape;
use crate::time::Timestamp;

/// A time as a record gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReadTime {
    /// The moment.
    pub(super) at: Timestamp,
    /// Whether the text has no zone, so that it was read as UTC.
    pub(super) zone_assumed: bool,
}

impl From<Timestamp> for ReadTime {
    fn from(at: Timestamp) -> Self {
        Self { at, zone_assumed: false }
    }
}

/// A time field: text, or a number as its text.
#[derive(Debug, Default)]
pub(super) struct TimeText<'a>(Text<'a>);

impl<'de> FromJson<'de> for TimeText<'de> {
    fn shape() -> Shape {
        Shape::Value(&[Kind::Text, Kind::Number], &[])
    }

    fn from_text(text: Cow<'de, str>) -> Self {
        Self(Text::from_text(text))
    }

    fn from_number(number: &'de str) -> Self {
        Self(Text::from_number(number))
    }
}

impl<'a> TimeText<'a> {
    /// The moment, if it is a time.
    pub(super) fn at(&self) -> Option<Timestamp> {
        self.read().map(|time| time.at)
    }

    /// The time, if it is one.
    pub(super) fn read(&self) -> Option<ReadTime> {
        read(self.given()?)
    }

    /// The text.
    pub(super) fn given(&self) -> Option<&str> {
        self.0.as_deref()
    }

    /// The text.
    pub(super) fn into_given(self) -> Text<'a> {
        self.0
    }
}

/// A time in any form that can mean only one moment.
pub(super) fn read(text: &str) -> Option<ReadTime> {
    if let Some(at) = Timestamp::parse_rfc3339(text) {
        return Some(at.into());
    }
    let text = text.trim();
    since_1970(text).or_else(|| http_date(text)).map(ReadTime::from).or_else(|| like_rfc3339(text))
}

/// A date and a time of day in this order.
fn like_rfc3339(text: &str) -> Option<ReadTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = time.split_at_checked(8)?;
    let (fraction, zone) = match rest.strip_prefix(['.', ',']) {
        Some(digits) => digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())),
        None => ("", rest),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let fraction = &fraction[..fraction.len().min(9)];
    let zone = zone.trim_start();
    let is_utc = ["", "Z", "UTC", "GMT"].iter().any(|name| zone.eq_ignore_ascii_case(name));
    let offset = if is_utc { "Z" } else { zone };
    let at = Timestamp::parse_rfc3339(&format!("{date}T{time}{point}{fraction}{offset}"))?;
    Some(ReadTime { at, zone_assumed: zone.is_empty() })
}

/// The unit follows from the size. Numbers below a hundred million are not times: no audit trail is from 1973.
fn since_1970(text: &str) -> Option<Timestamp> {
    if text.bytes().any(|byte| matches!(byte, b'e' | b'E')) && text.starts_with(|c: char| c.is_ascii_digit()) {
        let number: f64 = text.parse().ok()?;
        return number.is_finite().then(|| since_1970(&number.to_string())).flatten();
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let nanos_each = match number {
        100_000_000..100_000_000_000 => 1_000_000_000,
        100_000_000_000..100_000_000_000_000 => 1_000_000,
        100_000_000_000_000..100_000_000_000_000_000 => 1_000,
        100_000_000_000_000_000..4_000_000_000_000_000_000 => 1,
        _ => return None,
    };
    let nine_digits = fraction.bytes().chain(iter::repeat(b'0')).take(9);
    let billionths = nine_digits.fold(0, |number, digit| number * 10 + i64::from(digit - b'0'));
    let nanos = number.checked_mul(nanos_each)?.checked_add(billionths * nanos_each / 1_000_000_000)?;
    Some(Timestamp::from_nanos(nanos))
}

fn http_date(text: &str) -> Option<Timestamp> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since_1970 = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Timestamp::EPOCH + since_1970)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::lenient;

    #[test]
    fn every_form_of_a_time_that_is_one_moment() {
        for (text, time) in [
            ("2026-11-29T10:00:00.5Z", "10:00:00.500000000Z"),
            ("2026-11-29T12:00:00+0200", "10:00:00.000000000Z"),
            ("2026-11-29 10:00:00+00:00", "10:00:00.000000000Z"),
            ("2026-11-29 10:00:00.25 UTC", "10:00:00.250000000Z"),
            ("2026-11-29 10:00:00,25 utc", "10:00:00.250000000Z"),
            ("2026-11-29T10:00:00,123Z", "10:00:00.123000000Z"),
            ("2026-11-29T10:00:00.168000123456Z", "10:00:00.168000123Z"),
            ("2026-11-29t10:00:00z", "10:00:00.000000000Z"),
            ("2026-11-29T10:00:60Z", "10:00:59.000000000Z"),
            ("1795946400", "10:00:00.000000000Z"),
            ("1795946400.25", "10:00:00.250000000Z"),
            ("1.7959464E+9", "10:00:00.000000000Z"),
            ("1795946400123", "10:00:00.123000000Z"),
            ("1795946400123.5", "10:00:00.123500000Z"),
            ("1795946400123456", "10:00:00.123456000Z"),
            ("1795946400123456789", "10:00:00.123456789Z"),
            ("Sun, 29 Nov 2026 10:00:00 GMT", "10:00:00.000000000Z"),
        ] {
            let read = read(text).expect(text);
            assert_eq!(read.at.with_digits(9).to_string(), format!("2026-11-29T{time}"), "{text}");
            assert!(!read.zone_assumed, "{text}");
        }
        for text in [
            "",
            "yesterday",
            "29/11/2026 10:00",
            "2026-11-29",
            "0001-01-01T00:00:00Z",
            "2026-11-29T10:00:00 CET",
            "2026-11-29T\u{fc}0:00:00Z",
            "0",
            "17",
            "-1795946400",
            "9223372036854775807",
            "1795946400x",
            "1e999",
            "1.7E",
            ".5",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_without_a_zone_is_utc_and_says_so() {
        for text in ["2026-11-29T10:00:00.168000", "2026-11-29 10:00:00.168", " 2026-11-29 10:00:00,168 "] {
            let read = read(text).expect(text);
            assert_eq!(read.at, Timestamp::from_millis(1_795_946_400_168), "{text}");
            assert!(read.zone_assumed, "{text}");
        }
    }

    #[test]
    fn a_time_field_may_be_text_or_a_number() {
        for json in [r#""1795946400""#, "1795946400", "1795946400.0", "1.7959464E+9", r#""1.7959464E+9""#] {
            let time: TimeText<'_> = lenient::value(json);
            assert_eq!(time.at(), Some(Timestamp::from_secs(1_795_946_400)), "{json}");
        }
        for json in ["null", "true", "{}", r#""""#] {
            assert_eq!(lenient::value::<TimeText<'_>>(json).given(), None, "{json}");
        }
    }
}
