//! Made-up values for settings that are missing: reading can then go on and find the other mistakes. What was read with
//! their help is thrown away.

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::read_error::ReadError;

/// A value that suits most types: text, zero, no, the first choice, nothing in it.
pub(super) struct Assumed(());

impl Assumed {
    /// The missing setting's name.
    pub(super) fn named(field: &'static str) -> StrDeserializer<'static, ReadError> {
        field.into_deserializer()
    }

    /// The missing setting's value.
    pub(super) fn value() -> Self {
        Self(())
    }
}

/// A type that takes none of the made-up values ends the reading of its component, without another message.
fn as_consequence<T>(outcome: Result<T, ReadError>) -> Result<T, ReadError> {
    outcome.map_err(|error| ReadError { is_consequence: true, missing: None, ..error })
}

/// Methods that are all alike: each hands its visitor to `$to`.
macro_rules! forward {
    ($to:ident: $($method:ident)+) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$to(visitor)
        })+
    };
}

impl<'de> Deserializer<'de> for Assumed {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        as_consequence(visitor.visit_borrowed_str("missing"))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        as_consequence(visitor.visit_u64(1))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        as_consequence(visitor.visit_bool(false))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        as_consequence(visitor.visit_none())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let nothing = std::iter::empty::<&str>();
        as_consequence(visitor.visit_seq(SeqDeserializer::<_, ReadError>::new(nothing)))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let nothing = std::iter::empty::<(&str, &str)>();
        as_consequence(visitor.visit_map(MapDeserializer::<_, ReadError>::new(nothing)))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        as_consequence(visitor.visit_newtype_struct(self))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let first: StrDeserializer<'_, ReadError> = variants.first().copied().unwrap_or_default().into_deserializer();
        as_consequence(visitor.visit_enum(first))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    forward! {
        deserialize_u64: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_f32 deserialize_f64
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}
