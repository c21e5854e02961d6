//! What all commands share: exit codes, output, the async runtime, and signals.

use std::io::Write;
use std::num::NonZeroUsize;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::collect::PointInTime;
use crate::format::printable;
use crate::runtime::LiveConfig;
use crate::time::Timestamp;

/// The command succeeded.
pub const EXIT_DONE: u8 = 0;
/// Something failed while the command ran; the message says what.
pub const EXIT_FAILED: u8 = 1;
/// The arguments or the pipeline file are wrong; nothing was started.
pub const EXIT_USAGE: u8 = 2;
/// `run` ended, but a source or sink could not finish its work, or time is in doubt; the summary says which.
pub const EXIT_INCOMPLETE: u8 = 3;
/// Ctrl-C ended the process before it had started its work, or a second signal ended it at once: 128 + SIGINT.
pub(super) const EXIT_INTERRUPTED: u8 = 130;

/// Writes text for people to standard error. Write errors are ignored: there is nowhere left to report them.
pub(super) fn print_stderr(text: &str) {
    let _ = std::io::stderr().lock().write_all(printable(text).as_bytes());
}

/// Writes text for people to standard output. Returns whether it could be written: `false` if the reader has closed the pipe.
pub(super) fn print(text: &str) -> bool {
    print_data(&printable(text))
}

/// Writes to standard output as it is: JSON, a schema, what a command was asked to convert.
pub(super) fn print_data(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Parses a time option.
pub(super) fn point_in_time(text: &str) -> Result<Timestamp, String> {
    let hint = || "write a time such as 2026-01-31T00:00:00Z, or a date".to_owned();
    PointInTime::parse(text).map(|point| point.0).ok_or_else(hint)
}

/// The async runtime that a pipeline runs on. `threads` as in the settings; all cores if `None`.
pub(super) fn runtime(threads: Option<NonZeroUsize>) -> Result<tokio::runtime::Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = threads {
        builder.worker_threads(threads.get());
    }
    builder.enable_all().build().map_err(|reason| format!("cannot start threads: {reason}"))
}

/// The signals that stop a process.
#[derive(Debug)]
pub(super) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// From now on SIGINT and SIGTERM are received here, and SIGHUP and SIGUSR1 are logged and ignored: a closed terminal or
    /// a tool that asks for a reload must not kill a pipeline. Called within an async runtime.
    pub(super) fn install() -> Result<Self, String> {
        tokio::spawn(log_ignored("SIGHUP", installed(SignalKind::hangup())?));
        Self::of_stop()
    }

    /// The same, but SIGHUP asks for a reload.
    pub(super) fn install_with_reload(config: LiveConfig) -> Result<Self, String> {
        let mut hangup = installed(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                config.request_reload();
            }
        });
        Self::of_stop()
    }

    fn of_stop() -> Result<Self, String> {
        tokio::spawn(log_ignored("SIGUSR1", installed(SignalKind::user_defined1())?));
        Ok(Self { interrupt: installed(SignalKind::interrupt())?, terminate: installed(SignalKind::terminate())? })
    }

    /// Waits for the next signal. Returns the exit code of a process that it ends before the work has started.
    pub(super) async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => EXIT_INTERRUPTED,
            _ = self.terminate.recv() => EXIT_DONE,
        }
    }

    /// Cancels `shutdown` on the first signal. A second one ends the process at once; the journal makes that safe.
    pub(super) async fn stop(mut self, shutdown: CancellationToken) {
        self.next().await;
        shutdown.cancel();
        tracing::info!(
            event = "shutdown_requested",
            "shutting down after the current page and batch; send a second signal to exit now"
        );
        self.next().await;
        std::process::exit(EXIT_INTERRUPTED.into());
    }
}

fn installed(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|reason| format!("cannot install signal handlers: {reason}"))
}

async fn log_ignored(name: &'static str, mut signals: Signal) {
    while signals.recv().await.is_some() {
        tracing::info!(event = "signal_ignored", signal = name, "signal ignored");
    }
}
