//! What the vendors' normalizers share: the [`Normalizer`] of a [`RecordFormat`], keys of unreadable records, forms of text.

use std::borrow::Cow;
use std::fmt::Debug;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};

use super::contract::{Normalizer, NormalizerConfig, NormalizerOption, ReadContext, RecordKey};
use super::lenient::{self, FromJson, Text};
use super::{api_error, damaged};
use crate::event::id::IdHasher;
use crate::event::{Action, Actor, Category, Event, EventId, Outcome};
use crate::time::{EventTime, Timestamp};

/// One vendor's records: their facts and two hooks. [`Normalizer`] follows from it.
pub(super) trait RecordFormat: Send + Sync + Debug {
    /// The fields that identify a record.
    type Key<'a>: FromJson<'a>;
    /// The fields that the schema knows.
    type Record<'a>: FromJson<'a>;
    /// The vendor's name.
    const VENDOR: &'static str;
    /// An example record, in the form that the documentation shows.
    const EXAMPLE: &'static str;
    /// Whether each record has an id of its own.
    const HAS_IDS: bool;
    /// The options that the normalizer reads.
    const OPTIONS: &'static [NormalizerOption];

    /// The configured tenant, for records that name none.
    fn tenant(&self) -> Option<&str>;

    /// The key of a record that is a JSON object.
    fn key(&self, fields: &Self::Key<'_>, raw: &str) -> RecordKey;

    /// The event of a record that is a JSON object.
    fn event<'a>(&self, record: Self::Record<'a>, raw: &'a str, context: &ReadContext<'a>) -> Event<'a>;

    /// See [`Normalizer::page_records`].
    fn split_page(json: &str) -> Option<Vec<&str>>;
}

impl<F: RecordFormat> Normalizer for F {
    fn key_of(&self, raw: &str) -> RecordKey {
        match fields_in::<F::Key<'_>>(raw) {
            Ok(fields) => self.key(&fields, raw),
            Err(_) => key_of_bytes(F::VENDOR, self.tenant(), raw),
        }
    }

    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        match fields_in(raw) {
            Ok(record) => self.event(record, raw, context),
            Err(reason) => unreadable(F::VENDOR, self.tenant(), raw, context, reason),
        }
    }

    fn has_ids(&self) -> bool {
        F::HAS_IDS
    }

    fn options(&self) -> &'static [NormalizerOption] {
        F::OPTIONS
    }

    fn example(&self) -> &'static str {
        F::EXAMPLE
    }

    fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
        F::split_page(json)
    }
}

/// The fields of a record, or why it has none.
fn fields_in<'a, T: FromJson<'a>>(raw: &'a str) -> Result<T, String> {
    damaged::reason_of(raw).map_or_else(|| lenient::object(raw), Err)
}

/// The option of vendors whose records hold no result: whether every event counts as a success.
pub(super) const ASSUME_SUCCESS: NormalizerOption =
    NormalizerOption { name: "assume_success", words: &["false", "true"] };

/// The outcome of every event of such a vendor: unknown, unless the option says otherwise.
pub(super) fn assumed_outcome(config: &NormalizerConfig) -> Outcome {
    let assumes_success = config.options.get(ASSUME_SUCCESS.name).is_some_and(|word| word == "true");
    if assumes_success { Outcome::Success } else { Outcome::Unknown }
}

/// The key of a record that cannot be read: the hash of its bytes.
#[must_use]
pub fn key_of_bytes(vendor: &str, tenant: Option<&str>, raw: &str) -> RecordKey {
    RecordKey { id: EventId::of_key(vendor, tenant, raw), timestamp: None, version: 0 }
}

/// The event of a record that cannot be normalized: delivered with the reason and with `raw` unchanged.
#[must_use]
pub fn unreadable<'a>(
    vendor: &'static str,
    tenant: Option<&str>,
    raw: &'a str,
    context: &ReadContext<'a>,
    reason: String,
) -> Event<'a> {
    Event {
        id: key_of_bytes(vendor, tenant, raw).id.nth(context.occurrence),
        version: None,
        vendor,
        source: context.source,
        tenant: tenant.map(|tenant| Cow::Owned(tenant.to_owned())),
        vendor_event_id: None,
        event_type: Cow::Borrowed(""),
        action: Action::Other,
        category: Category::Other,
        outcome: Outcome::Unknown,
        message: None,
        timestamp: context.observed_at.with_digits(3),
        observed_at: context.observed_at,
        actor: Actor::default(),
        target: None,
        related: Vec::new(),
        changes: Vec::new(),
        normalize_error: Some(reason),
        raw,
    }
}

/// Marks the event of a record without a usable time: it keeps what was read, at the time of its reading.
#[must_use]
pub fn without_time(mut event: Event<'_>, reason: String) -> Event<'_> {
    event.timestamp = event.observed_at.with_digits(3);
    event.normalize_error = Some(reason);
    event
}

/// The event as it is if it has a usable time, otherwise marked by [`without_time`]. `given` is the text of the time field.
pub(super) fn checked_time<'a>(event: Event<'a>, has_time: bool, field: &str, given: Option<&str>) -> Event<'a> {
    if has_time { event } else { without_time(event, no_usable_time(field, given)) }
}

/// Text in lower case, borrowed if it is already.
#[must_use]
pub fn lower_case(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { text }
}

/// Adds an integer to an id as decimal text; `None` counts as empty.
pub(super) fn number_field(hasher: &mut IdHasher, number: Option<i64>) {
    let mut digits = [0; 20];
    let mut unused: &mut [u8] = &mut digits;
    if let Some(number) = number {
        write!(unused, "{number}").expect("every i64 fits in twenty characters");
    }
    let length = 20 - unused.len();
    hasher.update(&digits[..length]);
    hasher.update(&[0]);
}

/// The IPv4 or IPv6 address of a text. Of a list, as proxies write it, the first valid one; without a port.
pub(super) fn valid_ip(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    let text = text?;
    if text.parse::<IpAddr>().is_ok() {
        return Some(text);
    }
    text.split(',').find_map(address).map(|address| Cow::Owned(address.to_string()))
}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

/// A time field: text, or a number as its text.
#[derive(Debug, Default)]
pub(super) struct TimeText<'a>(Text<'a>);

impl<'de> FromJson<'de> for TimeText<'de> {
    fn from_text(text: Cow<'de, str>) -> Self {
        Self(Text::from_text(text))
    }

    fn from_number(number: &'de str) -> Self {
        let as_float = || number.parse().ok().map(|number: f64| Cow::Owned(number.to_string()));
        Self(Text::from_number(number).or_else(as_float))
    }
}

impl TimeText<'_> {
    /// The time, if it is one.
    pub(super) fn time(&self) -> Option<EventTime> {
        event_time(self.given()?)
    }

    /// The text.
    pub(super) fn given(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

/// A time in any form that can mean only one moment: RFC 3339; the same with a blank, with a comma, with more than nine
/// digits or without a zone (UTC); the time since 1970 in seconds, milli-, micro- or nanoseconds; an HTTP date.
pub(super) fn event_time(text: &str) -> Option<EventTime> {
    let other = || {
        let text = text.trim();
        since_1970(text).or_else(|| EventTime::parse_rfc3339(&as_rfc3339(text)?)).or_else(|| http_date(text))
    };
    EventTime::parse_rfc3339(text).or_else(other)
}

/// A date and a time of day in RFC 3339. `None` if the text does not have both in this order.
fn as_rfc3339(text: &str) -> Option<String> {
    let (date, rest) = text.split_at_checked(10)?;
    let time = rest.strip_prefix(['T', 't', ' '])?;
    let (time, rest) = time.split_at_checked(8)?;
    let (fraction, zone) = match rest.strip_prefix(['.', ',']) {
        Some(digits) => digits.split_at(digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len())),
        None => ("", rest),
    };
    let point = if fraction.is_empty() { "" } else { "." };
    let fraction = &fraction[..fraction.len().min(9)];
    let zone = match zone.trim_start() {
        "" | "z" | "UTC" | "GMT" => "Z",
        zone => zone,
    };
    Some(format!("{date}T{time}{point}{fraction}{zone}"))
}

/// The unit follows from the size. Numbers below a hundred million are not times: no audit trail is from 1973.
fn since_1970(text: &str) -> Option<EventTime> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let (nanos_each, digits) = match number {
        100_000_000..100_000_000_000 => (1_000_000_000, 0),
        100_000_000_000..100_000_000_000_000 => (1_000_000, 3),
        100_000_000_000_000..100_000_000_000_000_000 => (1_000, 6),
        100_000_000_000_000_000..4_000_000_000_000_000_000 => (1, 9),
        _ => return None,
    };
    let nanos = number.checked_mul(nanos_each)?;
    let fraction = &fraction[..fraction.len().min(9)];
    if digits > 0 || fraction.is_empty() {
        return Some(Timestamp::from_nanos(nanos).with_digits(digits));
    }
    let sub_second: i64 = format!("{fraction:0<9}").parse().ok()?;
    let digits = u8::try_from(fraction.len()).ok()?;
    Some(Timestamp::from_nanos(nanos.checked_add(sub_second)?).with_digits(digits))
}

fn http_date(text: &str) -> Option<EventTime> {
    let date = httpdate::parse_http_date(text).ok()?;
    let since_1970 = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some((Timestamp::EPOCH + since_1970).with_digits(0))
}

/// Whether the text looks like one email address: no white space, one `@`, a dot inside the domain.
pub(super) fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let inner_dot = domain.trim_matches('.').contains('.');
    !local.is_empty() && inner_dot && !domain.contains('@') && !text.chars().any(char::is_whitespace)
}

/// Why a record's time cannot be used.
fn no_usable_time(field: &str, given: Option<&str>) -> String {
    match given {
        Some(text) => format!("`{field}` is not a usable time: {}", api_error::excerpt(text)),
        None => format!("`{field}` is missing or not of the documented type"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_hashed_as_their_decimal_text() {
        for number in [0, -1, 1_764_000_000_123, i64::MIN, i64::MAX] {
            let mut by_number = IdHasher::new("v", None);
            number_field(&mut by_number, Some(number));
            let mut by_text = IdHasher::new("v", None);
            by_text.field(Some(&number.to_string()));
            assert_eq!(by_number.finish(), by_text.finish());
        }
        let (mut none, mut empty) = (IdHasher::new("v", None), IdHasher::new("v", None));
        number_field(&mut none, None);
        empty.field(None);
        assert_eq!(none.finish(), empty.finish());
    }

    #[test]
    fn addresses() {
        for ip in ["192.0.2.61", "2001:db8::17", "::1"] {
            assert_eq!(valid_ip(Some(ip.into())).as_deref(), Some(ip));
        }
        for (text, ip) in [
            ("203.0.113.5, 10.0.0.1", "203.0.113.5"),
            ("unknown, 2001:db8::17 ,10.0.0.1", "2001:db8::17"),
            ("203.0.113.5:443", "203.0.113.5"),
            ("[2001:db8::17]:443", "2001:db8::17"),
        ] {
            assert_eq!(valid_ip(Some(text.into())).as_deref(), Some(ip), "{text}");
        }
        for text in ["", "-", "not an ip", "unknown", "300.1.1.1", "10.0.0.1:port"] {
            assert_eq!(valid_ip(Some(text.into())), None, "{text}");
        }
    }

    #[test]
    fn every_form_of_a_time_that_is_one_moment() {
        for (text, time) in [
            ("2026-11-29T10:00:00.5Z", "2026-11-29T10:00:00.5Z"),
            ("2026-11-29T12:00:00+0200", "2026-11-29T10:00:00Z"),
            ("2026-11-29 10:00:00+00:00", "2026-11-29T10:00:00Z"),
            ("2026-11-29 10:00:00.25 UTC", "2026-11-29T10:00:00.25Z"),
            ("2026-11-29T10:00:00.168000", "2026-11-29T10:00:00.168000Z"),
            ("2026-11-29 10:00:00", "2026-11-29T10:00:00Z"),
            ("2026-11-29T10:00:00,123Z", "2026-11-29T10:00:00.123Z"),
            ("2026-11-29T10:00:00.168000123456Z", "2026-11-29T10:00:00.168000123Z"),
            ("2026-11-29t10:00:00z", "2026-11-29T10:00:00Z"),
            ("2026-11-29T10:00:60Z", "2026-11-29T10:00:59Z"),
            ("1795946400", "2026-11-29T10:00:00Z"),
            ("1795946400.25", "2026-11-29T10:00:00.25Z"),
            ("1795946400123", "2026-11-29T10:00:00.123Z"),
            ("1795946400123456", "2026-11-29T10:00:00.123456Z"),
            ("1795946400123456789", "2026-11-29T10:00:00.123456789Z"),
            ("Sun, 29 Nov 2026 10:00:00 GMT", "2026-11-29T10:00:00Z"),
        ] {
            assert_eq!(event_time(text).map(|time| time.to_string()).as_deref(), Some(time), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "29/11/2026 10:00",
            "2026-11-29",
            "0001-01-01T00:00:00Z",
            "2026-11-29T10:00:00 CET",
            "2026-11-29Tü0:00:00Z",
            "0",
            "17",
            "-1795946400",
            "9223372036854775807",
            "1795946400x",
            ".5",
        ] {
            assert_eq!(event_time(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_field_may_be_text_or_a_number() {
        for json in [r#""1795946400""#, "1795946400", "1795946400.0", "1.7959464E+9"] {
            let time: TimeText<'_> = lenient::value(json);
            assert_eq!(time.time().map(|time| time.to_string()).as_deref(), Some("2026-11-29T10:00:00Z"), "{json}");
        }
        for json in ["null", "true", "{}", r#""""#] {
            assert_eq!(lenient::value::<TimeText<'_>>(json).given(), None, "{json}");
        }
    }

    #[test]
    fn email_shapes() {
        for email in ["ada@example.com", "ci-bot@a.example.io"] {
            assert!(looks_like_email(email), "{email}");
        }
        for text in ["Sarah Brown@example.io", "admin", "@example.com", "a@b", "a@b@c.d", "a@.d", "a\t@b.c"] {
            assert!(!looks_like_email(text), "{text}");
        }
    }
}
