//! The tree as a serde deserializer, so that every settings type is read by its own derived code and every mistake still
//! has its place.
//!
//! Two habits serve the collecting of all mistakes in one run (see [`super::collect_all`]): values that are known to be
//! wrong are passed over as if they were not in the file, and a required setting that is missing is made up once its
//! absence is known.

use std::collections::HashSet;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::assumed::Assumed;
use super::node::{Entry, Form, Node, NodeId, Scalar, Value};
use super::read_error::{ReadError, names_a_secret};

/// What one attempt to read a tree knows of the attempts before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'t> {
    /// Values that are left out.
    pub(super) dropped: &'t HashSet<NodeId>,
    /// Settings of maps that are missing and made up.
    pub(super) assumed: &'t [(NodeId, &'static str)],
}

/// Reads one value of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'t> {
    node: &'t Node,
    attempt: Attempt<'t>,
    holds_secret: bool,
}

impl<'t> Reader<'t> {
    pub(super) fn new(node: &'t Node, attempt: Attempt<'t>) -> Self {
        Self { node, attempt, holds_secret: false }
    }

    fn below(self, key: &str, node: &'t Node) -> Self {
        Self { node, attempt: self.attempt, holds_secret: names_a_secret(key) }
    }

    /// Gives the error this value's place, unless it has one; and tells a missing setting from one that was left out.
    fn locate(self, mut error: ReadError) -> ReadError {
        if error.spot.is_none()
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
        let assumed = self.attempt.assumed.iter();
        Entries { reader: self, entries: entries.iter(), assumed, value: None }
    }

    fn visit_form<V: Visitor<'t>>(self, form: Form<'t>, visitor: V) -> Result<V::Value, ReadError> {
        let outcome = match form {
            Form::Nothing => visitor.visit_unit(),
            Form::Bool(value) => visitor.visit_bool(value),
            Form::Unsigned(number) => visitor.visit_u64(number),
            Form::Signed(number) => visitor.visit_i64(number),
            Form::Float(number) => visitor.visit_f64(number),
            Form::Text(text) => visitor.visit_borrowed_str(text),
        };
        outcome.map_err(|error| self.locate(error))
    }

    /// For types that want a number, `true` or `false`: a variable's text counts as what it holds.
    fn visit_wanted<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Scalar(scalar) => self.visit_form(scalar.wanted_form(), visitor),
            _ => self.deserialize_any(visitor),
        }
    }

    /// For types that want text: digits are text as well, just as they were written.
    fn visit_text<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Scalar(Scalar { text, .. }) if !self.node.is_nothing() => self.visit_form(Form::Text(text), visitor),
            _ => self.deserialize_any(visitor),
        }
    }
}

/// Methods that are all alike: each hands its visitor to `$to`.
macro_rules! forward {
    ($to:ident: $($method:ident)+) => {
        $(fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$to(visitor)
        })+
    };
}

impl<'t> Deserializer<'t> for Reader<'t> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let outcome = match &self.node.value {
            Value::Scalar(scalar) => return self.visit_form(scalar.form(), visitor),
            Value::List(items) => visitor.visit_seq(self.items(items)),
            Value::Map(entries) => visitor.visit_map(self.entries(entries)),
        };
        outcome.map_err(|error| self.locate(error))
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if self.node.is_nothing() { visitor.visit_none() } else { visitor.visit_some(self) }
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
        if self.node.is_nothing() {
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
            Value::Scalar(scalar) if !self.node.is_nothing() => {
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

    forward! { visit_text: deserialize_str deserialize_string deserialize_char }

    forward! {
        visit_wanted: deserialize_bool deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i8
        deserialize_i16 deserialize_i32 deserialize_i64 deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        i128 u128 bytes byte_buf unit unit_struct seq tuple tuple_struct identifier
    }
}

/// The items of a list that are not left out.
struct Items<'t> {
    reader: Reader<'t>,
    items: std::iter::Enumerate<std::slice::Iter<'t, Node>>,
}

impl<'t> de::SeqAccess<'t> for Items<'t> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'t>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let reader = self.reader;
        let Some((index, node)) = self.items.find(|(_, item)| !reader.is_dropped(item.id)) else { return Ok(None) };
        let item = Reader { node, ..reader };
        seed.deserialize(item).map(Some).map_err(|error| item.locate(error).below(format!("[{index}]")))
    }
}

/// The entries of a map that are not left out, then the settings that are made up.
struct Entries<'t> {
    reader: Reader<'t>,
    entries: std::slice::Iter<'t, Entry>,
    assumed: std::slice::Iter<'t, (NodeId, &'static str)>,
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
        match self.assumed.find(|(node, _)| *node == reader.node.id) {
            Some((_, field)) => seed.deserialize(Assumed::named(field)).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'t>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let Some(entry) = self.value else { return seed.deserialize(Assumed::value()) };
        let value = self.reader.below(&entry.key, &entry.value);
        seed.deserialize(value).map_err(|error| value.locate(error).below(entry.key.clone()))
    }
}

/// A choice with settings of its own: `{name: settings}`.
struct Variant<'t> {
    reader: Reader<'t>,
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
    fn settings(&self) -> Reader<'t> {
        self.reader.below(&self.entry.key, &self.entry.value)
    }

    fn read<T>(self, read: impl FnOnce(Reader<'t>) -> Result<T, ReadError>) -> Result<T, ReadError> {
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
