//! Akuity's values mapped to the schema. None of its lists is published, so all are open.

use crate::event::{Action, ActorType, Category, ObjectType};
use crate::vendors::mapping;

use Category::{Configuration, Credential, Data, Iam};

/// Actions that `mapping::action_of` does not know, or knows otherwise. Words count by their letters, see [`mapping::is_same_word`].
#[rustfmt::skip]
const ACTIONS: &[(&str, Action)] = &[
    ("created",       Action::Create),
    ("updated",       Action::Update),
    ("deleted",       Action::Delete),
    ("sync-started",  Action::Execute),
    ("sync-finished", Action::Execute),
    ("accepted",      Action::Create),
    ("reset",         Action::Update),
    ("requested",     Action::Execute),
    ("rolled-back",   Action::Restore),
    ("rollback",      Action::Restore),
];

/// A type of object: the vendor's word, the type, and the category.
type Object = (&'static str, ObjectType, Category);

/// The types of objects, in singular. Filters of the API name some of them in plural: `customRoles`, `addons`.
#[rustfmt::skip]
const OBJECTS: &[Object] = &[
    ("k8s_resource",              ObjectType::Other,        Data),
    ("argocd_application",        ObjectType::Application,  Data),
    ("argocd_cluster",            ObjectType::Cluster,      Configuration),
    ("argocd_instance",           ObjectType::Cluster,      Configuration),
    ("argocd_project",            ObjectType::Project,      Configuration),
    (MEMBER,                      ObjectType::User,         Iam),
    (TEAM,                        ObjectType::Group,        Iam),
    (TEAM_MEMBER,                 ObjectType::Group,        Iam),
    (INVITE,                      ObjectType::User,         Iam),
    ("custom_role",               ObjectType::Role,         Iam),
    (WORKSPACE_MEMBER,            ObjectType::Project,      Iam),
    ("user_mfa",                  ObjectType::User,         Iam),
    ("mfa_reset",                 ObjectType::User,         Iam),
    ("kargo_instance",            ObjectType::Cluster,      Configuration),
    ("kargo_agent",               ObjectType::Cluster,      Configuration),
    ("kargo_promotion",           ObjectType::Other,        Data),
    ("kargo_freight",             ObjectType::Other,        Data),
    ("notification_cfg",          ObjectType::Integration,  Configuration),
    (API_KEY,                     ObjectType::ApiKey,       Credential),
    ("addon",                     ObjectType::Integration,  Configuration),
    ("addon_repo",                ObjectType::Integration,  Configuration),
    ("addon_marketplace_install", ObjectType::Integration,  Configuration),
    ("mcp_server",                ObjectType::Integration,  Configuration),
    ("ai_conversation",           ObjectType::Other,        Data),
    ("incident",                  ObjectType::Other,        Data),
    ("runbook",                   ObjectType::Other,        Data),
    ("workspace",                 ObjectType::Project,      Configuration),
    ("organization",              ObjectType::Organization, Configuration),
    ("sso_configuration",         ObjectType::Setting,      Configuration),
    ("domain",                    ObjectType::Setting,      Configuration),
    ("oidc_map",                  ObjectType::Setting,      Iam),
    ("teams_oidc_map",            ObjectType::Setting,      Iam),
    ("team_oidc_map",             ObjectType::Setting,      Iam),
];

/// A member of the organization.
pub(super) const MEMBER: &str = "member";
/// A team.
pub(super) const TEAM: &str = "team";
/// A member of a team.
pub(super) const TEAM_MEMBER: &str = "team_member";
/// A user or team that is a member of a workspace.
pub(super) const WORKSPACE_MEMBER: &str = "workspace_member";
/// An invitation to the organization.
pub(super) const INVITE: &str = "organization_invite";
/// A key of the API.
pub(super) const API_KEY: &str = "api_key";

/// Kinds of Kubernetes resources that give access; `k8s_resource` is the type of all.
#[rustfmt::skip]
const RESOURCES: &[Object] = &[
    ("Role",               ObjectType::Role,  Iam),
    ("ClusterRole",        ObjectType::Role,  Iam),
    ("RoleBinding",        ObjectType::Other, Iam),
    ("ClusterRoleBinding", ObjectType::Other, Iam),
    ("ServiceAccount",     ObjectType::Other, Iam),
    ("Secret",             ObjectType::Token, Credential),
];

/// Actions with another meaning for one type of object. A role is all that can be updated of a member.
#[rustfmt::skip]
const SPECIAL: &[(&str, &[(Action, Action)])] = &[
    (MEMBER,            &[(Action::Create, Action::AddMember), (Action::Delete, Action::RemoveMember),
                          (Action::Update, Action::Grant)]),
    (TEAM_MEMBER,       &[(Action::Create, Action::AddMember), (Action::Delete, Action::RemoveMember)]),
    (WORKSPACE_MEMBER,  &[(Action::Create, Action::AddMember), (Action::Delete, Action::RemoveMember),
                          (Action::Update, Action::Grant)]),
    (INVITE,            &[(Action::Create, Action::Invite), (Action::Delete, Action::Revoke),
                          (Action::RemoveMember, Action::Revoke)]),
    (API_KEY,           &[(Action::Update, Action::Rotate)]),
    ("user_mfa",        &[(Action::Update, Action::MfaDisable), (Action::Delete, Action::MfaDisable),
                          (Action::Execute, Action::MfaDisable), (Action::Disable, Action::MfaDisable)]),
    ("mfa_reset",       &[(Action::Create, Action::MfaDisable), (Action::Update, Action::MfaDisable),
                          (Action::Execute, Action::MfaDisable)]),
    ("kargo_promotion", &[(Action::Create, Action::Execute)]),
];

/// Kinds of actors.
#[rustfmt::skip]
const ACTORS: &[(&str, ActorType)] = &[
    ("user",        ActorType::User),
    ("argocd_user", ActorType::User),
    ("kargo_user",  ActorType::User),
    ("api_key",     ActorType::ApiKey),
    ("agent",       ActorType::Service),
    ("system",      ActorType::System),
];

/// What the words of a record mean.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meaning {
    /// The word of [`OBJECTS`] for the type of the object.
    pub(super) object: Option<&'static str>,
    /// Its type.
    pub(super) kind: ObjectType,
    /// What was done.
    pub(super) action: Action,
    category: Option<Category>,
}

impl Meaning {
    /// By `action`, else by `details.actionType`; `resource` is the kind of a Kubernetes resource.
    pub(super) fn of(
        action: Option<&str>,
        action_type: Option<&str>,
        object: Option<&str>,
        resource: Option<&str>,
    ) -> Self {
        let known = object.and_then(|object| OBJECTS.iter().find(|row| mapping::is_same_word(object, row.0)));
        let by_resource = || RESOURCES.iter().find(|row| resource.is_some_and(|kind| kind.eq_ignore_ascii_case(row.0)));
        let row = known.filter(|row| row.0 == "k8s_resource").and_then(|_| by_resource()).or(known);
        let object_word = known.map(|row| row.0);
        let done = action.and_then(|word| action_of(word, object_word));
        let done = done.or_else(|| action_type.and_then(|word| action_of(word, object_word))).unwrap_or_default();
        Self {
            object: object_word,
            kind: row.map_or_else(|| object.map_or(ObjectType::Other, mapping::object_type_of), |row| row.1),
            action: done,
            category: row.map(|row| row.2),
        }
    }

    /// The category of the act; `event_type` is the vendor's word for it.
    pub(super) fn category(&self, event_type: &str) -> Category {
        mapping::category(self.action, self.category, self.kind, event_type)
    }
}

/// The kind of an actor. Accounts of Argo CD and Kargo are people, unless their names say otherwise.
pub(super) fn actor_type(word: Option<&str>, id: Option<&str>) -> ActorType {
    let kind = word.and_then(|word| mapping::entry_in_any_case(ACTORS, word)).unwrap_or_default();
    let is_account =
        word.is_some_and(|word| word.eq_ignore_ascii_case("argocd_user") || word.eq_ignore_ascii_case("kargo_user"));
    let Some(id) = id.filter(|_| is_account) else { return kind };
    if id == "admin" {
        ActorType::Admin
    } else if id.starts_with("system-") {
        ActorType::System
    } else if id.ends_with("-controller") || id.starts_with("controller:") || id.starts_with("kubernetes:") {
        ActorType::Service
    } else {
        kind
    }
}

fn action_of(word: &str, object: Option<&str>) -> Option<Action> {
    if object == Some(INVITE) && mapping::is_same_word(word, "rejected") {
        return Some(Action::Revoke);
    }
    let is_membership = matches!(object, Some(MEMBER | TEAM_MEMBER | WORKSPACE_MEMBER));
    if is_membership && mapping::is_same_word(word, "uninvited") {
        return Some(Action::RemoveMember);
    }
    let own = ACTIONS.iter().find(|row| mapping::is_same_word(word, row.0)).map(|row| row.1);
    let action = own.or_else(|| mapping::action_of(word))?;
    let special = SPECIAL.iter().find(|row| object == Some(row.0)).map_or(&[][..], |row| row.1);
    Some(special.iter().find(|row| row.0 == action).map_or(action, |row| row.1))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_tables_have_no_repeats() {
        let distinct = |words: Vec<&str>| words.iter().collect::<BTreeSet<_>>().len();
        assert_eq!(distinct(ACTIONS.iter().map(|row| row.0).collect()), ACTIONS.len());
        assert_eq!(distinct(OBJECTS.iter().map(|row| row.0).collect()), OBJECTS.len());
        assert_eq!(distinct(ACTORS.iter().map(|row| row.0).collect()), ACTORS.len());
        for row in SPECIAL {
            assert!(OBJECTS.iter().any(|known| known.0 == row.0), "{}", row.0);
        }
    }

    fn meaning(action: Option<&str>, action_type: Option<&str>, object: Option<&str>) -> (Action, Category) {
        let meaning = Meaning::of(action, action_type, object, None);
        (meaning.action, meaning.category(action.unwrap_or_default()))
    }

    #[test]
    fn every_object_of_the_documented_filters_has_an_area() {
        let objects = "k8s_resource argocd_application argocd_cluster argocd_instance argocd_project member \
                       organization_invite kargo_instance kargo_agent kargo_promotion kargo_freight custom_role \
                       notification_cfg api_key addon addon_repo addon_marketplace_install workspace workspace_member \
                       organization team team_member customRoles apiKeys addons addonRepos teams_oidc_map";
        for object in objects.split_whitespace() {
            assert_ne!(meaning(Some("updated"), None, Some(object)).1, Category::Other, "{object}");
        }
    }

    #[test]
    fn the_action_counts_before_its_type() {
        let of = |action, kind, object| meaning(Some(action), kind, Some(object));
        assert_eq!(of("deleted", Some("CREATE"), "custom_role"), (Action::Delete, Iam));
        assert_eq!(of("renamed", Some("PATCH"), "k8s_resource"), (Action::Update, Data));
        assert_eq!(of("sync-started", Some("SYNC"), "argocd_application"), (Action::Execute, Data));
        assert_eq!(of("created", None, "team_member"), (Action::AddMember, Iam));
        assert_eq!(of("created", None, "organization_invite"), (Action::Invite, Iam));
        assert_eq!(of("created", None, "api_key"), (Action::Create, Credential));
        assert_eq!(of("login", None, "organization"), (Action::Login, Category::Authentication));
        assert_eq!(of("revoked", None, "API_KEY"), (Action::Revoke, Credential));
        assert_eq!(of("added", None, "team_member"), (Action::AddMember, Iam));
        assert_eq!(of("removed", None, "Team_Member"), (Action::RemoveMember, Iam));
        assert_eq!(of("exported", None, "signing_key"), (Action::Export, Credential));
        assert_eq!(of("rotated", None, "api_key"), (Action::Rotate, Credential));
        assert_eq!(of("updated", None, "apiKeys"), (Action::Rotate, Credential));
        assert_eq!(of("updated", None, "member"), (Action::Grant, Iam));
        assert_eq!(of("UPDATED", None, "workspace_member"), (Action::Grant, Iam));
        assert_eq!(of("updated", None, "team_member"), (Action::Update, Iam));
        assert_eq!(of("uninvited", None, "member"), (Action::RemoveMember, Iam));
        for ended in ["deleted", "rejected", "uninvited", "revoked", "left"] {
            assert_eq!(of(ended, None, "organization_invite"), (Action::Revoke, Iam), "{ended}");
        }
        assert_eq!(of("invited", None, "organization_invite"), (Action::Invite, Iam));
        assert_eq!(of("accepted", None, "team_member"), (Action::AddMember, Iam));
        assert_eq!(of("joined", None, "organization_invite"), (Action::AddMember, Iam));
        assert_eq!(of("rejected", None, "kargo_promotion"), (Action::Update, Data));
        assert_eq!(of("created", None, "kargo_promotion"), (Action::Execute, Data));
        assert_eq!(of("reset", None, "user_mfa"), (Action::MfaDisable, Iam));
        assert_eq!(of("requested", None, "mfa_reset"), (Action::MfaDisable, Iam));
        assert_eq!(of("Sync Started", None, "argocd_application"), (Action::Execute, Data));
        assert_eq!(of("rolled_back", None, "argocd_application"), (Action::Restore, Data));
        assert_eq!(of("installed", None, "mcp_server"), (Action::Create, Configuration));
        assert_eq!(of("updated", None, "sso_configuration"), (Action::Update, Configuration));
        assert_eq!(of("enabled", None, "addon"), (Action::Enable, Configuration));
        assert_eq!(of("danced", Some("DANCE"), "spaceship"), (Action::Other, Category::Other));
        assert_eq!(meaning(None, None, None), (Action::Other, Category::Other));
    }

    #[test]
    fn resources_that_give_access_are_not_data() {
        let of = |kind| {
            let meaning = Meaning::of(Some("deleted"), None, Some("k8s_resource"), Some(kind));
            (meaning.kind, meaning.category(""))
        };
        assert_eq!(of("ClusterRole"), (ObjectType::Role, Iam));
        assert_eq!(of("RoleBinding"), (ObjectType::Other, Iam));
        assert_eq!(of("Secret"), (ObjectType::Token, Credential));
        assert_eq!(of("Deployment"), (ObjectType::Other, Data));
        assert_eq!(Meaning::of(None, None, Some("argocd_project"), Some("Secret")).kind, ObjectType::Project);
    }

    #[test]
    fn accounts_of_argo_cd_and_kargo_are_people_or_services() {
        for (word, id, kind) in [
            ("argocd_user", "kargo-controller", ActorType::Service),
            ("kargo_user", "controller:kargo", ActorType::Service),
            ("kargo_user", "kubernetes:system:serviceaccount:a:b", ActorType::Service),
            ("argocd_user", "system-kubevision", ActorType::System),
            ("argocd_user", "admin", ActorType::Admin),
            ("argocd_user", "ada@example.com", ActorType::User),
            ("user", "admin", ActorType::User),
            ("API_KEY", "admin", ActorType::ApiKey),
            ("robot", "admin", ActorType::Unknown),
        ] {
            assert_eq!(actor_type(Some(word), Some(id)), kind, "{word} {id}");
        }
    }
}
