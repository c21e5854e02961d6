//! Who received or lost which access, from the changes of CaptivateIQ's records.
//!
//! ```text
//! user: is_organization_admin, role -----------> privileges in the organization
//! employee visibility: user, visible_employee -> `view employee`, on that employee
//! ```

use std::borrow::Cow;

use super::data::values;
use super::mapping::{EMPLOYEE_VISIBILITY, USER};
use crate::event::{Action, Change, Grant, GrantEffect, Grantee, GranteeType, ObjectType, Target};

const ORGANIZATION_ADMIN: &str = "organization admin";

/// The action, where the changes tell more than the event type, and the access that was received or lost.
pub(super) fn of<'a>(
    action: Action,
    object: Option<&str>,
    target: Option<&Target<'a>>,
    changes: &[Change<'a>],
    tenant: Option<&Cow<'a, str>>,
) -> (Action, Vec<Grant<'a>>) {
    match (object, target) {
        (Some(USER), Some(user)) => of_user(action, user, changes, tenant),
        (Some(EMPLOYEE_VISIBILITY), _) => of_visibility(action, changes),
        _ => (action, Vec::new()),
    }
}

fn of_user<'a>(
    action: Action,
    user: &Target<'a>,
    changes: &[Change<'a>],
    tenant: Option<&Cow<'a, str>>,
) -> (Action, Vec<Grant<'a>>) {
    if !matches!(action, Action::Create | Action::Update | Action::Grant | Action::Revoke) {
        return (action, Vec::new());
    }
    let mut grants = privileges(user, changes, tenant);
    if action == Action::Create {
        // A new user had nothing to lose.
        grants.retain(|grant| grant.effect == GrantEffect::Granted);
    }
    if action != Action::Update {
        return (action, grants);
    }
    let action = match switched(changes, "is_active") {
        Some(true) => Action::Enable,
        Some(false) => Action::Disable,
        None if grants.is_empty() => Action::Update,
        None if grants.iter().any(|grant| grant.effect == GrantEffect::Granted) => Action::Grant,
        None => Action::Revoke,
    };
    (action, grants)
}

fn privileges<'a>(user: &Target<'a>, changes: &[Change<'a>], tenant: Option<&Cow<'a, str>>) -> Vec<Grant<'a>> {
    let mut grants = Vec::new();
    let mut add = |grant: Grant<'a>| grants.push(grant.scope(ObjectType::Organization, tenant.cloned(), None));
    if let Some(is_admin) = switched(changes, "is_organization_admin") {
        let grant = if is_admin { Grant::granted(user.into()) } else { Grant::revoked(user.into()) };
        add(grant.privilege(Some(ORGANIZATION_ADMIN.into()), &[ORGANIZATION_ADMIN]));
    }
    let (old, new) = values(changes, "role");
    if old != new {
        new.into_iter().for_each(|role| add(Grant::granted(user.into()).privilege(Some(role.clone()), &[])));
        old.into_iter().for_each(|role| add(Grant::revoked(user.into()).privilege(Some(role.clone()), &[])));
    }
    grants
}

/// What a field that is true or false became; `None` if it did not change.
fn switched(changes: &[Change<'_>], field: &str) -> Option<bool> {
    let (old, new) = values(changes, field);
    match (old.map(AsRef::as_ref), new.map(AsRef::as_ref)) {
        (None | Some("false"), Some("true")) => Some(true),
        (None | Some("true"), Some("false")) => Some(false),
        _ => None,
    }
}

fn of_visibility<'a>(action: Action, changes: &[Change<'a>]) -> (Action, Vec<Grant<'a>>) {
    let (action, new): (_, fn(Grantee<'a>) -> Grant<'a>) = match action {
        Action::Create | Action::Grant => (Action::Grant, Grant::granted),
        Action::Delete | Action::Revoke => (Action::Revoke, Grant::revoked),
        _ => return (action, Vec::new()),
    };
    let id = |field| {
        let (old, new) = values(changes, field);
        new.or(old).cloned()
    };
    let (user, employee) = (id("user"), id("visible_employee"));
    if user.is_none() {
        return (action, Vec::new());
    }
    let grantee = Grantee { kind: GranteeType::User, id: user, ..Grantee::default() };
    let grant = new(grantee).privilege(Some("view employee".into()), &[]);
    (action, vec![grant.scope(ObjectType::User, employee, None)])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::event::{Category, Event};
    use crate::time::Timestamp;
    use crate::vendors::captivateiq::CaptivateIqNormalizer;
    use crate::vendors::{Normalizer, NormalizerConfig, ReadContext};

    fn record(event_type: &str, object_type: &str, data: Value) -> String {
        let mut record = json!({
            "id": "a", "created_at": "2025-02-23T14:30:00Z", "organization_id": "org1", "object_id": "u7",
            "object_name": "Blake@Example.com", "user_id": "u1",
        });
        record["event_type"] = json!(event_type);
        record["object_type"] = json!(object_type);
        record["data"] = data;
        record.to_string()
    }

    fn event(raw: &str) -> Event<'_> {
        let context =
            ReadContext { source: "s", observed_at: Timestamp::from_millis(1_795_960_000_000), occurrence: 0 };
        CaptivateIqNormalizer::from(&NormalizerConfig::default()).normalize(raw, &context)
    }

    /// The action, and effect, id of the grantee, privilege, admin, type and id of the scope.
    fn grants(raw: &str) -> (Action, Vec<String>) {
        let event = event(raw);
        assert_eq!(event.category, Category::Iam, "{raw}");
        let shown = |grant: &Grant<'_>| {
            let scope = grant.scope.clone().unwrap_or_default();
            let text = |text: &Option<Cow<'_, str>>| text.as_deref().unwrap_or("-").to_owned();
            let admin = grant.admin.map_or("-".to_owned(), |admin| admin.to_string());
            let (id, privilege) = (text(&grant.grantee.id), text(&grant.privilege));
            format!("{} {id}: {privilege} {admin} on {} {}", grant.effect, scope.kind, text(&scope.id))
        };
        (event.action, event.grants.iter().map(shown).collect())
    }

    #[test]
    fn administrators_of_the_organization() {
        let granted = ["granted u7: organization admin true on organization org1".to_owned()];
        for data in [
            json!({"is_organization_admin": {"old": false, "new": true}}),
            json!({"is_organization_admin": [false, true]}),
            json!({"is_organization_admin": true}),
        ] {
            assert_eq!(grants(&record("update", "user", data)), (Action::Grant, granted.to_vec()));
        }
        let lost = record("update", "user", json!({"is_organization_admin": {"old": true, "new": false}}));
        let revoked = ["revoked u7: organization admin true on organization org1".to_owned()];
        assert_eq!(grants(&lost), (Action::Revoke, revoked.to_vec()));
        let same = record("update", "user", json!({"is_organization_admin": [true, true]}));
        assert_eq!(grants(&same), (Action::Update, Vec::new()));
        let grantee = &event(&lost).grants[0].grantee.clone();
        assert_eq!((grantee.kind, grantee.email.as_deref()), (GranteeType::User, Some("blake@example.com")));
    }

    #[test]
    fn roles_of_users() {
        let changed = record("user.update", "user", json!({"role": {"old": "Viewer", "new": "Editor"}}));
        let both = ["granted u7: Editor - on organization org1", "revoked u7: Viewer - on organization org1"];
        assert_eq!(grants(&changed), (Action::Grant, both.map(str::to_owned).to_vec()));
        let data = json!({"role": "Editor", "is_organization_admin": false, "password": "hunter2"});
        assert_eq!(grants(&record("create", "user", data)), (Action::Create, vec![both[0].to_owned()]));
    }

    #[test]
    fn users_are_disabled_and_enabled() {
        for (data, action) in [
            (json!({"is_active": {"old": true, "new": false}}), Action::Disable),
            (json!({"is_active": [false, true]}), Action::Enable),
            (json!({"is_active": [true, true]}), Action::Update),
            (json!({"name": {"old": "a", "new": "b"}}), Action::Update),
        ] {
            assert_eq!(grants(&record("update", "user", data)), (action, Vec::new()));
        }
    }

    #[test]
    fn whose_pay_a_user_may_see() {
        let data = json!({"user": "u9", "visible_employee": "e3", "source": "manual"});
        let created = record("create", "employee visibility", data.clone());
        assert_eq!(grants(&created), (Action::Grant, vec!["granted u9: view employee - on user e3".to_owned()]));
        let deleted = record("delete", "employee_visibility", data);
        assert_eq!(grants(&deleted), (Action::Revoke, vec!["revoked u9: view employee - on user e3".to_owned()]));
        assert_eq!(grants(&record("create", "employee_visibility", Value::Null)), (Action::Grant, Vec::new()));
    }

    #[test]
    fn fields_of_other_objects_grant_nothing() {
        let raw = record("update", "record", json!({"role": ["a", "b"], "is_organization_admin": true}));
        let event = event(&raw);
        assert_eq!((event.action, event.category, event.grants.len()), (Action::Update, Category::Data, 0));
    }
}
