//! Why a value could not be read, in the words of people who write pipeline files.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::node::{Entry, Node, NodeId, Place, Value};
use super::suggest;

/// A mistake met while a part of the tree was turned into a settings type.
#[derive(Debug)]
pub(super) struct ReadError {
    pub(super) message: String,
    pub(super) hint: String,
    /// The setting that is missing, if that is the mistake.
    pub(super) missing: Option<&'static str>,
    /// The setting that was most likely meant, if one of an unknown name is the mistake.
    pub(super) meant: Option<&'static str>,
    /// Where it happened; set by the innermost value that it passes on its way out. Boxed, since errors are returned by
    /// value through many calls.
    pub(super) spot: Option<Box<Spot>>,
    /// The keys on the way to it, innermost first.
    pub(super) keys_inside_out: Vec<String>,
    /// Only a consequence of a mistake that is known.
    pub(super) is_consequence: bool,
}

/// The value that a mistake is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) node: NodeId,
    /// The map, if it is about a key; otherwise the value itself.
    pub(super) within: NodeId,
    pub(super) place: Place,
    /// Whether the text at the place may be shown.
    pub(super) shows_token: bool,
}

impl ReadError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
            missing: None,
            meant: None,
            spot: None,
            keys_inside_out: Vec::new(),
            is_consequence: false,
        }
    }

    /// Places the error at this value, unless it has a place further in.
    pub(super) fn located_at(mut self, node: &Node, holds_secret: bool) -> Self {
        if self.spot.is_some() {
            return self;
        }
        if holds_secret {
            self.hide_text_of(node);
        }
        node.mask(&mut self.message);
        node.mask(&mut self.hint);
        let shows_token = matches!(node.value, Value::Scalar(_)) && !holds_secret && !self.is_about_a_secret();
        self.spot = Some(Box::new(Spot { node: node.id, within: node.id, place: node.place, shows_token }));
        self
    }

    /// Places the error at the key of an entry of `map`; leaving the entry out mends it.
    pub(super) fn located_at_key(mut self, entry: &Entry, map: &Node) -> Self {
        let spot = Spot { node: entry.value.id, within: map.id, place: entry.place, shows_token: true };
        self.spot = Some(Box::new(spot));
        self.keys_inside_out.push(entry.key.clone());
        self
    }

    /// The error as seen from one key further out.
    pub(super) fn below(mut self, key: String) -> Self {
        self.keys_inside_out.push(key);
        self
    }

    fn hide_text_of(&mut self, node: &Node) {
        if let Value::Scalar(scalar) = &node.value
            && !scalar.text.trim().is_empty()
        {
            self.message = self.message.replace(scalar.text.trim(), "***");
            self.hint = self.hint.replace(scalar.text.trim(), "***");
        }
    }

    fn is_about_a_secret(&self) -> bool {
        self.message.contains(SECRET_EXPECTED)
    }
}

/// What the visitor of [`crate::secret::Secret`] says that it expects.
const SECRET_EXPECTED: &str = "expected a secret";

/// Whether a setting of this name holds something that must not be shown.
pub(super) fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "secret", "password", "api_key"].iter().any(|end| key.ends_with(end))
}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string(), "")
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(found, expected)
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        mismatch(found, expected)
    }

    fn unknown_variant(variant: &str, allowed: &'static [&'static str]) -> Self {
        Self::new(format!("unknown value `{variant}`"), suggest::hint(variant, allowed))
    }

    fn unknown_field(field: &str, allowed: &'static [&'static str]) -> Self {
        let only = allowed.first().copied().filter(|_| allowed.len() == 1);
        let meant = suggest::nearest(field, allowed.iter().copied()).or(only);
        Self { meant, ..Self::new(format!("unknown setting `{field}`"), suggest::hint(field, allowed)) }
    }

    fn missing_field(field: &'static str) -> Self {
        let hint = format!("add a line `{field}: ...` here");
        Self { missing: Some(field), ..Self::new(format!("the setting `{field}` is missing"), hint) }
    }
}

fn mismatch(found: Unexpected<'_>, expected: &dyn Expected) -> ReadError {
    let expected = in_plain_words(&expected.to_string());
    let wants_a_word = !["a secret", "a list", "settings"].iter().any(|start| expected.starts_with(start));
    let hint = match found {
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) if expected.starts_with("a secret") => {
            "put a value of digits between quotes"
        }
        Unexpected::Str(text) if expected.contains("number") && text.parse::<f64>().is_ok() => "take the quotes away",
        Unexpected::Unit => "write a value after the colon, or take the line out",
        _ => how_to_write(&expected),
    };
    ReadError::new(format!("found {}, expected {expected}", in_words(found, wants_a_word)), hint)
}

/// How a value of the wanted kind is written; empty where what was expected says it already.
fn how_to_write(expected: &str) -> &'static str {
    match expected {
        "`true` or `false`" => "write one of the two words, without quotes",
        "a list" => "write the values in brackets, `[one, another]`, or each in a line of its own behind `- `",
        "settings (`key: value`)" => "write the settings below it, indented, each as `key: value`",
        "a number" => "write it in digits, such as 0.5",
        _ if expected.starts_with("a whole number") => "write it in digits, such as 10",
        _ => "",
    }
}

/// What was found. Its text is shown only where a word or a number was wanted: a whole list or map that became one text
/// by a slip may hold a secret.
fn in_words(found: Unexpected<'_>, shown: bool) -> String {
    match found {
        Unexpected::Str(text) if shown => format!("text `{text}`"),
        Unexpected::Str(_) | Unexpected::Char(_) => "text".into(),
        Unexpected::Bool(value) if shown => format!("`{value}`"),
        Unexpected::Unsigned(number) if shown => format!("the number {number}"),
        Unexpected::Signed(number) if shown => format!("the number {number}"),
        Unexpected::Float(number) if shown => format!("the number {number}"),
        Unexpected::Bool(_) => "`true` or `false`".into(),
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number".into(),
        Unexpected::Unit | Unexpected::Option => "nothing".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "settings (`key: value`)".into(),
        _ => "something else".into(),
    }
}

/// Rust's names of types, and serde's, as people say them.
fn in_plain_words(expected: &str) -> String {
    let plain = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a boolean" => "`true` or `false`",
        "a string" | "a borrowed string" | "str" => "text",
        "path string" => "a path",
        "a sequence" => "a list",
        "a map" => "settings (`key: value`)",
        _ if expected.starts_with("struct ") => "settings (`key: value`)",
        _ if expected.starts_with("a nonzero u") => "a whole number, 1 or more",
        _ if expected.contains("Vec") || expected.contains("sequence") => "a list",
        _ => expected,
    };
    plain.to_owned()
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ReadError {}
