//! What the vendors' record readers share: hashing what is no record, events of unreadable records, forms of text.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;

use super::{NormalizerConfig, NormalizerOption, ReadContext, RecordKey, api_error};
use crate::event::id::IdHasher;
use crate::event::{Action, Actor, Category, Event, EventId, Outcome};

/// The option of vendors whose records tell no result: whether every event counts as a success.
pub(super) const ASSUME_SUCCESS: NormalizerOption =
    NormalizerOption { name: "assume_success", words: &["false", "true"] };

/// The outcome of every event of such a vendor: unknown, unless the profile says otherwise.
pub(super) fn assumed_outcome(normalizer_config: &NormalizerConfig) -> Outcome {
    let assumes_success = normalizer_config.options.get(ASSUME_SUCCESS.name).is_some_and(|word| word == "true");
    if assumes_success { Outcome::Success } else { Outcome::Unknown }
}

/// The identity of something that is no readable record: the hash of its bytes.
#[must_use]
pub fn key_of_bytes(vendor: &str, tenant: Option<&str>, raw: &str) -> RecordKey {
    RecordKey { id: EventId::of_key(vendor, tenant, raw), timestamp: None, version: 0 }
}

/// The event of a record that cannot be normalized: delivered with its reason, `raw` intact.
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

/// Marks the event of a record that tells no usable time: nothing can be said of it but who and what, at the moment of
/// its reading.
#[must_use]
pub fn without_time(mut event: Event<'_>, reason: String) -> Event<'_> {
    event.action = Action::Other;
    event.category = Category::Other;
    event.timestamp = event.observed_at.with_digits(3);
    event.normalize_error = Some(reason);
    event
}

/// Text in lower case, borrowed if it is already.
#[must_use]
pub fn lower_case(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { text }
}

/// Adds a whole number to an id as decimal text; none counts as empty.
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

/// The text if it is an IP address, version 4 or 6.
pub(super) fn valid_ip(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    text.filter(|text| text.parse::<IpAddr>().is_ok())
}

/// Whether the text has the shape of one e-mail address: no blanks, one `@`, a dot inside the domain.
pub(super) fn looks_like_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let inner_dot = domain.trim_matches('.').contains('.');
    !local.is_empty() && inner_dot && !domain.contains('@') && !text.chars().any(char::is_whitespace)
}

/// Why a record's time cannot be used, for [`without_time`].
pub(super) fn no_usable_time(field: &str, given: Option<&str>) -> String {
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
