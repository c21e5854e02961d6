//! `auditflow tap`: samples of the events that pass a component, from the journal. Reads as `status` does: no lock, no position
//! moves, whether the pipeline runs or not.
//!
//! ```text
//! journal --blocks since the last look--> normalize --> the routes of the component --> --where --> the latest --limit lines
//! ```

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print_data, print_stderr};
use super::read_only::{self, BlockOpener, Exit};
use crate::deliver::Route;
use crate::event::Event;
use crate::event::native::{self, RawForm};
use crate::journal::sqlite::SqliteJournal;
use crate::journal::{BlockVisitor, RecordBlock, Seq, SourceInfo};
use crate::pipeline::{Overrides, PipelineFiles, ValidatedPipeline};
use crate::sinks::EventForm;
use crate::time::Timestamp;
use crate::transform::condition::Condition;
use crate::transform::redact::Redactions;
use crate::vendors::ReadContext;

/// How often the journal is read again with `--follow`.
const INTERVAL: Duration = Duration::from_secs(1);

/// Show events that pass a source, transform or sink of a pipeline
///
/// Reads the journal, whether the pipeline runs or not, and changes nothing: the latest events that it holds, oldest first, as
/// NDJSON. Behind a `redact` transform they are redacted; a source, and no component, shows them as they are. The secrets of the
/// file need not be set: hashes then differ from those that the pipeline delivers. Exit code 0 on success, 1 if the journal cannot be read, 2 if the arguments
/// or the file are wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// The component, or an output of a route; without it, the events of all sources, normalized
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    /// Only events that match this condition, as in a filter (docs/filter.md)
    #[arg(long = "where", value_name = "CONDITION")]
    condition: Option<String>,
    /// So many events at most; with --follow, so many a second
    #[arg(long, default_value_t = 10, value_name = "NUMBER")]
    limit: usize,
    /// Show events that come from now on too, until Ctrl-C
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    show(arguments).unwrap_or_else(|Exit(code)| code)
}

fn show(arguments: &Arguments) -> Result<u8, Exit> {
    let pipeline = read_only::load(&arguments.files, &arguments.settings)?;
    let mut tap = Tap {
        routes: routes(&pipeline, arguments.component.as_deref())?,
        condition: arguments.condition.as_deref().map(compile).transpose()?,
        limit: arguments.limit,
        ..Tap::default()
    };
    if !arguments.follow {
        print_data(&tap.look(&pipeline)?);
        return Ok(EXIT_DONE);
    }
    Ok(read_only::append(INTERVAL, || tap.look(&pipeline)))
}

/// What passes a component, by source.
fn routes(pipeline: &ValidatedPipeline, component: Option<&str>) -> Result<HashMap<String, Route>, Exit> {
    let routes = match component {
        None => pipeline
            .sources
            .iter()
            .map(|source| Route {
                source: source.name.clone(),
                form: EventForm::Normalized,
                condition: None,
                redactions: Redactions::default(),
            })
            .collect(),
        Some(name) => match pipeline.components.iter().find(|component| component.name == name) {
            Some(component) => component.routes.clone(),
            None => {
                let names: Vec<&str> = pipeline.components.iter().map(|component| component.name.as_str()).collect();
                let names = names.join(", ");
                return Err(failed(EXIT_USAGE, &format!("the pipeline has no component `{name}`; it has {names}")));
            }
        },
    };
    let for_preview = |route: Route| Route { redactions: route.redactions.for_preview(), ..route };
    Ok(routes.into_iter().map(for_preview).map(|route| (route.source.clone(), route)).collect())
}

fn compile(condition: &str) -> Result<Condition, Exit> {
    Condition::compile(condition).map_err(|mistakes| {
        let mistakes: Vec<&str> = mistakes.iter().map(|mistake| mistake.message.as_str()).collect();
        failed(EXIT_USAGE, &format!("--where: {}; docs/filter.md has the language", mistakes.join("; ")))
    })
}

fn failed(code: u8, message: &str) -> Exit {
    print_stderr(&format!("error: {message}\n"));
    Exit(code)
}

/// Takes the events that pass.
#[derive(Default)]
struct Tap {
    routes: HashMap<String, Route>,
    condition: Option<Condition>,
    limit: usize,
    blocks: BlockOpener,
    /// The first event of the next look, of each journal.
    read_to: Vec<Seq>,
    /// The first event of this look, and of the next one, of the journal that is read.
    first: Seq,
    next: Seq,
    latest: VecDeque<Line>,
    /// With several journals: what one look was too short for.
    waiting: Vec<Line>,
}

/// An event that passes.
struct Line {
    /// When it was read, or the latest such time before it in its journal: journals are merged by it.
    at: Timestamp,
    text: String,
}

impl Tap {
    /// The events since the last look, as lines.
    fn look(&mut self, pipeline: &ValidatedPipeline) -> Result<String, Exit> {
        let directories = pipeline.data_dirs();
        let is_first = self.read_to.is_empty();
        self.read_to.resize(directories.len(), 0);
        let (mut has_run, mut lines) = (false, std::mem::take(&mut self.waiting));
        for (index, directory) in directories.iter().enumerate() {
            (self.first, self.next) = (self.read_to[index], self.read_to[index]);
            let visited = SqliteJournal::visit(directory, self);
            match (visited, self.blocks.damaged.take()) {
                (Ok(visited), None) => has_run |= visited,
                (Err(error), _) | (Ok(_), Some(error)) => return Err(failed(EXIT_FAILED, &error.to_string())),
            }
            self.read_to[index] = self.next;
            lines.extend(self.latest.drain(..));
        }
        if !has_run {
            return Err(failed(EXIT_FAILED, "this pipeline has not run yet: there are no events"));
        }
        // The first look shows the latest events. Those that follow wait for the next look, as many as one look may find.
        let most = if is_first { self.limit } else { self.limit.saturating_mul(directories.len()) };
        let mut lines = latest(lines, most);
        self.waiting = lines.split_off(lines.len().min(self.limit));
        Ok(lines.into_iter().map(|line| line.text).collect())
    }

    fn keep(&mut self, observed_at: Timestamp, text: String) {
        let at = self.latest.back().map_or(observed_at, |last| last.at.max(observed_at));
        let line = Line { at, text };
        if self.latest.len() >= self.limit {
            self.latest.pop_front();
        }
        if self.limit > 0 {
            self.latest.push_back(line);
        }
    }

    /// Whether an event passes, before it is redacted.
    fn passes(&self, route: &Route, event: &Event<'_>) -> bool {
        let conditions = [&route.condition, &self.condition];
        conditions.into_iter().flatten().all(|condition| condition.holds(event))
    }
}

fn line(form: EventForm, event: &Event<'_>) -> String {
    let mut line = Vec::new();
    match form {
        EventForm::Raw => native::push_record(event, &mut line),
        EventForm::Normalized => native::encode(event, RawForm::Keep, &mut line),
    }
    line.push(b'\n');
    String::from_utf8_lossy(&line).into_owned()
}

/// The latest of several journals together, oldest first.
fn latest(mut lines: Vec<Line>, limit: usize) -> Vec<Line> {
    lines.sort_by_key(|line| line.at);
    let surplus = lines.len().saturating_sub(limit);
    lines.split_off(surplus)
}

impl BlockVisitor for Tap {
    fn first(&self) -> Seq {
        self.first
    }

    fn restart(&mut self) {
        self.latest.clear();
        (self.next, self.blocks.damaged) = (self.first, None);
    }

    fn block(&mut self, source: &SourceInfo, block: &RecordBlock) {
        self.next = block.last() + 1;
        let Some(route) = self.routes.get(&source.name).cloned() else { return };
        let Some((normalizer, decoded)) = self.blocks.open(source, block) else { return };
        let redactor = route.redactions.redactor(&*normalizer);
        for record in decoded.records() {
            let context =
                ReadContext { source: &source.name, observed_at: block.observed_at, occurrence: record.occurrence };
            let mut redacted_raw = String::new();
            let mut event = normalizer.normalize(record.raw, &context);
            event.version = event.version.or((record.version > 0).then_some(record.version));
            if self.passes(&route, &event) {
                redactor.apply(&mut event, &mut redacted_raw);
                self.keep(block.observed_at, line(route.form, &event));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_events_are_those_of_all_journals_together() {
        let mut lines = Vec::new();
        for (journal, times) in [("a", [1, 9, 8]), ("b", [2, 3, 10])] {
            let mut tap = Tap { limit: 3, ..Tap::default() };
            times.iter().for_each(|at| tap.keep(Timestamp::from_secs(*at), format!("{journal}{at} ")));
            lines.extend(tap.latest);
        }
        let texts: String = latest(lines, 4).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, "b3 a9 a8 b10 ");
    }
}
