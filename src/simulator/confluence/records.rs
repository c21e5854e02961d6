//! Confluence's records: no id, the System author without an account, groups named `name:uuid`, empty affected objects.

use crate::simulator::draft::{Draft, quoted};

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
pub(super) fn write(draft: &mut Draft) -> String {
    let time = draft.time.at.as_millis();
    if draft.chance(0.03) && !draft.tied {
        return deactivated(time);
    }
    let (summary, category, kind) =
        if draft.unknown { ("Page levitated above the Büro", "Wizardry", "Broom") } else { draft.pick(&KINDS) };
    let by_system = draft.chance(0.12);
    let author = if by_system { SYSTEM.to_owned() } else { author(draft) };
    let address = if by_system || draft.chance(0.1) { String::new() } else { draft.ip() };
    let name = affected(draft, kind);
    let changes = changes(draft, category);
    let associated = associated(draft, kind);
    let admin = draft.chance(0.1);
    let super_admin = if draft.chance(0.9) { r#","superAdmin":false"# } else { "" };
    let extra = if draft.unknown { r#","riskScore":0.70,"labels":["a","ü"]"# } else { "" };
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
fn author(draft: &mut Draft) -> String {
    let person = draft.person();
    let name = quoted(&person.name);
    let account = format!("712020:{}", Draft::uuid_of(3_000 + person.number));
    let public = if draft.revision > 0 { name.clone() } else { r#""Unknown user""#.into() };
    let retired = if draft.chance(0.8) {
        format!(r#""username":"{account}","userKey":"{account}","#)
    } else {
        r#""username":null,"isGuest":false,"#.to_owned()
    };
    format!(
        r#"{{"type":"user","displayName":{name},"operations":null,"isExternalCollaborator":false,{retired}"accountId":"{account}","accountType":"","publicName":{public},"externalCollaborator":false}}"#
    )
}

fn affected(draft: &mut Draft, kind: &str) -> String {
    let name = draft.unique_name(&kind.to_lowercase());
    match kind {
        "Group" => format!("{name}:{}", draft.uuid()),
        "User" => format!("{} {name}", draft.person().name),
        _ => name,
    }
}

fn changes(draft: &mut Draft, category: &str) -> String {
    match category {
        "Permissions" => {
            let permission = draft.pick(&PERMISSIONS);
            format!("{},{}", change("Type", "", permission), change("Space", "", "FIN"))
        }
        "Spaces" => {
            let (page, version) = (draft.below(9_000_000), draft.below(9));
            change("Home page", &format!("page: {page} v.{version}"), &format!("page: {page} v.{}", version + 1))
        }
        _ => String::new(),
    }
}

fn change(name: &str, old: &str, new: &str) -> String {
    format!(r#"{{"name":"{name}","oldValue":"{old}","newValue":"{new}","hiddenOldValue":"","hiddenNewValue":""}}"#)
}

fn associated(draft: &mut Draft, kind: &str) -> String {
    match kind {
        "Group" => format!(r#"{{"name":{},"objectType":"User"}}"#, quoted(&draft.person().name)),
        "User" | "Page" => r#"{"name":"Finance \u0026 Söhne","objectType":"Space"}"#.into(),
        _ => String::new(),
    }
}
