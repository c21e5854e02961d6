//! A server that answers each request as a test wants, and the program that collects from it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// The secret of the source.
pub const SECRET: &str = "sk-live-7fT/q+2Zc\"9x&ü=R4wYp0";

/// A request as the server sees it.
pub struct Received {
    /// The value of `Authorization`.
    pub authorization: String,
    /// Every header, one line each.
    pub headers: String,
}

/// Status, more headers, body.
pub type Answer = (u16, String, Vec<u8>);

/// Starts a server that answers until the test ends. Returns its address.
pub fn serve(answer: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), answer) = (stream, answer.clone()) else { continue };
            std::thread::spawn(move || while respond(&stream, answer.as_ref()).is_some() {});
        }
    });
    address
}

fn respond(stream: &std::net::TcpStream, answer: &dyn Fn(&Received) -> Answer) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    lines.next()?.ok()?;
    let (mut authorization, mut headers) = (String::new(), String::new());
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        headers.push_str(&format!("{line}\n"));
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            value.clone_into(&mut authorization);
        }
    }
    let (status, headers, body) = answer(&Received { authorization, headers });
    let head = format!("HTTP/1.1 {status} Answer\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
    let mut stream = stream;
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body).ok()
}

/// A page of Merge's API.
pub fn page(next: Option<&str>, records: &[String]) -> Vec<u8> {
    let next = next.map_or_else(|| "null".to_owned(), |next| serde_json::to_string(next).unwrap());
    format!("{{\"next\":{next},\"previous\":null,\"results\":[{}]}}", records.join(",")).into_bytes()
}

/// A record of Merge's API with this id, and these further members.
pub fn record(id: usize, more: &str) -> String {
    format!(
        r#"{{"id":"{id:08}-1111-4222-8333-444444444444","created_at":"2026-03-02T09:{:02}:00Z","user_name":"A","user_email":"a@example.com","role":"ADMIN","ip_address":"192.0.2.7","event_type":"CHANGED_ROLE","event_description":"d"{more}}}"#,
        id % 60
    )
}

/// A pipeline in a directory of its own, from the server to files.
pub struct Pipeline {
    pub directory: tempfile::TempDir,
}

impl Pipeline {
    /// One Merge source; `sink` is the sink's type and options, `more` more lines of the source.
    pub fn new(address: &str, more: &str, sink: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let text = format!(
            "data_dir: {dir}/data\nsources:\n  audit: {{type: merge, base_url: \"{address}\", api_key: \"${{KEY}}\", \
             rate_limit: 1000/s, backfill_start_time: \"2026-03-02\", end_time: \"2026-03-03\", \
             error_retry_interval: 1s{more}}}\ntransforms:\n  events: {{type: normalize, inputs: [audit]}}\n\
             sinks:\n  out: {{inputs: [events], {sink}}}\n",
            dir = directory.path().display()
        );
        fs::write(directory.path().join("pipeline.yaml"), text).unwrap();
        Self { directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs a command of the program on the pipeline file and returns its output.
    pub fn auditflow(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
        let (first, rest) = arguments.split_first().unwrap();
        command
            .arg(first)
            .arg(self.path("pipeline.yaml"))
            .args(rest)
            .env("KEY", SECRET)
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command.current_dir(self.directory.path()).stdin(Stdio::null());
        command.output().unwrap()
    }

    /// Runs it until it is done or gives up.
    pub fn run(&self) -> Output {
        self.auditflow(&["run", "--once", "--skip-check", "--give-up-after", "2s", "--log-level", "trace"])
    }

    /// What the program prints when it runs and when it is asked about the run, and all files that it writes, each with its
    /// name.
    pub fn said_and_written(&self) -> Vec<(String, String)> {
        let mut outputs = vec![("run".to_owned(), self.run())];
        for command in [&["status"][..], &["status", "--json"], &["coverage", "--evidence"], &["plan"], &["check"]] {
            outputs.push((command.join(" "), self.auditflow(command)));
        }
        let printed = outputs.into_iter().map(|(name, output)| (name, [output.stdout, output.stderr].concat()));
        let written = self.files().into_iter().map(|path| (path.display().to_string(), fs::read(&path).unwrap()));
        let all = printed.chain(written);
        all.map(|(name, bytes)| (name, String::from_utf8_lossy(&bytes).into_owned())).collect()
    }

    /// Every file below the directory.
    pub fn files(&self) -> Vec<PathBuf> {
        files_below(self.directory.path())
    }

    /// The lines of all files below `out`, in no particular order.
    pub fn delivered(&self) -> Vec<serde_json::Value> {
        // What begins with an underscore is no data: the marker that names the journal.
        let is_data =
            |path: &PathBuf| !path.components().any(|part| part.as_os_str().to_string_lossy().starts_with('_'));
        let files = files_below(&self.path("out"));
        let lines = files.iter().filter(|path| is_data(path)).flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()
        });
        lines.collect()
    }
}

pub fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}
