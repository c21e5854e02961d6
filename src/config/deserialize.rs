//! The tree of the file as a serde deserializer: each settings type is read by its own derived code, and every error keeps
//! its span.
//!
//! To find all errors in one run, [`super::multi_error`] reads again after each one. An attempt skips the values that are known
//! to be wrong, and fills in a placeholder for each required setting that is known to be missing.

use std::cell::Cell;
use std::collections::HashSet;

use serde::de::value::{Error, MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::node::{Entry, Node, NodeId, Scalar, ScalarValue, Value};
use super::read_error::{ReadError, names_a_secret};

/// What one attempt to read a tree knows from the attempts before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt<'t> {
    /// Values to skip.
    pub(crate) dropped: &'t HashSet<NodeId>,
    /// Missing settings, by map, that get a placeholder.
    pub(crate) placeholders: &'t [(NodeId, &'static str)],
}

/// Reads one value of the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeDeserializer<'t> {
    node: &'t Node,
    attempt: Attempt<'t>,
    holds_secret: bool,
}

impl<'t> NodeDeserializer<'t> {
    pub(crate) fn new(node: &'t Node, attempt: Attempt<'t>) -> Self {
        Self { node, attempt, holds_secret: false }
    }

    fn below(self, key: &str, node: &'t Node) -> Self {
        Self { node, attempt: self.attempt, holds_secret: names_a_secret(key) }
    }

    /// Adds this value's span to the error, unless it has one. Marks a setting as a consequence if it is missing only because
    /// it is skipped.
    fn locate(self, mut error: ReadError) -> ReadError {
        if error.location.is_none()
            && let Some(entry) = error.missing.and_then(|field| self.node.entry(field))
        {
            error.is_consequence = self.is_dropped(entry.value.id);
        }
        error.located_at(self.node, self.holds_secret)
    }

    fn is_dropped(self, node: NodeId) -> bool {
        self.attempt.dropped.contains(&node)
    }

    fn items(self, items: &'t [Node]) -> Items<'t> {
        Items { reader: self, items: items.iter().enumerate() }
    }

    fn entries(self, entries: &'t [Entry]) -> Entries<'t> {
        let placeholders = self.attempt.placeholders.iter();
        Entries { reader: self, entries: entries.iter(), placeholders, value: None }
    }

    fn visit_value<V: Visitor<'t>>(self, form: ScalarValue<'t>, visitor: V) -> Result<V::Value, ReadError> {
        let outcome = match form {
            ScalarValue::Null => visitor.visit_unit(),
            ScalarValue::Bool(value) => visitor.visit_bool(value),
            ScalarValue::Unsigned(number) => visitor.visit_u64(number),
            ScalarValue::Signed(number) => visitor.visit_i64(number),
            ScalarValue::Float(number) => visitor.visit_f64(number),
            ScalarValue::Text(text) => visitor.visit_borrowed_str(text),
        };
        outcome.map_err(|error| self.locate(error))
    }

    /// For types that want a number or a boolean: the text of a variable is parsed.
    fn visit_coerced<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Scalar(scalar) => self.visit_value(scalar.coerced_value(), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    /// For types that want a string: digits are a string as well, exactly as written.
    fn visit_text<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Scalar(Scalar { text, .. }) if !self.node.is_null() => {
                self.visit_value(ScalarValue::Text(text), visitor)
            }
            _ => self.deserialize_any(visitor),
        }
    }
}

/// Implements methods that pass their visitor to `$to`.
macro_rules! forward {
    ($life:lifetime $to:ident: $($method:ident)+) => {
        $(fn $method<V: Visitor<$life>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$to(visitor)
        })+
    };
}

impl<'t> Deserializer<'t> for NodeDeserializer<'t> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let outcome = match &self.node.value {
            Value::Scalar(scalar) => return self.visit_value(scalar.typed_value(), visitor),
            Value::List(items) => visitor.visit_seq(self.items(items)),
            Value::Map(entries) => visitor.visit_map(self.entries(entries)),
        };
        outcome.map_err(|error| self.locate(error))
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(self, _: &'static str, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self).map_err(|error| self.locate(error))
    }

    fn deserialize_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_map(visitor)
    }

    /// `batch:` with everything below it commented out is an empty map.
    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_null() {
            return visitor.visit_map(self.entries(&[])).map_err(|error| self.locate(error));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let outcome = match &self.node.value {
            Value::Scalar(scalar) if !self.node.is_null() => {
                visitor.visit_enum(IntoDeserializer::<ReadError>::into_deserializer(scalar.text.as_str()))
            }
            Value::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(Variant { reader: self, entry: &entries[0] })
            }
            Value::Scalar(_) => Err(de::Error::invalid_type(Unexpected::Unit, &"one word")),
            Value::Map(_) => Err(de::Error::invalid_type(Unexpected::Map, &"one word")),
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"one word")),
        };
        outcome.map_err(|error| self.locate(error))
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward! { 't visit_text: deserialize_str deserialize_string deserialize_char }

    forward! {
        't visit_coerced: deserialize_bool deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8
        deserialize_i16 deserialize_i32 deserialize_i64 deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i128 u128 bytes byte_buf unit unit_struct seq tuple tuple_struct identifier
    }
}

/// The items of a list, without the skipped ones.
struct Items<'t> {
    reader: NodeDeserializer<'t>,
    items: std::iter::Enumerate<std::slice::Iter<'t, Node>>,
}

impl<'t> de::SeqAccess<'t> for Items<'t> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let reader = self.reader;
        let Some((index, node)) = self.items.find(|(_, item)| !reader.is_dropped(item.id)) else { return Ok(None) };
        let item = NodeDeserializer { node, ..reader };
        seed.deserialize(item).map(Some).map_err(|error| item.locate(error).below(format!("[{index}]")))
    }
}

/// The entries of a map without the skipped ones, then the placeholders.
struct Entries<'t> {
    reader: NodeDeserializer<'t>,
    entries: std::slice::Iter<'t, Entry>,
    placeholders: std::slice::Iter<'t, (NodeId, &'static str)>,
    value: Option<&'t Entry>,
}

impl<'t> de::MapAccess<'t> for Entries<'t> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'t>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let reader = self.reader;
        self.value = self.entries.find(|entry| !reader.is_dropped(entry.value.id));
        if let Some(entry) = self.value {
            let key: StrDeserializer<'_, ReadError> = entry.key.as_str().into_deserializer();
            let located = |error: ReadError| error.located_at_key(entry, reader.node);
            return seed.deserialize(key).map(Some).map_err(located);
        }
        match self.placeholders.find(|(node, _)| *node == reader.node.id) {
            Some((_, field)) => seed.deserialize(Placeholder::named(field)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(entry) = self.value else { return seed.deserialize(Placeholder::value()) };
        let value = self.reader.below(&entry.key, &entry.value);
        seed.deserialize(value).map_err(|error| value.locate(error).below(entry.key.clone()))
    }
}

/// An enum variant with settings: `{name: settings}`.
struct Variant<'t> {
    reader: NodeDeserializer<'t>,
    entry: &'t Entry,
}

impl<'t> de::EnumAccess<'t> for Variant<'t> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'t>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let key: StrDeserializer<'_, ReadError> = self.entry.key.as_str().into_deserializer();
        match seed.deserialize(key) {
            Ok(value) => Ok((value, self)),
            Err(error) => Err(error.located_at_key(self.entry, self.reader.node)),
        }
    }
}

impl<'t> Variant<'t> {
    fn settings(&self) -> NodeDeserializer<'t> {
        self.reader.below(&self.entry.key, &self.entry.value)
    }

    fn read<T>(self, read: impl FnOnce(NodeDeserializer<'t>) -> Result<T, ReadError>) -> Result<T, ReadError> {
        let settings = self.settings();
        read(settings).map_err(|error| settings.locate(error).below(self.entry.key.clone()))
    }
}

impl<'t> de::VariantAccess<'t> for Variant<'t> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        self.read(<() as de::Deserialize>::deserialize)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'t>>(self, seed: T) -> Result<T::Value, ReadError> {
        self.read(|settings| seed.deserialize(settings))
    }

    fn tuple_variant<V: Visitor<'t>>(self, _: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.read(|settings| settings.deserialize_seq(visitor))
    }

    fn struct_variant<V: Visitor<'t>>(self, _: &'static [&'static str], visitor: V) -> Result<V::Value, ReadError> {
        self.read(|settings| settings.deserialize_map(visitor))
    }
}

/// A value for a missing setting, so that reading continues and finds the other errors: a string, 1, `false`, the first enum
/// variant, an empty list or map. What was read with it is discarded.
pub(crate) struct Placeholder(());

impl Placeholder {
    /// The missing setting's name.
    pub(crate) fn named(field: &'static str) -> StrDeserializer<'static, ReadError> {
        field.into_deserializer()
    }

    /// The missing setting's value.
    pub(crate) fn value() -> Self {
        Self(())
    }
}

/// A type that accepts no placeholder ends the reading of its component without another message.
fn as_consequence<T>(outcome: Result<T, ReadError>) -> Result<T, ReadError> {
    outcome.map_err(|error| ReadError { is_consequence: true, missing: None, ..error })
}

impl<'de> Deserializer<'de> for Placeholder {
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
        'de deserialize_u64: deserialize_u8 deserialize_u16 deserialize_u32 deserialize_i8 deserialize_i16 deserialize_i32
        deserialize_i64 deserialize_f32 deserialize_f64
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct identifier
    }
}

/// The field names of the struct that `read` deserializes; empty if it is not a struct.
pub(crate) fn field_names<T>(read: impl FnOnce(FieldNameProbe<'_>) -> Result<T, Error>) -> &'static [&'static str] {
    let fields = Cell::new(&[] as &[&str]);
    // Reading always fails, since there are no values. Only the requested field names matter.
    drop(read(FieldNameProbe(&fields)));
    fields.get()
}

/// A deserializer without values that records the field names it is asked for.
pub(crate) struct FieldNameProbe<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for FieldNameProbe<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("no values"))
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
    fn the_field_names_of_a_struct() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its field names are read")]
        struct Shape {
            #[serde(rename = "type")]
            kind: String,
            limit: Option<u32>,
        }
        assert_eq!(field_names(|probe| Shape::deserialize(probe)), ["type", "limit"]);
        assert!(field_names(|probe| String::deserialize(probe)).is_empty());
    }
}
