//! What consumers of the OCSF encoding rely on.

use serde_json::{Value, json};

use super::*;
use crate::event::{Action, Category, Grant, ObjectType, samples};

fn encoded(event: &Event<'_>, raw: RawForm) -> Value {
    let mut out = Vec::new();
    encode(event, OcsfVersion::default(), raw, &mut out);
    assert!(!out.contains(&b'\n'));
    serde_json::from_slice(&out).expect("valid JSON")
}

#[test]
fn a_full_event_field_by_field() {
    assert_eq!(
        encoded(&samples::grant_to_user(), RawForm::Keep),
        json!({
            "category_uid": 3, "class_uid": 3005, "activity_id": 1, "type_uid": 300_501, "severity_id": 1,
            "time": 1_764_000_000_100_i64, "status_id": 1, "status": "Success", "message": "granted",
            "metadata": {
                "version": "1.8.0", "product": {"name": "Confluence", "vendor_name": "Atlassian"},
                "uid": "abababababababababababababababab", "original_event_uid": "v7",
                "event_code": "Space permission added", "log_name": "acme", "tenant_uid": "t1",
                "original_time": "2025-11-24T16:00:00.10Z", "logged_time": 1_764_000_062_004_i64,
            },
            "actor": {"user": {"uid": "u1", "name": "Avery", "email_addr": "a@example.com", "type_id": 1}},
            "src_endpoint": {"ip": "203.0.113.24"},
            "user": {"uid": "u2", "name": "Blake Sample", "email_addr": "b@example.com"},
            "privileges": ["VIEWSPACE"],
            "observables": [
                {"name": "src_endpoint.ip", "type_id": 2, "value": "203.0.113.24"},
                {"name": "actor.user.email_addr", "type_id": 5, "value": "a@example.com"},
                {"name": "actor.user.uid", "type_id": 31, "value": "u1"},
            ],
            "raw_data": "{\"n\": 1.0}", "raw_data_size": 10,
            "raw_data_hash": {"algorithm": "SHA-256", "algorithm_id": 3, "value": raw_sha256("{\"n\": 1.0}")},
            "unmapped": {
                "schema_version": "1.0", "version": 3, "action": "grant", "category": "iam",
                "actor": {"type": "user", "via": "ui"},
                "on_behalf_of": {"id": "u9", "email": "z@example.com"},
                "grants": [{
                    "effect": "granted",
                    "grantee": {"type": "user", "id": "u2", "name": "Blake Sample", "email": "b@example.com"},
                    "privilege": "VIEWSPACE", "admin": false,
                    "scope": {"type": "space", "id": "FIN", "name": "Finance"},
                }],
                "related": [{"role": "associated", "type": "group", "vendor_type": "group", "id": "g1"}],
                "changes": [{"field": "Permission", "new": "ADMIN"}, {"field": "Email", "new": "b@example.com"}],
            },
        })
    );
}

#[test]
fn a_minimal_event_is_api_activity_of_its_vendor() {
    let minimal = encoded(&samples::minimal(), RawForm::Drop);
    assert_eq!(minimal["class_uid"], 6_003);
    assert_eq!(minimal["activity_id"], 99);
    assert_eq!(minimal["activity_name"], "other");
    assert_eq!(minimal["api"], json!({"operation": "other", "service": {"name": "Confluence"}}));
    assert_eq!(minimal["src_endpoint"], json!({"svc_name": "Confluence"}));
    assert_eq!(minimal["actor"], json!({"app_name": "Confluence"}));
    for absent in ["raw_data", "raw_data_size", "raw_data_hash", "observables", "resources", "message"] {
        assert_eq!(minimal.get(absent), None, "{absent}");
    }
}

#[test]
fn the_class_follows_category_action_and_target() {
    let class_of = |category, action, target: Option<(ObjectType, &'static str)>| {
        let target = target.map(|(kind, id)| samples::object(kind, id));
        let event = Event { category, action, target, grants: Vec::new(), ..samples::grant_to_user() };
        class_and_activity(&encoded(&event, RawForm::Drop))
    };
    let (user, group) = (Some((ObjectType::User, "u2")), Some((ObjectType::Group, "g2")));
    for (category, action, target, expected) in [
        (Category::Authentication, Action::Login, None, (3_002, 1)),
        (Category::Authentication, Action::Logout, None, (3_002, 2)),
        (Category::Authentication, Action::MfaEnable, user, (6_003, 99)),
        (Category::Iam, Action::AddMember, group, (3_006, 3)),
        (Category::Iam, Action::Create, group, (3_006, 6)),
        (Category::Iam, Action::Update, group, (3_006, 99)),
        (Category::Iam, Action::Grant, user, (3_001, 99)),
        (Category::Iam, Action::Disable, user, (3_001, 5)),
        (Category::Iam, Action::MfaDisable, user, (3_001, 11)),
        (Category::Iam, Action::Delete, Some((ObjectType::Role, "r1")), (6_003, 4)),
        (Category::Configuration, Action::Export, None, (6_003, 2)),
        (Category::Data, Action::Rotate, user, (6_003, 3)),
    ] {
        assert_eq!(class_of(category, action, target), expected, "{category} {action} {target:?}");
    }
}

fn class_and_activity(line: &Value) -> (u64, u64) {
    (line["class_uid"].as_u64().expect("a number"), line["activity_id"].as_u64().expect("a number"))
}

#[test]
fn grants_fill_users_groups_and_privileges() {
    let membership = samples::view_space().scope(ObjectType::Group, Some("g7".into()), Some("Admins".into()));
    let mut event = Event { grants: vec![membership], action: Action::AddMember, ..samples::grant_to_user() };
    let line = encoded(&event, RawForm::Drop);
    assert_eq!(class_and_activity(&line), (3_006, 3));
    assert_eq!(line["group"], json!({"uid": "g7", "name": "Admins"}));
    assert_eq!(line["user"], json!({"uid": "u2", "name": "Blake Sample", "email_addr": "b@example.com"}));
    assert_eq!(line["privileges"], json!(["VIEWSPACE"]));

    let mut elsewhere = samples::view_space();
    elsewhere.grantee.id = Some("u3".into());
    event.action = Action::Revoke;
    event.grants = vec![samples::view_space(), elsewhere];
    let line = encoded(&event, RawForm::Drop);
    assert_eq!(class_and_activity(&line), (3_005, 2));
    assert_eq!(line["privileges"], json!(["VIEWSPACE"]), "only those of the first grantee");
}

#[test]
fn nothing_is_null_or_empty_and_required_attributes_are_present() {
    fn assert_filled(value: &Value, line: &Value) {
        match value {
            Value::Null => panic!("null in {line}"),
            Value::String(text) => assert!(!text.is_empty(), "empty string in {line}"),
            Value::Array(items) => {
                assert!(!items.is_empty(), "empty list in {line}");
                items.iter().for_each(|item| assert_filled(item, line));
            }
            Value::Object(fields) => {
                assert!(!fields.is_empty(), "empty object in {line}");
                fields.values().for_each(|field| assert_filled(field, line));
            }
            Value::Bool(_) | Value::Number(_) => {}
        }
    }
    for event in samples::every_combination() {
        let line = encoded(&event, RawForm::Keep);
        assert_filled(&line, &line);
        let required: &[&str] = match line["class_uid"].as_u64() {
            Some(3_001) => &["user"],
            Some(3_002) => &["user", "service"],
            Some(3_005) => &["user", "privileges"],
            Some(3_006) => &["group"],
            _ => &["actor", "api", "src_endpoint"],
        };
        for name in required {
            assert!(line.get(name).is_some(), "{name} in {line}");
        }
        let class = line["class_uid"].as_u64().expect("a number");
        assert_eq!(line["type_uid"], class * 100 + line["activity_id"].as_u64().expect("a number"));
    }
}

#[test]
fn an_actor_without_a_name_uses_email_or_id() {
    let mut event = samples::grant_to_user();
    event.actor.name = None;
    assert_eq!(encoded(&event, RawForm::Drop)["actor"]["user"]["name"], "a@example.com");
    event.actor.email = None;
    assert_eq!(encoded(&event, RawForm::Drop)["actor"]["user"]["name"], "u1");
}

fn encoded_as(version: OcsfVersion, event: &Event<'_>, raw: RawForm) -> Value {
    let mut out = Vec::new();
    encode(event, version, raw, &mut out);
    serde_json::from_slice(&out).expect("valid JSON")
}

#[test]
fn what_was_redacted_is_named_in_every_version() {
    let redacted = vec!["actor.email".to_owned(), "/raw".to_owned()];
    let event = Event { redacted, ..samples::grant_to_user() };
    for version in OcsfVersion::ALL {
        let line = encoded_as(*version, &event, RawForm::Keep);
        assert_eq!(line["unmapped"]["redacted"], json!(["actor.email", "/raw"]), "{version:?}");
    }
}

#[test]
fn older_versions_can_be_selected() {
    for version in OcsfVersion::ALL {
        let line = encoded_as(*version, &samples::minimal(), RawForm::Drop);
        assert_eq!(line["metadata"]["version"], version.as_str());
    }
}

#[test]
fn what_1_3_lacks_goes_to_unmapped() {
    let mut event = samples::grant_to_user();
    event.actor.kind = ActorType::Service;
    let line = encoded_as(OcsfVersion::V1_3, &event, RawForm::Keep);
    assert_eq!(line["metadata"]["original_event_uid"], Value::Null);
    assert_eq!(line["unmapped"]["vendor_event_id"], "v7");
    assert_eq!(line["metadata"]["profiles"], json!(["host"]), "actor is of this profile");
    assert_eq!(line["actor"]["user"]["type_id"], 99);
    assert_eq!(line["actor"]["user"]["type"], "service");
    assert_eq!(line["observables"].as_array().expect("a list").len(), 2, "1.3.0 has no observable for an id");
    assert_eq!(line["raw_data"], event.raw);
    for absent in ["raw_data_size", "raw_data_hash"] {
        assert_eq!(line.get(absent), None, "{absent}");
    }
}

#[test]
fn a_group_without_user_and_privileges_is_api_activity_in_1_3() {
    let target = Some(samples::object(ObjectType::Group, "g2"));
    let event = Event { category: Category::Iam, action: Action::Delete, target, ..samples::minimal() };
    assert_eq!(class_and_activity(&encoded_as(OcsfVersion::V1_3, &event, RawForm::Drop)), (6_003, 4));
    assert_eq!(class_and_activity(&encoded_as(OcsfVersion::V1_7, &event, RawForm::Drop)), (3_006, 5));
}

#[test]
fn a_record_that_is_too_long_for_1_3_is_kept_in_unmapped() {
    let raw = format!("\"{}\"", "x".repeat(65_534));
    let event = Event { raw: &raw, ..samples::minimal() };
    let line = encoded_as(OcsfVersion::V1_3, &event, RawForm::Keep);
    assert_eq!((&line["raw_data"], &line["unmapped"]["raw_data"]), (&Value::Null, &json!(raw)));
    assert_eq!(encoded_as(OcsfVersion::V1_3, &event, RawForm::Drop)["unmapped"].get("raw_data"), None);
    let line = encoded_as(OcsfVersion::V1_7, &event, RawForm::Keep);
    assert_eq!((&line["raw_data"], line["unmapped"].get("raw_data")), (&json!(raw), None));
}

#[test]
fn severity_rises_with_failures_and_administrative_grants() {
    let severity = |outcome, grants: Vec<Grant<'static>>| {
        let event = Event { outcome, grants, ..samples::grant_to_user() };
        encoded(&event, RawForm::Drop)["severity_id"].as_u64()
    };
    let admin = |grant: Grant<'static>| Grant { admin: Some(true), ..grant };
    let view = samples::view_space;
    let revoked = Grant { effect: GrantEffect::Revoked, ..admin(view()) };
    assert_eq!(severity(Outcome::Success, vec![view()]), Some(1));
    assert_eq!(severity(Outcome::Unknown, vec![revoked]), Some(1));
    assert_eq!(severity(Outcome::Failure, vec![view()]), Some(2));
    assert_eq!(severity(Outcome::Partial, Vec::new()), Some(2));
    assert_eq!(severity(Outcome::Unknown, vec![view(), admin(view())]), Some(3));
    assert_eq!(severity(Outcome::Failure, vec![admin(view())]), Some(3));
}

#[test]
fn status_is_the_caption_and_other_activities_have_the_vendors_word() {
    for (outcome, id, caption) in [
        (Outcome::Unknown, 0, "Unknown"),
        (Outcome::Success, 1, "Success"),
        (Outcome::Failure, 2, "Failure"),
        (Outcome::Partial, 99, "Partial"),
    ] {
        let line =
            encoded(&Event { outcome, event_type: "Space \"logo\" spun".into(), ..samples::minimal() }, RawForm::Drop);
        assert_eq!((&line["status_id"], &line["status"]), (&json!(id), &json!(caption)));
        assert_eq!(line["activity_name"], "Space \"logo\" spun");
    }
}

#[test]
fn original_time_is_the_vendors_text_or_absent() {
    let event = Event { original_time: None, product: None, ..samples::grant_to_user() };
    let metadata = &encoded(&event, RawForm::Drop)["metadata"];
    assert_eq!(metadata.get("original_time"), None);
    assert_eq!(metadata["product"], json!({"name": "confluence", "vendor_name": "confluence"}), "of your own vendor");
}

#[test]
fn what_has_not_the_form_is_no_attribute_and_no_observable() {
    let mut event = samples::grant_to_user();
    event.actor.email = Some("ada lovelace".into());
    event.actor.ip = Some("office".into());
    event.target.as_mut().expect("a target").email = Some("blake@exämple.com".into());
    let line = encoded(&event, RawForm::Drop);
    assert_eq!(line["observables"], json!([{"name": "actor.user.uid", "type_id": 31, "value": "u1"}]));
    assert_eq!(line["actor"]["user"].get("email_addr"), None);
    let unmapped = &line["unmapped"];
    assert_eq!((&unmapped["actor_email"], &unmapped["actor_ip"]), (&json!("ada lovelace"), &json!("office")));
    assert_eq!(unmapped["target"]["email"], "blake@exämple.com");
}
