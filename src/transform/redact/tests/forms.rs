//! Values in forms that a normalizer rewrites, cannot read or discards, and texts that hold JSON in odd ways.

use super::*;

/// A record of a vendor with some members replaced.
fn record(vendor: &str, members: Value) -> String {
    let base = match vendor {
        "merge" => json!({"id": "1", "created_at": "2026-03-02T08:59:30Z", "event_type": "LOGIN"}),
        "confluence" => json!({"creationDate": 1_772_441_970_123_i64, "summary": "x"}),
        "captivateiq" => json!({"id": "1", "created_at": "2026-03-02T08:59:30Z", "event_type": "user.updated"}),
        _ => json!({"id": "1", "timestamp": "2026-03-02T08:59:30Z", "action": "x", "category": "users"}),
    };
    let (Value::Object(mut base), Value::Object(members)) = (base, members) else { panic!("not objects") };
    base.extend(members);
    Value::Object(base).to_string()
}

fn assert_gone(event: &Value, values: &[&str]) {
    let text = event.to_string().to_lowercase();
    for value in values {
        assert!(!text.contains(&value.to_lowercase()), "{value} in {text}");
    }
}

#[test]
fn what_a_normalizer_cannot_read_is_redacted_with_its_field() {
    for (vendor, field, members, gone) in [
        (
            "merge",
            "actor.email",
            json!({"user_email": "Ada Ex <ada@ex.com>", "event_description": "ADA EX <ada@ex.com> did"}),
            &["ada@", "ada ex"][..],
        ),
        ("merge", "actor.email", json!({"user_email": {"address": "ada@ex.com"}}), &["ada"]),
        ("clumio", "actor.email", json!({"user_email": "Ada Ex <ada@ex.com>"}), &["ada"]),
        ("akuity", "actor.email", json!({"actor": {"type": "user", "id": "Ada Ex <ada@ex.com>"}}), &["ada"]),
        ("clumio", "actor.ip", json!({"ip_address": "[2001:0db8::17]:443"}), &["2001:"]),
        (
            "clumio",
            "actor.ip",
            json!({"ip_address": ["203.0.113.5", "198.51.100.7"], "x": "198.51.100.7"}),
            &["203.", "198."],
        ),
        ("clumio", "actor.ip", json!({"ip_address": "203.0.113.5:https"}), &["203."]),
        (
            "captivateiq",
            "actor.email",
            json!({"user_id": "u1", "user_email": "ada.alias@ex.com", "logged_in_user_id": "u1", "logged_in_user_email": "ada@ex.com"}),
            &["ada@"],
        ),
        ("captivateiq", "target.id", json!({"object_id": 12345.0}), &["12345"]),
        (
            "captivateiq",
            "changes.old",
            json!({"data": {"is_active": {"old": true, "new": false}, "pay": {"old": {"x": "low quota"}, "new": 1}}}),
            &["true", "low quota"],
        ),
        (
            "captivateiq",
            "changes.new",
            json!({"data": {"is_active": {"old": 1, "new": false}, "pay": {"old": 1, "new": "high quota"}}}),
            &["false", "high quota"],
        ),
        (
            "confluence",
            "changes.old",
            json!({"changedValues": [{"name": "Email", "oldValue": "shown", "hiddenOldValue": "ada@old"}]}),
            &["shown", "ada@old"],
        ),
        ("confluence", "actor.ip", json!({"remoteAddress": "203.0.113.5 via 198.51.100.7"}), &["203.", "198."]),
    ] {
        let record = record(vendor, members);
        for settings in [json!({"drop": [field]}), json!({"hash": [field], "hash_secret": KEY})] {
            let event = delivered(vendor, &record, &redactions(settings));
            assert_gone(&event, gone);
            assert!(event["redacted"].as_array().expect("a list").contains(&json!("/raw")), "{event}");
        }
    }
}

#[test]
fn the_pointers_of_fields_are_where_normalizers_read_them() {
    for vendor in registry::names() {
        let normalizer = registry::normalizer(vendor, &NormalizerConfig::default()).expect("a vendor");
        let record: Value = serde_json::from_str(normalizer.example()).expect("JSON");
        let event = delivered(vendor, normalizer.example(), &Redactions::default());
        for field in ["id", "name", "email", "ip"] {
            let Some(value) = event["actor"][field].as_str() else { continue };
            let name = format!("actor.{field}");
            let pointers = normalizer.field_pointers().iter().filter(|(found, _)| *found == name);
            let mut texts =
                pointers.flat_map(|(_, paths)| *paths).filter_map(|path| record.pointer(&path["/raw".len()..]));
            assert!(texts.any(|text| text == value), "{name} of {vendor}");
        }
    }
}

#[test]
fn null_and_empty_values_of_a_field_stay() {
    let record = record("merge", json!({"user_email": null, "ip_address": ""}));
    let event = delivered(
        "merge",
        &record,
        &redactions(json!({"drop": ["actor.email"], "hash": ["actor.ip"], "hash_secret": KEY})),
    );
    assert_eq!((&event["raw"]["user_email"], &event["raw"]["ip_address"]), (&Value::Null, &json!("")));
    assert_eq!(event.get("redacted"), None);
}

#[test]
fn a_dropped_record_is_null() {
    let settings = json!({"drop": ["raw", "actor.email"]});
    let both = redactions(settings).and(&redactions(json!({"drop": ["/raw/a"]})));
    for record in [MERGE, "{\"user_email\": \"ada@", "\"ada@example.com\""] {
        let event = delivered("merge", record, &both);
        assert_eq!(event.get("raw"), Some(&Value::Null));
        assert_gone(&event, &["ada@"]);
        assert!(event["redacted"].as_array().expect("a list").contains(&json!("/raw")), "{event}");
    }
}

#[test]
fn fields_of_persons_alone_bring_a_warning() {
    for (settings, key) in [
        (json!({"drop": ["actor.ip"]}), Some("drop")),
        (json!({"drop": ["message"], "hash": ["target.email"], "hash_secret": KEY}), Some("hash")),
        (json!({"drop": ["actor.ip", "raw"]}), None),
        (json!({"drop": ["actor.ip"], "hash": ["/raw/user_name"]}), None),
        (json!({"drop": ["changes.old"], "drop_credentials": true}), None),
    ] {
        let config: Config = serde_json::from_value(settings).expect("settings");
        let warnings: Vec<String> = config.warnings().into_iter().map(|warning| warning.key).collect();
        assert_eq!(warnings, key.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn values_that_are_json_are_found() {
    let object = r#"{"ssn": "123-45"}"#;
    let data: Value = serde_json::from_str(object).expect("JSON");
    let members =
        json!({"changedValues": [{"name": "a", "oldValue": object}], "copy": object, "copies": ["(see 123-45)"]});
    let record = record("confluence", members).replace("[\"(see 123-45)\"]", object);
    assert!(record.contains(&format!("\"copies\":{object}")) && data.is_object());
    let event = delivered("confluence", &record, &redactions(json!({"drop": ["changes.old"]})));
    assert_eq!((&event["raw"]["copy"], &event["raw"]["copies"]), (&json!("[redacted]"), &json!("[redacted]")));
    assert_gone(&event, &["123-45"]);
}

#[test]
fn case_is_that_of_unicode() {
    let record = record("merge", json!({"user_email": "Émile@ex.com", "event_description": "ÉMILE@EX.COM logged in"}));
    let event = delivered("merge", &record, &redactions(json!({"hash": ["actor.email"], "hash_secret": KEY})));
    let hash = hash("émile@ex.com");
    assert_eq!((&event["actor"]["email"], &event["raw"]["user_email"]), (&json!(hash), &json!(hash)));
    assert_eq!(event["message"], format!("{hash} logged in"));
}

#[test]
fn json_in_strings_is_entered_or_removed() {
    let json = r#"{"link":"hunter2","password":"hunter2","keep":1}"#;
    let twice = Value::from(json).to_string();
    let deep = format!("[1,{}{},{json}]", "[".repeat(300), "]".repeat(300));
    let cut_twice = &twice[..twice.len() - 10];
    for (details, kept) in [
        (json, true),
        (&format!("\u{feff}{json}"), true),
        (&twice, true),
        (&format!("[1,{}", &json[..45]), false),
        (&deep, false),
        (cut_twice, false),
    ] {
        let record = record("clumio", json!({"details": details}));
        let settings = json!({"drop_credentials": true, "drop": ["/raw/**/link"]});
        let event = delivered("clumio", &record, &redactions(settings));
        assert_gone(&event, &["hunter2"]);
        assert_eq!(event["raw"]["details"].to_string().contains("keep"), kept, "{event}");
        let expected = if kept { json!(["/raw/**/link", "/raw/**/*password*"]) } else { json!(["/raw"]) };
        assert_eq!(event["redacted"], expected);
    }
    let harmless =
        record("clumio", json!({"x": "[INFO] {a} logged in", "details": "\"quoted\" text, [INFO] logged in"}));
    assert_eq!(delivered("clumio", &harmless, &redactions(json!({"drop_credentials": true}))).get("redacted"), None);
}

#[test]
fn values_with_escapes_in_a_string_that_cannot_be_read_are_removed() {
    let record = record(
        "merge",
        json!({"user_email": "émile@ex.com", "x": r#"{"by": "\u00e9mile@ex.com", "#, "y": "{émile@ex.com"}),
    );
    let event = delivered("merge", &record, &redactions(json!({"drop": ["actor.email"]})));
    assert_eq!((event["raw"].get("x"), &event["raw"]["y"]), (None, &json!("{[redacted]")));
}

#[test]
fn credentials_are_known_by_parts_of_their_names_in_any_case() {
    let body = json!({"Role_External_ID": "G", "external_id": "G", "Edge_connector_credentials": {"a": "G"}, "apiToken": "G", "keep": 1});
    let event = delivered(
        "clumio",
        &record("clumio", json!({"details_json": body})),
        &redactions(json!({"drop_credentials": true})),
    );
    assert_eq!(event["raw"]["details_json"], json!({"keep": 1}));
    for vendor in registry::names() {
        let record = record(vendor, json!({"data": {"api_token": {"old": "hunter1", "new": "hunter2"}}}));
        let event = delivered(vendor, &record, &redactions(json!({"drop_credentials": true})));
        assert_eq!(event["raw"]["data"], json!({}));
        assert_eq!(event["redacted"], json!(["/raw/**/*token*"]));
    }
}

#[test]
fn drop_wins_over_hash() {
    let record = record("clumio", json!({"user_email": "ada@ex.com", "x": "by ada@ex.com"}));
    let settings =
        json!({"drop": ["actor.email"], "hash": ["actor.id", "/raw/x", "/raw/timestamp"], "hash_secret": KEY});
    let event = delivered("clumio", &record, &redactions(settings));
    assert_eq!((&event["actor"]["id"], &event["actor"]["email"]), (&Value::Null, &Value::Null));
    assert_eq!(event["raw"]["user_email"], "[redacted]");
}

#[test]
fn numbers_and_words_that_only_look_like_a_value_stay() {
    let members = json!({
        "n": 100, "m": 1234567, "text": "a User of 100", "affectedObject": {"name": "n", "objectType": "Page"},
        "changedValues": [{"name": "a", "newValue": "User"}, {"name": "b", "newValue": 1234567}, {"name": "c", "newValue": 100}],
    });
    let event = delivered("confluence", &record("confluence", members), &redactions(json!({"drop": ["changes.new"]})));
    assert_eq!((&event["raw"]["n"], &event["raw"]["m"]), (&json!(100), &json!("[redacted]")));
    assert_eq!(event["raw"]["text"], "a User of [redacted]");
    assert!(
        event["raw"]["changedValues"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|change| change["newValue"] == "[redacted]")
    );
}

#[test]
fn redacted_names_what_changed_only() {
    let settings = json!({"hash": ["/raw/a"], "drop": ["/raw/b/c"], "hash_secret": KEY});
    let event = delivered("clumio", &record("clumio", json!({"a": {"x": []}, "b": {}})), &redactions(settings));
    assert_eq!(event.get("redacted"), None);
}

#[test]
fn values_in_the_vendors_time_are_replaced() {
    let normalizer = registry::normalizer("clumio", &NormalizerConfig::default()).expect("a vendor");
    let context = ReadContext { source: "acme", observed_at: Timestamp::from_nanos(0), occurrence: 0 };
    let record = record("clumio", json!({"user_email": "ada@ex.com", "timestamp": "ada@ex.com"}));
    let (mut event, mut raw) = (normalizer.normalize(&record, &context), String::new());
    redactions(json!({"drop": ["actor.email"]})).redactor(&*normalizer).apply(&mut event, &mut raw);
    assert_eq!(event.original_time.as_deref(), Some("[redacted]"));
    assert!(event.redacted.iter().any(|path| path == "original_time"));
}

#[test]
fn a_preview_without_its_key_has_a_random_one() {
    let settings = json!({"hash": ["actor.email"], "hash_secret": "short"});
    let config: Config = serde_json::from_value(settings).expect("settings");
    let preview = config.compile([0; 32]).expect("valid").for_preview();
    let event = delivered("merge", MERGE, &preview);
    let email = event["actor"]["email"].as_str().expect("a hash");
    assert!(email.starts_with("hmac-") && email != HashKey::new("not a secret").hash("ada@example.com"));
    assert_eq!(event, delivered("merge", MERGE, &preview), "the same in one process");
}

#[test]
fn many_values_and_many_strings_are_redacted_in_time_that_grows_with_their_size() {
    let change =
        |n: usize| (format!("f{n}"), json!({"old": format!("old{n}x"), "new": format!("new{n}x {}", "y".repeat(70))}));
    let data: Map<String, Value> = (0..10_000).map(change).collect();
    let record = record(
        "captivateiq",
        json!({"data": data, "copy": (0..10_000).map(|n| format!("was old{n}x")).collect::<Vec<_>>()}),
    );
    assert!(record.len() > 1_000_000);
    let event = delivered("captivateiq", &record, &redactions(json!({"drop": ["changes.old", "changes.new"]})));
    assert!(event["raw"]["copy"].as_array().expect("a list").iter().all(|text| text == "was [redacted]"));
    assert_gone(&event, &["old1x", "new9999x"]);
}
