//! Akuity's values mapped to the schema. None of its lists is published, so all are open.

use crate::event::{Action, ActorType, Category, ObjectType};
use crate::vendors::mapping;

use Category::{Configuration, Credential, Data, Iam};

/// Actions: by `action`, or else by `details.actionType`, ignoring case.
#[rustfmt::skip]
const ACTIONS: &[(&str, Action)] = &[
    ("created",       Action::Create),
    ("create",        Action::Create),
    ("updated",       Action::Update),
    ("update",        Action::Update),
    ("upserted",      Action::Update),
    ("patched",       Action::Update),
    ("patch",         Action::Update),
    ("deleted",       Action::Delete),
    ("delete",        Action::Delete),
    ("sync-started",  Action::Execute),
    ("sync-finished", Action::Execute),
    ("sync",          Action::Execute),
    ("promoted",      Action::Execute),
    ("regenerated",   Action::Rotate),
    ("login",         Action::Login),
    ("logout",        Action::Logout),
];

/// The category of each object type.
#[rustfmt::skip]
const OBJECTS: &[(&str, Category)] = &[
    ("k8s_resource",              Data),
    ("argocd_application",        Data),
    ("argocd_cluster",            Configuration),
    ("argocd_instance",           Configuration),
    ("argocd_project",            Configuration),
    ("member",                    Iam),
    ("team",                      Iam),
    ("team_member",               Iam),
    ("organization_invite",       Iam),
    ("custom_role",               Iam),
    ("workspace_member",          Iam),
    ("kargo_instance",            Configuration),
    ("kargo_agent",               Configuration),
    ("kargo_promotion",           Data),
    ("kargo_freight",             Data),
    ("notification_cfg",          Configuration),
    ("api_key",                   Credential),
    ("addon",                     Configuration),
    ("addon_repo",                Configuration),
    ("addon_marketplace_install", Configuration),
    ("workspace",                 Configuration),
    ("organization",              Configuration),
];

/// Actions with another meaning for one object type.
#[rustfmt::skip]
const SPECIAL: &[(&str, Action, Action)] = &[
    ("member",              Action::Create, Action::AddMember),
    ("member",              Action::Delete, Action::RemoveMember),
    ("team_member",         Action::Create, Action::AddMember),
    ("team_member",         Action::Delete, Action::RemoveMember),
    ("workspace_member",    Action::Create, Action::AddMember),
    ("workspace_member",    Action::Delete, Action::RemoveMember),
    ("organization_invite", Action::Create, Action::Invite),
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

/// The action and the category.
pub(super) fn meaning(action: Option<&str>, action_type: Option<&str>, object: Option<&str>) -> (Action, Category) {
    let done = action.and_then(action_of).or_else(|| action_type.and_then(action_of)).unwrap_or_default();
    let is_object = |known: &str| object.is_some_and(|object| known.eq_ignore_ascii_case(object));
    let done = SPECIAL.iter().find(|row| is_object(row.0) && row.1 == done).map_or(done, |row| row.2);
    let known = OBJECTS.iter().find(|row| is_object(row.0)).map(|row| row.1);
    let kind = object.map_or(ObjectType::Other, mapping::object_type_of);
    (done, mapping::category(done, known, kind, action.unwrap_or_default()))
}

/// The kind of an actor.
pub(super) fn actor_type(word: Option<&str>) -> ActorType {
    word.and_then(|word| mapping::entry_in_any_case(ACTORS, word)).unwrap_or_default()
}

fn action_of(word: &str) -> Option<Action> {
    mapping::entry_in_any_case(ACTIONS, word).or_else(|| mapping::action_of(word))
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

    #[test]
    fn every_object_of_the_documented_filters_has_an_area() {
        let objects = "k8s_resource argocd_application argocd_cluster argocd_instance argocd_project member \
                       organization_invite kargo_instance kargo_agent kargo_promotion kargo_freight custom_role \
                       notification_cfg api_key addon addon_repo addon_marketplace_install workspace workspace_member \
                       organization team team_member";
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
        assert_eq!(of("danced", Some("DANCE"), "spaceship"), (Action::Other, Category::Other));
        assert_eq!(meaning(None, None, None), (Action::Other, Category::Other));
    }
}
