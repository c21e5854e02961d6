//! Clumio's records: catalog values and others, system events without a user, details as text and as an object.

use crate::simulator::meaning::{MentionRole, Party};
use crate::simulator::record_builder::{Person, RecordBuilder, quoted};
use crate::simulator::variants::{ClumioVariants, NullForm};

const KINDS: [(&str, &str, &str); 14] = [
    ("authentication", "login", "auth"),
    ("authentication", "logout", "auth"),
    ("data_source", "register", "aws_connection"),
    ("policy", "update", "policy"),
    ("protection", "apply", "aws_ebs_volume"),
    ("protection", "unapply", "protection_group_s3_asset"),
    ("restore", "full_restore", "aws_ec2_instance"),
    ("restore", "granular_retrieval", "restored_file"),
    ("backup", "enable", "protection_group_s3_asset"),
    ("users", "invite", "user"),
    ("api_tokens", "create", "api_token"),
    ("mfa", "enable", "auth"),
    ("reports", "download", "report"),
    ("organizational_unit", "delete", "organizational_unit"),
];
const STATUSES: [&str; 8] =
    ["success", "success", "success", "success", "success", "failure", "failure", "partial_success"];
const REGIONS: [&str; 3] = ["us-west-2", "eu-central-1", "ap-southeast-2"];
const UNITS: [(&str, &str); 3] = [
    ("00000000-0000-0000-0000-000000000000", "Global Organizational Unit"),
    ("5d2c1f0e-77f2-41ef-8f0e-0a58a9feac01", "IT Department"),
    ("5d2c1f0e-77f2-41ef-8f0e-0a58a9feac02", "Zürich \"West\""),
];

/// Roles: Super Admin, Organizational Unit Admin, and mostly one that is not an administrator of the account.
const ROLES: [&str; 6] = [SUPER_ADMIN, UNIT_ADMIN, BACKUP_ADMIN, BACKUP_ADMIN, BACKUP_ADMIN, BACKUP_ADMIN];
const SUPER_ADMIN: &str = "00000000-0000-0000-0000-000000000000";
const UNIT_ADMIN: &str = "10000000-0000-0000-0000-000000000000";
const BACKUP_ADMIN: &str = "30000000-0000-0000-0000-000000000000";

/// What was done to what, and the body of the request.
struct Act {
    category: &'static str,
    action: &'static str,
    body: String,
    primary: String,
    parent: String,
}

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder, variants: &ClumioVariants) -> String {
    let (category, action, entity) = kind(builder);
    let (who, acting) = who(builder, variants);
    let act = if builder.notable {
        on_person(builder, acting.as_ref())
    } else if category == "users" {
        invitation(builder, acting.as_ref())
    } else {
        let (parent, primary) = (parent(builder, entity), primary(builder, entity));
        Act { category, action, body: body(builder), primary, parent }
    };
    let details = details(builder, &act.body);
    let id = builder.uuid();
    let status = builder.pick(&STATUSES);
    builder.meaning.failed = status == "failure";
    let extra = if builder.unknown { r#","severity":{"level":3,"score":0.1250}"# } else { "" };
    let Act { category, action, primary, parent, .. } = act;
    format!(
        r#"{{"action":"{action}","category":"{category}"{details},"id":"{id}"{who},"parent_entity":{parent},"primary_entity":{primary},"status":"{status}","timestamp":"{time}"{extra}}}"#,
        time = builder.time,
    )
}

fn kind(builder: &mut RecordBuilder) -> (&'static str, &'static str, &'static str) {
    if builder.unknown { ("quantum_vault", "user_deleted", "hologram") } else { builder.pick(&KINDS) }
}

/// An act on a user who is not the one who acts.
fn on_person(builder: &mut RecordBuilder, acting: Option<&Person>) -> Act {
    let draw = builder.below(6);
    if draw == 0 {
        return invitation(builder, acting);
    }
    let person = builder.person_other_than(acting);
    let user = Party::named_by_email(&person.email).and_id(id_of(&person));
    let (role, (unit, unit_name)) = (builder.pick(&ROLES), builder.pick(&UNITS));
    let null = || "null".to_owned();
    if draw == 1 {
        let member = Party::with_id(id_of(&person));
        builder.meaning.mention(MentionRole::Related, member.clone());
        builder.meaning.grant(member, Some(role), role != BACKUP_ADMIN);
        let body = format!(r#"{{"users":{{"add":[{{"user_id":"{}","assigned_role":"{role}"}}]}}}}"#, id_of(&person));
        let primary = entity(unit, "organizational_unit", unit_name);
        return Act { category: "organizational_unit", action: "update", body, primary, parent: null() };
    }
    builder.meaning.mention(MentionRole::Target, user.clone());
    let in_unit = |role: &str| format!(r#"{{"role_id":"{role}","organizational_unit_ids":["{unit}"]}}"#);
    let body = if draw == 2 {
        r#"{"is_enabled":false}"#.to_owned()
    } else if draw == 3 {
        builder.meaning.revoke(user, Some(role), role != BACKUP_ADMIN);
        format!(r#"{{"access_control_configuration_updates":{{"add":[],"remove":[{}]}}}}"#, in_unit(role))
    } else {
        builder.meaning.grant(user.clone(), Some(SUPER_ADMIN), true);
        builder.meaning.revoke(user, Some(BACKUP_ADMIN), false);
        let (add, remove) = (in_unit(SUPER_ADMIN), in_unit(BACKUP_ADMIN));
        format!(r#"{{"access_control_configuration_updates":{{"add":[{add}],"remove":[{remove}]}}}}"#)
    };
    let primary = entity(&id_of(&person), "user", &person.email);
    Act { category: "users", action: "update", body, primary, parent: null() }
}

/// A new user, who may have no id yet.
fn invitation(builder: &mut RecordBuilder, acting: Option<&Person>) -> Act {
    let person = builder.person_other_than(acting);
    let (role, (unit, _)) = (builder.pick(&ROLES), builder.pick(&UNITS));
    let named = Party { name: Some(person.name.clone()), ..Party::with_email(&person.email) };
    let (target, grantee, primary) = if builder.chance(0.5) {
        let id = id_of(&person);
        let target = Party::named_by_email(&person.email).and_id(&id);
        (target, named.and_id(&id), entity(&id, "user", &person.email))
    } else {
        (named.clone(), named, "null".to_owned())
    };
    builder.meaning.mention(MentionRole::Target, target);
    builder.meaning.grant(grantee, Some(role), role != BACKUP_ADMIN);
    let body = format!(
        r#"{{"email":"{}","full_name":{},"access_control_configuration":[{{"role_id":"{role}","organizational_unit_ids":["{unit}"]}}]}}"#,
        person.email,
        quoted(&person.name)
    );
    Act { category: "users", action: "invite", body, primary, parent: "null".to_owned() }
}

fn id_of(person: &Person) -> String {
    RecordBuilder::uuid_of(5_000 + person.number)
}

fn body(builder: &mut RecordBuilder) -> String {
    match builder.below(3) {
        0 => "null".to_owned(),
        1 => format!(r#"{{"org_id":{},"dry_run":false}}"#, 123_456_789_012_345_678 + builder.below(1_000)),
        _ => {
            let person = builder.person();
            builder.meaning.mention(MentionRole::Related, Party::with_email(&person.email));
            format!(r#"{{"email":"{}","name":{},"ratio":1.50}}"#, person.email, quoted(&person.name))
        }
    }
}

/// `details` (a text that holds JSON, deprecated) and `details_json`; either may be missing.
fn details(builder: &mut RecordBuilder, body: &str) -> String {
    let details = format!(r#"{{"request_body":{body},"tags":[{}]}}"#, tags(builder));
    match builder.below(20) {
        0 => format!(r#","details":{}"#, quoted(&details)),
        1 => format!(r#","details":null,"details_json":{details}"#),
        _ => format!(r#","details":{},"details_json":{details}"#, quoted(&details)),
    }
}

fn tags(builder: &mut RecordBuilder) -> String {
    let mut tags = Vec::new();
    if builder.chance(0.7) {
        let (id, name) = builder.pick(&UNITS);
        tags.push(entity(id, "organizational_unit", name));
    }
    if builder.chance(0.3) {
        let region = builder.pick(&REGIONS);
        tags.push(entity(region, "bucket_region", region));
    }
    tags.join(",")
}

fn entity(id: &str, kind: &str, value: &str) -> String {
    format!(r#"{{"id":"{id}","type":"{kind}","value":{}}}"#, quoted(value))
}

fn primary(builder: &mut RecordBuilder, kind: &str) -> String {
    if builder.chance(0.05) {
        return "null".into();
    }
    let id = builder.uuid();
    let name = builder.unique_name("vol");
    let value = if builder.chance(0.2) { format!("C:\\data\\{name}\t\"x\"") } else { name };
    entity(&id, kind, &value)
}

fn parent(builder: &mut RecordBuilder, kind: &str) -> String {
    if !kind.starts_with("aws") && !kind.starts_with("protection") {
        return "null".into();
    }
    let account = 111_222_333_444 + builder.below(9);
    let region = builder.pick(&REGIONS);
    let id = RecordBuilder::uuid_of(account);
    entity(&id, "aws_environment", &format!("{account}/{region}"))
}

/// Who did it, from where and through what, and who that is; system events have no user.
fn who(builder: &mut RecordBuilder, variants: &ClumioVariants) -> (String, Option<Person>) {
    if builder.chance(0.15) {
        return (system(builder, variants.system_user).into(), None);
    }
    let interface = if builder.unknown { "webhook" } else { builder.pick(&["UI", "UI", "API"]) };
    let ip = builder.ip();
    let person = builder.person();
    builder.meaning.by_api = interface == "API";
    builder.meaning.mention(MentionRole::Actor, Party::with_email(&person.email).and_id(&person.email));
    let email = if builder.unknown { person.email.to_uppercase() } else { person.email.clone() };
    (format!(r#","interface":"{interface}","ip_address":"{ip}","user_email":"{email}""#), Some(person))
}

fn system(builder: &mut RecordBuilder, form: NullForm) -> &'static str {
    match form {
        NullForm::Null => r#","interface":null,"ip_address":null,"user_email":null"#,
        NullForm::Empty => r#","interface":"","ip_address":"","user_email":"""#,
        NullForm::Absent => "",
        NullForm::Mixed => {
            let form = builder.pick(&[NullForm::Null, NullForm::Empty, NullForm::Absent]);
            system(builder, form)
        }
    }
}
