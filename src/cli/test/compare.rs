//! Compares what arrives at a component with what a test expects, and shows the fields that differ.

use std::fmt::{self, Write as _};

use serde::Serialize;
use serde_json::Value;

use super::extract::Extracted;
use crate::pipeline::TestOutput;

/// The longest value that is shown, in characters.
const LONGEST_VALUE: usize = 300;

/// Why a test failed at a component.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    /// The component, and which of its events.
    place: String,
    reason: String,
}

impl Failure {
    pub(super) fn new(place: &str, reason: String) -> Self {
        Self { place: place.to_owned(), reason }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "        {}: {}", self.place, self.reason)
    }
}

/// What differs at an output.
pub(super) fn output(expected: &TestOutput, found: &[Extracted]) -> Vec<Failure> {
    let name = &expected.extract_from;
    let mut failures = Vec::new();
    let listed = expected.events.as_ref().map(Vec::len).or(expected.destinations.as_ref().map(Vec::len));
    let (wanted, is_right) = match expected.count.or(listed) {
        Some(count) => (counted(count), found.len() == count),
        None => ("events".to_owned(), !found.is_empty()),
    };
    if !is_right {
        failures.push(wrong_count(name, &wanted, found));
    }
    let at = |index: usize| format!("{name}, event {} of {}", index + 1, found.len());
    for (index, (expected, found)) in expected.events.iter().flatten().zip(found).enumerate() {
        failures.extend(differing(&at(index), expected, &found.event));
    }
    for (index, (expected, found)) in expected.destinations.iter().flatten().zip(found).enumerate() {
        let (expected, found) = (serde_json::json!(expected), serde_json::json!(found.destination));
        failures.extend(differing(&at(index), &expected, &found));
    }
    for condition in &expected.conditions {
        let fails = |(_, found): &(usize, &Extracted)| !found.holds(condition);
        if let Some((index, found)) = found.iter().enumerate().find(fails) {
            let reason = format!("does not match `{condition}`\n{}", shown_event(&found.event));
            failures.push(Failure::new(&at(index), reason));
        }
    }
    failures
}

/// What is wrong if nothing may arrive.
pub(super) fn no_output(name: &str, found: &[Extracted]) -> Option<Failure> {
    (!found.is_empty()).then(|| wrong_count(name, "no events", found))
}

fn wrong_count(name: &str, wanted: &str, found: &[Extracted]) -> Failure {
    let mut reason = format!("expected {wanted}, found {}", counted(found.len()));
    for event in found {
        let _ = write!(reason, "\n{}", shown_event(&event.event));
    }
    Failure::new(name, reason)
}

fn counted(count: usize) -> String {
    match count {
        0 => "no events".to_owned(),
        1 => "1 event".to_owned(),
        count => format!("{count} events"),
    }
}

/// An event that nobody described: what tells it apart.
fn shown_event(event: &Value) -> String {
    let fields = ["vendor", "event_type", "action", "outcome", "timestamp", "actor", "target"];
    let shown: serde_json::Map<String, Value> =
        fields.iter().filter_map(|field| Some(((*field).to_owned(), event.get(field)?.clone()))).collect();
    let shown = if shown.is_empty() { event.clone() } else { without_nulls(&Value::Object(shown)) };
    format!("          {}", shortened(&shown))
}

fn without_nulls(value: &Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let kept = members.iter().filter(|(_, value)| !value.is_null());
    Value::Object(kept.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(LONGEST_VALUE) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// The fields that differ, if any do.
fn differing(place: &str, expected: &Value, found: &Value) -> Option<Failure> {
    let mut text = String::new();
    differences("", expected, found, &mut text);
    (!text.is_empty()).then(|| Failure::new(place, format!("differs{text}")))
}

/// Compares the fields that `expected` names, at any depth; lists must have the same length.
fn differences(path: &str, expected: &Value, found: &Value, text: &mut String) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match (expected, found) {
        (Value::Object(members), Value::Object(_)) => {
            for (name, expected) in members {
                differences(&below(name), expected, found.get(name).unwrap_or(&Value::Null), text);
            }
        }
        (Value::Array(items), Value::Array(found)) if items.len() == found.len() => {
            for (index, (expected, found)) in items.iter().zip(found).enumerate() {
                differences(&format!("{path}[{index}]"), expected, found, text);
            }
        }
        _ if expected == found => {}
        _ => {
            let _ = write!(
                text,
                "\n          {path}\n            expected  {}\n            found     {}",
                shortened(expected),
                shortened(found)
            );
        }
    }
}
