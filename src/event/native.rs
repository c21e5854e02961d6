//! The native form: the envelope as one line of JSON, `raw` copied byte for byte.
//!
//! ```text
//! Event<'a> --encode--> {"schema_version":"1.0","id":...,"actor":{...},...,"raw":<the vendor's own bytes>}
//! ```
//!
//! The fields always stand in the order of `docs/event-schema.md`, so that equal events are equal bytes.

use std::io::Write;

use super::json::{push_in_one_line, push_optional_string, push_string};
use super::{Actor, Change, Event, OnBehalfOf, Related, SCHEMA_VERSION, Target};
use crate::time::EventTime;

/// In which form the vendor's record goes along with its event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawForm {
    /// As JSON inside the event, byte for byte.
    #[default]
    Keep,
    /// As a JSON string that holds the record's bytes, for stores that cannot take a field of any shape.
    String,
    /// Not at all.
    Drop,
}

/// Appends `event` as one JSON object, without a line break in it or after it.
///
/// With [`RawForm::Keep`] the record's bytes are copied as they are. Two exceptions keep the output valid, one event a
/// line: the white space between the tokens of a record that was pretty-printed over several lines is left out, and a
/// record that is no valid JSON is written as a JSON string. Records of events without `normalize_error` have been read
/// as JSON by their vendor's file, so only the others are checked for it.
pub fn encode(event: &Event<'_>, raw: RawForm, out: &mut Vec<u8>) {
    out.reserve(event.raw.len() + 1_024);
    push_head(event, out);
    push_actor(&event.actor, out);
    push_objects(event, out);
    push_changes(&event.changes, out);
    if let Some(reason) = &event.normalize_error {
        push_text(",\"normalize_error\":", reason, out);
    }
    push_raw(event, raw, out);
    out.push(b'}');
}

fn push_head(event: &Event<'_>, out: &mut Vec<u8>) {
    push_text("{\"schema_version\":", SCHEMA_VERSION, out);
    out.extend_from_slice(b",\"id\":\"");
    out.extend_from_slice(&event.id.hex());
    out.push(b'"');
    if let Some(version) = event.version {
        push_displayed(out, format_args!(",\"version\":{version}"));
    }
    push_text(",\"vendor\":", event.vendor, out);
    push_text(",\"source\":", event.source, out);
    push_optional(",\"tenant\":", event.tenant.as_deref(), out);
    push_optional(",\"vendor_event_id\":", event.vendor_event_id.as_deref(), out);
    push_text(",\"event_type\":", &event.event_type, out);
    push_word(",\"action\":", event.action.as_str(), out);
    push_word(",\"category\":", event.category.as_str(), out);
    push_word(",\"outcome\":", event.outcome.as_str(), out);
    push_optional(",\"message\":", event.message.as_deref(), out);
    push_time(",\"timestamp\":", event.timestamp, out);
    push_time(",\"observed_at\":", event.observed_at.with_digits(3), out);
}

fn push_actor(actor: &Actor<'_>, out: &mut Vec<u8>) {
    push_word(",\"actor\":{\"type\":", actor.kind.as_str(), out);
    push_optional(",\"id\":", actor.id.as_deref(), out);
    push_optional(",\"name\":", actor.name.as_deref(), out);
    push_optional(",\"email\":", actor.email.as_deref(), out);
    push_optional(",\"ip\":", actor.ip.as_deref(), out);
    out.extend_from_slice(b",\"on_behalf_of\":");
    match &actor.on_behalf_of {
        Some(user) => push_effective_user(user, out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

fn push_effective_user(user: &OnBehalfOf<'_>, out: &mut Vec<u8>) {
    push_optional("{\"id\":", user.id.as_deref(), out);
    push_optional(",\"name\":", user.name.as_deref(), out);
    push_optional(",\"email\":", user.email.as_deref(), out);
    out.push(b'}');
}

fn push_objects(event: &Event<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"target\":");
    match &event.target {
        Some(target) => {
            out.push(b'{');
            push_object(target, out);
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"related\":");
    push_list(&event.related, out, push_related);
}

fn push_related(related: &Related<'_>, out: &mut Vec<u8>) {
    push_word("{\"role\":", related.role.as_str(), out);
    out.push(b',');
    push_object(&related.object, out);
}

/// The fields of an object and its closing brace.
fn push_object(object: &Target<'_>, out: &mut Vec<u8>) {
    push_optional("\"type\":", object.kind.as_deref(), out);
    push_optional(",\"id\":", object.id.as_deref(), out);
    push_optional(",\"name\":", object.name.as_deref(), out);
    out.push(b'}');
}

fn push_changes(changes: &[Change<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"changes\":");
    push_list(changes, out, |change, out| {
        push_text("{\"field\":", &change.field, out);
        push_optional(",\"old\":", change.old.as_deref(), out);
        push_optional(",\"new\":", change.new.as_deref(), out);
        out.push(b'}');
    });
}

fn push_raw(event: &Event<'_>, form: RawForm, out: &mut Vec<u8>) {
    match form {
        RawForm::Drop => {}
        RawForm::String => push_text(",\"raw\":", event.raw, out),
        RawForm::Keep if event.normalize_error.is_some() && !is_json(event.raw) => {
            push_text(",\"raw\":", event.raw, out);
        }
        RawForm::Keep => {
            out.extend_from_slice(b",\"raw\":");
            push_in_one_line(out, event.raw);
        }
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn push_list<T>(items: &[T], out: &mut Vec<u8>, push: impl Fn(&T, &mut Vec<u8>)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(item, out);
    }
    out.push(b']');
}

fn push_text(key: &str, text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    push_string(out, text);
}

fn push_optional(key: &str, text: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    push_optional_string(out, text);
}

/// A word of a closed list: nothing in it needs escaping.
fn push_word(key: &str, word: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

fn push_time(key: &str, time: EventTime, out: &mut Vec<u8>) {
    out.extend_from_slice(key.as_bytes());
    out.push(b'"');
    out.extend_from_slice(time.plain().as_bytes());
    out.push(b'"');
}

fn push_displayed(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a buffer in memory takes every byte");
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::event::{Action, ActorType, Category, EventId, Outcome, Role};
    use crate::time::Timestamp;

    fn text(word: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(word))
    }

    fn event(raw: &str) -> Event<'_> {
        Event {
            id: EventId([0xab; 16]),
            version: None,
            vendor: "confluence",
            source: "acme",
            tenant: None,
            vendor_event_id: None,
            event_type: Cow::Borrowed("Space \"permission\" added"),
            action: Action::Grant,
            category: Category::Iam,
            outcome: Outcome::Unknown,
            message: None,
            timestamp: EventTime::parse_rfc3339("2025-11-24T16:00:00.10Z").expect("a time"),
            observed_at: Timestamp::from_nanos(1_764_000_062_004_999_999),
            actor: Actor { kind: ActorType::User, id: text("u1"), ..Actor::default() },
            target: None,
            related: Vec::new(),
            changes: Vec::new(),
            normalize_error: None,
            raw,
        }
    }

    fn encoded(event: &Event<'_>, raw: RawForm) -> String {
        let mut out = Vec::new();
        encode(event, raw, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_bare_event_in_the_published_order() {
        assert_eq!(
            encoded(&event(r#"{"n": 1.0}"#), RawForm::Keep),
            concat!(
                r#"{"schema_version":"1.0","id":"abababababababababababababababab","vendor":"confluence","source":"acme","#,
                r#""tenant":null,"vendor_event_id":null,"event_type":"Space \"permission\" added","action":"grant","#,
                r#""category":"iam","outcome":"unknown","message":null,"timestamp":"2025-11-24T16:00:00.10Z","#,
                r#""observed_at":"2025-11-24T16:01:02.004Z","actor":{"type":"user","id":"u1","name":null,"email":null,"#,
                r#""ip":null,"on_behalf_of":null},"target":null,"related":[],"changes":[],"raw":{"n": 1.0}}"#,
            )
        );
    }

    #[test]
    fn every_field_filled() {
        let mut full = event("{}");
        full.version = Some(7);
        full.actor.on_behalf_of = Some(OnBehalfOf { id: text("u2"), name: None, email: text("b@example.com") });
        let finance = Target { kind: text("space"), id: None, name: text("Finance") };
        full.target = Some(finance.clone());
        full.related = vec![
            Related { role: Role::Parent, object: finance },
            Related { role: Role::Associated, object: Target::default() },
        ];
        full.changes = vec![Change { field: Cow::Borrowed("Space"), old: None, new: text("FIN") }];
        full.normalize_error = Some("odd".into());
        let line = encoded(&full, RawForm::Drop);
        for part in [
            r#","version":7,"vendor""#,
            r#""on_behalf_of":{"id":"u2","name":null,"email":"b@example.com"}},"#,
            r#""target":{"type":"space","id":null,"name":"Finance"},"#,
            r#"[{"role":"parent","type":"space","id":null,"name":"Finance"},{"role":"associated","type":null,"id":null,"name":null}]"#,
            r#""changes":[{"field":"Space","old":null,"new":"FIN"}],"normalize_error":"odd"}"#,
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        serde_json::from_str::<serde::de::IgnoredAny>(&line).expect("valid JSON");
    }

    #[test]
    fn raw_in_its_three_forms() {
        let event = event("{\"a\": \"x\"}");
        assert!(encoded(&event, RawForm::Keep).ends_with(r#","raw":{"a": "x"}}"#));
        assert!(encoded(&event, RawForm::String).ends_with(r#","raw":"{\"a\": \"x\"}"}"#));
        assert!(encoded(&event, RawForm::Drop).ends_with(r#""changes":[]}"#));
    }

    #[test]
    fn raw_never_breaks_the_line_or_the_json() {
        assert!(encoded(&event("{\n  \"a\": \"x  y\"\r\n}"), RawForm::Keep).ends_with(r#","raw":{"a":"x  y"}}"#));
        let mut broken = event("{\"a\": \n");
        broken.normalize_error = Some("cut off".into());
        assert!(encoded(&broken, RawForm::Keep).ends_with(r#","raw":"{\"a\": \n"}"#));
    }
}
