//! Confluence's summaries and categories mapped to the schema. Both lists are open.

use crate::event::{Action, Category, ObjectType};
use crate::vendors::mapping;

use Action::{
    AddMember, Archive, Create, Delete, Disable, Enable, Export, Grant, Import, Read, RemoveMember, Restore, Revoke,
    Update,
};
use Category::{Configuration, Data, Iam};

/// Prefixes of summaries, ignoring case. No row is a prefix of another, so their order does not matter.
#[rustfmt::skip]
const SUMMARIES: &[(&str, Action, Category)] = &[
    ("Space created",               Create,       Data),
    ("Space deleted",               Delete,       Data),
    ("Space archived",              Archive,      Data),
    ("Space exported",              Export,       Data),
    ("Space imported",              Import,       Data),
    ("Space trash emptied",         Delete,       Data),
    ("Space configuration updated", Update,       Configuration),
    ("Space logo uploaded",         Update,       Configuration),
    ("Global settings changed",     Update,       Configuration),
    ("Site logo changed",           Update,       Configuration),
    ("Color scheme modified",       Update,       Configuration),
    ("User created",                Create,       Iam),
    ("User deactivated",            Disable,      Iam),
    ("User reactivated",            Enable,       Iam),
    ("User details updated",        Update,       Iam),
    ("User deleted",                Delete,       Iam),
    ("User added to group",         AddMember,    Iam),
    ("User removed from group",     RemoveMember, Iam),
    ("Group created",               Create,       Iam),
    ("Group added",                 Create,       Iam),
    ("Group deleted",               Delete,       Iam),
    ("Global permission added",     Grant,        Iam),
    ("Global permission removed",   Revoke,       Iam),
    ("Space permission added",      Grant,        Iam),
    ("Space permission removed",    Revoke,       Iam),
    // A restriction revokes a permission, and its removal grants it again.
    ("Content restriction added",   Revoke,       Iam),
    ("Content restriction removed", Grant,        Iam),
    ("Public links enabled",        Enable,       Configuration),
    ("Public links disabled",       Disable,      Configuration),
    ("Page archived",               Archive,      Data),
    ("Page restored",               Restore,      Data),
    ("Page viewed with admin key",  Read,         Data),
    ("Page template created",       Create,       Configuration),
    ("Page template updated",       Update,       Configuration),
];

/// The categories of Confluence's own categories, for summaries that are not in the table.
#[rustfmt::skip]
const CATEGORIES: &[(&str, Category)] = &[
    ("Users and groups", Iam),
    ("Permissions",      Iam),
    ("Spaces",           Data),
    ("Page",             Data),
    ("Pages",            Data),
];

/// The action and the category.
pub(super) fn meaning(summary: Option<&str>, category: Option<&str>, object: ObjectType) -> (Action, Category) {
    let summary = summary.unwrap_or_default();
    let row = SUMMARIES.iter().find(|row| begins_with(summary, row.0));
    let action = row.map(|row| row.1).or_else(|| mapping::action_of(summary)).unwrap_or_default();
    let area = || CATEGORIES.iter().find(|row| category.is_some_and(|category| row.0.eq_ignore_ascii_case(category)));
    let known = row.map(|row| row.2).or_else(|| area().map(|row| row.1));
    (action, mapping::category(action, known, object, summary))
}

fn begins_with(text: &str, beginning: &str) -> bool {
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
    fn every_documented_kind_of_event_is_known() {
        for summary in [
            "Space archived",
            "Space trash emptied",
            "User reactivated",
            "Group added",
            "Global permission removed",
            "Content restriction added",
            "Public links disabled",
            "Page viewed with admin key",
            "Page template updated",
            "Color scheme modified",
        ] {
            assert_ne!(meaning(Some(summary), None, ObjectType::Other).0, Action::Other, "{summary}");
        }
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
