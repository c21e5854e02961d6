//! What the commands that only look share: reading the file without its secrets, watching, printing.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use super::validate;
use crate::clock::{Clock, SystemClock};
use crate::pipeline::{self, Environment, Overrides, ValidatedPipeline};
use crate::report::{self, Observation};

/// Why a command that only looks ends early, as an exit code; the reason has been told.
pub(super) struct Ended(pub(super) u8);

/// Reads a pipeline file. Variables for sources and sinks need not be set: whoever looks has no use for the secrets.
pub(super) fn load(file: &Path, overrides: &Overrides) -> Result<ValidatedPipeline, Ended> {
    let environment = Environment::of_process();
    let looked = pipeline::load(file, &environment.clone().with_placeholders(), overrides);
    // With a made-up value a message can say what nobody wrote: then what is not set is the thing to say.
    looked.or_else(|_| pipeline::load(file, &environment, overrides)).map_err(|problems| {
        validate::report(&problems);
        Ended(super::EXIT_USAGE)
    })
}

/// Looks at the pipeline's journal as it is now.
pub(super) fn observe(pipeline: &ValidatedPipeline) -> Result<Observation, Ended> {
    report::observe(pipeline, SystemClock.now()).map_err(|error| {
        super::say(&format!("error: {error}\n"));
        Ended(super::EXIT_FAILED)
    })
}

/// A report as JSON: over several lines, or in one.
pub(super) fn json(report: &impl Serialize, one_line: bool) -> String {
    let text = if one_line { serde_json::to_string(report) } else { serde_json::to_string_pretty(report) };
    text.expect("a report is texts and numbers") + "\n"
}

/// Prints to standard output. Whether somebody still reads it.
pub(super) fn print(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// The exit code for a pipeline that is well, or not.
pub(super) fn verdict(healthy: bool) -> u8 {
    if healthy { super::EXIT_DONE } else { super::EXIT_FAILED }
}

/// Prints what `look` tells again and again: in place on a terminal, every second; elsewhere one below the other, with
/// `interval` between. Ends on Ctrl-C, when nobody reads any more, or when `look` cannot go on.
pub(super) fn watch(interval: Duration, mut look: impl FnMut(bool) -> Result<String, Ended>) -> u8 {
    let in_place = io::stdout().is_terminal();
    let interval = if in_place { Duration::from_secs(1) } else { interval };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        super::say("error: cannot start a timer\n");
        return super::EXIT_FAILED;
    };
    runtime.block_on(async {
        let mut ticks = tokio::time::interval(interval);
        let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
        loop {
            tokio::select! {
                _ = &mut interrupted => return super::EXIT_DONE,
                _ = ticks.tick() => {}
            }
            let text = match look(in_place) {
                Ok(text) => text,
                Err(Ended(code)) => return code,
            };
            if !print(&if in_place { redrawn(&text) } else { text }) {
                return super::EXIT_DONE;
            }
        }
    })
}

/// The text from the top left corner of the terminal on, with what stood there before taken away line by line, so that it
/// does not flicker.
fn redrawn(text: &str) -> String {
    format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
}
