//! The OCSF encoding (Open Cybersecurity Schema Framework): one line of JSON, for security lakes.
//!
//! ```text
//! Event<'a> --class_of--> class + activity --encode--> {"class_uid":6003,...,"unmapped":{...}}
//!             from category, action and target.type, never from the IP address
//! ```
//!
//! Only attributes with a value are written; times are integers in milliseconds; the vendor's record is always a string
//! (`raw_data`). `tests/ocsf` checks every attribute, enumeration and type against the compiled schema of each version.

mod class;
pub mod columns;
mod named;

use class::{Class, OTHER_ACTIVITY, class_of, privileges};
use named::{Named, is_email_address};

use super::json::ObjectWriter;
use super::native::RawForm;
use super::unmapped::{push_details, push_enums, push_target, raw_sha256, valid_ip};
use super::{Actor, ActorType, Event, GrantEffect, Outcome};

/// The OCSF version in `metadata.version`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub enum OcsfVersion {
    /// 1.3.0, the newest that Amazon Security Lake accepts. What it lacks goes to `unmapped`.
    #[serde(rename = "1.3.0")]
    V1_3,
    /// 1.7.0
    #[serde(rename = "1.7.0")]
    V1_7,
    /// 1.8.0
    #[default]
    #[serde(rename = "1.8.0")]
    V1_8,
}

impl OcsfVersion {
    /// All versions.
    pub const ALL: &'static [Self] = &[Self::V1_3, Self::V1_7, Self::V1_8];

    /// As in `metadata.version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_3 => "1.3.0",
            Self::V1_7 => "1.7.0",
            Self::V1_8 => "1.8.0",
        }
    }
}

/// The longest string of 1.3.0, in characters. Later versions have no limit.
const LONGEST_STRING_OF_1_3: usize = 65_535;

/// Appends `event` as one JSON object, without a line break in it or after it.
///
/// OCSF holds the vendor's record as a string: [`RawForm::Keep`] and [`RawForm::String`] write the same. [`RawForm::Drop`]
/// drops the record's size and hash too.
pub fn encode(event: &Event<'_>, version: OcsfVersion, raw: RawForm, out: &mut Vec<u8>) {
    out.reserve(event.raw.len() + 2_048);
    let class = class_in(version, event);
    ObjectWriter::write(out, |object| {
        push_class(event, &class, object);
        push_base(event, object);
        object.object("metadata", |metadata| push_metadata(event, &class, version, metadata));
        object.object("actor", |actor| push_actor(event, version, actor));
        push_source(event, &class, object);
        push_class_fields(event, &class, version, object);
        push_observables(event, version, object);
        if raw != RawForm::Drop && fits(event.raw, version) {
            push_raw(event.raw, version, object);
        }
        object.object("unmapped", |unmapped| {
            push_unmapped(event, &class, version, unmapped);
            if raw != RawForm::Drop && !fits(event.raw, version) {
                unmapped.string("raw_data", event.raw);
            }
        });
    });
}

/// The class of an event. In 1.3.0 a change of a group requires a user or privileges.
fn class_in<'e>(version: OcsfVersion, event: &'e Event<'_>) -> Class<'e> {
    match class_of(event) {
        Class::GroupManagement { member: None, .. }
            if version == OcsfVersion::V1_3 && privileges(event, None).next().is_none() =>
        {
            Class::ApiActivity
        }
        class => class,
    }
}

fn fits(raw: &str, version: OcsfVersion) -> bool {
    version != OcsfVersion::V1_3 || raw.chars().count() <= LONGEST_STRING_OF_1_3
}

/// The vendor's word for what happened.
fn vendors_word<'e>(event: &'e Event<'_>) -> &'e str {
    if event.event_type.is_empty() { event.action.as_str() } else { &event.event_type }
}

/// The product's name for people.
fn product_name(event: &Event<'_>) -> &'static str {
    event.product.map_or(event.vendor, |product| product.name)
}

fn push_class(event: &Event<'_>, class: &Class<'_>, object: &mut ObjectWriter<'_>) {
    object.number("category_uid", class.uid() / 1_000);
    object.number("class_uid", class.uid());
    object.number("activity_id", class.activity(event.action));
    if class.activity(event.action) == OTHER_ACTIVITY {
        object.string("activity_name", vendors_word(event));
    }
    object.number("type_uid", class.uid() * 100 + class.activity(event.action));
}

fn push_base(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.number("severity_id", severity(event));
    object.number("time", event.timestamp.as_millis());
    let (id, caption) = match event.outcome {
        Outcome::Unknown => (0, "Unknown"),
        Outcome::Success => (1, "Success"),
        Outcome::Failure => (2, "Failure"),
        // There is no caption for it: a word of the source's own.
        Outcome::Partial => (99, "Partial"),
    };
    object.number("status_id", id);
    object.unescaped("status", caption);
    object.optional("message", event.message.as_deref());
}

/// Administrative access that is granted, even if that failed, needs more attention than other failures.
fn severity(event: &Event<'_>) -> u8 {
    const INFORMATIONAL: u8 = 1;
    const LOW: u8 = 2;
    const MEDIUM: u8 = 3;
    if event.grants.iter().any(|grant| grant.effect == GrantEffect::Granted && grant.admin == Some(true)) {
        return MEDIUM;
    }
    match event.outcome {
        Outcome::Failure | Outcome::Partial => LOW,
        Outcome::Success | Outcome::Unknown => INFORMATIONAL,
    }
}

fn push_metadata(event: &Event<'_>, class: &Class<'_>, version: OcsfVersion, metadata: &mut ObjectWriter<'_>) {
    metadata.unescaped("version", version.as_str());
    // In 1.3.0 these classes have `actor` from the host profile only.
    if version == OcsfVersion::V1_3 && matches!(class, Class::GroupManagement { .. } | Class::UserAccess { .. }) {
        metadata.strings("profiles", ["host"]);
    }
    metadata.object("product", |product| {
        product.string("name", product_name(event));
        product.string("vendor_name", event.product.map_or(event.vendor, |product| product.vendor_name));
    });
    metadata.unescaped("uid", event.id);
    if version != OcsfVersion::V1_3 {
        metadata.optional("original_event_uid", event.vendor_event_id.as_deref());
    }
    metadata.string("event_code", &event.event_type);
    metadata.string("log_name", event.source);
    metadata.optional("tenant_uid", event.tenant.as_deref());
    metadata.optional("original_time", event.original_time.as_deref());
    metadata.number("logged_time", event.observed_at.as_millis());
}

fn push_actor(event: &Event<'_>, version: OcsfVersion, actor: &mut ObjectWriter<'_>) {
    if !Named::from(&event.actor).is_identified() {
        return actor.string("app_name", product_name(event));
    }
    actor.object("user", |user| push_acting_user(&event.actor, version, user));
}

fn push_acting_user(actor: &Actor<'_>, version: OcsfVersion, user: &mut ObjectWriter<'_>) {
    Named::from(actor).push_user(user);
    let id = match actor.kind {
        ActorType::User => 1,
        ActorType::Admin => 2,
        ActorType::System => 3,
        ActorType::ApiKey | ActorType::Service if version == OcsfVersion::V1_3 => {
            user.unescaped("type", actor.kind);
            99
        }
        ActorType::ApiKey | ActorType::Service => 4,
        ActorType::Anonymous | ActorType::Unknown => 0,
    };
    user.number("type_id", id);
}

/// API activity requires a source endpoint; without an IP address it is the vendor's service.
fn push_source(event: &Event<'_>, class: &Class<'_>, object: &mut ObjectWriter<'_>) {
    object.object("src_endpoint", |endpoint| match valid_ip(event) {
        Some(ip) => endpoint.string("ip", ip),
        None if matches!(class, Class::ApiActivity) => endpoint.string("svc_name", product_name(event)),
        None => {}
    });
}

fn push_class_fields(event: &Event<'_>, class: &Class<'_>, version: OcsfVersion, object: &mut ObjectWriter<'_>) {
    match class {
        Class::Authentication => {
            object.object("user", |user| push_acting_user(&event.actor, version, user));
            object.object("service", |service| service.string("name", product_name(event)));
        }
        Class::GroupManagement { group, member } => {
            object.object("group", |inner| group.push_uid_and_name(inner));
            object.object("user", |user| member.iter().for_each(|member| member.push_user(user)));
            object.strings("privileges", privileges(event, None));
        }
        Class::UserAccess { user, grantee } => {
            object.object("user", |inner| user.push_user(inner));
            object.strings("privileges", privileges(event, Some(grantee)));
        }
        Class::AccountChange { user } => object.object("user", |inner| user.push_user(inner)),
        Class::ApiActivity => push_api(event, object),
    }
}

fn push_api(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.object("api", |api| {
        api.string("operation", vendors_word(event));
        api.object("service", |service| service.string("name", product_name(event)));
    });
    let objects = event.target.iter().chain(event.related.iter().map(|related| &related.object));
    let identified = objects.map(|object| (object, Named::from(object))).filter(|(_, named)| named.is_identified());
    object.objects("resources", identified, |resource, (object, named)| {
        named.push_uid_and_name(resource);
        resource.string("type", object.vendor_type.as_deref().unwrap_or(object.kind.as_str()));
    });
}

/// What analysts search for, if it has the form.
fn push_observables(event: &Event<'_>, version: OcsfVersion, object: &mut ObjectWriter<'_>) {
    const IP_ADDRESS: u8 = 2;
    const EMAIL_ADDRESS: u8 = 5;
    const USER_UID: u8 = 31;
    let seen = [
        ("src_endpoint.ip", IP_ADDRESS, valid_ip(event)),
        ("actor.user.email_addr", EMAIL_ADDRESS, event.actor.email.as_deref().filter(|email| is_email_address(email))),
        ("actor.user.uid", USER_UID, event.actor.id.as_deref().filter(|_| version != OcsfVersion::V1_3)),
    ];
    let known = seen.into_iter().filter_map(|(name, kind, value)| Some((name, kind, value?)));
    object.objects("observables", known.filter(|(.., value)| !value.is_empty()), |observable, (name, kind, value)| {
        observable.unescaped("name", name);
        observable.number("type_id", kind);
        observable.string("value", value);
    });
}

fn push_raw(raw: &str, version: OcsfVersion, object: &mut ObjectWriter<'_>) {
    object.string("raw_data", raw);
    if version == OcsfVersion::V1_3 {
        return;
    }
    object.number("raw_data_size", raw.len() as u64);
    object.object("raw_data_hash", |hash| {
        hash.unescaped("algorithm", "SHA-256");
        hash.number("algorithm_id", 3);
        hash.unescaped("value", raw_sha256(raw));
    });
}

fn push_unmapped(event: &Event<'_>, class: &Class<'_>, version: OcsfVersion, unmapped: &mut ObjectWriter<'_>) {
    push_enums(event, unmapped);
    if valid_ip(event).is_none() {
        unmapped.optional("actor_ip", event.actor.ip.as_deref());
    }
    unmapped.optional("actor_email", event.actor.email.as_deref().filter(|email| !is_email_address(email)));
    if version == OcsfVersion::V1_3 {
        unmapped.optional("vendor_event_id", event.vendor_event_id.as_deref());
    }
    unmapped.object("on_behalf_of", |user| {
        let Some(effective) = &event.actor.on_behalf_of else { return };
        user.optional("id", effective.id.as_deref());
        user.optional("name", effective.name.as_deref());
        user.optional("email", effective.email.as_deref());
    });
    if let Some(target) = event.target.as_ref().filter(|target| !class.carries_target(target)) {
        unmapped.object("target", |object| push_target(target, object));
    }
    push_details(event, unmapped);
}

#[cfg(test)]
mod tests;
