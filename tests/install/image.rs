//! The container image, from the program that is built already and nothing else (`BASE=scratch`, `ROOT=prebuilt`): it runs as
//! nonroot on a read-only root file system, survives a kill, knows certificate authorities, and stops on SIGTERM.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use auditflow::simulator::VendorName;
use auditflow::simulator::proof::compare;
use serde_json::Value;
use tokio::time::Instant;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::bucket::{Bucket, assert_manifests_complete, events};
use crate::common::until;
use crate::output_of;

const IMAGE: &str = "auditflow:test";
const MINIO: &str = "minio/minio:RELEASE.2025-09-07T16-13-09Z";
const ACCESS_KEY_ID: &str = "minioadmin";
const SECRET_ACCESS_KEY: &str = "minio-test-secret-0123456789";
/// The ports inside the network that the containers of a test share.
const SIMULATOR: &str = "127.0.0.1:8080";
const STORE: &str = "127.0.0.1:9000";

/// The engine's client: `AUDITFLOW_TEST_DOCKER` if that on the path has no BuildKit.
fn client() -> Command {
    let mut command = Command::new(std::env::var("AUDITFLOW_TEST_DOCKER").unwrap_or_else(|_| "docker".to_owned()));
    command.env("DOCKER_BUILDKIT", "1");
    command
}

fn docker(arguments: &[&str]) -> String {
    output_of(client().args(arguments)).trim().to_owned()
}

/// Builds the image, once per run of the tests.
fn image() -> &'static str {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let context = tempfile::tempdir().unwrap();
        let directory = context.path().to_str().unwrap();
        output_of(Command::new("deploy/container/root").args([env!("CARGO_BIN_EXE_auditflow"), directory]));
        let file = ["build", "--quiet", "--file", "deploy/container/Dockerfile", "--tag", IMAGE];
        docker(&[&file[..], &["--build-arg", "BASE=scratch", "--build-arg", "ROOT=prebuilt", directory]].concat());
        let size: f64 = docker(&["image", "inspect", "--format", "{{.Size}}", IMAGE]).parse().unwrap();
        eprintln!("image: {:.1} MB", size / 1e6);
    });
    IMAGE
}

/// A container that is removed in the end, with its anonymous volumes.
struct Container(String);

impl Container {
    /// `run --detach` with these arguments.
    fn start(arguments: &[&str]) -> Self {
        Self(docker(&[&["run", "--detach"], arguments].concat()))
    }

    fn inspect(&self, field: &str) -> String {
        docker(&["inspect", "--format", &format!("{{{{{field}}}}}"), &self.0])
    }

    /// Standard output and standard error.
    fn logs(&self) -> String {
        let output = client().args(["logs", &self.0]).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// The address on this machine of a port that the container publishes.
    fn published(&self, port: &str) -> String {
        docker(&["port", &self.0, port]).lines().next().unwrap().to_owned()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        let _ = client().args(["rm", "--force", "--volumes", &self.0]).output();
    }
}

/// A vendor and a store in containers, which share a network with the container under test.
struct Servers {
    simulator: Container,
    _store: Container,
    bucket: Bucket,
}

impl Servers {
    fn start() -> Self {
        let ports = ["--publish", "127.0.0.1::8080", "--publish", "127.0.0.1::9000"];
        let simulate =
            ["simulate", "--listen", "0.0.0.0:8080", "--allow-remote", "--print-pipeline", "--events", "600"];
        let simulator = Container::start(&[&["--read-only"], &ports[..], &[image()], &simulate].concat());
        let network = format!("container:{}", simulator.0);
        let user = format!("MINIO_ROOT_USER={ACCESS_KEY_ID}");
        let password = format!("MINIO_ROOT_PASSWORD={SECRET_ACCESS_KEY}");
        let settings = ["--network", &network, "--env", &user, "--env", &password];
        let store = Container::start(&[&settings[..], &[MINIO, "server", "/data"]].concat());
        let endpoint = format!("http://{}", simulator.published("9000"));
        until("the store answers", || get(&format!("{endpoint}/minio/health/ready")).is_some());
        let bucket = Bucket::with_new_name(&endpoint, ACCESS_KEY_ID, SECRET_ACCESS_KEY);
        bucket.create();
        Self { simulator, _store: store, bucket }
    }

    /// The simulator's own pipeline file, with the bucket as its sink.
    fn pipeline(&self) -> String {
        until("the simulator listens", || self.simulator.logs().contains("listening on "));
        let printed = self.simulator.logs().replace("http://0.0.0.0:8080", &format!("http://{SIMULATOR}"));
        let printed: String =
            printed.lines().filter(|line| !line.starts_with("listening on ")).map(|line| format!("{line}\n")).collect();
        let printed = printed.replace("backfill_start_time: earliest", "backfill_start_time: 8d");
        let (sources, _) = printed.split_once("\nsinks:\n").unwrap();
        let sink = self.bucket.sink_through(&format!("http://{STORE}"), SECRET_ACCESS_KEY, "batch: {max_events: 500}");
        format!("{sources}\n{sink}")
    }

    fn truth(&self, vendor: VendorName) -> Vec<String> {
        let address = self.simulator.published("8080");
        let lines = get(&format!("http://{address}/_sim/truth/{}", vendor.as_str())).unwrap();
        let raw = |line: &str| serde_json::from_str::<Value>(line).unwrap()["raw"].as_str().unwrap().to_owned();
        lines.lines().map(raw).collect()
    }
}

/// The body of a successful answer.
fn get(url: &str) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { reqwest::get(url).await.ok()?.error_for_status().ok()?.text().await.ok() })
}

/// Writes a pipeline file that the container's user can read.
fn write_pipeline(directory: &Path, text: &str) -> String {
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(directory.join("pipeline.yaml"), text).unwrap();
    format!("{}:/etc/auditflow:ro", directory.display())
}

#[test]
#[ignore = "needs a container engine, and MinIO's image"]
fn a_container_on_a_read_only_root_delivers_everything_once_and_stops_on_sigterm() {
    let servers = Servers::start();
    let directory = tempfile::tempdir().unwrap();
    let configuration = write_pipeline(directory.path(), &servers.pipeline());
    let network = format!("container:{}", servers.simulator.0);
    let hardening = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", &network];
    let volumes = ["--volume", "/var/lib/auditflow", "--volume", &configuration, "--health-interval", "1s"];
    let begin = Instant::now();
    let container =
        Container::start(&[&hardening[..], &volumes, &[image(), "run", "/etc/auditflow/pipeline.yaml"]].concat());
    until("it runs", || container.logs().contains("run_started"));
    eprintln!("from `docker run` to the first line of the run: {:?}", begin.elapsed());
    until("the first objects are stored", || !servers.bucket.is_empty());
    docker(&["kill", &container.0]);
    docker(&["start", &container.0]);

    let truth: BTreeMap<_, _> =
        VendorName::ALL.into_iter().map(|vendor| (vendor.as_str(), servers.truth(vendor))).collect();
    let all: usize = truth.values().map(Vec::len).sum();
    until("every event is stored", || events(&servers.bucket.objects()).values().map(Vec::len).sum::<usize>() >= all);
    until("the health check passes", || container.inspect(".State.Health.Status") == "healthy");
    assert_eq!(container.inspect(".Config.User"), "65532:65532");
    docker(&["stop", "--time", "45", &container.0]);
    assert_eq!(container.inspect(".State.ExitCode"), "0", "{}", container.logs());

    let objects = servers.bucket.objects();
    assert_manifests_complete(&objects);
    let delivered = events(&objects);
    for (vendor, records) in truth {
        let verdict = compare(records.iter().map(String::as_str), &delivered[vendor]);
        assert!(
            records.len() >= 600 && verdict.is_perfect(),
            "{vendor}: {} of {}",
            verdict.delivered,
            verdict.expected
        );
    }
}

#[test]
#[ignore = "needs a container engine"]
fn the_health_check_fails_without_a_pipeline_and_ignores_what_a_restart_does_not_fix() {
    let healthcheck = client().args(["run", "--rm", image(), "healthcheck"]).output().unwrap();
    assert_eq!(healthcheck.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&healthcheck.stderr).contains("api.address"), "{healthcheck:?}");

    // Nothing listens where this source's vendor should be.
    let source = "merge, base_url: \"http://127.0.0.1:9/api\", api_key: key-0123456789";
    let directory = tempfile::tempdir().unwrap();
    let configuration = write_pipeline(directory.path(), &pipeline_of(source));
    let volumes = ["--read-only", "--volume", "/var/lib/auditflow", "--volume", &configuration];
    let run = ["--health-interval", "1s", image(), "run", "/etc/auditflow/pipeline.yaml"];
    let container = Container::start(&[&volumes[..], &run].concat());
    until("the vendor is unreachable", || container.logs().contains("healthcheck_failed"));
    until("the health check passes", || container.inspect(".State.Health.Status") == "healthy");
}

fn pipeline_of(source: &str) -> String {
    format!(
        "sources:\n  vendor: {{type: {source}}}\ntransforms:\n  events: {{type: normalize, inputs: [vendor]}}\nsinks:\n  out: {{type: console, inputs: [events]}}\n"
    )
}

/// What `check` prints about a source on a server whose certificate an authority has signed that nobody knows.
fn check(more_of_the_source: &str, more: &[&str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = format!(
        "merge, base_url: \"https://localhost:{}/api\", api_key: key-0123456789",
        listener.local_addr().unwrap().port()
    );
    serve_tls(listener);
    let directory = tempfile::tempdir().unwrap();
    let authority = directory.path().join("authority.pem");
    fs::copy("tests/fixtures/tls/authority.pem", &authority).unwrap();
    let configuration = write_pipeline(directory.path(), &pipeline_of(&format!("{source}{more_of_the_source}")));
    let container = ["run", "--rm", "--read-only", "--network", "host", "--volume", &configuration];
    let command = [image(), "check", "/etc/auditflow/pipeline.yaml"];
    let output = client().args([&container[..], more, &command].concat()).output().unwrap();
    String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
}

/// Completes handshakes, and answers 401.
fn serve_tls(listener: TcpListener) {
    let chain = CertificateDer::pem_file_iter("tests/fixtures/tls/server.pem").unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file("tests/fixtures/tls/server.key").unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let config = Arc::new(builder.with_single_cert(chain, key).unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            if stream.read(&mut [0; 4_096]).is_ok() {
                let _ =
                    stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        }
    });
}

#[test]
#[ignore = "needs a container engine"]
fn the_image_has_certificate_authorities_and_takes_more() {
    let unknown = check("", &[]);
    assert!(unknown.contains("UnknownIssuer"), "{unknown}");
    let known = check(", tls: {ca_file: /etc/auditflow/authority.pem}", &[]);
    assert!(known.contains("401"), "{known}");
    let without = check("", &["--volume", "/dev/null:/etc/ssl/certs/ca-certificates.crt:ro"]);
    assert!(
        !without.contains("UnknownIssuer"),
        "the first message would not show that there are authorities: {without}"
    );
}
