//! From the syntax tree to the program: every field looked up, every type and every word of a closed list checked.
//!
//! ```text
//! Expr --typed--> Value (text, number, time, ...; may it be null? which words can it have?) --relation, method--> Test
//! ```
//!
//! All mistakes are found in one go: a part that is wrong is reported where it stands, and what it is a part of is not
//! reported for it.

use memchr::memmem::Finder;

use super::Mistake;
use super::envelope::{self, Field, ItemField};
use super::program::{Comparison, List, Number, ReadBool, Test, Text, Time};
use super::syntax::{Expr, Kind, Relation};

mod calls;
mod fields;

/// Checks and compiles a condition.
///
/// # Errors
/// Everything that is wrong in it, in the order of the text.
pub(super) fn check(condition: &Expr) -> Result<Test, Vec<Mistake>> {
    let mut checker = Checker::default();
    match checker.test(condition) {
        Some(test) if checker.mistakes.is_empty() => Ok(test),
        _ => {
            checker.mistakes.sort_by_key(|mistake| mistake.place.start);
            Err(checker.mistakes)
        }
    }
}

/// A part of a condition with its type.
enum Value {
    Null,
    Test(Test),
    Text(TextValue),
    /// The number, and whether it may be null.
    Number(Number, bool),
    Time(Time),
    /// How to tell whether it is there, if it may be null.
    Object(Option<ReadBool>),
    List(List),
    /// A list that is written in the condition.
    Written,
}

struct TextValue {
    text: Text,
    nullable: bool,
    /// Every word that it can be, if there is a closed list.
    words: Option<Vec<&'static str>>,
}

impl Value {
    fn noun(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Test(_) => "true or false",
            Self::Text(_) => "a text",
            Self::Number(..) => "a number",
            Self::Time(_) => "a time",
            Self::Object(_) => "an object",
            Self::List(_) | Self::Written => "a list",
        }
    }
}

#[derive(Default)]
struct Checker<'e> {
    mistakes: Vec<Mistake>,
    /// The variables of the loops around the present place, innermost last.
    variables: Vec<(&'e str, List)>,
}

impl<'e> Checker<'e> {
    /// Notes a mistake; there is no value then.
    fn wrong<T>(&mut self, mistake: Mistake) -> Option<T> {
        self.mistakes.push(mistake);
        None
    }

    /// A part that must be true or false.
    fn test(&mut self, part: &'e Expr) -> Option<Test> {
        let value = self.value(part)?;
        if let Value::Test(test) = value {
            return Some(test);
        }
        let message = format!("this is {}, where something true or false is wanted", value.noun());
        self.wrong(Mistake::new(part.place.clone(), message, comparison_hint(&value)))
    }

    fn tests(&mut self, parts: &'e [Expr]) -> Option<Vec<Test>> {
        let tests: Vec<_> = parts.iter().map(|part| self.test(part)).collect();
        tests.into_iter().collect()
    }

    fn value(&mut self, part: &'e Expr) -> Option<Value> {
        match &part.kind {
            Kind::Null => Some(Value::Null),
            Kind::Bool(value) => Some(Value::Test(Test::Constant(*value))),
            Kind::Number(number) => Some(Value::Number(Number::Literal(*number), false)),
            Kind::Text(text) => Some(Value::Text(literal(text))),
            Kind::List(_) => Some(Value::Written),
            Kind::Name(_) | Kind::Select(..) => self.field(part),
            Kind::Call(call) => self.call(call, part),
            Kind::Not(inner) => self.test(inner).map(|test| Value::Test(Test::Not(Box::new(test)))),
            Kind::All(parts) => self.tests(parts).map(|tests| Value::Test(Test::All(tests))),
            Kind::Any(parts) => self.tests(parts).map(|tests| Value::Test(Test::Any(tests))),
            Kind::Relation(Relation::In, left, right) => self.membership(left, right).map(Value::Test),
            Kind::Relation(relation, left, right) => self.relation(*relation, left, right).map(Value::Test),
        }
    }

    fn relation(&mut self, relation: Relation, left: &'e Expr, right: &'e Expr) -> Option<Test> {
        let values = (self.value(left), self.value(right));
        let (Some(left_value), Some(right_value)) = values else { return None };
        let comparison = Comparison::of(relation)?;
        self.comparison(comparison, (left, left_value), (right, right_value))
    }

    fn comparison(
        &mut self,
        comparison: Comparison,
        (left, left_value): (&Expr, Value),
        (right, right_value): (&Expr, Value),
    ) -> Option<Test> {
        match (left_value, right_value) {
            (Value::Text(one), Value::Text(other)) => {
                let fits = self.word_fits(right, &other, &one) & self.word_fits(left, &one, &other);
                fits.then_some(Test::Texts(comparison, one.text, other.text))
            }
            (Value::Number(one, _), Value::Number(other, _)) => Some(Test::Numbers(comparison, one, other)),
            (Value::Time(one), Value::Time(other)) => Some(Test::Times(comparison, one, other)),
            (Value::Null, Value::Null) if comparison.is_equality() => {
                Some(Test::Constant(comparison == Comparison::Equal))
            }
            (Value::Null, value) if comparison.is_equality() => self.null_test(comparison, right, value),
            (value, Value::Null) if comparison.is_equality() => self.null_test(comparison, left, value),
            (Value::Test(one), Value::Test(other)) if comparison.is_equality() => {
                let same = Test::Same(Box::new(one), Box::new(other));
                Some(if comparison == Comparison::Equal { same } else { Test::Not(Box::new(same)) })
            }
            (one, other) => {
                let place = left.place.start..right.place.end;
                self.wrong(mismatch(place, &one, &other))
            }
        }
    }

    /// `value == null` or `value != null`.
    fn null_test(&mut self, comparison: Comparison, part: &Expr, value: Value) -> Option<Test> {
        let has = match value {
            Value::Text(TextValue { text, nullable: true, .. }) => Test::HasText(text),
            Value::Number(number, true) => Test::HasNumber(number),
            Value::Object(Some(is_there)) => Test::HasObject(is_there),
            _ => {
                let message = "this is never null";
                return self.wrong(Mistake::new(part.place.clone(), message, "take the comparison with null out"));
            }
        };
        Some(if comparison == Comparison::NotEqual { has } else { Test::Not(Box::new(has)) })
    }

    /// Whether a literal is among the words that the field beside it can have.
    fn word_fits(&mut self, part: &Expr, value: &TextValue, beside: &TextValue) -> bool {
        let (Text::Literal(word), Some(words)) = (&value.text, &beside.words) else { return true };
        if words.contains(&word.as_ref()) {
            return true;
        }
        let message = format!("there is no such word: `{word}`");
        self.mistakes.push(Mistake::unknown(part.place.clone(), message, word, words.clone()));
        false
    }

    /// `value in [...]`.
    fn membership(&mut self, left: &'e Expr, right: &'e Expr) -> Option<Test> {
        let Kind::List(items) = &right.kind else {
            let value = self.value(right)?;
            let hint = match value {
                Value::List(_) => "write related.exists(r, r.name == \"...\")",
                Value::Text(_) => "write `in [\"...\"]`, or field.contains(\"...\") for a part of a text",
                _ => "write `in [\"...\", \"...\"]`",
            };
            let message = format!("this is {}, where a list such as [\"a\", \"b\"] is wanted", value.noun());
            return self.wrong(Mistake::new(right.place.clone(), message, hint));
        };
        let value = self.value(left)?;
        let compared: Vec<_> = items.iter().map(|item| self.relation(Relation::Equal, left, item)).collect();
        compared.into_iter().collect::<Option<Vec<_>>>().map(|tests| among(value, tests))
    }
}

/// Comparisons of one value with each item of a list, those with literal texts made into one.
fn among(value: Value, comparisons: Vec<Test>) -> Test {
    let (mut words, mut tests) = (Vec::new(), Vec::new());
    for comparison in comparisons {
        match comparison {
            Test::Texts(_, _, Text::Literal(word)) => words.push(word),
            test => tests.push(test),
        }
    }
    words.sort_unstable();
    words.dedup();
    match value {
        Value::Text(value) if !words.is_empty() => tests.push(Test::OneOf(value.text, words)),
        _ => {}
    }
    Test::Any(tests)
}

fn literal(text: &str) -> TextValue {
    TextValue { text: Text::Literal(text.into()), nullable: false, words: None }
}

/// How a value becomes a test.
fn comparison_hint(value: &Value) -> &'static str {
    match value {
        Value::Text(_) => "compare it, for example with `== \"...\"`, or ask whether it is there: has(field)",
        Value::Number(..) => "compare it with a number",
        Value::Time(_) => "compare it: `>= timestamp(\"2026-01-31T00:00:00Z\")`",
        Value::Object(_) => "compare one of its fields, or ask whether it is there: has(field)",
        Value::List(_) => "write related.exists(r, r.name == \"...\"), or has(related)",
        Value::Null | Value::Written | Value::Test(_) => "write a comparison such as `actor.type == \"user\"`",
    }
}

fn mismatch(place: std::ops::Range<usize>, one: &Value, other: &Value) -> Mistake {
    let has = |wanted: fn(&Value) -> bool| wanted(one) || wanted(other);
    let hint = if has(|value| matches!(value, Value::Time(_))) {
        "write a time as timestamp(\"2026-01-31T00:00:00Z\")"
    } else if has(|value| matches!(value, Value::List(_) | Value::Written)) {
        "write `field in [\"a\", \"b\"]`, or related.exists(r, r.name == \"...\")"
    } else if has(|value| matches!(value, Value::Object(_))) {
        "compare one of its fields"
    } else if has(|value| matches!(value, Value::Null)) {
        "nothing is less or greater than null; write `== null`, `!= null` or has(field)"
    } else if has(|value| matches!(value, Value::Test(_))) {
        "put the parts of the comparison between parentheses, or join them with `&&`"
    } else {
        "compare texts with texts and numbers with numbers"
    };
    let message = format!("{} cannot be compared so with {}", one.noun(), other.noun());
    Mistake::new(place, message, hint)
}
