//! Fields that neither OCSF (`unmapped`) nor ECS (`audit`) has, in one form for both; and helpers that both encoders share.

use super::json::ObjectWriter;
use super::{Change, Event, Related, SCHEMA_VERSION, Target};

/// Writes the enumerations, and the event's version.
pub(super) fn push_enums(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.string("schema_version", SCHEMA_VERSION);
    if let Some(version) = event.version {
        object.number("version", version);
    }
    object.unescaped("action", event.action);
    object.unescaped("category", event.category);
    object.unescaped("actor_type", event.actor.kind);
}

/// Writes the related objects, the changed values, and why the record could not be normalized.
pub(super) fn push_details(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.objects("related", &event.related, push_related);
    object.objects("changes", &event.changes, push_change);
    object.optional("normalize_error", event.normalize_error.as_deref());
}

/// Writes the known fields of an object.
pub(super) fn push_target(target: &Target<'_>, object: &mut ObjectWriter<'_>) {
    object.optional("type", target.kind.as_deref());
    object.optional("id", target.id.as_deref());
    object.optional("name", target.name.as_deref());
}

fn push_related(object: &mut ObjectWriter<'_>, related: &Related<'_>) {
    object.unescaped("role", related.role);
    push_target(&related.object, object);
}

fn push_change(object: &mut ObjectWriter<'_>, change: &Change<'_>) {
    object.string("field", &change.field);
    object.optional("old", change.old.as_deref());
    object.optional("new", change.new.as_deref());
}

/// The actor's IP address, if it is valid.
pub(super) fn valid_ip<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    event.actor.ip.as_deref().filter(|text| text.parse::<std::net::IpAddr>().is_ok())
}

/// SHA-256 of the vendor's record, as lower-case hex.
pub(super) fn raw_sha256(raw: &str) -> String {
    use sha2::{Digest, Sha256};
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(raw) {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}

/// Whether the vendor's type of the object is `kind` (`user`, `group`).
pub(super) fn is_kind(target: &Target<'_>, kind: &str) -> bool {
    target.kind.as_deref().is_some_and(|value| value.eq_ignore_ascii_case(kind))
}

/// Whether the object has an id or a name.
pub(super) fn is_named(target: &Target<'_>) -> bool {
    let known = |text: Option<&str>| text.is_some_and(|text| !text.is_empty());
    known(target.id.as_deref()) || known(target.name.as_deref())
}
