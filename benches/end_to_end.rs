//! From HTTP pages to normalized files, through the released program in its own process.
//!
//! ```text
//! page server (a process, slices of memory) --HTTP, 1,000 records per page--> auditflow run --once --> NDJSON files
//!                                                                               journal, fsync, coverage
//!                                             \------------------------------> plain client: the same requests, the
//!                                                                               bodies appended to one file
//! ```
//!
//! The server finds the first and the last record of a window and sends the bytes between them, so that it uses little of the
//! machine. The benchmark counts the events in the files (and fails if one is missing or duplicated), the time from the start of
//! the process to its end, and the process's processor time and peak memory. `AUDITFLOW_BENCH_EVENTS` sets the number of events,
//! `AUDITFLOW_BENCH_DIR` the directory for the runs.
#![allow(clippy::print_stdout)]

mod common;
#[path = "common/process.rs"]
mod process;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use auditflow::simulator::VendorName;
use auditflow::time::Timestamp;
use tokio::time::Instant;

const PAGE_SIZE: usize = 1_000;
/// The history that is served; each day is a window.
const EVENTS_PER_DAY: usize = 40_000;
const FIRST_DAY: Timestamp = Timestamp::from_secs(1_772_323_200); // 2026-03-01
const ROUNDS: usize = 3;
/// With this argument the benchmark runs as the page server.
const SERVE: &str = "serve-pages";

fn main() -> anyhow::Result<()> {
    let events = match std::env::var("AUDITFLOW_BENCH_EVENTS") {
        Ok(text) => text.parse().context("AUDITFLOW_BENCH_EVENTS is not a number")?,
        Err(_) => 400_000,
    };
    if std::env::args().any(|argument| argument == SERVE) {
        return serve(events);
    }
    let server = Server::start()?;
    println!("{events} Clumio events in pages of {PAGE_SIZE} from http://{}", server.address);
    println!(
        "{:<28} {:>10} {:>9} {:>8} {:>18} {:>9}",
        "", "events/s", "MB/s", "seconds", "CPU s/100k events", "peak MiB"
    );
    for round in 1..=ROUNDS {
        println!("round {round}");
        plain_client(&server, events)?;
        for sources in [1, 4] {
            auditflow(&server, events, sources)?;
        }
    }
    Ok(())
}

// --- the page server ---

/// All records, separated by commas, and the start of each.
struct Pages {
    times: Vec<Timestamp>,
    starts: Vec<usize>,
    body: Vec<u8>,
}

impl Pages {
    /// `events` records: copies of the simulator's, each with its own id and time.
    fn generate(events: usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let templates = runtime.block_on(common::records(VendorName::Clumio, 5_000))?;
        let templates = templates.iter().map(|raw| RecordTemplate::of(raw)).collect::<anyhow::Result<Vec<_>>>()?;
        let step = 86_400_000_000 / EVENTS_PER_DAY as u64;
        let mut pages = Self { times: Vec::new(), starts: Vec::new(), body: Vec::new() };
        for (number, template) in templates.iter().cycle().take(events).enumerate() {
            let time = FIRST_DAY + std::time::Duration::from_micros(step * number as u64);
            pages.times.push(time);
            pages.starts.push(pages.body.len());
            template.write(number, time, &mut pages.body);
            pages.body.push(b',');
        }
        pages.starts.push(pages.body.len());
        Ok(pages)
    }

    fn send(&self, request: &str, stream: &mut TcpStream) -> std::io::Result<()> {
        let query = PageQuery::parse(request);
        let first = self.times.partition_point(|time| *time < query.from);
        let end = self.times.partition_point(|time| *time < query.to);
        let begin = (first + query.page.saturating_sub(1) * PAGE_SIZE).min(end);
        let stop = (begin + PAGE_SIZE).min(end);
        let records = if begin == stop { &[][..] } else { &self.body[self.starts[begin]..self.starts[stop] - 1] };
        let next = match stop < end {
            true => format!(r#"{{"_next":{{"href":"/audit-trails?start={}"}}}}"#, query.page + 1),
            false => "{}".to_owned(),
        };
        let head = r#"{"_embedded":{"items":["#;
        let tail = format!(r#"]}},"_links":{next},"total_count":{}}}"#, end - first);
        let length = head.len() + records.len() + tail.len();
        let mut response =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        response.push_str(head);
        stream.write_all(response.as_bytes())?;
        stream.write_all(records)?;
        stream.write_all(tail.as_bytes())
    }
}

/// A record, split at its id and its time.
struct RecordTemplate {
    parts: [String; 3],
    id_first: bool,
}

impl RecordTemplate {
    fn of(raw: &str) -> anyhow::Result<Self> {
        let record: serde_json::Value = serde_json::from_str(raw)?;
        let position = |field: &str| {
            let value = record[field].as_str().context("a record without id or time")?;
            let start = raw.find(value).context("an escaped value")?;
            anyhow::Ok(start..start + value.len())
        };
        let (id, time) = (position("id")?, position("timestamp")?);
        let id_first = id.start < time.start;
        let (first, second) = if id_first { (id, time) } else { (time, id) };
        let parts = [&raw[..first.start], &raw[first.end..second.start], &raw[second.end..]].map(str::to_owned);
        Ok(Self { parts, id_first })
    }

    fn write(&self, number: usize, time: Timestamp, body: &mut Vec<u8>) {
        let (id, time) = (format!("{number:032x}"), time.with_digits(6).to_string());
        let (first, second) = if self.id_first { (id, time) } else { (time, id) };
        for part in [&self.parts[0], &first, &self.parts[1], &second, &self.parts[2]] {
            body.extend_from_slice(part.as_bytes());
        }
    }
}

/// The time range and page of a request.
struct PageQuery {
    from: Timestamp,
    to: Timestamp,
    page: usize,
}

impl PageQuery {
    fn parse(request: &str) -> Self {
        let target = request.split(' ').nth(1).unwrap_or_default();
        let url = url::Url::parse("http://server").and_then(|base| base.join(target));
        let query: std::collections::HashMap<String, String> =
            url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
        let filter: serde_json::Value =
            query.get("filter").and_then(|filter| serde_json::from_str(filter).ok()).unwrap_or_default();
        let bound = |name: &str| filter["start_timestamp"][name].as_str().and_then(Timestamp::parse_rfc3339);
        Self {
            from: bound("$gte").unwrap_or(Timestamp::EPOCH),
            to: bound("$lt").unwrap_or(Timestamp::MAX),
            page: query.get("start").and_then(|page| page.parse().ok()).unwrap_or(1),
        }
    }
}

/// Serves until the process is killed. Prints its address once it is ready.
fn serve(events: usize) -> anyhow::Result<()> {
    let pages = Arc::new(Pages::generate(events)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    for stream in listener.incoming() {
        let (mut stream, pages) = (stream?, pages.clone());
        stream.set_nodelay(true)?;
        std::thread::spawn(move || respond_all(&pages, &mut stream));
    }
    Ok(())
}

/// Responds to the requests of a connection until it is closed.
fn respond_all(pages: &Pages, stream: &mut TcpStream) {
    let mut request = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        let Ok(read @ 1..) = stream.read(&mut buffer) else { return };
        request.extend_from_slice(&buffer[..read]);
        if request.ends_with(b"\r\n\r\n") {
            if pages.send(&String::from_utf8_lossy(&request), stream).is_err() {
                return;
            }
            request.clear();
        }
    }
}

/// The page server in its own process; killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg(SERVE).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        let stdout = child.stdout.take().context("no output")?;
        BufReader::new(stdout).read_line(&mut address)?;
        ensure!(!address.is_empty(), "the page server did not start");
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// --- clients ---

/// Requests one page after the other and appends each body to a file.
fn plain_client(server: &Server, events: usize) -> anyhow::Result<()> {
    let directory = common::directory()?;
    let mut file = fs::File::create(directory.path().join("bodies"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begin = Instant::now();
    let bytes = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut bytes = 0;
        for page in 1..=events.div_ceil(PAGE_SIZE) {
            let response = client.get(format!("http://{}/audit-trails?start={page}", server.address)).send().await?;
            let body = response.error_for_status()?.bytes().await?;
            file.write_all(&body)?;
            bytes += body.len();
        }
        file.sync_all()?;
        anyhow::Ok(bytes)
    })?;
    let time = begin.elapsed();
    let (rate, megabytes) = (common::rate(events, time), common::megabytes(bytes, time));
    println!("{:<28} {rate:>10.0} {megabytes:>9.0} {:>8.2}", "  plain client, no journal", time.as_secs_f64());
    Ok(())
}

fn auditflow(server: &Server, events: usize, sources: usize) -> anyhow::Result<()> {
    let directory = common::directory()?;
    let file = directory.path().join("pipeline.yaml");
    fs::write(&file, pipeline(server, directory.path(), events, sources))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.args(["run", "--once", "--skip-check", "--log-level", "warn"]).arg(&file);
    let used = process::run(command)?;
    ensure!(used.success, "auditflow failed; see above");
    let (lines, bytes) = lines_below(&directory.path().join("out"))?;
    if lines != events {
        bail!("the files hold {lines} events, {events} were served");
    }
    let hundred_thousands = events as f64 / 100_000.0;
    println!(
        "{:<28} {:>10.0} {:>9.0} {:>8.2} {:>18.2} {:>9.1}",
        format!("  auditflow, {sources} source{}", if sources == 1 { "" } else { "s" }),
        common::rate(events, used.time),
        common::megabytes(bytes, used.time),
        used.time.as_secs_f64(),
        used.processor.as_secs_f64() / hundred_thousands,
        used.peak_kib as f64 / 1_024.0,
    );
    Ok(())
}

/// A pipeline file in which each source collects a share of the days.
fn pipeline(server: &Server, directory: &Path, events: usize, sources: usize) -> String {
    let directory = directory.display();
    let days = events.div_ceil(EVENTS_PER_DAY);
    let mut text = format!("data_dir: {directory}/data\nsources:\n");
    let day = |number: usize| FIRST_DAY + std::time::Duration::from_secs(86_400 * number as u64);
    for source in 0..sources {
        let (from, to) = (day(days * source / sources), day(days * (source + 1) / sources));
        let _ = writeln!(
            text,
            "  acme_{source}: {{type: clumio, base_url: \"http://{}\", access_token: none, page_size: {PAGE_SIZE}, \
             max_page_size: {PAGE_SIZE}, rate_limit: 100000/s, retention: 3650d, backfill_start_time: \"{from}\", \
             end_time: \"{to}\"}}",
            server.address
        );
    }
    text.push_str("transforms:\n  events: {type: normalize, inputs: [acme_*]}\n");
    let _ = writeln!(
        text,
        "sinks:\n  files: {{type: file, inputs: [events], path: \"{directory}/out/{{{{ vendor }}}}/%Y-%m-%d.ndjson\"}}"
    );
    text
}

fn lines_below(directory: &Path) -> anyhow::Result<(usize, usize)> {
    let (mut lines, mut bytes) = (0, 0);
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            let (more_lines, more_bytes) = lines_below(&path)?;
            (lines, bytes) = (lines + more_lines, bytes + more_bytes);
        } else {
            let content = fs::read(&path)?;
            lines += memchr::memchr_iter(b'\n', &content).count();
            bytes += content.len();
        }
    }
    Ok((lines, bytes))
}
