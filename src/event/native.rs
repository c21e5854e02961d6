//! The native encoding: the envelope as one line of JSON, `raw` copied byte for byte.
//!
//! ```text
//! Event<'a> --encode--> {"schema_version":"1.0","id":...,"actor":{...},...,"raw":<the vendor's bytes>}
//! ```
//!
//! The fields are written in the order of [`FIELDS`], so that equal events are equal bytes.

use std::io::Write;

use super::fields::{FIELDS, Field, Item, ItemField, ItemKind, Kind, List};
use super::json::{is_too_deep, push_in_one_line, push_string};
use super::{Event, EventId};

/// How the vendor's record is written into its event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RawForm {
    /// As JSON inside the event, byte for byte.
    #[default]
    Keep,
    /// As a JSON string, for stores that need a fixed type.
    String,
    /// Not at all.
    Drop,
}

/// Appends `event` as one JSON object, without a line break in it or after it.
///
/// With [`RawForm::Keep`] the record's bytes are copied unchanged. Two exceptions keep the output valid with one event per
/// line: white space between the tokens of a record with line breaks is removed, and a record that is not valid JSON, or
/// nested more than 256 levels deep, is written as a JSON string. Records without `normalize_error` have been parsed as JSON by their normalizer, so only the
/// others are checked.
pub fn encode(event: &Event<'_>, raw: RawForm, out: &mut Vec<u8>) {
    out.reserve(event.raw.len() + 1_024);
    push_object(FIELDS, event, raw, out);
}

/// Replaces the id in a line that [`encode`] has written: its length is always the same.
pub fn replace_id(line: &mut [u8], id: EventId) {
    const BEFORE: &[u8] = br#","id":""#;
    let Some(key) = memchr::memmem::find(line, BEFORE) else { return };
    let start = key + BEFORE.len();
    if let Some(hex) = line.get_mut(start..start + 32) {
        hex.copy_from_slice(&id.hex());
    }
}

/// The first field of every object is never omitted: the opening brace replaces its comma.
fn push_object(fields: &[Field], event: &Event<'_>, raw: RawForm, out: &mut Vec<u8>) {
    let start = out.len();
    for field in fields {
        push_field(field, event, raw, out);
    }
    out[start] = b'{';
    out.push(b'}');
}

fn push_field(field: &Field, event: &Event<'_>, raw: RawForm, out: &mut Vec<u8>) {
    let is_omitted = match field.kind {
        Kind::Text(read)
        | Kind::OptionalText(read)
        | Kind::Vendor(read)
        | Kind::Enum(read, _)
        | Kind::OptionalEnum(read, _) => return push_text(field.key, field.null, read(event), out),
        Kind::OptionalObject(is_present, _) if !is_present(event) => {
            return out.extend_from_slice(field.null.as_bytes());
        }
        Kind::OptionalNumber(read) => read(event).is_none(),
        Kind::OmittedText(read) => read(event).is_none(),
        Kind::OmittedTexts(read) => read(event).is_empty(),
        Kind::Raw(_) => raw == RawForm::Drop,
        _ => false,
    };
    if is_omitted {
        return;
    }
    out.extend_from_slice(field.key.as_bytes());
    match field.kind {
        Kind::Text(read)
        | Kind::OptionalText(read)
        | Kind::Vendor(read)
        | Kind::Enum(read, _)
        | Kind::OptionalEnum(read, _)
        | Kind::OmittedText(read) => push_string(out, read(event).unwrap_or_default()),
        Kind::Id(read) => push_quoted(&read(event).hex(), out),
        Kind::OptionalNumber(read) => {
            write!(out, "{}", read(event).unwrap_or_default()).expect("writing to memory cannot fail");
        }
        Kind::Time(read) => push_quoted(read(event).formatted().as_bytes(), out),
        Kind::Object(fields) | Kind::OptionalObject(_, fields) => push_object(fields, event, raw, out),
        Kind::List(list) => push_list(list, event, out),
        Kind::OmittedTexts(read) => push_strings(read(event), out),
        Kind::Raw(_) => push_raw(event, raw, out),
    }
}

/// Appends a string with its key; without one `null`, in one piece.
fn push_text(key: &str, null: &str, text: Option<&str>, out: &mut Vec<u8>) {
    let Some(text) = text else { return out.extend_from_slice(null.as_bytes()) };
    out.extend_from_slice(key.as_bytes());
    push_string(out, text);
}

/// Appends bytes that need no escaping as a JSON string.
fn push_quoted(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(bytes);
    out.push(b'"');
}

fn push_strings(texts: &[String], out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_string(out, text);
    }
    out.push(b']');
}

fn push_list(list: List, event: &Event<'_>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, item) in list.items(event).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push_item(list.fields(), item, out);
    }
    out.push(b']');
}

fn push_item(fields: &[ItemField], item: Item<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    for field in fields {
        match field.kind {
            ItemKind::Text(read) | ItemKind::OptionalText(read) | ItemKind::Enum(read, _) => {
                push_text(field.key, field.null, read(item), out);
            }
            ItemKind::OptionalFlag(read) => {
                out.extend_from_slice(field.key.as_bytes());
                out.extend_from_slice(read(item).unwrap_or("null").as_bytes());
            }
            ItemKind::OptionalObject(is_present, _) if !is_present(item) => {
                out.extend_from_slice(field.null.as_bytes());
            }
            ItemKind::Object(fields) | ItemKind::OptionalObject(_, fields) => {
                out.extend_from_slice(field.key.as_bytes());
                push_item(fields, item, out);
            }
        }
    }
    out[start] = b'{';
    out.push(b'}');
}

fn push_raw(event: &Event<'_>, form: RawForm, out: &mut Vec<u8>) {
    match form {
        RawForm::String => push_string(out, event.raw),
        RawForm::Keep | RawForm::Drop => push_record(event, out),
    }
}

/// Appends the vendor's record, byte for byte unless it has line breaks. A record that is not JSON, or so deep that readers
/// refuse it, becomes a JSON string.
pub fn push_record(event: &Event<'_>, out: &mut Vec<u8>) {
    let may_be_invalid = event.normalize_error.is_some();
    if is_too_deep(event.raw) || (may_be_invalid && !is_json(event.raw)) {
        return push_string(out, event.raw);
    }
    push_in_one_line(out, event.raw);
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::event::{
        Action, Actor, ActorType, Category, Change, EventId, Grant, Grantee, ObjectType, OnBehalfOf, Related, Role,
        Target,
    };
    use crate::time::Timestamp;

    fn text(value: &str) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(value))
    }

    fn event(raw: &str) -> Event<'_> {
        let observed_at = Timestamp::from_nanos(1_764_000_062_004_999_999);
        Event {
            event_type: Cow::Borrowed("Space \"permission\" added"),
            action: Action::Grant,
            category: Category::Iam,
            timestamp: Timestamp::parse_rfc3339("2025-11-24T16:00:00.10Z").expect("a time"),
            actor: Actor { kind: ActorType::User, id: text("u1"), ..Actor::default() },
            ..Event::new(EventId([0xab; 16]), "confluence", "acme", observed_at, raw)
        }
    }

    fn encoded(event: &Event<'_>, raw: RawForm) -> String {
        let mut out = Vec::new();
        encode(event, raw, &mut out);
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_minimal_event_in_the_documented_order() {
        assert_eq!(
            encoded(&event(r#"{"n": 1.0}"#), RawForm::Keep),
            concat!(
                r#"{"schema_version":"1.0","id":"abababababababababababababababab","vendor":"confluence","source":"acme","#,
                r#""tenant":null,"vendor_event_id":null,"event_type":"Space \"permission\" added","action":"grant","#,
                r#""category":"iam","outcome":"unknown","message":null,"timestamp":"2025-11-24T16:00:00.100000Z","#,
                r#""observed_at":"2025-11-24T16:01:02.004999Z","actor":{"type":"user","id":"u1","name":null,"email":null,"#,
                r#""ip":null,"via":"unknown","on_behalf_of":null},"target":null,"grants":[],"related":[],"changes":[],"raw":{"n": 1.0}}"#,
            )
        );
    }

    #[test]
    fn an_id_is_replaced_in_its_line() {
        let mut found = event(r#"{"id":"x"}"#);
        let mut line = encoded(&found, RawForm::Keep).into_bytes();
        replace_id(&mut line, EventId([0xcd; 16]));
        found.id = EventId([0xcd; 16]);
        assert_eq!(String::from_utf8(line).expect("text"), encoded(&found, RawForm::Keep));
    }

    #[test]
    fn every_field_filled() {
        let mut full = event("{}");
        full.version = Some(7);
        full.actor.on_behalf_of = Some(OnBehalfOf { id: text("u2"), name: None, email: text("b@example.com") });
        let kind = ObjectType::Space;
        let finance = Target { kind, vendor_type: text("Space"), name: text("Finance"), ..Target::default() };
        full.target = Some(finance.clone());
        full.grants = vec![
            Grant::granted(Grantee { name: text("Ada"), ..Grantee::default() })
                .privilege(text("VIEWSPACE"), &["ADMIN"])
                .scope(kind, None, text("Finance")),
            Grant::revoked(Grantee::default()),
        ];
        full.related = vec![
            Related { role: Role::Parent, object: finance },
            Related { role: Role::Associated, object: Target::default() },
        ];
        full.changes = vec![Change { field: Cow::Borrowed("Space"), old: None, new: text("FIN") }];
        full.normalize_error = Some("odd".into());
        full.redacted = vec!["actor.email".to_owned(), "/raw/user_email".to_owned()];
        let line = encoded(&full, RawForm::Drop);
        for part in [
            r#","version":7,"vendor""#,
            r#""on_behalf_of":{"id":"u2","name":null,"email":"b@example.com"}},"#,
            r#""target":{"type":"space","vendor_type":"Space","id":null,"name":"Finance","email":null},"#,
            r#""grants":[{"effect":"granted","grantee":{"type":"unknown","id":null,"name":"Ada","email":null},"privilege":"VIEWSPACE","admin":false,"scope":{"type":"space","id":null,"name":"Finance"}},"#,
            r#"{"effect":"revoked","grantee":{"type":"unknown","id":null,"name":null,"email":null},"privilege":null,"admin":null,"scope":null}],"#,
            r#"[{"role":"parent","type":"space","vendor_type":"Space","id":null,"name":"Finance","email":null},{"role":"associated","type":"other","vendor_type":null,"id":null,"name":null,"email":null}]"#,
            r#""changes":[{"field":"Space","old":null,"new":"FIN"}],"normalize_error":"odd","redacted":["actor.email","/raw/user_email"]}"#,
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
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(encoded(&event(&nested(256)), RawForm::Keep).ends_with(&format!(",\"raw\":{}}}", nested(256))));
        assert!(encoded(&event(&nested(257)), RawForm::Keep).ends_with(&format!(",\"raw\":\"{}\"}}", nested(257))));
        let flat = format!("{{\"a\":\"{}\"}}", "[{".repeat(500));
        assert!(encoded(&event(&flat), RawForm::Keep).ends_with(&format!(",\"raw\":{flat}}}")), "brackets in texts");
    }
}
