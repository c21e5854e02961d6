//! Compiles the syntax tree into a program: resolves every field and checks every type and every value of an enumeration.
//!
//! ```text
//! Expr --value--> Value (string, number, time, ...; nullable? which values?) --relation, method--> Test
//! ```
//!
//! All errors are found in one pass: an invalid expression is reported at its span, and not again for the expression around it.

use std::ops::Range;

use memchr::memmem::Finder;
use regex::RegexBuilder;

use super::diagnostic::ConditionDiagnostic;
use super::parser::{Call, Expr, ExprKind, Relation};
use super::program::{Comparison, Number, Position, Test, Text, Time};
use super::value::{TextValue, Value, comparison_hint, is_true, item_value_of, literal, mismatch, usable, value_of};
use crate::event::fields::{FIELDS, Field, ItemField, Kind, List};
use crate::time::Timestamp;

/// Checks and compiles a condition.
///
/// # Errors
/// All errors, in the order of the text.
pub(super) fn check(condition: &Expr) -> Result<Test, Vec<ConditionDiagnostic>> {
    let mut checker = Checker::default();
    match checker.test(condition) {
        Some(test) if checker.diagnostics.is_empty() => Ok(test),
        _ => {
            checker.diagnostics.sort_by_key(|diagnostic| diagnostic.span.start);
            Err(checker.diagnostics)
        }
    }
}

#[derive(Default)]
struct Checker<'e> {
    diagnostics: Vec<ConditionDiagnostic>,
    /// The variables of the surrounding loops, innermost last.
    variables: Vec<(&'e str, List)>,
}

impl<'e> Checker<'e> {
    /// Records an error; there is no value then.
    fn error<T>(&mut self, diagnostic: ConditionDiagnostic) -> Option<T> {
        self.diagnostics.push(diagnostic);
        None
    }

    /// An expression that must be a boolean.
    fn test(&mut self, part: &'e Expr) -> Option<Test> {
        let value = self.value(part)?;
        let value = match value {
            Value::Test(test) => return Some(test),
            Value::Flag(flag) => return Some(is_true(flag)),
            value => value,
        };
        let message = format!("expected a boolean, found {}", value.noun());
        self.error(ConditionDiagnostic::new(part.span.clone(), message, comparison_hint(&value)))
    }

    fn tests(&mut self, parts: &'e [Expr]) -> Option<Vec<Test>> {
        let tests: Vec<_> = parts.iter().map(|part| self.test(part)).collect();
        tests.into_iter().collect()
    }

    fn value(&mut self, part: &'e Expr) -> Option<Value> {
        match &part.kind {
            ExprKind::Null => Some(Value::Null),
            ExprKind::Bool(value) => Some(Value::Test(Test::Constant(*value))),
            ExprKind::Number(number) => Some(Value::Number(Number::Literal(*number), false)),
            ExprKind::String(text) => Some(Value::Text(literal(text))),
            ExprKind::List(_) => Some(Value::ListLiteral),
            ExprKind::Name(_) | ExprKind::Select(..) => self.field(part),
            ExprKind::Call(call) => self.call(call, part),
            ExprKind::Not(inner) => self.test(inner).map(|test| Value::Test(Test::Not(Box::new(test)))),
            ExprKind::All(parts) => self.tests(parts).map(|tests| Value::Test(Test::All(tests))),
            ExprKind::Any(parts) => self.tests(parts).map(|tests| Value::Test(Test::Any(tests))),
            ExprKind::Relation(Relation::In, left, right) => self.membership(left, right).map(Value::Test),
            ExprKind::Relation(relation, left, right) => self.relation(*relation, left, right).map(Value::Test),
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
                let fits = self.is_in_enum(right, &other, &one) & self.is_in_enum(left, &one, &other);
                fits.then_some(Test::Texts(comparison, one.text, other.text))
            }
            (Value::Number(one, _), Value::Number(other, _)) => Some(Test::Numbers(comparison, one, other)),
            (Value::Time(one), Value::Time(other)) => Some(Test::Times(comparison, one, other)),
            (Value::Null, Value::Null) if comparison.is_equality() => {
                Some(Test::Constant(comparison == Comparison::Equal))
            }
            (Value::Null, value) if comparison.is_equality() => self.null_test(comparison, right, value),
            (value, Value::Null) if comparison.is_equality() => self.null_test(comparison, left, value),
            (Value::Flag(flag), Value::Test(Test::Constant(value)))
            | (Value::Test(Test::Constant(value)), Value::Flag(flag))
                if comparison.is_equality() =>
            {
                Some(Test::Texts(comparison, flag, Text::Literal(value.to_string().into())))
            }
            (Value::Flag(one), Value::Flag(other)) if comparison.is_equality() => {
                Some(Test::Texts(comparison, one, other))
            }
            (Value::Test(one), Value::Test(other)) if comparison.is_equality() => {
                let same = Test::Same(Box::new(one), Box::new(other));
                Some(if comparison == Comparison::Equal { same } else { Test::Not(Box::new(same)) })
            }
            (one, other) => {
                let span = left.span.start..right.span.end;
                self.error(mismatch(span, &one, &other))
            }
        }
    }

    /// `value == null` or `value != null`.
    fn null_test(&mut self, comparison: Comparison, part: &Expr, value: Value) -> Option<Test> {
        let has = match value {
            Value::Text(TextValue { text, nullable: true, .. }) | Value::Flag(text) => Test::HasText(text),
            Value::Number(number, true) => Test::HasNumber(number),
            Value::Object(Some(is_present)) => Test::HasObject(is_present),
            Value::ItemObject(up, Some(is_present)) => Test::HasItemObject(up, is_present),
            _ => {
                let message = "this is never null";
                return self.error(ConditionDiagnostic::new(
                    part.span.clone(),
                    message,
                    "remove the comparison with null",
                ));
            }
        };
        Some(if comparison == Comparison::NotEqual { has } else { Test::Not(Box::new(has)) })
    }

    /// Whether a literal is a value of the enumeration that it is compared with.
    fn is_in_enum(&mut self, part: &Expr, value: &TextValue, other: &TextValue) -> bool {
        let (Text::Literal(word), Some(values)) = (&value.text, &other.values) else { return true };
        if values.contains(&word.as_ref()) {
            return true;
        }
        let message = format!("unknown value `{word}`");
        self.diagnostics.push(ConditionDiagnostic::unknown(part.span.clone(), message, word, values.clone()));
        false
    }

    /// `value in [...]`.
    fn membership(&mut self, left: &'e Expr, right: &'e Expr) -> Option<Test> {
        let ExprKind::List(items) = &right.kind else {
            let value = self.value(right)?;
            let hint = match value {
                Value::List(_) => "write related.exists(r, r.name == \"...\")",
                Value::Text(_) => "write `in [\"...\"]`, or field.contains(\"...\") for a part of a string",
                _ => "write `in [\"...\", \"...\"]`",
            };
            let message = format!("expected a list such as [\"a\", \"b\"], found {}", value.noun());
            return self.error(ConditionDiagnostic::new(right.span.clone(), message, hint));
        };
        let value = self.value(left)?;
        let compared: Vec<_> = items.iter().map(|item| self.relation(Relation::Equal, left, item)).collect();
        compared.into_iter().collect::<Option<Vec<_>>>().map(|tests| among(value, tests))
    }
}

/// Joins comparisons of one value with each item of a list; those with string literals become one test.
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

const FUNCTIONS: &[&str] = &["has", "size", "timestamp"];
const METHODS: &[&str] = &["contains", "startsWith", "endsWith", "matches", "size", "exists", "all"];

/// Maximum size of a compiled regular expression, in bytes.
const MAX_PATTERN_BYTES: usize = 1 << 20;

impl<'e> Checker<'e> {
    pub(super) fn call(&mut self, call: &'e Call, part: &'e Expr) -> Option<Value> {
        match (call.name.as_str(), call.of.as_deref()) {
            ("has", None) => self.has(call, part).map(Value::Test),
            ("size", None) => {
                let of = self.argument(call, part, "size(related)")?;
                self.size(of)
            }
            ("size", Some(of)) => {
                self.no_arguments(call, part)?;
                self.size(of)
            }
            ("timestamp", None) => self.time(call, part),
            ("contains", Some(of)) => self.contained(Position::Anywhere, of, call, part).map(Value::Test),
            ("startsWith", Some(of)) => self.contained(Position::Start, of, call, part).map(Value::Test),
            ("endsWith", Some(of)) => self.contained(Position::End, of, call, part).map(Value::Test),
            ("matches", Some(of)) => self.matches(of, call, part).map(Value::Test),
            ("exists" | "all", Some(of)) => self.items(of, call, part).map(Value::Test),
            _ => self.unknown_call(call),
        }
    }

    fn unknown_call(&mut self, call: &Call) -> Option<Value> {
        let (name, span) = (call.name.as_str(), call.name_span.clone());
        let (noun, known, elsewhere) = match call.of {
            None => ("function", FUNCTIONS, METHODS),
            Some(_) => ("method", METHODS, FUNCTIONS),
        };
        let message = format!("unknown {noun} `{name}`");
        if elsewhere.contains(&name) {
            let hint = if call.of.is_none() { "write it after a field" } else { "write it before the field" };
            let example = if call.of.is_none() { "field.name(...)" } else { "name(field)" };
            return self.error(ConditionDiagnostic::new(span, message, format!("{hint}: {example}")));
        }
        self.error(ConditionDiagnostic::unknown(span, message, name, known.to_vec()))
    }

    /// The only argument of a call.
    fn argument(&mut self, call: &'e Call, part: &Expr, example: &str) -> Option<&'e Expr> {
        match call.arguments.as_slice() {
            [only] => Some(only),
            _ => {
                let message = format!("`{}` takes one argument", call.name);
                self.error(ConditionDiagnostic::new(part.span.clone(), message, format!("write {example}")))
            }
        }
    }

    fn no_arguments(&mut self, call: &Call, part: &Expr) -> Option<()> {
        if call.arguments.is_empty() {
            return Some(());
        }
        let message = format!("`{}` takes no arguments after a value", call.name);
        self.error(ConditionDiagnostic::new(part.span.clone(), message, "write related.size()"))
    }

    fn has(&mut self, call: &'e Call, part: &Expr) -> Option<Test> {
        let of = self.argument(call, part, "has(actor.email)")?;
        if !matches!(of.kind, ExprKind::Name(_) | ExprKind::Select(..)) {
            let message = "`has` takes a field";
            return self.error(ConditionDiagnostic::new(of.span.clone(), message, "write has(actor.email)"));
        }
        match self.value(of)? {
            Value::Text(TextValue { text, .. }) | Value::Flag(text) => Some(Test::HasText(text)),
            Value::Number(number, _) => Some(Test::HasNumber(number)),
            Value::Object(Some(is_present)) => Some(Test::HasObject(is_present)),
            Value::ItemObject(up, Some(is_present)) => Some(Test::HasItemObject(up, is_present)),
            Value::List(list) => Some(Test::Exists(list, Box::new(Test::Constant(true)))),
            _ => Some(Test::Constant(true)),
        }
    }

    fn size(&mut self, of: &'e Expr) -> Option<Value> {
        match self.value(of)? {
            Value::Text(TextValue { text, nullable, .. }) => Some(Value::Number(Number::Characters(text), nullable)),
            Value::List(list) => Some(Value::Number(Number::Items(list), false)),
            other => {
                let message = format!("{} has no size", other.noun());
                self.error(ConditionDiagnostic::new(
                    of.span.clone(),
                    message,
                    "strings and the lists `grants`, `related` and `changes` have a size",
                ))
            }
        }
    }

    fn time(&mut self, call: &'e Call, part: &Expr) -> Option<Value> {
        const EXAMPLE: &str = "write timestamp(\"2026-01-31T00:00:00Z\")";
        let of = self.argument(call, part, "timestamp(\"2026-01-31T00:00:00Z\")")?;
        let ExprKind::String(text) = &of.kind else {
            return self.error(ConditionDiagnostic::new(
                of.span.clone(),
                "`timestamp` takes a string literal",
                EXAMPLE,
            ));
        };
        match Timestamp::parse_rfc3339(text) {
            Some(time) => Some(Value::Time(Time::Literal(time))),
            None => {
                self.error(ConditionDiagnostic::new(of.span.clone(), "this is not a time with a time zone", EXAMPLE))
            }
        }
    }

    /// An expression that must be a string.
    fn text(&mut self, part: &'e Expr) -> Option<Text> {
        match self.value(part)? {
            Value::Text(value) => Some(value.text),
            other => {
                let message = format!("expected a string, found {}", other.noun());
                let hint = match other {
                    Value::List(_) => "write related.exists(r, r.name.contains(\"...\"))",
                    Value::Object(_) | Value::ItemObject(..) => "name one of its fields",
                    _ => "write strings between quotes",
                };
                self.error(ConditionDiagnostic::new(part.span.clone(), message, hint))
            }
        }
    }

    fn contained(&mut self, position: Position, of: &'e Expr, call: &'e Call, part: &Expr) -> Option<Test> {
        let wanted = self.argument(call, part, &format!("field.{}(\"...\")", call.name));
        let (whole, wanted) = (self.text(of), wanted.and_then(|wanted| self.text(wanted)));
        match (whole?, wanted?) {
            (whole, Text::Literal(wanted)) if position == Position::Anywhere => {
                Some(Test::Contains(whole, Box::new(Finder::new(wanted.as_bytes()).into_owned())))
            }
            (whole, wanted) => Some(Test::Contained(position, whole, wanted)),
        }
    }

    fn matches(&mut self, of: &'e Expr, call: &'e Call, part: &Expr) -> Option<Test> {
        let whole = self.text(of);
        let pattern = self.argument(call, part, "field.matches(\"...\")")?;
        let ExprKind::String(text) = &pattern.kind else {
            let message = "`matches` takes a regular expression as a string literal";
            return self.error(ConditionDiagnostic::new(
                pattern.span.clone(),
                message,
                "write field.matches(r\"^svc-\\d+$\")",
            ));
        };
        match RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build() {
            Ok(regex) => Some(Test::Matches(whole?, regex)),
            Err(error) => self.error(invalid_pattern(pattern, &error)),
        }
    }

    /// `list.exists(x, test)` and `list.all(x, test)`.
    fn items(&mut self, of: &'e Expr, call: &'e Call, part: &Expr) -> Option<Test> {
        let example = format!("write related.{}(r, r.name == \"...\")", call.name);
        let list = match self.value(of)? {
            Value::List(list) => list,
            other => {
                let message = format!("expected a list, found {}", other.noun());
                let hint = format!("the lists of an event are `grants`, `related` and `changes`: {example}");
                return self.error(ConditionDiagnostic::new(of.span.clone(), message, hint));
            }
        };
        let [Expr { kind: ExprKind::Name(variable), .. }, condition] = call.arguments.as_slice() else {
            let message = format!("`{}` takes a variable and a condition on it", call.name);
            return self.error(ConditionDiagnostic::new(part.span.clone(), message, example));
        };
        self.variables.push((variable, list));
        let test = self.test(condition);
        self.variables.pop();
        let test = Box::new(test?);
        Some(if call.name == "exists" { Test::Exists(list, test) } else { Test::Every(list, test) })
    }
}

/// The last line of the regex crate's message is the reason; the lines before it show the position.
fn invalid_pattern(pattern: &Expr, error: &regex::Error) -> ConditionDiagnostic {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let message = format!("this is not a regular expression: {reason}");
    let hint =
        "the syntax is RE2's (no look-around, no back-references); write it as r\"...\" so that backslashes are kept";
    ConditionDiagnostic::new(pattern.span.clone(), message, hint)
}

/// A name of a path and its span.
type Segment<'e> = (&'e str, Range<usize>);

impl<'e> Checker<'e> {
    pub(super) fn field(&mut self, part: &'e Expr) -> Option<Value> {
        let Some(path) = path_of(part) else { return self.field_of_value(part) };
        let (first, rest) = path.split_first()?;
        let variable = self.variables.iter().rev().position(|(name, _)| *name == first.0);
        match variable {
            Some(up) => self.field_of_item(up, first, rest),
            None => self.field_of_envelope(&path),
        }
    }

    /// A field of a value that is not an object, such as `size(x).field`.
    fn field_of_value(&mut self, part: &'e Expr) -> Option<Value> {
        let ExprKind::Select(of, _, span) = &part.kind else { return None };
        let value = self.value(of)?;
        let message = format!("{} has no fields", value.noun());
        self.error(ConditionDiagnostic::new(span.clone(), message, "remove the name after the point"))
    }

    fn field_of_envelope(&mut self, path: &[Segment<'e>]) -> Option<Value> {
        let mut fields = FIELDS;
        let mut found: Option<&Field> = None;
        for (name, span) in path {
            let Some(field) = usable(fields).find(|field| field.name == *name) else {
                return self.unknown_field(found, name, span.clone());
            };
            found = Some(field);
            fields = field.fields();
        }
        found.map(value_of)
    }

    fn unknown_field(&mut self, parent: Option<&Field>, name: &str, span: Range<usize>) -> Option<Value> {
        let unknown = format!("unknown field `{name}`");
        let names = |fields: &'static [Field]| usable(fields).map(|field| field.name).collect();
        let is_item_field = |list: List| list.fields().iter().any(|field| field.name == name);
        let diagnostic = match parent.map(|parent| (parent, value_of(parent))) {
            None if self.variables.iter().any(|(_, list)| is_item_field(*list)) => {
                let hint = "for a field of the item, write the variable and a point before it";
                ConditionDiagnostic::new(span, unknown, hint)
            }
            None => ConditionDiagnostic::unknown(span, unknown, name, names(FIELDS)),
            Some((parent, Value::Object(_))) => {
                ConditionDiagnostic::unknown(span, unknown, name, names(parent.fields()))
            }
            Some((parent, Value::List(list))) => {
                let field = if is_item_field(list) { name } else { list.fields()[0].name };
                let hint = format!("write {}.exists(x, x.{field} == \"...\")", parent.path);
                ConditionDiagnostic::new(span, "a list has no fields", hint)
            }
            Some((Field { kind: Kind::Raw(_), .. }, _)) => {
                let hint = "`raw` is a string in conditions: write raw.contains(\"...\") or raw.matches(\"...\")";
                ConditionDiagnostic::new(span, "conditions cannot use fields of the vendor's record", hint)
            }
            Some((_, value)) => {
                let message = format!("{} has no fields", value.noun());
                ConditionDiagnostic::new(span, message, "remove the name after the point")
            }
        };
        self.error(diagnostic)
    }

    fn field_of_item(&mut self, up: usize, variable: &Segment<'e>, path: &[Segment<'e>]) -> Option<Value> {
        let mut fields = self.variables[self.variables.len() - 1 - up].1.fields();
        if path.is_empty() {
            let example = format!("compare one of its fields: {}.{} == \"...\"", variable.0, fields[0].name);
            let message = "this is an item of a list, which is an object";
            return self.error(ConditionDiagnostic::new(variable.1.clone(), message, example));
        }
        let mut found: Option<&ItemField> = None;
        for (name, span) in path {
            let Some(field) = fields.iter().find(|field| field.name == *name) else {
                return self.unknown_item_field(found, fields, name, span.clone());
            };
            found = Some(field);
            fields = field.fields();
        }
        found.map(|field| item_value_of(field, up))
    }

    fn unknown_item_field(
        &mut self,
        parent: Option<&ItemField>,
        fields: &[ItemField],
        name: &str,
        span: Range<usize>,
    ) -> Option<Value> {
        let diagnostic = match parent.filter(|_| fields.is_empty()) {
            Some(parent) => {
                let message = format!("{} has no fields", item_value_of(parent, 0).noun());
                ConditionDiagnostic::new(span, message, "remove the name after the point")
            }
            None => {
                let names = fields.iter().map(|field| field.name).collect();
                ConditionDiagnostic::unknown(span, format!("unknown field `{name}`"), name, names)
            }
        };
        self.error(diagnostic)
    }
}

/// The names of a path, if the expression is one.
fn path_of(part: &Expr) -> Option<Vec<Segment<'_>>> {
    match &part.kind {
        ExprKind::Name(name) => Some(vec![(name, part.span.clone())]),
        ExprKind::Select(of, name, span) => {
            let mut path = path_of(of)?;
            path.push((name, span.clone()));
            Some(path)
        }
        _ => None,
    }
}
