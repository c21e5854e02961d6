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
use super::unmapped::{is_kind, is_named, push_details, push_enums, push_target, raw_sha256, valid_ip};
use super::{Action, Category, Event, Outcome, Target};

/// The ECS version of the encoding.
pub const ECS_VERSION: &str = "9.4.0";

/// Appends `event` as one JSON object, without a line break in it or after it.
///
/// ECS holds the vendor's record as a string (`event.original`): [`RawForm::Keep`] and [`RawForm::String`] write the same.
/// [`RawForm::Drop`] drops the record's hash too.
pub fn encode(event: &Event<'_>, raw: RawForm, out: &mut Vec<u8>) {
    out.reserve(event.raw.len() + 2_048);
    ObjectWriter::write(out, |object| {
        object.unescaped("@timestamp", event.timestamp);
        object.object("ecs", |ecs| ecs.unescaped("version", ECS_VERSION));
        object.optional("message", event.message.as_deref());
        object.object("event", |inner| push_event(event, raw, inner));
        object.object("user", |user| push_user(event, user));
        object.object("group", |group| push_id_and_name(first_of_kind(event, "group"), group));
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
    object.unescaped("created", event.observed_at.with_digits(3));
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
    match &event.target {
        Some(target) if is_kind(target, "user") => "user",
        Some(target) if is_kind(target, "group") => "group",
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
    push_person([&actor.id, &actor.name, &actor.email], user);
    user.object("effective", |effective| {
        if let Some(person) = &actor.on_behalf_of {
            push_person([&person.id, &person.name, &person.email], effective);
        }
    });
    user.object("target", |target| push_id_and_name(first_of_kind(event, "user"), target));
}

fn push_person([id, name, email]: [&Option<std::borrow::Cow<'_, str>>; 3], person: &mut ObjectWriter<'_>) {
    person.optional("id", id.as_deref());
    person.optional("name", name.as_deref());
    person.optional("email", email.as_deref());
}

fn push_id_and_name(target: Option<&Target<'_>>, object: &mut ObjectWriter<'_>) {
    let Some(target) = target else { return };
    object.optional("id", target.id.as_deref());
    object.optional("name", target.name.as_deref());
}

/// The first user or group of the event: the target, else a related object.
fn first_of_kind<'e, 'a>(event: &'e Event<'a>, kind: &str) -> Option<&'e Target<'a>> {
    let objects = event.target.iter().chain(event.related.iter().map(|related| &related.object));
    objects.into_iter().find(|object| is_kind(object, kind) && is_named(object))
}

/// All users and addresses of the event: one search finds a person in any role.
fn push_related(event: &Event<'_>, related: &mut ObjectWriter<'_>) {
    related.strings("ip", valid_ip(event));
    let actor = &event.actor;
    let effective = actor.on_behalf_of.as_ref();
    let target = first_of_kind(event, "user");
    let names = [
        actor.id.as_deref(),
        actor.name.as_deref(),
        effective.and_then(|person| person.id.as_deref()),
        effective.and_then(|person| person.name.as_deref()),
        target.and_then(|target| target.id.as_deref()),
        target.and_then(|target| target.name.as_deref()),
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
    fn a_full_event_field_by_field() {
        let event = samples::grant_to_user();
        assert_eq!(
            encoded(&event, RawForm::Keep),
            json!({
                "@timestamp": "2025-11-24T16:00:00.10Z",
                "ecs": {"version": "9.4.0"},
                "event": {
                    "kind": "event", "id": "abababababababababababababababab", "action": "Space permission added",
                    "outcome": "success", "category": ["iam"], "type": ["user", "change"], "module": "confluence",
                    "dataset": "confluence.audit", "created": "2025-11-24T16:01:02.004Z",
                    "original": "{\"n\": 1.0}", "hash": raw_sha256("{\"n\": 1.0}"),
                },
                "message": "granted",
                "user": {
                    "id": "u1", "name": "Avery", "email": "a@example.com",
                    "effective": {"id": "u9", "email": "z@example.com"}, "target": {"id": "u2", "name": "Blake"},
                },
                "group": {"id": "g1"},
                "source": {"ip": "203.0.113.24", "address": "203.0.113.24"},
                "organization": {"id": "t1"},
                "related": {"ip": ["203.0.113.24"], "user": ["u1", "Avery", "u9", "u2", "Blake"]},
                "audit": {
                    "schema_version": "1.0", "version": 3, "action": "grant", "category": "iam", "actor_type": "user",
                    "source": "acme", "vendor_event_id": "v7",
                    "target": {"type": "user", "id": "u2", "name": "Blake"},
                    "related": [{"role": "associated", "type": "group", "id": "g1"}],
                    "changes": [{"field": "Permission", "new": "ADMIN"}],
                },
            })
        );
    }

    #[test]
    fn a_minimal_event_has_no_empty_fields() {
        assert_eq!(
            encoded(&samples::minimal(), RawForm::Drop),
            json!({
                "@timestamp": "2025-11-24T16:00:00.10Z",
                "ecs": {"version": "9.4.0"},
                "event": {
                    "kind": "event", "id": "abababababababababababababababab", "outcome": "unknown", "type": ["info"],
                    "module": "confluence", "dataset": "confluence.audit", "created": "2025-11-24T16:01:02.004Z",
                },
                "audit": {
                    "schema_version": "1.0", "action": "other", "category": "other", "actor_type": "unknown",
                    "source": "acme",
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
    fn categories_and_types_are_allowed_by_ecs() {
        for event in samples::every_combination() {
            let event = encoded(&event, RawForm::Drop)["event"].clone();
            let allowed: &[&str] = match event["category"][0].as_str() {
                Some("authentication") => &["start", "end", "info"],
                Some("iam") => &["admin", "change", "creation", "deletion", "group", "info", "user"],
                Some("configuration") => &["access", "change", "creation", "deletion", "info"],
                _ => &["info"],
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
