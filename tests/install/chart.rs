//! The Helm chart: each file of `ci/` renders to objects that Kubernetes accepts, with a pipeline that the program accepts; wrong
//! values are refused; the schema of `config` is the program's own.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::output_of;

const CHART: &str = "deploy/helm/auditflow";

/// The program `helm`, version 3 or 4.
fn helm(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("AUDITFLOW_TEST_HELM").unwrap_or_else(|_| "helm".to_owned()));
    command.args(arguments);
    command
}

fn values(name: &str) -> String {
    format!("{CHART}/ci/{name}-values.yaml")
}

/// The rendered objects, by kind and name.
fn rendered(name: &str, more: &[&str]) -> BTreeMap<String, Value> {
    let file = values(name);
    let text = output_of(&mut helm(&[&["template", "acme", CHART, "--values", &file], more].concat()));
    let mut objects = BTreeMap::new();
    for document in text.split("\n---\n") {
        let object: Value = serde_saphyr::from_str(document.trim_start_matches("---\n")).unwrap();
        let key = format!("{} {}", object["kind"].as_str().unwrap(), object["metadata"]["name"].as_str().unwrap());
        assert!(objects.insert(key, object).is_none(), "two objects have one name:\n{document}");
    }
    objects
}

fn container(stateful_set: &Value) -> &Value {
    &stateful_set["spec"]["template"]["spec"]["containers"][0]
}

/// The program accepts the pipeline of a ConfigMap, under the name that the pod passes to it.
fn assert_pipeline_is_valid(config_map: &Value, stateful_set: &Value) {
    let path = container(stateful_set)["args"][1].as_str().unwrap();
    let name = path.strip_prefix("/etc/auditflow/").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    fs::write(&file, config_map["data"][name].as_str().unwrap()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    output_of(program.args(["validate", file.to_str().unwrap()]).env("MERGE_API_KEY", "key-0123456789"));
}

#[test]
fn the_schema_of_config_is_the_programs_own() {
    let printed = output_of(Command::new(env!("CARGO_BIN_EXE_auditflow")).arg("schema"));
    let mut expected: Value = serde_json::from_str(&printed).unwrap();
    for key in ["$id", "$schema"] {
        expected.as_object_mut().unwrap().remove(key);
    }
    let chart: Value =
        serde_json::from_str(&fs::read_to_string(format!("{CHART}/values.schema.json")).unwrap()).unwrap();
    assert!(
        chart["properties"]["config"]["then"] == expected,
        "values.schema.json is out of date: cargo run -- schema | deploy/helm/values-schema"
    );
}

#[test]
#[ignore = "needs Helm (AUDITFLOW_TEST_HELM), and Python with tests/python/requirements.txt (AUDITFLOW_TEST_PYTHON)"]
fn every_values_file_renders_to_objects_that_kubernetes_accepts() {
    let python =
        std::env::var("AUDITFLOW_TEST_PYTHON").expect("AUDITFLOW_TEST_PYTHON: an interpreter with the packages");
    let validate = std::path::Path::new(&python).with_file_name("kubernetes-validate");
    for name in ["minimal", "full", "existing"] {
        output_of(&mut helm(&["lint", "--strict", CHART, "--values", &values(name)]));
        let text = output_of(&mut helm(&["template", "acme", CHART, "--values", &values(name)]));
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("rendered.yaml");
        fs::write(&file, text).unwrap();
        output_of(Command::new(&validate).args(["--strict", "--no-warn", file.to_str().unwrap()]));
    }
}

#[test]
#[ignore = "needs Helm (AUDITFLOW_TEST_HELM)"]
fn the_pod_is_hardened_probed_and_the_only_writer_of_its_volume() {
    let objects = rendered("minimal", &[]);
    let stateful_set = &objects["StatefulSet acme-auditflow"];
    assert_pipeline_is_valid(&objects["ConfigMap acme-auditflow"], stateful_set);
    assert_eq!(stateful_set["spec"]["replicas"], 1);
    assert_eq!(stateful_set["spec"]["volumeClaimTemplates"][0]["spec"]["accessModes"][0], "ReadWriteOncePod");
    let pod = &stateful_set["spec"]["template"]["spec"];
    assert_eq!(
        (&pod["securityContext"]["runAsUser"], &pod["terminationGracePeriodSeconds"]),
        (&65_532.into(), &60.into())
    );
    let container = container(stateful_set);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    for (probe, path) in [("startupProbe", "/readyz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
    }
    assert!(objects["NetworkPolicy acme-auditflow"]["spec"]["ingress"].is_null(), "nobody may connect");
    assert_eq!(objects.len(), 5, "{:?}", objects.keys());
}

#[test]
#[ignore = "needs Helm (AUDITFLOW_TEST_HELM)"]
fn each_of_several_pods_runs_its_shards_on_a_volume_of_its_own() {
    let claim = |stateful_set: &Value| stateful_set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"].clone();
    let objects = rendered("minimal", &["--set", "processes=3,config.shards=12"]);
    let stateful_set = &objects["StatefulSet acme-auditflow"];
    assert_eq!(stateful_set["spec"]["replicas"], 3);
    let container = container(stateful_set);
    assert_eq!(container["args"][2], "--process=$(POD_NAME)/3");
    assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.name");
    assert_eq!(claim(stateful_set), container["volumeMounts"][0]["name"]);
    // With another number the claims have another name: Kubernetes refuses to change them.
    let fewer = rendered("minimal", &["--set", "processes=2,config.shards=12,replicas=0"]);
    let fewer = &fewer["StatefulSet acme-auditflow"];
    assert_eq!(fewer["spec"]["replicas"], 0);
    assert_ne!(claim(stateful_set), claim(fewer));
}

#[test]
#[ignore = "needs Helm (AUDITFLOW_TEST_HELM)"]
fn every_object_can_be_turned_on() {
    let objects = rendered("full", &[]);
    assert_pipeline_is_valid(&objects["ConfigMap audit"], &objects["StatefulSet audit"]);
    assert_eq!(objects["PodMonitor audit"]["spec"]["podMetricsEndpoints"][0]["path"], "/metrics");
    let rules = fs::read_to_string("deploy/prometheus/alerts.yml").unwrap();
    let rules = rules.replace("runbook_url: ", "runbook_url: https://git.acme.example/auditflow/blob/main/");
    assert_eq!(objects["PrometheusRule audit"]["spec"], serde_saphyr::from_str::<Value>(&rules).unwrap());
    let dashboards = fs::read_dir("deploy/grafana").unwrap().flatten().map(|entry| entry.path());
    let dashboards = dashboards.filter(|path| path.extension().is_some_and(|end| end == "json")).count();
    let shipped = objects["ConfigMap audit-dashboard"]["data"].as_object().map_or(0, serde_json::Map::len);
    assert_eq!(shipped, dashboards, "files of deploy/grafana");
}

#[test]
#[ignore = "needs Helm (AUDITFLOW_TEST_HELM)"]
fn values_that_cannot_work_are_refused_with_what_to_do() {
    let unknown = "additional properties 'polling' not allowed";
    for (more, message) in [
        ("replicas=2", "replicas must be 1, as `processes`, or 0 to stop"),
        ("processes=2", "set `config.shards`"),
        ("processes=4,config.shards=3", "4 processes for 3 shards"),
        ("processes=2,config.shards=3,persistence.existingClaim=mine", "remove `persistence.existingClaim`"),
        ("config.sources.acme_clumio.polling=1m", unknown),
        ("config.data_dir=/data", "remove `data_dir` and `api`"),
        ("podMonitor.enabled=true", "set `networkPolicy.scrapeFrom` to your Prometheus"),
        ("config=null", "set `config` to the pipeline file"),
        ("image.tga=1", "additional properties 'tga' not allowed"),
    ] {
        let file = values("minimal");
        let output = helm(&["template", "acme", CHART, "--values", &file, "--set", more]).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && printed.contains(message), "{more}: {printed}");
    }
}
