//! The OCSF encoding against the compiled schema (`schema.rs`), and in the eyes of the community's validator, `pydantic-ocsf`,
//! which is independent but lenient: events of all vendors, and those that fill every class.
#![allow(clippy::unwrap_used)]

#[cfg(feature = "parquet")]
mod parquet;
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};

use auditflow::event::native::RawForm;
use auditflow::event::ocsf::{self, OcsfVersion};
use auditflow::event::{
    Action, Actor, ActorType, Category, Event, EventId, Grant, Grantee, GranteeType, ObjectType, Outcome, Target,
};
use auditflow::simulator::{Simulator, SimulatorOptions, VendorName};
use auditflow::time::Timestamp;
use auditflow::vendors::{Normalizer, NormalizerConfig, ReadContext, registry};
use schema::Schema;
use serde_json::{Value, json};

/// Names an interpreter that has the packages of `tests/python/requirements.txt`.
const PYTHON_VARIABLE: &str = "AUDITFLOW_TEST_PYTHON";

const OBSERVED_AT: Timestamp = Timestamp::from_secs(1_790_000_000);

#[tokio::test]
async fn events_of_all_vendors_follow_the_compiled_schema() {
    let events = simulated().await;
    let mut products = BTreeSet::new();
    for version in OcsfVersion::ALL {
        let schema = Schema::read(version.as_str());
        for (vendor, raw) in &events {
            let event = encoded(&normalized(*vendor, raw), *version);
            assert_eq!(schema.problems(&event), Vec::<String>::new(), "{event:#}");
            let product = &event["metadata"]["product"];
            products.insert(format!("{} {}", product["vendor_name"], product["name"]).replace('"', ""));
            assert!(raw.contains(event["metadata"]["original_time"].as_str().unwrap()), "{event:#}");
        }
    }
    let expected =
        ["Akuity Akuity Platform", "Atlassian Confluence", "CaptivateIQ CaptivateIQ", "Clumio Clumio", "Merge Merge"];
    assert_eq!(products.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn every_class_follows_the_compiled_schema() {
    for version in OcsfVersion::ALL {
        let schema = Schema::read(version.as_str());
        let mut classes = BTreeSet::new();
        for event in every_class() {
            let event = encoded(&event, *version);
            assert_eq!(schema.problems(&event), Vec::<String>::new(), "{event:#}");
            classes.insert(event["class_uid"].as_u64().unwrap());
        }
        assert_eq!(classes.into_iter().collect::<Vec<_>>(), [3_001, 3_002, 3_005, 3_006, 6_003], "{version:?}");
    }
}

#[test]
fn odd_values_follow_the_compiled_schema() {
    let long = format!("{{\"text\":\"{}\"}}", "é".repeat(70_000));
    let full = || Event {
        event_type: "Permission added".into(),
        vendor_event_id: Some("v1".into()),
        tenant: Some("t1".into()),
        ..event(Category::Iam, Action::Grant, ObjectType::User)
    };
    let acting = |kind, email: &'static str, ip: &'static str| Actor {
        kind,
        id: Some("u1".into()),
        email: Some(email.into()),
        ip: Some(ip.into()),
        ..Actor::default()
    };
    let at = |email: &'static str| Target { kind: ObjectType::User, email: Some(email.into()), ..Target::default() };
    let mut events = vec![full(), Event { raw: &long, ..full() }, Event { actor: Actor::default(), ..full() }];
    events.extend(VendorName::ALL.map(|vendor| normalized(vendor, "[1]")));
    for kind in ActorType::ALL {
        for (email, ip) in [("ada@exämple.com", "::1"), ("ada@example", "somewhere"), ("", ""), ("a@b.c", "10.0.0.1")]
        {
            for action in [Action::Login, Action::Create, Action::Other] {
                let category = if action == Action::Login { Category::Authentication } else { Category::Iam };
                let actor = acting(*kind, email, ip);
                let target = Some(at(email));
                events.push(Event { category, action, actor, target, ..full() });
            }
        }
    }
    for version in OcsfVersion::ALL {
        let schema = Schema::read(version.as_str());
        for event in &events {
            let line = encoded(event, *version);
            assert_eq!(schema.problems(&line), Vec::<String>::new(), "{line:#}");
            let raw = if line["raw_data"].is_null() { &line["unmapped"]["raw_data"] } else { &line["raw_data"] };
            assert_eq!(raw, event.raw, "the record is never cut");
        }
    }
}

/// The check finds what the community's validator lets pass, and what it finds.
#[test]
fn the_check_is_strict() {
    let grant = encoded(
        &Event { grants: grants(), ..event(Category::Iam, Action::Grant, ObjectType::User) },
        OcsfVersion::V1_8,
    );
    let schema = Schema::read("1.8.0");
    assert_eq!(schema.problems(&grant), Vec::<String>::new());
    for (pointer, value, problem) in [
        ("/color", json!("red"), "color: is not an attribute"),
        ("/actor/user/color", json!("red"), "actor.user.color: is not an attribute"),
        ("/cloud", json!({"provider": "AWS"}), "cloud: is not an attribute"),
        ("/status", json!("Other"), "status must have the source's word"),
        ("/status_id", json!(2), r#"status must be "Failure", not "Partial""#),
        ("/status_id", json!(7), "status_id: 7 is not among its values"),
        ("/activity_id", json!(7), "type_uid: is 300501, not 300507"),
        ("/time", json!("2026-01-01T00:00:00Z"), "is no long_t"),
        ("/message", json!(""), "is no string_t"),
        ("/privileges", json!([]), "privileges: is not a list with items"),
        ("/privileges", json!("VIEWSPACE"), "privileges: is not a list with items"),
        ("/user", json!({}), "user: at_least_one of"),
        ("/actor/user/email_addr", json!("ada at example.com"), "has not the form of email_t"),
        ("/actor/user/name", json!(7), "is no string_t"),
        ("/src_endpoint", json!({"ip": "300.0.0.1"}), "has not the form of ip_t"),
        ("/raw_data_hash/algorithm", json!("sha-256"), r#"algorithm must be "SHA-256""#),
        ("/observables/0/value", json!("eve@example.com"), "actor.user.email_addr is"),
        ("/observables/0/type_id", json!(4), "is of type 5, not 4"),
        ("/metadata/version", json!("1.7.0"), "metadata.version: is not 1.8.0"),
    ] {
        let mut changed = grant.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match changed.pointer_mut(parent).unwrap() {
            Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
            object => object[name] = value,
        }
        let problems = schema.problems(&changed);
        assert!(problems.iter().any(|found| found.contains(problem)), "{pointer}: {problems:?}");
    }
    for name in ["metadata", "user", "privileges", "severity_id", "time"] {
        let mut changed = grant.clone();
        changed.as_object_mut().unwrap().remove(name);
        assert!(schema.problems(&changed).contains(&format!("{name}: is required")), "{name}");
    }
    let older = Schema::read("1.3.0").problems(&grant);
    for unknown in
        ["raw_data_hash: is not an attribute", "raw_data_size: is not an attribute", "actor: is not an attribute"]
    {
        assert!(older.iter().any(|found| found == unknown), "{unknown}: {older:?}");
    }
}

#[tokio::test]
#[ignore = "needs Python with tests/python/requirements.txt; AUDITFLOW_TEST_PYTHON names it"]
async fn events_of_all_vendors_pass_the_community_validator() {
    let events = simulated().await;
    let mut lines = Vec::new();
    events.iter().for_each(|(vendor, raw)| push(&normalized(*vendor, raw), &mut lines));
    let valid = validate(&lines);
    assert!(valid.values().sum::<usize>() >= 5 * 400, "{valid:?}");
}

#[test]
#[ignore = "needs Python with tests/python/requirements.txt; AUDITFLOW_TEST_PYTHON names it"]
fn every_class_passes_the_community_validator() {
    let mut lines = Vec::new();
    every_class().for_each(|event| push(&event, &mut lines));
    let classes: Vec<String> = validate(&lines).into_keys().collect();
    assert_eq!(classes, ["3001", "3002", "3005", "3006", "6003"]);
}

/// The records that the simulated vendors hold.
async fn simulated() -> Vec<(VendorName, String)> {
    let options = SimulatorOptions { events_per_vendor: 400, ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let mut records = Vec::new();
    for vendor in VendorName::ALL {
        let truth = simulator.control().truth(vendor).unwrap();
        records.extend(truth.into_iter().map(|record| (vendor, record.raw)));
    }
    simulator.shutdown().await;
    records
}

fn normalized(vendor: VendorName, raw: &str) -> Event<'_> {
    static NORMALIZERS: LazyLock<BTreeMap<&'static str, Arc<dyn Normalizer>>> = LazyLock::new(|| {
        let normalizer = |name| registry::normalizer(name, &NormalizerConfig::default()).unwrap();
        VendorName::ALL.into_iter().map(|vendor| (vendor.as_str(), normalizer(vendor.as_str()))).collect()
    });
    let context = ReadContext { source: "acme", observed_at: OBSERVED_AT, occurrence: 0 };
    NORMALIZERS[vendor.as_str()].normalize(raw, &context)
}

/// Every category with every action and type of object, with and without grants, with every outcome.
fn every_class() -> impl Iterator<Item = Event<'static>> {
    let mut outcomes = Outcome::ALL.iter().cycle();
    let mut events = Vec::new();
    for category in Category::ALL {
        for action in Action::ALL {
            for kind in ObjectType::ALL {
                let plain = Event { outcome: *outcomes.next().unwrap(), ..event(*category, *action, *kind) };
                events.push(Event { grants: grants(), ..plain.clone() });
                events.push(plain);
            }
            outcomes.next();
        }
    }
    events.into_iter()
}

fn encoded(event: &Event<'_>, version: OcsfVersion) -> Value {
    let mut line = Vec::new();
    ocsf::encode(event, version, RawForm::Keep, &mut line);
    serde_json::from_slice(&line).unwrap()
}

fn event(category: Category, action: Action, kind: ObjectType) -> Event<'static> {
    let raw = r#"{"n":1}"#;
    let actor = Actor { kind: ActorType::Admin, email: Some("ada@example.com".into()), ..Actor::default() };
    let target = Target { kind, name: Some("Blake Sample".into()), ..Target::default() };
    Event {
        category,
        action,
        outcome: Outcome::Partial,
        actor,
        target: Some(target),
        ..Event::new(EventId([7; 16]), "confluence", "acme", OBSERVED_AT, raw)
    }
}

fn grants() -> Vec<Grant<'static>> {
    let user = Grantee { kind: GranteeType::User, name: Some("Blake Sample".into()), ..Grantee::default() };
    let space = Grant::granted(user.clone()).privilege(Some("VIEWSPACE".into()), &["ADMIN"]).scope(
        ObjectType::Space,
        Some("FIN".into()),
        None,
    );
    vec![space, Grant::revoked(user)]
}

/// In the newest version that the validator has. Its models of 1.3.0 lack attributes such as `time`.
fn push(event: &Event<'_>, lines: &mut Vec<u8>) {
    ocsf::encode(event, OcsfVersion::V1_7, RawForm::Keep, lines);
    lines.push(b'\n');
}

/// Valid events by class; fails if one is not valid.
fn validate(lines: &[u8]) -> BTreeMap<String, usize> {
    let python = std::env::var(PYTHON_VARIABLE)
        .unwrap_or_else(|_| panic!("set {PYTHON_VARIABLE} to a python3 with tests/python/requirements.txt"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ocsf/validate.py");
    let mut command = Command::new(python);
    let mut child =
        command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let lines = lines.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&lines));
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}", errors.chars().take(4_000).collect::<String>());
    writer.join().unwrap().unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}
