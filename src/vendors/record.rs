//! What the vendors' normalizers share: the [`Normalizer`] of a [`RecordFormat`], keys of unreadable records, forms of text.

use std::borrow::Cow;
use std::fmt::Debug;
use std::io::Write as _;
use std::net::IpAddr;

use super::contract::{Normalizer, NormalizerConfig, NormalizerOption, ReadContext, RecordKey};
use super::lenient::{self, FromJson};
use super::{api_error, damaged};
use crate::event::id::IdHasher;
use crate::event::{Action, Actor, Category, Event, EventId, Outcome};

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

/// Marks the event of a record without a usable time: it keeps what was read, at the time of its reading, with neither
/// action nor category.
#[must_use]
pub fn without_time(mut event: Event<'_>, reason: String) -> Event<'_> {
    event.action = Action::Other;
    event.category = Category::Other;
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

/// The text if it is an IPv4 or IPv6 address.
pub(super) fn valid_ip(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    text.filter(|text| text.parse::<IpAddr>().is_ok())
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
        for text in ["", "10.0.0.1:443", "unknown", "300.1.1.1"] {
            assert_eq!(valid_ip(Some(text.into())), None, "{text}");
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
