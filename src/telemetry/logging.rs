//! The log on standard error, as text or as JSON.
//!
//! Each line that an alert or a test may wait for has a field `event` with a stable name. In JSON all fields are top-level keys.
//! On a terminal the progress display uses the same stream; it is suspended while a line is written.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde_json::Value;
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::format::{self, Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::format::printable;

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
    let plain = format::debug_fn(|writer, field, value| match field.name() {
        "message" => write!(writer, "{}", one_line(&format!("{value:?}"))),
        name => write!(writer, "{name}={}", one_line(&format!("{value:?}"))),
    });
    // Only the first subscriber of a process counts. Tests and embedding programs may have set their own.
    let _ = if json {
        lines.json().event_format(JsonLines(format::format().json().flatten_event(true))).try_init()
    } else {
        lines.with_ansi(io::stderr().is_terminal()).with_target(false).fmt_fields(plain.delimited(" ")).try_init()
    };
    Ok(())
}

/// A field of a text line. It may quote a vendor: it neither steers the terminal nor begins a line of its own.
fn one_line(value: &str) -> String {
    printable(value).replace('\n', " ")
}

/// Lines in JSON. The fields [`NESTED`] hold JSON themselves, which becomes part of the line's.
struct JsonLines(Format<format::Json>);

/// tracing has no fields with fields.
const NESTED: [&str; 2] = ["sources", "sinks"];

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let has_nested = NESTED.iter().any(|name| event.metadata().fields().field(name).is_some());
        if !has_nested {
            return self.0.format_event(ctx, writer, event);
        }
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        writeln!(writer, "{}", nested(line.trim_end()))
    }
}

fn nested(line: &str) -> String {
    let Ok(mut object) = serde_json::from_str::<serde_json::Map<String, Value>>(line) else { return line.to_owned() };
    for name in NESTED {
        let inner = object.get(name).and_then(Value::as_str).and_then(|text| serde_json::from_str(text).ok());
        if let Some(inner) = inner {
            object.insert(name.to_owned(), inner);
        }
    }
    Value::Object(object).to_string()
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
    fn fields_of_json_become_part_of_the_line() {
        let line = r#"{"event":"progress","sinks":"[{\"name\":\"out\",\"behind\":7}]","sources":5}"#;
        assert_eq!(nested(line), r#"{"event":"progress","sinks":[{"behind":7,"name":"out"}],"sources":5}"#);
        assert_eq!(nested("{"), "{");
    }

    #[test]
    fn a_field_stays_on_its_line() {
        assert_eq!(one_line("refused\n\u{1b}[2J ERROR forged\u{202e}"), "refused [2J ERROR forged");
    }

    #[test]
    fn an_invalid_level_is_named() {
        let error = init("auditflow=loud", false).expect_err("no such level");
        assert!(error.contains("auditflow=loud") && error.contains("debug"), "{error}");
    }
}
