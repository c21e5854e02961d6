//! What the details of a record, the body of its request, say about people and their access.
//!
//! ```text
//! details_json, else details (the same as text) --fields of the request models--> grants, related people and tags, the act
//! ```
//!
//! Only the fields below are read: bodies can hold passwords and passcodes. Ids are read by their field, never by their
//! value: the UUID of zeros is the Super Admin as a role, and everything as an organizational unit.

use std::borrow::Cow;

use super::entity::Entity;
use super::mapping;
use crate::event::{Action, Grant, GrantEffect, Grantee, GranteeType, ObjectType, Related, Role, Scope, Target};
use crate::vendors::field::{self, Identifier};
use crate::vendors::json::{Kind, Malformed, Reader};
use crate::vendors::lenient::{self, FromJson, Json, Text, json_object};
use crate::vendors::record::Problems;
use crate::vendors::shape::Shape;

/// The roles Super Admin and Organizational Unit Admin.
const ADMIN_ROLES: &[&str] = &["00000000-0000-0000-0000-000000000000", "10000000-0000-0000-0000-000000000000"];

/// The privilege of people with whom a restored file is shared.
const DOWNLOAD: &str = "download";

json_object! {
    /// The details of a record.
    pub(super) struct Details<'a> {
        body: Body<'a> = "request_body",
        tags: Vec<Entity<'a>> = "tags",
    }
}

json_object! {
    /// Fields of the request models for users, organizational units, provisioning rules and restores.
    struct Body<'a> {
        email: EmailAddress<'a> = "email",
        full_name: Text<'a> = "full_name",
        email_address: EmailAddress<'a> = "email_address",
        recipient_emails: Vec<EmailAddress<'a>> = "recipient_emails",
        target: Destination<'a> = "target",
        is_enabled: Option<bool> = "is_enabled",
        current_password: Given<()> = "current_password",
        new_password: Given<()> = "new_password",
        role: Identifier<'a> = "assigned_role",
        units: Vec<Identifier<'a>> = "organizational_unit_ids",
        unit_updates: Updates<Identifier<'a>> = "organizational_unit_assignment_updates",
        roles: Vec<RoleInUnits<'a>> = "access_control_configuration",
        role_updates: Updates<RoleInUnits<'a>> = "access_control_configuration_updates",
        users: Updates<Member<'a>> = "users",
        provision: RoleInUnits<'a> = "provision",
    }
}

json_object! {
    /// Where to a file is restored.
    struct Destination<'a> {
        email: EmailAddress<'a> = "email",
        recipient_emails: Vec<EmailAddress<'a>> = "recipient_emails",
    }
}

json_object! {
    /// A role in organizational units.
    struct RoleInUnits<'a> {
        role: Identifier<'a> = "role_id",
        units: Vec<Identifier<'a>> = "organizational_unit_ids",
    }
}

json_object! {
    /// A user of an organizational unit.
    struct Member<'a> {
        user: Identifier<'a> = "user_id",
        role: Identifier<'a> = "assigned_role",
    }
}

/// An e-mail address: text, or the member `email_address` of an object.
#[derive(Debug, Default)]
struct EmailAddress<'a>(Text<'a>);

json_object! {
    struct EmailObject<'a> {
        email_address: Text<'a> = "email_address",
    }
}

impl<'de> FromJson<'de> for EmailAddress<'de> {
    fn from_text(text: Cow<'de, str>) -> Self {
        Self(field::email(Some(text)))
    }

    fn from_object(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        EmailObject::from_object(reader).map(|object| Self(field::email(object.email_address)))
    }
}

/// Additions and removals. A list holds additions.
#[derive(Debug)]
struct Updates<T> {
    add: Vec<T>,
    remove: Vec<T>,
}

impl<T> Default for Updates<T> {
    fn default() -> Self {
        Self { add: Vec::new(), remove: Vec::new() }
    }
}

impl<'de, T: FromJson<'de>> FromJson<'de> for Updates<T> {
    fn from_object(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        let (mut updates, mut is_first) = (Self::default(), true);
        reader.open()?;
        while let Some(name) = reader.member(&mut is_first)? {
            match &*name {
                "add" => updates.add = FromJson::from_json(reader)?,
                "remove" => updates.remove = FromJson::from_json(reader)?,
                _ => _ = reader.skip()?,
            }
        }
        Ok(updates)
    }

    fn from_list(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        Ok(Self { add: Vec::from_list(reader)?, remove: Vec::new() })
    }
}

/// A value that is there and not null. `Given<()>` keeps nothing of it.
#[derive(Debug, Default)]
pub(super) struct Given<T>(Option<T>);

impl FromJson<'_> for () {}

impl<'de, T: FromJson<'de>> FromJson<'de> for Given<T> {
    fn shape() -> Shape {
        T::shape()
    }

    fn from_json(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        if reader.kind()? == Kind::Null {
            return reader.skip().map(|_| Self(None));
        }
        T::from_json(reader).map(|value| Self(Some(value)))
    }
}

/// What the details add to an event.
pub(super) struct Findings<'a> {
    /// What was done, more exactly than the vendor's words say.
    pub(super) action: Action,
    /// The target; of an invitation that names no entity, the person who was invited.
    pub(super) target: Option<Target<'a>>,
    pub(super) grants: Vec<Grant<'a>>,
    pub(super) related: Vec<Related<'a>>,
}

/// Reads `details_json`, or `details` if it is missing.
pub(super) fn findings<'a>(
    details: Given<Box<Details<'a>>>,
    as_text: Json<'a>,
    (category, action): (&str, Action),
    target: Option<Target<'a>>,
    problems: &mut Problems,
) -> Findings<'a> {
    let read = |details: Details<'a>, target, problems: &mut Problems| {
        ReadDetails { tags: details.tags, problems, found: Findings::new(action, target) }.read(category, details.body)
    };
    // The text holds the same once more: it is not even unescaped where it is not needed.
    if let Some(details) = details.0 {
        return read(*details, target, problems);
    }
    match as_text.shown() {
        None => Findings::new(action, target),
        Some(Cow::Borrowed(text)) => read(lenient::value(text), target, problems),
        Some(Cow::Owned(text)) => {
            let details: Details<'_> = lenient::value(&text);
            let found = Findings::new(action, target);
            ReadDetails { tags: details.tags, problems, found }.read(category, details.body).into_owned()
        }
    }
}

struct ReadDetails<'a, 'p> {
    tags: Vec<Entity<'a>>,
    problems: &'p mut Problems,
    found: Findings<'a>,
}

impl<'a> ReadDetails<'a, '_> {
    fn read(mut self, category: &str, mut body: Body<'a>) -> Findings<'a> {
        let is = |known: &str| category.eq_ignore_ascii_case(known);
        let person = person(body.full_name.take(), body.email.0.take());
        match self.found.action {
            Action::Invite | Action::Create if is("users") => self.new_user(person, body),
            done => {
                self.mention(person);
                match done {
                    Action::Update if is("users") => self.changed_user(body),
                    Action::Create | Action::Update if is("organizational_unit") => self.members_of_unit(body.users),
                    Action::Create | Action::Update if is("sso") => self.role_in_units(body.provision),
                    Action::Grant if is("restore") => self.recipients(body),
                    _ => {}
                }
            }
        }
        let tags = std::mem::take(&mut self.tags).into_iter();
        let tags = tags.filter_map(|tag| mapping::object("details_json.tags.id", tag, self.problems));
        self.found.related.extend(tags.map(|object| Related { role: Role::Associated, object }));
        self.found
    }

    /// An invitation without roles gives the inviter's default.
    fn new_user(&mut self, person: Target<'a>, body: Body<'a>) {
        match &mut self.found.target {
            Some(user) if user.kind == ObjectType::User => {
                user.email = user.email.take().or_else(|| person.email.clone());
                user.name = user.name.take().or_else(|| person.name.clone());
            }
            None if person.is_identified() => self.found.target = Some(person.clone()),
            _ => self.mention(person.clone()),
        }
        let grantee = Grantee {
            id: self.grantee().id,
            email: person.email.or_else(|| self.grantee().email),
            name: person.name.or_else(|| self.grantee().name),
            kind: GranteeType::User,
        };
        if !grantee.is_identified() {
            return;
        }
        let has_roles = !body.roles.is_empty();
        for role in body.roles {
            self.access(Grant::granted(grantee.clone()), role.role, role.units);
        }
        if !has_roles {
            self.access(Grant::granted(grantee), body.role, body.units);
        }
    }

    fn changed_user(&mut self, body: Body<'a>) {
        let grantee = self.grantee();
        for role in body.role_updates.add {
            self.access(Grant::granted(grantee.clone()), role.role, role.units);
        }
        for role in body.role_updates.remove {
            self.access(Grant::revoked(grantee.clone()), role.role, role.units);
        }
        if body.role.text().is_some() || !body.unit_updates.add.is_empty() {
            self.access(Grant::granted(grantee.clone()), body.role, body.unit_updates.add);
        }
        // Which role was lost there is not said: the assigned one is the new one.
        if !body.unit_updates.remove.is_empty() {
            self.access(Grant::revoked(grantee), Identifier::default(), body.unit_updates.remove);
        }
        let has_password = body.current_password.0.is_some() || body.new_password.0.is_some();
        self.found.action = match (body.is_enabled, effects(&self.found.grants)) {
            (Some(true), _) => Action::Enable,
            (Some(false), _) => Action::Disable,
            (None, (true, _)) => Action::Grant,
            (None, (false, true)) => Action::Revoke,
            (None, (false, false)) if has_password => Action::PasswordChange,
            (None, (false, false)) => Action::Update,
        };
    }

    fn members_of_unit(&mut self, users: Updates<Member<'a>>) {
        for member in users.add {
            self.member(member, Grant::granted);
        }
        for member in users.remove {
            self.member(member, Grant::revoked);
        }
        self.found.action = match (self.found.action, effects(&self.found.grants)) {
            (Action::Update, (true, false)) => Action::AddMember,
            (Action::Update, (false, true)) => Action::RemoveMember,
            (action, _) => action,
        };
    }

    fn member(&mut self, member: Member<'a>, effect: fn(Grantee<'a>) -> Grant<'a>) {
        let id = self.problems.identifier("details_json.request_body.users.user_id", member.user);
        if id.is_none() {
            return;
        }
        let user = Target { kind: ObjectType::User, id, ..Target::default() };
        let scope = self.found.target.as_ref().map(Scope::from);
        let grant = Grant { scope, ..effect(Grantee::from(&user)) };
        self.mention(user);
        self.access(grant, member.role, Vec::new());
    }

    /// A rule that gives a role to the users of a group, when they first sign in.
    fn role_in_units(&mut self, role: RoleInUnits<'a>) {
        if role.role.text().is_some() {
            self.access(Grant::granted(Grantee::default()), role.role, role.units);
        }
    }

    fn recipients(&mut self, body: Body<'a>) {
        let single = [body.email_address, body.target.email];
        let people = single.into_iter().chain(body.recipient_emails).chain(body.target.recipient_emails);
        // The address of `email` is mentioned already.
        let mentioned: Vec<Target<'a>> = self.found.related.iter().map(|related| related.object.clone()).collect();
        let people = people.map(|address| person(None, address.0)).filter(Target::is_identified);
        for person in mentioned.into_iter().chain(people) {
            let mut grant =
                Grant::granted(Grantee::from(&person)).privilege(Some(Cow::Borrowed(DOWNLOAD)), ADMIN_ROLES);
            grant.scope = self.found.target.as_ref().map(Scope::from);
            self.found.grants.push(grant);
            self.mention(person);
        }
    }

    /// The user who is the target.
    fn grantee(&self) -> Grantee<'a> {
        let user = self.found.target.as_ref().filter(|target| target.kind == ObjectType::User);
        user.map_or_else(Grantee::default, Grantee::from)
    }

    /// Adds a grant of the role in each of the units. Without units its scope stays.
    fn access(&mut self, grant: Grant<'a>, role: Identifier<'a>, units: Vec<Identifier<'a>>) {
        let role = self.problems.identifier("details_json.request_body.role_id", role);
        let grant = grant.privilege(role, ADMIN_ROLES);
        if units.is_empty() {
            self.found.grants.push(grant);
            return;
        }
        for unit in units {
            let id = self.problems.identifier("details_json.request_body.organizational_unit_ids", unit);
            let name = self.name_of_unit(id.as_deref());
            self.found.grants.push(grant.clone().scope(ObjectType::Organization, id, name));
        }
    }

    fn name_of_unit(&self, id: Option<&str>) -> Text<'a> {
        let is_unit = |tag: &&Entity<'a>| tag.kind.as_deref() == Some("organizational_unit") && tag.id.text() == id;
        self.tags.iter().find(is_unit)?.name.clone()
    }

    /// Adds a person to the related objects, once, unless it is the target.
    fn mention(&mut self, person: Target<'a>) {
        let is_same = |object: &Target<'a>| {
            object.kind == ObjectType::User && (&object.id, &object.email) == (&person.id, &person.email)
        };
        let is_target = self.found.target.as_ref().is_some_and(|target| {
            target.kind == ObjectType::User
                && ((person.email.is_some() && target.email == person.email)
                    || (person.id.is_some() && target.id == person.id))
        });
        let is_known = self.found.related.iter().any(|related| is_same(&related.object));
        let has_key = person.id.is_some() || person.email.is_some();
        if has_key && !is_target && !is_known {
            self.found.related.push(Related { role: Role::Mentioned, object: person });
        }
    }
}

fn person<'a>(name: Text<'a>, email: Text<'a>) -> Target<'a> {
    Target { kind: ObjectType::User, name, email, ..Target::default() }
}

/// Whether access was received, and whether some was lost.
fn effects(grants: &[Grant<'_>]) -> (bool, bool) {
    let has = |effect| grants.iter().any(|grant| grant.effect == effect);
    (has(GrantEffect::Granted), has(GrantEffect::Revoked))
}

impl<'a> Findings<'a> {
    fn new(action: Action, target: Option<Target<'a>>) -> Self {
        Self { action, target, grants: Vec::new(), related: Vec::new() }
    }

    fn into_owned<'b>(self) -> Findings<'b> {
        let related = |related: Related<'a>| Related { role: related.role, object: owned_object(related.object) };
        Findings {
            action: self.action,
            target: self.target.map(owned_object),
            grants: self.grants.into_iter().map(owned_grant).collect(),
            related: self.related.into_iter().map(related).collect(),
        }
    }
}

fn owned<'b>(text: Text<'_>) -> Text<'b> {
    text.map(|text| Cow::Owned(text.into_owned()))
}

fn owned_object<'b>(object: Target<'_>) -> Target<'b> {
    let Target { kind, vendor_type, id, name, email } = object;
    Target { kind, vendor_type: owned(vendor_type), id: owned(id), name: owned(name), email: owned(email) }
}

fn owned_grant<'b>(grant: Grant<'_>) -> Grant<'b> {
    let Grant { effect, grantee: Grantee { kind, id, name, email }, privilege, admin, scope } = grant;
    let grantee = Grantee { kind, id: owned(id), name: owned(name), email: owned(email) };
    let scope = scope.map(|Scope { kind, id, name }| Scope { kind, id: owned(id), name: owned(name) });
    Grant { effect, grantee, privilege: owned(privilege), admin, scope }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::normalizer::ClumioNormalizer;
    use crate::event::{Category, Event, native};
    use crate::time::Timestamp;
    use crate::vendors::{Normalizer, NormalizerConfig, ReadContext};

    const SUPER_ADMIN: &str = "00000000-0000-0000-0000-000000000000";
    const BACKUP_ADMIN: &str = "30000000-0000-0000-0000-000000000000";
    const ROBIN: (&str, &str, &str) = ("user", "42", "robin@example.com");

    fn with_event<T>(
        act: (&str, &str),
        entity: (&str, &str, &str),
        body: &Value,
        check: impl Fn(&Event<'_>) -> T,
    ) -> T {
        let tags = json!([{"type": "organizational_unit", "id": "ou-1", "value": "Finance"}]);
        let record = |details: &str, value: Value| {
            json!({
                "id": "a", "timestamp": "2025-08-11T23:41:02Z", "category": act.0, "action": act.1, "status": "success",
                "interface": "API", "user_email": "ada@example.com", details: value,
                "primary_entity": {"type": entity.0, "id": entity.1, "value": entity.2},
            })
            .to_string()
        };
        let details = json!({"request_body": body, "tags": tags});
        let (structured, text) =
            (record("details_json", details.clone()), record("details", json!(details.to_string())));
        let normalizer = ClumioNormalizer::from(&NormalizerConfig::default());
        let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_755_000_000), occurrence: 0 };
        let event = normalizer.normalize(&structured, &context);
        let from_text = normalizer.normalize(&text, &context);
        assert_eq!(Event { raw: event.raw, ..from_text }, event, "both forms of the details say the same");
        assert_eq!(event.normalize_error, None);
        check(&event)
    }

    /// The action, and the grants: effect, grantee, privilege, admin, scope.
    fn said_by(act: (&str, &str), entity: (&str, &str, &str), body: &Value) -> (&'static str, Vec<String>) {
        with_event(act, entity, body, |event| {
            let shown = |text: &Option<std::borrow::Cow<'_, str>>| text.as_deref().unwrap_or("-").to_owned();
            let grants = event.grants.iter().map(|grant| {
                let who = grant.grantee.email.clone().or_else(|| grant.grantee.id.clone());
                let scope = grant.scope.as_ref().map_or(String::from("-"), |scope| {
                    format!("{}:{}:{}", scope.kind, shown(&scope.id), shown(&scope.name))
                });
                let privilege = shown(&grant.privilege);
                let admin = grant.admin.map_or("?", |admin| if admin { "admin" } else { "plain" });
                format!("{} {} {} {admin} {scope}", grant.effect, shown(&who), &privilege[..privilege.len().min(8)])
            });
            (event.action.as_str(), grants.collect())
        })
    }

    #[test]
    fn an_invitation_grants_each_role_in_each_unit() {
        let body = json!({"email": "New@Example.com", "full_name": "New Person", "access_control_configuration": [
            {"role_id": SUPER_ADMIN, "organizational_unit_ids": [SUPER_ADMIN, "ou-1"]}, {"role_id": BACKUP_ADMIN},
        ]});
        let grants = vec![
            "granted new@example.com 00000000 admin organization:00000000-0000-0000-0000-000000000000:-".to_owned(),
            "granted new@example.com 00000000 admin organization:ou-1:Finance".to_owned(),
            "granted new@example.com 30000000 plain -".to_owned(),
        ];
        assert_eq!(said_by(("users", "invite"), ("", "", ""), &body), ("invite", grants));
        with_event(("users", "invite"), ("", "", ""), &body, |event| {
            let target = event.target.as_ref().expect("the person");
            assert_eq!(target.email.as_deref(), Some("new@example.com"));
            assert_eq!(target.name.as_deref(), Some("New Person"));
            assert_eq!(event.grants[0].grantee.name.as_deref(), Some("New Person"));
        });
        let first_version =
            json!({"email": "new@example.com", "assigned_role": BACKUP_ADMIN, "organizational_unit_ids": ["ou-1"]});
        let grants = vec!["granted new@example.com 30000000 plain organization:ou-1:Finance".to_owned()];
        assert_eq!(said_by(("users", "create"), ("", "", ""), &first_version), ("create", grants));
        let by_default = vec!["granted new@example.com - ? -".to_owned()];
        assert_eq!(
            said_by(("users", "invite"), ("", "", ""), &json!({"email": "new@example.com"})),
            ("invite", by_default)
        );
    }

    #[test]
    fn an_update_of_a_user_is_what_its_body_asks_for() {
        let of = |body: Value| said_by(("users", "update"), ROBIN, &body);
        let role = |role: &str| json!({"role_id": role, "organizational_unit_ids": ["ou-1"]});
        let granted = "granted robin@example.com 00000000 admin organization:ou-1:Finance".to_owned();
        let revoked = "revoked robin@example.com 30000000 plain organization:ou-1:Finance".to_owned();
        let updates =
            |add: Value, remove: Value| json!({"access_control_configuration_updates": {"add": add, "remove": remove}});
        assert_eq!(
            of(updates(json!([role(SUPER_ADMIN)]), json!([role(BACKUP_ADMIN)]))),
            ("grant", vec![granted, revoked.clone()])
        );
        assert_eq!(of(updates(json!(null), json!([role(BACKUP_ADMIN)]))), ("revoke", vec![revoked]));
        assert_eq!(of(updates(json!([]), json!([]))), ("update", vec![]));
        assert_eq!(
            of(json!({"assigned_role": SUPER_ADMIN, "organizational_unit_assignment_updates": {"remove": ["ou-1"]}})),
            (
                "grant",
                vec![
                    "granted robin@example.com 00000000 admin -".to_owned(),
                    "revoked robin@example.com - ? organization:ou-1:Finance".to_owned()
                ]
            )
        );
        assert_eq!(of(json!({"is_enabled": false})), ("disable", vec![]));
        assert_eq!(of(json!({"is_enabled": true})), ("enable", vec![]));
        assert_eq!(of(json!({"full_name": "Robin"})), ("update", vec![]));
    }

    #[test]
    fn passwords_and_passcodes_are_in_no_normalized_field() {
        let body =
            json!({"current_password": "hunter2-old", "new_password": "hunter2-new", "passcode": "hunter2-code"});
        with_event(("users", "update"), ROBIN, &body, |event| {
            assert_eq!((event.action.as_str(), event.category), ("password_change", Category::Credential));
            let mut written = Vec::new();
            native::encode(event, native::RawForm::Drop, &mut written);
            assert!(!String::from_utf8(written).expect("text").contains("hunter2"));
        });
    }

    #[test]
    fn members_of_a_unit_are_added_and_removed() {
        let unit = ("organizational_unit", "ou-1", "Finance");
        let member = |id: &str| json!([{"user_id": id, "assigned_role": BACKUP_ADMIN}]);
        let of = |action, users: Value| said_by(("organizational_unit", action), unit, &json!({"users": users}));
        let added = vec!["granted 7 30000000 plain organization:ou-1:Finance".to_owned()];
        let removed = vec!["revoked 7 30000000 plain organization:ou-1:Finance".to_owned()];
        assert_eq!(of("update", json!({"add": member("7")})), ("add_member", added.clone()));
        assert_eq!(of("update", json!({"remove": member("7")})), ("remove_member", removed.clone()));
        assert_eq!(of("create", member("7")), ("create", added.clone()));
        assert_eq!(
            of("update", json!({"add": member("7"), "remove": member("7")})),
            ("update", [added, removed].concat())
        );
        let body = json!({"users": {"add": member("7")}});
        with_event(("organizational_unit", "update"), unit, &body, |event| {
            assert_eq!(event.related[0].object.id.as_deref(), Some("7"));
        });
    }

    #[test]
    fn provisioning_rules_and_shared_files_grant() {
        let rule = json!({"provision": {"role_id": SUPER_ADMIN, "organizational_unit_ids": ["ou-1"]}});
        let grants = vec!["granted - 00000000 admin organization:ou-1:Finance".to_owned()];
        assert_eq!(said_by(("sso", "create"), ("", "", ""), &rule), ("create", grants));
        let file = ("restored_file", "f1", "budget.xlsx");
        let shared = |email: &str| format!("granted {email} download plain backup:f1:budget.xlsx");
        for (body, emails) in [
            (json!({"email_address": "a@example.com", "message": "for you"}), vec!["a@example.com"]),
            (json!({"email": {"email_address": "a@example.com"}}), vec!["a@example.com"]),
            (
                json!({"target": {"recipient_emails": ["a@example.com", "b@example.com"]}}),
                vec!["a@example.com", "b@example.com"],
            ),
        ] {
            let grants = emails.iter().map(|email| shared(email)).collect();
            assert_eq!(said_by(("restore", "grant_email_access"), file, &body), ("grant", grants));
            with_event(("restore", "grant_email_access"), file, &body, |event| {
                assert_eq!(event.category, Category::Iam);
                let people = event.related.iter().filter_map(|related| related.object.email.as_deref());
                assert_eq!(people.collect::<Vec<_>>(), emails);
            });
        }
    }

    #[test]
    fn people_and_tags_of_other_acts_are_related() {
        let body = json!({"email": "user@example.com", "org_id": 123_456_789_012_345_678_i64});
        with_event(("backup", "user_deleted"), ("auth", "x", "y"), &body, |event| {
            let related: Vec<_> =
                event.related.iter().map(|one| (one.role.as_str(), one.object.kind.as_str())).collect();
            assert_eq!(related, [("mentioned", "user"), ("associated", "organization")]);
            assert!(event.grants.is_empty());
        });
    }
}
