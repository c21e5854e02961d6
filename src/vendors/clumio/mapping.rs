//! Clumio's words mapped to the schema. Its lists are open: other words are mapped by the tables of all vendors.

use std::borrow::Cow;

use super::entity::Entity;
use crate::event::{Action, Category, ObjectType, Outcome, Target, Via};
use crate::vendors::field;
use crate::vendors::mapping::{self, entry_in_any_case};
use crate::vendors::record::Problems;

/// The documented actions.
const ACTIONS: &[(&str, Action)] = &[
    ("apply", Action::Update),
    ("batch_activate", Action::Enable),
    ("batch_deactivate", Action::Disable),
    ("browse", Action::Read),
    ("create", Action::Create),
    ("delete", Action::Delete),
    ("deploy", Action::Execute),
    ("disable", Action::Disable),
    ("download", Action::Export),
    ("enable", Action::Enable),
    ("full_restore", Action::Restore),
    ("grant_download_access", Action::Grant),
    ("grant_email_access", Action::Grant),
    ("granular_restore", Action::Restore),
    ("granular_retrieval", Action::Restore),
    ("invite", Action::Invite),
    ("login", Action::Login),
    ("logout", Action::Logout),
    ("redirected", Action::Restore),
    ("refresh", Action::Execute),
    ("regenerate_tda_passcode", Action::Rotate),
    ("register", Action::Create),
    ("remove", Action::Delete),
    ("search", Action::List),
    ("suspend", Action::Disable),
    ("unapply", Action::Update),
    ("unregister", Action::Delete),
    ("update", Action::Update),
    ("validate_tda_passcode", Action::Read),
];

/// Actions with another meaning in one category; they take precedence. The rules of `sso` hand out roles, and `remove` takes
/// the protection off an asset that stays.
const ACTIONS_IN_CATEGORY: &[(&str, &str, Action, Category)] = &[
    ("api_tokens", "refresh", Action::Rotate, Category::Credential),
    ("mfa", "disable", Action::MfaDisable, Category::Iam),
    ("mfa", "enable", Action::MfaEnable, Category::Iam),
    ("mfa", "register", Action::MfaEnable, Category::Iam),
    ("mfa", "unregister", Action::MfaDisable, Category::Iam),
    ("protection", "remove", Action::Disable, Category::Configuration),
    ("restore", "validate_tda_passcode", Action::Read, Category::Credential),
    ("sso", "create", Action::Create, Category::Iam),
    ("sso", "delete", Action::Delete, Category::Iam),
    ("sso", "update", Action::Update, Category::Iam),
];

/// The documented categories, and the type of the target of events that name no entity.
const CATEGORIES: &[(&str, (Category, ObjectType))] = &[
    ("alerts", (Category::Configuration, ObjectType::Other)),
    ("api_tokens", (Category::Credential, ObjectType::Token)),
    ("authentication", (Category::Authentication, ObjectType::Session)),
    ("backup", (Category::Data, ObjectType::Backup)),
    ("bandwidth_config", (Category::Configuration, ObjectType::Setting)),
    ("cloud_connector", (Category::Configuration, ObjectType::Integration)),
    ("cloudformation_template", (Category::Configuration, ObjectType::Setting)),
    ("data_source", (Category::Configuration, ObjectType::Account)),
    ("ecosystem_changes", (Category::Configuration, ObjectType::Other)),
    ("kms_config", (Category::Configuration, ObjectType::Setting)),
    ("mfa", (Category::Iam, ObjectType::Setting)),
    ("organizational_unit", (Category::Iam, ObjectType::Organization)),
    ("partner_ecosystem", (Category::Configuration, ObjectType::Integration)),
    ("policy", (Category::Configuration, ObjectType::Policy)),
    ("protection", (Category::Configuration, ObjectType::Other)),
    ("reports", (Category::Data, ObjectType::Report)),
    ("restore", (Category::Data, ObjectType::Backup)),
    ("sso", (Category::Configuration, ObjectType::Setting)),
    ("tasks", (Category::Data, ObjectType::Other)),
    ("users", (Category::Iam, ObjectType::User)),
];

/// The known types of entities. Assets that are backed up have no type of their own in the schema.
const ENTITIES: &[(&str, ObjectType)] = &[
    ("alert", ObjectType::Other),
    ("api_token", ObjectType::Token),
    ("auth", ObjectType::Session),
    ("aws_account", ObjectType::Account),
    ("aws_connection", ObjectType::Account),
    ("aws_dynamodb_table", ObjectType::Other),
    ("aws_ebs_volume", ObjectType::Other),
    ("aws_ec2_instance", ObjectType::Other),
    ("aws_environment", ObjectType::Account),
    ("aws_iceberg_glue_table", ObjectType::Other),
    ("aws_iceberg_s3_table", ObjectType::Other),
    ("aws_rds_cluster", ObjectType::Other),
    ("aws_rds_instance", ObjectType::Other),
    ("aws_s3_bucket", ObjectType::Other),
    ("gcp_project", ObjectType::Account),
    ("gcp_protection_group", ObjectType::Other),
    ("microsoft365_mailbox", ObjectType::Other),
    ("microsoft365_onedrive", ObjectType::Other),
    ("microsoft365_share_point", ObjectType::Other),
    ("microsoft365_teams", ObjectType::Other),
    ("organizational_unit", ObjectType::Organization),
    ("policy", ObjectType::Policy),
    ("policy_rule", ObjectType::Policy),
    ("protection_group", ObjectType::Other),
    ("report", ObjectType::Report),
    ("restored_file", ObjectType::Backup),
    ("task", ObjectType::Other),
    ("user", ObjectType::User),
];

const OUTCOMES: &[(&str, Outcome)] =
    &[("success", Outcome::Success), ("failure", Outcome::Failure), ("partial_success", Outcome::Partial)];

const INTERFACES: &[(&str, Via)] = &[("ui", Via::Ui), ("api", Via::Api), ("webhook", Via::Webhook)];

/// What was done, and the category that the vendor's catalog says.
pub(super) fn meaning(category: &str, action: &str) -> (Action, Option<Category>) {
    let is_special = |row: &&(&str, &str, Action, Category)| {
        row.1.eq_ignore_ascii_case(action) && row.0.eq_ignore_ascii_case(category)
    };
    if let Some((_, _, done, known)) = ACTIONS_IN_CATEGORY.iter().find(is_special) {
        return (*done, Some(*known));
    }
    let by_category = || entry_in_any_case(CATEGORIES, category).map(|(known, _)| known);
    let known = |by_noun: Option<Category>| by_noun.or_else(by_category).or_else(|| mapping::category_of(category));
    match entry_in_any_case(ACTIONS, action) {
        Some(done) => (done, known(None)),
        // In an action that is not documented, the noun is more telling than the category.
        None => (mapping::action_of(action).unwrap_or_default(), known(mapping::category_of(action))),
    }
}

pub(super) fn outcome(status: &str) -> Outcome {
    entry_in_any_case(OUTCOMES, status).unwrap_or_default()
}

pub(super) fn via(interface: &str) -> Via {
    entry_in_any_case(INTERFACES, interface).unwrap_or_default()
}

/// The object that an entity names; `None` if nothing is known of it.
pub(super) fn object<'a>(field: &str, entity: Entity<'a>, problems: &mut Problems) -> Option<Target<'a>> {
    let id = problems.identifier(field, entity.id);
    if id.is_none() && entity.kind.is_none() && entity.name.is_none() {
        return None;
    }
    let word = entity.kind.as_deref().unwrap_or_default();
    let kind = entry_in_any_case(ENTITIES, word).unwrap_or_else(|| mapping::object_type_of(word));
    let email = if kind == ObjectType::User { field::email(entity.name.clone()) } else { None };
    Some(Target { kind, vendor_type: entity.kind, id, name: entity.name, email })
}

/// The target of an event that names no entity: what its category is about.
pub(super) fn object_of_category(category: Cow<'_, str>) -> Target<'_> {
    let known = entry_in_any_case(CATEGORIES, &category).map(|(_, kind)| kind);
    let kind = known.unwrap_or_else(|| mapping::object_type_of(&category));
    Target { kind, vendor_type: Some(category), ..Target::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_its_meaning_in_its_category() {
        for (category, action, done, known) in [
            ("mfa", "register", Action::MfaEnable, Category::Iam),
            ("mfa", "unregister", Action::MfaDisable, Category::Iam),
            ("data_source", "register", Action::Create, Category::Configuration),
            ("data_source", "unregister", Action::Delete, Category::Configuration),
            ("protection", "apply", Action::Update, Category::Configuration),
            ("protection", "remove", Action::Disable, Category::Configuration),
            ("policy", "unapply", Action::Update, Category::Configuration),
            ("api_tokens", "refresh", Action::Rotate, Category::Credential),
            ("reports", "refresh", Action::Execute, Category::Data),
            ("restore", "validate_tda_passcode", Action::Read, Category::Credential),
            ("sso", "enable", Action::Enable, Category::Configuration),
            ("sso", "create", Action::Create, Category::Iam),
            ("Users", "Suspend", Action::Disable, Category::Iam),
            ("users", "reset_password", Action::PasswordReset, Category::Credential),
            ("users", "change_password", Action::PasswordChange, Category::Credential),
            ("backup", "user_deleted", Action::Delete, Category::Iam),
        ] {
            assert_eq!(meaning(category, action), (done, Some(known)), "{category} {action}");
        }
        assert_eq!(meaning("galaxy", "teleport"), (Action::Other, None));
    }

    #[test]
    fn every_documented_word_is_mapped() {
        assert!(ACTIONS.iter().all(|(_, action)| *action != Action::Other));
        assert!(CATEGORIES.iter().all(|(_, (category, _))| *category != Category::Other));
        assert_eq!((ACTIONS.len(), CATEGORIES.len()), (29, 20));
    }

    #[test]
    fn entities_are_objects_of_the_schema() {
        for (word, kind) in [
            ("aws_ebs_volume", ObjectType::Other),
            ("protection_group", ObjectType::Other),
            ("aws_rds_instance_backup", ObjectType::Backup),
            ("restored_file", ObjectType::Backup),
            ("AWS_ENVIRONMENT", ObjectType::Account),
            ("report_download", ObjectType::Report),
            ("user", ObjectType::User),
        ] {
            let entity = Entity { kind: Some(Cow::Borrowed(word)), ..Entity::default() };
            let object = object("primary_entity.id", entity, &mut Problems::default()).expect(word);
            assert_eq!((object.kind, object.vendor_type.as_deref()), (kind, Some(word)));
        }
    }

    #[test]
    fn interfaces_count_in_any_case() {
        for (word, expected) in [("UI", Via::Ui), ("api", Via::Api), ("webhook", Via::Webhook), ("-", Via::Unknown)] {
            assert_eq!(via(word), expected, "{word}");
        }
    }
}
