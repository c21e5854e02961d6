//! The log on standard error, as text or as JSON.
//!
//! Each line that an alert or a test may wait for has a field `event` with a stable name. In JSON all fields are top-level keys.
//! On a terminal the progress display uses the same stream; it is suspended while a line is written.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Starts logging for the whole process. A second call changes nothing.
///
/// `level` is `error`, `warn`, `info`, `debug` or `trace`, or tracing's filter directives such as
/// `info,auditflow::collect=debug`. `debug` and `trace` alone apply to auditflow and not to its libraries. `json`: one JSON
/// object per line.
///
/// # Errors
/// `level` is neither.
pub fn init(level: &str, json: bool) -> Result<(), String> {
    let directives = match level {
        "debug" | "trace" => format!("warn,auditflow={level}"),
        other => other.to_owned(),
    };
    let filter = EnvFilter::try_new(directives).map_err(|reason| {
        format!("`{level}` is not a log level ({reason}); write error, warn, info, debug or trace")
    })?;
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false).with_writer(ProgressAwareStderr);
    // Only the first subscriber of a process counts. Tests and embedding programs may have set their own.
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

/// Writes to standard error while the progress display is suspended.
#[derive(Clone, Copy, Debug)]
struct ProgressAwareStderr;

impl Write for ProgressAwareStderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A closed pipe (`2>&1 | head`) must not stop the pipeline.
        let _ = display().suspend(|| io::stderr().lock().write_all(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

impl MakeWriter<'_> for ProgressAwareStderr {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        *self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_level_is_named() {
        let error = init("auditflow=loud", false).expect_err("no such level");
        assert!(error.contains("auditflow=loud") && error.contains("debug"), "{error}");
    }
}
