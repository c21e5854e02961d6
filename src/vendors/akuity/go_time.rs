//! The timestamps of Akuity's records: the format of Go's `Time.String()`, or RFC 3339.
//!
//! ```text
//! 2025-11-21 16:26:40.13921 +0000 UTC m=+0.5
//! YYYY-MM-DD hh:mm:ss [.1 to 9 digits, zeros at the end left out] +hhmm [ zone name] [ m=monotonic clock]
//! ```
//!
//! The zone name is ignored, the offset counts. Go's zero time (year 1) and empty strings are not timestamps.

use crate::time::Timestamp;

/// Parses either format; `None` for anything else, and for times outside the years 1677 to 2262 (such as Go's zero time).
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    if text.as_bytes().get(10) == Some(&b'T') { Timestamp::parse_rfc3339(text) } else { parse_go(text) }
}

fn parse_go(text: &str) -> Option<Timestamp> {
    let (date_time, rest) = text.as_bytes().split_at_checked(19)?;
    let (nanos, rest) = fraction(rest)?;
    let (offset_secs, rest) = offset(rest)?;
    if !is_zone_and_clock(rest) {
        return None;
    }
    let offset = jiff::tz::Offset::from_seconds(offset_secs).ok()?;
    let moment = offset.to_timestamp(calendar(date_time, nanos)?).ok()?;
    i64::try_from(moment.as_nanosecond()).ok().map(Timestamp::from_nanos)
}

/// `YYYY-MM-DD hh:mm:ss`, exactly.
fn calendar(text: &[u8], nanos: u32) -> Option<jiff::civil::DateTime> {
    const FORM: &[u8; 19] = b"0000-00-00 00:00:00";
    if !text.iter().zip(FORM).all(|(byte, form)| if *form == b'0' { byte.is_ascii_digit() } else { byte == form }) {
        return None;
    }
    let two = |at: usize| i8::try_from(number(&text[at..at + 2])).ok();
    let year = i16::try_from(number(&text[..4])).ok()?;
    let nanos = i32::try_from(nanos).ok()?;
    jiff::civil::DateTime::new(year, two(5)?, two(8)?, two(11)?, two(14)?, two(17)?, nanos).ok()
}

/// `.` and 1 to 9 digits, or nothing: nanoseconds, and what follows.
fn fraction(text: &[u8]) -> Option<(u32, &[u8])> {
    let Some(after_point) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = after_point.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let (digits, rest) = after_point.split_at(count);
    Some((number(digits) * 10_u32.pow(9 - u32::try_from(count).ok()?), rest))
}

/// A blank, a sign and `hhmm`: seconds east of Greenwich, and what follows.
fn offset(text: &[u8]) -> Option<(i32, &[u8])> {
    let (offset, rest) = text.split_at_checked(6)?;
    let sign = match offset {
        [b' ', b'+', ..] => 1,
        [b' ', b'-', ..] => -1,
        _ => return None,
    };
    let digits = &offset[2..];
    let (hours, minutes) = (number(&digits[..2]), number(&digits[2..]));
    if !digits.iter().all(u8::is_ascii_digit) || minutes > 59 {
        return None;
    }
    Some((sign * i32::try_from(hours * 3_600 + minutes * 60).ok()?, rest))
}

/// Nothing, or a zone name, or a monotonic clock, or both in this order.
fn is_zone_and_clock(text: &[u8]) -> bool {
    let Some(words) = text.strip_prefix(b" ") else { return text.is_empty() };
    let mut words = words.split(|byte| *byte == b' ');
    let (first, second, third) = (words.next(), words.next(), words.next());
    let is_clock = |word: &[u8]| word.starts_with(b"m=+") || word.starts_with(b"m=-");
    first.is_some_and(|word| !word.is_empty()) && second.is_none_or(is_clock) && third.is_none()
}

/// The value of at most nine decimal digits.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit.wrapping_sub(b'0') % 10))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_formats_parse() {
        for (text, read) in [
            ("2025-11-21 16:26:40.13921 +0000 UTC", "2025-11-21T16:26:40.13921Z"),
            ("2026-03-02 09:02:11 +0000 UTC", "2026-03-02T09:02:11Z"),
            ("2026-03-02 09:02:11.5 +0000", "2026-03-02T09:02:11.5Z"),
            ("2026-03-02 10:02:11.123456789 +0100 CET", "2026-03-02T09:02:11.123456789Z"),
            ("2026-03-02 03:32:11 -0530 -0530 m=+0.25", "2026-03-02T09:02:11Z"),
            ("2026-03-02 09:02:11 +0000 m=-12.5", "2026-03-02T09:02:11Z"),
            ("2024-02-29 00:00:00 +0000 UTC", "2024-02-29T00:00:00Z"),
            ("2026-03-02T09:02:11.004Z", "2026-03-02T09:02:11.004Z"),
            ("2026-03-02T10:02:11+01:00", "2026-03-02T09:02:11Z"),
        ] {
            assert_eq!(parse(text).expect(text).to_string(), read, "{text}");
        }
    }

    #[test]
    fn other_strings_are_rejected() {
        for text in [
            "",
            "0001-01-01 00:00:00 +0000 UTC",
            "0001-01-01T00:00:00Z",
            "2026-02-30 00:00:00 +0000 UTC",
            "2026-03-02 24:00:00 +0000 UTC",
            "2026-03-02 09:02:11",
            "2026-03-02 09:02:11. +0000 UTC",
            "2026-03-02 09:02:11.1234567890 +0000 UTC",
            "2026-03-02 09:02:11 0000 UTC",
            "2026-03-02 09:02:11 +0060 UTC",
            "2026-03-02 09:02:11 +00:00 UTC",
            "2026-03-02 09:02:11 +0000UTC",
            "2026-03-02 09:02:11 +0000 UTC later",
            "2026-03-02 09:02:11 +0000 UTC m=+1 x",
            "2026-3-2 09:02:11 +0000 UTC",
            "yesterday",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_that_go_writes_parses(nanos in any::<i64>(), zeros in 0_u32..=9, offset_minutes in -14 * 60..=14 * 60) {
            let at = Timestamp::from_nanos(nanos - nanos.rem_euclid(10_i64.pow(zeros)).min(nanos.saturating_sub(i64::MIN)));
            let text = go_string(at, offset_minutes);
            let read = parse(&text).expect("a time");
            prop_assert_eq!(read, at, "{}", text);
        }

        #[test]
        fn never_panics(text in ".*", like in "[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}:[0-9]{2}[.0-9é]{0,12} [+-][0-9é]{0,6}.{0,9}") {
            parse(&text);
            parse(&like);
        }
    }

    /// Go's layout `2006-01-02 15:04:05.999999999 -0700 MST`.
    fn go_string(at: Timestamp, offset_minutes: i32) -> String {
        let offset = jiff::tz::Offset::from_seconds(offset_minutes * 60).expect("an offset");
        let local = offset.to_datetime(at.calendar());
        let fraction = match local.subsec_nanosecond() {
            0 => String::new(),
            nanos => format!(".{nanos:09}").trim_end_matches('0').to_owned(),
        };
        let sign = if offset_minutes < 0 { '-' } else { '+' };
        let (hours, minutes) = (offset_minutes.abs() / 60, offset_minutes.abs() % 60);
        format!("{}{fraction} {sign}{hours:02}{minutes:02} XYZ", local.strftime("%Y-%m-%d %H:%M:%S"))
    }
}
