//! Which settings a type knows, asked of its own derived code.

use std::cell::Cell;

use serde::de::value::Error;
use serde::de::{self, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// The names of the settings that the struct read by `read` knows; empty if it reads no struct.
pub(super) fn fields_of<T>(read: impl FnOnce(Probe<'_>) -> Result<T, Error>) -> &'static [&'static str] {
    let fields = Cell::new(&[] as &[&str]);
    // The probe holds no values, so reading from it always fails; what counts is what it was asked for.
    drop(read(Probe(&fields)));
    fields.get()
}

/// A deserializer that remembers which fields it was asked for, and has nothing to give.
pub(super) struct Probe<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("a probe has no values"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.set(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[test]
    fn a_struct_tells_its_settings() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its shape is asked for")]
        struct Shape {
            #[serde(rename = "type")]
            kind: String,
            limit: Option<u32>,
        }
        assert_eq!(fields_of(|probe| Shape::deserialize(probe)), ["type", "limit"]);
        assert!(fields_of(|probe| String::deserialize(probe)).is_empty());
    }
}
