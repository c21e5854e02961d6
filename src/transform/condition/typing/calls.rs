//! Functions and methods.

use regex::RegexBuilder;

use super::{Checker, Finder, List, Number, Test, Text, TextValue, Time, Value};
use crate::time::Timestamp;
use crate::transform::condition::Mistake;
use crate::transform::condition::program::Part;
use crate::transform::condition::syntax::{Call, Expr, Kind};

const FUNCTIONS: &[&str] = &["has", "size", "timestamp"];
const METHODS: &[&str] = &["contains", "startsWith", "endsWith", "matches", "size", "exists", "all"];

/// The largest compiled form of a regular expression, in bytes.
const MOST_PATTERN_BYTES: usize = 1 << 20;

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
            ("contains", Some(of)) => self.part_of_text(Part::Anywhere, of, call, part).map(Value::Test),
            ("startsWith", Some(of)) => self.part_of_text(Part::Start, of, call, part).map(Value::Test),
            ("endsWith", Some(of)) => self.part_of_text(Part::End, of, call, part).map(Value::Test),
            ("matches", Some(of)) => self.matches(of, call, part).map(Value::Test),
            ("exists" | "all", Some(of)) => self.items(of, call, part).map(Value::Test),
            _ => self.unknown_call(call),
        }
    }

    fn unknown_call(&mut self, call: &Call) -> Option<Value> {
        let (name, place) = (call.name.as_str(), call.name_place.clone());
        let (noun, known, elsewhere) = match call.of {
            None => ("function", FUNCTIONS, METHODS),
            Some(_) => ("method", METHODS, FUNCTIONS),
        };
        let message = format!("there is no {noun} `{name}`");
        if elsewhere.contains(&name) {
            let hint = if call.of.is_none() { "write it behind a field" } else { "write it before the field" };
            let example = if call.of.is_none() { "field.name(...)" } else { "name(field)" };
            return self.wrong(Mistake::new(place, message, format!("{hint}: {example}")));
        }
        self.wrong(Mistake::unknown(place, message, name, known.to_vec()))
    }

    /// The only argument of a call.
    fn argument(&mut self, call: &'e Call, part: &Expr, example: &str) -> Option<&'e Expr> {
        match call.arguments.as_slice() {
            [only] => Some(only),
            _ => {
                let message = format!("`{}` takes one argument", call.name);
                self.wrong(Mistake::new(part.place.clone(), message, format!("write {example}")))
            }
        }
    }

    fn no_arguments(&mut self, call: &Call, part: &Expr) -> Option<()> {
        if call.arguments.is_empty() {
            return Some(());
        }
        let message = format!("`{}` takes no arguments behind a value", call.name);
        self.wrong(Mistake::new(part.place.clone(), message, "write related.size()"))
    }

    fn has(&mut self, call: &'e Call, part: &Expr) -> Option<Test> {
        let of = self.argument(call, part, "has(actor.email)")?;
        if !matches!(of.kind, Kind::Name(_) | Kind::Select(..)) {
            let message = "`has` asks of a field";
            return self.wrong(Mistake::new(of.place.clone(), message, "write has(actor.email)"));
        }
        match self.value(of)? {
            Value::Text(TextValue { text, .. }) => Some(Test::HasText(text)),
            Value::Number(number, _) => Some(Test::HasNumber(number)),
            Value::Object(Some(is_there)) => Some(Test::HasObject(is_there)),
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
                self.wrong(Mistake::new(
                    of.place.clone(),
                    message,
                    "texts and the lists `related` and `changes` have one",
                ))
            }
        }
    }

    fn time(&mut self, call: &'e Call, part: &Expr) -> Option<Value> {
        const EXAMPLE: &str = "write timestamp(\"2026-01-31T00:00:00Z\")";
        let of = self.argument(call, part, "timestamp(\"2026-01-31T00:00:00Z\")")?;
        let Kind::Text(text) = &of.kind else {
            return self.wrong(Mistake::new(
                of.place.clone(),
                "`timestamp` takes a time as a text between quotes",
                EXAMPLE,
            ));
        };
        match Timestamp::parse_rfc3339(text) {
            Some(time) => Some(Value::Time(Time::Literal(time))),
            None => self.wrong(Mistake::new(of.place.clone(), "this is not a time with its zone", EXAMPLE)),
        }
    }

    /// A part that must be a text.
    fn text(&mut self, part: &'e Expr) -> Option<Text> {
        match self.value(part)? {
            Value::Text(value) => Some(value.text),
            other => {
                let message = format!("this is {}, where a text is wanted", other.noun());
                let hint = match other {
                    Value::List(_) => "write related.exists(r, r.name.contains(\"...\"))",
                    Value::Object(_) => "name one of its fields",
                    _ => "texts stand between quotes",
                };
                self.wrong(Mistake::new(part.place.clone(), message, hint))
            }
        }
    }

    fn part_of_text(&mut self, which: Part, of: &'e Expr, call: &'e Call, part: &Expr) -> Option<Test> {
        let wanted = self.argument(call, part, &format!("field.{}(\"...\")", call.name));
        let (whole, wanted) = (self.text(of), wanted.and_then(|wanted| self.text(wanted)));
        match (whole?, wanted?) {
            (whole, Text::Literal(wanted)) if which == Part::Anywhere => {
                Some(Test::Contains(whole, Box::new(Finder::new(wanted.as_bytes()).into_owned())))
            }
            (whole, wanted) => Some(Test::Part(which, whole, wanted)),
        }
    }

    fn matches(&mut self, of: &'e Expr, call: &'e Call, part: &Expr) -> Option<Test> {
        let whole = self.text(of);
        let pattern = self.argument(call, part, "field.matches(\"...\")")?;
        let Kind::Text(text) = &pattern.kind else {
            let message = "`matches` takes a regular expression as a text between quotes";
            return self.wrong(Mistake::new(pattern.place.clone(), message, "write field.matches(r\"^svc-\\d+$\")"));
        };
        match RegexBuilder::new(text).size_limit(MOST_PATTERN_BYTES).build() {
            Ok(regex) => Some(Test::Matches(whole?, regex)),
            Err(error) => self.wrong(bad_pattern(pattern, &error)),
        }
    }

    /// `list.exists(x, test)` and `list.all(x, test)`.
    fn items(&mut self, of: &'e Expr, call: &'e Call, part: &Expr) -> Option<Test> {
        let example = format!("write related.{}(r, r.name == \"...\")", call.name);
        let list = match self.value(of)? {
            Value::List(list) => list,
            other => {
                let message = format!("this is {}, where a list is wanted", other.noun());
                let hint = format!("the lists of an event are `related` and `changes`: {example}");
                return self.wrong(Mistake::new(of.place.clone(), message, hint));
            }
        };
        let [Expr { kind: Kind::Name(variable), .. }, condition] = call.arguments.as_slice() else {
            let message = format!("`{}` takes a variable and a condition on it", call.name);
            return self.wrong(Mistake::new(part.place.clone(), message, example));
        };
        self.variables.push((variable, list));
        let test = self.test(condition);
        self.variables.pop();
        let test = Box::new(test?);
        Some(if call.name == "exists" { Test::Exists(list, test) } else { Test::Every(list, test) })
    }
}

/// The last line of the regex crate's message says what is wrong; those before it draw a picture of the place.
fn bad_pattern(pattern: &Expr, error: &regex::Error) -> Mistake {
    let text = error.to_string();
    let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    let message = format!("this is not a regular expression: {reason}");
    let hint =
        "the syntax is RE2's (no look-around, no back-references); write it as r\"...\" so that backslashes stay";
    Mistake::new(pattern.place.clone(), message, hint)
}

impl List {
    /// Whether one of the items' fields has this name.
    pub(super) fn has_field(self, name: &str) -> bool {
        super::envelope::item_fields(self).iter().any(|(known, _)| *known == name)
    }
}
