//! The user's own query parameters, sent to Akuity as they are.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, SeqAccess};

use crate::diagnostic::SettingDiagnostic;
use crate::vendors::settings;

/// One value or several of a query parameter; several are sent by repeating the parameter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryValues(pub Vec<String>);

crate::json_schema::written_as!(QueryValues, "QueryValues", {
    "type": ["string", "integer", "boolean", "array"],
    "items": { "type": ["string", "integer", "boolean"] }
});

/// What the collector itself sends, in both spellings that the API takes.
const OWN: [&str; 6] = [
    "filters.startTime",
    "filters.start_time",
    "filters.endTime",
    "filters.end_time",
    "filters.limit",
    "filters.offset",
];

/// Adds a problem for every parameter that would fight with the collector's own.
pub(super) fn check(extra: &BTreeMap<String, QueryValues>, problems: &mut Vec<SettingDiagnostic>) {
    for name in extra.keys() {
        let key = format!("extra_query.{name}");
        if OWN.contains(&name.as_str()) {
            let hint = "leave it out; use backfill_start_time, end_time and page_size";
            settings::problem(problems, &key, "is set by auditflow itself", hint);
        }
        if name.contains('[') {
            let hint = "write a dotted path such as filters.actorType";
            settings::problem(problems, &key, "is map syntax, which Akuity refuses", hint);
        }
    }
}

/// Each parameter with each of its values.
pub(super) fn pairs(extra: &BTreeMap<String, QueryValues>) -> impl Iterator<Item = (String, String)> {
    extra.iter().flat_map(|(name, values)| values.0.iter().map(|value| (name.clone(), value.clone())))
}

impl<'de> Deserialize<'de> for QueryValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

struct ValuesVisitor;

impl<'de> de::Visitor<'de> for ValuesVisitor {
    type Value = QueryValues;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number, true, false, or a list of those")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<QueryValues, E> {
        Ok(QueryValues(vec![text.to_owned()]))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<QueryValues, E> {
        self.visit_str(if value { "true" } else { "false" })
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<QueryValues, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<QueryValues, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<QueryValues, A::Error> {
        let mut values = Vec::new();
        while let Some(QueryValues(more)) = items.next_element()? {
            values.extend(more);
        }
        Ok(QueryValues(values))
    }
}
