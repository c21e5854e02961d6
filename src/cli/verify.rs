//! `auditflow verify`: whether the outputs of a pipeline still are what was delivered.

use std::path::PathBuf;
use std::sync::Arc;

use super::process::{EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, StopSignals, point_in_time, print_stderr, runtime};
use super::read_only::{self, Exit};
use super::validate;
use crate::clock::{SharedClock, SystemClock};
use crate::pipeline::{self, Environment, Overrides, PipelineFiles, ValidatedPipeline, ValidatedSink};
use crate::report::{Observation, SinkOutputs, VerifyReport};
use crate::sinks::SinkError;
use crate::sinks::registry::SinkName;
use crate::sinks::verify::{VerifyOptions, WrittenOutputs, verify};
use crate::time::Timestamp;

/// Verify that the outputs still are what was delivered: manifests, objects, and the end that the journal knows
///
/// Reads the manifests of each sink and every object, or piece of a file, that they name, compares sizes and SHA-256, follows
/// the chain of manifests, and compares its end with the newest manifest that the journal knows. Changes nothing; the pipeline
/// may run meanwhile. A bucket is read with the sink's own credentials (`s3:ListBucket`, `s3:GetObject`), or as a copy. Exit
/// code 0 if everything is there and unchanged, 1 if not, if it cannot be read, if the journal of a shard is not here, or if no
/// sink writes manifests, 2 if the file or the arguments are wrong.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    #[command(flatten)]
    files: PipelineFiles,
    /// A sink; all with manifests if none is given
    #[arg(long = "sink", value_name = "NAME")]
    sinks: Vec<String>,
    /// Read this local copy of the bucket, as `aws s3 sync` makes it; sinks of local files are left out
    #[arg(long, value_name = "DIRECTORY")]
    copy: Option<PathBuf>,
    /// Read only objects with events of this time and later: older ones may have expired. The whole chain is followed
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<Timestamp>,
    /// Print JSON (format: docs/status.md)
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Overrides,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    show(arguments).unwrap_or_else(|Exit(code)| code)
}

fn show(arguments: &Arguments) -> Result<u8, Exit> {
    let pipeline = load(arguments)?;
    let before = read_only::observe(&pipeline, false)?;
    let runtime = runtime(pipeline.settings.threads).map_err(|reason| failed(&reason))?;
    let outputs = runtime.block_on(async {
        let mut signals = StopSignals::install().map_err(|reason| failed(&reason))?;
        tokio::select! {
            biased;
            _ = signals.next() => Err(Exit(EXIT_INTERRUPTED)),
            outputs = verify_all(&pipeline, arguments, &before) => outputs,
        }
    });
    runtime.shutdown_background();
    let report = VerifyReport::new(&pipeline, &before, outputs?);
    read_only::show(arguments.json, &report, || report.text());
    Ok(read_only::exit_code(report.healthy))
}

fn failed(reason: &str) -> Exit {
    print_stderr(&format!("error: {reason}\n"));
    Exit(EXIT_FAILED)
}

/// The secrets of the file need not be set, unless a bucket is read.
fn load(arguments: &Arguments) -> Result<ValidatedPipeline, Exit> {
    let pipeline = read_only::load(&arguments.files, &arguments.settings)?;
    check(&pipeline, arguments).map_err(|mistake| {
        print_stderr(&format!("error: {mistake}\n"));
        Exit(EXIT_USAGE)
    })?;
    let clock: SharedClock = Arc::new(SystemClock);
    let reads_bucket = |sink: &ValidatedSink| {
        let name = SinkName { pipeline: &pipeline.name, sink: &sink.name };
        !is_local(sink) && !matches!(sink.config.outputs(&clock, name, None), Ok(None))
    };
    if arguments.copy.is_some() || !wanted(&pipeline, arguments).any(reads_bucket) {
        return Ok(pipeline);
    }
    pipeline::load(&arguments.files, &Environment::of_process(), &arguments.settings).map_err(|diagnostics| {
        validate::print_diagnostics(&diagnostics);
        Exit(EXIT_USAGE)
    })
}

/// What is wrong with the arguments.
fn check(pipeline: &ValidatedPipeline, arguments: &Arguments) -> Result<(), String> {
    let names: Vec<_> = pipeline.sinks.iter().map(|sink| sink.name.as_str()).collect();
    if let Some(unknown) = arguments.sinks.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("there is no sink `{unknown}`; the sinks are {}", names.join(", ")));
    }
    let Some(copy) = &arguments.copy else { return Ok(()) };
    if !copy.is_dir() {
        return Err(format!("{} is not a directory; name the local copy of a bucket", copy.display()));
    }
    let is_named = |sink: &&ValidatedSink| arguments.sinks.contains(&sink.name) && is_local(sink);
    if let Some(ValidatedSink { name, .. }) = pipeline.sinks.iter().find(is_named) {
        return Err(format!("sink `{name}` writes local files, and --copy is for buckets; leave one of the two out"));
    }
    Ok(())
}

fn is_local(sink: &ValidatedSink) -> bool {
    sink.config.local_target().is_some()
}

fn wanted<'p>(pipeline: &'p ValidatedPipeline, arguments: &Arguments) -> impl Iterator<Item = &'p ValidatedSink> {
    let is_named = |sink: &&ValidatedSink| arguments.sinks.is_empty() || arguments.sinks.contains(&sink.name);
    // A copy is that of a bucket.
    let is_in_copy = |sink: &&ValidatedSink| arguments.copy.is_none() || !is_local(sink);
    pipeline.sinks.iter().filter(is_named).filter(is_in_copy)
}

async fn verify_all(
    pipeline: &ValidatedPipeline,
    arguments: &Arguments,
    before: &Observation,
) -> Result<Vec<SinkOutputs>, Exit> {
    let clock: SharedClock = Arc::new(SystemClock);
    let mut sinks = Vec::new();
    if pipeline.is_sharded() {
        // Each shard has a chain of manifests. Where no journal is, any of them may have written something.
        let here: Vec<_> = before.shards.iter().filter(|shard| shard.is_here()).map(|shard| shard.number).collect();
        let shards = if before.has_run() { &here } else { &pipeline.shards };
        for shard in shards {
            let of_shard = pipeline.outputs_of_shard(*shard);
            let before = read_only::observe(&of_shard, false)?;
            sinks.extend(Box::pin(verify_all(&of_shard, arguments, &before)).await?);
        }
        return Ok(sinks);
    }
    for sink in wanted(pipeline, arguments) {
        let name = SinkName { pipeline: &pipeline.name, sink: &sink.name };
        let outputs = sink.config.outputs(&clock, name, arguments.copy.as_deref()).map_err(|problems| {
            failed(&problems.into_iter().map(|problem| problem.message).collect::<Vec<_>>().join("; "))
        })?;
        sinks.push(verify_sink(pipeline, sink, outputs, arguments.since, before).await?);
    }
    Ok(sinks)
}

async fn verify_sink(
    pipeline: &ValidatedPipeline,
    sink: &ValidatedSink,
    outputs: Option<Box<dyn WrittenOutputs>>,
    since: Option<Timestamp>,
    before: &Observation,
) -> Result<SinkOutputs, Exit> {
    let mut report = SinkOutputs {
        name: sink.name.clone(),
        shard: pipeline.shard,
        type_name: sink.config.type_name(),
        manifests_at: outputs.as_ref().map(|outputs| outputs.place().to_owned()),
        found: None,
        error: None,
    };
    let Some(outputs) = outputs else { return Ok(report) };
    let options = VerifyOptions { since, is_table: sink.config.is_table() };
    let mut found = match verify(outputs.as_ref(), options).await {
        Ok(found) => found,
        Err(error) => {
            report.error = Some(with_hint(&error));
            return Ok(report);
        }
    };
    if before.journal.is_some() {
        let after = read_only::observe(pipeline, false)?;
        let newest = |observation: &Observation| newest_manifest(observation, sink);
        found.compare(newest(before).as_deref(), newest(&after).as_deref());
    }
    report.found = Some(found);
    Ok(report)
}

fn newest_manifest(observation: &Observation, sink: &ValidatedSink) -> Option<String> {
    let stats = &observation.journal.as_ref()?.stats;
    let state = stats.sinks.iter().find(|stats| stats.name == sink.name)?.state.as_ref()?;
    sink.config.newest_manifest(state)
}

fn with_hint(error: &SinkError) -> String {
    match error {
        SinkError::Transient { hint, .. } | SinkError::Stopped { hint, .. } if !hint.is_empty() => {
            format!("{error}; {hint}")
        }
        _ => error.to_string(),
    }
}
