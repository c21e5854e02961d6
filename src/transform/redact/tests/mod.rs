//! Events and records, redacted.

mod forms;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::event::native::{self, RawForm};
use crate::time::Timestamp;
use crate::vendors::{NormalizerConfig, ReadContext, registry};

const KEY: &str = "0123456789abcdef";

fn redactions(settings: Value) -> Redactions {
    let config: Config = serde_json::from_value(settings).expect("settings");
    let mut redactions = config.compile([0; 32]).expect("valid");
    redactions.read_keys().expect("a key");
    redactions
}

/// The event that a vendor's record becomes behind the transforms.
fn delivered(vendor: &str, record: &str, redactions: &Redactions) -> Value {
    let normalizer = registry::normalizer(vendor, &NormalizerConfig::default()).expect("a vendor");
    let context = ReadContext { source: "acme", observed_at: Timestamp::from_nanos(0), occurrence: 0 };
    let (mut raw, mut line) = (String::new(), Vec::new());
    let mut event = normalizer.normalize(record, &context);
    redactions.redactor(&*normalizer).apply(&mut event, &mut raw);
    native::encode(&event, RawForm::Keep, &mut line);
    serde_json::from_slice(&line).expect("valid JSON")
}

/// A record behind a transform that drops.
fn dropped(record: &str, pointers: &[&str]) -> String {
    let mut event = Event::new(crate::event::EventId([0; 16]), "v", "s", Timestamp::from_nanos(0), record);
    let mut raw = String::new();
    let normalizer = registry::normalizer("merge", &NormalizerConfig::default()).expect("a vendor");
    redactions(json!({"drop": pointers})).redactor(&*normalizer).apply(&mut event, &mut raw);
    event.raw.to_owned()
}

fn hash(value: &str) -> String {
    HashKey::new(KEY).hash(value)
}

const MERGE: &str = r#"{"id":"7f3c","user_name":"Ada Example","user_email":"Ada@Example.com","role":"ADMIN","ip_address":"192.0.2.123",
 "event_type":"INVITED_USER","event_description":"ada@example.com invited Bo (bo@example.com)","created_at":"2026-03-02T08:59:30Z"}"#;

#[test]
fn a_value_is_redacted_wherever_it_occurs() {
    let event = delivered(
        "merge",
        MERGE,
        &redactions(
            json!({"hash": ["actor.email", "related.email"], "drop": ["actor.ip", "actor.name"], "hash_secret": KEY}),
        ),
    );
    let (ada, bo) = (hash("ada@example.com"), hash("bo@example.com"));
    assert_eq!(
        event["actor"],
        json!({"type": "admin", "id": ada, "name": null, "email": ada, "ip": null, "via": "unknown", "on_behalf_of": null})
    );
    assert_eq!(event["message"], format!("{ada} invited Bo ({bo})"));
    assert_eq!(event["raw"]["user_email"], ada);
    assert_eq!(event["raw"]["user_name"], "[redacted]");
    assert_eq!(event["raw"]["event_description"], event["message"]);
    assert_eq!(event["raw"]["created_at"], "2026-03-02T08:59:30Z");
    assert_eq!(
        event["redacted"],
        json!(["message", "actor.id", "actor.name", "actor.email", "actor.ip", "related.email", "/raw"])
    );
    let text = event.to_string().to_lowercase();
    for gone in ["ada", "bo@example.com", "192.0.2.123"] {
        assert!(!text.contains(gone), "{gone} in {text}");
    }
    let whole = delivered("merge", MERGE, &Redactions::default());
    assert_eq!((&event["id"], &event["timestamp"]), (&whole["id"], &whole["timestamp"]), "ids stay");
    assert_eq!(whole.get("redacted"), None);
}

#[test]
fn credentials_are_cut_out_of_objects_and_of_json_in_strings() {
    let body = r#"{"request_body":{"current_password":"Old-Pass","new_password":"New-Pass","users":[{"passcode":1234,"keep":true}]}}"#;
    let record = json!({
        "id": "d38f", "timestamp": "2026-03-02T08:59:30Z", "action": "update", "category": "users",
        "details": body, "details_json": serde_json::from_str::<Value>(body).expect("JSON"),
    });
    let event = delivered("clumio", &record.to_string(), &redactions(json!({"drop_credentials": true})));
    let kept = json!({"request_body": {"users": [{"keep": true}]}});
    assert_eq!(event["raw"]["details_json"], kept);
    assert_eq!(serde_json::from_str::<Value>(event["raw"]["details"].as_str().expect("text")).expect("JSON"), kept);
    assert!(event["redacted"].as_array().expect("a list").contains(&json!("/raw/**/*password*")), "{event}");
    let cut_off = record.to_string().replace(r#"\"keep\":true}]}}"#, "");
    let event = delivered("clumio", &cut_off, &redactions(json!({"drop_credentials": true})));
    assert_eq!(event["raw"].get("details"), None, "nobody knows what a string that is cut off holds");
    assert!(event["redacted"].as_array().expect("a list").contains(&json!("/raw")), "{event}");
}

#[test]
fn every_list_of_a_vendor_is_valid() {
    for vendor in registry::names() {
        let normalizer = registry::normalizer(vendor, &NormalizerConfig::default()).expect("a vendor");
        for path in normalizer.credentials() {
            Pattern::parse(path, Action::Drop, Origin::Credentials)
                .unwrap_or_else(|(message, _)| panic!("{vendor}: {message}"));
        }
        for (field, paths) in normalizer.field_pointers() {
            fields::named(field).unwrap_or_else(|(message, _)| panic!("{vendor}: {message}"));
            for path in *paths {
                Pattern::parse(path, Action::Drop, Origin::Field)
                    .unwrap_or_else(|(message, _)| panic!("{vendor}: {message}"));
            }
        }
    }
}

#[test]
fn members_are_cut_and_every_other_byte_stays() {
    for (record, pointer, expected) in [
        (r#"{ "a" : 1.0, "b":2 , "c":3 }"#, "/raw/a", r#"{ "b":2 , "c":3 }"#),
        (r#"{ "a" : 1.0, "b":2 , "c":3 }"#, "/raw/b", r#"{ "a" : 1.0 , "c":3 }"#),
        (r#"{ "a" : 1.0, "b":2 , "c":3 }"#, "/raw/c", r#"{ "a" : 1.0, "b":2 }"#),
        (r#"{"a":1,"a":2,"b":3,"a":4}"#, "/raw/a", r#"{"b":3}"#),
        (r#"{"a\u0062":1,"c":"\u0041"}"#, "/raw/ab", r#"{"c":"\u0041"}"#),
        (r#"{"a":[1,{"x":1},[{"x":2,"y":3}]]}"#, "/raw/**/x", r#"{"a":[1,{},[{"y":3}]]}"#),
        (r#"{"a":[1,2,3]}"#, "/raw/a/1", r#"{"a":[1,3]}"#),
        (r#"{"a":[1,2,3]}"#, "/raw/a/*", r#"{"a":[]}"#),
        (r#"{"a/b":{"~":1,"c":2}}"#, "/raw/a~1b/~0", r#"{"a/b":{"c":2}}"#),
        (r#"{"a":{"b":1}}"#, "/raw/a/c", r#"{"a":{"b":1}}"#),
        (r#"{"a":"text","b":1}"#, "/raw/a/c", r#"{"a":"text","b":1}"#),
    ] {
        let found = dropped(record, &[pointer]);
        assert_eq!(found.split_whitespace().collect::<String>(), expected.split_whitespace().collect::<String>());
        serde_json::from_str::<Value>(&found).unwrap_or_else(|error| panic!("{error} in {found}"));
    }
}

#[test]
fn hashed_members_keep_their_shape() {
    let settings = json!({"hash": ["/raw/a"], "hash_secret": KEY});
    let record = r#"{"id":"1","a":{"n":1.50,"t":"Ada","l":[true,null,"x"]},"b":"Ada"}"#;
    let event = delivered("clumio", record, &redactions(settings));
    assert_eq!(
        event["raw"]["a"],
        json!({"n": hash("1.50"), "t": hash("ada"), "l": [hash("true"), hash("null"), hash("x")]})
    );
    assert_eq!(event["raw"]["b"], "Ada");
    assert_eq!(event["redacted"], json!(["/raw/a"]));
}

#[test]
fn a_record_that_cannot_be_read_is_removed() {
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(300), "]".repeat(300));
    for record in ["{\"user_email\": \"ada@", "\"ada@example.com\"", "[1]", "{\"base64\":\"YWRh\"}", "", &deep] {
        let event = delivered("clumio", record, &redactions(json!({"drop": ["actor.email"]})));
        assert_eq!(event["raw"], "[redacted: the record cannot be read]", "{record}");
        assert_eq!(event["redacted"], json!(["/raw"]));
    }
}

#[test]
fn without_its_key_what_should_be_hashed_is_dropped() {
    let config: Config =
        serde_json::from_value(json!({"hash": ["actor.email", "/raw/role"], "hash_secret": KEY})).expect("settings");
    let event = delivered("merge", MERGE, &config.compile([0; 32]).expect("valid"));
    assert_eq!((&event["actor"]["email"], event["raw"].get("role")), (&Value::Null, None));
    assert_eq!(event["raw"]["user_email"], "[redacted]");
}

#[test]
fn transforms_in_a_row_are_applied_in_their_order() {
    let first = redactions(json!({"drop": ["actor.email"]}));
    let second = redactions(json!({"drop": ["/raw/role"]}));
    let event = delivered("merge", MERGE, &first.and(&second));
    assert_eq!(event["redacted"], json!(["message", "actor.id", "actor.email", "/raw", "/raw/role"]));
    assert_eq!(event["raw"].get("role"), None);
}

#[test]
fn wrong_settings_are_reported() {
    for (settings, expected) in [
        (json!({}), "redacts nothing"),
        (json!({"drop": ["actor.mail"]}), "`actor.mail` is not a field"),
        (json!({"drop": ["action"]}), "`action` is not a field"),
        (json!({"drop": ["/raw"]}), "`/raw` is not a pointer"),
        (json!({"hash": ["raw"], "hash_secret": KEY}), "`raw` is not a field"),
        (json!({"hash": ["actor.id"]}), "needs a key"),
        (json!({"hash": ["actor.id"], "drop": ["actor.id"], "hash_secret": KEY}), "is also in `drop`"),
    ] {
        let config: Config = serde_json::from_value(settings).expect("settings");
        let errors = config.compile([0; 32]).expect_err(expected);
        assert!(errors.iter().any(|error| error.message.contains(expected)), "{expected} in {errors:?}");
    }
    let short: Config =
        serde_json::from_value(json!({"hash": ["actor.id"], "hash_secret": "short"})).expect("settings");
    let error = short.compile([0; 32]).expect("valid").read_keys().expect_err("too short");
    assert!(error.contains("openssl rand") && !error.contains("short;"), "{error}");
}

#[test]
fn the_fingerprint_follows_settings_and_keys_and_hides_the_key() {
    let of = |settings: Value| redactions(settings).fingerprint();
    let all = [
        of(json!({"drop": ["actor.id"]})),
        of(json!({"drop": ["actor.ip"]})),
        of(json!({"drop": ["/raw/a"]})),
        of(json!({"drop_credentials": true})),
        of(json!({"drop": ["raw"]})),
        of(json!({"hash": ["actor.id"], "hash_secret": KEY})),
        of(json!({"hash": ["actor.id"], "hash_secret": "fedcba9876543210"})),
    ];
    let distinct: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len());
    assert!(all.iter().all(|fingerprint| !fingerprint.contains(KEY)));
}

/// Any JSON, with names that pointers name too.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-c\"\\\\ é{\\[]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 4, |inner| {
        let members = prop::collection::vec(("[abc/~\\*]{1,2}", inner.clone()), 0..4);
        let object = members.prop_map(|members| Value::Object(members.into_iter().collect()));
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            object,
            inner.prop_map(|value| Value::from(value.to_string()))
        ]
    })
}

/// A plain way to do the same, on values.
fn without(value: &Value, pointer: &[String]) -> Value {
    let Some((name, rest)) = pointer.split_first() else { return value.clone() };
    let is_match = |found: &str| name == "*" || name == found;
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter(|(found, _)| !(rest.is_empty() && is_match(found)));
            let below = |(found, value): (&String, &Value)| {
                (found.clone(), if is_match(found) { without(value, rest) } else { value.clone() })
            };
            Value::Object(kept.map(below).collect::<Map<_, _>>())
        }
        Value::Array(items) => {
            let items = items.iter().enumerate().map(|(index, item)| (index.to_string(), item));
            let kept = items.filter(|(found, _)| !(rest.is_empty() && is_match(found)));
            kept.map(|(found, item)| if is_match(&found) { without(item, rest) } else { item.clone() }).collect()
        }
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => {
                let redacted = without(&inner, pointer);
                if redacted == inner { value.clone() } else { Value::from(redacted.to_string()) }
            }
            _ => value.clone(),
        },
        _ => value.clone(),
    }
}

/// Strings that hold JSON are equal if their JSON is.
fn unfolded(value: &Value) -> Value {
    match value {
        Value::String(text) => match serde_json::from_str::<Value>(text) {
            Ok(inner @ (Value::Object(_) | Value::Array(_) | Value::String(_))) => json!({ "": unfolded(&inner) }),
            _ => value.clone(),
        },
        Value::Array(items) => items.iter().map(unfolded).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), unfolded(value))).collect())
        }
        _ => value.clone(),
    }
}

/// Whether a string in it begins like JSON and is not: it may go too.
fn looks_cut_off(value: &Value) -> bool {
    match value {
        Value::String(text) if text.trim_start().starts_with(['{', '[', '"']) => {
            serde_json::from_str::<Value>(text).map_or(true, |inner| looks_cut_off(&inner))
        }
        Value::Array(items) => items.iter().any(looks_cut_off),
        Value::Object(members) => members.values().any(looks_cut_off),
        _ => false,
    }
}

/// JSON with an address in some of its strings, in any case, also in strings that hold JSON.
fn json_with_address() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("ada@x.example".to_owned()),
        "[ \\n\"\\\\é:,;({\\[]{0,3}".prop_map(|around| format!("{around}Ada@X.example{around}")),
        "[a-c]{0,3}",
    ];
    let leaf = text.prop_map(Value::from);
    leaf.prop_recursive(4, 30, 4, |inner| {
        let members = prop::collection::vec(("[ab]{1,2}", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            members.prop_map(|members| Value::Object(members.into_iter().collect())),
            inner.prop_map(|value| Value::from(value.to_string())),
        ]
    })
}

proptest! {
    #[test]
    fn the_value_of_a_field_is_nowhere_in_the_record(json in json_with_address(), hashed in any::<bool>()) {
        let record = json!({"id": "1", "user_email": "ada@x.example", "event_description": "by ada@x.example", "x": json});
        let settings = match hashed {
            true => json!({"hash": ["actor.email"], "hash_secret": KEY}),
            false => json!({"drop": ["actor.email"]}),
        };
        let event = delivered("merge", &record.to_string(), &redactions(settings));
        prop_assert!(!event.to_string().to_lowercase().contains("ada@x.example"), "{}", event);
        prop_assert_eq!(&event["raw"]["id"], "1");
    }

    #[test]
    fn what_is_named_is_gone_and_the_rest_is_equal(
        members in prop::collection::vec(("[abc/~]{1,2}", any_json()), 0..5),
        pointer in prop::collection::vec(prop_oneof![Just("*".to_owned()), "[abc/~]{1,2}", "[01]"], 1..4),
    ) {
        let record = Value::Object(members.into_iter().collect());
        let escaped: Vec<String> = pointer.iter().map(|name| name.replace('~', "~0").replace('/', "~1")).collect();
        let found = dropped(&record.to_string(), &[&format!("/raw/{}", escaped.join("/"))]);
        let found: Value = serde_json::from_str(&found).expect("valid JSON");
        if !looks_cut_off(&record) {
            prop_assert_eq!(unfolded(&found), unfolded(&without(&record, &pointer)));
        }
    }

    #[test]
    fn any_text_becomes_json(text in "[\\[\\]{}\",:\\\\ \n0a]{0,40}") {
        let found = dropped(&text, &["/raw/a", "/raw/**/0"]);
        prop_assert!(serde_json::from_str::<Value>(&found).is_ok(), "{}", found);
    }
}
