//! `auditflow demo`: the main job on this machine, with nothing to set up, and the proof that it was done right.
//!
//! ```text
//! simulator (five APIs, misbehaving) --> five sources --> journal --> normalize --> files
//!     |                                                                               |
//!     +--------------------------- what must be there ------> proof <-----------------+
//! ```
//!
//! The folder remembers the simulator's seed and its start, so that a demo that was killed finds the same vendors again.

mod proof;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::run::{options, runtime, stop_on_signals};
use super::{summary, validate};
use crate::clock::{Clock, SystemClock};
use crate::observe::logging;
use crate::pipeline::run::Mode;
use crate::pipeline::{self, Environment, Overrides};
use crate::simulator::{Credentials, FaultOrder, RunningSimulator, Simulator, SimulatorOptions, Variants};
use crate::time::Timestamp;

const PIPELINE: &str = include_str!("pipeline.yaml");

/// What the simulator does wrong on purpose: enough to be seen, not so much that a demo takes long.
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

/// The history that the simulator plays ends this long before the demo's first start, so that every late event is there.
const QUIET_END: Duration = Duration::from_secs(15 * 60);

/// How long the demo waits for a disk that fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// See the main job work: a simulator of five vendors, five sources, files, and the proof
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Where the demo keeps its pipeline, journal and files
    #[arg(long, default_value = "auditflow-demo")]
    dir: PathBuf,
    /// Events that each of the five vendors has (of a new demo folder)
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..))]
    events: u64,
    /// Seed of the simulated data and faults (of a new demo folder)
    #[arg(long, default_value_t = 7)]
    seed: u64,
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    match demonstrate(arguments) {
        Ok(code) => code,
        Err(reason) => {
            super::say(&format!("error: {reason}\n"));
            super::EXIT_FAILED
        }
    }
}

fn demonstrate(arguments: &Arguments) -> Result<u8, String> {
    logging::init("error,auditflow::observe=info", false)?;
    let scene = Scene::open(arguments)?;
    runtime(None)?.block_on(async {
        let simulator = start_simulator(&scene).await?;
        let code = collect_and_prove(arguments, &simulator).await;
        simulator.shutdown().await;
        code
    })
}

async fn collect_and_prove(arguments: &Arguments, simulator: &RunningSimulator) -> Result<u8, String> {
    let file = arguments.dir.join("pipeline.yaml");
    let variables = variables(arguments, simulator);
    let environment = Environment::from_pairs(variables.iter().map(|(name, value)| (*name, value.as_str())));
    let pipeline = match pipeline::load(&file, &environment, &Overrides::default()) {
        Ok(pipeline) => pipeline,
        Err(problems) => {
            validate::report(&problems);
            return Ok(super::EXIT_USAGE);
        }
    };
    eprintln!(
        "Collecting from five simulated vendors at http://{} into {}",
        simulator.address(),
        arguments.dir.display()
    );
    eprintln!("(kill me whenever you like, and run me again: I go on where I was)\n");
    let shutdown = CancellationToken::new();
    tokio::spawn(stop_on_signals(shutdown.clone()));
    let report = pipeline::run::run(pipeline, options(Mode::Once { give_up_after: PATIENCE }, shutdown.clone()))
        .await
        .map_err(|error| error.to_string())?;
    super::say(&summary::of(&report));
    if shutdown.is_cancelled() {
        super::say("\nstopped; run the demo again to go on\n");
        return Ok(super::EXIT_DONE);
    }
    if !report.unfinished().is_empty() {
        return Ok(super::EXIT_INCOMPLETE);
    }
    conclude(&arguments.dir, simulator)
}

fn conclude(dir: &Path, simulator: &RunningSimulator) -> Result<u8, String> {
    let outcome = proof::compare(&dir.join("events"), simulator)?;
    super::say(&format!("\n{}", outcome.table()));
    if !outcome.is_perfect() {
        super::say(&format!("\nThis must not happen: please report it, with the folder {}\n", dir.display()));
        return Ok(super::EXIT_FAILED);
    }
    super::say(&next_steps(dir, outcome.example.as_deref()));
    Ok(super::EXIT_DONE)
}

fn next_steps(dir: &Path, example: Option<&Path>) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "auditflow".to_owned());
    let example = example.unwrap_or(dir);
    format!(
        "
The events are in {dir}/events, the pipeline that brought them there is {dir}/pipeline.yaml.
Kill the next demo in the middle (another --dir, more --events), run it again, and compare. Try also:

  head -n 1 {example}            # one event, the vendor's record in `raw`
  {program} demo --dir {dir}   # again: nothing new, nothing twice
  DEMO={dir} SIMULATOR=http://127.0.0.1 {program} coverage {dir}/pipeline.yaml   # which time is read; `status` looks at the sinks too
  {program} simulate --rate 5 --print-pipeline   # the five APIs on your machine, and a pipeline for them
",
        dir = dir.display(),
        example = example.display(),
    )
}

/// What a demo folder remembers of its simulator.
#[derive(Debug, Serialize, Deserialize)]
struct Scene {
    seed: u64,
    events: u64,
    start: Timestamp,
}

impl Scene {
    /// The folder's scene, or a new one in a new folder.
    fn open(arguments: &Arguments) -> Result<Self, String> {
        let dir = &arguments.dir;
        fs::create_dir_all(dir).map_err(|reason| format!("cannot create {}: {reason}", dir.display()))?;
        let file = dir.join("simulator.json");
        if let Ok(text) = fs::read_to_string(&file) {
            return serde_json::from_str(&text).map_err(|reason| {
                format!(
                    "{} is not readable ({reason}); delete the folder {} to begin anew",
                    file.display(),
                    dir.display()
                )
            });
        }
        let start = (SystemClock.now() - QUIET_END).floor_to(Duration::from_secs(1));
        let scene = Self { seed: arguments.seed, events: arguments.events, start };
        write(&dir.join("pipeline.yaml"), PIPELINE)?;
        let text = serde_json::to_string_pretty(&scene).map_err(|reason| reason.to_string())?;
        write(&file, &text)?;
        Ok(scene)
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    // By way of another name, so that a kill leaves the whole file or none.
    let unfinished = path.with_extension("unfinished");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, path))
        .map_err(|reason| format!("cannot write {}: {reason}", path.display()))
}

async fn start_simulator(scene: &Scene) -> Result<RunningSimulator, String> {
    let faults: Result<Vec<FaultOrder>, _> = FAULTS.iter().map(|fault| fault.parse()).collect();
    let mut variants = Variants::default();
    variants.lift_rate_limits();
    let options = SimulatorOptions {
        variants,
        seed: scene.seed,
        events_per_vendor: scene.events,
        start: Some(scene.start),
        faults: faults.map_err(|reason| format!("{reason:?}"))?,
        clock: Arc::new(SystemClock),
        ..SimulatorOptions::default()
    };
    Simulator::start(options).await.map_err(|reason| reason.to_string())
}

fn variables(arguments: &Arguments, simulator: &RunningSimulator) -> Vec<(&'static str, String)> {
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
        ("DEMO", arguments.dir.display().to_string()),
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
