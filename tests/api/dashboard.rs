//! The Grafana dashboard of `deploy/grafana`: every expression is PromQL, over metrics and labels that the program exposes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::alerts::{exposed, matches};
use crate::openmetrics::Family;

fn dashboard() -> Value {
    serde_json::from_str(&fs::read_to_string("deploy/grafana/dashboard.json").unwrap()).unwrap()
}

/// The expressions of all panels, each with its legend.
fn targets() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap());
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect()
}

pub fn assert_exposed(metrics: &BTreeMap<String, Family>) {
    let exposed = exposed(metrics);
    let variables = dashboard()["templating"]["list"].to_string();
    let variables = matches(r"label_values\((auditflow_[a-z_]+, [a-z]+)\)", &variables);
    let variables = variables.iter().map(|variable| variable.split_once(", ").unwrap());
    let variables = variables.map(|(metric, label)| (format!("sum by ({label}) ({metric})"), String::new()));
    for (expression, legend) in targets().into_iter().chain(variables) {
        let names = matches(r"\b(auditflow_[a-z_]+)", &expression);
        assert!(!names.is_empty(), "{expression}");
        let mut shown = matches(r"by \(([a-z]+)\)", &expression);
        shown.extend(matches(r"\{\{([a-z]+)\}\}", &legend));
        for name in names {
            let known = exposed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not exposed: {expression}"));
            let selector = matches(&format!(r"{name}\{{([^}}]*)\}}"), &expression).into_iter().collect::<String>();
            let selected = matches(r#"([a-z]+)=~?""#, &selector);
            let unknown: BTreeSet<_> =
                selected.iter().chain(&shown).filter(|label| !known.contains(label.as_str())).collect();
            assert!(unknown.is_empty(), "{name} has no label {unknown:?}: {expression}");
        }
    }
}

#[test]
fn every_panel_has_a_place_of_its_own_and_uses_the_variables() {
    let dashboard = dashboard();
    let mut taken = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                assert!(x < 24 && taken.insert((x, y)), "{} covers another panel", panel["title"]);
            }
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}");
    }
    for (expression, _) in targets() {
        assert!(expression.contains("=~\"$s") || expression.starts_with("auditflow_journal_"), "{expression}");
    }
}

#[test]
#[ignore = "needs promtool (Debian's package prometheus)"]
fn every_expression_is_promql() {
    let mut rules = String::from("groups:\n  - name: dashboard\n    rules:\n");
    for (number, (expression, _)) in targets().iter().enumerate() {
        // What Grafana puts in before Prometheus sees the expression.
        let expression = expression.replace("$__rate_interval", "5m").replace('$', "");
        let expression = Value::String(expression).to_string();
        writeln!(rules, "      - record: dashboard:expression:{number}\n        expr: {expression}").unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("dashboard.yml");
    fs::write(&file, &rules).unwrap();
    let output = Command::new("promtool").args(["check", "rules"]).arg(&file).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let found = format!("SUCCESS: {} rules found", targets().len());
    assert!(output.status.success() && printed.contains(&found), "{printed}\n{rules}");
}
