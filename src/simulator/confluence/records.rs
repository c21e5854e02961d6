//! Confluence's records: no id, the System author without an account, groups named `name:uuid`, empty affected objects.

use crate::simulator::record_builder::{RecordBuilder, quoted};

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
    ("Content restriction added", "Permissions", "Page"),
    ("Page archived", "Page", "Page"),
    ("Page template updated", "Page", "Template"),
];
const PERMISSIONS: [&str; 4] = ["EXPORTSPACE", "VIEWSPACE", "SETSPACEPERMISSIONS", "REMOVEPAGE"];

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder) -> String {
    let time = builder.time.at.as_millis();
    if builder.chance(0.03) && !builder.tied {
        return deactivated(time);
    }
    let (summary, category, kind) =
        if builder.unknown { ("Page levitated above the Büro", "Wizardry", "Broom") } else { builder.pick(&KINDS) };
    let by_system = builder.chance(0.12);
    let author = if by_system { SYSTEM.to_owned() } else { author(builder) };
    let address = if by_system || builder.chance(0.1) { String::new() } else { builder.ip() };
    let name = affected(builder, kind);
    let changes = changes(builder, category);
    let associated = associated(builder, kind);
    let admin = builder.chance(0.1);
    let super_admin = if builder.chance(0.9) { r#","superAdmin":false"# } else { "" };
    let extra = if builder.unknown { r#","riskScore":0.70,"labels":["a","ü"]"# } else { "" };
    format!(
        r#"{{"author":{author},"remoteAddress":"{address}","creationDate":{time},"summary":"{summary}","description":"","category":"{category}","sysAdmin":{admin}{super_admin},"affectedObject":{{"name":{name},"objectType":"{kind}"}},"changedValues":[{changes}],"associatedObjects":[{associated}]{extra}}}"#,
        name = quoted(&name),
    )
}

const SYSTEM: &str = r#"{"type":"user","displayName":"System","operations":null,"isExternalCollaborator":false,"accountType":"","publicName":"Unknown user","externalCollaborator":false}"#;

/// A record with nothing in it but its kind and time, as the vendor writes for deactivated users.
fn deactivated(time: i64) -> String {
    format!(
        r#"{{"author":{SYSTEM},"remoteAddress":"","creationDate":{time},"summary":"User deactivated","description":"","category":"Users and groups","sysAdmin":false,"superAdmin":false,"affectedObject":{{"name":"","objectType":""}},"changedValues":[],"associatedObjects":[]}}"#
    )
}

/// The author. Its public name is filled in late: it changes with the record's revision.
fn author(builder: &mut RecordBuilder) -> String {
    let person = builder.person();
    let name = quoted(&person.name);
    let account = format!("712020:{}", RecordBuilder::uuid_of(3_000 + person.number));
    let public = if builder.revision > 0 { name.clone() } else { r#""Unknown user""#.into() };
    let retired = if builder.chance(0.8) {
        format!(r#""username":"{account}","userKey":"{account}","#)
    } else {
        r#""username":null,"isGuest":false,"#.to_owned()
    };
    format!(
        r#"{{"type":"user","displayName":{name},"operations":null,"isExternalCollaborator":false,{retired}"accountId":"{account}","accountType":"","publicName":{public},"externalCollaborator":false}}"#
    )
}

fn affected(builder: &mut RecordBuilder, kind: &str) -> String {
    let name = builder.unique_name(&kind.to_lowercase());
    match kind {
        "Group" => format!("{name}:{}", builder.uuid()),
        "User" => format!("{} {name}", builder.person().name),
        _ => name,
    }
}

fn changes(builder: &mut RecordBuilder, category: &str) -> String {
    match category {
        "Permissions" => {
            let permission = builder.pick(&PERMISSIONS);
            format!("{},{}", change("Type", "", permission), change("Space", "", "FIN"))
        }
        "Spaces" => {
            let (page, version) = (builder.below(9_000_000), builder.below(9));
            change("Home page", &format!("page: {page} v.{version}"), &format!("page: {page} v.{}", version + 1))
        }
        _ => String::new(),
    }
}

fn change(name: &str, old: &str, new: &str) -> String {
    format!(r#"{{"name":"{name}","oldValue":"{old}","newValue":"{new}","hiddenOldValue":"","hiddenNewValue":""}}"#)
}

fn associated(builder: &mut RecordBuilder, kind: &str) -> String {
    match kind {
        "Group" => format!(r#"{{"name":{},"objectType":"User"}}"#, quoted(&builder.person().name)),
        "User" | "Page" => r#"{"name":"Finance \u0026 Söhne","objectType":"Space"}"#.into(),
        _ => String::new(),
    }
}
