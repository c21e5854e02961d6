//! What many idle sources cost: memory, start, processor time at rest, reload. They are made from a list of tenants.
//!
//! ```text
//! a server in this process that answers with empty pages <--HTTP-- auditflow run (tenants.csv: 1,000 rows, then 10,000)
//! ```
//!
//! "At rest" is a minute after each source has made its first poll; none is due in it. `AUDITFLOW_BENCH_PROGRAM` measures another
//! binary.
#![allow(clippy::print_stdout)]

#[path = "common/process.rs"]
mod process;

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

const REST: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(600);
const EMPTY_PAGE: &str = r#"{"next":null,"previous":null,"results":[]}"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let vendor = Router::new().fallback(|| async { ([(CONTENT_TYPE, "application/json")], EMPTY_PAGE) });
    tokio::spawn(async { axum::serve(listener, vendor).await });
    println!(
        "{:>8} {:>12} {:>12} {:>12} {:>14} {:>10} {:>8} {:>10} {:>8}",
        "sources", "validate", "run_started", "all started", "cpu till then", "RSS", "threads", "cpu/minute", "reload"
    );
    for sources in [1_000, 10_000] {
        let base_url = format!("http://{address}/");
        tokio::task::spawn_blocking(move || measure(sources, &base_url)).await??;
    }
    Ok(())
}

fn measure(sources: usize, base_url: &str) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    write_pipeline(directory.path(), sources, base_url)?;
    let validated = process::run(program(directory.path(), &["validate"]))?;
    ensure!(validated.success, "the pipeline is not valid");
    let begin = Instant::now();
    let mut child = program(directory.path(), &["run", "--skip-check", "--log-format", "json"])
        .stderr(Stdio::piped())
        .spawn()
        .context("the program cannot be started")?;
    let log = lines(child.stderr.take().context("its log")?);
    let measured = observe(&mut child, &log, sources, begin);
    child.kill()?;
    child.wait()?;
    println!("{sources:>8} {:>10.2} s {}", validated.time.as_secs_f64(), measured?);
    Ok(())
}

fn observe(child: &mut Child, log: &Receiver<String>, sources: usize, begin: Instant) -> anyhow::Result<String> {
    await_events(log, "run_started", 1)?;
    let run_started = begin.elapsed();
    await_events(log, "source_started", sources)?;
    let all_started = begin.elapsed();
    // The last of them have just sent their first request.
    std::thread::park_timeout(Duration::from_secs(5));
    let till_then = process::processor_time(child)?;
    std::thread::park_timeout(REST);
    let at_rest = process::processor_time(child)?.saturating_sub(till_then);
    let (mebibytes, threads) = (process::present_memory(child) >> 10, process::threads(child));
    let begin = Instant::now();
    kill_process(Pid::from_child(child), Signal::HUP)?;
    await_events(log, "config_unchanged", 1)?;
    Ok(format!(
        "{:>10.2} s {:>10.2} s {:>12.2} s {mebibytes:>6} MiB {threads:>8} {:>8.2} s {:>6.2} s",
        run_started.as_secs_f64(),
        all_started.as_secs_f64(),
        till_then.as_secs_f64(),
        at_rest.as_secs_f64(),
        begin.elapsed().as_secs_f64()
    ))
}

/// The lines of a log as they come.
fn lines(log: ChildStderr) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(log).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
    });
    lines
}

fn await_events(log: &Receiver<String>, event: &str, count: usize) -> anyhow::Result<()> {
    let field = format!("\"event\":\"{event}\"");
    for _ in 0..count {
        while !log.recv_timeout(DEADLINE).with_context(|| format!("no {event}"))?.contains(&field) {}
    }
    Ok(())
}

fn program(directory: &Path, arguments: &[&str]) -> Command {
    let program = std::env::var_os("AUDITFLOW_BENCH_PROGRAM").unwrap_or_else(|| env!("CARGO_BIN_EXE_auditflow").into());
    let mut command = Command::new(program);
    command.current_dir(directory).args(arguments).arg("many.yaml").stdout(Stdio::null());
    command
}

fn write_pipeline(directory: &Path, sources: usize, base_url: &str) -> anyhow::Result<()> {
    let mut list = "tenant\n".to_owned();
    for index in 0..sources {
        writeln!(list, "t{index:05}")?;
    }
    fs::write(directory.join("tenants.csv"), list)?;
    let pipeline = format!(
        "data_dir: ./data
sources_from:
  merge_{{{{ tenant }}}}:
    file: tenants.csv
    template: {{type: merge, api_key: \"${{KEY:-key}}\", tenant: \"{{{{ tenant }}}}\", base_url: \"{base_url}\", poll_interval: 1h, recheck_interval: 1h}}
transforms: {{events: {{type: normalize, inputs: [merge_*]}}}}
sinks: {{files: {{type: file, inputs: [events], path: \"out/%Y-%m-%d.ndjson\"}}}}
"
    );
    fs::write(directory.join("many.yaml"), pipeline)?;
    Ok(())
}
