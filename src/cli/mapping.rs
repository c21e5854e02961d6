//! `auditflow mapping`: how much of the vendors' records is understood, and what another version would make of them.
//!
//! ```text
//! raw records or pages (--vendor) --+
//! delivered events -----------------+--> normalize --> MappingCounter --> report, exit code
//! journal (--pipeline) -------------+         +------> MappingDiff (`diff`: delivered events only)
//! ```

mod delivered;

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use delivered::{Delivered, Renormalizer};

use super::normalize::{key_and_value, normalizer, open};
use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print_stderr};
use super::raw_input::{Input, MAX_RECORD_BYTES};
use super::read_only::{self, BlockOpener, Exit};
use crate::clock::{Clock, SystemClock};
use crate::event::native;
use crate::journal::{BlockVisitor, RecordBlock, Seq, SourceInfo, SqliteJournal};
use crate::pipeline::{Overrides, PipelineFiles, ValidatedPipeline};
use crate::report::{MappingCounter, MappingDiff};
use crate::vendors::{ReadContext, registry};

/// Show how much of the vendors' records is understood
///
/// By event type: the share of records with an action and a category other than `other`, with actor, target and grants. Then
/// words that are not known, values of another type than expected, and fields that only `raw` has: counts and paths, never
/// values. Reads raw records or pages of a vendor (--vendor), events that auditflow has delivered in its own schema, or the
/// records that a pipeline's journal holds (--pipeline).
///
/// Exit code 0 if every record has an action and a category (see --at-least), none has `normalize_error` and no value is lost;
/// 1 if not, or if the input cannot be read; 2 if the arguments are wrong.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// The file to read, - for stdin: NDJSON, a JSON array, or pages of the vendor's API; maybe compressed by gzip or zstd
    #[arg(required_unless_present = "pipeline", conflicts_with = "pipeline")]
    file: Option<PathBuf>,
    /// The vendor of the raw records in FILE [default: FILE holds events of auditflow]
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(registry::names()), conflicts_with = "pipeline")]
    vendor: Option<String>,
    /// A setting of the source that affects normalizing, such as event_type=category_action (repeatable)
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_and_value, requires = "vendor")]
    options: Vec<(String, String)>,
    /// Read the records that the journal of this pipeline holds at present
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pipeline: Vec<PathBuf>,
    /// The percentage of records that must have an action and a category
    #[arg(long, value_name = "PERCENT", default_value = "100", value_parser = percentage)]
    at_least: f64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum Command {
    Diff(DiffArguments),
}

/// Show what this version would change in events that were delivered before
///
/// Normalizes the raw records of delivered events again and compares the events, field by field. Values are shown only of
/// fields with a closed list of values. Give the pipeline file if its sources have settings that affect normalizing.
///
/// Exit code 0 if nothing changes, 1 if something does or the input cannot be read, 2 if the arguments are wrong.
#[derive(clap::Args, Debug)]
struct DiffArguments {
    /// Events that another version has delivered, as NDJSON in auditflow's own schema with `raw`, - for stdin
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// The files of the pipeline of the sources
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pipeline: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn percentage(text: &str) -> Result<f64, String> {
    let percent = text.parse().ok().filter(|percent| (0.0..=100.0).contains(percent));
    percent.ok_or_else(|| "write a number from 0 to 100".to_owned())
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let ended = match &arguments.command {
        Some(Command::Diff(diff)) => show_diff(diff),
        None => show_mapping(arguments),
    };
    ended.unwrap_or_else(|Exit(code)| code)
}

fn show_mapping(arguments: &Arguments) -> Result<u8, Exit> {
    let counter = match &arguments.vendor {
        _ if !arguments.pipeline.is_empty() => of_journal(&arguments.pipeline)?,
        Some(vendor) => of_raw_records(arguments.file.as_ref(), vendor, &arguments.options)?,
        None => of_events(arguments.file.as_ref())?,
    };
    let report = counter.finish(arguments.at_least);
    read_only::show(arguments.json, &report, || report.text());
    Ok(read_only::exit_code(report.complete))
}

fn of_raw_records(file: Option<&PathBuf>, vendor: &str, options: &[(String, String)]) -> Result<MappingCounter, Exit> {
    let normalizer = normalizer(vendor, None, options).map_err(|message| failed(EXIT_USAGE, &message))?;
    let (shape, observed_at) = (normalizer.shape(), SystemClock.now());
    let mut counter = MappingCounter::default();
    let (name, source) = open(file).map_err(|message| failed(EXIT_FAILED, &message))?;
    let mut input = Input::new(source, MAX_RECORD_BYTES);
    let is_page = |json: &str| normalizer.page_records(json).is_some();
    while let Some(chunk) =
        input.next_chunk(&is_page).map_err(|error| failed(EXIT_FAILED, &format!("{name}: {error}")))?
    {
        chunk.each_record(normalizer.as_ref(), |raw, _| {
            let context = ReadContext { source: vendor, observed_at, occurrence: 0 };
            counter.add(&normalizer.normalize(raw, &context), &shape);
        });
    }
    Ok(counter)
}

fn of_events(file: Option<&PathBuf>) -> Result<MappingCounter, Exit> {
    let mut counter = MappingCounter::default();
    let mut renormalizer = Renormalizer::default();
    let mut shapes = HashMap::new();
    let mut unread = 0_u64;
    let name = each_line(file, &mut |line| {
        let event = line.and_then(Delivered::read);
        let known = event.as_ref().map(|event| (event, event.raw()));
        let Some((event, raw)) = known else {
            unread += 1;
            return;
        };
        let Some(origin) = renormalizer.origin(event, &raw) else {
            unread += 1;
            return;
        };
        let shape = shapes.entry(event.vendor.clone()).or_insert_with(|| origin.normalizer.shape());
        counter.add(&origin.normalize(event, &raw), shape);
    })?;
    if unread > 0 {
        return Err(failed(
            EXIT_FAILED,
            &format!(
                "{name}: {unread} lines are not events of auditflow in its own schema with `raw`; of a vendor's raw records, name the vendor with --vendor"
            ),
        ));
    }
    Ok(counter)
}

/// Calls `take` with each value of a file; with `None` for one that is not UTF-8. Returns the file's name for messages.
fn each_line(file: Option<&PathBuf>, take: &mut dyn FnMut(Option<&str>)) -> Result<String, Exit> {
    let (name, source): (String, Box<dyn Read + Send>) = open(file).map_err(|message| failed(EXIT_FAILED, &message))?;
    let mut input = Input::new(source, MAX_RECORD_BYTES);
    while let Some(chunk) =
        input.next_chunk(&|_| false).map_err(|error| failed(EXIT_FAILED, &format!("{name}: {error}")))?
    {
        chunk.each_value(|bytes| take(std::str::from_utf8(bytes).ok()));
    }
    Ok(name)
}

// --- the journal ---

fn of_journal(files: &[PathBuf]) -> Result<MappingCounter, Exit> {
    let pipeline = read_only::load(&PipelineFiles::new(files.to_owned()), &Overrides::default())?;
    let mut visitor = JournalCounter::default();
    let visited = pipeline.data_dirs().iter().try_fold(false, |has_run, data_dir| {
        visitor.of_others.clone_from(&visitor.counter);
        SqliteJournal::visit(data_dir, &mut visitor).map(|visited| has_run || visited)
    });
    let error = match (visited, visitor.blocks.damaged) {
        (Ok(true), None) => return Ok(visitor.counter),
        (Ok(false), _) => "this pipeline has not run yet; run it, or give a file of raw records or events".to_owned(),
        (Err(error), _) | (Ok(_), Some(error)) => error.to_string(),
    };
    Err(failed(EXIT_FAILED, &error))
}

/// Takes the records that a journal holds: those that not every sink has delivered yet, and some that all have.
#[derive(Default)]
struct JournalCounter {
    counter: MappingCounter,
    /// What was counted in the journals before this one.
    of_others: MappingCounter,
    blocks: BlockOpener,
}

impl BlockVisitor for JournalCounter {
    fn first(&self) -> Seq {
        1
    }

    fn restart(&mut self) {
        self.counter.clone_from(&self.of_others);
        self.blocks.damaged = None;
    }

    fn block(&mut self, source: &SourceInfo, block: &RecordBlock) {
        let Some((normalizer, decoded)) = self.blocks.open(source, block) else { return };
        let shape = normalizer.shape();
        for record in decoded.records() {
            let context =
                ReadContext { source: &source.name, observed_at: block.observed_at, occurrence: record.occurrence };
            self.counter.add(&normalizer.normalize(record.raw, &context), &shape);
        }
    }
}

// --- the difference ---

fn show_diff(arguments: &DiffArguments) -> Result<u8, Exit> {
    let mut renormalizer = Renormalizer::default();
    if !arguments.pipeline.is_empty() {
        let files = PipelineFiles::new(arguments.pipeline.clone());
        renormalizer.configured = configured(&read_only::load(&files, &Overrides::default())?);
    }
    let mut diff = MappingDiff::default();
    each_line(Some(&arguments.from), &mut |line| {
        let compared = line.and_then(|line| compare(line, &mut renormalizer, &mut diff));
        diff.not_compared += u64::from(compared.is_none());
    })?;
    if diff.events == 0 {
        let name = arguments.from.display();
        return Err(failed(EXIT_FAILED, &format!("{name} holds no events in auditflow's own schema with `raw`")));
    }
    read_only::show(arguments.json, &diff, || diff.text());
    Ok(if diff.changed == 0 { EXIT_DONE } else { EXIT_FAILED })
}

fn configured(pipeline: &ValidatedPipeline) -> HashMap<String, crate::vendors::NormalizerConfig> {
    pipeline.sources.iter().map(|source| (source.name.clone(), source.vendor.normalizer_config())).collect()
}

fn compare(line: &str, renormalizer: &mut Renormalizer, diff: &mut MappingDiff) -> Option<()> {
    let event = Delivered::read(line)?;
    let raw = event.raw();
    let origin = renormalizer.origin(&event, &raw)?;
    let mut encoded = Vec::new();
    native::encode(&origin.normalize(&event, &raw), native::RawForm::Drop, &mut encoded);
    let new = serde_json::from_slice(&encoded).ok()?;
    diff.add(&event.vendor, &serde_json::from_str(line).ok()?, &new);
    Some(())
}

fn failed(code: u8, message: &str) -> Exit {
    print_stderr(&format!("error: {message}\n"));
    Exit(code)
}
