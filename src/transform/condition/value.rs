//! The type of an expression, and what the checker says about it.

use std::ops::Range;

use super::diagnostic::ConditionDiagnostic;
use super::program::{Comparison, Number, Test, Text, Time};
use crate::event::Event;
use crate::event::fields::{Field, Item, ItemField, ItemKind, Kind, List};
use crate::vendors;

/// An expression with its type.
pub(super) enum Value {
    Null,
    Test(Test),
    Text(TextValue),
    /// A boolean field that may be null, read as `true` or `false`.
    Flag(Text),
    /// The number, and whether it may be null.
    Number(Number, bool),
    Time(Time),
    /// If it may be null: whether it is present.
    Object(Option<fn(&Event<'_>) -> bool>),
    /// An object of the item of the loop that is this many loops further out; if it may be null: whether it is present.
    ItemObject(usize, Option<fn(Item<'_>) -> bool>),
    List(List),
    /// A list in the condition itself.
    ListLiteral,
}

pub(super) struct TextValue {
    pub(super) text: Text,
    pub(super) nullable: bool,
    /// All its values, if it is an enumeration.
    pub(super) values: Option<Vec<&'static str>>,
}

impl Value {
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Test(_) | Self::Flag(_) => "a boolean",
            Self::Text(_) => "a string",
            Self::Number(..) => "a number",
            Self::Time(_) => "a time",
            Self::Object(_) | Self::ItemObject(..) => "an object",
            Self::List(_) | Self::ListLiteral => "a list",
        }
    }
}

pub(super) fn literal(text: &str) -> TextValue {
    TextValue { text: Text::Literal(text.into()), nullable: false, values: None }
}

/// How to make a boolean of a value.
pub(super) fn comparison_hint(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "compare it, for example with `== \"...\"`, or test whether it is present: has(field)",
        Value::Number(..) => "compare it with a number",
        Value::Time(_) => "compare it: `>= timestamp(\"2026-01-31T00:00:00Z\")`",
        Value::Object(_) | Value::ItemObject(..) => {
            "compare one of its fields, or test whether it is present: has(field)"
        }
        Value::List(_) => "write related.exists(r, r.name == \"...\"), or has(related)",
        Value::Null | Value::ListLiteral | Value::Test(_) | Value::Flag(_) => {
            "write a comparison such as `actor.type == \"user\"`"
        }
    }
}

pub(super) fn mismatch(span: Range<usize>, one: &Value, other: &Value) -> ConditionDiagnostic {
    let has = |matches: fn(&Value) -> bool| matches(one) || matches(other);
    let hint = if has(|value| matches!(value, Value::Time(_))) {
        "write a time as timestamp(\"2026-01-31T00:00:00Z\")"
    } else if has(|value| matches!(value, Value::List(_) | Value::ListLiteral)) {
        "write `field in [\"a\", \"b\"]`, or related.exists(r, r.name == \"...\")"
    } else if has(|value| matches!(value, Value::Object(_) | Value::ItemObject(..))) {
        "compare one of its fields"
    } else if has(|value| matches!(value, Value::Null)) {
        "null has no order; write `== null`, `!= null` or has(field)"
    } else if has(|value| matches!(value, Value::Test(_) | Value::Flag(_))) {
        "put the sides of the comparison in parentheses, or join them with `&&`"
    } else {
        "compare strings with strings and numbers with numbers"
    };
    let message = format!("cannot compare {} with {} in this way", one.noun(), other.noun());
    ConditionDiagnostic::new(span, message, hint)
}

/// The fields that conditions can use.
pub(super) fn usable(fields: &'static [Field]) -> impl Iterator<Item = &'static Field> {
    fields.iter().filter(|field| !matches!(field.kind, Kind::OmittedTexts(_)))
}

pub(super) fn value_of(field: &Field) -> Value {
    let text = |text, nullable, values| Value::Text(TextValue { text, nullable, values });
    match field.kind {
        Kind::Text(read) | Kind::Raw(read) => text(Text::Field(read), false, None),
        Kind::OptionalText(read) | Kind::OmittedText(read) => text(Text::Field(read), true, None),
        Kind::Vendor(read) => text(Text::Field(read), false, Some(vendors::registry::names())),
        Kind::Enum(read, values) => text(Text::Field(read), false, Some(values())),
        Kind::OptionalEnum(read, values) => text(Text::Field(read), true, Some(values())),
        Kind::Id(_) => text(Text::Id, false, None),
        Kind::OptionalNumber(read) => Value::Number(Number::Field(read), true),
        Kind::Time(read) => Value::Time(Time::Field(read)),
        Kind::Object(_) => Value::Object(None),
        Kind::OptionalObject(is_present, _) => Value::Object(Some(is_present)),
        Kind::List(list) => Value::List(list),
        Kind::OmittedTexts(_) => Value::ListLiteral,
    }
}

/// A field of the item of the loop that is `up` loops further out.
pub(super) fn item_value_of(field: &ItemField, up: usize) -> Value {
    let text = |read, nullable, values| Value::Text(TextValue { text: Text::Item(up, read), nullable, values });
    match field.kind {
        ItemKind::Text(read) => text(read, false, None),
        ItemKind::OptionalText(read) => text(read, true, None),
        ItemKind::Enum(read, values) => text(read, false, Some(values())),
        ItemKind::OptionalFlag(read) => Value::Flag(Text::Item(up, read)),
        ItemKind::Object(_) => Value::ItemObject(up, None),
        ItemKind::OptionalObject(is_present, _) => Value::ItemObject(up, Some(is_present)),
    }
}

/// Whether a boolean field is true; null is not.
pub(super) fn is_true(flag: Text) -> Test {
    Test::Texts(Comparison::Equal, flag, Text::Literal("true".into()))
}
