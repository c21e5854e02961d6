//! What a process took: time, processor time, memory.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::fs;
use std::process::{Child, Command};
use std::time::Duration;

use anyhow::Context;
use tokio::time::Instant;

/// What a process that has ended took.
#[derive(Debug)]
pub(crate) struct Used {
    /// Whether it ended with code 0.
    pub success: bool,
    /// From its start to its end.
    pub time: Duration,
    /// Processor time, its own and the system's for it.
    pub processor: Duration,
    /// The most memory that it had at any time, in KiB, as seen every few milliseconds.
    pub peak_kib: u64,
}

/// Runs a command to its end.
///
/// # Errors
/// If it cannot be started, or where the system does not tell (elsewhere than on Linux).
pub(crate) fn run(mut command: Command) -> anyhow::Result<Used> {
    let before = processor_time_of_children()?;
    let begin = Instant::now();
    let mut child = command.spawn().context("the program cannot be started")?;
    let mut peak_kib = 0;
    let status = loop {
        peak_kib = peak_kib.max(peak_memory(&child));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    };
    let time = begin.elapsed();
    let processor = processor_time_of_children()?.saturating_sub(before);
    Ok(Used { success: status.success(), time, processor, peak_kib })
}

/// The most memory that a process has had so far, in KiB; 0 if it has ended.
pub(crate) fn peak_memory(child: &Child) -> u64 {
    memory(child, "VmHWM:")
}

/// The memory that a process has, in KiB; 0 if it has ended.
pub(crate) fn present_memory(child: &Child) -> u64 {
    memory(child, "VmRSS:")
}

fn memory(child: &Child, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Processor time of all children that have ended and were waited for: fields 16 and 17 of `/proc/self/stat`, in hundredths of a second.
fn processor_time_of_children() -> anyhow::Result<Duration> {
    let line = fs::read_to_string("/proc/self/stat").context("only Linux tells what a process took")?;
    let (_, fields) = line.rsplit_once(") ").context("an unknown form of /proc/self/stat")?;
    let field = |number: usize| fields.split(' ').nth(number - 3).and_then(|text| text.parse::<u64>().ok());
    let hundredths = field(16).zip(field(17)).map(|(user, system)| user + system);
    Ok(Duration::from_millis(10 * hundredths.context("an unknown form of /proc/self/stat")?))
}
