//! How much memory the released program takes: at rest, under load, and with a thousand sources.
//!
//! ```text
//! simulator (in this process) <--HTTP-- auditflow run --> files          peak and present resident memory of that process
//! ```
//!
//! "At rest" is looked at once everything has been collected and delivered, and each source has asked in vain at least once more.
//! "Under load" is a backfill of all five vendors in pages of the default size, and in pages of 1,000. Of a thousand sources, each asks
//! for itself, with a poll interval of ten seconds instead of the minute that is the default of most.
#![allow(clippy::print_stdout)]

mod common;
#[path = "common/process.rs"]
mod process;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use auditflow::simulator::{RunningSimulator, Simulator, SimulatorOptions, Switches, VendorName};
use tokio::time::Instant;

const EVENTS_UNDER_LOAD: u64 = 100_000;
const EVENTS_AT_REST: u64 = 1_000;
const MANY_SOURCES: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(600);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("{:<52} {:>9} {:>12}", "resident memory in MiB", "peak", "at the end");
    at_rest("five sources at rest", 1).await?;
    under_load("five sources under load", "").await?;
    under_load("five sources under load, pages of 1,000", "page_size: 1000, ").await?;
    at_rest("a thousand sources at rest", MANY_SOURCES / VendorName::ALL.len()).await
}

async fn simulator(events_per_vendor: u64) -> anyhow::Result<RunningSimulator> {
    let mut switches = Switches::default();
    switches.lift_rate_limits();
    Ok(Simulator::start(SimulatorOptions { events_per_vendor, switches, ..SimulatorOptions::default() }).await?)
}

async fn at_rest(name: &str, accounts: usize) -> anyhow::Result<()> {
    let simulator = simulator(EVENTS_AT_REST).await?;
    let folder = tempfile::tempdir()?;
    let file = write_pipeline(&simulator, folder.path(), accounts, "poll_interval: 10s, ")?;
    let mut child = program(&["run", "--skip-check", "--log-level", "warn"], &file, Stdio::null()).spawn()?;
    // Every account has all events of its vendor and, later, none.
    let asked_twice = (2 * accounts) as u64;
    let begin = Instant::now();
    while delivered(folder.path())? < accounts * VendorName::ALL.len() * EVENTS_AT_REST as usize
        || !asked_in_vain(&simulator, asked_twice)?
    {
        ensure!(child.try_wait()?.is_none(), "auditflow ended by itself");
        ensure!(begin.elapsed() < PATIENCE, "waited in vain until every source has asked");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    say(name, process::peak_memory(&child), process::present_memory(&child));
    stop(&mut child)?;
    simulator.shutdown().await;
    Ok(())
}
