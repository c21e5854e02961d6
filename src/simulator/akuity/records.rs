//! Akuity's records: no id, times in Go's form, unset messages as null, repetitions folded into a count.

use std::time::Duration;

use crate::simulator::record_builder::{RecordBuilder, quoted};
use crate::simulator::variants::{AkuityVariants, TimeFormat};
use crate::time::EventTime;

/// Action, action type, object type, object kind, object group.
const KINDS: [(&str, &str, &str, &str, &str); 12] = [
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
/// Share of the records that represent several occurrences from the start.
const FOLDED: f64 = 0.15;

/// Writes one record.
pub(super) fn write(builder: &mut RecordBuilder, variants: &AkuityVariants) -> String {
    let (action, action_type, object, kind, group) = if builder.unknown {
        ("defenestrated", "YEET", "hovercraft", "Eel", "fens.example")
    } else {
        builder.pick(&KINDS)
    };
    let actor = actor(builder, variants);
    let name = builder.unique_name(object);
    let parent = parent(builder, kind, variants);
    let details = details(builder, action_type, &name, variants);
    let occurrences = occurrences(builder, variants);
    let extra = if builder.unknown { r#","traceId":12345678901234567890"# } else { "" };
    format!(
        r#"{{"timestamp":"{time}","action":"{action}"{actor},"object":{{"type":"{object}","id":{{"name":{name},"kind":"{kind}","group":"{group}"}}{parent}}}{details}{occurrences}{extra}}}"#,
        time = written(builder.time, variants.time_format),
        name = quoted(&name),
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

fn actor(builder: &mut RecordBuilder, variants: &AkuityVariants) -> String {
    if builder.chance(0.02) {
        return unset("actor", variants);
    }
    let person = builder.person();
    let (kind, id) = match builder.below(9) {
        0 => ("system", String::new()),
        1 => ("argocd_user", "kargo-controller".to_owned()),
        2 => ("kargo_user", format!("email:{}", person.email)),
        3 => ("api_key", format!("ci-bot{}@example.io", person.number)),
        4 => ("user", format!("{}@akuity.example", person.name)),
        _ => ("user", person.email),
    };
    let ip = builder.ip();
    // An unknown address is absent, not null.
    let has_ip = matches!(kind, "user" | "api_key") && builder.chance(0.9) && !variants.omit_new_fields;
    let ip = if has_ip { format!(r#","ip":"{ip}""#) } else { String::new() };
    format!(r#","actor":{{"type":"{kind}","id":{}{ip}}}"#, quoted(&id))
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
