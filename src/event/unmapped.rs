//! Fields that neither OCSF (`unmapped`) nor ECS (`audit`) has, in one form for both; and helpers that both encoders share.

use super::json::ObjectWriter;
use super::{Change, Event, Grant, ObjectType, Related, SCHEMA_VERSION, Target};

/// Writes the enumerations, and the event's version.
pub(super) fn push_enums(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.string("schema_version", SCHEMA_VERSION);
    if let Some(version) = event.version {
        object.number("version", version);
    }
    object.unescaped("action", event.action);
    object.unescaped("category", event.category);
    object.object("actor", |actor| {
        actor.unescaped("type", event.actor.kind);
        actor.unescaped("via", event.actor.via);
    });
}

/// Writes the grants, the related objects, the changed values, why the record could not be normalized, and what was redacted.
pub(super) fn push_details(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.objects("grants", &event.grants, push_grant);
    object.objects("related", &event.related, push_related);
    object.objects("changes", &event.changes, push_change);
    object.optional("normalize_error", event.normalize_error.as_deref());
    object.strings("redacted", event.redacted.iter().map(String::as_str));
}

/// Writes the known fields of an object.
pub(super) fn push_target(target: &Target<'_>, object: &mut ObjectWriter<'_>) {
    object.unescaped("type", target.kind);
    object.optional("vendor_type", target.vendor_type.as_deref());
    object.optional("id", target.id.as_deref());
    object.optional("name", target.name.as_deref());
    object.optional("email", target.email.as_deref());
}

fn push_grant(object: &mut ObjectWriter<'_>, grant: &Grant<'_>) {
    object.unescaped("effect", grant.effect);
    object.object("grantee", |grantee| {
        grantee.unescaped("type", grant.grantee.kind);
        grantee.optional("id", grant.grantee.id.as_deref());
        grantee.optional("name", grant.grantee.name.as_deref());
        grantee.optional("email", grant.grantee.email.as_deref());
    });
    object.optional("privilege", grant.privilege.as_deref());
    if let Some(admin) = grant.admin {
        object.boolean("admin", admin);
    }
    if let Some(scope) = &grant.scope {
        object.object("scope", |object| {
            object.unescaped("type", scope.kind);
            object.optional("id", scope.id.as_deref());
            object.optional("name", scope.name.as_deref());
        });
    }
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

/// The first object of this type that is identified: the target, else a related one.
pub(super) fn first_of_kind<'e, 'a>(event: &'e Event<'a>, kind: ObjectType) -> Option<&'e Target<'a>> {
    let objects = event.target.iter().chain(event.related.iter().map(|related| &related.object));
    objects.into_iter().find(|object| object.kind == kind && object.is_identified())
}
