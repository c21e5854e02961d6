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

/// The number of its threads.
pub(crate) fn threads(child: &Child) -> u64 {
    memory(child, "Threads:")
}

fn memory(child: &Child, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Processor time that a process has taken so far, its own and the system's for it.
///
/// # Errors
/// It has ended, or the system does not tell.
pub(crate) fn processor_time(child: &Child) -> anyhow::Result<Duration> {
    two_fields_of(&format!("/proc/{}/stat", child.id()), 14)
}

/// Processor time of all children that have ended and were waited for.
fn processor_time_of_children() -> anyhow::Result<Duration> {
    two_fields_of("/proc/self/stat", 16)
}

/// The sum of two fields of `/proc/.../stat`, which are in hundredths of a second.
fn two_fields_of(file: &str, first: usize) -> anyhow::Result<Duration> {
    let line = fs::read_to_string(file).context("only Linux tells what a process took")?;
    let (_, fields) = line.rsplit_once(") ").context("an unknown form of /proc/self/stat")?;
    let field = |number: usize| fields.split(' ').nth(number - 3).and_then(|text| text.parse::<u64>().ok());
    let hundredths = field(first).zip(field(first + 1)).map(|(user, system)| user + system);
    Ok(Duration::from_millis(10 * hundredths.context("an unknown form of /proc/self/stat")?))
}
