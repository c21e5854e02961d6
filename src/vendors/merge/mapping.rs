//! Merge's event types mapped to the schema.

use crate::event::{Action, Category};
use crate::vendors::mapping;

/// One event type: what was done, in which area, to what kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) action: Action,
    pub(super) category: Category,
    /// `None` for event types that are not in the table.
    pub(super) target: Option<&'static str>,
}

use Action::{
    Create, Delete, Disable, Enable, Execute, Invite, MfaDisable, MfaEnable, PasswordChange, PasswordReset, Read,
    Rotate, Update,
};
use Category::{Configuration, Credential, Data, Iam};

/// The documented event types (43). The list is open: Merge adds to it.
#[rustfmt::skip]
const EVENT_TYPES: &[(&str, Action, Category, &str)] = &[
    ("CREATED_REMOTE_PRODUCTION_API_KEY",                Create,         Credential,    "api_key"),
    ("DELETED_REMOTE_PRODUCTION_API_KEY",                Delete,         Credential,    "api_key"),
    ("CREATED_TEST_API_KEY",                             Create,         Credential,    "api_key"),
    ("DELETED_TEST_API_KEY",                             Delete,         Credential,    "api_key"),
    ("REGENERATED_PRODUCTION_API_KEY",                   Rotate,         Credential,    "api_key"),
    ("REGENERATED_WEBHOOK_SIGNATURE",                    Rotate,         Credential,    "webhook_signature"),
    ("INVITED_USER",                                     Invite,         Iam,           "user"),
    ("TWO_FACTOR_AUTH_ENABLED",                          MfaEnable,      Iam,           "two_factor_auth"),
    ("TWO_FACTOR_AUTH_DISABLED",                         MfaDisable,     Iam,           "two_factor_auth"),
    ("DELETED_LINKED_ACCOUNT",                           Delete,         Data,          "linked_account"),
    ("DELETED_ALL_COMMON_MODELS_FOR_LINKED_ACCOUNT",     Delete,         Data,          "linked_account_data"),
    ("CREATED_DESTINATION",                              Create,         Configuration, "destination"),
    ("DELETED_DESTINATION",                              Delete,         Configuration, "destination"),
    ("CHANGED_DESTINATION",                              Update,         Configuration, "destination"),
    ("CHANGED_SCOPES",                                   Update,         Configuration, "scopes"),
    ("CHANGED_PERSONAL_INFORMATION",                     Update,         Iam,           "user"),
    ("CHANGED_ORGANIZATION_SETTINGS",                    Update,         Configuration, "organization"),
    ("ENABLED_INTEGRATION",                              Enable,         Configuration, "integration"),
    ("DISABLED_INTEGRATION",                             Disable,        Configuration, "integration"),
    ("ENABLED_CATEGORY",                                 Enable,         Configuration, "category"),
    ("DISABLED_CATEGORY",                                Disable,        Configuration, "category"),
    ("CHANGED_PASSWORD",                                 PasswordChange, Credential,    "user_credential"),
    ("RESET_PASSWORD",                                   PasswordReset,  Credential,    "user_credential"),
    ("ENABLED_REDACT_UNMAPPED_DATA_FOR_ORGANIZATION",    Enable,         Configuration, "organization"),
    ("ENABLED_REDACT_UNMAPPED_DATA_FOR_LINKED_ACCOUNT",  Enable,         Configuration, "linked_account"),
    ("DISABLED_REDACT_UNMAPPED_DATA_FOR_ORGANIZATION",   Disable,        Configuration, "organization"),
    ("DISABLED_REDACT_UNMAPPED_DATA_FOR_LINKED_ACCOUNT", Disable,        Configuration, "linked_account"),
    ("CREATED_INTEGRATION_WIDE_FIELD_MAPPING",           Create,         Configuration, "field_mapping"),
    ("CREATED_LINKED_ACCOUNT_FIELD_MAPPING",             Create,         Configuration, "field_mapping"),
    ("CHANGED_INTEGRATION_WIDE_FIELD_MAPPING",           Update,         Configuration, "field_mapping"),
    ("CHANGED_LINKED_ACCOUNT_FIELD_MAPPING",             Update,         Configuration, "field_mapping"),
    ("DELETED_INTEGRATION_WIDE_FIELD_MAPPING",           Delete,         Configuration, "field_mapping"),
    ("DELETED_LINKED_ACCOUNT_FIELD_MAPPING",             Delete,         Configuration, "field_mapping"),
    ("CREATED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE",     Create,         Configuration, "common_model_override"),
    ("CHANGED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE",     Update,         Configuration, "common_model_override"),
    ("DELETED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE",     Delete,         Configuration, "common_model_override"),
    ("FORCED_LINKED_ACCOUNT_RESYNC",                     Execute,        Data,          "linked_account"),
    ("MUTED_ISSUE",                                      Update,         Data,          "issue"),
    ("GENERATED_MAGIC_LINK",                             Create,         Credential,    "magic_link"),
    ("ENABLED_MERGE_WEBHOOK",                            Enable,         Configuration, "webhook"),
    ("DISABLED_MERGE_WEBHOOK",                           Disable,        Configuration, "webhook"),
    ("MERGE_WEBHOOK_TARGET_CHANGED",                     Update,         Configuration, "webhook"),
    ("END_USER_CREDENTIALS_ACCESSED",                    Read,           Credential,    "end_user_credentials"),
];

/// The meaning of an event type, known or not.
pub(super) fn meaning(event_type: &str) -> Meaning {
    let row = EVENT_TYPES.iter().find(|row| row.0.eq_ignore_ascii_case(event_type));
    let (action, known, target) = match row {
        Some((_, action, category, target)) => (*action, Some(*category), Some(*target)),
        None => (mapping::action_of(event_type).unwrap_or_default(), None, None),
    };
    let category = mapping::category(action, known, mapping::object_type_of(target.unwrap_or_default()), event_type);
    Meaning { action, category, target }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_whole_and_without_repeats() {
        let names: BTreeSet<&str> = EVENT_TYPES.iter().map(|row| row.0).collect();
        assert_eq!(EVENT_TYPES.len(), 43);
        assert_eq!(names.len(), 43);
        assert!(EVENT_TYPES.iter().all(|row| row.1 != Action::Other && row.2 != Category::Other));
    }

    #[test]
    fn known_types_by_the_table_unknown_ones_by_their_first_word() {
        let of = |event_type| {
            let meaning = meaning(event_type);
            (meaning.action, meaning.category, meaning.target)
        };
        assert_eq!(of("TWO_FACTOR_AUTH_ENABLED"), (MfaEnable, Iam, Some("two_factor_auth")));
        assert_eq!(of("END_USER_CREDENTIALS_ACCESSED"), (Read, Credential, Some("end_user_credentials")));
        assert_eq!(of("created_test_api_key"), (Create, Credential, Some("api_key")));
        assert_eq!(of("REGENERATED_SOMETHING_NEW"), (Rotate, Credential, None));
        assert_eq!(of("ROLE_UPDATED"), (Update, Iam, None));
        assert_eq!(of("SOMETHING_NEW"), (Action::Other, Category::Other, None));
        assert_eq!(of(""), (Action::Other, Category::Other, None));
    }
}
