//! The `console` sink: prints events, for inspection. A batch that is repeated after an error or a crash is printed again.

use std::fmt;
use std::io::{self, Write};

use futures_util::future::BoxFuture;
use serde::Deserialize;

use super::blocking::blocking;
use super::encoding::{EncodingOptions, push_line};
use super::orphans::roll_back_orphans;
use super::{BatchRange, Committed, EventForm, RollbackLog, Sink, SinkError, StoredPosition, WriteOutcome};
use crate::event::{Event, EventId};
use crate::journal::{RollbackRecord, Seq};

/// Buffered bytes at which lines are printed.
const FLUSH_BYTES: usize = 8 << 20;

/// The settings of a `console` sink.
#[derive(Clone, Copy, Debug, Default, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ConsoleConfig {
    /// `stdout` (default) or `stderr`.
    pub target: Target,
    /// How an event is encoded.
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
    committed: Committed,
    fingerprint: String,
}

impl fmt::Debug for ConsoleSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsoleSink").field("name", &self.name).finish_non_exhaustive()
    }
}

impl ConsoleSink {
    fn new(out: Box<dyn Write + Send>, name: &'static str, encoding: EncodingOptions) -> Self {
        let fingerprint = format!("console {name} {encoding:?}");
        Self { out, name, encoding, lines: Vec::new(), committed: Committed::default(), fingerprint }
    }

    fn print(&mut self) -> Result<(), SinkError> {
        let lines = std::mem::take(&mut self.lines);
        let printed = blocking(|| self.out.write_all(&lines).and_then(|()| self.out.flush()));
        printed.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => SinkError::ReaderClosed,
            _ => SinkError::Transient {
                message: format!("cannot write to {}: {error}", self.name),
                hint: "restart auditflow with another output, or use a file sink".to_owned(),
            },
        })?;
        self.committed.bytes += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

impl Sink for ConsoleSink {
    fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Standard output is always open.
    fn healthcheck<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Nothing printed can be read back, so neither generation nor state matters.
    fn recover_position<'a>(
        &'a mut self,
        _stored: StoredPosition<'a>,
    ) -> BoxFuture<'a, Result<Option<Seq>, SinkError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// What is printed belongs to nobody.
    fn adopt<'a>(&'a mut self, _stored: StoredPosition<'a>) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn begin(&mut self, _range: BatchRange) {
        self.lines.clear();
        self.committed = Committed::default();
    }

    fn write(&mut self, _seq: Seq, event: &Event<'_>, form: EventForm) -> Result<WriteOutcome, SinkError> {
        push_line(event, form, self.encoding, &mut self.lines);
        self.committed.events += 1;
        Ok(if self.lines.len() > FLUSH_BYTES { WriteOutcome::FlushDue } else { WriteOutcome::Buffered })
    }

    fn flush<'a>(&'a mut self, _log: &'a mut dyn RollbackLog) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async { self.print() })
    }

    fn commit<'a>(
        &'a mut self,
        _last_event: Option<EventId>,
        _log: &'a mut dyn RollbackLog,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async { self.print().map(|()| self.committed.clone()) })
    }

    fn prepare_retry<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        self.rollback(records)
    }

    /// Printed lines stay. There are records only if this sink had another type when the batch began.
    fn rollback<'a>(&'a mut self, records: &'a [RollbackRecord]) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.lines.clear();
            roll_back_orphans(records)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::event::native::RawForm;
    use crate::sinks::conformance::{self, Fixture};
    use crate::sinks::testing::{MemoryLog, event};

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

    impl Screen {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
        }
    }

    /// A terminal cannot be rolled back.
    impl Fixture for Screen {
        const ROLLS_BACK: bool = false;

        fn new() -> Self {
            Self::default()
        }

        fn sink(&self) -> Box<dyn Sink> {
            Box::new(ConsoleSink::new(Box::new(self.clone()), "screen", EncodingOptions::default()))
        }

        fn reconfigured(&self) -> Box<dyn Sink> {
            let encoding = EncodingOptions { raw: RawForm::Drop, ..EncodingOptions::default() };
            Box::new(ConsoleSink::new(Box::new(self.clone()), "screen", encoding))
        }

        fn contents(&self) -> BTreeMap<String, Vec<u8>> {
            BTreeMap::from([("screen".to_owned(), self.text().into_bytes())])
        }

        fn lines(&self) -> Vec<String> {
            self.text().lines().map(str::to_owned).collect()
        }
    }

    #[tokio::test]
    async fn conforms() {
        conformance::passes::<Screen>().await;
    }

    #[tokio::test]
    async fn prints_one_line_per_event() {
        let screen = Screen::default();
        let mut sink = ConsoleSink::new(Box::new(screen.clone()), "screen", EncodingOptions::default());
        sink.begin(BatchRange { first: 1, last: 2 });
        for (seq, raw) in [(1, "{\"a\":1}"), (2, "{\"b\":\n2}")] {
            let outcome = sink.write(seq, &event(raw, "2026-01-02T03:04:05Z"), EventForm::Raw).expect("encoded");
            assert_eq!(outcome, WriteOutcome::Buffered);
        }
        let committed = sink.commit(None, &mut MemoryLog::default()).await.expect("printed");
        assert_eq!(screen.text(), "{\"a\":1}\n{\"b\":2}\n");
        assert_eq!(committed, Committed { events: 2, bytes: 16, state: None });
    }

    #[tokio::test]
    async fn a_closed_output_is_not_an_error_of_the_target() {
        let mut sink = ConsoleSink::new(Box::new(Closed), "standard output", EncodingOptions::default());
        sink.begin(BatchRange { first: 1, last: 1 });
        let written = sink.write(1, &event("{}", "2026-01-02T03:04:05Z"), EventForm::Normalized).expect("encoded");
        assert_eq!(written, WriteOutcome::Buffered);
        let error = sink.commit(None, &mut MemoryLog::default()).await.expect_err("nobody reads");
        assert!(matches!(error, SinkError::ReaderClosed), "{error}");
    }
}
