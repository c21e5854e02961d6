//! Clumio's records: catalog values and others, system events without a user, details as text and as an object.

use crate::simulator::record_builder::{RecordBuilder, quoted};
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

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder, variants: &ClumioVariants) -> String {
    let (category, action, entity) = kind(builder);
    let details = details(builder);
    let id = builder.uuid();
    let who = who(builder, variants);
    let parent = parent(builder, entity);
    let primary = primary(builder, entity);
    let status = builder.pick(&STATUSES);
    let extra = if builder.unknown { r#","severity":{"level":3,"score":0.1250}"# } else { "" };
    format!(
        r#"{{"action":"{action}","category":"{category}"{details},"id":"{id}"{who},"parent_entity":{parent},"primary_entity":{primary},"status":"{status}","timestamp":"{time}"{extra}}}"#,
        time = builder.time,
    )
}

fn kind(builder: &mut RecordBuilder) -> (&'static str, &'static str, &'static str) {
    if builder.unknown { ("quantum_vault", "user_deleted", "hologram") } else { builder.pick(&KINDS) }
}

/// `details` (a text that holds JSON, deprecated) and `details_json`; either may be missing.
fn details(builder: &mut RecordBuilder) -> String {
    let body = match builder.below(3) {
        0 => "null".to_owned(),
        1 => format!(r#"{{"org_id":{},"dry_run":false}}"#, 123_456_789_012_345_678 + builder.below(1_000)),
        _ => {
            let person = builder.person();
            format!(r#"{{"email":"{}","name":{},"ratio":1.50}}"#, person.email, quoted(&person.name))
        }
    };
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

/// Who did it, from where and through what; system events have no user.
fn who(builder: &mut RecordBuilder, variants: &ClumioVariants) -> String {
    if builder.chance(0.15) {
        return system(builder, variants.system_user).into();
    }
    let interface = if builder.unknown { "webhook" } else { builder.pick(&["UI", "UI", "API"]) };
    let ip = builder.ip();
    let person = builder.person();
    let email = if builder.unknown { quoted(&format!("{}@example.com", person.name)) } else { quoted(&person.email) };
    format!(r#","interface":"{interface}","ip_address":"{ip}","user_email":{email}"#)
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
