//! `auditflow top`: a live view of each source and sink in the terminal, the worst first.
//!
//! ```text
//! journal, read as `status` does --every second--> Top --draw--> terminal
//! keys ---------------------------------------------^
//! ```

mod rows;
mod view;

use std::io::{self, IsTerminal};
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event};
use tokio::time::Instant;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print_stderr};
use super::read_only::{self, Exit};
use crate::pipeline::{Overrides, PipelineFiles, ValidatedPipeline};
use crate::report::StatusReport;
use rows::{Next, Top};

/// How often the journal is read.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watch each source and sink in the terminal, the worst first
///
/// Reads only the journal, whether the pipeline runs or not; the secrets of the file need not be set. Keys: arrows and page
/// keys move through the sources, q quits.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    if !io::stdout().is_terminal() {
        print_stderr("error: `top` needs a terminal; use `auditflow status FILE --watch` elsewhere\n");
        return EXIT_USAGE;
    }
    show(arguments).unwrap_or_else(|Exit(code)| code)
}

fn show(arguments: &Arguments) -> Result<u8, Exit> {
    let pipeline = read_only::load(&arguments.files, &arguments.settings)?;
    let mut top = Top::new(report(&pipeline)?);
    let watched = ratatui::try_init().and_then(|mut terminal| watch(&mut terminal, &pipeline, &mut top));
    ratatui::restore();
    match watched {
        Ok(ended) => ended.map(|()| EXIT_DONE),
        Err(error) => {
            print_stderr(&format!("error: cannot use the terminal: {error}\n"));
            Err(Exit(EXIT_FAILED))
        }
    }
}

fn report(pipeline: &ValidatedPipeline) -> Result<StatusReport, Exit> {
    Ok(StatusReport::new(pipeline, &read_only::observe(pipeline, false)?))
}

/// Draws until the user quits, or the journal cannot be read.
fn watch(terminal: &mut DefaultTerminal, pipeline: &ValidatedPipeline, top: &mut Top) -> io::Result<Result<(), Exit>> {
    let mut next = Instant::now() + INTERVAL;
    loop {
        terminal.draw(|frame| view::draw(frame, top))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            if let Event::Key(key) = event::read()?
                && top.press(key) == Next::Quit
            {
                return Ok(Ok(()));
            }
            continue;
        }
        next = Instant::now() + INTERVAL;
        match report(pipeline) {
            Ok(report) => top.update(report),
            Err(exit) => return Ok(Err(exit)),
        }
    }
}
