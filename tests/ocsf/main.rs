//! The OCSF encoding in the eyes of the community's validator, `pydantic-ocsf`: events of all vendors, and those that fill
//! every class.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use auditflow::event::native::RawForm;
use auditflow::event::ocsf::{self, OcsfVersion};
use auditflow::event::{
    Action, Actor, ActorType, Category, Event, EventId, Grant, Grantee, GranteeType, ObjectType, Outcome, Target,
};
use auditflow::simulator::{Simulator, SimulatorOptions, VendorName};
use auditflow::time::Timestamp;
use auditflow::vendors::{NormalizerConfig, ReadContext, registry};

/// Names an interpreter that has the packages of `tests/python/requirements.txt`.
const PYTHON_VARIABLE: &str = "AUDITFLOW_TEST_PYTHON";

const OBSERVED_AT: Timestamp = Timestamp::from_secs(1_790_000_000);

#[tokio::test]
#[ignore = "needs Python with tests/python/requirements.txt; AUDITFLOW_TEST_PYTHON names it"]
async fn events_of_all_vendors_pass_the_community_validator() {
    let options = SimulatorOptions { events_per_vendor: 400, ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await.unwrap();
    let mut lines = Vec::new();
    for vendor in VendorName::ALL {
        let normalizer = registry::normalizer(vendor.as_str(), &NormalizerConfig::default()).unwrap();
        let context = ReadContext { source: "acme", observed_at: OBSERVED_AT, occurrence: 0 };
        for record in simulator.control().truth(vendor).unwrap() {
            push(&normalizer.normalize(&record.raw, &context), &mut lines);
        }
    }
    simulator.shutdown().await;
    let valid = validate(&lines);
    assert!(valid.values().sum::<usize>() >= 5 * 400, "{valid:?}");
}

#[test]
#[ignore = "needs Python with tests/python/requirements.txt; AUDITFLOW_TEST_PYTHON names it"]
fn every_class_passes_the_community_validator() {
    let mut lines = Vec::new();
    for category in Category::ALL {
        for action in Action::ALL {
            for kind in ObjectType::ALL {
                push(&event(*category, *action, *kind), &mut lines);
                push(&Event { grants: grants(), ..event(*category, *action, *kind) }, &mut lines);
            }
        }
    }
    let classes: Vec<String> = validate(&lines).into_keys().collect();
    assert_eq!(classes, ["3001", "3002", "3005", "3006", "6003"]);
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
