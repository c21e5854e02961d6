//! What the read-only commands (`status`, `coverage`, `plan`) share: loading the file without its secrets, reading the
//! journal, printing a report once or repeatedly.

use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print, print_data, print_stderr};
use super::validate;
use crate::clock::{Clock, SystemClock};
use crate::journal::{DecodedBlock, JournalError, RecordBlock, SourceInfo};
use crate::pipeline::{self, Environment, Overrides, PipelineFiles, ValidatedPipeline};
use crate::report::{self, Observation};
use crate::vendors::{Normalizer, registry};

/// A command ends early with this exit code; its message has been printed.
pub(super) struct Exit(pub(super) u8);

/// Loads a pipeline. Variables of sources and sinks need not be set: placeholders stand in for the secrets.
pub(super) fn load(files: &PipelineFiles, overrides: &Overrides) -> Result<ValidatedPipeline, Exit> {
    let environment = Environment::of_process();
    let with_placeholders = pipeline::load(files, &environment.clone().with_placeholders(), overrides);
    // Errors may quote a placeholder that the user never wrote. Report the errors of the real environment instead.
    with_placeholders.or_else(|_| pipeline::load(files, &environment, overrides)).map_err(|diagnostics| {
        validate::print_diagnostics(&diagnostics);
        Exit(EXIT_USAGE)
    })
}

/// Reads the pipeline's journal as it is now, if wanted with the evidence for all time.
pub(super) fn observe(pipeline: &ValidatedPipeline, with_evidence: bool) -> Result<Observation, Exit> {
    report::observe(pipeline, SystemClock.now(), with_evidence).map_err(|error| {
        print_stderr(&format!("error: {error}\n"));
        Exit(EXIT_FAILED)
    })
}

/// Opens the blocks of a journal that is visited: the normalizer of each one's source, and its records.
#[derive(Default)]
pub(super) struct BlockOpener {
    normalizers: HashMap<String, Option<Arc<dyn Normalizer>>>,
    /// Why a block could not be read.
    pub(super) damaged: Option<JournalError>,
}

impl BlockOpener {
    /// `None` for a vendor that this program does not know, and for a damaged block.
    pub(super) fn open(
        &mut self,
        source: &SourceInfo,
        block: &RecordBlock,
    ) -> Option<(Arc<dyn Normalizer>, DecodedBlock)> {
        let normalizer = self.normalizers.entry(source.name.clone());
        let normalizer =
            normalizer.or_insert_with(|| registry::normalizer(&source.vendor, &source.normalizer_config)).clone()?;
        match block.decode() {
            Ok(decoded) => Some((normalizer, decoded)),
            Err(error) => {
                self.damaged = Some(error);
                None
            }
        }
    }
}

/// Prints a report: pretty-printed JSON, or its text for people.
pub(super) fn show(json: bool, report: &impl Serialize, text: impl FnOnce() -> String) {
    if json {
        let json = serde_json::to_string_pretty(report).expect("reports hold strings and numbers only");
        print_data(&(json + "\n"));
    } else {
        print(&text());
    }
}

/// A report as JSON on one line.
pub(super) fn json_line(report: &impl Serialize) -> String {
    serde_json::to_string(report).expect("reports hold strings and numbers only") + "\n"
}

/// The exit code of a report.
pub(super) fn exit_code(healthy: bool) -> u8 {
    if healthy { EXIT_DONE } else { EXIT_FAILED }
}

/// Prints what `render` returns repeatedly: in place every second on a terminal, else appended every `interval`. `render` is
/// given whether the output is in place. Ends on Ctrl-C, when the reader closes the pipe, or when `render` fails.
pub(super) fn watch(interval: Duration, mut render: impl FnMut(bool) -> Result<String, Exit>) -> u8 {
    let in_place = io::stdout().is_terminal();
    let interval = if in_place { Duration::from_secs(1) } else { interval };
    append(interval, || render(in_place).map(|text| if in_place { redraw(&text) } else { text }))
}

/// Prints what `render` returns every `interval`. Ends on Ctrl-C, when the reader closes the pipe, or when `render` fails.
pub(super) fn append(interval: Duration, mut render: impl FnMut() -> Result<String, Exit>) -> u8 {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        print_stderr("error: cannot start a timer\n");
        return EXIT_FAILED;
    };
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(interval);
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                _ = &mut interrupted => return EXIT_DONE,
                _ = ticks.tick() => {}
            }
            let text = match render() {
                Ok(text) => text,
                Err(Exit(code)) => return code,
            };
            if is_unread() || (!text.is_empty() && !print_data(&text)) {
                return EXIT_DONE;
            }
        }
    })
}

/// Whether the reader of standard output has closed the pipe.
fn is_unread() -> bool {
    let stdout = io::stdout();
    let mut polled = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&at_once)).is_ok_and(|ready| ready > 0) && polled[0].revents().contains(PollFlags::ERR)
}

/// Draws the text from the top left corner of the terminal and clears the rest line by line, so that it does not flicker.
fn redraw(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}
