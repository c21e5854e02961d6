//! `auditflow normalize`: normalizes raw records from a file or stdin, and writes NDJSON to stdout.
//!
//! ```text
//!            reader thread                 worker threads                    this thread
//! FILE --> complete lines or values --+--> normalize and encode a chunk --+--> write, in the order of the input
//!          in chunks of a megabyte    +--> normalize and encode a chunk --+
//! ```
//!
//! Chunks are given to the workers and taken from them round-robin, which keeps the order. Memory is limited by the bytes of
//! input in flight, 64 MiB or the longest record, and the events made of them, however many workers there are.

mod workers;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::available_parallelism;

use clap::builder::PossibleValuesParser;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print_stderr};
use crate::clock::{Clock, SystemClock};
use crate::time::Timestamp;
use crate::vendors::{Normalizer, NormalizerConfig, registry, settings};

/// Normalize raw records from a file or stdin
///
/// Reads the vendor's records as NDJSON, as one JSON array, or as response pages of the vendor's API, and writes one event per
/// line to stdout. The first value decides whether the input holds records or pages. A record that cannot be normalized is
/// written with `normalize_error`; stderr shows the number of such records at the end. Input that gzip or zstd has compressed
/// is decompressed. Exit code 0 on success, 1 if the input cannot be read or is not JSON, 2 if the arguments are wrong.
///
/// A record or page may have up to 256 MiB. For vendors without record ids (akuity, confluence) identical records are numbered,
/// which takes about 50 bytes of memory per record.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// The vendor of the records
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new(registry::names()))]
    vendor: String,
    /// Value of the events' `source` [default: the vendor's name]
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// The vendor's organization, cloud or account id, for vendors whose records lack it; event ids depend on it
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// A setting of the source that affects normalizing, such as event_type=category_action (repeatable)
    #[arg(long = "option", value_name = "KEY=VALUE", value_parser = key_and_value)]
    options: Vec<(String, String)>,
    /// Value of the events' `observed_at` [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    observed_at: Option<Timestamp>,
    /// The file to read [default: stdin]
    file: Option<PathBuf>,
}

/// Parses an `--option`.
pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "write a time such as 2026-01-31T00:00:00Z".to_owned())
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let normalizer = match normalizer(&arguments.vendor, arguments.tenant.as_deref(), &arguments.options) {
        Ok(normalizer) => normalizer,
        Err(message) => return fail(EXIT_USAGE, &message),
    };
    let (name, source) = match open(arguments.file.as_ref()) {
        Ok(opened) => opened,
        Err(message) => return fail(EXIT_FAILED, &message),
    };
    let job = workers::Job {
        source: arguments.source.clone().unwrap_or_else(|| arguments.vendor.clone()),
        observed_at: arguments.observed_at.unwrap_or_else(|| SystemClock.now()),
        workers: available_parallelism().map_or(1, |cores| cores.get().min(8)),
        normalizer,
    };
    match workers::run(job, source, &mut io::stdout().lock()) {
        Ok(counts) => {
            report(&counts, arguments.tenant.is_some());
            EXIT_DONE
        }
        Err(workers::Failure::OutputClosed) => EXIT_DONE,
        Err(failure) => fail(EXIT_FAILED, &format!("{name}: {failure}")),
    }
}

/// The vendor's normalizer, with checked options.
pub(super) fn normalizer(
    vendor: &str,
    tenant: Option<&str>,
    options: &[(String, String)],
) -> Result<Arc<dyn Normalizer>, String> {
    let options = BTreeMap::from_iter(options.to_owned());
    let normalizer_config = NormalizerConfig { tenant: tenant.map(str::to_owned), options };
    let normalizer = registry::normalizer(vendor, &normalizer_config).ok_or("unknown vendor")?;
    let known: Vec<&str> = normalizer.options().iter().map(|option| option.name).collect();
    for (name, value) in &normalizer_config.options {
        let Some(option) = normalizer.options().iter().find(|option| option.name == name) else {
            if known.is_empty() {
                return Err(format!("--option {name}: {vendor} has no options"));
            }
            return Err(unknown_value(name, name, &known));
        };
        if !option.words.contains(&value.as_str()) {
            return Err(unknown_value(name, value, option.words));
        }
    }
    Ok(normalizer)
}

fn unknown_value(option: &str, written: &str, known: &[&str]) -> String {
    let diagnostic = settings::unknown_word(option, written, known);
    format!("--option {option}: {}; {}", diagnostic.message, diagnostic.hint)
}

/// Opens a file, or stdin for none and for `-`, and decompresses it. Returns its name for messages too.
pub(super) fn open(file: Option<&PathBuf>) -> Result<(String, Box<dyn Read + Send>), String> {
    let (name, source): (String, Box<dyn Read + Send>) = match file.filter(|path| path.as_os_str() != "-") {
        None => ("stdin".to_owned(), Box::new(io::stdin())),
        Some(path) => match File::open(path) {
            Ok(opened) => (path.display().to_string(), Box::new(opened)),
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
        },
    };
    match decompressed(source) {
        Ok(source) => Ok((name, source)),
        Err(error) => Err(format!("cannot read {name}: {error}")),
    }
}

/// The first bytes of gzip members (RFC 1952) and of zstd frames (RFC 8878).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What a reader gives, without the compression that its first bytes show. Neither begins like JSON.
fn decompressed(mut source: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>> {
    let mut first = Vec::new();
    source.by_ref().take(ZSTD_MAGIC.len() as u64).read_to_end(&mut first)?;
    let (is_gzip, is_zstd) = (first.starts_with(&GZIP_MAGIC), first == ZSTD_MAGIC);
    let whole = io::Cursor::new(first).chain(source);
    Ok(match (is_gzip, is_zstd) {
        (true, _) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
        (_, true) => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(whole),
    })
}

fn report(counts: &workers::Counts, has_tenant: bool) {
    if counts.without_tenant > 0 && !has_tenant {
        print_stderr(&format!(
            "{} events have no `tenant`; if the source of a pipeline has one, give it as --tenant: event ids depend on it\n",
            counts.without_tenant
        ));
    }
    let bad = match counts.failed {
        0 => String::new(),
        some => format!(", {some} of them with normalize_error"),
    };
    print_stderr(&format!("normalized {} records{bad}\n", counts.records));
}

fn fail(code: u8, message: &str) -> u8 {
    print_stderr(&format!("error: {message}\n"));
    code
}
