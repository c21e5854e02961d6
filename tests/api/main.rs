//! The API with the real program: metrics, status and health while it runs, after a restart, during a vendor's 401; and the
//! page, the alert rules and the dashboard that name the metrics.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod alerts;
#[path = "../common/mod.rs"]
mod common;
mod dashboard;
mod openmetrics;
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use auditflow::simulator::{NewRecord, VendorName};
use common::TestPipeline;
use openmetrics::Family;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const EVENTS: u64 = 60;

/// Names an interpreter that has the packages of `tests/python/requirements.txt`.
const PYTHON_VARIABLE: &str = "AUDITFLOW_TEST_PYTHON";

fn test_pipeline() -> TestPipeline {
    TestPipeline::without_growth(EVENTS)
}

fn with_api(pipeline: &TestPipeline, address: &str) -> PathBuf {
    let file = pipeline.with_files();
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("api: {{address: \"{address}\"}}\n{text}")).unwrap();
    file
}

/// A running program, which is killed in the end, and the address of its API.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Running {
    fn start(pipeline: &TestPipeline, file: &Path, variables: &[(&str, &str)]) -> Self {
        let before = pipeline.event_count("api_started");
        let mut command = pipeline.program(&["run", file.to_str().unwrap(), "--log-format", "json", "--skip-check"]);
        let child = command.envs(variables.iter().copied()).spawn().unwrap();
        common::until("the API is served", || pipeline.event_count("api_started") > before);
        let line: Value = serde_json::from_str(pipeline.event_lines("api_started").last().unwrap()).unwrap();
        Self { child, address: line["address"].as_str().unwrap().parse().unwrap() }
    }

    fn get(&self, path: &str) -> Response {
        get(self.address, path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn metrics(&self) -> BTreeMap<String, Family> {
        let response = self.get("/metrics");
        assert_eq!(response.status, 200, "{}", response.body);
        assert!(response.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
        openmetrics::parse(&response.body)
    }

    fn is_ready(&self) -> bool {
        self.get("/readyz").status == 200
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Response {
    status: u16,
    head: String,
    body: String,
}

fn get(address: SocketAddr, path: &str) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Ok(Response { status, head: head.to_lowercase(), body: body.to_owned() })
}

/// The sum of a metric over all sources or sinks.
fn sum(metrics: &BTreeMap<String, Family>, family: &str) -> f64 {
    metrics[family].samples.iter().map(|sample| sample.value).sum()
}

fn of_source(metrics: &BTreeMap<String, Family>, family: &str, source: &str) -> f64 {
    metrics[family].samples.iter().find(|sample| sample.labels["source"] == source).unwrap().value
}

#[test]
fn metrics_follow_the_run_continue_after_a_kill_and_are_documented() {
    let pipeline = test_pipeline();
    let file = with_api(&pipeline, "127.0.0.1:0");
    let mut running = Running::start(&pipeline, &file, &[]);
    common::until("it is ready", || running.is_ready());
    let all = (5 * EVENTS) as f64;
    common::until("all events are delivered", || sum(&running.metrics(), "auditflow_sink_delivered") == all);
    let late = NewRecord { timestamp: Some(pipeline.simulator.control().now()), ..NewRecord::default() };
    pipeline.simulator.control().insert(VendorName::Clumio, late).unwrap();
    common::until("a new event is delivered", || sum(&running.metrics(), "auditflow_sink_delivered") == all + 1.0);
    let metrics = running.metrics();
    assert_eq!(sum(&metrics, "auditflow_source_events"), all + 1.0);
    assert_eq!(of_source(&metrics, "auditflow_source_events", "clumio"), EVENTS as f64 + 1.0);
    assert_eq!(sum(&metrics, "auditflow_source_error"), 0.0);
    assert_eq!(sum(&metrics, "auditflow_sink_lag_events"), 0.0);
    for family in ["auditflow_source_requests", "auditflow_source_bytes", "auditflow_sink_bytes"] {
        assert!(sum(&metrics, family) > 0.0, "{family}");
    }
    assert_documented(&metrics);
    alerts::assert_exposed(&metrics);
    dashboard::assert_exposed(&metrics);

    let status: Value = serde_json::from_str(&running.get("/status.json").body).unwrap();
    assert_eq!(status["process"]["pid"], running.child.id());
    let printed = status_of(&pipeline, &file);
    assert_eq!(printed["process"]["running"], true, "reading its own state must not hide the process");
    assert_eq!(keys(&status), keys(&printed), "the same form as `status --json`");
    assert_eq!(status["sinks"][0]["delivered"], printed["sinks"][0]["delivered"]);

    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let running = Running::start(&pipeline, &file, &[]);
    let first = running.metrics();
    assert_eq!(sum(&first, "auditflow_sink_delivered"), all + 1.0, "counters continue");
    assert!(sum(&first, "auditflow_source_requests") >= sum(&metrics, "auditflow_source_requests"));
    pipeline.simulator.control().insert(VendorName::Merge, NewRecord::default()).unwrap();
    common::until("a newer event is delivered", || sum(&running.metrics(), "auditflow_sink_delivered") == all + 2.0);
}

fn status_of(pipeline: &TestPipeline, file: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.args(["status", file.to_str().unwrap(), "--json"]).envs(pipeline.environment());
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

fn keys(report: &Value) -> Vec<Vec<&String>> {
    let parts = [report, &report["sources"][0], &report["sinks"][0], &report["journal"]];
    parts.into_iter().map(|part| part.as_object().unwrap().keys().collect()).collect()
}

/// The table of docs/operating.md lists exactly these metrics, each with its type, unit, labels and meaning.
fn assert_documented(metrics: &BTreeMap<String, Family>) {
    let page = fs::read_to_string("docs/operating.md").unwrap();
    let row =
        |line: &str| Some(line.strip_prefix("| `auditflow_")?.split('|').map(|cell| cell.trim().to_owned()).collect());
    let rows: Vec<Vec<String>> = page.lines().filter_map(row).collect();
    let mut documented = BTreeMap::new();
    for cells in rows {
        let [name, kind, unit, labels, meaning, _] = &cells[..] else { panic!("{cells:?}") };
        assert!(!meaning.is_empty(), "{name} has no meaning");
        let labels = labels.split('`').map(str::to_owned).skip(1).step_by(2).collect::<BTreeSet<_>>();
        if labels.contains("shard") {
            // This pipeline has none.
            continue;
        }
        documented.insert(format!("auditflow_{}", name.trim_end_matches('`')), (kind.clone(), unit.clone(), labels));
    }
    let exposed = metrics.iter().map(|(name, family)| {
        let sample = family.samples.first().unwrap_or_else(|| panic!("{name} has no sample"));
        let labels = sample.labels.keys().cloned().collect::<BTreeSet<_>>();
        assert!(!family.help.is_empty(), "{name}");
        (sample.name.clone(), (family.kind.clone(), family.unit.clone(), labels))
    });
    assert_eq!(documented, exposed.collect(), "docs/operating.md on the left, /metrics on the right");
}

#[test]
fn a_vendor_that_refuses_the_credentials_is_a_metric_and_never_makes_it_unready() {
    let pipeline = test_pipeline();
    let file = with_api(&pipeline, "127.0.0.1:0");
    let wrong = "a-token-that-the-vendor-refuses";
    let running = Running::start(&pipeline, &file, &[("CLUMIO_ACCESS_TOKEN", wrong)]);
    common::until("the source is stopped", || of_source(&running.metrics(), "auditflow_source_error", "clumio") == 1.0);
    common::until("it is ready", || running.is_ready());
    assert_eq!(running.get("/livez").status, 200);
    common::until("the other sources deliver", || {
        sum(&running.metrics(), "auditflow_sink_delivered") == (4 * EVENTS) as f64
    });
    assert!(running.is_ready());
    let metrics = running.metrics();
    assert!(of_source(&metrics, "auditflow_source_freshness_seconds", "clumio") > 0.0, "nothing is covered yet");
    assert_eq!(of_source(&metrics, "auditflow_source_error", "merge"), 0.0);

    let status = running.get("/status.json");
    assert!(status.head.contains("content-type: application/json") && status.head.contains("cache-control: no-store"));
    assert!(status.body.contains("401"), "{}", status.body);
    let secrets: Vec<&str> = pipeline.simulator.credentials().secrets().into_iter().chain([wrong]).collect();
    for page in [status, running.get("/metrics"), running.get("/readyz"), running.get("/"), running.get("/x?a=b")] {
        for secret in &secrets {
            assert!(!page.body.contains(*secret) && !page.head.contains(*secret), "a secret is shown: {}", page.body);
        }
    }

    kill_process(Pid::from_child(&running.child), Signal::TERM).unwrap();
    common::until("it is not ready, or has ended", || {
        get(running.address, "/readyz").map_or(true, |page| page.status == 503)
    });
}

#[test]
fn an_address_in_use_is_reported_before_anything_starts() {
    let pipeline = test_pipeline();
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let file = with_api(&pipeline, &other.local_addr().unwrap().to_string());
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.args(["run", file.to_str().unwrap()]).envs(pipeline.environment()).stdin(Stdio::null());
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    let reason = format!("error: cannot listen on {} (`api.address`)", other.local_addr().unwrap());
    assert!(printed.contains(&reason) && printed.contains("choose another port"), "{printed}");
    assert!(!pipeline.path("data").exists());
}

#[test]
#[ignore = "needs Python with tests/python/requirements.txt; AUDITFLOW_TEST_PYTHON names it"]
fn the_parser_of_the_prometheus_project_reads_the_metrics() {
    let python = std::env::var(PYTHON_VARIABLE)
        .unwrap_or_else(|_| panic!("set {PYTHON_VARIABLE} to a python3 with tests/python/requirements.txt"));
    let pipeline = test_pipeline();
    let file = with_api(&pipeline, "127.0.0.1:0");
    let running = Running::start(&pipeline, &file, &[]);
    common::until("all events are delivered", || {
        sum(&running.metrics(), "auditflow_sink_delivered") == (5 * EVENTS) as f64
    });
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
                  for family in read(sys.stdin.read()): print(family.name, family.type, len(family.samples))";
    let mut command = Command::new(python);
    let mut reader = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    reader.stdin.take().unwrap().write_all(running.get("/metrics").body.as_bytes()).unwrap();
    let output = reader.wait_with_output().unwrap();
    assert!(output.status.success());
    let families = String::from_utf8(output.stdout).unwrap();
    assert!(families.contains("auditflow_source_events counter 5\n"), "{families}");
    assert_eq!(families.lines().count(), running.metrics().len());
}

#[test]
fn the_health_check_follows_the_process() {
    let pipeline = test_pipeline();
    let file = with_api(&pipeline, "127.0.0.1:0");
    let running = Running::start(&pipeline, &file, &[]);
    let listening = format!("0.0.0.0:{}", running.address.port());
    let health = || pipeline.program(&["healthcheck"]).env("AUDITFLOW_API__ADDRESS", &listening).status().unwrap();
    assert_eq!(health().code(), Some(0));
    drop(running);
    assert_eq!(health().code(), Some(1));
}
