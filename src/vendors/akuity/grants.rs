//! Who received or lost which access, from the objects of Akuity's records and the roles in their patches.
//!
//! ```text
//! member, organization_invite --> role in the organization      team_member ------> membership in the team (the parent)
//! team, api_key --> roles in the organization                   workspace_member -> role in the workspace (the parent)
//! ```
//!
//! Of a patch, which can hold secrets, nothing but roles is read. Messages are not: their sentences are not known.

use std::borrow::Cow;

use super::mapping::{API_KEY, INVITE, MEMBER, TEAM, TEAM_MEMBER, WORKSPACE_MEMBER};
use crate::event::{Action, Grant, Grantee, GranteeType, ObjectType, Scope};
use crate::vendors::field;
use crate::vendors::json::{Malformed, Reader};
use crate::vendors::lenient::{self, FromJson, Json, Text, json_object};

/// The roles of administrators, as the API and the interface write them.
const ADMIN_PRIVILEGES: &[&str] = &[
    "owner",
    "admin",
    "organization/owner",
    "organization/admin",
    "role:organization/owner",
    "role:organization/admin",
    "WORKSPACE_MEMBER_ROLE_ADMIN",
];

/// The object of a record that is about access.
pub(super) struct Subject<'a, 'e> {
    /// The word of the catalog for its type.
    pub(super) object: &'static str,
    /// Its name.
    pub(super) name: Text<'a>,
    /// The team or workspace.
    pub(super) parent: Option<Scope<'a>>,
    /// The organization.
    pub(super) tenant: Option<&'e str>,
    /// What was changed, as JSON.
    pub(super) patch: Option<&'e str>,
}

json_object! {
    /// The roles in a patch.
    struct Roles<'a> {
        role: Names<'a> = "role",
        roles: Names<'a> = "roles",
        custom_roles: Names<'a> = "custom_roles",
        custom_roles_by_api: Names<'a> = "customRoles",
    }
}

json_object! {
    /// An operation of an RFC 6902 patch.
    struct Operation<'a> {
        path: Text<'a> = "path",
        value: Json<'a> = "value",
    }
}

/// One text or a list of texts.
#[derive(Debug, Default)]
struct Names<'a>(Vec<Cow<'a, str>>);

impl<'de> FromJson<'de> for Names<'de> {
    fn from_text(text: Cow<'de, str>) -> Self {
        Self(if text.is_empty() { Vec::new() } else { vec![text] })
    }

    fn from_list(reader: &mut Reader<'de>) -> Result<Self, Malformed> {
        let names: Vec<Self> = Vec::from_list(reader)?;
        Ok(Self(names.into_iter().flat_map(|names| names.0).collect()))
    }
}

/// Whether the record gives a role to a team: the only update of a team that is a grant.
pub(super) fn names_roles(patch: Option<&str>) -> bool {
    !roles(patch).is_empty()
}

/// The access that the record says was received or lost.
pub(super) fn of<'a>(action: Action, subject: &Subject<'a, '_>) -> Vec<Grant<'a>> {
    let Some(grant) = grant(action, subject) else { return Vec::new() };
    if subject.object == TEAM_MEMBER {
        return vec![Grant { privilege: Some("member".into()), ..grant }];
    }
    let roles = roles(subject.patch);
    // A team or key has access only by its roles.
    if roles.is_empty() && !matches!(subject.object, TEAM | API_KEY) {
        return vec![grant];
    }
    // The names of a team's roles are the customer's.
    let admin_privileges = if subject.object == TEAM { &[] } else { ADMIN_PRIVILEGES };
    roles.into_iter().map(|role| grant.clone().privilege(Some(role), admin_privileges)).collect()
}

/// To or from whom and where; `None` if the act is not about access.
fn grant<'a>(action: Action, subject: &Subject<'a, '_>) -> Option<Grant<'a>> {
    let is_member = matches!(subject.object, MEMBER | INVITE | TEAM_MEMBER | WORKSPACE_MEMBER);
    let is_holder = matches!(subject.object, TEAM | API_KEY);
    let name = subject.name.clone()?;
    let email = field::email(Some(name.clone()));
    let kind = match subject.object {
        API_KEY => GranteeType::ApiKey,
        TEAM => GranteeType::Team,
        WORKSPACE_MEMBER if email.is_none() => GranteeType::Team,
        _ => GranteeType::User,
    };
    let grantee = Grantee { kind, name: Some(name), email, ..Grantee::default() };
    let grant = match action {
        Action::AddMember | Action::Grant | Action::Invite if is_member => Grant::granted(grantee),
        Action::Create | Action::Grant if is_holder => Grant::granted(grantee),
        Action::RemoveMember | Action::Revoke if is_member => Grant::revoked(grantee),
        _ => return None,
    };
    let is_inside = matches!(subject.object, TEAM_MEMBER | WORKSPACE_MEMBER);
    let organization =
        || Scope { kind: ObjectType::Organization, id: subject.tenant.map(|id| id.to_owned().into()), name: None };
    let scope = if is_inside { subject.parent.clone() } else { Some(organization()) };
    Some(Grant { scope, ..grant })
}

/// The roles of a patch that is a JSON object or an RFC 6902 list.
fn roles<'a>(patch: Option<&str>) -> Vec<Cow<'a, str>> {
    let Some(patch) = patch.map(str::trim_start) else { return Vec::new() };
    let roles: Vec<Cow<'_, str>> = if patch.starts_with('[') {
        let operations: Vec<Operation<'_>> = lenient::value(patch);
        let to_roles = operations.into_iter().filter(|operation| operation.path.as_deref().is_some_and(is_of_roles));
        to_roles
            .filter_map(|operation| operation.value.0)
            .flat_map(|json| lenient::value::<Names<'_>>(json).0)
            .collect()
    } else {
        let roles: Roles<'_> = lenient::value(patch);
        [roles.role, roles.roles, roles.custom_roles, roles.custom_roles_by_api].into_iter().flat_map(|n| n.0).collect()
    };
    roles.into_iter().map(|role| Cow::Owned(role.into_owned())).collect()
}

fn is_of_roles(path: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    matches!(last, "role" | "roles" | "custom_roles" | "customRoles")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Category, Event, Role};
    use crate::time::Timestamp;
    use crate::vendors::akuity::AkuityNormalizer;
    use crate::vendors::{Normalizer, NormalizerConfig, ReadContext};

    fn record(action: &str, object: &str, name: &str, parent: &str, patch: &str) -> String {
        serde_json::json!({
            "timestamp": "2026-03-02 08:59:30 +0000 UTC", "action": action, "actor": {"type": "user", "id": "ada@example.com"},
            "object": {"type": object, "id": {"name": name, "kind": "", "group": ""},
                       "parentId": {"name": parent, "parentName": "", "applicationName": ""}},
            "details": {"message": "", "patch": patch, "actionType": ""},
        })
        .to_string()
    }

    fn event(raw: &str) -> Event<'_> {
        let context =
            ReadContext { source: "s", observed_at: Timestamp::from_millis(1_795_960_000_000), occurrence: 0 };
        let config = NormalizerConfig { tenant: Some("org1".to_owned()), ..NormalizerConfig::default() };
        AkuityNormalizer::from(&config).normalize(raw, &context)
    }

    /// Effect, type and name of the grantee, privilege, admin, type and id of the scope.
    fn grants(raw: &str) -> Vec<String> {
        let shown = |grant: &Grant<'_>| {
            let scope = grant.scope.clone().unwrap_or_default();
            let (to, admin) = (&grant.grantee, grant.admin.map_or("-".to_owned(), |admin| admin.to_string()));
            let text = |text: &Text<'_>| text.as_deref().unwrap_or("-").to_owned();
            let place = format!("{} {}", scope.kind, text(&scope.id));
            format!("{} {} {}: {} {admin} on {place}", grant.effect, to.kind, text(&to.name), text(&grant.privilege))
        };
        event(raw).grants.iter().map(shown).collect()
    }

    #[test]
    fn roles_in_the_organization() {
        let updated = record("updated", "member", "bob@example.com", "", r#"{"role": "owner", "password": "x"}"#);
        assert_eq!(grants(&updated), ["granted user bob@example.com: owner true on organization org1"]);
        let granted = event(&updated);
        assert_eq!((granted.action, granted.category), (Action::Grant, Category::Iam));
        assert_eq!(granted.grants[0].grantee.email.as_deref(), Some("bob@example.com"));
        let patch = r#"[{"op": "replace", "path": "/spec/role", "value": "member"}, {"op": "add", "path": "/note", "value": "owner"}]"#;
        let by_operation = record("UPDATED", "Members", "bob@example.com", "", patch);
        assert_eq!(grants(&by_operation), ["granted user bob@example.com: member false on organization org1"]);
        let removed = record("removed", "member", "bob@example.com", "", "");
        assert_eq!(grants(&removed), ["revoked user bob@example.com: - - on organization org1"]);
        let invited =
            record("invited", "organization_invite", "bob@example.com", "", r#"{"role":"role:organization/admin"}"#);
        assert_eq!(
            grants(&invited),
            ["granted user bob@example.com: role:organization/admin true on organization org1"]
        );
        let withdrawn = record("uninvited", "organization_invite", "bob@example.com", "", "not JSON: role owner");
        assert_eq!(grants(&withdrawn), ["revoked user bob@example.com: - - on organization org1"]);
    }

    #[test]
    fn members_of_teams() {
        let added = record("added", "team_member", "bob@example.com", "sre", "");
        assert_eq!(grants(&added), ["granted user bob@example.com: member - on group sre"]);
        let event = event(&added);
        let target = event.target.expect("the team");
        assert_eq!(
            (target.kind, target.vendor_type.as_deref(), target.name.as_deref()),
            (ObjectType::Group, Some("team_member"), Some("sre"))
        );
        let person = &event.related[0];
        assert_eq!((person.role, person.object.email.as_deref()), (Role::Associated, Some("bob@example.com")));
        let removed = record("removed", "team_member", "bob@example.com", "sre", "");
        assert_eq!(grants(&removed), ["revoked user bob@example.com: member - on group sre"]);
    }

    #[test]
    fn members_without_their_team() {
        let raw = record("added", "team_member", "x", "", "");
        assert_eq!(grants(&raw), ["granted user x: member - on other -"]);
        let event = event(&raw);
        assert_eq!((event.target.expect("the member").kind, event.related.len()), (ObjectType::User, 0));
    }

    #[test]
    fn members_of_workspaces_are_users_or_teams() {
        let patch = r#"{"role": "WORKSPACE_MEMBER_ROLE_ADMIN"}"#;
        let user = record("updated", "workspace_member", "bob@example.com", "prod", patch);
        assert_eq!(grants(&user), ["granted user bob@example.com: WORKSPACE_MEMBER_ROLE_ADMIN true on project prod"]);
        let team = record("deleted", "workspace_member", "sre", "prod", r#"{"role": "member"}"#);
        assert_eq!(grants(&team), ["revoked team sre: member false on project prod"]);
        assert_eq!(event(&team).related[0].object.kind, ObjectType::Group);
    }

    #[test]
    fn roles_of_teams_and_keys() {
        let team = record("updated", "team", "sre", "", r#"{"custom_roles": ["deployer", "admin"]}"#);
        assert_eq!(event(&team).action, Action::Grant);
        let organization = "on organization org1";
        assert_eq!(
            grants(&team),
            [
                format!("granted team sre: deployer - {organization}"),
                format!("granted team sre: admin - {organization}")
            ]
        );
        let renamed = record("updated", "team", "sre", "", r#"{"description": "role"}"#);
        assert_eq!((event(&renamed).action, grants(&renamed).len()), (Action::Update, 0));
        let key = record("created", "apiKeys", "ci", "", r#"{"roles": ["organization/owner"], "secret": "s"}"#);
        assert_eq!(grants(&key), [format!("granted api_key ci: organization/owner true {organization}")]);
        assert!(grants(&record("created", "api_key", "ci", "", "")).is_empty());
    }

    #[test]
    fn other_objects_grant_nothing() {
        let raw = record("updated", "k8s_resource", "nginx", "", r#"{"role": "owner"}"#);
        assert!(grants(&raw).is_empty());
        assert!(grants(&record("updated", "member", "", "", r#"{"role": "owner"}"#)).is_empty());
    }

    #[test]
    fn people_in_the_message_are_related_once() {
        let raw = record("updated", "organization", "acme", "", "").replace(
            r#""message":"""#,
            r#""message":"ada@example.com asked 'Bob@Example.com', bob@example.com and <eve@example.com>. @all""#,
        );
        let event = event(&raw);
        let people: Vec<_> = event.related.iter().map(|r| (r.role, r.object.email.as_deref())).collect();
        assert_eq!(people, [(Role::Mentioned, Some("bob@example.com")), (Role::Mentioned, Some("eve@example.com"))]);
    }
}
