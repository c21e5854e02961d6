//! Merge's event types mapped to the schema, and the one description whose form is documented.

use std::borrow::Cow;

use crate::event::{Action, Category, Change, ObjectType, Target};
use crate::vendors::mapping;

/// One event type: what was done, in which area, to what kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meaning {
    pub(super) action: Action,
    pub(super) category: Category,
    pub(super) target: Object,
}

/// The object that an event type names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// A type of object, and the word for it.
    Known(ObjectType, &'static str),
    /// The actor's own account (assumed).
    Actor,
    /// The event type is not in the table.
    Unknown,
}

use Action::{
    Create, Delete, Disable, Enable, Execute, Invite, MfaDisable, MfaEnable, PasswordChange, PasswordReset, Read,
    Rotate, Update,
};
use Category::{Configuration, Credential, Data, Iam};
use Object::Known;
use ObjectType::{Account, ApiKey, Integration, Organization, Other, Setting, Token, User};

/// The documented event types (43). The list is open: Merge adds to it.
#[rustfmt::skip]
const EVENT_TYPES: &[(&str, Action, Category, Object)] = &[
    ("CREATED_REMOTE_PRODUCTION_API_KEY",                Create,         Credential,    Known(ApiKey, "api_key")),
    ("DELETED_REMOTE_PRODUCTION_API_KEY",                Delete,         Credential,    Known(ApiKey, "api_key")),
    ("CREATED_TEST_API_KEY",                             Create,         Credential,    Known(ApiKey, "api_key")),
    ("DELETED_TEST_API_KEY",                             Delete,         Credential,    Known(ApiKey, "api_key")),
    ("REGENERATED_PRODUCTION_API_KEY",                   Rotate,         Credential,    Known(ApiKey, "api_key")),
    ("REGENERATED_WEBHOOK_SIGNATURE",                    Rotate,         Credential,    Known(Token, "webhook_signature")),
    ("INVITED_USER",                                     Invite,         Iam,           Known(User, "user")),
    ("TWO_FACTOR_AUTH_ENABLED",                          MfaEnable,      Iam,           Object::Actor),
    ("TWO_FACTOR_AUTH_DISABLED",                         MfaDisable,     Iam,           Object::Actor),
    ("DELETED_LINKED_ACCOUNT",                           Delete,         Data,          Known(Account, "linked_account")),
    ("DELETED_ALL_COMMON_MODELS_FOR_LINKED_ACCOUNT",     Delete,         Data,          Known(Account, "linked_account")),
    ("CREATED_DESTINATION",                              Create,         Configuration, Known(Integration, "destination")),
    ("DELETED_DESTINATION",                              Delete,         Configuration, Known(Integration, "destination")),
    ("CHANGED_DESTINATION",                              Update,         Configuration, Known(Integration, "destination")),
    ("CHANGED_SCOPES",                                   Update,         Iam,           Known(Setting, "scopes")),
    ("CHANGED_PERSONAL_INFORMATION",                     Update,         Iam,           Object::Actor),
    ("CHANGED_ORGANIZATION_SETTINGS",                    Update,         Configuration, Known(Organization, "organization")),
    ("ENABLED_INTEGRATION",                              Enable,         Configuration, Known(Integration, "integration")),
    ("DISABLED_INTEGRATION",                             Disable,        Configuration, Known(Integration, "integration")),
    ("ENABLED_CATEGORY",                                 Enable,         Configuration, Known(Setting, "category")),
    ("DISABLED_CATEGORY",                                Disable,        Configuration, Known(Setting, "category")),
    ("CHANGED_PASSWORD",                                 PasswordChange, Credential,    Object::Actor),
    ("RESET_PASSWORD",                                   PasswordReset,  Credential,    Object::Actor),
    ("ENABLED_REDACT_UNMAPPED_DATA_FOR_ORGANIZATION",    Enable,         Configuration, Known(Organization, "organization")),
    ("ENABLED_REDACT_UNMAPPED_DATA_FOR_LINKED_ACCOUNT",  Enable,         Configuration, Known(Account, "linked_account")),
    ("DISABLED_REDACT_UNMAPPED_DATA_FOR_ORGANIZATION",   Disable,        Configuration, Known(Organization, "organization")),
    ("DISABLED_REDACT_UNMAPPED_DATA_FOR_LINKED_ACCOUNT", Disable,        Configuration, Known(Account, "linked_account")),
    ("CREATED_INTEGRATION_WIDE_FIELD_MAPPING",           Create,         Configuration, Known(Setting, "field_mapping")),
    ("CREATED_LINKED_ACCOUNT_FIELD_MAPPING",             Create,         Configuration, Known(Setting, "field_mapping")),
    ("CHANGED_INTEGRATION_WIDE_FIELD_MAPPING",           Update,         Configuration, Known(Setting, "field_mapping")),
    ("CHANGED_LINKED_ACCOUNT_FIELD_MAPPING",             Update,         Configuration, Known(Setting, "field_mapping")),
    ("DELETED_INTEGRATION_WIDE_FIELD_MAPPING",           Delete,         Configuration, Known(Setting, "field_mapping")),
    ("DELETED_LINKED_ACCOUNT_FIELD_MAPPING",             Delete,         Configuration, Known(Setting, "field_mapping")),
    ("CREATED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE",     Create,         Configuration, Known(Setting, "common_model_override")),
    ("CHANGED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE",     Update,         Configuration, Known(Setting, "common_model_override")),
    ("DELETED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE",     Delete,         Configuration, Known(Setting, "common_model_override")),
    ("FORCED_LINKED_ACCOUNT_RESYNC",                     Execute,        Data,          Known(Account, "linked_account")),
    ("MUTED_ISSUE",                                      Update,         Data,          Known(Other, "issue")),
    ("GENERATED_MAGIC_LINK",                             Create,         Credential,    Known(Token, "magic_link")),
    ("ENABLED_MERGE_WEBHOOK",                            Enable,         Configuration, Known(Integration, "webhook")),
    ("DISABLED_MERGE_WEBHOOK",                           Disable,        Configuration, Known(Integration, "webhook")),
    ("MERGE_WEBHOOK_TARGET_CHANGED",                     Update,         Configuration, Known(Integration, "webhook")),
    ("END_USER_CREDENTIALS_ACCESSED",                    Read,           Credential,    Known(Token, "end_user_credentials")),
];

/// The meaning of an event type, known or not.
pub(super) fn meaning(event_type: &str) -> Meaning {
    let row = EVENT_TYPES.iter().find(|row| row.0.eq_ignore_ascii_case(event_type));
    let (action, known, target) = match row {
        Some((_, action, category, target)) => (*action, Some(*category), *target),
        None => (mapping::action_of(event_type).unwrap_or_default(), None, Object::Unknown),
    };
    let kind = match target {
        Known(kind, _) => kind,
        Object::Actor => User,
        Object::Unknown => Other,
    };
    Meaning { action, category: mapping::category(action, known, kind, event_type), target }
}

const SCOPES_CHANGED: &str = "CHANGED_SCOPES";

/// The model whose scopes were changed, and the change. All other descriptions are in no documented form, so they are not
/// read; neither is this one if it differs in the least.
pub(super) fn changed_scopes<'a>(
    event_type: &str,
    description: Option<&Cow<'a, str>>,
) -> Option<(Target<'a>, Change<'a>)> {
    if !event_type.eq_ignore_ascii_case(SCOPES_CHANGED) {
        return None;
    }
    let description = description?;
    let rest = description.strip_prefix("Organization-wide Scopes for model ")?;
    let (model, rest) = rest.split_once(" updated from ")?;
    let (old, new) = rest.split_once(" to ")?;
    let is_word = |text: &&str| !text.is_empty() && !text.contains(char::is_whitespace);
    if ![model, old, new].iter().all(is_word) {
        return None;
    }
    let part = |text: &str| Cow::Owned(text.to_owned());
    let target = Target {
        kind: Setting,
        vendor_type: Some(Cow::Borrowed("scopes")),
        name: Some(part(model)),
        ..Target::default()
    };
    Some((target, Change { field: Cow::Borrowed("scope"), old: Some(part(old)), new: Some(part(new)) }))
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
    fn known_types_by_the_table_unknown_ones_by_their_words() {
        let of = |event_type| {
            let meaning = meaning(event_type);
            (meaning.action, meaning.category, meaning.target)
        };
        assert_eq!(of("TWO_FACTOR_AUTH_ENABLED"), (MfaEnable, Iam, Object::Actor));
        assert_eq!(of("END_USER_CREDENTIALS_ACCESSED"), (Read, Credential, Known(Token, "end_user_credentials")));
        assert_eq!(of("created_test_api_key"), (Create, Credential, Known(ApiKey, "api_key")));
        assert_eq!(of("CHANGED_SCOPES"), (Update, Iam, Known(Setting, "scopes")));
        assert_eq!(of("RESET_PASSWORD"), (PasswordReset, Credential, Object::Actor));
        assert_eq!(of("REGENERATED_SOMETHING_NEW"), (Rotate, Credential, Object::Unknown));
        assert_eq!(of("ROLE_UPDATED"), (Update, Iam, Object::Unknown));
        assert_eq!(of("SOMETHING_NEW"), (Action::Other, Category::Other, Object::Unknown));
        assert_eq!(of(""), (Action::Other, Category::Other, Object::Unknown));
    }

    #[test]
    fn a_description_is_read_only_in_its_exact_form_and_under_its_own_type() {
        let of = |event_type: &str, description: &'static str| {
            let description = Cow::Borrowed(description);
            changed_scopes(event_type, Some(&description))
                .map(|(target, change)| [target.name, change.old, change.new].map(Option::unwrap_or_default))
        };
        let sentence = "Organization-wide Scopes for model hris.Employee updated from Read to Read+Write";
        assert_eq!(of("CHANGED_SCOPES", sentence), Some(["hris.Employee", "Read", "Read+Write"].map(Cow::Borrowed)));
        assert_eq!(of("CREATED_REMOTE_PRODUCTION_API_KEY", sentence), None);
        for other in [
            "",
            "serial 0",
            "Scopes for model hris.Employee updated from Read to Read+Write",
            "Organization-wide Scopes for model hris.Employee updated from Read",
            "Organization-wide Scopes for model hris.Employee updated from Read to Read+Write by Ada",
            "Organization-wide Scopes for model  updated from Read to Read+Write",
        ] {
            assert_eq!(of("CHANGED_SCOPES", other), None, "{other}");
        }
    }
}
