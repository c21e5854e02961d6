//! CaptivateIQ's words mapped to the schema. There is no public catalog: the words are those of the vendor's schema, samples and
//! objects of its API. Both lists are open.

use crate::event::{Action, Category, ObjectType};
use crate::vendors::mapping::{self, is_same_word};

use Category::{Configuration, Credential, Data, Iam};

/// The event types in the vendor's schema and samples. `mapping` maps others word by word.
const ACTIONS: &[(&str, Action)] = &[
    ("create", Action::Create),
    ("delete", Action::Delete),
    ("update", Action::Update),
    ("user.login", Action::Login),
    ("user.logout", Action::Logout),
];

/// A user of the organization.
pub(super) const USER: &str = "user";
/// Whose pay a user may see.
pub(super) const EMPLOYEE_VISIBILITY: &str = "employee_visibility";

/// A type of object: the vendor's word, the type, and the category.
type Object = (&'static str, ObjectType, Category);

/// The types of objects: audit records name the first five, the API the others. Some contain a blank.
#[rustfmt::skip]
const OBJECTS: &[Object] = &[
    ("column",                   ObjectType::Other,        Data),
    ("worksheet",                ObjectType::Other,        Data),
    ("workbook",                 ObjectType::Other,        Data),
    ("record",                   ObjectType::Other,        Data),
    ("report",                   ObjectType::Report,       Data),
    ("data_workbook",            ObjectType::Other,        Data),
    ("data_worksheet",           ObjectType::Other,        Data),
    ("attribute_worksheet",      ObjectType::Other,        Data),
    ("attribute_record",         ObjectType::Other,        Data),
    ("transformation_worksheet", ObjectType::Other,        Data),
    ("picklist_option",          ObjectType::Other,        Data),
    ("report_model",             ObjectType::Report,       Data),
    ("report_model_export",      ObjectType::Report,       Data),
    ("dashboard",                ObjectType::Report,       Data),
    ("plan",                     ObjectType::Plan,         Data),
    ("period_group",             ObjectType::Plan,         Data),
    ("period_date",              ObjectType::Plan,         Data),
    ("job",                      ObjectType::Other,        Data),
    ("job_aggregation",          ObjectType::Other,        Data),
    ("upload",                   ObjectType::Other,        Data),
    ("employee_assumption",      ObjectType::Other,        Data),
    ("employee",                 ObjectType::User,         Data),
    ("hierarchy",                ObjectType::Group,        Data),
    ("hierarchy group",          ObjectType::Group,        Data),
    (EMPLOYEE_VISIBILITY,        ObjectType::User,         Iam),
    (USER,                       ObjectType::User,         Iam),
    ("role",                     ObjectType::Role,         Iam),
    ("permission",               ObjectType::Role,         Iam),
    ("api_token",                ObjectType::Token,        Credential),
    ("organization",             ObjectType::Organization, Configuration),
    ("organization settings",    ObjectType::Setting,      Configuration),
    ("connector",                ObjectType::Integration,  Configuration),
    ("sso",                      ObjectType::Setting,      Configuration),
    ("scim",                     ObjectType::Setting,      Configuration),
];

/// The action of an event type. `impersonate.start` is an impersonation, whatever the last verb is.
pub(super) fn action_of(word: &str) -> Action {
    const IMPERSONATION: &[u8] = b"impersonat";
    if word.as_bytes().windows(IMPERSONATION.len()).any(|part| part.eq_ignore_ascii_case(IMPERSONATION)) {
        return Action::Impersonate;
    }
    mapping::entry_in_any_case(ACTIONS, word).or_else(|| mapping::action_of(word)).unwrap_or_default()
}

/// The word of the table for a type of object.
pub(super) fn object(word: &str) -> Option<&'static str> {
    row(word).map(|row| row.0)
}

/// The type of an object.
pub(super) fn object_type(word: &str) -> ObjectType {
    row(word).map_or_else(|| mapping::object_type_of(word), |row| row.1)
}

/// The category of an act. An object of an unknown type is a business object of the vendor.
pub(super) fn category_of(action: Action, object: Option<&str>, kind: ObjectType, event_type: &str) -> Category {
    let known =
        object.map(|object| row(object).map_or_else(|| mapping::category_of(object).unwrap_or(Data), |row| row.2));
    mapping::category(action, known, kind, event_type)
}

fn row(word: &str) -> Option<&'static Object> {
    OBJECTS.iter().find(|row| is_same_word(word, row.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_count_by_their_letters() {
        for word in ["employee visibility", "employee_visibility", "Employee Visibility", "employeeVisibility"] {
            assert_eq!((object(word), object_type(word)), (Some(EMPLOYEE_VISIBILITY), ObjectType::User), "{word}");
        }
        assert_eq!((object("Users"), object("user_role")), (Some(USER), None));
        assert_eq!(object_type("user_role"), ObjectType::Role);
    }

    #[test]
    fn no_word_is_in_the_table_twice() {
        for (index, one) in OBJECTS.iter().enumerate() {
            assert_eq!(OBJECTS.iter().position(|other| is_same_word(one.0, other.0)), Some(index), "{}", one.0);
        }
    }

    #[test]
    fn event_types_in_every_form() {
        for (word, action) in [
            ("UPDATE", Action::Update),
            ("report.export", Action::Export),
            ("plan_publish", Action::Update),
            ("dashboard.share", Action::Grant),
            ("dashboard.unshare", Action::Revoke),
            ("worksheet.lock", Action::Update),
            ("job.process", Action::Execute),
            ("api_token.rotate", Action::Rotate),
            ("user.impersonate.start", Action::Impersonate),
            ("Impersonation stopped", Action::Impersonate),
            ("user.login.failed", Action::Login),
            ("teleport", Action::Other),
        ] {
            assert_eq!(action_of(word), action, "{word}");
        }
    }
}
