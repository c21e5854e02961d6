//! Lenient parsing of a vendor's record: one invalid field does not affect the others.
//!
//! ```text
//! record --one pass, borrowed--> fields          nearly always
//!    |
//!    +- a value that serde rejects (half a surrogate pair, a number out of range)
//!         --field by field--> fields      valid fields are kept
//! ```
//!
//! A field of an unexpected type is absent, an unknown field is skipped, the last of repeated fields wins, and an empty
//! string is absent, as in the schema. Only a record that is not a JSON object is an error.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A value that is parsed from any JSON value; an unsuitable one becomes the default.
pub(super) trait FromJson<'de>: Default {
    /// From any value: calls the method for its type.
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Seed::new())
    }

    /// From a string.
    fn from_text(_text: Cow<'de, str>) -> Self {
        Self::default()
    }

    /// From `true` or `false`.
    fn from_bool(_value: bool) -> Self {
        Self::default()
    }

    /// From an integer.
    fn from_whole(_number: i64) -> Self {
        Self::default()
    }

    /// From an integer that needs 64 bits without a sign.
    fn from_large(_number: u64) -> Self {
        Self::default()
    }

    /// From a number with a fraction or an exponent, or out of the range of integers.
    fn from_float(_number: f64) -> Self {
        Self::default()
    }

    /// From an object.
    fn from_object<A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    /// From an array.
    fn from_list<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    /// The slow path, for well-formed JSON that cannot be parsed in one pass.
    fn salvage(_json: &'de str) -> Self {
        Self::default()
    }
}

/// Integers up to this size are exact in a number with a fraction.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// A non-empty string, borrowed from the record unless it contains escapes.
pub(super) type Text<'a> = Option<Cow<'a, str>>;

/// Parses a record that should be a JSON object.
///
/// # Errors
/// The reason, when `raw` is not a JSON object. It contains nothing of the content.
pub(super) fn object<'a, T: FromJson<'a>>(raw: &'a str) -> Result<T, String> {
    let reason = match in_one_pass(raw) {
        Ok(value) => return kind_of_other_value(raw).map_or(Ok(value), |kind| Err(not_an_object(kind))),
        Err(reason) => reason,
    };
    // Skipping does not decode strings, so it distinguishes invalid JSON from an unusable value.
    if serde_json::from_str::<IgnoredAny>(raw).is_err() {
        return Err(format!("the record is not valid JSON: {reason}"));
    }
    kind_of_other_value(raw).map_or_else(|| Ok(T::salvage(raw)), |kind| Err(not_an_object(kind)))
}

fn not_an_object(kind: &str) -> String {
    format!("the record is {kind}, not a JSON object")
}

/// The type of valid JSON that is not an object, by its first character.
fn kind_of_other_value(json: &str) -> Option<&'static str> {
    match json.trim_start().bytes().next()? {
        b'{' => None,
        b'[' => Some("an array"),
        b'"' => Some("a string"),
        b't' | b'f' => Some("a boolean"),
        b'n' => Some("null"),
        _ => Some("a number"),
    }
}

fn in_one_pass<'a, T: FromJson<'a>>(json: &'a str) -> serde_json::Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = Seed::new().deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// Parses one value.
pub(super) fn value<'a, T: FromJson<'a>>(json: &'a str) -> T {
    in_one_pass(json).unwrap_or_else(|_| T::salvage(json))
}

/// Parses `T` as part of a larger value.
pub(super) struct Seed<T>(PhantomData<T>);

impl<T> Seed<T> {
    pub(super) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<'de, T: FromJson<'de>> DeserializeSeed<'de> for Seed<T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        T::from_json(deserializer)
    }
}

impl<'de, T: FromJson<'de>> Visitor<'de> for Seed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<T, E> {
        Ok(T::from_text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from_text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<T, E> {
        Ok(T::from_bool(value))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        Ok(T::from_whole(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        Ok(i64::try_from(number).map_or_else(|_| T::from_large(number), T::from_whole))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        Ok(T::from_float(number))
    }

    fn visit_unit<E: de::Error>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::from_object(fields)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::from_list(items)
    }
}

impl<'de> FromJson<'de> for Text<'de> {
    fn from_text(text: Cow<'de, str>) -> Self {
        (!text.is_empty()).then_some(text)
    }

    fn from_bool(value: bool) -> Self {
        Some(Cow::Borrowed(if value { "true" } else { "false" }))
    }

    /// Ids that an API sends as numbers.
    fn from_whole(number: i64) -> Self {
        Some(Cow::Owned(number.to_string()))
    }

    fn from_large(number: u64) -> Self {
        Some(Cow::Owned(number.to_string()))
    }

    /// Numbers that are not exact are not text: two different ids could become the same.
    fn from_float(number: f64) -> Self {
        (number.abs() <= EXACT).then(|| Cow::Owned(number.to_string()))
    }

    fn salvage(json: &'de str) -> Self {
        // As bytes, halves of surrogate pairs pass; they then become the replacement character.
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let text = deserializer.deserialize_bytes(LossyText).ok()?;
        Self::from_text(Cow::Owned(text))
    }
}

impl FromJson<'_> for Option<bool> {
    fn from_bool(value: bool) -> Self {
        Some(value)
    }
}

impl<'de> FromJson<'de> for Option<i64> {
    fn from_whole(number: i64) -> Self {
        Some(number)
    }

    /// Some encoders write integers with a fraction or an exponent: `57.0`, `1.7E+12`.
    fn from_float(number: f64) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "it is an integer of at most 53 bits")]
        (number.fract() == 0.0 && number.abs() <= EXACT).then_some(number as i64)
    }

    /// Some tools and encoders turn numbers into text.
    fn from_text(text: Cow<'de, str>) -> Self {
        text.trim().parse().ok()
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for Vec<T> {
    fn from_list<A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut list = Self::new();
        while let Some(item) = items.next_element_seed(Seed::new())? {
            list.push(item);
        }
        Ok(list)
    }

    fn salvage(json: &'de str) -> Self {
        let items: Vec<&'de RawValue> = serde_json::from_str(json).unwrap_or_default();
        items.into_iter().map(|item| value(item.get())).collect()
    }
}

/// The JSON text of a value of any type; `null` is `None`.
impl<'de> FromJson<'de> for Option<&'de RawValue> {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&'de RawValue as de::Deserialize>::deserialize(deserializer)?;
        Ok(Some(json).filter(|json| json.get() != "null"))
    }
}

/// Any value as text: a string unquoted, anything else as JSON.
pub(super) fn shown(value: &RawValue) -> Text<'_> {
    let json = value.get();
    if json.starts_with('"') { self::value(json) } else { Some(Cow::Borrowed(json)) }
}

/// A field with a value of any type as text; `null` and an empty string are absent.
#[derive(Debug, Default)]
pub(super) struct Shown<'a>(pub(super) Text<'a>);

impl<'de> FromJson<'de> for Shown<'de> {
    fn from_json<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json: Option<&'de RawValue> = FromJson::from_json(deserializer)?;
        Ok(Self(json.and_then(shown)))
    }
}

struct LossyText;

impl Visitor<'_> for LossyText {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<String, E> {
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// The name of a field, borrowed unless it contains escapes.
pub(super) struct FieldName<'de>(pub(super) Cow<'de, str>);

impl<'de> de::Deserialize<'de> for FieldName<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = FieldName<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field name")
            }
            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<FieldName<'de>, E> {
                Ok(FieldName(Cow::Borrowed(name)))
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<FieldName<'de>, E> {
                Ok(FieldName(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// The fields of an object as JSON text; empty if it is not an object.
pub(super) fn fields_of(json: &str) -> Vec<(FieldName<'_>, &RawValue)> {
    serde_json::from_str::<FieldList<'_>>(json).map(|fields| fields.0).unwrap_or_default()
}

/// The fields of an object in their order, repeated ones too.
pub(super) struct FieldList<'de>(pub(super) Vec<(FieldName<'de>, &'de RawValue)>);

impl<'de> de::Deserialize<'de> for FieldList<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = FieldList<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldList<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(FieldList(fields))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// Declares an object of a vendor's record: each field with its JSON name. Every field type is a [`FromJson`].
macro_rules! json_object {
    ($(#[$doc:meta])* $visibility:vis struct $name:ident<'a> { $($field:ident: $type:ty = $key:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        $visibility struct $name<'a> {
            $($field: $type,)+
        }

        impl<'a> $crate::vendors::lenient::FromJson<'a> for $name<'a> {
            fn from_object<A: serde::de::MapAccess<'a>>(mut fields: A) -> Result<Self, A::Error> {
                use $crate::vendors::lenient::{FieldName, Seed};
                let mut object = Self::default();
                while let Some(FieldName(name)) = fields.next_key()? {
                    match &*name {
                        $($key => object.$field = fields.next_value_seed(Seed::new())?,)+
                        _ => _ = fields.next_value::<serde::de::IgnoredAny>()?,
                    }
                }
                Ok(object)
            }

            fn salvage(json: &'a str) -> Self {
                use $crate::vendors::lenient::{FieldName, fields_of, value};
                let mut object = Self::default();
                for (FieldName(name), json) in fields_of(json) {
                    match &*name {
                        $($key => object.$field = value(json.get()),)+
                        _ => {}
                    }
                }
                object
            }
        }
    };
}

pub(super) use json_object;

#[cfg(test)]
mod tests {
    use super::*;

    json_object! {
        struct Outer<'a> {
            name: Text<'a> = "name",
            count: Option<i64> = "count",
            inner: Inner<'a> = "inner",
            any: Option<&'a RawValue> = "any",
            list: Vec<Inner<'a>> = "list",
        }
    }

    json_object! {
        struct Inner<'a> {
            text: Text<'a> = "text",
            flag: Option<bool> = "flag",
        }
    }

    fn read(raw: &str) -> Outer<'_> {
        object(raw).expect(raw)
    }

    #[test]
    fn plain_strings_are_borrowed() {
        let outer = read(r#"{"name": "Ada", "unknown": {"a": [1]}, "count": 3, "inner": {"text": "t", "flag": true}}"#);
        assert!(matches!(outer.name, Some(Cow::Borrowed("Ada"))));
        assert_eq!(outer.count, Some(3));
        assert_eq!(outer.inner.text.as_deref(), Some("t"));
        assert_eq!(outer.inner.flag, Some(true));
    }

    #[test]
    fn wrong_types_are_absent_and_affect_nothing_else() {
        let outer = read(r#"{"name": [1], "count": {"a": 1}, "inner": "x", "list": {"b": 2}}"#);
        assert!(outer.name.is_none() && outer.count.is_none() && outer.inner.text.is_none() && outer.list.is_empty());
        let outer = read(r#"{"name": 1e300, "count": 1.5, "inner": null, "list": [null, {"text": "t"}, 3]}"#);
        assert!(outer.name.is_none() && outer.count.is_none());
        assert_eq!(outer.list.len(), 3);
        assert_eq!(outer.list[1].text.as_deref(), Some("t"));
    }

    #[test]
    fn the_last_repeated_key_wins_and_empty_strings_are_absent() {
        assert_eq!(read(r#"{"name": "a", "name": "b"}"#).name.as_deref(), Some("b"));
        assert_eq!(read(r#"{"name": ""}"#).name, None);
        assert_eq!(read(r#"{"\u006eame": "escaped key"}"#).name.as_deref(), Some("escaped key"));
        assert_eq!(read(r#"{"count": "12"}"#).count, Some(12));
        assert_eq!(read(r#"{"count": 18446744073709551615}"#).count, None);
    }

    #[test]
    fn numbers_as_text_and_text_as_numbers() {
        assert_eq!(read(r#"{"name": 12345}"#).name.as_deref(), Some("12345"));
        assert_eq!(read(r#"{"name": true}"#).name.as_deref(), Some("true"));
        assert_eq!(read(r#"{"name": 7.5}"#).name.as_deref(), Some("7.5"));
        assert_eq!(read(r#"{"name": 18446744073709551615}"#).name.as_deref(), Some("18446744073709551615"));
        for (written, count) in
            [("57.0", Some(57)), ("\" 57 \"", Some(57)), ("1.79E+3", Some(1790)), ("-1", Some(-1)), ("1e300", None)]
        {
            assert_eq!(read(&format!(r#"{{"count": {written}}}"#)).count, count, "{written}");
        }
    }

    #[test]
    fn a_value_of_any_type_keeps_its_text() {
        let any = |raw| read(raw).any.map(RawValue::get);
        assert_eq!(any(r#"{"any": {"a": [1, "\ud800"]} , "name": "a"}"#), Some(r#"{"a": [1, "\ud800"]}"#));
        assert_eq!(any(r#"{"any": 1e999, "name": "\ud800"}"#), Some("1e999"));
        assert_eq!((any(r#"{"any": null}"#), any("{}")), (None, None));
    }

    #[test]
    fn one_invalid_value_affects_only_itself() {
        let outer = read(
            r#"{"name": "half \ud800 pair", "count": 4, "inner": {"text": "fine", "x": "\udc00"},
                "list": [{"text": "\ud83d"}, {"text": "b"}]}"#,
        );
        assert!(outer.name.expect("kept").starts_with("half \u{fffd}"));
        assert_eq!(outer.count, Some(4));
        assert_eq!(outer.inner.text.as_deref(), Some("fine"));
        assert!(outer.list[0].text.is_some());
        assert_eq!(outer.list[1].text.as_deref(), Some("b"));
        let outer = read(r#"{"count": 1e999, "name": "a"}"#);
        assert_eq!((outer.count, outer.name.as_deref()), (None, Some("a")));
    }

    #[test]
    fn other_values_are_errors_with_a_reason() {
        for (raw, reason) in [
            ("null", "is null, not a JSON object"),
            ("[1]", "is an array, not a JSON object"),
            (" \"secret text\"", "is a string, not a JSON object"),
            ("\"half \\ud800 pair\"", "is a string, not a JSON object"),
            ("-1", "is a number, not a JSON object"),
            ("", "not valid JSON"),
            ("{", "not valid JSON"),
            ("{\"name\": \"a\"} trailing", "not valid JSON"),
        ] {
            let said = object::<Outer<'_>>(raw).expect_err(raw);
            assert!(said.contains(reason) && !said.contains("secret"), "{raw}: {said}");
        }
    }
}
