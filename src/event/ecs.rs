//! The ECS encoding (Elastic Common Schema): one line of JSON with nested objects, for Elasticsearch and OpenSearch.
//!
//! ```text
//! Event<'a> --encode--> {"@timestamp":...,"ecs":{...},"event":{...},"user":{...},...,"audit":{fields without an ECS field}}
//! ```
//!
//! Field names and allowed values are from `elastic/ecs` tag v9.4.0, `generated/ecs/ecs_flat.yml`. Categories and types
//! follow `elastic/integrations`, package `atlassian_confluence`.

use super::json::ObjectWriter;
use super::native::RawForm;
use super::unmapped::{first_of_kind, push_details, push_enums, push_target, raw_sha256, valid_ip};
use super::{Action, Category, Change, Event, GranteeType, ObjectType, Outcome, Target};

/// The ECS version of the encoding.
pub const ECS_VERSION: &str = "9.4.0";

/// Appends `event` as one JSON object, without a line break in it or after it.
///
/// ECS holds the vendor's record as a string (`event.original`): [`RawForm::Keep`] and [`RawForm::String`] write the same.
/// [`RawForm::Drop`] drops the record's hash too.
pub fn encode(event: &Event<'_>, raw: RawForm, out: &mut Vec<u8>) {
    out.reserve(event.raw.len() + 2_048);
    ObjectWriter::write(out, |object| {
        object.unescaped("@timestamp", event.timestamp.formatted());
        object.object("ecs", |ecs| ecs.unescaped("version", ECS_VERSION));
        object.optional("message", event.message.as_deref());
        object.object("event", |inner| push_event(event, raw, inner));
        object.object("user", |user| push_user(event, user));
        object.object("group", |group| {
            let Some(target) = first_of_kind(event, ObjectType::Group) else { return };
            group.optional("id", target.id.as_deref());
            group.optional("name", target.name.as_deref());
        });
        object.object("source", |source| {
            source.optional("ip", valid_ip(event));
            source.optional("address", event.actor.ip.as_deref());
        });
        object.object("organization", |organization| organization.optional("id", event.tenant.as_deref()));
        object.object("related", |related| push_related(event, related));
        object.object("audit", |audit| push_audit(event, audit));
    });
}

fn push_event(event: &Event<'_>, raw: RawForm, object: &mut ObjectWriter<'_>) {
    object.unescaped("kind", "event");
    object.unescaped("id", event.id);
    object.string("action", &event.event_type);
    if event.outcome != Outcome::Partial {
        object.unescaped("outcome", event.outcome);
    }
    object.strings("category", category(event.category));
    object.strings("type", types(event));
    object.string("module", event.vendor);
    object.unescaped("dataset", format_args!("{}.audit", event.vendor));
    object.unescaped("created", event.observed_at.formatted());
    if raw != RawForm::Drop {
        object.string("original", event.raw);
        object.unescaped("hash", raw_sha256(event.raw));
    }
}

const fn category(category: Category) -> Option<&'static str> {
    match category {
        Category::Authentication => Some("authentication"),
        Category::Iam | Category::Credential => Some("iam"),
        Category::Configuration | Category::Data => Some("configuration"),
        Category::Other => None,
    }
}

/// `event.type`: one value, or two where the first is the type of object that an `iam` event is about.
fn types(event: &Event<'_>) -> impl Iterator<Item = &'static str> {
    let (first, second) = match event.category {
        Category::Authentication => (authentication_type(event.action), None),
        Category::Iam => (iam_object(event), Some(iam_type(event.action))),
        Category::Credential => ("admin", Some(credential_type(event.action))),
        Category::Configuration | Category::Data => (configuration_type(event.action), None),
        Category::Other => ("info", None),
    };
    std::iter::once(first).chain(second)
}

const fn authentication_type(action: Action) -> &'static str {
    match action {
        Action::Login => "start",
        Action::Logout => "end",
        _ => "info",
    }
}

fn iam_object(event: &Event<'_>) -> &'static str {
    match event.target.as_ref().map(|target| target.kind) {
        Some(ObjectType::User) => "user",
        Some(ObjectType::Group) => "group",
        _ => "admin",
    }
}

const fn iam_type(action: Action) -> &'static str {
    match action {
        Action::Create | Action::Import | Action::Invite => "creation",
        Action::Delete => "deletion",
        Action::Read
        | Action::List
        | Action::Export
        | Action::Login
        | Action::Logout
        | Action::Impersonate
        | Action::Execute
        | Action::Other => "info",
        _ => "change",
    }
}

const fn credential_type(action: Action) -> &'static str {
    match action {
        Action::Create => "creation",
        Action::Delete | Action::Revoke => "deletion",
        _ => "change",
    }
}

const fn configuration_type(action: Action) -> &'static str {
    match action {
        Action::Create => "creation",
        Action::Delete => "deletion",
        Action::Read | Action::List | Action::Export => "access",
        _ => "change",
    }
}

fn push_user(event: &Event<'_>, user: &mut ObjectWriter<'_>) {
    let actor = &event.actor;
    push_person([actor.id.as_deref(), actor.name.as_deref(), actor.email.as_deref()], user);
    user.object("effective", |effective| {
        if let Some(person) = &actor.on_behalf_of {
            push_person([person.id.as_deref(), person.name.as_deref(), person.email.as_deref()], effective);
        }
    });
    user.object("target", |target| {
        if let Some(person) = target_user(event) {
            push_person(person, target);
        }
    });
    user.object("changes", |changes| {
        if event.target.as_ref().is_some_and(|target| target.kind == ObjectType::User) {
            push_changes(&event.changes, changes);
        }
    });
}

/// Id, name and e-mail address. A name with a blank in it is the name of a person, any other the name of a login.
fn push_person([id, name, email]: [Option<&str>; 3], person: &mut ObjectWriter<'_>) {
    let is_full_name = name.is_some_and(|name| name.trim().contains(' '));
    person.optional("id", id);
    person.optional(if is_full_name { "full_name" } else { "name" }, name);
    person.optional("email", email);
}

/// The user that the event is about: the target, a related object, or else who received or lost access.
fn target_user<'e>(event: &'e Event<'_>) -> Option<[Option<&'e str>; 3]> {
    let of_target = |user: &'e Target<'_>| [user.id.as_deref(), user.name.as_deref(), user.email.as_deref()];
    let grantees = event.grants.iter().map(|grant| &grant.grantee);
    let mut users = grantees.filter(|grantee| grantee.kind == GranteeType::User && grantee.is_identified());
    first_of_kind(event, ObjectType::User)
        .map(of_target)
        .or_else(|| users.next().map(|user| [user.id.as_deref(), user.name.as_deref(), user.email.as_deref()]))
}

/// The changed values that ECS has a field for, after the change.
fn push_changes(changes: &[Change<'_>], object: &mut ObjectWriter<'_>) {
    const FIELDS: &[(&str, &[&str])] = &[
        ("email", &["email", "e-mail", "email address", "email_address"]),
        ("full_name", &["full name", "full_name", "fullname", "display name", "display_name", "displayname"]),
        ("name", &["username", "user name", "user_name", "login"]),
    ];
    for (key, words) in FIELDS {
        let is_this = |change: &&Change<'_>| words.iter().any(|word| word.eq_ignore_ascii_case(&change.field));
        object.optional(key, changes.iter().find(is_this).and_then(|change| change.new.as_deref()));
    }
    let is_role = |change: &&Change<'_>| ["role", "roles"].iter().any(|word| word.eq_ignore_ascii_case(&change.field));
    object.strings("roles", changes.iter().filter(is_role).filter_map(|change| change.new.as_deref()));
}

/// All users and addresses of the event: one search finds a person in any role.
fn push_related(event: &Event<'_>, related: &mut ObjectWriter<'_>) {
    related.strings("ip", valid_ip(event));
    let actor = &event.actor;
    let effective = actor.on_behalf_of.as_ref();
    let [target_id, target_name, target_email] = target_user(event).unwrap_or_default();
    let names = [
        actor.id.as_deref(),
        actor.name.as_deref(),
        actor.email.as_deref(),
        effective.and_then(|person| person.id.as_deref()),
        effective.and_then(|person| person.name.as_deref()),
        effective.and_then(|person| person.email.as_deref()),
        target_id,
        target_name,
        target_email,
    ];
    let first_time = |(at, name): (usize, &Option<&'_ str>)| !names[..at].contains(name);
    let distinct = names.iter().enumerate().filter(|named| first_time(*named));
    related.strings("user", distinct.filter_map(|(_, name)| *name));
}

fn push_audit(event: &Event<'_>, audit: &mut ObjectWriter<'_>) {
    push_enums(event, audit);
    audit.string("source", event.source);
    audit.optional("vendor_event_id", event.vendor_event_id.as_deref());
    if let Some(target) = &event.target {
        audit.object("target", |object| push_target(target, object));
    }
    push_details(event, audit);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::samples;

    fn encoded(event: &Event<'_>, raw: RawForm) -> Value {
        let mut out = Vec::new();
        encode(event, raw, &mut out);
        assert!(!out.contains(&b'\n'));
        serde_json::from_slice(&out).expect("valid JSON")
    }

    #[test]
    fn what_was_redacted_is_named() {
        let event = Event { redacted: vec!["actor.email".to_owned()], ..samples::grant_to_user() };
        assert_eq!(encoded(&event, RawForm::Keep)["audit"]["redacted"], json!(["actor.email"]));
    }

    #[test]
    fn a_full_event_field_by_field() {
        let event = samples::grant_to_user();
        assert_eq!(
            encoded(&event, RawForm::Keep),
            json!({
                "@timestamp": "2025-11-24T16:00:00.100000Z",
                "ecs": {"version": "9.4.0"},
                "event": {
                    "kind": "event", "id": "abababababababababababababababab", "action": "Space permission added",
                    "outcome": "success", "category": ["iam"], "type": ["user", "change"], "module": "confluence",
                    "dataset": "confluence.audit", "created": "2025-11-24T16:01:02.004999Z",
                    "original": "{\"n\": 1.0}", "hash": raw_sha256("{\"n\": 1.0}"),
                },
                "message": "granted",
                "user": {
                    "id": "u1", "name": "Avery", "email": "a@example.com",
                    "effective": {"id": "u9", "email": "z@example.com"}, "target": {"id": "u2", "full_name": "Blake Sample", "email": "b@example.com"},
                    "changes": {"email": "b@example.com"},
                },
                "group": {"id": "g1"},
                "source": {"ip": "203.0.113.24", "address": "203.0.113.24"},
                "organization": {"id": "t1"},
                "related": {"ip": ["203.0.113.24"], "user": [
                    "u1", "Avery", "a@example.com", "u9", "z@example.com", "u2", "Blake Sample", "b@example.com",
                ]},
                "audit": {
                    "schema_version": "1.0", "version": 3, "action": "grant", "category": "iam",
                    "actor": {"type": "user", "via": "ui"},
                    "source": "acme", "vendor_event_id": "v7",
                    "target": {
                        "type": "user", "vendor_type": "user", "id": "u2", "name": "Blake Sample", "email": "b@example.com",
                    },
                    "grants": [{
                        "effect": "granted",
                        "grantee": {"type": "user", "id": "u2", "name": "Blake Sample", "email": "b@example.com"},
                        "privilege": "VIEWSPACE", "admin": false,
                        "scope": {"type": "space", "id": "FIN", "name": "Finance"},
                    }],
                    "related": [{"role": "associated", "type": "group", "vendor_type": "group", "id": "g1"}],
                    "changes": [{"field": "Permission", "new": "ADMIN"}, {"field": "Email", "new": "b@example.com"}],
                },
            })
        );
    }

    /// The fields of ECS that the encoding uses, with their types, from the published list of fields.
    const ECS_FIELDS: &str = include_str!("ecs_fields.csv");

    /// The paths of all values of an object that are not objects.
    fn leaves(value: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        for (name, value) in value.as_object().expect("an object") {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            match value {
                Value::Object(_) => leaves(value, &path, found),
                _ => found.push((path, value.clone())),
            }
        }
    }

    fn has_type(value: &Value, kind: &str) -> bool {
        let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
        items.iter().filter_map(Value::as_str).count() == items.len()
            && items.iter().filter_map(Value::as_str).all(|text| match kind {
                "date" => text.parse::<jiff::Timestamp>().is_ok(),
                "ip" => text.parse::<std::net::IpAddr>().is_ok(),
                _ => true,
            })
    }

    #[test]
    fn every_field_but_those_of_audit_is_published_by_ecs_and_used() {
        let known: std::collections::BTreeMap<&str, &str> =
            ECS_FIELDS.lines().skip(1).map(|line| line.split_once(',').expect("name,type")).collect();
        let mut full = samples::grant_to_user();
        for field in ["Full name", "username", "Role"] {
            full.changes.push(Change { field: field.into(), old: None, new: Some("x".into()) });
        }
        let person = |name: &str| Some(std::borrow::Cow::Owned(name.to_owned()));
        let mut other = full.clone();
        for (event, name) in [(&mut full, "avery"), (&mut other, "Avery Example")] {
            event.actor.name = person(name);
            event.target.as_mut().expect("a target").name = person(name);
            event.actor.on_behalf_of.as_mut().expect("impersonated").name = person(name);
            event.related[0].object.name = person("Finance");
        }
        let mut used = std::collections::BTreeSet::new();
        for event in samples::every_combination().iter().chain([&full, &other]) {
            let mut found = Vec::new();
            leaves(&encoded(event, RawForm::Keep), "", &mut found);
            for (path, value) in found.into_iter().filter(|(path, _)| !path.starts_with("audit.")) {
                let kind = known.get(path.as_str()).unwrap_or_else(|| panic!("`{path}` is not in ecs_fields.csv"));
                assert!(has_type(&value, kind), "{path}: {value} is not a {kind}");
                used.insert(path);
            }
        }
        assert_eq!(used.len(), known.len(), "the list has no other fields");
    }

    #[test]
    fn a_minimal_event_has_no_empty_fields() {
        assert_eq!(
            encoded(&samples::minimal(), RawForm::Drop),
            json!({
                "@timestamp": "2025-11-24T16:00:00.100000Z",
                "ecs": {"version": "9.4.0"},
                "event": {
                    "kind": "event", "id": "abababababababababababababababab", "outcome": "unknown", "type": ["info"],
                    "module": "confluence", "dataset": "confluence.audit", "created": "2025-11-24T16:01:02.004999Z",
                },
                "audit": {
                    "schema_version": "1.0", "action": "other", "category": "other",
                    "actor": {"type": "unknown", "via": "unknown"}, "source": "acme",
                },
            })
        );
    }

    #[test]
    fn an_invalid_ip_address_is_kept_as_address() {
        let mut event = samples::minimal();
        event.actor.ip = Some("gateway, 10.0.0.1".into());
        let encoded = encoded(&event, RawForm::Drop);
        assert_eq!(encoded["source"], json!({"address": "gateway, 10.0.0.1"}));
        assert_eq!(encoded["related"], Value::Null);
    }

    #[test]
    fn categories_types_and_outcomes_are_allowed_by_ecs() {
        for event in samples::every_combination() {
            let event = encoded(&event, RawForm::Drop)["event"].clone();
            assert_eq!(event["kind"], "event");
            let outcome = event.get("outcome").map(|outcome| outcome.as_str().expect("text"));
            assert!(outcome.is_none_or(|word| ["failure", "success", "unknown"].contains(&word)), "{event}");
            let categories = event.get("category").map_or(0, |list| list.as_array().expect("a list").len());
            assert!(categories <= 1, "the types below are of one category: {event}");
            let allowed: &[&str] = match event["category"][0].as_str() {
                Some("authentication") => &["start", "end", "info"],
                Some("iam") => &["admin", "change", "creation", "deletion", "group", "info", "user"],
                Some("configuration") => &["access", "change", "creation", "deletion", "info"],
                Some(other) => panic!("no category of ECS that fits: {other}"),
                None => &["info"],
            };
            let types = event["type"].as_array().expect("always there");
            assert!(types.iter().all(|word| allowed.contains(&word.as_str().expect("text"))), "{event}");
        }
    }

    #[test]
    fn a_partial_outcome_is_omitted() {
        let mut event = samples::minimal();
        event.outcome = Outcome::Partial;
        assert_eq!(encoded(&event, RawForm::Drop)["event"].get("outcome"), None);
    }
}
