//! A program that embeds auditflow: it loads a pipeline, runs it until everything is collected and delivered (or until
//! Ctrl-C), and prints the counts.
//!
//! ```console
//! $ cargo run --example embed                    # against a simulated vendor in this process, files in ./auditflow-embedded
//! $ cargo run --example embed -- acme.yaml       # your pipeline; its variables come from the environment
//! ```

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use auditflow::pipeline::{self, Diagnostic, Environment, Overrides, PipelineFiles, ValidatedPipeline};
use auditflow::runtime::{RunMode, RunOptions, RunReport, run};
use auditflow::simulator::{Simulator, SimulatorOptions, VendorName};
use tokio_util::sync::CancellationToken;

/// A pipeline can be text instead of a file.
const PIPELINE: &str = r#"
data_dir: auditflow-embedded/data
sources:
  backups:
    type: clumio
    base_url: ${VENDOR}
    access_token: ${CLUMIO_ACCESS_TOKEN}
    backfill_start_time: earliest
    rate_limit: 1000/s
transforms:
  events: {type: normalize, inputs: [backups]}
  deletions: {type: filter, inputs: [events], condition: action == "delete"}
sinks:
  all: {type: file, inputs: [events], path: auditflow-embedded/all/%Y-%m-%d.ndjson}
  deleted: {type: file, inputs: [deletions], path: auditflow-embedded/deleted.ndjson}
"#;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let files: Vec<_> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    if files.is_empty() {
        return run_against_the_simulator().await;
    }
    run_and_report(pipeline::load(&PipelineFiles::new(files), &Environment::of_process(), &Overrides::default())).await
}

async fn run_against_the_simulator() -> anyhow::Result<()> {
    let options = SimulatorOptions { vendors: vec![VendorName::Clumio], ..SimulatorOptions::default() };
    let vendor = Simulator::start(options).await?;
    let address = vendor.base_url(VendorName::Clumio);
    let token = vendor.credentials().clumio_access_token.as_str();
    // The program provides the variables; the environment of the process is not used here.
    let variables = Environment::from_pairs([("VENDOR", address.as_str()), ("CLUMIO_ACCESS_TOKEN", token)]);
    run_and_report(pipeline::validate("embedded.yaml", PIPELINE, Path::new("."), &variables, &Overrides::default()))
        .await
}

async fn run_and_report(pipeline: Result<ValidatedPipeline, Vec<Diagnostic>>) -> anyhow::Result<()> {
    let pipeline = pipeline.map_err(|diagnostics| in_words(&diagnostics))?;
    let stop = CancellationToken::new();
    tokio::spawn(stop_on_ctrl_c(stop.clone()));
    let mode = RunMode::Once { give_up_after: Duration::from_secs(60) };
    let report = run(pipeline, RunOptions::new(mode, stop)).await?;
    show(&report);
    let unfinished = report.unfinished();
    ensure!(unfinished.is_empty(), "unfinished work: {unfinished:?}");
    Ok(())
}

/// Ctrl-C requests a shutdown. Killing the process is safe too: the next run resumes from the journal.
async fn stop_on_ctrl_c(stop: CancellationToken) {
    if tokio::signal::ctrl_c().await.is_ok() {
        stop.cancel();
    }
}

/// All diagnostics with line, column and hint, as `auditflow validate` prints them.
fn in_words(diagnostics: &[Diagnostic]) -> anyhow::Error {
    let shown: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    anyhow!("the pipeline is invalid\n\n{}", shown.join("\n\n"))
}

#[expect(clippy::print_stdout, reason = "the counts are the output of this program")]
fn show(report: &RunReport) {
    for source in &report.stats.sources {
        println!("{}: {} events in {} requests", source.name, source.events, source.requests.total());
    }
    for sink in &report.stats.sinks {
        println!("{}: {} events delivered, {} filtered", sink.name, sink.delivered, sink.filtered);
    }
}
