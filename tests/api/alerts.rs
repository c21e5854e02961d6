//! The alert rules of `deploy/prometheus`: they name metrics that the program exposes, and headings of docs/operating.md.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use regex::Regex;

use crate::openmetrics::Family;

fn rules() -> String {
    fs::read_to_string("deploy/prometheus/alerts.yml").unwrap()
}

/// What the first group of `pattern` matches.
pub fn matches(pattern: &str, text: &str) -> BTreeSet<String> {
    Regex::new(pattern).unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// The labels of each sample that is exposed.
pub fn exposed(metrics: &BTreeMap<String, Family>) -> BTreeMap<&str, BTreeSet<&str>> {
    let samples = metrics.values().flat_map(|family| &family.samples);
    samples.map(|sample| (sample.name.as_str(), sample.labels.keys().map(String::as_str).collect())).collect()
}

/// Prometheus gives every series these.
const OF_PROMETHEUS: [&str; 2] = ["job", "instance"];

/// Each metric of a rule is exposed, with the labels that the rule's text shows.
pub fn assert_exposed(metrics: &BTreeMap<String, Family>) {
    let exposed = exposed(metrics);
    for rule in rules().split("- alert: ").skip(1) {
        let names = matches(r"\b(auditflow_[a-z_]+)", rule);
        assert!(!names.is_empty(), "{rule}");
        for name in names {
            let labels = exposed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not exposed:\n{rule}"));
            for label in matches(r"\$labels\.([a-z]+)", rule) {
                let is_known = labels.contains(label.as_str()) || OF_PROMETHEUS.contains(&label.as_str());
                assert!(is_known, "{name} has no label {label}:\n{rule}");
            }
        }
    }
}

#[test]
fn every_rule_has_a_severity_a_summary_a_test_and_a_heading_that_says_what_to_do() {
    let tests = fs::read_to_string("deploy/prometheus/alerts_test.yml").unwrap();
    let page = fs::read_to_string("docs/operating.md").unwrap();
    let headings = matches(r"(?m)^#### (Auditflow\w+)$", &page);
    let mut alerts = BTreeSet::new();
    for rule in rules().split("- alert: ").skip(1) {
        let alert = rule.lines().next().unwrap().to_owned();
        assert!(rule.contains("labels: {severity: ") && rule.contains(" summary: "), "{rule}");
        let anchor = format!("runbook_url: docs/operating.md#{}\n", alert.to_lowercase());
        assert!(rule.contains(&anchor), "{alert}: {anchor}");
        assert!(tests.contains(&format!("alertname: {alert}}}")) && tests.contains(anchor.trim_end()), "{alert}");
        alerts.insert(alert);
    }
    assert_eq!(alerts, headings, "rules on the left, headings of docs/operating.md on the right");
}

#[test]
#[ignore = "needs promtool (Debian's package prometheus)"]
fn rules_are_valid_and_fire_where_they_should() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new("promtool").args(arguments).current_dir("deploy/prometheus").output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && printed.contains("SUCCESS"), "{printed}");
    }
}
