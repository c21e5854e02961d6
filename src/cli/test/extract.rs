//! The records of a test, and what arrives at a component.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use serde_json::Value;

use crate::cli::raw_input::{Input, MAX_RECORD_BYTES};
use crate::event::Event;
use crate::event::native::{self, RawForm};
use crate::pipeline::{TestInput, ValidatedPipeline, ValidatedSource};
use crate::sinks::EventForm;
use crate::time::Timestamp;
use crate::transform::condition::Condition;
use crate::vendors::ReadContext;

/// When records are read, unless a test says otherwise.
const OBSERVED_AT: &str = "2026-01-01T00:00:00Z";

/// A record of a source.
pub(super) struct Record<'p> {
    source: &'p ValidatedSource,
    raw: String,
    observed_at: Timestamp,
    /// Its number among identical records.
    occurrence: u32,
}

impl Record<'_> {
    fn event(&self) -> Event<'_> {
        let context =
            ReadContext { source: &self.source.name, observed_at: self.observed_at, occurrence: self.occurrence };
        self.source.vendor.normalizer().normalize(&self.raw, &context)
    }
}

/// An event as it arrives at a component.
pub(super) struct Extracted {
    /// In the native form; the record alone without a `normalize` transform.
    pub(super) event: Value,
    /// Where a sink writes it.
    pub(super) destination: BTreeMap<String, String>,
    /// Which of the conditions hold.
    holds: Vec<(String, bool)>,
}

impl Extracted {
    /// Whether a condition holds for the event before redaction.
    pub(super) fn holds(&self, condition: &str) -> bool {
        self.holds.iter().any(|(text, holds)| text == condition && *holds)
    }
}

/// Reads the records of an input.
///
/// # Errors
/// Its file cannot be read: what to do.
pub(super) fn read<'p>(
    pipeline: &'p ValidatedPipeline,
    input: &TestInput,
    records: &mut Vec<Record<'p>>,
) -> Result<(), String> {
    let Some(source) = pipeline.sources.iter().find(|source| source.name == input.insert_at) else { return Ok(()) };
    let raws = match (&input.raw, &input.file) {
        (Some(Value::Array(raws)), _) => raws.iter().map(text).collect(),
        (Some(raw), _) => vec![text(raw)],
        (None, Some(file)) => from_file(source, file)?,
        (None, None) => Vec::new(),
    };
    let observed_at = input.observed_at.as_deref().unwrap_or(OBSERVED_AT);
    let observed_at = Timestamp::parse_rfc3339(observed_at).unwrap_or(Timestamp::from_nanos(0));
    let normalizer = source.vendor.normalizer();
    let mut numbers: HashMap<_, u32> = HashMap::new();
    for other in records.iter().filter(|record| record.source.name == source.name) {
        *numbers.entry(normalizer.key_of(&other.raw).id).or_default() += 1;
    }
    for raw in raws {
        let number = numbers.entry(normalizer.key_of(&raw).id).or_default();
        let occurrence = if normalizer.has_ids() { 0 } else { *number };
        *number += 1;
        records.push(Record { source, raw, observed_at, occurrence });
    }
    Ok(())
}

/// A string holds the record byte for byte.
fn text(raw: &Value) -> String {
    raw.as_str().map_or_else(|| raw.to_string(), str::to_owned)
}

fn from_file(source: &ValidatedSource, path: &Path) -> Result<Vec<String>, String> {
    let wrong =
        |error: &dyn std::fmt::Display| format!("cannot read {}: {error}; fix `file` or the file", path.display());
    let normalizer = source.vendor.normalizer();
    let mut input = Input::new(File::open(path).map_err(|error| wrong(&error))?, MAX_RECORD_BYTES);
    let is_page = |json: &str| normalizer.page_records(json).is_some();
    let mut raws = Vec::new();
    while let Some(chunk) = input.next_chunk(&is_page).map_err(|error| wrong(&error))? {
        chunk.each_record(normalizer, |raw, _| raws.push(raw.to_owned()));
    }
    Ok(raws)
}

/// Of a record that is nested deeper than the values of a test can be.
fn with_raw_as_text(event: &Event<'_>, form: EventForm) -> Value {
    if form == EventForm::Raw {
        return Value::String(event.raw.to_string());
    }
    let mut line = Vec::new();
    native::encode(event, RawForm::String, &mut line);
    serde_json::from_slice(&line).expect("an event without a nested record is JSON of few levels")
}

/// What arrives at a component, in the order of the records.
pub(super) fn extracted(
    pipeline: &ValidatedPipeline,
    component: &str,
    records: &[Record<'_>],
    conditions: &[String],
) -> Vec<Extracted> {
    let Some(wired) = pipeline.components.iter().find(|wired| wired.name == component) else { return Vec::new() };
    let conditions = conditions.iter().filter_map(|text| Some((text, Condition::compile(text).ok()?)));
    let conditions: Vec<(&String, Condition)> = conditions.collect();
    let sink = pipeline.sinks.iter().find(|sink| sink.name == component);
    let mut extracted = Vec::new();
    for record in records {
        let Some(route) = wired.routes.iter().find(|route| route.source == record.source.name) else { continue };
        let (mut redacted_raw, mut line) = (String::new(), Vec::new());
        let mut event = record.event();
        if !route.condition.as_ref().is_none_or(|condition| condition.holds(&event)) {
            continue;
        }
        let holds = conditions.iter().map(|(text, condition)| ((*text).clone(), condition.holds(&event))).collect();
        let normalizer = record.source.vendor.normalizer();
        route.redactions.for_preview().redactor(normalizer).apply(&mut event, &mut redacted_raw);
        match route.form {
            EventForm::Raw => native::push_record(&event, &mut line),
            EventForm::Normalized => native::encode(&event, RawForm::Keep, &mut line),
        }
        let destination = sink.map(|sink| sink.config.example(&event)).unwrap_or_default();
        extracted.push(Extracted {
            event: serde_json::from_slice(&line).unwrap_or_else(|_| with_raw_as_text(&event, route.form)),
            destination: destination.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            holds,
        });
    }
    extracted
}
