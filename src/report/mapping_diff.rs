//! `mapping diff`: what another version of auditflow makes of records that were delivered before, field by field.
//!
//! ```text
//! delivered event --raw--> normalize again --+--> compare --> per vendor and field: set, unset, changed
//!        +-----------------------------------+               enumerations with their values, all else without
//! ```

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::text::{Side, Table, wrapped};
use crate::format::{count, counted};

/// Fields with closed lists of values. Only their values are shown.
const ENUMERATIONS: &[&str] = &[
    "schema_version",
    "action",
    "category",
    "outcome",
    "actor.type",
    "actor.via",
    "target.type",
    "related[].type",
    "related[].role",
    "grants[].effect",
    "grants[].admin",
    "grants[].grantee.type",
    "grants[].scope.type",
];

/// What would change.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct MappingDiff {
    /// The version of this form.
    pub format: u32,
    /// Events that were compared.
    pub events: u64,
    /// Of these, events in which something changes.
    pub changed: u64,
    /// Lines that are not events of auditflow in its own schema, or that have no `raw`.
    pub not_compared: u64,
    /// By vendor and field.
    pub vendors: BTreeMap<String, BTreeMap<String, FieldDiff>>,
}

/// How a field changes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct FieldDiff {
    /// It had no value and has one.
    pub set: u64,
    /// It had a value and has none.
    pub unset: u64,
    /// It has another value.
    pub changed: u64,
    /// Of fields with a closed list of values: `old -> new`, with the number of events.
    pub values: BTreeMap<String, u64>,
    /// The id of the first event.
    pub example: String,
}

impl MappingDiff {
    /// Compares an event as it was delivered with what it would be now. `raw` is left out.
    pub fn add(&mut self, vendor: &str, old: &Value, new: &Value) {
        self.format = 1;
        self.events += 1;
        let mut differences = Vec::new();
        compare(&mut String::new(), old, new, &mut differences);
        self.changed += u64::from(!differences.is_empty());
        let id = new["id"].as_str().unwrap_or_default();
        for (path, old, new) in differences {
            let fields = self.vendors.entry(vendor.to_owned()).or_default();
            fields.entry(path.clone()).or_default().add(&path, old, new, id);
        }
    }

    /// The report for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!("{}, {} of them change\n", counted(self.events, "event"), count(self.changed));
        if self.not_compared > 0 {
            text += &wrapped(
                &format!(
                    "{} lines are not compared: not in auditflow's own schema, or without raw",
                    count(self.not_compared)
                ),
                "  ",
            );
        }
        for (vendor, fields) in &self.vendors {
            text += &format!("\n{vendor}\n\n{}", table(fields));
            for (path, field) in fields.iter().filter(|(_, field)| !field.values.is_empty()) {
                let values: Vec<_> =
                    field.values.iter().map(|(value, events)| format!("{value} ({})", count(*events))).collect();
                text += &wrapped(&format!("{path}: {}", values.join(", ")), "  ");
            }
        }
        text
    }
}

fn table(fields: &BTreeMap<String, FieldDiff>) -> String {
    let mut table = Table::new(&[
        ("FIELD", Side::Left),
        ("SET", Side::Right),
        ("UNSET", Side::Right),
        ("CHANGED", Side::Right),
        ("EXAMPLE", Side::Left),
    ]);
    for (path, field) in fields {
        let numbers = [field.set, field.unset, field.changed];
        let mut row = vec![path.clone()];
        row.extend(numbers.map(|number| if number == 0 { "-".to_owned() } else { count(number) }));
        row.push(field.example.clone());
        table.push(row);
    }
    table.render()
}

impl FieldDiff {
    fn add(&mut self, path: &str, old: &Value, new: &Value, id: &str) {
        if self.example.is_empty() {
            id.clone_into(&mut self.example);
        }
        match (is_empty(old), is_empty(new)) {
            (true, _) => self.set += 1,
            (false, true) => self.unset += 1,
            (false, false) => self.changed += 1,
        }
        if ENUMERATIONS.contains(&path) {
            *self.values.entry(format!("{} -> {}", shown(old), shown(new))).or_default() += 1;
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Collects the places in which two events differ: paths such as `grants[].privilege`. Absent and null are the same.
fn compare<'v>(path: &mut String, old: &'v Value, new: &'v Value, found: &mut Vec<(String, &'v Value, &'v Value)>) {
    let length = path.len();
    match (old, new) {
        (Value::Object(before), Value::Object(after)) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added).filter(|key| length > 0 || *key != "raw") {
                if length > 0 {
                    path.push('.');
                }
                path.push_str(key);
                let value = |object: &'v serde_json::Map<String, Value>| object.get(key).unwrap_or(&Value::Null);
                compare(path, value(before), value(after), found);
                path.truncate(length);
            }
        }
        (Value::Array(before), Value::Array(after)) if !before.is_empty() && !after.is_empty() => {
            path.push_str("[]");
            for index in 0..before.len().max(after.len()) {
                let value = |items: &'v [Value]| items.get(index).unwrap_or(&Value::Null);
                compare(path, value(before), value(after), found);
            }
            path.truncate(length);
        }
        _ if old == new || (is_empty(old) && is_empty(new)) => {}
        _ => found.push((path.clone(), old, new)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn changes_are_counted_by_field_and_only_enumerations_show_values() {
        let old =
            json!({"id": "a1", "action": "other", "actor": {"email": null, "name": "Ada"}, "related": [], "raw": 1});
        let new = json!({"id": "a1", "action": "invite", "actor": {"email": "ada@acme.example", "name": "Ada L."},
            "grants": [{"effect": "granted"}], "raw": 2});
        let mut diff = MappingDiff::default();
        diff.add("merge", &old, &new);
        diff.add("merge", &old, &old);
        assert_eq!((diff.events, diff.changed), (2, 1));
        let fields = &diff.vendors["merge"];
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["action", "actor.email", "actor.name", "grants"]);
        assert_eq!((fields["actor.email"].set, fields["actor.name"].changed, fields["grants"].set), (1, 1, 1));
        assert_eq!(fields["action"].values, BTreeMap::from([("other -> invite".to_owned(), 1)]));
        let text = serde_json::to_string(&diff).expect("JSON") + &diff.text();
        assert!(!text.contains("Ada") && !text.contains("ada@"), "{text}");
    }

    #[test]
    fn items_of_lists_are_compared_in_their_order() {
        let old = json!({"grants": [{"admin": false, "privilege": "a"}, {"admin": true}]});
        let new = json!({"grants": [{"admin": true, "privilege": "a"}]});
        let mut diff = MappingDiff::default();
        diff.add("clumio", &old, &new);
        let fields = &diff.vendors["clumio"];
        assert_eq!((fields["grants[].admin"].changed, fields["grants[]"].unset), (1, 1));
    }
}
