//! What the benches share: records to work on, and processor time.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::time::Duration;

use anyhow::anyhow;
use auditflow::simulator::{Simulator, SimulatorOptions, VendorName};
use tokio::time::Instant;

/// Records of a vendor as its API sends them.
pub(crate) async fn records(vendor: VendorName, count: u64) -> anyhow::Result<Vec<String>> {
    let options = SimulatorOptions { events_per_vendor: count, vendors: vec![vendor], ..SimulatorOptions::default() };
    let simulator = Simulator::start(options).await?;
    let truth = simulator.control().truth(vendor).map_err(|reason| anyhow!("{reason:?}"))?;
    simulator.shutdown().await;
    Ok(truth.into_iter().map(|record| record.raw).collect())
}

/// The least time that `work` took in several rounds: what disturbs it can only add to it.
pub(crate) fn best_of(rounds: usize, mut work: impl FnMut()) -> Duration {
    let times = (0..rounds).map(|_| {
        let begin = thread_time();
        work();
        thread_time().saturating_sub(begin)
    });
    times.min().unwrap_or_default()
}

/// Time that this thread has spent on a processor; elsewhere than on Linux, time that has passed.
fn thread_time() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(Instant::now);
    let on_linux = || {
        let line = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
        line.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
    };
    on_linux().unwrap_or_else(|| start.elapsed())
}

/// So many a second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

/// Millions of bytes a second.
pub(crate) fn megabytes(bytes: usize, time: Duration) -> f64 {
    rate(bytes, time) / 1e6
}

/// A directory that is removed when dropped: below the system's for temporary files, or where `AUDITFLOW_BENCH_DIR` says.
pub(crate) fn directory() -> std::io::Result<tempfile::TempDir> {
    match std::env::var_os("AUDITFLOW_BENCH_DIR") {
        Some(directory) => tempfile::tempdir_in(directory),
        None => tempfile::tempdir(),
    }
}
