//! Work that keeps a thread busy (compressing, `fsync`), done without holding up other tasks.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` here. On a runtime with several threads the thread's other tasks move to another one first; on a
/// single-threaded runtime (tests) they wait.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
