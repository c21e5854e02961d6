//! The OCSF encoding (Open Cybersecurity Schema Framework): one line of JSON, for security lakes.
//!
//! ```text
//! Event<'a> --class_of--> class + activity --encode--> {"class_uid":6003,...,"unmapped":{...}}
//!             from category, action and target.type, never from the IP address
//! ```
//!
//! Only attributes with a value are written; times are integers in milliseconds; the vendor's record is always a string
//! (`raw_data`). Names, numbers and required attributes are from `ocsf/ocsf-schema`, tags 1.7.0 and 1.8.0.

use super::json::ObjectWriter;
use super::native::RawForm;
use super::unmapped::{is_kind, is_named, push_details, push_enums, push_target, raw_sha256, valid_ip};
use super::{Action, Actor, ActorType, Category, Change, Event, Outcome, Related, Target};

/// The OCSF version in `metadata.version`. The encoding is valid in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
pub enum OcsfVersion {
    /// 1.7.0
    #[serde(rename = "1.7.0")]
    V1_7,
    /// 1.8.0
    #[default]
    #[serde(rename = "1.8.0")]
    V1_8,
}

impl OcsfVersion {
    /// As in `metadata.version`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_7 => "1.7.0",
            Self::V1_8 => "1.8.0",
        }
    }
}

/// Appends `event` as one JSON object, without a line break in it or after it.
///
/// OCSF holds the vendor's record as a string: [`RawForm::Keep`] and [`RawForm::String`] write the same. [`RawForm::Drop`]
/// drops the record's size and hash too.
pub fn encode(event: &Event<'_>, version: OcsfVersion, raw: RawForm, out: &mut Vec<u8>) {
    out.reserve(event.raw.len() + 2_048);
    let class = class_of(event);
    ObjectWriter::write(out, |object| {
        push_class(event, &class, object);
        push_base(event, object);
        object.object("metadata", |metadata| push_metadata(event, version, metadata));
        object.object("actor", |actor| push_actor(event, actor));
        push_source(event, &class, object);
        push_class_fields(event, &class, object);
        push_observables(event, object);
        if raw != RawForm::Drop {
            push_raw(event.raw, object);
        }
        object.object("unmapped", |unmapped| push_unmapped(event, &class, unmapped));
    });
}

fn push_class(event: &Event<'_>, class: &Class<'_, '_>, object: &mut ObjectWriter<'_>) {
    object.number("category_uid", class.uid() / 1_000);
    object.number("class_uid", class.uid());
    object.number("activity_id", class.activity(event.action));
    if class.activity(event.action) == OTHER_ACTIVITY {
        object.unescaped("activity_name", event.action);
    }
    object.number("type_uid", class.uid() * 100 + class.activity(event.action));
}

fn push_base(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.number("severity_id", 1);
    object.number("time", event.timestamp.at.as_millis());
    let status = match event.outcome {
        Outcome::Unknown => 0,
        Outcome::Success => 1,
        Outcome::Failure => 2,
        Outcome::Partial => 99,
    };
    object.number("status_id", status);
    object.unescaped("status", event.outcome);
    object.optional("message", event.message.as_deref());
}

fn push_metadata(event: &Event<'_>, version: OcsfVersion, metadata: &mut ObjectWriter<'_>) {
    metadata.unescaped("version", version.as_str());
    metadata.object("product", |product| {
        product.string("name", event.vendor);
        product.string("vendor_name", event.vendor);
    });
    metadata.unescaped("uid", event.id);
    metadata.optional("original_event_uid", event.vendor_event_id.as_deref());
    metadata.string("event_code", &event.event_type);
    metadata.string("log_name", event.source);
    metadata.optional("tenant_uid", event.tenant.as_deref());
    metadata.unescaped("original_time", event.timestamp);
    metadata.number("logged_time", event.observed_at.as_millis());
}

fn push_actor(event: &Event<'_>, actor: &mut ObjectWriter<'_>) {
    if display_name(&event.actor).is_none() {
        return actor.string("app_name", event.vendor);
    }
    actor.object("user", |user| push_acting_user(&event.actor, user));
}

fn push_acting_user(actor: &Actor<'_>, user: &mut ObjectWriter<'_>) {
    user.optional("uid", actor.id.as_deref());
    user.optional("name", display_name(actor));
    user.optional("email_addr", actor.email.as_deref());
    let kind = match actor.kind {
        ActorType::User => 1,
        ActorType::Admin => 2,
        ActorType::System => 3,
        ActorType::ApiKey | ActorType::Service => 4,
        ActorType::Anonymous | ActorType::Unknown => 0,
    };
    user.number("type_id", kind);
}

/// OCSF requires a user's name: the e-mail address or the id replaces a missing one. `None` if all are unknown.
fn display_name<'a>(actor: &'a Actor<'_>) -> Option<&'a str> {
    let known = |text: &'a Option<std::borrow::Cow<'_, str>>| text.as_deref().filter(|text| !text.is_empty());
    known(&actor.name).or_else(|| known(&actor.email)).or_else(|| known(&actor.id))
}

/// API activity requires a source endpoint; without an IP address it is the vendor's service.
fn push_source(event: &Event<'_>, class: &Class<'_, '_>, object: &mut ObjectWriter<'_>) {
    object.object("src_endpoint", |endpoint| match valid_ip(event) {
        Some(ip) => endpoint.string("ip", ip),
        None if matches!(class, Class::ApiActivity) => endpoint.string("svc_name", event.vendor),
        None => {}
    });
}

fn push_class_fields(event: &Event<'_>, class: &Class<'_, '_>, object: &mut ObjectWriter<'_>) {
    match class {
        Class::Authentication => {
            object.object("user", |user| push_acting_user(&event.actor, user));
            object.object("service", |service| service.string("name", event.vendor));
        }
        Class::GroupManagement { group } => {
            object.object("group", |inner| push_uid_and_name(group, inner));
            if let Some(member) = first_related_user(event) {
                object.object("user", |user| push_uid_and_name(member, user));
            }
            object.strings("privileges", privileges(event));
        }
        Class::UserAccess { user } => {
            object.object("user", |inner| push_uid_and_name(user, inner));
            object.strings("privileges", privileges(event));
        }
        Class::AccountChange { user } => object.object("user", |inner| push_uid_and_name(user, inner)),
        Class::ApiActivity => push_api(event, object),
    }
}

fn push_api(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    object.object("api", |api| {
        let operation = if event.event_type.is_empty() { event.action.as_str() } else { &event.event_type };
        api.string("operation", operation);
        api.object("service", |service| service.string("name", event.vendor));
    });
    let objects = event.target.iter().chain(event.related.iter().map(|related| &related.object));
    object.objects("resources", objects.filter(|object| is_named(object)), |resource, object| {
        push_uid_and_name(object, resource);
        resource.optional("type", object.kind.as_deref());
    });
}

fn push_uid_and_name(target: &Target<'_>, object: &mut ObjectWriter<'_>) {
    object.optional("uid", target.id.as_deref());
    object.optional("name", target.name.as_deref().filter(|name| !name.is_empty()).or(target.id.as_deref()));
}

fn push_observables(event: &Event<'_>, object: &mut ObjectWriter<'_>) {
    const IP_ADDRESS: u8 = 2;
    const EMAIL_ADDRESS: u8 = 5;
    const USER_UID: u8 = 31;
    let seen = [
        ("src_endpoint.ip", IP_ADDRESS, valid_ip(event)),
        ("actor.user.email_addr", EMAIL_ADDRESS, event.actor.email.as_deref()),
        ("actor.user.uid", USER_UID, event.actor.id.as_deref()),
    ];
    let known = seen.into_iter().filter_map(|(name, kind, value)| Some((name, kind, value?)));
    object.objects("observables", known.filter(|(.., value)| !value.is_empty()), |observable, (name, kind, value)| {
        observable.unescaped("name", name);
        observable.number("type_id", kind);
        observable.string("value", value);
    });
}

fn push_raw(raw: &str, object: &mut ObjectWriter<'_>) {
    object.string("raw_data", raw);
    object.number("raw_data_size", raw.len() as u64);
    object.object("raw_data_hash", |hash| {
        hash.unescaped("algorithm", "SHA-256");
        hash.number("algorithm_id", 3);
        hash.unescaped("value", raw_sha256(raw));
    });
}

fn push_unmapped(event: &Event<'_>, class: &Class<'_, '_>, unmapped: &mut ObjectWriter<'_>) {
    push_enums(event, unmapped);
    if valid_ip(event).is_none() {
        unmapped.optional("actor_ip", event.actor.ip.as_deref());
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

/// The activity id for actions that a class has no id for.
const OTHER_ACTIVITY: u32 = 99;

/// An OCSF class with the object that it requires. Without that object the event is API activity: most lakes reject an event
/// that lacks a required attribute.
#[derive(Debug, PartialEq)]
enum Class<'e, 'a> {
    /// 3002: a sign-in or sign-out.
    Authentication,
    /// 3006: a group, its members, its permissions.
    GroupManagement {
        /// The group.
        group: &'e Target<'a>,
    },
    /// 3005: a user's permissions, if the record names them.
    UserAccess {
        /// The user.
        user: &'e Target<'a>,
    },
    /// 3001: a user's account.
    AccountChange {
        /// The user.
        user: &'e Target<'a>,
    },
    /// 6003: everything else.
    ApiActivity,
}

/// Chooses the class of an event.
fn class_of<'e, 'a>(event: &'e Event<'a>) -> Class<'e, 'a> {
    let named = event.target.as_ref().filter(|target| is_named(target));
    match (event.category, event.action, named) {
        (Category::Authentication, Action::Login | Action::Logout, _) if display_name(&event.actor).is_some() => {
            Class::Authentication
        }
        (Category::Iam, _, Some(group)) if is_kind(group, "group") => Class::GroupManagement { group },
        (Category::Iam, Action::Grant | Action::Revoke, Some(user))
            if is_kind(user, "user") && privileges(event).next().is_some() =>
        {
            Class::UserAccess { user }
        }
        (Category::Iam, _, Some(user)) if is_kind(user, "user") => Class::AccountChange { user },
        _ => Class::ApiActivity,
    }
}

impl Class<'_, '_> {
    /// The class id.
    const fn uid(&self) -> u32 {
        match self {
            Self::AccountChange { .. } => 3_001,
            Self::Authentication => 3_002,
            Self::UserAccess { .. } => 3_005,
            Self::GroupManagement { .. } => 3_006,
            Self::ApiActivity => 6_003,
        }
    }

    /// The activity's number in the class.
    const fn activity(&self, action: Action) -> u32 {
        match self {
            Self::Authentication => authentication(action),
            Self::GroupManagement { .. } => group_management(action),
            Self::UserAccess { .. } => user_access(action),
            Self::AccountChange { .. } => account_change(action),
            Self::ApiActivity => api_activity(action),
        }
    }

    /// Whether the class's own attributes hold the target.
    fn carries_target(&self, target: &Target<'_>) -> bool {
        match self {
            Self::Authentication => false,
            Self::ApiActivity => is_named(target),
            Self::GroupManagement { .. } | Self::UserAccess { .. } | Self::AccountChange { .. } => true,
        }
    }
}

const fn authentication(action: Action) -> u32 {
    match action {
        Action::Login => 1,
        Action::Logout => 2,
        _ => OTHER_ACTIVITY,
    }
}

const fn group_management(action: Action) -> u32 {
    match action {
        Action::Grant => 1,
        Action::Revoke => 2,
        Action::AddMember => 3,
        Action::RemoveMember => 4,
        Action::Delete => 5,
        Action::Create => 6,
        _ => OTHER_ACTIVITY,
    }
}

const fn user_access(action: Action) -> u32 {
    match action {
        Action::Grant => 1,
        Action::Revoke => 2,
        _ => OTHER_ACTIVITY,
    }
}

const fn account_change(action: Action) -> u32 {
    match action {
        Action::Create => 1,
        Action::Enable => 2,
        Action::PasswordChange => 3,
        Action::PasswordReset => 4,
        Action::Disable => 5,
        Action::Delete => 6,
        Action::MfaEnable => 10,
        Action::MfaDisable => 11,
        _ => OTHER_ACTIVITY,
    }
}

const fn api_activity(action: Action) -> u32 {
    match action {
        Action::Create | Action::Import => 1,
        Action::Read | Action::List | Action::Export => 2,
        Action::Update
        | Action::Enable
        | Action::Disable
        | Action::Grant
        | Action::Revoke
        | Action::Archive
        | Action::Restore
        | Action::AddMember
        | Action::RemoveMember
        | Action::Invite
        | Action::Rotate => 3,
        Action::Delete => 4,
        _ => OTHER_ACTIVITY,
    }
}

/// The permissions that were granted or revoked, if the changed values name them.
fn privileges<'e>(event: &'e Event<'_>) -> impl Iterator<Item = &'e str> {
    let revoked = event.action == Action::Revoke;
    event.changes.iter().filter(|change| names_privileges(change)).filter_map(move |change| {
        let (first, second) = if revoked { (&change.old, &change.new) } else { (&change.new, &change.old) };
        let known = |text: &'e Option<std::borrow::Cow<'_, str>>| text.as_deref().filter(|text| !text.is_empty());
        known(first).or_else(|| known(second))
    })
}

fn names_privileges(change: &Change<'_>) -> bool {
    const WORDS: [&str; 4] = ["permission", "privilege", "role", "access"];
    let field = change.field.to_ascii_lowercase();
    WORDS.iter().any(|word| field.contains(word))
}

/// The user that a group change is about.
fn first_related_user<'e, 'a>(event: &'e Event<'a>) -> Option<&'e Target<'a>> {
    let objects = event.related.iter().map(|related: &Related<'_>| &related.object);
    objects.into_iter().find(|object| is_kind(object, "user") && is_named(object))
}

#[cfg(test)]
mod tests;
