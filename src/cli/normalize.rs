//! `auditflow normalize`: raw records from a file or stdin, normalized NDJSON to stdout.
//!
//! ```text
//!            reader thread                 worker threads                    this thread
//! FILE --> whole lines or values --+--> normalize and encode a chunk --+--> write, in the order of the input
//!          in chunks of a megabyte  +--> normalize and encode a chunk --+
//! ```
//!
//! Chunks go round the workers in turn and come back in the same turn, so the order is kept without numbering them. All
//! channels are short: memory is bounded by the chunks in flight and the longest record.

mod input;
mod split;
mod work;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use clap::builder::PossibleValuesParser;

use crate::clock::{Clock, SystemClock};
use crate::time::Timestamp;
use crate::vendors::{Normalizer, NormalizerConfig, registry, settings};

/// Bring raw records from a file or stdin into the schema
///
/// Reads the vendor's records as NDJSON, as one JSON array, or as whole answers (pages) of the vendor's API, and writes
/// one event a line to stdout. The first value decides whether the whole input is records or pages. A record that cannot be normalized is written with `normalize_error`; their number is
/// told at the end on stderr. Input that is no JSON at all ends the command with exit code 1.
///
/// A record may have up to 256 MiB, a page too. Of vendors without record ids (akuity, confluence), wholly identical
/// records are counted to tell them apart, which takes some 50 bytes of memory a record.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The vendor whose records these are
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(registry::names()))]
    vendor: String,
    /// The name for the events' `source` [default: the vendor's name]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The vendor's organization, cloud or account id, for vendors whose records do not tell it; a part of the ids
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// A setting of the source that bears upon normalizing, such as event_type=category_action; may be repeated
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_and_value)]
    options: Vec<(String, String)>,
    /// The events' `observed_at` [default: the present moment]
    #[arg(long, value_name = "TIME", value_parser = moment)]
    observed_at: Option<Timestamp>,
    /// The file to read [default: stdin]
    file: Option<PathBuf>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn moment(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "write a time such as 2026-01-31T00:00:00Z".to_owned())
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let records = match records_of(arguments) {
        Ok(records) => records,
        Err(message) => return fail(super::EXIT_USAGE, &message),
    };
    let (name, source) = match open(arguments.file.as_ref()) {
        Ok(opened) => opened,
        Err(message) => return fail(super::EXIT_FAILED, &message),
    };
    let job = work::Job {
        source: arguments.source.clone().unwrap_or_else(|| arguments.vendor.clone()),
        observed_at: arguments.observed_at.unwrap_or_else(|| SystemClock.now()),
        workers: if records.has_ids() { available_parallelism().map_or(1, |cores| cores.get().min(8)) } else { 1 },
        records,
    };
    match work::run(job, source, &mut io::stdout().lock()) {
        Ok(counts) => {
            tell(&counts);
            super::EXIT_DONE
        }
        Err(work::Failure::OutputClosed) => super::EXIT_DONE,
        Err(failure) => fail(super::EXIT_FAILED, &format!("{name}: {failure}")),
    }
}

/// How the vendor's records are read, with the options checked against those that the vendor knows.
fn records_of(arguments: &Arguments) -> Result<Arc<dyn Normalizer>, String> {
    let normalizer_config =
        NormalizerConfig { tenant: arguments.tenant.clone(), options: BTreeMap::from_iter(arguments.options.clone()) };
    let records = registry::normalizer(&arguments.vendor, &normalizer_config).ok_or("there is no such vendor")?;
    let known: Vec<&str> = records.options().iter().map(|option| option.name).collect();
    for (name, word) in &normalizer_config.options {
        let Some(option) = records.options().iter().find(|option| option.name == name) else {
            if known.is_empty() {
                return Err(format!("--option {name}: {} has no options", arguments.vendor));
            }
            return Err(refusal(name, name, &known));
        };
        if !option.words.contains(&word.as_str()) {
            return Err(refusal(name, word, option.words));
        }
    }
    Ok(records)
}

fn refusal(option: &str, written: &str, known: &[&str]) -> String {
    let problem = settings::unknown_word(option, written, known);
    format!("--option {option}: {}; {}", problem.message, problem.hint)
}

fn open(file: Option<&PathBuf>) -> Result<(String, Box<dyn Read + Send>), String> {
    match file.filter(|path| path.as_os_str() != "-") {
        None => Ok(("stdin".to_owned(), Box::new(io::stdin()))),
        Some(path) => match File::open(path) {
            Ok(opened) => Ok((path.display().to_string(), Box::new(opened))),
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
        },
    }
}

fn tell(counts: &work::Counts) {
    let bad = match counts.unreadable {
        0 => String::new(),
        some => format!(", {some} of them with normalize_error"),
    };
    say(&format!("normalized {} records{bad}", counts.records));
}

fn fail(code: u8, message: &str) -> u8 {
    say(&format!("error: {message}"));
    code
}

/// To stderr; if nobody can hear it, there is nothing more to be done.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "{message}");
}
