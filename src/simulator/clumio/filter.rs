//! Clumio's `filter` parameter: `{"<field>":{"<$operator>":<value>}, ...}`, everything joined with and.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::simulator::store::Window;
use crate::simulator::variants::FieldHandling;
use crate::time::Timestamp;

/// A parsed filter.
#[derive(Debug)]
pub(super) struct Filter {
    /// The time range.
    pub(super) window: Window,
    conditions: Vec<Condition>,
}

impl Default for Filter {
    fn default() -> Self {
        Self { window: Window::ALL, conditions: Vec::new() }
    }
}

#[derive(Debug)]
struct Condition {
    field: Field,
    values: Vec<String>,
}

/// The field of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Category,
    Action,
    Status,
    UserEmail,
    IpAddress,
    PrimaryId,
    PrimaryType,
    /// Matched as a substring.
    PrimaryValue,
    ParentId,
    ParentType,
    ParentValue,
    OrganizationalUnit,
    BucketRegion,
}

/// Documented fields and the operators that each accepts.
const DOCUMENTED: [(&str, Field, &[&str]); 12] = [
    ("category", Field::Category, &["$in"]),
    ("action", Field::Action, &["$in"]),
    ("status", Field::Status, &["$in"]),
    ("user_email", Field::UserEmail, &["$in"]),
    ("ip_address", Field::IpAddress, &["$eq"]),
    ("primary_entity.id", Field::PrimaryId, &["$in"]),
    ("primary_entity.type", Field::PrimaryType, &["$eq", "$in"]),
    ("primary_entity.value", Field::PrimaryValue, &["$in"]),
    ("parent_entity.id", Field::ParentId, &["$in"]),
    ("parent_entity.type", Field::ParentType, &["$in"]),
    ("parent_entity.value", Field::ParentValue, &["$in"]),
    ("organizational_unit_id", Field::OrganizationalUnit, &["$eq"]),
];

/// Fields of another endpoint that integrations send here too, with their assumed meaning.
const UNDOCUMENTED: [(&str, Field); 3] = [
    ("protection_group_s3_asset_id", Field::PrimaryId),
    ("parent_protection_group_backup_id", Field::ParentId),
    ("bucket_region", Field::BucketRegion),
];

impl Filter {
    /// Parses the parameter.
    pub(super) fn read(text: &str, unknown: FieldHandling, now: Timestamp) -> Result<Self, String> {
        let fields: Map<String, Value> = serde_json::from_str(text).map_err(|_| "Invalid filter.".to_owned())?;
        let mut filter = Self::default();
        for (name, operators) in &fields {
            let operators = operators.as_object().ok_or_else(|| format!("Invalid filter: {name}."))?;
            if name == "start_timestamp" {
                filter.window = read_window(operators, now)?;
            } else if let Some(condition) = read_condition(name, operators, unknown)? {
                filter.conditions.push(condition);
            }
        }
        Ok(filter)
    }

    /// Only the records of one organizational unit.
    pub(super) fn restrict_to_unit(&mut self, unit: &str) {
        self.conditions.push(Condition { field: Field::OrganizationalUnit, values: vec![unit.to_owned()] });
    }

    pub(super) fn is_time_only(&self) -> bool {
        self.conditions.is_empty()
    }

    /// Whether a record matches; a malformed record matches no condition.
    pub(super) fn matches(&self, raw: &str) -> bool {
        let Ok(trail) = serde_json::from_str::<Trail<'_>>(raw) else { return self.is_time_only() };
        self.conditions.iter().all(|condition| condition.matches(&trail))
    }
}

/// `$gte` and `$lt` are times; `$eq` is a number of seconds back from now and overrides both.
fn read_window(operators: &Map<String, Value>, now: Timestamp) -> Result<Window, String> {
    let mut window = Window::ALL;
    for (operator, value) in operators {
        let time = value.as_str().and_then(Timestamp::parse_rfc3339);
        match (operator.as_str(), time) {
            ("$gte", Some(time)) => window.from = time,
            ("$lt", Some(time)) => window.to = time,
            ("$eq", None) => {}
            _ => return Err("Invalid filter: start_timestamp.".into()),
        }
    }
    let Some(back) = operators.get("$eq") else { return Ok(window) };
    let back = back.as_u64().ok_or("Invalid filter: start_timestamp.")?;
    Ok(Window { from: now - Duration::from_secs(back), to: Timestamp::MAX })
}

fn read_condition(
    name: &str,
    operators: &Map<String, Value>,
    unknown: FieldHandling,
) -> Result<Option<Condition>, String> {
    let invalid = || format!("Invalid filter: {name}.");
    let (field, allowed): (Field, &[&str]) = match DOCUMENTED.iter().find(|(known, ..)| *known == name) {
        Some((_, field, allowed)) => (*field, allowed),
        None if unknown == FieldHandling::Ignore => return Ok(None),
        None if unknown == FieldHandling::Reject => return Err(invalid()),
        None => {
            let (_, field) = UNDOCUMENTED.iter().find(|(known, _)| *known == name).ok_or_else(invalid)?;
            (*field, &["$eq"])
        }
    };
    let mut values = Vec::new();
    for (operator, value) in operators {
        if !allowed.contains(&operator.as_str()) {
            return Err(invalid());
        }
        values.extend(read_values(operator, value).ok_or_else(invalid)?);
    }
    Ok(Some(Condition { field, values }))
}

fn read_values(operator: &str, value: &Value) -> Option<Vec<String>> {
    if operator == "$eq" {
        return Some(vec![value.as_str()?.to_owned()]);
    }
    value.as_array()?.iter().map(|one| one.as_str().map(str::to_owned)).collect()
}

/// The fields that can be filtered by.
#[derive(Deserialize)]
struct Trail<'a> {
    #[serde(borrow)]
    category: Option<Cow<'a, str>>,
    #[serde(borrow)]
    action: Option<Cow<'a, str>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user_email: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ip_address: Option<Cow<'a, str>>,
    #[serde(borrow)]
    primary_entity: Option<Entity<'a>>,
    #[serde(borrow)]
    parent_entity: Option<Entity<'a>>,
    #[serde(borrow)]
    details_json: Option<Details<'a>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    tags: Vec<Entity<'a>>,
}

#[derive(Deserialize)]
struct Entity<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    value: Option<Cow<'a, str>>,
}

impl Trail<'_> {
    fn tag(&self, kind: &str) -> Option<&Entity<'_>> {
        self.details_json.as_ref()?.tags.iter().find(|tag| tag.kind.as_deref() == Some(kind))
    }

    fn value(&self, field: Field) -> Option<&str> {
        let (primary, parent) = (self.primary_entity.as_ref(), self.parent_entity.as_ref());
        match field {
            Field::Category => self.category.as_deref(),
            Field::Action => self.action.as_deref(),
            Field::Status => self.status.as_deref(),
            Field::UserEmail => self.user_email.as_deref(),
            Field::IpAddress => self.ip_address.as_deref(),
            Field::PrimaryId => primary?.id.as_deref(),
            Field::PrimaryType => primary?.kind.as_deref(),
            Field::PrimaryValue => primary?.value.as_deref(),
            Field::ParentId => parent?.id.as_deref(),
            Field::ParentType => parent?.kind.as_deref(),
            Field::ParentValue => parent?.value.as_deref(),
            Field::OrganizationalUnit => self.tag("organizational_unit")?.id.as_deref(),
            Field::BucketRegion => self.tag("bucket_region")?.value.as_deref(),
        }
    }
}

impl Condition {
    fn matches(&self, trail: &Trail<'_>) -> bool {
        let Some(found) = trail.value(self.field) else { return false };
        if self.field == Field::PrimaryValue {
            return self.values.iter().any(|wanted| found.contains(wanted));
        }
        self.values.iter().any(|wanted| found == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"category":"protection","action":"apply","status":"success","user_email":null,"ip_address":"",
        "primary_entity":{"id":"p1","type":"aws_ebs_volume","value":"vol-77"},"parent_entity":null,
        "details_json":{"request_body":null,"tags":[{"id":"u1","type":"organizational_unit","value":"IT"}]}}"#;

    fn filter(text: &str) -> Result<Filter, String> {
        Filter::read(text, FieldHandling::Match, Timestamp::from_secs(1_000))
    }

    #[test]
    fn conditions_are_joined_with_and() {
        for (text, passes) in [
            (r#"{"category":{"$in":["protection","backup"]}}"#, true),
            (r#"{"category":{"$in":["protection"]},"action":{"$in":["login"]}}"#, false),
            (r#"{"primary_entity.value":{"$in":["ol-7"]}}"#, true),
            (r#"{"primary_entity.type":{"$eq":"aws_ebs_volume"}}"#, true),
            (r#"{"user_email":{"$in":["a@b.example"]}}"#, false),
            (r#"{"organizational_unit_id":{"$eq":"u1"}}"#, true),
            (r#"{"protection_group_s3_asset_id":{"$eq":"p1"}}"#, true),
            (r#"{"bucket_region":{"$eq":"us-west-2"}}"#, false),
        ] {
            assert_eq!(filter(text).expect(text).matches(RECORD), passes, "{text}");
        }
    }

    #[test]
    fn the_lookback_overrides_the_window() {
        let filter = filter(r#"{"start_timestamp":{"$gte":"2026-01-01T00:00:00Z","$eq":400}}"#).expect("a filter");
        assert_eq!(filter.window.from, Timestamp::from_secs(600));
    }

    #[test]
    fn undocumented_filters_are_rejected() {
        for text in [
            "",
            "[]",
            "{",
            r#"{"timestamp":{"$gte":"2026-01-01T00:00:00Z"}}"#,
            r#"{"start_timestamp":{"$gt":"2026-01-01T00:00:00Z"}}"#,
            r#"{"start_timestamp":{"$gte":"yesterday"}}"#,
            r#"{"start_timestamp":{"$eq":"soon"}}"#,
            r#"{"category":{"$eq":"backup"}}"#,
            r#"{"category":"backup"}"#,
        ] {
            assert!(filter(text).is_err(), "{text}");
        }
        let tolerant = Filter::read(r#"{"color":{"$eq":"red"}}"#, FieldHandling::Ignore, Timestamp::EPOCH);
        assert!(tolerant.expect("ignored").is_time_only());
    }
}
