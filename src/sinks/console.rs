//! The console sink: events on standard output, for looking. Plain: a batch that is begun again after a fault or a crash
//! is printed again.

use std::fmt;
use std::io::{self, Write};

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::blocking::blocking;
use super::encoding::{EncodingOptions, push_line};
use super::foreign::undo_foreign;
use super::{BatchRange, EventForm, PlanLog, Sink, SinkError, Written};
use crate::event::Event;
use crate::journal::RollbackRecord;

/// The settings of a `console` sink.
#[derive(Clone, Copy, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// `stdout` (default) or `stderr`.
    pub target: Target,
    /// How an event is written.
    pub encoding: EncodingOptions,
}

/// Where the console sink prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

impl ConsoleConfig {
    /// Builds the sink.
    #[must_use]
    pub fn build(&self) -> ConsoleSink {
        match self.target {
            Target::Stdout => ConsoleSink::new(Box::new(io::stdout()), "standard output", self.encoding),
            Target::Stderr => ConsoleSink::new(Box::new(io::stderr()), "standard error", self.encoding),
        }
    }
}

/// Prints events.
pub struct ConsoleSink {
    out: Box<dyn Write + Send>,
    name: &'static str,
    encoding: EncodingOptions,
    lines: Vec<u8>,
    written: Written,
}

impl fmt::Debug for ConsoleSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleSink").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ConsoleSink {
    fn new(out: Box<dyn Write + Send>, name: &'static str, encoding: EncodingOptions) -> Self {
        Self { out, name, encoding, lines: Vec::new(), written: Written::default() }
    }

    fn print(&mut self) -> Result<(), SinkError> {
        let lines = std::mem::take(&mut self.lines);
        let printed = blocking(|| self.out.write_all(&lines).and_then(|()| self.out.flush()));
        printed.map_err(|error| SinkError::Transient {
            message: format!("cannot print to {}: {error}", self.name),
            hint: "nobody may be reading it any more: restart auditflow with a reader, or use a file sink".to_owned(),
        })?;
        self.written.bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl Sink for ConsoleSink {
    fn fingerprint(&self) -> String {
        format!("console {} raw={:?}", self.name, self.encoding.raw)
    }

    fn begin(&mut self, _range: BatchRange) {
        self.lines.clear();
        self.written = Written::default();
    }

    fn absorb(&mut self, event: &Event<'_>, form: EventForm) -> Result<(), SinkError> {
        push_line(event, form, self.encoding, &mut self.lines);
        self.written.events += 1;
        Ok(())
    }

    fn buffered_bytes(&self) -> usize {
        self.lines.len()
    }

    fn flush<'a>(&'a mut self, _plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { self.print() })
    }

    fn commit<'a>(&'a mut self, _plan: &'a mut dyn PlanLog) -> BoxFuture<'a, Result<Written, SinkError>> {
        Box::pin(async { self.print().map(|()| self.written) })
    }

    /// What is printed is printed. Outputs exist only if this sink was a file sink when the batch was begun.
    fn undo<'a>(&'a mut self, outputs: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.lines.clear();
            undo_foreign(outputs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::sinks::testing::{MemoryPlan, event};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn prints_a_line_an_event() {
        let screen = Screen::default();
        let mut sink = ConsoleSink::new(Box::new(screen.clone()), "screen", EncodingOptions::default());
        sink.begin(BatchRange { first: 1, last: 2 });
        for raw in ["{\"a\":1}", "{\"b\":\n2}"] {
            sink.absorb(&event(raw, "2026-01-02T03:04:05Z"), EventForm::Raw).expect("absorbed");
        }
        let written = sink.commit(&mut MemoryPlan::default()).await.expect("printed");
        let printed = String::from_utf8(screen.0.lock().expect("not poisoned").clone()).expect("text");
        assert_eq!(printed, "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(written, Written { events: 2, bytes: 16 });
    }

    #[tokio::test]
    async fn a_closed_output_says_what_to_do() {
        let mut sink = ConsoleSink::new(Box::new(Closed), "standard output", EncodingOptions::default());
        sink.begin(BatchRange { first: 1, last: 1 });
        sink.absorb(&event("{}", "2026-01-02T03:04:05Z"), EventForm::Normalized).expect("absorbed");
        let error = sink.commit(&mut MemoryPlan::default()).await.expect_err("nobody reads");
        let SinkError::Transient { message, hint } = error else { panic!("{error}") };
        assert!(message.contains("standard output") && hint.contains("reader"), "{message} {hint}");
    }
}
