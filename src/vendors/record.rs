//! What the vendors' normalizers share: the [`Normalizer`] of a [`RecordFormat`], keys of unreadable records, and
//! what could not be read of a record.

use std::borrow::Cow;
use std::fmt::Debug;

use super::contract::{FieldPointers, Normalizer, NormalizerConfig, NormalizerOption, ReadContext, RecordKey};
use super::field::Identifier;
use super::json::{Malformed, Reader};
use super::lenient::{self, FromJson, JsonObject, Text};
use super::shape::Shape;
use super::time_text::{ReadTime, TimeText};
use super::{api_error, content, damaged};
use crate::event::id::IdHasher;
use crate::event::{Event, EventId, Outcome, Product};
use crate::time::Timestamp;

/// One vendor's records: their facts and two hooks. [`Normalizer`] follows from it.
pub(super) trait RecordFormat: Send + Sync + Debug {
    /// The fields that identify a record.
    type Key<'a>: JsonObject<'a>;
    /// The fields that the schema knows.
    type Record<'a>: FromJson<'a>;
    /// The vendor's name.
    const VENDOR: &'static str;
    /// The product whose audit trail it is.
    const PRODUCT: &'static Product;
    /// An example record, in the form that the documentation shows.
    const EXAMPLE: &'static str;
    /// Whether each record has an id of its own.
    const HAS_IDS: bool;
    /// The options that the normalizer reads.
    const OPTIONS: &'static [NormalizerOption];
    /// See [`Normalizer::credentials`]. Each with the source of the fact.
    const CREDENTIALS: &'static [&'static str];
    /// See [`Normalizer::field_pointers`].
    const FIELD_POINTERS: FieldPointers;

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
        if F::HAS_IDS
            && let Some(key) = key_with_content(self, raw)
        {
            return key;
        }
        match fields_in::<F::Key<'_>>(raw) {
            Ok(fields) => self.key(&fields, raw),
            Err(_) => key_of_bytes(F::VENDOR, self.tenant(), raw),
        }
    }

    fn normalize<'a>(&self, raw: &'a str, context: &ReadContext<'a>) -> Event<'a> {
        let event = match fields_in(raw) {
            Ok(record) => self.event(record, raw, context),
            Err(reason) => unreadable(F::VENDOR, self.tenant(), raw, context, reason),
        };
        Event { product: Some(F::PRODUCT), ..event }
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

    fn credentials(&self) -> &'static [&'static str] {
        F::CREDENTIALS
    }

    fn field_pointers(&self) -> FieldPointers {
        F::FIELD_POINTERS
    }

    fn shape(&self) -> Shape {
        F::Record::shape()
    }

    fn page_records<'a>(&self, json: &'a str) -> Option<Vec<&'a str>> {
        F::split_page(json)
    }
}

/// The key of a record that is a JSON object, and the hash of its content in the same pass; `None` if that is not possible.
fn key_with_content<F: RecordFormat>(format: &F, raw: &str) -> Option<RecordKey> {
    if damaged::reason_of(raw).is_some() {
        return None;
    }
    let (mut fields, mut is_read) = (F::Key::default(), true);
    let content = content::content_hash_with_members(raw, &mut |name, json| {
        let mut reader = Reader::new(json);
        is_read &= !name.as_bytes().contains(&b'\\')
            && match fields.read_member(name, &mut reader) {
                Ok(is_known) => !is_known || reader.end().is_ok(),
                Err(Malformed) => false,
            };
    })?;
    is_read.then(|| RecordKey { content, ..format.key(&fields, raw) })
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
    RecordKey { id: EventId::of_key(vendor, tenant, raw), timestamp: None, version: 0, content: 0 }
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
    let id = key_of_bytes(vendor, tenant, raw).id.nth(context.occurrence);
    Event {
        tenant: tenant.map(|tenant| Cow::Owned(tenant.to_owned())),
        normalize_error: Some(reason),
        ..Event::new(id, vendor, context.source, context.observed_at, raw)
    }
}

/// Adds an integer to an id as decimal text; `None` counts as empty.
pub(super) fn number_field(hasher: &mut IdHasher, number: Option<i64>) {
    // Formatting takes several times as long, and records hold a number or more each.
    let (mut digits, mut start) = ([0; 20], 20);
    let mut rest = number.map(i64::unsigned_abs);
    while let Some(left) = rest {
        start -= 1;
        digits[start] = b'0' + u8::try_from(left % 10).unwrap_or_default();
        rest = Some(left / 10).filter(|left| *left > 0);
    }
    if number.is_some_and(i64::is_negative) {
        start -= 1;
        digits[start] = b'-';
    }
    hasher.update(&digits[start..]);
    hasher.update(&[0]);
}

/// The first of the reasons in a `normalize_error`, without the value that it may quote.
#[must_use]
pub fn first_reason(normalize_error: &str) -> &str {
    let first = normalize_error.split("; ").next().unwrap_or_default();
    first.split(": ").next().unwrap_or_default()
}

/// What could not be read of a record: becomes the event's `normalize_error`. Each reason names its field.
#[derive(Debug, Default)]
pub(super) struct Problems(Option<String>);

impl Problems {
    /// Adds a reason.
    pub(super) fn add(&mut self, reason: &str) {
        match &mut self.0 {
            None => self.0 = Some(reason.to_owned()),
            Some(reasons) => {
                reasons.push_str("; ");
                reasons.push_str(reason);
            }
        }
    }

    /// The record's own id, which must be there.
    pub(super) fn require<'a>(&mut self, field: &str, id: Identifier<'a>) -> Text<'a> {
        if id.text().is_none() {
            self.add(&format!("the record has no usable `{field}`"));
        }
        id.into_text()
    }

    /// An id that may be absent. One that is an object or an array is lost, which is a reason.
    pub(super) fn identifier<'a>(&mut self, field: &str, id: Identifier<'a>) -> Text<'a> {
        if id.is_lost() {
            self.add(&format!("`{field}` is not a usable identifier: it is neither text nor an exact number"));
        }
        id.into_text()
    }

    /// The time of the event; without a usable one, that of its reading.
    pub(super) fn timestamp(&mut self, field: &str, text: &TimeText<'_>, observed_at: Timestamp) -> Timestamp {
        self.timestamp_or(field, text, text.read(), observed_at)
    }

    /// Like [`Problems::timestamp`], for a vendor that has parsed the text in a format of its own.
    pub(super) fn timestamp_or(
        &mut self,
        field: &str,
        text: &TimeText<'_>,
        time: Option<ReadTime>,
        observed_at: Timestamp,
    ) -> Timestamp {
        match (time, text.given()) {
            (Some(time), _) => {
                if time.zone_assumed {
                    self.add(&format!("`{field}` has no time zone and was read as UTC"));
                }
                return time.at;
            }
            (None, Some(text)) => {
                self.add(&format!("`{field}` is not a usable time: {}", api_error::excerpt(text)));
            }
            (None, None) => self.add(&format!("`{field}` is missing or not of the documented type")),
        }
        observed_at
    }

    /// All reasons; `None` if everything could be read.
    pub(super) fn into_error(self) -> Option<String> {
        self.0
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
    fn the_key_and_the_content_of_a_record_are_the_same_in_one_pass() {
        let config = NormalizerConfig::default();
        let format = crate::vendors::merge::MergeNormalizer::from(&config);
        for (raw, in_one_pass) in [
            (r#"{"id":"a","created_at":"2026-03-02T08:59:30Z","role":null,"more":{"id":[1,"\u0041\n"]}}"#, true),
            (r#"{ "created_at" : 1795946400 , "id" : 7 , "id" : "b\"" }"#, true),
            (r#"{}"#, true),
            (r#"{"\u0069d":"a"}"#, false),
            (r#"{"id":"a"}, "#, false),
            (r#"{"id":01}"#, false),
            (r#"{"id":"a","more":01}"#, false),
            (r#"{"id":"a","more":"\q"}"#, false),
            ("{\"id\":\"a\nb\"}", false),
            ("{\"id\":\"a\",\"more\":[\"a long text that has a line\nbreak\"]}", false),
            ("{\"id\":\"a\",\"more\":\"an escape \\n and a line\nbreak\"}", false),
            (r#"{"base64":"AAAA"}"#, false),
            (r#"["id"]"#, false),
            ("null", false),
        ] {
            let found = key_with_content(&format, raw);
            assert_eq!(found.is_some(), in_one_pass, "{raw}");
            let by_fields =
                fields_in(raw).map_or_else(|_| key_of_bytes("merge", None, raw), |key| format.key(&key, raw));
            let content = if in_one_pass { content::content_hash(raw) } else { 0 };
            assert_eq!(format.key_of(raw), RecordKey { content, ..by_fields }, "{raw}");
        }
    }

    #[test]
    fn a_reason_is_shown_without_its_value() {
        let mut problems = Problems::default();
        problems.timestamp("at", &lenient::value(r#""soon; or: later""#), Timestamp::from_secs(0));
        let error = problems.into_error().expect("a reason");
        assert!(error.contains("later"));
        assert_eq!(first_reason(&error), "`at` is not a usable time");
    }

    #[test]
    fn problems_name_their_fields_and_keep_what_was_read() {
        let mut problems = Problems::default();
        let id = |json: &'static str| lenient::value::<Identifier<'_>>(json);
        let observed_at = Timestamp::from_secs(1_800_000_000);
        assert_eq!(problems.require("id", id("12345")).as_deref(), Some("12345"));
        assert_eq!(problems.identifier("user_id", id("null")), None);
        assert!(problems.0.is_none());
        assert_eq!(problems.require("id", id("null")), None);
        assert_eq!(problems.identifier("user_id", id(r#"{"a":1}"#)), None);
        let time = problems.timestamp("at", &lenient::value(r#""2026-11-29 10:00:00""#), observed_at);
        assert_eq!(time, Timestamp::from_secs(1_795_946_400));
        assert_eq!(problems.timestamp("until", &lenient::value(r#""soon""#), observed_at), observed_at);
        assert_eq!(problems.timestamp("since", &lenient::value("null"), observed_at), observed_at);
        assert_eq!(
            problems.into_error().as_deref(),
            Some(
                "the record has no usable `id`; `user_id` is not a usable identifier: it is neither text nor an exact \
                 number; `at` has no time zone and was read as UTC; `until` is not a usable time: soon; \
                 `since` is missing or not of the documented type"
            )
        );
    }
}
