//! What all commands share: exit codes, messages on standard error, the async runtime, and signals.

use std::io::Write;
use std::num::NonZeroUsize;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The command succeeded.
pub const EXIT_DONE: u8 = 0;
/// Something failed while the command ran; the message says what.
pub const EXIT_FAILED: u8 = 1;
/// The arguments or the pipeline file are wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// `run` ended, but a source or sink could not finish its work, or time is in doubt; the summary says which.
pub const EXIT_INCOMPLETE: u8 = 3;

/// Exit code of a process that a second signal ended: 128 + SIGINT.
const EXIT_SECOND_SIGNAL: i32 = 130;

/// Writes to standard error. Write errors are ignored: there is nowhere left to report them.
pub(super) fn print_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Writes to standard output. Returns whether it could be written: `false` if the reader has closed the pipe.
pub(super) fn print(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// The async runtime that a pipeline runs on. `threads` as in the settings; all cores if `None`.
pub(super) fn runtime(threads: Option<NonZeroUsize>) -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.get());
    }
    builder.enable_all().build().map_err(|reason| format!("cannot start threads: {reason}"))
}

/// Cancels `shutdown` on the first SIGINT or SIGTERM. A second signal ends the process at once; the journal makes that safe.
pub(super) async fn stop_on_signals(shutdown: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::warn!(
            event = "signals_unavailable",
            "cannot install signal handlers; a signal ends the process at once, and the next run recovers"
        );
        return;
    };
    let mut either = async || {
        tokio::select! {
            _ = interrupt.recv() => (),
            _ = terminate.recv() => (),
        }
    };
    either().await;
    shutdown.cancel();
    tracing::info!(
        event = "shutdown_requested",
        "shutting down after the current page and batch; send a second signal to exit now"
    );
    either().await;
    std::process::exit(EXIT_SECOND_SIGNAL);
}
