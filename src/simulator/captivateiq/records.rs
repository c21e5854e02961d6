//! CaptivateIQ's records: the effective and the logged-in user, what was changed as any JSON, containers as a list.

use crate::simulator::meaning::{MentionRole, Party};
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

/// What was done to what, and its data.
struct Act {
    event: &'static str,
    object: &'static str,
    object_id: String,
    object_name: String,
    data: String,
}

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder) -> String {
    let id = builder.uuid();
    let organization = if builder.chance(0.1) { "org_123456".to_owned() } else { RecordBuilder::uuid_of(1) };
    let (users, acting) = users(builder);
    let Act { event, object, object_id, object_name, data } =
        if builder.notable { notable(builder, acting.as_ref()) } else { act(builder) };
    let parents = parents(builder, object);
    let version = builder.below(2);
    let extra = if builder.unknown { r#","region":null,"trace":[1,2.50,{"deep":true}]"# } else { "" };
    format!(
        r#"{{"id":"{id}","object":"audit_log","organization_id":"{organization}","organization_name":"Acme Corp"{users},"created_at":"{time}","event_type":"{event}","version":{version}{data},"object_id":"{object_id}","object_name":{name},"object_type":"{object}","parent_objects":[{parents}]{extra}}}"#,
        time = builder.time,
        name = quoted(&object_name),
    )
}

fn act(builder: &mut RecordBuilder) -> Act {
    let (event, object) = if builder.unknown { ("payout.frozen", "payout_run") } else { builder.pick(&EVENTS) };
    let data = data(builder, event);
    let object_name = builder.unique_name(object);
    Act { event, object, object_id: builder.uuid(), object_name, data }
}

/// Access of a user who is not the one who acts; a login that failed.
fn notable(builder: &mut RecordBuilder, acting: Option<&Person>) -> Act {
    let person = builder.person_other_than(acting);
    let id = id_of(&person);
    let user = || Party::named_by_email(&person.email).and_id(&id);
    let (event, object, data) = match builder.below(7) {
        0 => {
            builder.meaning.grant(user(), Some("organization admin"), true);
            ("update", "user", r#"{"is_organization_admin":{"old":false,"new":true}}"#.to_owned())
        }
        1 => {
            builder.meaning.revoke(user(), Some("organization admin"), true);
            ("update", "user", r#"{"is_organization_admin":{"old":true,"new":false}}"#.to_owned())
        }
        2 => {
            builder.meaning.grant(user(), Some("Plan Editor"), false);
            builder.meaning.revoke(user(), Some("Viewer"), false);
            ("update", "user", r#"{"role":{"old":"Viewer","new":"Plan Editor"}}"#.to_owned())
        }
        3 => ("update", "user", r#"{"is_active":{"old":true,"new":false}}"#.to_owned()),
        4 => {
            builder.meaning.failed = true;
            ("user.login_failed", "user", "null".to_owned())
        }
        draw => {
            let is_new = draw == 5;
            builder.meaning.change(is_new, Party::with_id(&id), Some("view employee"), false);
            let employee = builder.uuid();
            let data = format!(r#"{{"user":"{id}","visible_employee":"{employee}","source":"manual"}}"#);
            (if is_new { "create" } else { "delete" }, "employee visibility", data)
        }
    };
    let (object_id, object_name) = if object == "user" {
        builder.meaning.mention(MentionRole::Target, user());
        (id, person.email)
    } else {
        (builder.uuid(), builder.unique_name("visibility"))
    };
    Act { event, object, object_id, object_name, data: format!(r#","data":{data}"#) }
}

fn id_of(person: &Person) -> String {
    RecordBuilder::uuid_of(1_000 + person.number)
}

/// The effective and the logged-in user with the latter's address, and who acts. Some events have no user.
fn users(builder: &mut RecordBuilder) -> (String, Option<Person>) {
    if builder.chance(0.04) {
        let none = r#","user_id":null,"user_name":null,"user_email":null,"logged_in_user_id":null,"logged_in_user_name":null,"logged_in_user_email":null,"ip_address":"""#;
        return (none.to_owned(), None);
    }
    let effective = builder.person();
    let logged_in = if builder.chance(IMPERSONATION) { builder.person() } else { effective.clone() };
    let ip = builder.ip();
    builder.meaning.mention(MentionRole::Actor, party(&logged_in));
    if effective.number != logged_in.number {
        builder.meaning.mention(MentionRole::OnBehalfOf, party(&effective));
    }
    let users = format!(r#"{}{},"ip_address":"{ip}""#, user("user", &effective), user("logged_in_user", &logged_in));
    (users, Some(logged_in))
}

fn party(person: &Person) -> Party {
    Party { id: Some(id_of(person)), name: Some(person.name.clone()), email: Some(person.email.clone()) }
}

fn user(prefix: &str, person: &Person) -> String {
    format!(
        r#","{prefix}_id":"{}","{prefix}_name":{},"{prefix}_email":"{}""#,
        id_of(person),
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
