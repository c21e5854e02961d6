//! Why a value could not be read, in terms that users of pipeline files know.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use super::node::{Entry, Node, NodeId, TextSpan, Value};
use super::suggest;

/// An error while reading a node as a settings type.
#[derive(Debug)]
pub(crate) struct ReadError {
    pub(crate) message: String,
    pub(crate) hint: String,
    /// The missing setting, if that is the error.
    pub(crate) missing: Option<&'static str>,
    /// The setting that was probably meant, if the error is an unknown name.
    pub(crate) meant: Option<&'static str>,
    /// Where it happened; set by the innermost node on its way out. Boxed, since errors are returned by value through many
    /// calls.
    pub(crate) location: Option<Box<ErrorLocation>>,
    /// The keys of its path, innermost first.
    pub(crate) keys_inside_out: Vec<String>,
    /// Only a consequence of an error that is already recorded.
    pub(crate) is_consequence: bool,
}

/// The value that an error is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ErrorLocation {
    pub(crate) node: NodeId,
    /// The map, if the error is about a key; otherwise the value itself.
    pub(crate) within: NodeId,
    pub(crate) span: TextSpan,
    /// Whether messages may show the text at the span.
    pub(crate) shows_token: bool,
}

impl ReadError {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: hint.into(),
            missing: None,
            meant: None,
            location: None,
            keys_inside_out: Vec::new(),
            is_consequence: false,
        }
    }

    /// Locates the error at this value, unless it is located further in.
    pub(crate) fn located_at(mut self, node: &Node, holds_secret: bool) -> Self {
        if self.location.is_some() {
            return self;
        }
        if holds_secret {
            self.hide_text_of(node);
        }
        node.mask(&mut self.message);
        node.mask(&mut self.hint);
        let shows_token = matches!(node.value, Value::Scalar(_)) && !holds_secret && !self.is_about_a_secret();
        self.location = Some(Box::new(ErrorLocation { node: node.id, within: node.id, span: node.span, shows_token }));
        self
    }

    /// Locates the error at the key of an entry of `map`; skipping the entry resolves it.
    pub(crate) fn located_at_key(mut self, entry: &Entry, map: &Node) -> Self {
        let location = ErrorLocation { node: entry.value.id, within: map.id, span: entry.span, shows_token: true };
        self.location = Some(Box::new(location));
        self.keys_inside_out.push(entry.key.clone());
        self
    }

    /// Adds one more outer key to the path.
    pub(crate) fn below(mut self, key: String) -> Self {
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

/// The expectation of the visitor of [`crate::secret::Secret`].
const SECRET_EXPECTED: &str = "expected a secret";

/// Whether a setting of this name holds a secret.
pub(crate) fn names_a_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    ["token", "secret", "password", "api_key", "secret_access_key"].iter().any(|end| key.ends_with(end))
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
    let wants_a_word = !["a secret", "a list", "a map"].iter().any(|start| expected.starts_with(start));
    let hint = match found {
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) if expected.starts_with("a secret") => {
            "quote a value that consists of digits"
        }
        Unexpected::Str(text)
            if (expected.contains("number") || expected.contains("integer")) && text.parse::<f64>().is_ok() =>
        {
            "remove the quotes"
        }
        Unexpected::Unit => "write a value after the colon, or remove the line",
        _ => how_to_write(&expected),
    };
    ReadError::new(format!("found {}, expected {expected}", found_in_words(found, wants_a_word)), hint)
}

/// How to write a value of the expected type; empty where the message says it already.
fn how_to_write(expected: &str) -> &'static str {
    match expected {
        "a boolean (`true` or `false`)" => "write `true` or `false` without quotes",
        "a list" => "write the values in brackets, `[one, another]`, or one per line after `- `",
        "a map (`key: value`)" => "write the settings below it, indented, each as `key: value`",
        "a number" => "write it in digits, such as 0.5",
        _ if expected.starts_with("an integer") => "write it in digits, such as 10",
        _ => "",
    }
}

/// What was found. Its text is shown only where a word or a number was expected: a list or map that became a string by mistake
/// may hold a secret.
fn found_in_words(found: Unexpected<'_>, shown: bool) -> String {
    match found {
        Unexpected::Str(text) if shown => format!("the string `{text}`"),
        Unexpected::Str(_) | Unexpected::Char(_) => "a string".into(),
        Unexpected::Bool(value) if shown => format!("`{value}`"),
        Unexpected::Unsigned(number) if shown => format!("the number {number}"),
        Unexpected::Signed(number) if shown => format!("the number {number}"),
        Unexpected::Float(number) if shown => format!("the number {number}"),
        Unexpected::Bool(_) => "a boolean".into(),
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number".into(),
        Unexpected::Unit | Unexpected::Option => "null".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a map (`key: value`)".into(),
        _ => "something else".into(),
    }
}

/// The type names of Rust and serde in plain words.
fn in_plain_words(expected: &str) -> String {
    let plain = match expected {
        "u8" => "an integer from 0 to 255",
        "u16" => "an integer from 0 to 65535",
        "u32" => "an integer from 0 to 4294967295",
        "u64" | "usize" => "an integer, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "f32" | "f64" => "a number",
        "a boolean" => "a boolean (`true` or `false`)",
        "a string" | "a borrowed string" | "str" => "a string",
        "path string" => "a path",
        "a sequence" => "a list",
        "a map" => "a map (`key: value`)",
        _ if expected.starts_with("struct ") => "a map (`key: value`)",
        _ if expected.starts_with("a nonzero u") => "an integer, 1 or more",
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
