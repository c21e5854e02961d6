//! Logs: one line an event on standard error, for people or as JSON.
//!
//! On a terminal the progress display is drawn on the same stream, so that lines step aside for it.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging for the whole process. A second call changes nothing.
///
/// `level` is `error`, `warn`, `info`, `debug` or `trace`, or tracing's filter directives such as
/// `info,auditflow::collect=debug`. The plain `debug` and `trace` are about auditflow, not about the libraries below it. `json`: one JSON object a line, for machines.
///
/// # Errors
/// When `level` is neither.
pub fn init(level: &str, json: bool) -> Result<(), String> {
    let directives = match level {
        "debug" | "trace" => format!("warn,auditflow={level}"),
        other => other.to_owned(),
    };
    let filter = EnvFilter::try_new(directives).map_err(|reason| {
        format!("`{level}` is not a log level ({reason}); write error, warn, info, debug or trace")
    })?;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(BesideProgress);
    // Only the first subscriber of a process counts: tests and embedders may have set theirs.
    let _ = if json {
        lines.json().flatten_event(true).try_init()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).with_target(false).try_init()
    };
    Ok(())
}

/// The progress display of this process: drawn on a terminal, hidden elsewhere.
pub(crate) fn display() -> &'static MultiProgress {
    static DISPLAY: OnceLock<MultiProgress> = OnceLock::new();
    DISPLAY.get_or_init(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(8)))
}

/// Writes to standard error while the progress display steps aside.
#[derive(Clone, Copy, Debug)]
struct BesideProgress;

impl Write for BesideProgress {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Nobody may be reading any more (`2>&1 | head`): that is no reason to stop collecting.
        let _ = display().suspend(|| io::stderr().lock().write_all(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

impl MakeWriter<'_> for BesideProgress {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_level_is_named() {
        let problem = init("auditflow=loud", false).expect_err("no such level");
        assert!(problem.contains("auditflow=loud") && problem.contains("debug"), "{problem}");
    }
}
