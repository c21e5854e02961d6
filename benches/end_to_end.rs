//! From HTTP pages to normalized files, through the released program in its own process.
//!
//! ```text
//! page server (a process, slices of memory) --HTTP, 1,000 or 100 records per page--> auditflow run --once --> NDJSON files
//!                                                                                      journal, fsync, coverage
//!                                             \-------------------------------------> plain client: the same requests,
//!                                                                                      the records as lines of one file
//! ```
//!
//! The server finds the first and the last record of a window and sends the bytes between them, so that it uses little of the
//! machine. The benchmark counts the events in the files (and fails if one is missing or duplicated), the time from the start of
//! the process to its end, and the process's processor time and peak memory, each also as a multiple of the plain client's. A run
//! of another build for comparison: `AUDITFLOW_BENCH_OTHER=path/to/auditflow`. `AUDITFLOW_BENCH_EVENTS` sets the number of events,
//! `AUDITFLOW_BENCH_DIR` the directory for the runs.
#![allow(clippy::print_stdout)]

mod common;
#[path = "common/process.rs"]
mod process;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, ensure};
use auditflow::simulator::VendorName;
use auditflow::time::Timestamp;
use process::Used;
use serde_json::value::RawValue;

const PAGE_SIZES: [usize; 2] = [1_000, 100];
/// The history that is served; each day is a window.
const EVENTS_PER_DAY: usize = 40_000;
const FIRST_DAY: Timestamp = Timestamp::from_secs(1_772_323_200); // 2026-03-01
const ROUNDS: usize = 3;
/// With this argument the benchmark runs as the page server.
const SERVE: &str = "serve-pages";
/// With this argument, an address, a page size and a file it runs as the plain client.
const SPLIT: &str = "split-lines";

fn main() -> anyhow::Result<()> {
    let events = match std::env::var("AUDITFLOW_BENCH_EVENTS") {
        Ok(text) => text.parse().context("AUDITFLOW_BENCH_EVENTS is not a number")?,
        Err(_) => 400_000,
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [SERVE] => return serve(events),
        [SPLIT, address, page_size, file] => return split_lines(address, page_size.parse()?, events, Path::new(file)),
        _ => {}
    }
    let server = Server::start()?;
    for page_size in PAGE_SIZES {
        println!("{events} Clumio events in pages of {page_size} from http://{}", server.address);
        println!(
            "{:<28} {:>10} {:>7} {:>8} {:>18} {:>7} {:>9}",
            "", "events/s", "ratio", "seconds", "CPU s/100k events", "ratio", "peak MiB"
        );
        let run = Run { server: &server, events, page_size };
        for round in 1..=ROUNDS {
            println!("round {round}");
            let plain = run.plain_client()?;
            run.show("plain client, no journal", &plain, &plain);
            for sources in [1, 4] {
                let name = format!("auditflow, {sources} source{}", if sources == 1 { "" } else { "s" });
                run.show(&name, &run.auditflow(env!("CARGO_BIN_EXE_auditflow"), sources)?, &plain);
            }
            if let Ok(other) = std::env::var("AUDITFLOW_BENCH_OTHER") {
                run.show("the other build, 1 source", &run.auditflow(&other, 1)?, &plain);
            }
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
        let begin = (first + query.page.saturating_sub(1) * query.page_size).min(end);
        let stop = (begin + query.page_size).min(end);
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

/// The time range, page and page size of a request.
struct PageQuery {
    from: Timestamp,
    to: Timestamp,
    page: usize,
    page_size: usize,
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
            page_size: query.get("limit").and_then(|limit| limit.parse().ok()).unwrap_or(PAGE_SIZES[0]),
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

/// Requests one page after the other and appends each record to a file, as one line.
fn split_lines(address: &str, page_size: usize, events: usize, file: &Path) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Body<'a> {
        #[serde(borrow, rename = "_embedded")]
        embedded: Embedded<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Embedded<'a> {
        #[serde(borrow)]
        items: Vec<&'a RawValue>,
    }
    let mut file = BufWriter::with_capacity(256 << 10, fs::File::create(file)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build()?;
        for page in 1..=events.div_ceil(page_size) {
            let url = format!("http://{address}/audit-trails?start={page}&limit={page_size}");
            let body = client.get(url).send().await?.error_for_status()?.bytes().await?;
            for record in serde_json::from_slice::<Body<'_>>(&body)?.embedded.items {
                file.write_all(record.get().as_bytes())?;
                file.write_all(b"\n")?;
            }
        }
        file.flush()?;
        file.get_ref().sync_all()?;
        anyhow::Ok(())
    })
}

/// What all runs have in common.
struct Run<'a> {
    server: &'a Server,
    events: usize,
    page_size: usize,
}

impl Run<'_> {
    fn plain_client(&self) -> anyhow::Result<Used> {
        let directory = common::directory()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args([SPLIT, &self.server.address, &self.page_size.to_string()]).arg(directory.path().join("lines"));
        self.finish(command, directory.path())
    }

    fn auditflow(&self, program: &str, sources: usize) -> anyhow::Result<Used> {
        let directory = common::directory()?;
        let file = directory.path().join("pipeline.yaml");
        fs::write(&file, self.pipeline(directory.path(), sources))?;
        let mut command = Command::new(program);
        command.args(["run", "--once", "--skip-check", "--log-level", "warn"]).arg(&file);
        self.finish(command, &directory.path().join("out"))
    }

    /// Runs a program, which must write all events into files below the directory.
    fn finish(&self, command: Command, output: &Path) -> anyhow::Result<Used> {
        let used = process::run(command)?;
        ensure!(used.success, "the program failed; see above");
        let lines = lines_below(output)?;
        ensure!(lines == self.events, "the files hold {lines} events, {} were served", self.events);
        Ok(used)
    }

    fn show(&self, name: &str, used: &Used, plain: &Used) {
        let cost = used.processor.as_secs_f64() / (self.events as f64 / 100_000.0);
        println!(
            "  {name:<26} {:>10.0} {:>7.2} {:>8.2} {cost:>18.2} {:>7.2} {:>9.1}",
            common::rate(self.events, used.time),
            plain.time.as_secs_f64() / used.time.as_secs_f64(),
            used.time.as_secs_f64(),
            used.processor.as_secs_f64() / plain.processor.as_secs_f64(),
            used.peak_kib as f64 / 1_024.0,
        );
    }

    /// A pipeline file in which each source collects a share of the days.
    fn pipeline(&self, directory: &Path, sources: usize) -> String {
        let Self { server, events, page_size } = self;
        let directory = directory.display();
        let days = events.div_ceil(EVENTS_PER_DAY);
        let mut text = format!("data_dir: {directory}/data\nsources:\n");
        let day = |number: usize| FIRST_DAY + std::time::Duration::from_secs(86_400 * number as u64);
        for source in 0..sources {
            let (from, to) = (day(days * source / sources), day(days * (source + 1) / sources));
            let _ = writeln!(
                text,
                "  acme_{source}: {{type: clumio, base_url: \"http://{}\", access_token: none, page_size: {page_size}, \
             max_page_size: {page_size}, rate_limit: 100000/s, retention: 3650d, backfill_start_time: \"{from}\", \
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
}

fn lines_below(directory: &Path) -> anyhow::Result<usize> {
    let mut lines = 0;
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        lines +=
            if path.is_dir() { lines_below(&path)? } else { memchr::memchr_iter(b'\n', &fs::read(&path)?).count() };
    }
    Ok(lines)
}
