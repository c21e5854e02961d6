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
use super::unmapped::{push_details, push_enums, push_target, raw_sha256, valid_ip};
use super::{Action, Actor, ActorType, Category, Event, Grant, Grantee, GranteeType, ObjectType, Outcome, Target};

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

fn push_class(event: &Event<'_>, class: &Class<'_>, object: &mut ObjectWriter<'_>) {
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
    object.number("time", event.timestamp.as_millis());
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
    metadata.unescaped("original_time", event.timestamp.formatted());
    metadata.number("logged_time", event.observed_at.as_millis());
}

fn push_actor(event: &Event<'_>, actor: &mut ObjectWriter<'_>) {
    if !Named::from(&event.actor).is_identified() {
        return actor.string("app_name", event.vendor);
    }
    actor.object("user", |user| push_acting_user(&event.actor, user));
}

fn push_acting_user(actor: &Actor<'_>, user: &mut ObjectWriter<'_>) {
    push_user(Named::from(actor), user);
    let kind = match actor.kind {
        ActorType::User => 1,
        ActorType::Admin => 2,
        ActorType::System => 3,
        ActorType::ApiKey | ActorType::Service => 4,
        ActorType::Anonymous | ActorType::Unknown => 0,
    };
    user.number("type_id", kind);
}

/// API activity requires a source endpoint; without an IP address it is the vendor's service.
fn push_source(event: &Event<'_>, class: &Class<'_>, object: &mut ObjectWriter<'_>) {
    object.object("src_endpoint", |endpoint| match valid_ip(event) {
        Some(ip) => endpoint.string("ip", ip),
        None if matches!(class, Class::ApiActivity) => endpoint.string("svc_name", event.vendor),
        None => {}
    });
}

fn push_class_fields(event: &Event<'_>, class: &Class<'_>, object: &mut ObjectWriter<'_>) {
    match class {
        Class::Authentication => {
            object.object("user", |user| push_acting_user(&event.actor, user));
            object.object("service", |service| service.string("name", event.vendor));
        }
        Class::GroupManagement { group, member } => {
            object.object("group", |inner| push_uid_and_name(*group, inner));
            object.object("user", |user| member.iter().for_each(|member| push_user(*member, user)));
            object.strings("privileges", privileges(event, None));
        }
        Class::UserAccess { user, grantee } => {
            object.object("user", |inner| push_user(*user, inner));
            object.strings("privileges", privileges(event, Some(grantee)));
        }
        Class::AccountChange { user } => object.object("user", |inner| push_user(*user, inner)),
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
    let identified = objects.map(|object| (object, Named::from(object))).filter(|(_, named)| named.is_identified());
    object.objects("resources", identified, |resource, (object, named)| {
        push_uid_and_name(named, resource);
        resource.string("type", object.vendor_type.as_deref().unwrap_or(object.kind.as_str()));
    });
}

/// What OCSF wants to know of a user, group or resource.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Named<'e> {
    uid: Option<&'e str>,
    name: Option<&'e str>,
    email: Option<&'e str>,
}

impl<'e> Named<'e> {
    fn new(uid: Option<&'e str>, name: Option<&'e str>, email: Option<&'e str>) -> Self {
        let known = |text: Option<&'e str>| text.filter(|text| !text.is_empty());
        Self { uid: known(uid), name: known(name), email: known(email) }
    }

    fn is_identified(self) -> bool {
        self.name_or_else().is_some()
    }

    /// A name is required: the e-mail address or the id replaces a missing one.
    fn name_or_else(self) -> Option<&'e str> {
        self.name.or(self.email).or(self.uid)
    }
}

impl<'e> From<&'e Target<'_>> for Named<'e> {
    fn from(object: &'e Target<'_>) -> Self {
        Self::new(object.id.as_deref(), object.name.as_deref(), object.email.as_deref())
    }
}

impl<'e> From<&'e Grantee<'_>> for Named<'e> {
    fn from(grantee: &'e Grantee<'_>) -> Self {
        Self::new(grantee.id.as_deref(), grantee.name.as_deref(), grantee.email.as_deref())
    }
}

impl<'e> From<&'e Actor<'_>> for Named<'e> {
    fn from(actor: &'e Actor<'_>) -> Self {
        Self::new(actor.id.as_deref(), actor.name.as_deref(), actor.email.as_deref())
    }
}

fn push_uid_and_name(named: Named<'_>, object: &mut ObjectWriter<'_>) {
    object.optional("uid", named.uid);
    object.optional("name", named.name_or_else());
}

fn push_user(named: Named<'_>, user: &mut ObjectWriter<'_>) {
    push_uid_and_name(named, user);
    user.optional("email_addr", named.email);
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

fn push_unmapped(event: &Event<'_>, class: &Class<'_>, unmapped: &mut ObjectWriter<'_>) {
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
enum Class<'e> {
    /// 3002: a sign-in or sign-out.
    Authentication,
    /// 3006: a group, its members, its permissions.
    GroupManagement {
        /// The group.
        group: Named<'e>,
        /// Who received or lost something there.
        member: Option<Named<'e>>,
    },
    /// 3005: a user's permissions, if the record names them.
    UserAccess {
        /// The user.
        user: Named<'e>,
        /// The same, as the grants name him.
        grantee: &'e Grantee<'e>,
    },
    /// 3001: a user's account.
    AccountChange {
        /// The user.
        user: Named<'e>,
    },
    /// 6003: everything else.
    ApiActivity,
}

/// Chooses the class of an event.
fn class_of<'e>(event: &'e Event<'_>) -> Class<'e> {
    if event.category == Category::Authentication && matches!(event.action, Action::Login | Action::Logout) {
        let is_known = Named::from(&event.actor).is_identified();
        return if is_known { Class::Authentication } else { Class::ApiActivity };
    }
    if event.category != Category::Iam {
        return Class::ApiActivity;
    }
    if let Some(group) = group_of(event) {
        return Class::GroupManagement { group, member: member_of(event) };
    }
    let Some(target) = event.target.as_ref().filter(|target| target.kind == ObjectType::User) else {
        return Class::ApiActivity;
    };
    match event.grants.first() {
        Some(Grant { grantee, .. }) if is_access_of(event, grantee) => {
            Class::UserAccess { user: Named::from(grantee), grantee }
        }
        _ if target.is_identified() => Class::AccountChange { user: Named::from(target) },
        _ => Class::ApiActivity,
    }
}

/// The group that an event is about: its target, else where a grant holds.
fn group_of<'e>(event: &'e Event<'_>) -> Option<Named<'e>> {
    let target = event.target.as_ref().filter(|target| target.kind == ObjectType::Group).map(Named::from);
    let mut scopes = event.grants.iter().filter_map(|grant| grant.scope.as_ref());
    let scope = scopes.find(|scope| scope.kind == ObjectType::Group);
    let scope = scope.map(|scope| Named::new(scope.id.as_deref(), scope.name.as_deref(), None));
    target.filter(|group| group.is_identified()).or(scope).filter(|group| group.is_identified())
}

/// The user that a change of a group is about: the first grantee that is not the group itself, else the first related user.
fn member_of<'e>(event: &'e Event<'_>) -> Option<Named<'e>> {
    let is_person = |grantee: &&Grantee<'_>| !matches!(grantee.kind, GranteeType::Group | GranteeType::Team);
    let grantee = event.grants.first().map(|grant| &grant.grantee).filter(is_person).map(Named::from);
    let related = || {
        let users = event.related.iter().map(|related| &related.object);
        users.filter(|object| object.kind == ObjectType::User).map(Named::from).find(|user| user.is_identified())
    };
    grantee.filter(|grantee| grantee.is_identified()).or_else(related)
}

fn is_access_of(event: &Event<'_>, grantee: &Grantee<'_>) -> bool {
    matches!(event.action, Action::Grant | Action::Revoke)
        && grantee.is_identified()
        && privileges(event, Some(grantee)).next().is_some()
}

impl Class<'_> {
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
            Self::ApiActivity => target.is_identified(),
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

/// The permissions that were granted or revoked, of this grantee or of all.
fn privileges<'e>(event: &'e Event<'_>, grantee: Option<&'e Grantee<'_>>) -> impl Iterator<Item = &'e str> {
    let grants = event.grants.iter().filter(move |grant| grantee.is_none_or(|grantee| grant.grantee == *grantee));
    grants.filter_map(|grant| grant.privilege.as_deref()).filter(|privilege| !privilege.is_empty())
}

#[cfg(test)]
mod tests;
