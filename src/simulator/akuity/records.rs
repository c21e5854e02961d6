//! Akuity's records: no id, times in Go's form, unset messages as null, repetitions folded into a count.

use std::time::Duration;

use crate::simulator::meaning::{MentionRole, Party};
use crate::simulator::record_builder::{Person, RecordBuilder, quoted};
use crate::simulator::variants::{AkuityVariants, TimeFormat};
use crate::time::EventTime;

/// Action, action type, object type, object kind, object group.
type Kind = (&'static str, &'static str, &'static str, &'static str, &'static str);

const KINDS: [Kind; 12] = [
    ("deleted", "DELETE", "custom_role", "", ""),
    ("created", "CREATE", "organization_invite", "", ""),
    ("updated", "PATCH", "k8s_resource", "Deployment", "apps"),
    ("deleted", "DELETE", "k8s_resource", "Pod", ""),
    ("sync-started", "SYNC", "argocd_application", "Application", "argoproj.io"),
    ("sync-finished", "SYNC", "argocd_application", "Application", "argoproj.io"),
    ("created", "CREATE", "argocd_cluster", "", ""),
    ("updated", "UPDATE", "argocd_instance", "", ""),
    ("promoted", "UPDATE", "kargo_promotion", "Promotion", "kargo.akuity.io"),
    ("regenerated", "UPDATE", "api_key", "", ""),
    ("created", "CREATE", "team_member", "", ""),
    ("login", "", "member", "", ""),
];
/// A synchronization that failed.
const FAILED: Kind = ("sync-failed", "SYNC", "argocd_application", "Application", "argoproj.io");
/// Action, action type, object, and the role in the patch, if there is one: access of people, and of a key.
const ACCESS: [(&str, &str, &str, Option<&str>); 8] = [
    ("updated", "UPDATE", "member", Some("owner")),
    ("updated", "UPDATE", "member", Some("member")),
    ("removed", "DELETE", "member", None),
    ("invited", "CREATE", "organization_invite", Some("role:organization/admin")),
    ("added", "CREATE", "team_member", None),
    ("removed", "DELETE", "team_member", None),
    ("updated", "UPDATE", "workspace_member", Some("WORKSPACE_MEMBER_ROLE_ADMIN")),
    ("created", "CREATE", "api_key", Some("organization/owner")),
];
/// Of these roles, the one that is not for administrators.
const PLAIN_ROLE: &str = "member";
/// Share of the records that represent several occurrences from the start.
const FOLDED: f64 = 0.15;

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder, variants: &AkuityVariants) -> String {
    let is_failure = builder.notable && builder.chance(0.25);
    if builder.notable && !is_failure {
        return access(builder, variants);
    }
    let kind = if builder.unknown {
        ("defenestrated", "YEET", "hovercraft", "Eel", "fens.example")
    } else if is_failure {
        FAILED
    } else {
        builder.pick(&KINDS)
    };
    builder.meaning.failed = is_failure;
    let (actor, _) = actor(builder, is_failure, variants);
    let name = builder.unique_name(kind.2);
    let parent = parent(builder, kind.3, variants);
    let details = details(builder, kind.1, &name, variants);
    note_access(builder, kind, &name);
    record(builder, kind, &name, &[&actor, &parent, &details], variants)
}

/// The invitations and members of teams among [`KINDS`].
fn note_access(builder: &mut RecordBuilder, kind: Kind, name: &str) {
    match kind.2 {
        "organization_invite" => builder.meaning.grant(Party::with_name(name), None, false),
        "team_member" => builder.meaning.grant(Party::with_name(name), Some("member"), false),
        _ => {}
    }
}

/// The access of a person, who is not the actor, or of a key. Its message distinguishes it from others of the same time.
fn access(builder: &mut RecordBuilder, variants: &AkuityVariants) -> String {
    let (action, action_type, object, role) = builder.pick(&ACCESS);
    let (actor, acting) = actor(builder, false, variants);
    let request = builder.unique_name("request");
    let is_inside = matches!(object, "team_member" | "workspace_member");
    let person = builder.person_other_than(acting.as_ref());
    let (name, grantee) = if object == "api_key" {
        let name = builder.unique_name("ci-runner");
        (name.clone(), Party::with_name(name))
    } else {
        (person.email.clone(), Party::named_by_email(&person.email))
    };
    if is_inside {
        builder.meaning.mention(MentionRole::Related, grantee.clone());
    } else {
        builder.meaning.mention(MentionRole::Target, grantee.clone().and_id(&name));
    }
    let privilege = role.or((object == "team_member").then_some("member"));
    let is_admin = role.is_some_and(|role| role != PLAIN_ROLE);
    builder.meaning.change(action != "removed", grantee, privilege, is_admin);
    let container = if is_inside { "platform" } else { "" };
    let parent = format!(r#","parentId":{{"name":"{container}","parentName":"","applicationName":""}}"#);
    let field = if object == "api_key" { "roles" } else { "role" };
    let value = if object == "api_key" { role.map(|role| format!("[{}]", quoted(role))) } else { role.map(quoted) };
    let patch = value.map_or_else(String::new, |value| format!(r#"{{"{field}":{value}}}"#));
    let details = format!(
        r#","details":{{"message":{},"patch":{},"actionType":"{action_type}"}}"#,
        quoted(&format!("{action_type} of '{name}' by {request}")),
        quoted(&patch)
    );
    record(builder, (action, action_type, object, "", ""), &name, &[&actor, &parent, &details], variants)
}

/// The record; `parts` are the actor, the parent and the details.
fn record(
    builder: &mut RecordBuilder,
    (action, _, object, kind, group): Kind,
    name: &str,
    [actor, parent, details]: &[&str; 3],
    variants: &AkuityVariants,
) -> String {
    let occurrences = occurrences(builder, variants);
    let extra = if builder.unknown { r#","traceId":12345678901234567890"# } else { "" };
    format!(
        r#"{{"timestamp":"{time}","action":"{action}"{actor},"object":{{"type":"{object}","id":{{"name":{name},"kind":"{kind}","group":"{group}"}}{parent}}}{details}{occurrences}{extra}}}"#,
        time = written(builder.time, variants.time_format),
        name = quoted(name),
    )
}

/// A time in the format of the variant. Go's format drops trailing zeros of the fraction.
pub(super) fn written(time: EventTime, format: TimeFormat) -> String {
    if format == TimeFormat::Rfc3339 {
        return time.to_string();
    }
    let text = time.to_string();
    let (seconds, fraction) = text.trim_end_matches('Z').split_once('.').unwrap_or((text.trim_end_matches('Z'), ""));
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction} +0000 UTC", seconds.replacen('T', " ", 1))
}

/// A key with an unset message: `null` or absent.
fn unset(name: &str, variants: &AkuityVariants) -> String {
    if variants.drop_nulls { String::new() } else { format!(r#","{name}":null"#) }
}

/// The actor, and the person who is it.
fn actor(builder: &mut RecordBuilder, by_key: bool, variants: &AkuityVariants) -> (String, Option<Person>) {
    if builder.chance(0.02) && !by_key {
        return (unset("actor", variants), None);
    }
    let person = builder.person();
    let drawn = builder.below(9);
    let (kind, id, email) = match if by_key { 3 } else { drawn } {
        0 => ("system", String::new(), None),
        1 => ("argocd_user", "kargo-controller".to_owned(), None),
        2 => ("kargo_user", format!("email:{}", person.email), Some(person.email.clone())),
        3 => ("api_key", format!("ci-bot{}@example.io", person.number), None),
        4 => (
            "user",
            format!("user{}@akuity.example", person.number),
            Some(format!("user{}@akuity.example", person.number)),
        ),
        _ => ("user", person.email.clone(), Some(person.email.clone())),
    };
    builder.meaning.by_api = kind == "api_key";
    let acting = email.map(|email| {
        builder.meaning.mention(MentionRole::Actor, Party::with_email(email).and_id(&id));
        person
    });
    let ip = builder.ip();
    // An unknown address is absent, not null.
    let has_ip = matches!(kind, "user" | "api_key") && builder.chance(0.9) && !variants.omit_new_fields;
    let ip = if has_ip { format!(r#","ip":"{ip}""#) } else { String::new() };
    (format!(r#","actor":{{"type":"{kind}","id":{}{ip}}}"#, quoted(&id)), acting)
}

fn parent(builder: &mut RecordBuilder, kind: &str, variants: &AkuityVariants) -> String {
    if builder.chance(0.15) {
        return unset("parentId", variants);
    }
    let (name, above, application) = match kind {
        "Deployment" | "Pod" => ("in-cluster", "prod-argocd", "web-app"),
        "Application" => ("default", "prod-argocd", ""),
        _ => ("", "", ""),
    };
    format!(r#","parentId":{{"name":"{name}","parentName":"{above}","applicationName":"{application}"}}"#)
}

fn details(builder: &mut RecordBuilder, action_type: &str, name: &str, variants: &AkuityVariants) -> String {
    if builder.chance(0.03) {
        return unset("details", variants);
    }
    let replicas = builder.below(40);
    let patch = if action_type == "PATCH" {
        quoted(&format!(r#"{{"spec":{{"replicas":{replicas},"note":"line one\nline two – ☃"}}}}"#))
    } else {
        r#""""#.into()
    };
    let message = quoted(&format!("{action_type} of '{name}' by request {replicas}"));
    format!(r#","details":{{"message":{message},"patch":{patch},"actionType":"{action_type}"}}"#)
}

/// The count and the last occurrence. They grow with each revision.
fn occurrences(builder: &mut RecordBuilder, variants: &AkuityVariants) -> String {
    if variants.omit_new_fields {
        return String::new();
    }
    let folded = builder.chance(FOLDED) && !variants.collapse_interval.is_zero();
    let more = 1 + builder.below(8);
    let share = builder.pick(&[50_u32, 200, 500, 800, 999]);
    // The latest occurrence must not lie in the future when the record appears.
    let longest = variants.collapse_interval.min(builder.time_to_start).min(Duration::from_secs(600));
    let later = longest * share / 1_000;
    let (mut count, mut last) = (1, builder.time);
    if folded && builder.revision == 0 {
        last = EventTime {
            at: (builder.time.at + later).floor_to(Duration::from_secs(1)).max(builder.time.at),
            ..builder.time
        };
    }
    if folded {
        count += more;
    }
    if builder.revision > 0 {
        count += u64::from(builder.revision);
        last = builder.changed;
    }
    builder.last_at = last.at;
    if count == 1 && builder.chance(0.05) {
        return r#","count":1,"lastOccurredTimestamp":"""#.into();
    }
    format!(r#","count":{count},"lastOccurredTimestamp":"{}""#, written(last, variants.time_format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_go_prints_them() {
        for (text, go) in [
            ("2026-03-02T09:14:07.139210Z", "2026-03-02 09:14:07.13921 +0000 UTC"),
            ("2026-03-02T09:14:07.000000Z", "2026-03-02 09:14:07 +0000 UTC"),
            ("2026-03-02T09:14:07Z", "2026-03-02 09:14:07 +0000 UTC"),
        ] {
            let time = EventTime::parse_rfc3339(text).expect(text);
            assert_eq!(written(time, TimeFormat::Go), go);
            assert_eq!(written(time, TimeFormat::Rfc3339), text);
        }
    }
}
