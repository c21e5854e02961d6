//! From HTTP pages to normalized files: the released program in a process of its own, all of it in the path.
//!
//! ```text
//! page server (a process, pages cut from memory) --HTTP, 1,000 records a page--> auditflow run --once --> NDJSON files
//!                                                                                  journal, fsync, proof of coverage
//!                                                \-----------------------------> bare client: the same requests, the
//!                                                                                 bodies appended to one file, no more
//! ```
//!
//! The server only searches the first and the last record of a window and sends the bytes between them, so that it takes little of
//! the machine. What is counted: events in the files (the bench fails if one is missing or too many), time from the start of the
//! process to its end, processor time and peak memory of the process. `AUDITFLOW_BENCH_EVENTS` sets the number of events,
//! `AUDITFLOW_BENCH_DIR` the folder in which the runs have theirs.
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
/// Each day of the history that is served is asked for as a window of its own.
const EVENTS_A_DAY: usize = 40_000;
const FIRST_DAY: Timestamp = Timestamp::from_secs(1_772_323_200); // 2026-03-01
const ROUNDS: usize = 3;
/// The bench starts itself with this word as the page server.
const SERVE: &str = "serve-pages";

fn main() -> anyhow::Result<()> {
    let events = match std::env::var("AUDITFLOW_BENCH_EVENTS") {
        Ok(text) => text.parse().context("AUDITFLOW_BENCH_EVENTS is no number")?,
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
        bare_client(&server, events)?;
        for sources in [1, 4] {
            auditflow(&server, events, sources)?;
        }
    }
    Ok(())
}

// --- the page server ---

/// All records with commas between them, and where each begins.
struct Pages {
    times: Vec<Timestamp>,
    starts: Vec<usize>,
    body: Vec<u8>,
}

impl Pages {
    /// `events` records: those of the simulator again and again, each with an id and a time of its own.
    fn generate(events: usize) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let models = runtime.block_on(common::records(VendorName::Clumio, 5_000))?;
        let models = models.iter().map(|raw| Model::of(raw)).collect::<anyhow::Result<Vec<_>>>()?;
        let step = 86_400_000_000 / EVENTS_A_DAY as u64;
        let mut pages = Self { times: Vec::new(), starts: Vec::new(), body: Vec::new() };
        for (number, model) in models.iter().cycle().take(events).enumerate() {
            let time = FIRST_DAY + std::time::Duration::from_micros(step * number as u64);
            pages.times.push(time);
            pages.starts.push(pages.body.len());
            model.write(number, time, &mut pages.body);
            pages.body.push(b',');
        }
        pages.starts.push(pages.body.len());
        Ok(pages)
    }

    fn send(&self, request: &str, stream: &mut TcpStream) -> std::io::Result<()> {
        let asked = Asked::read(request);
        let first = self.times.partition_point(|time| *time < asked.from);
        let end = self.times.partition_point(|time| *time < asked.to);
        let begin = (first + asked.page.saturating_sub(1) * PAGE_SIZE).min(end);
        let stop = (begin + PAGE_SIZE).min(end);
        let records = if begin == stop { &[][..] } else { &self.body[self.starts[begin]..self.starts[stop] - 1] };
        let next = match stop < end {
            true => format!(r#"{{"_next":{{"href":"/audit-trails?start={}"}}}}"#, asked.page + 1),
            false => "{}".to_owned(),
        };
        let head = r#"{"_embedded":{"items":["#;
        let tail = format!(r#"]}},"_links":{next},"total_count":{}}}"#, end - first);
        let length = head.len() + records.len() + tail.len();
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        answer.push_str(head);
        stream.write_all(answer.as_bytes())?;
        stream.write_all(records)?;
        stream.write_all(tail.as_bytes())
    }
}

/// A record around its id and its time.
struct Model {
    parts: [String; 3],
    id_first: bool,
}

impl Model {
    fn of(raw: &str) -> anyhow::Result<Self> {
        let record: serde_json::Value = serde_json::from_str(raw)?;
        let place = |field: &str| {
            let value = record[field].as_str().context("a record without id or time")?;
            let start = raw.find(value).context("a value that is escaped")?;
            anyhow::Ok(start..start + value.len())
        };
        let (id, time) = (place("id")?, place("timestamp")?);
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

/// What a request asks for.
struct Asked {
    from: Timestamp,
    to: Timestamp,
    page: usize,
}

impl Asked {
    fn read(request: &str) -> Self {
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
        std::thread::spawn(move || answer_all(&pages, &mut stream));
    }
    Ok(())
}

/// Answers the requests of a connection until it is closed.
fn answer_all(pages: &Pages, stream: &mut TcpStream) {
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

/// The page server in a process of its own; killed when dropped.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?).arg(SERVE).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        let stdout = child.stdout.take().context("its output")?;
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

// --- who fetches ---

/// The requests of one window after the other, each body appended to a file.
fn bare_client(server: &Server, events: usize) -> anyhow::Result<()> {
    let folder = common::folder()?;
    let mut file = fs::File::create(folder.path().join("bodies"))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begin = Instant::now();
    let bytes = runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut bytes = 0;
        for page in 1..=events.div_ceil(PAGE_SIZE) {
            let answer = client.get(format!("http://{}/audit-trails?start={page}", server.address)).send().await?;
            let body = answer.error_for_status()?.bytes().await?;
            file.write_all(&body)?;
            bytes += body.len();
        }
        file.sync_all()?;
        anyhow::Ok(bytes)
    })?;
    let time = begin.elapsed();
    let (rate, megabytes) = (common::rate(events, time), common::megabytes(bytes, time));
    println!("{:<28} {rate:>10.0} {megabytes:>9.0} {:>8.2}", "  bare client, no journal", time.as_secs_f64());
    Ok(())
}

fn auditflow(server: &Server, events: usize, sources: usize) -> anyhow::Result<()> {
    let folder = common::folder()?;
    let file = folder.path().join("pipeline.yaml");
    fs::write(&file, pipeline(server, folder.path(), events, sources))?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.args(["run", "--once", "--skip-check", "--log-level", "warn"]).arg(&file);
    let used = process::run(command)?;
    ensure!(used.success, "auditflow did not end well; see above");
    let (lines, bytes) = lines_below(&folder.path().join("out"))?;
    // Each of several sources has all that happened in a part of the days.
    if lines != events {
        bail!("{lines} events are in the files, {events} were served");
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

/// A share of the days for each source.
fn pipeline(server: &Server, folder: &Path, events: usize, sources: usize) -> String {
    let folder = folder.display();
    let days = events.div_ceil(EVENTS_A_DAY);
    let mut text = format!("data_dir: {folder}/data\nsources:\n");
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
        "sinks:\n  files: {{type: file, inputs: [events], path: \"{folder}/out/{{{{ vendor }}}}/%Y-%m-%d.ndjson\"}}"
    );
    text
}

fn lines_below(folder: &Path) -> anyhow::Result<(usize, usize)> {
    let (mut lines, mut bytes) = (0, 0);
    for entry in fs::read_dir(folder)? {
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
