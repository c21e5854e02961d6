//! A simple interpreter of the same language, as a reference: evaluates the syntax tree on the event's JSON. It shares only
//! the parser with the compiler.

use serde_json::Value;

use crate::event::Event;
use crate::event::native::{RawForm, encode};
use crate::time::Timestamp;
use crate::transform::condition::parser::{Call, Expr, ExprKind, Relation};

type Variables<'v> = Vec<(&'v str, Value)>;

/// A value; times are distinct from strings.
#[derive(Clone, Debug, PartialEq)]
enum Evaluated {
    Json(Value),
    Time(Timestamp),
}

pub(super) fn holds(condition: &Expr, event: &Event<'_>) -> bool {
    let mut line = Vec::new();
    encode(event, RawForm::String, &mut line);
    let json = serde_json::from_slice(&line).expect("JSON");
    boolean(condition, &json, &mut Vec::new())
}

fn boolean<'e>(part: &'e Expr, json: &Value, variables: &mut Variables<'e>) -> bool {
    match evaluate(part, json, variables) {
        Evaluated::Json(Value::Bool(value)) => value,
        other => panic!("not a boolean: {other:?}"),
    }
}

fn evaluate<'e>(part: &'e Expr, json: &Value, variables: &mut Variables<'e>) -> Evaluated {
    let bool = |value: bool| Evaluated::Json(Value::Bool(value));
    match &part.kind {
        ExprKind::Null => Evaluated::Json(Value::Null),
        ExprKind::Bool(value) => bool(*value),
        ExprKind::Number(number) => Evaluated::Json(Value::from(*number)),
        ExprKind::String(text) => Evaluated::Json(Value::from(text.as_str())),
        ExprKind::Name(name) => field(name, json, variables),
        ExprKind::Select(of, name, _) => match evaluate(of, json, variables) {
            Evaluated::Json(object) => Evaluated::Json(object.get(name).cloned().unwrap_or(Value::Null)),
            Evaluated::Time(_) => panic!("a time has no fields"),
        },
        ExprKind::Not(inner) => bool(!boolean(inner, json, variables)),
        ExprKind::All(parts) => bool(parts.iter().all(|part| boolean(part, json, variables))),
        ExprKind::Any(parts) => bool(parts.iter().any(|part| boolean(part, json, variables))),
        ExprKind::Relation(Relation::In, left, right) => {
            let ExprKind::List(items) = &right.kind else { panic!("not a list") };
            let left = evaluate(left, json, variables);
            bool(items.iter().any(|item| evaluate(item, json, variables) == left))
        }
        ExprKind::Relation(relation, left, right) => {
            bool(compare(*relation, &evaluate(left, json, variables), &evaluate(right, json, variables)))
        }
        ExprKind::Call(call) => call_of(call, json, variables),
        ExprKind::List(_) => panic!("a list is not on the right of `in`"),
    }
}

fn field(name: &str, json: &Value, variables: &Variables<'_>) -> Evaluated {
    if let Some((_, value)) = variables.iter().rev().find(|(variable, _)| *variable == name) {
        return Evaluated::Json(value.clone());
    }
    let value = json.get(name).cloned().unwrap_or(Value::Null);
    match name {
        "timestamp" | "observed_at" => time(&value),
        _ => Evaluated::Json(value),
    }
}

fn time(text: &Value) -> Evaluated {
    Evaluated::Time(Timestamp::parse_rfc3339(text.as_str().expect("a string")).expect("a time"))
}

fn compare(relation: Relation, left: &Evaluated, right: &Evaluated) -> bool {
    match relation {
        Relation::Equal => return left == right,
        Relation::NotEqual => return left != right,
        _ => {}
    }
    let order = match (left, right) {
        (Evaluated::Time(left), Evaluated::Time(right)) => left.cmp(right),
        (Evaluated::Json(Value::String(left)), Evaluated::Json(Value::String(right))) => {
            left.chars().cmp(right.chars())
        }
        (Evaluated::Json(Value::Number(left)), Evaluated::Json(Value::Number(right))) => {
            left.as_i64().cmp(&right.as_i64())
        }
        _ => return false,
    };
    match relation {
        Relation::Less => order.is_lt(),
        Relation::LessOrEqual => order.is_le(),
        Relation::Greater => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn call_of<'e>(call: &'e Call, json: &Value, variables: &mut Variables<'e>) -> Evaluated {
    let bool = |value: bool| Evaluated::Json(Value::Bool(value));
    let of = call.of.as_deref().or(call.arguments.first()).expect("an operand");
    let value = evaluate(of, json, variables);
    let argument = |variables: &mut Variables<'e>| match evaluate(&call.arguments[0], json, variables) {
        Evaluated::Json(value) => value,
        Evaluated::Time(_) => panic!("a time is not an argument"),
    };
    match (call.name.as_str(), value) {
        ("timestamp", Evaluated::Json(text)) => time(&text),
        ("has", Evaluated::Json(Value::Array(items))) => bool(!items.is_empty()),
        ("has", value) => bool(value != Evaluated::Json(Value::Null)),
        ("size", Evaluated::Json(Value::Array(items))) => Evaluated::Json(Value::from(items.len())),
        ("size", Evaluated::Json(Value::String(text))) => Evaluated::Json(Value::from(text.chars().count())),
        ("size", _) => Evaluated::Json(Value::Null),
        ("exists", Evaluated::Json(Value::Array(items))) => {
            bool(items.iter().any(|item| of_item(call, item, json, variables)))
        }
        ("all", Evaluated::Json(Value::Array(items))) => {
            bool(items.iter().all(|item| of_item(call, item, json, variables)))
        }
        (name, Evaluated::Json(Value::String(text))) => bool(match argument(variables) {
            Value::String(expected) => of_text(name, &text, &expected),
            _ => false,
        }),
        (_, Evaluated::Json(Value::Null)) => bool(false),
        (name, value) => panic!("{name} of {value:?}"),
    }
}

fn of_item<'e>(call: &'e Call, item: &Value, json: &Value, variables: &mut Variables<'e>) -> bool {
    let ExprKind::Name(variable) = &call.arguments[0].kind else { panic!("not a variable") };
    variables.push((variable, item.clone()));
    let holds = boolean(&call.arguments[1], json, variables);
    variables.pop();
    holds
}

fn of_text(method: &str, text: &str, expected: &str) -> bool {
    match method {
        "contains" => text.contains(expected),
        "startsWith" => text.starts_with(expected),
        "endsWith" => text.ends_with(expected),
        "matches" => regex::Regex::new(expected).expect("a regular expression").is_match(text),
        _ => panic!("{method} of a string"),
    }
}
