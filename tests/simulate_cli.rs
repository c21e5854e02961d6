//! `auditflow simulate` with the real program.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// A running simulator that ends with the test.
struct Running {
    child: Child,
    address: String,
    output: BufReader<std::process::ChildStdout>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn simulate(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.arg("simulate").args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn start(arguments: &[&str]) -> Running {
    let mut child = simulate(arguments).spawn().expect("it starts");
    let mut output = BufReader::new(child.stdout.take().expect("its output"));
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    let address = line.trim().strip_prefix("listening on http://").expect("the address").to_owned();
    Running { child, address, output }
}

/// The body of a GET without credentials.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").expect("sent");
    let mut response = String::new();
    stream.read_to_string(&mut response).expect("a response");
    response.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

#[test]
fn it_prints_its_address_and_serves_its_records() {
    let running = start(&["--events", "12", "--vendor", "merge"]);
    assert_eq!(get(&running.address, "/_sim/truth/merge").lines().count(), 12);
    assert!(get(&running.address, "/_sim/health").contains(r#""records":{"merge":12}"#));
}

#[test]
fn the_same_seed_and_start_give_the_same_records_in_every_process() {
    let arguments = ["--events", "40", "--seed", "9", "--start", "2026-03-02T00:00:00Z", "--vendor", "akuity"];
    let truth = || get(&start(&arguments).address, "/_sim/truth/akuity");
    let first = truth();
    assert!(first.contains("akuity-39"));
    assert_eq!(first, truth());
}

#[test]
fn it_prints_a_pipeline_file_for_itself() {
    let mut child = simulate(&["--events", "1", "--print-pipeline"]).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut address = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut address).expect("a line");
    let address = address.trim().strip_prefix("listening on http://").expect("the address").to_owned();
    let mut running = Running { output: BufReader::new(child.stdout.take().expect("its output")), child, address };
    let mut text = String::new();
    let mut line = String::new();
    while !text.contains("path:") {
        line.clear();
        assert!(running.output.read_line(&mut line).expect("a line") > 0, "it ends too early:\n{text}");
        text.push_str(&line);
    }
    for vendor in ["akuity", "captivateiq", "clumio", "confluence", "merge"] {
        assert!(text.contains(&format!("type: {vendor}\n")), "{text}");
    }
    assert_eq!(text.matches(&format!("base_url: http://{}", running.address)).count(), 5);
    assert!(text.lines().all(|line| !line.starts_with("listening")), "only YAML: {text}");
}

#[test]
fn faults_and_variants_are_taken_from_the_command_line() {
    let running =
        start(&["--events", "5", "--fault", "merge.unauthorized", "slow=0", "--variant", "clumio.missing_token=401"]);
    assert!(get(&running.address, "/_sim/faults").contains(r#""merge.unauthorized":{"probability":1.0"#));
    assert!(get(&running.address, "/audit-trails").contains(r#""error_code":402"#));
}

#[test]
fn a_remote_address_needs_allow_remote() {
    let output = simulate(&["--listen", "0.0.0.0:0"]).output().expect("it ends");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--allow-remote"));
    assert!(start(&["--listen", "0.0.0.0:0", "--allow-remote", "--events", "1"]).address.starts_with("0.0.0.0:"));
}

#[test]
fn invalid_arguments_are_explained_with_exit_code_2() {
    for (arguments, expected) in [
        (["--fault", "fire"], "late_events"),
        (["--fault", "slow=2"], "probability"),
        (["--variant", "clumio.odrer=asc"], "clumio.order"),
        (["--variant", "clumio.order"], "--list-variants"),
        (["--start", "yesterday"], "2026-01-31T00:00:00Z"),
        (["--rate", "fast"], "events per second"),
        (["--span", "7x"], "duration"),
        (["--vendor", "salesforce"], "captivateiq"),
    ] {
        let output = simulate(&arguments).output().expect("it ends");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {printed}");
        assert!(printed.contains(expected), "{arguments:?}: {printed}");
    }
}

#[test]
fn faults_and_variants_are_listed() {
    let output = simulate(&["--list-faults"]).output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("rate_limit_date") && text.contains("expired_cursor"), "{text}");
    let output = simulate(&["--list-variants"]).output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("clumio.order=desc") && text.contains("merge.rate_limit=600/60s"), "{text}");
}

#[test]
fn an_interrupt_ends_it_at_once() {
    let mut running = start(&["--events", "1"]);
    // A client that keeps its connection open must not delay the exit.
    let mut client = TcpStream::connect(&running.address).expect("it listens");
    write!(client, "GET /_sim/health HTTP/1.1\r\nHost: x\r\n\r\n").expect("sent");
    client.read_exact(&mut [0; 12]).expect("a response");
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("sent");
    assert_eq!(running.child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn an_address_in_use_is_reported() {
    let running = start(&["--events", "1"]);
    let output = simulate(&["--listen", &running.address]).output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot listen on"));
}
