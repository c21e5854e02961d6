//! `auditflow demo`: a complete pipeline on this machine without any setup, and a proof that it delivered exactly once.
//!
//! ```text
//! simulator (five APIs, with faults) --> five sources --> journal --> normalize --> files
//!     |                                                                               |
//!     +--------------------------- expected records --------> proof <-----------------+
//! ```
//!
//! The demo directory stores the simulator's seed and start time: a demo that was killed continues with the same data.

mod proof;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_INCOMPLETE, EXIT_USAGE, StopSignals, print_stderr, runtime};
use super::{summary, validate};
use crate::clock::{Clock, SystemClock};
use crate::pipeline::{self, Environment, Overrides, PipelineFiles};
use crate::runtime::{RunMode, RunOptions, RunReport};
use crate::simulator::{Credentials, FaultOrder, RunningSimulator, Simulator, SimulatorOptions, Variants};
use crate::telemetry::logging;
use crate::time::Timestamp;

const PIPELINE: &str = include_str!("pipeline.yaml");

/// The simulator's faults: frequent enough to show, rare enough to keep the demo short.
const FAULTS: &[&str] = &[
    "late_events",
    "ties",
    "identical_records",
    "unknown_values",
    "rate_limit=0.01",
    "server_error=0.01",
    "cut_body=0.01",
    "html_200=0.005",
];

/// The generated history ends this long before the demo's first start, so that all late events are visible.
const HISTORY_END: Duration = Duration::from_secs(15 * 60);

/// How long errors, such as a full disk, may block the demo before it exits.
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// Run a complete pipeline against simulated vendors, and prove that it delivered exactly once
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Directory for the demo's pipeline file, journal and output
    #[arg(long, default_value = "auditflow-demo", value_name = "DIR")]
    dir: PathBuf,
    /// Number of events of each of the five vendors (in a new directory)
    #[arg(long, default_value_t = 20_000, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Seed of the simulated data and faults (in a new directory)
    #[arg(long, default_value_t = 7, value_name = "N")]
    seed: u64,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    match demonstrate(arguments) {
        Ok(code) => code,
        Err(reason) => {
            print_stderr(&format!("error: {reason}\n"));
            EXIT_FAILED
        }
    }
}

fn demonstrate(arguments: &Arguments) -> Result<u8, String> {
    logging::init("error,auditflow::telemetry=info", false)?;
    let setup = DemoSetup::open(arguments)?;
    runtime(None)?.block_on(async {
        let simulator = start_simulator(&setup).await?;
        let code = collect_and_prove(arguments, &simulator, setup.kills).await;
        simulator.shutdown().await;
        code
    })
}

async fn collect_and_prove(arguments: &Arguments, simulator: &RunningSimulator, kills: u64) -> Result<u8, String> {
    let file = PipelineFiles::from(arguments.dir.join("pipeline.yaml"));
    let variables = variables(simulator);
    let environment = Environment::from_pairs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    let pipeline = match pipeline::load(&file, &environment, &Overrides::default()) {
        Ok(pipeline) => pipeline,
        Err(diagnostics) => {
            validate::print_diagnostics(&diagnostics);
            return Ok(EXIT_USAGE);
        }
    };
    print_stderr(&format!(
        "Collecting from five simulated vendors at http://{} into {}\n(kill it at any time and run it again: it continues where it stopped)\n\n",
        simulator.address(),
        arguments.dir.display()
    ));
    let shutdown = CancellationToken::new();
    tokio::spawn(StopSignals::install()?.stop(shutdown.clone()));
    let mode = RunMode::Once { give_up_after: GIVE_UP_AFTER };
    let options = RunOptions { show_progress: true, ..RunOptions::new(mode, shutdown.clone()) };
    let report = crate::runtime::run(pipeline, options).await.map_err(|error| error.to_string())?;
    print_stderr(&summary::of(&report, &file.to_string()));
    if shutdown.is_cancelled() {
        print_stderr("\nstopped; run the demo again to continue\n");
        return Ok(EXIT_DONE);
    }
    if !report.unfinished().is_empty() {
        return Ok(EXIT_INCOMPLETE);
    }
    let proof = proof::compare(&arguments.dir.join("events"), simulator)?;
    print_stderr(&format!("\n{}", proof.table()));
    if !proof.is_perfect() {
        print_stderr(&format!("\n{}\n", what_is_wrong(&arguments.dir, &report)?));
        return Ok(EXIT_FAILED);
    }
    print_stderr(&format!("\n{}", proof::survived(simulator, kills)?));
    print_stderr(&next_steps(&arguments.dir, proof.example.as_deref()));
    fs::remove_file(arguments.dir.join(UNFINISHED)).map_err(|reason| format!("cannot note the end: {reason}"))?;
    Ok(EXIT_DONE)
}

/// Somebody who has edited the pipeline may have asked for what the proof calls an error.
fn what_is_wrong(dir: &Path, report: &RunReport) -> Result<String, String> {
    let written = fs::read_to_string(dir.join("pipeline.yaml")).unwrap_or_default();
    let dir_text = dir.display();
    if written == PIPELINE && report.stats.sinks.len() == 1 {
        return Ok(format!("This is a bug in auditflow: please report it and attach the directory {dir_text}"));
    }
    Ok(format!(
        "The pipeline file is not the demo's, or was not: the comparison counts everything that any sink has written below\n\
         {dir_text}/events. A sink with a new name delivers all events again (`auditflow state rename` keeps its position).\n\
         For another proof start over in a new directory: `--dir`"
    ))
}

fn next_steps(dir: &Path, example: Option<&Path>) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "auditflow".to_owned());
    let example = example.unwrap_or(dir);
    format!(
        "
The events are in {dir}/events; the pipeline file is {dir}/pipeline.yaml. Count them yourself:

  cat {dir}/events/*/*.ndjson | wc -l                                   # as many as all vendors have
  cat {dir}/events/*/*.ndjson | cut -d '\"' -f 8 | sort | uniq -d | wc -l   # ids that came twice: 0
  for vendor in {dir}/events/*; do echo $vendor $(cat $vendor/*.ndjson | wc -l); done

Start another demo (a new --dir, more --events), kill it while it runs, run it again, and compare. Try also:

  head -n 1 {example}            # one event, with the vendor's record in `raw`
  {program} demo --dir {dir}   # again: no new events, no duplicates
  {program} coverage {dir}/pipeline.yaml   # the covered time; `status` shows the sinks too
  {program} simulate --rate 5 --print-pipeline   # the five APIs on this machine, and a pipeline file for them
",
        dir = dir.display(),
        example = example.display(),
    )
}

/// The simulator's settings, stored in the demo directory.
#[derive(Debug, Serialize, Deserialize)]
struct DemoSetup {
    seed: u64,
    events: u64,
    start: Timestamp,
    /// How often the demo was killed so far.
    #[serde(default)]
    kills: u64,
}

/// This file exists while a demo runs, and after it was killed.
const UNFINISHED: &str = "unfinished";

impl DemoSetup {
    /// Reads the settings of the directory, or creates them in a new directory.
    fn open(arguments: &Arguments) -> Result<Self, String> {
        let dir = &arguments.dir;
        fs::create_dir_all(dir).map_err(|reason| format!("cannot create {}: {reason}", dir.display()))?;
        let file = dir.join("simulator.json");
        if let Ok(text) = fs::read_to_string(&file) {
            let mut setup: Self = serde_json::from_str(&text).map_err(|reason| {
                format!(
                    "cannot read {} ({reason}); delete the directory {} to start over",
                    file.display(),
                    dir.display()
                )
            })?;
            setup.kills += u64::from(dir.join(UNFINISHED).exists());
            return setup.begin(dir);
        }
        let start = (SystemClock.now() - HISTORY_END).floor_to(Duration::from_secs(1));
        let setup = Self { seed: arguments.seed, events: arguments.events, start, kills: 0 };
        write(&dir.join("pipeline.yaml"), PIPELINE)?;
        setup.begin(dir)
    }

    /// Notes that the demo runs from now on.
    fn begin(self, dir: &Path) -> Result<Self, String> {
        let text = serde_json::to_string_pretty(&self).map_err(|reason| reason.to_string())?;
        write(&dir.join("simulator.json"), &text)?;
        write(&dir.join(UNFINISHED), "")?;
        Ok(self)
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    // Write to a temporary file and rename it: after a kill, the file is complete or absent.
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(|reason| format!("cannot write {}: {reason}", path.display()))
}

async fn start_simulator(setup: &DemoSetup) -> Result<RunningSimulator, String> {
    let faults: Result<Vec<FaultOrder>, _> = FAULTS.iter().map(|fault| fault.parse()).collect();
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    let options = SimulatorOptions {
        variants,
        seed: setup.seed,
        events_per_vendor: setup.events,
        start: Some(setup.start),
        faults: faults.map_err(|reason| format!("{reason:?}"))?,
        clock: Arc::new(SystemClock),
        ..SimulatorOptions::default()
    };
    Simulator::start(options).await.map_err(|reason| reason.to_string())
}

fn variables(simulator: &RunningSimulator) -> Vec<(&'static str, String)> {
    let Credentials {
        clumio_access_token,
        captivateiq_api_token,
        merge_api_key,
        akuity_organization_id,
        akuity_api_key_id,
        akuity_api_key_secret,
        confluence_cloud_id,
        confluence_email,
        confluence_api_token,
    } = simulator.credentials().clone();
    vec![
        ("SIMULATOR", format!("http://{}", simulator.address())),
        ("CLUMIO_ACCESS_TOKEN", clumio_access_token),
        ("CAPTIVATEIQ_API_TOKEN", captivateiq_api_token),
        ("MERGE_API_KEY", merge_api_key),
        ("AKUITY_ORGANIZATION_ID", akuity_organization_id),
        ("AKUITY_API_KEY_ID", akuity_api_key_id),
        ("AKUITY_API_KEY_SECRET", akuity_api_key_secret),
        ("CONFLUENCE_CLOUD_ID", confluence_cloud_id),
        ("CONFLUENCE_EMAIL", confluence_email),
        ("CONFLUENCE_API_TOKEN", confluence_api_token),
    ]
}
