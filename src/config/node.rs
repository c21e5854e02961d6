//! The YAML file as a tree in which every key and value has its span, and the paths of keys.
//!
//! serde's data model drops the position of a value. An error that is found later (an input that does not exist, an end
//! before the start) could then only name the file. So the file is read into this tree first, and all checks and
//! conversions work on it.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A position in a file of a pipeline. Lines and columns are counted from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TextSpan {
    /// The file, counted from 0, in the order in which the files of the pipeline were read.
    pub file: usize,
    /// The line.
    pub line: usize,
    /// The column of its first character.
    pub column: usize,
    /// How many characters it takes on that line.
    pub width: usize,
}

/// Identifies a node among those of all files, so that later attempts can skip it.
pub(crate) type NodeId = u32;

/// A value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) span: TextSpan,
    pub(crate) value: Value,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) span: TextSpan,
    pub(crate) value: Node,
}

/// A value that is not a list or a map.
#[derive(Clone, Debug)]
pub(crate) struct Scalar {
    /// The text, with variables replaced.
    pub(crate) text: String,
    /// Whether it is unquoted. Only unquoted scalars can be numbers, booleans or null.
    pub(crate) plain: bool,
    /// The text in the file, if variables were replaced in it. Messages show it instead of `text`.
    pub(crate) written: Option<String>,
    /// Whether it is made of a row of a list.
    pub(crate) from_row: bool,
}

/// A scalar, typed by its text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ScalarValue<'a> {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

impl Scalar {
    /// The typed scalar. A text with variables or from a row is always a string, whatever their values.
    pub(crate) fn typed_value(&self) -> ScalarValue<'_> {
        if self.plain && !self.is_filled_in() { typed_value_of(&self.text) } else { ScalarValue::Text(&self.text) }
    }

    /// The scalar where a number or boolean is expected: a variable or a row may hold one.
    pub(crate) fn coerced_value(&self) -> ScalarValue<'_> {
        if self.plain || self.is_filled_in() { typed_value_of(&self.text) } else { ScalarValue::Text(&self.text) }
    }
}

impl Scalar {
    fn is_filled_in(&self) -> bool {
        self.written.is_some() || self.from_row
    }

    fn mask(&self, message: &mut String) {
        let Some(written) = &self.written else { return };
        let as_number = match self.coerced_value() {
            ScalarValue::Unsigned(number) => number.to_string(),
            ScalarValue::Signed(number) => number.to_string(),
            ScalarValue::Float(number) => number.to_string(),
            _ => String::new(),
        };
        for shown in [&self.text, self.text.trim(), &as_number] {
            if !shown.is_empty() {
                *message = message.replace(shown, written);
            }
        }
    }
}

fn typed_value_of(text: &str) -> ScalarValue<'_> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return ScalarValue::Null,
        "true" | "True" | "TRUE" => return ScalarValue::Bool(true),
        "false" | "False" | "FALSE" => return ScalarValue::Bool(false),
        _ => {}
    }
    let starts_like_a_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    if !starts_like_a_number || !text.contains(|any: char| any.is_ascii_digit()) {
        return ScalarValue::Text(text);
    }
    if let Ok(number) = text.parse() {
        return ScalarValue::Unsigned(number);
    }
    if let Ok(number) = text.parse() {
        return ScalarValue::Signed(number);
    }
    text.parse().map_or(ScalarValue::Text(text), ScalarValue::Float)
}

impl Node {
    /// The entries of a map; none if it is something else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a map with this key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The entry at a dotted path such as `batch.max_bytes`.
    pub(crate) fn entry_at(&self, path: &str) -> Option<&Entry> {
        match path.split_once('.') {
            None => self.entry(path),
            Some((first, rest)) => self.entry(first)?.value.entry_at(rest),
        }
    }

    /// Takes an entry out of a map.
    pub(crate) fn take(&mut self, key: &str) -> Option<Node> {
        let Value::Map(entries) = &mut self.value else { return None };
        let at = entries.iter().position(|entry| entry.key == key)?;
        Some(entries.remove(at).value)
    }

    /// Whether the value is null, as in `transforms:` with everything below it commented out.
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.typed_value() == ScalarValue::Null)
    }

    /// The same map with only the entries whose keys satisfy `wanted`.
    pub(crate) fn with_only(&self, wanted: impl Fn(&str) -> bool) -> Self {
        let entries = self.entries().iter().filter(|entry| wanted(&entry.key)).cloned().collect();
        Self { id: self.id, span: self.span, value: Value::Map(entries) }
    }

    /// A hash of the values, with variables replaced: two nodes with the same hash mean the same. Comments, the order of keys
    /// and places in the file do not count. It stands for the values where these must not be kept, since they may be secrets.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        match &self.value {
            Value::Scalar(scalar) => {
                hash.update([0, u8::from(scalar.plain), u8::from(scalar.is_filled_in())]);
                hash.update(&scalar.text);
            }
            Value::List(items) => {
                hash.update([1]);
                items.iter().for_each(|item| hash.update(item.digest()));
            }
            Value::Map(entries) => {
                hash.update([2]);
                let mut digests: Vec<_> =
                    entries.iter().map(|entry| (Sha256::digest(&entry.key), entry.value.digest())).collect();
                digests.sort_unstable();
                digests.iter().for_each(|(key, value)| hash.update([key.as_slice(), value].concat()));
            }
        }
        hash.finalize().into()
    }

    /// Replaces the values of variables by the text in the file, so that no message shows a value from the environment.
    pub(crate) fn mask(&self, message: &mut String) {
        match &self.value {
            Value::Scalar(scalar) => scalar.mask(message),
            Value::List(items) => items.iter().for_each(|item| item.mask(message)),
            Value::Map(entries) => entries.iter().for_each(|entry| entry.value.mask(message)),
        }
    }
}

/// The path of a key, for messages: `sources.acme.inputs[1]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyPath {
    text: String,
    depth: usize,
}

impl KeyPath {
    /// The path of a key below this one.
    pub(crate) fn key(&self, key: &str) -> Self {
        if self.text.is_empty() { self.below(key.to_owned()) } else { self.below(format!("{self}.{key}")) }
    }

    /// The path of an item below this one, counted from 0.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.below(format!("{self}[{index}]"))
    }

    /// The path of a segment below this one: a key, or an index such as `[3]`.
    pub(crate) fn segment(&self, segment: &str) -> Self {
        if segment.starts_with('[') { self.below(format!("{self}{segment}")) } else { self.key(segment) }
    }

    /// The number of segments.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    fn below(&self, text: String) -> Self {
        Self { text, depth: self.depth + 1 }
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<&KeyPath> for String {
    fn from(path: &KeyPath) -> Self {
        path.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unquoted_scalars_are_typed_by_their_text() {
        for (text, expected) in [
            ("", ScalarValue::Null),
            ("true", ScalarValue::Bool(true)),
            ("yes", ScalarValue::Text("yes")),
            ("12", ScalarValue::Unsigned(12)),
            ("-12", ScalarValue::Signed(-12)),
            ("0.5", ScalarValue::Float(0.5)),
            ("2026-01-01", ScalarValue::Text("2026-01-01")),
            ("inf", ScalarValue::Text("inf")),
            ("90s", ScalarValue::Text("90s")),
            (".", ScalarValue::Text(".")),
        ] {
            let scalar = Scalar { text: text.into(), plain: true, written: None, from_row: false };
            assert_eq!(scalar.typed_value(), expected, "{text}");
        }
    }

    #[test]
    fn quoted_scalars_are_strings_and_variables_may_hold_numbers() {
        let quoted = Scalar { text: "5".into(), plain: false, written: None, from_row: false };
        assert_eq!(quoted.coerced_value(), ScalarValue::Text("5"));
        let variable = Scalar { text: "5".into(), plain: false, written: Some("${N}".into()), from_row: false };
        assert_eq!(variable.typed_value(), ScalarValue::Text("5"));
        assert_eq!(variable.coerced_value(), ScalarValue::Unsigned(5));
    }
}
