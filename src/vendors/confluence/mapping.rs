//! Confluence's summaries and categories mapped to the schema. Both lists are open.

use crate::event::{Action, Category, ObjectType};
use crate::vendors::mapping;

use Action::{
    AddMember, Archive, Create, Delete, Disable, Enable, Export, Grant, Import, List, Read, RemoveMember, Restore,
    Revoke, Update,
};
use Category::{Configuration, Data, Iam};

/// The summary of records that say whether an account is active.
pub(super) const USER_DETAILS: &str = "User details updated";

/// The beginning of summaries about permissions that hold everywhere.
pub(super) const GLOBAL_PERMISSION: &str = "Global permission";

/// Prefixes of summaries, ignoring case. No row is a prefix of another, so their order does not matter.
#[rustfmt::skip]
const SUMMARIES: &[(&str, Action, Category)] = &[
    ("Space created",               Create,       Data),
    ("Space deleted",               Delete,       Data),
    ("Space marked as deleted",     Delete,       Data),
    ("Deleted space restored",      Restore,      Data),
    ("Space archived",              Archive,      Data),
    ("Space unarchived",            Restore,      Data),
    ("Space export",                Export,       Data),
    ("Space import",                Import,       Data),
    ("Space trash emptied",         Delete,       Data),
    ("Space configuration updated", Update,       Configuration),
    ("Space key updated",           Update,       Configuration),
    ("Space logo uploaded",         Update,       Configuration),
    ("Space owner updated",         Update,       Iam),
    ("Global settings changed",     Update,       Configuration),
    ("Site logo changed",           Update,       Configuration),
    ("Color scheme modified",       Update,       Configuration),
    ("Audit Log configuration",     Update,       Configuration),
    ("Audit Log search",            List,         Data),
    ("User created",                Create,       Iam),
    ("User deactivated",            Disable,      Iam),
    ("User reactivated",            Enable,       Iam),
    (USER_DETAILS,                  Update,       Iam),
    ("User renamed",                Update,       Iam),
    ("User deleted",                Delete,       Iam),
    ("User added to group",         AddMember,    Iam),
    ("User removed from group",     RemoveMember, Iam),
    ("User directory created",      Create,       Configuration),
    ("Group created",               Create,       Iam),
    ("Group added",                 Create,       Iam),
    ("Group deleted",               Delete,       Iam),
    ("Global permission added",     Grant,        Iam),
    ("Global permission removed",   Revoke,       Iam),
    ("Space permission added",      Grant,        Iam),
    ("Space permission removed",    Revoke,       Iam),
    // A restriction names who may still view or edit the page: added, that user or group has the right. That a first one shuts
    // out everybody else is not in the record.
    ("Content restriction added",   Grant,        Iam),
    ("Content restriction removed", Revoke,       Iam),
    ("Permission updated",          Update,       Iam),
    ("Permission revoked",          Revoke,       Iam),
    ("Public links enabled",        Enable,       Configuration),
    ("Public links disabled",       Disable,      Configuration),
    ("Page created",                Create,       Data),
    ("Page deleted",                Delete,       Data),
    ("Page moved",                  Update,       Data),
    ("Page archived",               Archive,      Data),
    ("Page restored",               Restore,      Data),
    ("Page viewed with admin key",  Read,         Data),
    ("Page template created",       Create,       Configuration),
    ("Page template updated",       Update,       Configuration),
    ("Template deleted",            Delete,       Configuration),
    ("App enabled",                 Enable,       Configuration),
    ("App disabled",                Disable,      Configuration),
    ("App installed",               Create,       Configuration),
    ("App uninstalled",             Delete,       Configuration),
    ("App updated",                 Update,       Configuration),
];

/// Confluence's category of records about permissions.
const PERMISSIONS: &str = "Permissions";

/// The categories of Confluence's own categories, for summaries that are not in the table.
#[rustfmt::skip]
const CATEGORIES: &[(&str, Category)] = &[
    ("Users and groups",   Iam),
    (PERMISSIONS,          Iam),
    ("Spaces",             Data),
    ("Page",               Data),
    ("Pages",              Data),
    ("Pages and Blogs",    Data),
    ("Content management", Data),
    ("Import/Export",      Data),
    ("Apps",               Configuration),
    ("Auditing",           Configuration),
];

/// The types of objects. Others are read by `mapping::object_type_of`.
#[rustfmt::skip]
const OBJECTS: &[(&str, ObjectType)] = &[
    ("User",      ObjectType::User),
    ("Group",     ObjectType::Group),
    ("Space",     ObjectType::Space),
    ("Page",      ObjectType::Page),
    ("Blog",      ObjectType::Page),
    ("App",       ObjectType::Integration),
    ("Directory", ObjectType::Integration),
];

/// The type of an object.
pub(super) fn object_type(word: &str) -> ObjectType {
    mapping::entry_in_any_case(OBJECTS, word).unwrap_or_else(|| mapping::object_type_of(word))
}

/// The action and the category.
pub(super) fn meaning(summary: Option<&str>, category: Option<&str>, object: ObjectType) -> (Action, Category) {
    let summary = summary.unwrap_or_default();
    let row = SUMMARIES.iter().find(|row| begins_with(summary, row.0));
    let action = row.map(|row| row.1).or_else(|| unlisted(summary, category)).unwrap_or_default();
    let area = || CATEGORIES.iter().find(|row| category.is_some_and(|category| row.0.eq_ignore_ascii_case(category)));
    let known = row.map(|row| row.2).or_else(|| area().map(|row| row.1));
    (action, mapping::category(action, known, object, summary))
}

/// The action of a summary that is not in the table: by its verb. What is added to the permissions is granted, not created.
fn unlisted(summary: &str, category: Option<&str>) -> Option<Action> {
    let is_permission = category.is_some_and(|category| category.eq_ignore_ascii_case(PERMISSIONS));
    match mapping::action_of(summary)? {
        Create if is_permission => Some(Grant),
        Delete if is_permission => Some(Revoke),
        action => Some(action),
    }
}

pub(super) fn begins_with(text: &str, beginning: &str) -> bool {
    text.as_bytes().get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_hides_another() {
        for (index, row) in SUMMARIES.iter().enumerate() {
            let hidden =
                SUMMARIES.iter().enumerate().any(|(other, longer)| other != index && begins_with(longer.0, row.0));
            assert!(!hidden, "{}", row.0);
            assert_eq!(meaning(Some(row.0), None, ObjectType::Other), (row.1, row.2));
        }
    }

    #[test]
    fn content_is_granted_to_whom_a_restriction_names() {
        let action = |summary| meaning(Some(summary), Some("Permissions"), ObjectType::User).0;
        assert_eq!(action("Content restriction added"), Grant);
        assert_eq!(action("Content restriction removed"), Revoke);
    }

    #[test]
    fn beginnings_count_and_unknown_ones_fall_back_to_the_category() {
        assert_eq!(
            meaning(Some("space permission added to group"), Some("Permissions"), ObjectType::Other),
            (Grant, Iam)
        );
        assert_eq!(meaning(Some("User renamed"), Some("Users and groups"), ObjectType::Other), (Update, Iam));
        assert_eq!(meaning(Some("Permission revoked"), Some("Permissions"), ObjectType::Other), (Revoke, Iam));
        assert_eq!(
            meaning(Some("Audit Log configuration updated"), Some("Auditing"), ObjectType::Other),
            (Update, Configuration)
        );
        assert_eq!(meaning(Some("Group renamed"), Some("Users and groups"), ObjectType::Group), (Update, Iam));
        assert_eq!(meaning(Some("Key added"), Some("permissions"), ObjectType::User), (Grant, Iam));
        assert_eq!(meaning(Some("Anonymous access removed"), Some("Permissions"), ObjectType::Other), (Revoke, Iam));
        assert_eq!(meaning(Some("App removed"), Some("Apps"), ObjectType::Integration), (Delete, Configuration));
        assert_eq!(meaning(Some("Space imported"), Some("Import/Export"), ObjectType::Space), (Import, Data));
        assert_eq!(
            meaning(Some("Personal access token created"), Some("Security"), ObjectType::Other),
            (Create, Category::Credential)
        );
        assert_eq!(
            meaning(Some("Password changed"), Some("Users and groups"), ObjectType::User),
            (Action::PasswordChange, Category::Credential)
        );
        assert_eq!(meaning(Some("Page deleted"), Some("Pages"), ObjectType::Other), (Delete, Data));
        assert_eq!(
            meaning(Some("Login failed"), Some("Security"), ObjectType::Other),
            (Action::Login, Category::Authentication)
        );
        assert_eq!(meaning(Some("User danced"), Some("Users and groups"), ObjectType::Other), (Action::Other, Iam));
        assert_eq!(
            meaning(Some("Seite verschoben"), Some("Seiten"), ObjectType::Other),
            (Action::Other, Category::Other)
        );
        assert_eq!(meaning(None, None, ObjectType::Other), (Action::Other, Category::Other));
        assert_eq!(meaning(Some("Üser"), None, ObjectType::Other), (Action::Other, Category::Other));
    }
}
