//! The plainest interpreter of the same language: walks the syntax tree and looks fields up in the event's JSON. It shares
//! the parser with the compiler, and nothing else.

use serde_json::Value;

use crate::event::Event;
use crate::event::native::{RawForm, encode};
use crate::time::Timestamp;
use crate::transform::condition::syntax::{Call, Expr, Kind, Relation};

type Variables<'v> = Vec<(&'v str, Value)>;

/// A value, with times told from texts.
#[derive(Clone, Debug, PartialEq)]
enum Thing {
    Json(Value),
    Time(Timestamp),
}

pub(super) fn holds(condition: &Expr, event: &Event<'_>) -> bool {
    let mut line = Vec::new();
    encode(event, RawForm::String, &mut line);
    let json = serde_json::from_slice(&line).expect("JSON");
    truth(condition, &json, &mut Vec::new())
}

fn truth<'e>(part: &'e Expr, json: &Value, variables: &mut Variables<'e>) -> bool {
    match thing(part, json, variables) {
        Thing::Json(Value::Bool(value)) => value,
        other => panic!("not true or false: {other:?}"),
    }
}

fn thing<'e>(part: &'e Expr, json: &Value, variables: &mut Variables<'e>) -> Thing {
    let bool = |value: bool| Thing::Json(Value::Bool(value));
    match &part.kind {
        Kind::Null => Thing::Json(Value::Null),
        Kind::Bool(value) => bool(*value),
        Kind::Number(number) => Thing::Json(Value::from(*number)),
        Kind::Text(text) => Thing::Json(Value::from(text.as_str())),
        Kind::Name(name) => field(name, json, variables),
        Kind::Select(of, name, _) => match thing(of, json, variables) {
            Thing::Json(object) => Thing::Json(object.get(name).cloned().unwrap_or(Value::Null)),
            Thing::Time(_) => panic!("a time has no fields"),
        },
        Kind::Not(inner) => bool(!truth(inner, json, variables)),
        Kind::All(parts) => bool(parts.iter().all(|part| truth(part, json, variables))),
        Kind::Any(parts) => bool(parts.iter().any(|part| truth(part, json, variables))),
        Kind::Relation(Relation::In, left, right) => {
            let Kind::List(items) = &right.kind else { panic!("not a list") };
            let left = thing(left, json, variables);
            bool(items.iter().any(|item| thing(item, json, variables) == left))
        }
        Kind::Relation(relation, left, right) => {
            bool(compare(*relation, &thing(left, json, variables), &thing(right, json, variables)))
        }
        Kind::Call(call) => call_of(call, json, variables),
        Kind::List(_) => panic!("a list stands behind `in` alone"),
    }
}

fn field(name: &str, json: &Value, variables: &Variables<'_>) -> Thing {
    if let Some((_, value)) = variables.iter().rev().find(|(variable, _)| *variable == name) {
        return Thing::Json(value.clone());
    }
    let value = json.get(name).cloned().unwrap_or(Value::Null);
    match name {
        "timestamp" | "observed_at" => time(&value),
        _ => Thing::Json(value),
    }
}

fn time(text: &Value) -> Thing {
    Thing::Time(Timestamp::parse_rfc3339(text.as_str().expect("a text")).expect("a time"))
}

fn compare(relation: Relation, left: &Thing, right: &Thing) -> bool {
    match relation {
        Relation::Equal => return left == right,
        Relation::NotEqual => return left != right,
        _ => {}
    }
    let order = match (left, right) {
        (Thing::Time(left), Thing::Time(right)) => left.cmp(right),
        (Thing::Json(Value::String(left)), Thing::Json(Value::String(right))) => left.chars().cmp(right.chars()),
        (Thing::Json(Value::Number(left)), Thing::Json(Value::Number(right))) => left.as_i64().cmp(&right.as_i64()),
        _ => return false,
    };
    match relation {
        Relation::Less => order.is_lt(),
        Relation::LessOrEqual => order.is_le(),
        Relation::Greater => order.is_gt(),
        _ => order.is_ge(),
    }
}

fn call_of<'e>(call: &'e Call, json: &Value, variables: &mut Variables<'e>) -> Thing {
    let bool = |value: bool| Thing::Json(Value::Bool(value));
    let of = call.of.as_deref().or(call.arguments.first()).expect("something to ask of");
    let value = thing(of, json, variables);
    let argument = |variables: &mut Variables<'e>| match thing(&call.arguments[0], json, variables) {
        Thing::Json(value) => value,
        Thing::Time(_) => panic!("a time is no argument"),
    };
    match (call.name.as_str(), value) {
        ("timestamp", Thing::Json(text)) => time(&text),
        ("has", Thing::Json(Value::Array(items))) => bool(!items.is_empty()),
        ("has", value) => bool(value != Thing::Json(Value::Null)),
        ("size", Thing::Json(Value::Array(items))) => Thing::Json(Value::from(items.len())),
        ("size", Thing::Json(Value::String(text))) => Thing::Json(Value::from(text.chars().count())),
        ("size", _) => Thing::Json(Value::Null),
        ("exists", Thing::Json(Value::Array(items))) => {
            bool(items.iter().any(|item| of_item(call, item, json, variables)))
        }
        ("all", Thing::Json(Value::Array(items))) => {
            bool(items.iter().all(|item| of_item(call, item, json, variables)))
        }
        (name, Thing::Json(Value::String(text))) => bool(match argument(variables) {
            Value::String(wanted) => of_text(name, &text, &wanted),
            _ => false,
        }),
        (_, Thing::Json(Value::Null)) => bool(false),
        (name, value) => panic!("{name} of {value:?}"),
    }
}

fn of_item<'e>(call: &'e Call, item: &Value, json: &Value, variables: &mut Variables<'e>) -> bool {
    let Kind::Name(variable) = &call.arguments[0].kind else { panic!("not a variable") };
    variables.push((variable, item.clone()));
    let holds = truth(&call.arguments[1], json, variables);
    variables.pop();
    holds
}

fn of_text(method: &str, text: &str, wanted: &str) -> bool {
    match method {
        "contains" => text.contains(wanted),
        "startsWith" => text.starts_with(wanted),
        "endsWith" => text.ends_with(wanted),
        "matches" => regex::Regex::new(wanted).expect("a regular expression").is_match(text),
        _ => panic!("{method} of a text"),
    }
}
