//! Lenient parsing of a vendor's record: one invalid field does not affect the others.
//!
//! ```text
//! record --one pass, borrowed--> the fields that are asked for
//! ```
//!
//! A field of an unexpected type is absent, an unknown field is skipped, the last of repeated fields wins, and an empty
//! string is absent, as in the schema. Only a record that is not a JSON object is an error.

use std::borrow::Cow;

use serde::de::IgnoredAny;

use super::json::{Kind, Malformed, Reader};
use super::shape::Shape;

/// A value that is read from any JSON value; an unsuitable one becomes the default.
pub(super) trait FromJson<'de>: Default {
    /// The values that are expected.
    fn shape() -> Shape {
        Shape::Any
    }

    /// From any value: calls the method for its type.
    fn from_json(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        Ok(match reader.kind()? {
            Kind::Text => Self::from_text(reader.text()?),
            Kind::Number => Self::from_number(reader.number()?),
            Kind::Bool => Self::from_bool(reader.bool()?),
            Kind::Object => return Self::from_object(reader),
            Kind::List => return Self::from_list(reader),
            Kind::Null => {
                reader.skip()?;
                Self::default()
            }
        })
    }

    /// From a string.
    fn from_text(_text: Cow<'de, str>) -> Self {
        Self::default()
    }

    /// From `true` or `false`.
    fn from_bool(_value: bool) -> Self {
        Self::default()
    }

    /// From a number as it is written: calls the method for its form. An integer out of range is unsuitable.
    fn from_number(number: &'de str) -> Self {
        if let Ok(whole) = number.parse() {
            return Self::from_whole(whole);
        }
        let float = number.parse().ok().filter(|_| !is_integer(number));
        float.map_or_else(Self::default, Self::from_float)
    }

    /// From an integer.
    fn from_whole(_number: i64) -> Self {
        Self::default()
    }

    /// From a number with a fraction or an exponent.
    fn from_float(_number: f64) -> Self {
        Self::default()
    }

    /// From an object.
    fn from_object(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        reader.skip().map(|_| Self::default())
    }

    /// From an array.
    fn from_list(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        reader.skip().map(|_| Self::default())
    }
}

/// Whether a number is written without a fraction and an exponent.
fn is_integer(number: &str) -> bool {
    !number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
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
    let Ok(value) = whole(raw) else {
        let error = serde_json::from_str::<IgnoredAny>(raw).err();
        let reason = error.map_or_else(String::new, |error| format!(": {error}"));
        return Err(format!("the record is not valid JSON{reason}"));
    };
    let kind = match Reader::new(raw).kind() {
        Ok(Kind::List) => "an array",
        Ok(Kind::Text) => "a string",
        Ok(Kind::Bool) => "a boolean",
        Ok(Kind::Null) => "null",
        Ok(Kind::Number) => "a number",
        Ok(Kind::Object) | Err(Malformed) => return Ok(value),
    };
    Err(format!("the record is {kind}, not a JSON object"))
}

fn whole<'a, T: FromJson<'a>>(json: &'a str) -> Result<T, Malformed> {
    let mut reader = Reader::new(json);
    let value = T::from_json(&mut reader)?;
    reader.end().map(|()| value)
}

/// Parses one value. What is not JSON becomes the default.
pub(super) fn value<'a, T: FromJson<'a>>(json: &'a str) -> T {
    whole(json).unwrap_or_default()
}

impl<'de> FromJson<'de> for Text<'de> {
    fn shape() -> Shape {
        Shape::Value(&[Kind::Text], &[Kind::Number, Kind::Bool])
    }

    fn from_text(text: Cow<'de, str>) -> Self {
        (!text.is_empty()).then_some(text)
    }

    fn from_bool(value: bool) -> Self {
        Some(Cow::Borrowed(if value { "true" } else { "false" }))
    }

    /// Ids that an API sends as numbers. Numbers that are not exact are not text: two different ids could become the same.
    fn from_number(number: &'de str) -> Self {
        if is_integer(number) {
            return Some(Cow::Borrowed(number));
        }
        let float = number.parse().ok().filter(|float: &f64| float.abs() <= EXACT);
        float.map(|float| Cow::Owned(float.to_string()))
    }
}

impl FromJson<'_> for Option<bool> {
    fn shape() -> Shape {
        Shape::Value(&[Kind::Bool], &[])
    }

    fn from_bool(value: bool) -> Self {
        Some(value)
    }
}

impl<'de> FromJson<'de> for Option<i64> {
    fn shape() -> Shape {
        Shape::Value(&[Kind::Number], &[Kind::Text])
    }

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
    fn shape() -> Shape {
        Shape::List(Box::new(T::shape()))
    }

    fn from_list(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        let (mut list, mut is_first) = (Self::new(), true);
        reader.open()?;
        while reader.element(&mut is_first)? {
            list.push(T::from_json(reader)?);
        }
        Ok(list)
    }
}

/// For objects with many fields: moving them costs more than the allocation.
impl<'de, T: FromJson<'de>> FromJson<'de> for Box<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn from_json(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        T::from_json(reader).map(Box::new)
    }
}

/// The JSON text of a value of any type; `null` is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Json<'a>(pub(super) Option<&'a str>);

impl<'de> FromJson<'de> for Json<'de> {
    fn from_json(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        Ok(Self(Some(reader.skip()?).filter(|json| *json != "null")))
    }
}

impl<'a> Json<'a> {
    /// Any value as text: a string unquoted, anything else as JSON.
    pub(super) fn shown(self) -> Text<'a> {
        self.0.and_then(|json| if json.starts_with('"') { value(json) } else { Some(Cow::Borrowed(json)) })
    }
}

/// An object with fields of its own: see `json_object`.
pub(super) trait JsonObject<'de>: FromJson<'de> {
    /// Reads the value that comes next if it is that of a field; returns whether it is.
    fn read_member(&mut self, name: &str, reader: &mut Reader<'de>) -> Result<bool, Malformed>;
}

/// A field with a value of any type as text; `null` and an empty string are absent.
#[derive(Debug, Default)]
pub(super) struct Shown<'a>(pub(super) Text<'a>);

impl<'de> FromJson<'de> for Shown<'de> {
    fn from_json(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        Json::from_json(reader).map(|json| Self(json.shown()))
    }
}

/// The members of an object in their order, repeated ones too; none from another value.
#[derive(Debug, Default)]
pub(super) struct Members<'a, T>(pub(super) Vec<(Cow<'a, str>, T)>);

impl<'de, T: FromJson<'de>> FromJson<'de> for Members<'de, T> {
    fn shape() -> Shape {
        Shape::Members(Box::new(T::shape()))
    }

    fn from_object(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        let (mut members, mut is_first) = (Vec::new(), true);
        reader.open()?;
        while let Some(name) = reader.member(&mut is_first)? {
            members.push((name, T::from_json(reader)?));
        }
        Ok(Self(members))
    }
}

/// Declares an object of a vendor's record: each field with its JSON name. Every field type is a [`FromJson`].
macro_rules! json_object {
    ($(#[$doc:meta])* $visibility:vis struct $name:ident<'a> {
        $($field_visibility:vis $field:ident: $type:ty = $key:literal,)+
    }) => {
        $(#[$doc])*
        #[derive(Debug, Default)]
        $visibility struct $name<'a> {
            $($field_visibility $field: $type,)+
        }

        impl<'a> $crate::vendors::lenient::JsonObject<'a> for $name<'a> {
            #[inline]
            fn read_member(
                &mut self,
                name: &str,
                reader: &mut $crate::vendors::json::Reader<'a>,
            ) -> Result<bool, $crate::vendors::json::Malformed> {
                use $crate::vendors::lenient::FromJson;
                match name {
                    $($key => self.$field = FromJson::from_json(reader)?,)+
                    _ => return Ok(false),
                }
                Ok(true)
            }
        }

        impl<'a> $crate::vendors::lenient::FromJson<'a> for $name<'a> {
            fn shape() -> $crate::vendors::shape::Shape {
                use $crate::vendors::lenient::FromJson;
                $crate::vendors::shape::Shape::Object(vec![$(($key, <$type as FromJson<'a>>::shape()),)+])
            }

            fn from_object(
                reader: &mut $crate::vendors::json::Reader<'a>,
            ) -> Result<Self, $crate::vendors::json::Malformed> {
                use $crate::vendors::lenient::JsonObject;
                let (mut object, mut is_first) = (Self::default(), true);
                reader.open()?;
                while let Some(name) = reader.member(&mut is_first)? {
                    if !object.read_member(&name, reader)? {
                        reader.skip()?;
                    }
                }
                Ok(object)
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
            any: Json<'a> = "any",
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
        let any = |raw| read(raw).any.0;
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
        let outer = read(r#"{"count": 1e999, "name": 18446744073709551617}"#);
        assert_eq!((outer.count, outer.name.as_deref()), (None, Some("18446744073709551617")));
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
