//! A `route` transform is a short form: it becomes one filter for each of its outputs, before anything else is checked.
//!
//! ```text
//! by_kind: {type: route, inputs: [events], route: {iam: A, deletes: B}}
//!     by_kind.iam:        {type: filter, inputs: [events], condition: A}
//!     by_kind.deletes:    {type: filter, inputs: [events], condition: B}
//!     by_kind._unmatched: {type: filter, inputs: [events], condition: '!(A || B)'}      if something reads it
//! ```
//!
//! An event goes to every output whose condition holds. What is not a map of conditions stays as it is: the checks of a
//! transform's settings report it.

use crate::config::node::{Entry, Node, Scalar, Value};
use crate::transform::condition::Condition;
use crate::transform::registry::{FILTER, ROUTE};

/// The output of the events that no condition of a route holds for.
const UNMATCHED: &str = "_unmatched";

/// Replaces the routes of a pipeline file.
pub(super) fn fan_out(root: &mut Node) {
    let read = inputs_of(root);
    let Value::Map(sections) = &mut root.value else { return };
    let transforms = sections.iter_mut().filter(|section| section.key == "transforms");
    for section in transforms {
        let Value::Map(entries) = &mut section.value.value else { continue };
        *entries = std::mem::take(entries).into_iter().flat_map(|entry| outputs(entry, &read)).collect();
    }
}

/// All names and patterns that something reads.
fn inputs_of(root: &Node) -> Vec<String> {
    let components = root.entries().iter().flat_map(|section| section.value.entries());
    let inputs = components.filter_map(|component| component.value.entry("inputs"));
    let mut names = Vec::new();
    for entry in inputs {
        let items = match &entry.value.value {
            Value::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        names.extend(items.iter().filter_map(text));
    }
    names.into_iter().map(str::to_owned).collect()
}

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Scalar(scalar) => Some(&scalar.text),
        _ => None,
    }
}

/// The filters of a route; any other transform as it is.
fn outputs(transform: Entry, read: &[String]) -> Vec<Entry> {
    let routes = transform.value.entry("route").map_or(&[][..], |entry| entry.value.entries());
    let is_route = transform.value.entry("type").and_then(|entry| text(&entry.value)) == Some(ROUTE);
    let has_other_keys =
        transform.value.entries().iter().any(|entry| !["type", "inputs", "route"].contains(&entry.key.as_str()));
    let is_sound = !routes.is_empty() && routes.iter().all(|route| text(&route.value).is_some());
    if !is_route || has_other_keys || !is_sound {
        return vec![transform];
    }
    let mut outputs: Vec<Entry> = routes.iter().map(|route| filter(&transform, route)).collect();
    let unmatched = format!("{}.{UNMATCHED}", transform.key);
    if read.contains(&unmatched) && !routes.iter().any(|route| route.key == UNMATCHED) {
        let condition = Scalar { text: none_of(routes), plain: false, written: None, from_row: false };
        let route = transform.value.entry("route").expect("has routes");
        let value = Node { value: Value::Scalar(condition), ..route.value.clone() };
        outputs.push(filter(&transform, &Entry { key: UNMATCHED.to_owned(), span: route.span, value }));
    }
    outputs
}

fn filter(transform: &Entry, route: &Entry) -> Entry {
    let mut entries = Vec::new();
    for entry in transform.value.entries() {
        match entry.key.as_str() {
            "type" => {
                let scalar = Scalar { text: FILTER.to_owned(), plain: true, written: None, from_row: false };
                let value = Node { value: Value::Scalar(scalar), ..entry.value.clone() };
                entries.push(Entry { value, ..entry.clone() });
            }
            "route" => {
                entries.push(Entry { key: "condition".to_owned(), span: route.span, value: route.value.clone() })
            }
            _ => entries.push(entry.clone()),
        }
    }
    Entry {
        key: format!("{}.{}", transform.key, route.key),
        span: route.span,
        value: Node { value: Value::Map(entries), ..transform.value.clone() },
    }
}

/// The condition under which none of the others holds. A mistake in one of them is reported there.
fn none_of(routes: &[Entry]) -> String {
    let conditions = routes.iter().filter_map(|route| Condition::compile(text(&route.value)?).ok());
    let conditions: Vec<String> = conditions.map(|condition| format!("({})", condition.as_str())).collect();
    if conditions.is_empty() { "true".to_owned() } else { format!("!({})", conditions.join(" || ")) }
}
