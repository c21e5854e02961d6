//! Confluence's records: no id, the System author without an account, groups named `name:uuid`, empty affected objects.

use crate::simulator::meaning::{MentionRole, Party};
use crate::simulator::record_builder::{Person, RecordBuilder, quoted};

/// Summary, category, type of the affected object.
const KINDS: [(&str, &str, &str); 14] = [
    ("Space created", "Spaces", "Space"),
    ("Space deleted", "Spaces", "Space"),
    ("Space configuration updated", "Spaces", "Space"),
    ("Space exported", "Spaces", "Space"),
    ("User created", "Users and groups", "User"),
    ("User added to group", "Users and groups", "Group"),
    ("User removed from group", "Users and groups", "Group"),
    ("Group created", "Users and groups", "Group"),
    ("Space permission added", "Permissions", "User"),
    ("Space permission removed", "Permissions", "User"),
    ("Global permission added", "Permissions", "Group"),
    ("Content restriction added", "Permissions", "User"),
    ("Page archived", "Page", "Page"),
    ("Page template updated", "Page", "Template"),
];
/// Permissions of a space, of the site, and on a page.
const SPACE_PERMISSIONS: [&str; 4] = ["EXPORTSPACE", "VIEWSPACE", "SETSPACEPERMISSIONS", "REMOVEPAGE"];
const GLOBAL_PERMISSIONS: [&str; 4] = ["USECONFLUENCE", "PERSONALSPACE", "CREATESPACE", "ADMINISTRATECONFLUENCE"];
const RESTRICTIONS: [&str; 2] = ["View", "Edit"];
/// Those of administrators.
const ADMIN_PERMISSIONS: [&str; 2] = ["SETSPACEPERMISSIONS", "ADMINISTRATECONFLUENCE"];
const ADMIN_GROUP: &str = "confluence-administrators";
const FINANCE: &str = r#"{"name":"Finance \u0026 Söhne","objectType":"Space"}"#;
const USER_DETAILS: &str = "User details updated";
/// Summary, category, type of the affected object: acts on people.
const ON_PEOPLE: [(&str, &str, &str); 7] = [
    ("User added to group", "Users and groups", "Group"),
    ("User removed from group", "Users and groups", "Group"),
    ("Space permission added", "Permissions", "User"),
    ("Space permission removed", "Permissions", "User"),
    ("Global permission added", "Permissions", "User"),
    ("Content restriction added", "Permissions", "User"),
    (USER_DETAILS, "Users and groups", "User"),
];

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder) -> String {
    let time = builder.time.at.as_millis();
    if builder.chance(0.03) && !builder.tied {
        return deactivated(time);
    }
    // On a person, equal acts of the same time are possible: those have to differ.
    let on_person = builder.notable && !builder.tied;
    let (summary, category, kind) = if builder.unknown {
        ("Page levitated above the Büro", "Wizardry", "Broom")
    } else if on_person {
        builder.pick(&ON_PEOPLE)
    } else {
        builder.pick(&KINDS)
    };
    let by_system = builder.chance(0.12);
    let (author, acting) = if by_system { (SYSTEM.to_owned(), None) } else { author(builder) };
    let address = if by_system || builder.chance(0.1) { String::new() } else { builder.ip() };
    let person = on_person.then(|| builder.person_other_than(acting.as_ref()).name);
    let (affected, party) = affected(builder, summary, kind, person.as_deref());
    let changes = changes(builder, summary, (category, kind), &party);
    let associated = associated(builder, summary, kind, &party, person);
    let admin = builder.chance(0.1);
    let super_admin = if builder.chance(0.9) { r#","superAdmin":false"# } else { "" };
    let extra = if builder.unknown { r#","riskScore":0.70,"labels":["a","ü"]"# } else { "" };
    format!(
        r#"{{"author":{author},"remoteAddress":"{address}","creationDate":{time},"summary":"{summary}","description":"","category":"{category}","sysAdmin":{admin}{super_admin},"affectedObject":{{"name":{name},"objectType":"{kind}"}},"changedValues":[{changes}],"associatedObjects":[{associated}]{extra}}}"#,
        name = quoted(&affected),
    )
}

const SYSTEM: &str = r#"{"type":"user","displayName":"System","operations":null,"isExternalCollaborator":false,"accountType":"","publicName":"Unknown user","externalCollaborator":false}"#;

/// A record with nothing in it but its kind and time, as the vendor writes for deactivated users.
fn deactivated(time: i64) -> String {
    format!(
        r#"{{"author":{SYSTEM},"remoteAddress":"","creationDate":{time},"summary":"User deactivated","description":"","category":"Users and groups","sysAdmin":false,"superAdmin":false,"affectedObject":{{"name":"","objectType":""}},"changedValues":[],"associatedObjects":[]}}"#
    )
}

/// The author, and who that is. The public name is filled in late: it changes with the record's revision.
fn author(builder: &mut RecordBuilder) -> (String, Option<Person>) {
    let person = builder.person();
    let name = quoted(&person.name);
    let account = format!("712020:{}", RecordBuilder::uuid_of(3_000 + person.number));
    builder.meaning.mention(MentionRole::Actor, Party::with_name(&person.name).and_id(&account));
    let public = if builder.revision > 0 { name.clone() } else { r#""Unknown user""#.into() };
    let retired = if builder.chance(0.8) {
        format!(r#""username":"{account}","userKey":"{account}","#)
    } else {
        r#""username":null,"isGuest":false,"#.to_owned()
    };
    let author = format!(
        r#"{{"type":"user","displayName":{name},"operations":null,"isExternalCollaborator":false,{retired}"accountId":"{account}","accountType":"","publicName":{public},"externalCollaborator":false}}"#
    );
    (author, Some(person))
}

/// The name of the affected object as it is written, and what it means: a group's name ends in its id.
fn affected(builder: &mut RecordBuilder, summary: &str, kind: &str, person: Option<&str>) -> (String, Party) {
    let name = builder.unique_name(&kind.to_lowercase());
    match (kind, person) {
        ("Group", _) => {
            let is_admin_group = person.is_some() && is_membership(summary);
            let (name, id) = if is_admin_group {
                (ADMIN_GROUP.to_owned(), RecordBuilder::uuid_of(4_000))
            } else {
                (name, builder.uuid())
            };
            (format!("{name}:{id}"), Party::with_name(name).and_id(id))
        }
        ("User", Some(person)) => {
            builder.meaning.mention(MentionRole::Target, Party::with_name(person));
            (person.to_owned(), Party::with_name(person))
        }
        ("User", None) => {
            let name = format!("{} {name}", builder.person().name);
            (name.clone(), Party::with_name(name))
        }
        _ => (name.clone(), Party::with_name(name)),
    }
}

fn is_membership(summary: &str) -> bool {
    summary.ends_with(" group") && summary.starts_with("User ")
}

fn changes(builder: &mut RecordBuilder, summary: &str, (category, kind): (&str, &str), affected: &Party) -> String {
    match category {
        "Permissions" => permission(builder, summary, kind, affected),
        "Spaces" => {
            let (page, version) = (builder.below(9_000_000), builder.below(9));
            change("Home page", &format!("page: {page} v.{version}"), &format!("page: {page} v.{}", version + 1))
        }
        _ if summary == USER_DETAILS => change("Active", "Yes", "No"),
        _ => String::new(),
    }
}

/// A permission of the affected user or group. One that was removed is on the old side, and the space has no key.
fn permission(builder: &mut RecordBuilder, summary: &str, kind: &str, affected: &Party) -> String {
    let permission = match summary {
        "Global permission added" => builder.pick(&GLOBAL_PERMISSIONS),
        "Content restriction added" => builder.pick(&RESTRICTIONS),
        _ => builder.pick(&SPACE_PERMISSIONS),
    };
    let is_new = !summary.ends_with("removed");
    let is_admin = ADMIN_PERMISSIONS.contains(&permission);
    builder.meaning.change(is_new, affected.clone(), Some(permission), is_admin);
    let name = affected.name.as_deref().unwrap_or_default();
    if !is_new {
        return [change("Type", permission, ""), change(kind, name, "")].join(",");
    }
    let space = summary.starts_with("Space").then(|| change("Space", "", "FIN"));
    [Some(change("Type", "", permission)), space, Some(change(kind, "", name))]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(",")
}

fn change(name: &str, old: &str, new: &str) -> String {
    let (old, new) = (quoted(old), quoted(new));
    format!(r#"{{"name":"{name}","oldValue":{old},"newValue":{new},"hiddenOldValue":"","hiddenNewValue":""}}"#)
}

fn associated(
    builder: &mut RecordBuilder,
    summary: &str,
    kind: &str,
    affected: &Party,
    person: Option<String>,
) -> String {
    match kind {
        "Group" if !summary.starts_with("Global") => {
            let user = person.unwrap_or_else(|| builder.person().name);
            builder.meaning.mention(MentionRole::Related, Party::with_name(&user));
            if is_membership(summary) {
                let is_admin = affected.name.as_deref() == Some(ADMIN_GROUP);
                let is_new = summary.contains("added");
                builder.meaning.change(is_new, Party::with_name(&user), Some("member"), is_admin);
            }
            format!(r#"{{"name":{},"objectType":"User"}}"#, quoted(&user))
        }
        "User" if summary.starts_with("Content") => {
            let page = builder.unique_name("page");
            format!(r#"{{"name":"{page}","objectType":"Page"}},{FINANCE}"#)
        }
        "User" if summary.starts_with("Space") => FINANCE.to_owned(),
        _ => String::new(),
    }
}
