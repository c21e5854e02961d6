//! Who received or lost which access, from the objects and changes of Confluence's records.
//!
//! ```text
//! affected group, associated users ------------------> membership in the group
//! affected user or group, change `Type`, associated --> permission on the space or page; everywhere if it is global
//! ```

use super::mapping;
use crate::event::{Action, Change, Grant, Grantee, GranteeType, ObjectType, Related, Scope, Target};
use crate::vendors::lenient::Text;

/// The name that stands for everybody, signed in or not.
pub(super) const ANONYMOUS: &str = "Anonymous";

/// Permissions that Confluence documents as those of administrators, of the site and of a space.
const ADMIN_PRIVILEGES: &[&str] = &["SYSTEMADMINISTRATOR", "ADMINISTRATECONFLUENCE", "SETSPACEPERMISSIONS"];

/// The group whose members are administrators. Other such groups are the customer's.
const ADMIN_GROUP: &str = "confluence-administrators";

/// The changes that name the permission.
const PRIVILEGES: [&str; 3] = ["Type", "Restriction", "Permission"];

/// The access that a record says was received or lost.
pub(super) fn of<'a>(
    action: Action,
    summary: &str,
    target: Option<&Target<'a>>,
    related: &[Related<'a>],
    changes: &[Change<'a>],
) -> Vec<Grant<'a>> {
    match action {
        Action::AddMember | Action::RemoveMember => memberships(action, target, related),
        Action::Grant | Action::Revoke => permissions(action, summary, target, related, changes),
        _ => Vec::new(),
    }
}

fn new(action: Action, grantee: Grantee<'_>) -> Grant<'_> {
    match action {
        Action::Revoke | Action::RemoveMember => Grant::revoked(grantee),
        _ => Grant::granted(grantee),
    }
}

fn memberships<'a>(action: Action, target: Option<&Target<'a>>, related: &[Related<'a>]) -> Vec<Grant<'a>> {
    let Some(group) = target.filter(|target| target.kind == ObjectType::Group) else { return Vec::new() };
    let is_admin = group.name.as_deref() == Some(ADMIN_GROUP);
    let users = related.iter().map(|related| &related.object).filter(|object| object.kind == ObjectType::User);
    users
        .map(|user| Grant {
            privilege: Some("member".into()),
            admin: is_admin.then_some(true),
            scope: Some(Scope::from(group)),
            ..new(action, Grantee::from(user))
        })
        .collect()
}

/// One grant for each permission; one without, if the record names only who received or lost it.
fn permissions<'a>(
    action: Action,
    summary: &str,
    target: Option<&Target<'a>>,
    related: &[Related<'a>],
    changes: &[Change<'a>],
) -> Vec<Grant<'a>> {
    let privileges = PRIVILEGES.iter().find(|name| changes.iter().any(|change| change.field == **name));
    let grant = Grant {
        scope: scope(action, summary, target, related, changes),
        ..new(action, grantee(action, target, changes))
    };
    let Some(name) = privileges else {
        return if grant.grantee.is_identified() { vec![grant] } else { Vec::new() };
    };
    let named = changes.iter().filter(|change| change.field == *name);
    named.map(|change| grant.clone().privilege(value(action, change), ADMIN_PRIVILEGES)).collect()
}

/// The affected user or group, else the one among the changes.
fn grantee<'a>(action: Action, target: Option<&Target<'a>>, changes: &[Change<'a>]) -> Grantee<'a> {
    if let Some(target) = target.filter(|target| matches!(target.kind, ObjectType::User | ObjectType::Group)) {
        let is_everybody = target.kind == ObjectType::User && target.name.as_deref() == Some(ANONYMOUS);
        let grantee = Grantee::from(target);
        return if is_everybody { Grantee { kind: GranteeType::Anonymous, ..grantee } } else { grantee };
    }
    for (field, kind) in [("User", GranteeType::User), ("Group", GranteeType::Group)] {
        if let Some(name) = changed(action, changes, field) {
            return Grantee { kind, name: Some(name), ..Grantee::default() };
        }
    }
    Grantee::default()
}

/// The site, or the page, or the space; of a space, the change `Space` is the key.
fn scope<'a>(
    action: Action,
    summary: &str,
    target: Option<&Target<'a>>,
    related: &[Related<'a>],
    changes: &[Change<'a>],
) -> Option<Scope<'a>> {
    if mapping::begins_with(summary, mapping::GLOBAL_PERMISSION) {
        return Some(Scope { kind: ObjectType::Organization, ..Scope::default() });
    }
    let find = |kind| target.into_iter().chain(related.iter().map(|related| &related.object)).find(|o| o.kind == kind);
    if let Some(page) = find(ObjectType::Page) {
        return Some(Scope::from(page));
    }
    let key = changed(action, changes, "Space");
    let name = find(ObjectType::Space).and_then(|space| space.name.clone());
    (key.is_some() || name.is_some()).then_some(Scope { kind: ObjectType::Space, id: key, name })
}

fn changed<'a>(action: Action, changes: &[Change<'a>], field: &str) -> Text<'a> {
    changes.iter().find(|change| change.field == field).and_then(|change| value(action, change))
}

/// What was lost stands on the old side, what was received on the new one.
fn value<'a>(action: Action, change: &Change<'a>) -> Text<'a> {
    let (first, second) = match action {
        Action::Revoke => (&change.old, &change.new),
        _ => (&change.new, &change.old),
    };
    first.as_ref().or(second.as_ref()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Category, Event, GrantEffect};
    use crate::time::Timestamp;
    use crate::vendors::confluence::ConfluenceNormalizer;
    use crate::vendors::{Normalizer, NormalizerConfig, ReadContext};

    /// A record of the published shapes. Changes are `(name, old, new)`.
    fn record(
        summary: &str,
        affected: (&str, &str),
        changes: &[(&str, &str, &str)],
        associated: &[(&str, &str)],
    ) -> String {
        let object = |(name, kind): (&str, &str)| serde_json::json!({"name": name, "objectType": kind});
        let change = |(name, old, new): (&str, &str, &str)| serde_json::json!({"name": name, "oldValue": old, "newValue": new, "hiddenOldValue": "", "hiddenNewValue": ""});
        serde_json::json!({
            "author": {"displayName": "Avery Example", "accountId": "712020:5f0c"}, "creationDate": 1_764_000_000_123_i64,
            "summary": summary, "category": "Permissions", "affectedObject": object(affected),
            "changedValues": changes.iter().copied().map(change).collect::<Vec<_>>(),
            "associatedObjects": associated.iter().copied().map(object).collect::<Vec<_>>(),
        })
        .to_string()
    }

    fn event(raw: &str) -> Event<'_> {
        let context =
            ReadContext { source: "s", observed_at: Timestamp::from_millis(1_764_000_062_004), occurrence: 0 };
        ConfluenceNormalizer::from(&NormalizerConfig::default()).normalize(raw, &context)
    }

    /// Effect, type and name of the grantee, privilege, admin, type, id and name of the scope.
    fn grants(raw: &str) -> Vec<String> {
        let text = |text: &Text<'_>| text.as_deref().unwrap_or("-").to_owned();
        let shown = |grant: &Grant<'_>| {
            let scope = grant.scope.clone().unwrap_or_default();
            let (to, admin) = (&grant.grantee, grant.admin.map_or("-".to_owned(), |admin| admin.to_string()));
            let (name, privilege) = (text(&to.name), text(&grant.privilege));
            let place = format!("{} {} {}", scope.kind, text(&scope.id), text(&scope.name));
            format!("{} {} {name}: {privilege} {admin} on {place}", grant.effect, to.kind)
        };
        event(raw).grants.iter().map(shown).collect()
    }

    #[test]
    fn members_of_groups() {
        let uuid = "4d0b7f52-1111-4222-8333-444455556666";
        let group = format!("confluence-users:{uuid}");
        let people = [("Casey Newhire", "User"), ("Blake Sample", "User")];
        let added = record("User added to group", (&group, "Group"), &[], &people);
        let scope = format!("group {uuid} confluence-users");
        assert_eq!(
            grants(&added),
            [
                format!("granted user Casey Newhire: member - on {scope}"),
                format!("granted user Blake Sample: member - on {scope}")
            ]
        );
        let admins = ("confluence-administrators", "Group");
        let removed = record("User removed from group", admins, &[], &people[..1]);
        assert_eq!(grants(&removed), ["revoked user Casey Newhire: member true on group - confluence-administrators"]);
    }

    #[test]
    fn permissions_on_spaces() {
        let finance = [("Finance", "Space")];
        let new = [("Type", "", "SETSPACEPERMISSIONS"), ("Space", "", "FIN"), ("User", "", "Blake Sample")];
        let to_user = record("Space permission added", ("Blake Sample", "User"), &new, &finance);
        assert_eq!(grants(&to_user), ["granted user Blake Sample: SETSPACEPERMISSIONS true on space FIN Finance"]);
        let new = [("Group", "", "staff"), ("Space", "", "FIN"), ("Type", "", "VIEWSPACE")];
        let to_group = record("Space permission added", ("staff", "Group"), &new, &finance);
        assert_eq!(grants(&to_group), ["granted group staff: VIEWSPACE false on space FIN Finance"]);
        let to_all = record("Space permission added", ("Anonymous", "User"), &new[1..], &finance);
        assert_eq!(grants(&to_all), ["granted anonymous Anonymous: VIEWSPACE false on space FIN Finance"]);
        let old = [("Type", "COMMENT", ""), ("User", "Blake Sample", "")];
        let removed = record("Space permission removed", ("Blake Sample", "User"), &old, &finance);
        assert_eq!(grants(&removed), ["revoked user Blake Sample: COMMENT false on space - Finance"]);
        let unnamed = record("Space permission removed", ("", ""), &old, &finance);
        assert_eq!(grants(&unnamed), ["revoked user Blake Sample: COMMENT false on space - Finance"]);
    }

    #[test]
    fn permissions_everywhere() {
        let new = [("Group", "", "staff"), ("Type", "", "SYSTEMADMINISTRATOR")];
        let global = record("Global permission added", ("staff", "Group"), &new, &[]);
        assert_eq!(grants(&global), ["granted group staff: SYSTEMADMINISTRATOR true on organization - -"]);
        assert_eq!(event(&global).grants[0].effect, GrantEffect::Granted);
    }

    #[test]
    fn restrictions_of_content() {
        let new = [("Type", "", "Edit"), ("User", "", "Blake Sample")];
        let page = [("Roadmap", "Page"), ("Finance", "Space")];
        let added = record("Content restriction added", ("Blake Sample", "User"), &new, &page);
        assert_eq!(grants(&added), ["granted user Blake Sample: Edit false on page - Roadmap"]);
        assert_eq!((event(&added).action, event(&added).category), (Action::Grant, Category::Iam));
        let old = [("Restriction", "Read", "None")];
        let removed = record("Content restriction removed", ("staff", "Group"), &old, &[("News", "Blog"), page[1]]);
        assert_eq!(grants(&removed), ["revoked group staff: Read false on page - News"]);
        let of_page = record("Content restriction removed", ("Roadmap", "Page"), &old, &page[1..]);
        assert_eq!(grants(&of_page), ["revoked unknown -: Read false on page - Roadmap"]);
    }

    #[test]
    fn other_acts_grant_nothing() {
        let new = [("Type", "", "global"), ("User", "", "Blake Sample")];
        assert!(grants(&record("Space created", ("Finance", "Space"), &new, &[])).is_empty());
        assert!(grants(&record("Permission revoked", ("Finance", "Space"), &[], &[])).is_empty());
        assert!(grants(&record("User added to group", ("Blake Sample", "User"), &[], &[])).is_empty());
    }

    #[test]
    fn a_change_of_active_disables_or_enables() {
        let details = |old, new| record("User details updated", ("Blake", "User"), &[("Active", old, new)], &[]);
        for (raw, action) in [
            (details("Yes", "No"), Action::Disable),
            (details("No", "Yes"), Action::Enable),
            (details("", "Yes"), Action::Update),
            (record("User created", ("Blake", "User"), &[("Active", "No", "Yes")], &[]), Action::Create),
        ] {
            assert_eq!((event(&raw).action, event(&raw).category), (action, Category::Iam), "{raw}");
        }
    }

    #[test]
    fn the_changed_address_is_that_of_the_user() {
        let change = [("Email", "", "Blake@Example.com")];
        let email = |kind| {
            let raw = record("User details updated", ("Blake", kind), &change, &[]);
            event(&raw).target.and_then(|target| target.email.map(|email| email.into_owned()))
        };
        assert_eq!((email("User").as_deref(), email("Space")), (Some("blake@example.com"), None));
    }

    #[test]
    fn hidden_values_count_where_the_plain_ones_are_empty() {
        let raw = r#"{"creationDate": 1764000000123, "changedValues": [
            {"name": "s", "oldValue": "", "newValue": 5, "hiddenOldValue": "h1", "hiddenNewValue": "h2"}]}"#;
        let changes = event(raw).changes;
        assert_eq!((changes[0].old.as_deref(), changes[0].new.as_deref()), (Some("h1"), Some("5")));
    }
}
