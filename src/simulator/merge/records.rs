//! Merge's records: the closed list of event types and roles, and a few outside it.

use crate::simulator::meaning::{MentionRole, Party};
use crate::simulator::record_builder::{Person, RecordBuilder, quoted, quoted_or_null};

const EVENTS: [(&str, &str); 43] = [
    ("CREATED_REMOTE_PRODUCTION_API_KEY", "Remote production API key {} created"),
    ("DELETED_REMOTE_PRODUCTION_API_KEY", "Remote production API key {} deleted"),
    ("CREATED_TEST_API_KEY", "Test API key {} created"),
    ("DELETED_TEST_API_KEY", "Test API key {} deleted"),
    ("REGENERATED_PRODUCTION_API_KEY", "Production API key {} regenerated"),
    ("REGENERATED_WEBHOOK_SIGNATURE", "Webhook signature {} regenerated"),
    ("INVITED_USER", "User {} invited"),
    ("TWO_FACTOR_AUTH_ENABLED", "Two-factor authentication enabled for {}"),
    ("TWO_FACTOR_AUTH_DISABLED", "Two-factor authentication disabled for {}"),
    ("DELETED_LINKED_ACCOUNT", "Linked Account {} deleted"),
    ("DELETED_ALL_COMMON_MODELS_FOR_LINKED_ACCOUNT", "Common models of Linked Account {} deleted"),
    ("CREATED_DESTINATION", "Destination {} created"),
    ("DELETED_DESTINATION", "Destination {} deleted"),
    ("CHANGED_DESTINATION", "Destination {} changed"),
    ("CHANGED_SCOPES", "Organization-wide Scopes for model {} updated from Read to Read+Write"),
    ("CHANGED_PERSONAL_INFORMATION", "Personal information of {} changed"),
    ("CHANGED_ORGANIZATION_SETTINGS", "Organization setting {} changed"),
    ("ENABLED_INTEGRATION", "Integration {} enabled"),
    ("DISABLED_INTEGRATION", "Integration {} disabled"),
    ("ENABLED_CATEGORY", "Category {} enabled"),
    ("DISABLED_CATEGORY", "Category {} disabled"),
    ("CHANGED_PASSWORD", "Password of {} changed"),
    ("RESET_PASSWORD", "Password of {} reset"),
    ("ENABLED_REDACT_UNMAPPED_DATA_FOR_ORGANIZATION", "Redaction enabled for {}"),
    ("ENABLED_REDACT_UNMAPPED_DATA_FOR_LINKED_ACCOUNT", "Redaction enabled for Linked Account {}"),
    ("DISABLED_REDACT_UNMAPPED_DATA_FOR_ORGANIZATION", "Redaction disabled for {}"),
    ("DISABLED_REDACT_UNMAPPED_DATA_FOR_LINKED_ACCOUNT", "Redaction disabled for Linked Account {}"),
    ("CREATED_INTEGRATION_WIDE_FIELD_MAPPING", "Integration-wide field mapping {} created"),
    ("CREATED_LINKED_ACCOUNT_FIELD_MAPPING", "Field mapping {} created"),
    ("CHANGED_INTEGRATION_WIDE_FIELD_MAPPING", "Integration-wide field mapping {} changed"),
    ("CHANGED_LINKED_ACCOUNT_FIELD_MAPPING", "Field mapping {} changed"),
    ("DELETED_INTEGRATION_WIDE_FIELD_MAPPING", "Integration-wide field mapping {} deleted"),
    ("DELETED_LINKED_ACCOUNT_FIELD_MAPPING", "Field mapping {} deleted"),
    ("CREATED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE", "Common model override {} created"),
    ("CHANGED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE", "Common model override {} changed"),
    ("DELETED_LINKED_ACCOUNT_COMMON_MODEL_OVERRIDE", "Common model override {} deleted"),
    ("FORCED_LINKED_ACCOUNT_RESYNC", "Resync of Linked Account {} forced"),
    ("MUTED_ISSUE", "Issue {} muted"),
    ("GENERATED_MAGIC_LINK", "Magic link for {} generated"),
    ("ENABLED_MERGE_WEBHOOK", "Webhook {} enabled"),
    ("DISABLED_MERGE_WEBHOOK", "Webhook {} disabled"),
    ("MERGE_WEBHOOK_TARGET_CHANGED", "Target of webhook {} changed"),
    ("END_USER_CREDENTIALS_ACCESSED", "Credentials of Linked Account {} were accessed"),
];
const ROLES: [&str; 10] =
    ["ADMIN", "ADMIN", "DEVELOPER", "DEVELOPER", "MEMBER", "API", "API", "SYSTEM", "MERGE_TEAM", "SUPPORT"];

/// The event types of [`EVENTS`] that are about another person.
const ON_PEOPLE: [(&str, &str); 2] =
    [("INVITED_USER", "User {} invited"), ("GENERATED_MAGIC_LINK", "Magic link for {} generated")];
/// Those that are about the user's own account.
const ON_OWN_ACCOUNT: [&str; 5] = [
    "TWO_FACTOR_AUTH_ENABLED",
    "TWO_FACTOR_AUTH_DISABLED",
    "CHANGED_PERSONAL_INFORMATION",
    "CHANGED_PASSWORD",
    "RESET_PASSWORD",
];

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder) -> String {
    let (event, description) = if builder.unknown {
        ("TELEPORTED_DATA", "Data {} teleported ✨")
    } else if builder.notable {
        builder.pick(&ON_PEOPLE)
    } else {
        builder.pick(&EVENTS)
    };
    let role = if builder.unknown { "CHIEF_WIZARD" } else { builder.pick(&ROLES) };
    let id = builder.uuid();
    builder.meaning.by_api = role == "API";
    let (user, acting) = user(builder, role, ON_OWN_ACCOUNT.contains(&event));
    let ip = if role == "SYSTEM" { String::new() } else { builder.ip() };
    let subject = builder.unique_name("ci-runner");
    let subject = if builder.notable { invited(builder, acting.as_ref()) } else { subject };
    let description = description.replace("{}", &format!("\"{subject}\""));
    let extra =
        if builder.unknown { r#","metadata":{"attempt":1e3,"ratio":0.30,"big":18446744073709551615}"# } else { "" };
    format!(
        r#"{{"id":"{id}",{user},"role":"{role}","ip_address":"{ip}","event_type":"{event}","event_description":{description},"created_at":"{time}"{extra}}}"#,
        description = quoted(&description),
        time = builder.time,
    )
}

/// The address of a person, who is not the one who acts.
fn invited(builder: &mut RecordBuilder, acting: Option<&Person>) -> String {
    let person = builder.person_other_than(acting);
    builder.meaning.mention(MentionRole::Related, Party::with_email(&person.email));
    person.email
}

/// The user at the time of the event, and who that is; keys and the system have none.
fn user(builder: &mut RecordBuilder, role: &str, on_own_account: bool) -> (String, Option<Person>) {
    if matches!(role, "API" | "SYSTEM") {
        return (r#""user_name":null,"user_email":null"#.into(), None);
    }
    if matches!(role, "MERGE_TEAM" | "SUPPORT") {
        return (r#""user_name":"Merge Support","user_email":"support@merge.example""#.into(), None);
    }
    let person = builder.person();
    let name = (!builder.chance(0.05)).then_some(&person.name);
    let party = Party { name: name.cloned(), ..Party::with_email(&person.email).and_id(&person.email) };
    if on_own_account {
        builder.meaning.mention(MentionRole::Target, party.clone());
    }
    builder.meaning.mention(MentionRole::Actor, party);
    let user = format!(r#""user_name":{},"user_email":"{}""#, quoted_or_null(name.map(String::as_str)), person.email);
    (user, Some(person))
}
