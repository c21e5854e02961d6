//! Runs blocking work (compression, `fsync`) without blocking other tasks.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` on this thread. On a multi-threaded runtime the thread's other tasks move to another thread first; on a
/// single-threaded runtime (tests) they wait.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
