//! How much memory the released program uses: idle, under load, and with a thousand sources.
//!
//! ```text
//! simulator (in this process) <--HTTP-- auditflow run --> files          peak and current resident memory of that process
//! ```
//!
//! "Idle" is measured after everything was collected and delivered, and each source has polled several times without new events.
//! The thousand sources have nothing to collect. "Under load" is a backfill of all five vendors, in pages of the default size and
//! in the largest that each vendor allows (1,000 records at most).
#![allow(clippy::print_stdout)]

#[path = "common/process.rs"]
mod process;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use auditflow::simulator::{RunningSimulator, Simulator, SimulatorOptions, Variants, VendorName};
use tokio::time::Instant;

const EVENTS_UNDER_LOAD: u64 = 50_000;
const EVENTS_WHEN_IDLE: u64 = 1_000;
/// A source counts as idle after this many requests.
const POLLS: u64 = 3;
const DEADLINE: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{:<48} {:>9} {:>12}", "resident memory in MiB", "peak", "at the end");
    idle("five idle sources", 1).await?;
    idle("a thousand idle sources", 200).await?;
    under_load("five sources under load", "").await?;
    under_load("five sources under load, their largest pages", "page_size: 1000, ").await
}

async fn simulator(events_per_vendor: u64) -> anyhow::Result<RunningSimulator> {
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    Ok(Simulator::start(SimulatorOptions { events_per_vendor, variants, ..SimulatorOptions::default() }).await?)
}

async fn idle(name: &str, accounts: u64) -> anyhow::Result<()> {
    let simulator = simulator(EVENTS_WHEN_IDLE).await?;
    let directory = tempfile::tempdir()?;
    let backfill = if accounts == 1 { "backfill_start_time: earliest, " } else { "" };
    let file = write_pipeline(&simulator, directory.path(), accounts, &format!("poll_interval: 10s, {backfill}"))?;
    let mut child = program(&["run", "--skip-check", "--log-level", "warn"], &file).spawn()?;
    let collected = if accounts == 1 { EVENTS_WHEN_IDLE * VendorName::ALL.len() as u64 } else { 0 };
    wait_until(&mut child, || Ok(lines_below(&directory.path().join("out")) >= collected)).await?;
    let before = requests(&simulator)?;
    wait_until(&mut child, || {
        let now = requests(&simulator)?;
        Ok(now.iter().zip(&before).all(|(now, before)| now - before >= POLLS * accounts))
    })
    .await?;
    print(name, process::peak_memory(&child), process::present_memory(&child));
    child.kill()?;
    child.wait()?;
    simulator.shutdown().await;
    Ok(())
}

async fn under_load(name: &str, settings: &str) -> anyhow::Result<()> {
    let simulator = simulator(EVENTS_UNDER_LOAD).await?;
    let directory = tempfile::tempdir()?;
    let file = write_pipeline(&simulator, directory.path(), 1, &format!("backfill_start_time: earliest, {settings}"))?;
    let command = program(&["run", "--once", "--skip-check", "--log-level", "warn"], &file);
    let used = tokio::task::spawn_blocking(move || process::run(command)).await??;
    ensure!(used.success, "auditflow failed");
    print(name, used.peak_kib, 0);
    simulator.shutdown().await;
    Ok(())
}

fn print(name: &str, peak_kib: u64, current_kib: u64) {
    let mebibytes = |kib: u64| kib as f64 / 1_024.0;
    let current = if current_kib > 0 { format!("{:.1}", mebibytes(current_kib)) } else { String::new() };
    println!("{name:<48} {:>9.1} {current:>12}", mebibytes(peak_kib));
}

async fn wait_until(child: &mut Child, mut condition: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let begin = Instant::now();
    while !condition()? {
        ensure!(child.try_wait()?.is_none(), "auditflow exited");
        ensure!(begin.elapsed() < DEADLINE, "nothing happened for ten minutes");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

fn requests(simulator: &RunningSimulator) -> anyhow::Result<Vec<u64>> {
    let of = |vendor: &VendorName| Ok(simulator.control().requests(*vendor)?.requests);
    VendorName::ALL.iter().map(of).collect()
}

fn program(arguments: &[&str], file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_auditflow"));
    command.args(arguments).arg(file).stdout(Stdio::null());
    command
}

/// Writes a pipeline file with one source per vendor and account.
fn write_pipeline(
    simulator: &RunningSimulator,
    directory: &Path,
    accounts: u64,
    settings: &str,
) -> anyhow::Result<std::path::PathBuf> {
    let here = directory.display();
    let mut text = format!("data_dir: {here}/data\nsources:\n");
    for vendor in VendorName::ALL {
        let credentials = credentials(simulator, vendor);
        for account in 0..accounts {
            let _ = writeln!(
                text,
                "  acme_{vendor}_{account}: {{type: {vendor}, base_url: \"{}\", {credentials}, rate_limit: 100000/s, {settings}}}",
                simulator.base_url(vendor),
            );
        }
    }
    text.push_str("transforms:\n  events: {type: normalize, inputs: [acme_*]}\n");
    let _ = writeln!(
        text,
        "sinks:\n  files: {{type: file, inputs: [events], path: \"{here}/out/{{{{ vendor }}}}/%Y-%m-%d.ndjson\"}}"
    );
    let file = directory.join("pipeline.yaml");
    fs::write(&file, text).context("the pipeline file cannot be written")?;
    Ok(file)
}

fn credentials(simulator: &RunningSimulator, vendor: VendorName) -> String {
    let known = simulator.credentials();
    match vendor {
        VendorName::Akuity => format!(
            "organization_id: {}, api_key_id: {}, api_key_secret: {}",
            known.akuity_organization_id, known.akuity_api_key_id, known.akuity_api_key_secret
        ),
        VendorName::CaptivateIq => format!("api_token: {}", known.captivateiq_api_token),
        VendorName::Clumio => format!("access_token: {}", known.clumio_access_token),
        VendorName::Confluence => {
            format!("site: acme, email: {}, api_token: {}", known.confluence_email, known.confluence_api_token)
        }
        VendorName::Merge => format!("api_key: {}", known.merge_api_key),
    }
}

fn lines_below(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return 0 };
    let lines = |path: &Path| match path.is_dir() {
        true => lines_below(path),
        false => memchr::memchr_iter(b'\n', &fs::read(path).unwrap_or_default()).count() as u64,
    };
    entries.flatten().map(|entry| lines(&entry.path())).sum()
}
