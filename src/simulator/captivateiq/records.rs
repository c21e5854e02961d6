//! CaptivateIQ's records: the effective and the logged-in user, what was changed as any JSON, containers as a list.

use crate::simulator::record_builder::{Person, RecordBuilder, quoted};

const EVENTS: [(&str, &str); 10] = [
    ("create", "worksheet"),
    ("create", "record"),
    ("update", "column"),
    ("update", "record"),
    ("update", "workbook"),
    ("update", "column"),
    ("delete", "record"),
    ("user.login", "report"),
    ("user.login", "user"),
    ("user.logout", "user"),
];
/// Share of the records with impersonation.
const IMPERSONATION: f64 = 0.05;

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder) -> String {
    let (event, object) = if builder.unknown { ("payout.frozen", "payout_run") } else { builder.pick(&EVENTS) };
    let id = builder.uuid();
    let organization = if builder.chance(0.1) { "org_123456".to_owned() } else { RecordBuilder::uuid_of(1) };
    let users = users(builder);
    let data = data(builder, event);
    let name = builder.unique_name(object);
    let object_id = builder.uuid();
    let parents = parents(builder, object);
    let version = builder.below(2);
    let extra = if builder.unknown { r#","region":null,"trace":[1,2.50,{"deep":true}]"# } else { "" };
    format!(
        r#"{{"id":"{id}","object":"audit_log","organization_id":"{organization}","organization_name":"Acme Corp"{users},"created_at":"{time}","event_type":"{event}","version":{version}{data},"object_id":"{object_id}","object_name":{name},"object_type":"{object}","parent_objects":[{parents}]{extra}}}"#,
        time = builder.time,
        name = quoted(&name),
    )
}

/// The effective and the logged-in user with the latter's address. Some events have no user.
fn users(builder: &mut RecordBuilder) -> String {
    if builder.chance(0.04) {
        return r#","user_id":null,"user_name":null,"user_email":null,"logged_in_user_id":null,"logged_in_user_name":null,"logged_in_user_email":null,"ip_address":"""#.into();
    }
    let effective = builder.person();
    let logged_in = if builder.chance(IMPERSONATION) { builder.person() } else { effective.clone() };
    let ip = builder.ip();
    format!(r#"{}{},"ip_address":"{ip}""#, user("user", &effective), user("logged_in_user", &logged_in))
}

fn user(prefix: &str, person: &Person) -> String {
    format!(
        r#","{prefix}_id":"{}","{prefix}_name":{},"{prefix}_email":"{}""#,
        RecordBuilder::uuid_of(1_000 + person.number),
        quoted(&person.name),
        person.email
    )
}

fn data(builder: &mut RecordBuilder, event: &str) -> String {
    match (event, builder.below(6)) {
        (_, 0) => String::new(),
        ("update", _) => {
            let old = builder.below(90_000);
            format!(
                r#","data":{{"name":{{"old":"Quota {old}","new":"Quota FY25 – {old}.00"}},"amount":{{"old":{old}.10,"new":null}}}}"#
            )
        }
        ("create", _) => format!(r#","data":{{"rows":[{},9007199254740993]}}"#, builder.below(50)),
        _ => r#","data":null"#.into(),
    }
}

fn parents(builder: &mut RecordBuilder, object: &str) -> String {
    if !matches!(object, "column" | "record") {
        return String::new();
    }
    let number = builder.below(9);
    let parent = |kind: &str, name: &str| {
        format!(
            r#"{{"object_id":"{}","object_name":"{name}","object_type":"{kind}"}}"#,
            RecordBuilder::uuid_of(2_000 + number)
        )
    };
    format!("{},{}", parent("worksheet", "Reps"), parent("workbook", "Comp 2025"))
}
