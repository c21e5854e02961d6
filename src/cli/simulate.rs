//! `auditflow simulate`: serves the vendors' APIs on this machine until it is stopped.

use std::io::Write as _;
use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};

use super::process::{EXIT_DONE, EXIT_FAILED, EXIT_USAGE, print_stderr};
use crate::simulator::variants::VariantInfo;
use crate::simulator::{FaultName, FaultOrder, Simulator, SimulatorOptions, Variants, VendorName};
use crate::time::Timestamp;
use crate::units::Span;

/// Serve the vendors' APIs on this machine, for tests
///
/// Prints its address and serves until Ctrl-C. The data is generated from the seed; /_sim/truth/VENDOR returns the records
/// that a correct collector must have. See docs/simulator.md.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Seed of all random data: the same seed, events, span and start generate the same records
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Allow an address that other machines can connect to
    #[arg(long)]
    allow_remote: bool,
    /// Serve only this vendor (repeatable) [default: all five]
    #[arg(long = "vendor", value_name = "VENDOR")]
    vendors: Vec<VendorName>,
    /// Number of events that each vendor has at the start
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    events: u64,
    /// Time range that these events are spread over
    #[arg(long, default_value = "7d", value_parser = Span::parse, value_name = "TIME")]
    span: Span,
    /// New events per second and vendor while running
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate, value_name = "N")]
    rate: f64,
    /// Time of the latest generated event, RFC 3339 [default: now]
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    start: Option<Timestamp>,
    /// Inject a fault: NAME, NAME=PROBABILITY, NAME=PROBABILITY:SECONDS, or VENDOR.NAME... (repeatable)
    #[arg(long = "fault", value_name = "NAME[=X]", num_args = 1..)]
    faults: Vec<FaultOrder>,
    /// Choose an API variant where the vendor's documentation is silent (repeatable)
    #[arg(long = "variant", value_name = "VENDOR.NAME=VALUE", num_args = 1..)]
    variants: Vec<String>,
    /// List the faults and exit
    #[arg(long)]
    list_faults: bool,
    /// List the variants and exit
    #[arg(long)]
    list_variants: bool,
    /// Print a pipeline file for the simulator on standard output, and the address on standard error
    #[arg(long)]
    print_pipeline: bool,
}

fn parse_rate(text: &str) -> Result<f64, String> {
    let rate = text.parse::<f64>().ok().filter(|rate| (0.0..=1e6).contains(rate));
    rate.ok_or_else(|| format!("`{text}` is not a number of events per second"))
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| format!("`{text}` is not a time such as 2026-01-31T00:00:00Z"))
}

/// Runs the command; returns the exit code.
pub(super) fn run(arguments: &Arguments) -> u8 {
    if arguments.list_faults {
        return print(&list_faults());
    }
    let options = match options(arguments) {
        Ok(options) => options,
        Err(reason) => {
            print_stderr(&format!("error: {reason}\n"));
            return EXIT_USAGE;
        }
    };
    if arguments.list_variants {
        return print(&list_variants(&options.variants.list()));
    }
    match serve(options, arguments.print_pipeline) {
        Ok(()) => EXIT_DONE,
        Err(error) => {
            print_stderr(&format!("error: {error:#}\n"));
            EXIT_FAILED
        }
    }
}

fn options(arguments: &Arguments) -> Result<SimulatorOptions, String> {
    let mut variants = Variants::default();
    for order in &arguments.variants {
        let (name, value) = order
            .split_once('=')
            .ok_or_else(|| format!("`{order}` is not a variant; write VENDOR.NAME=VALUE (see --list-variants)"))?;
        variants.set(name, value)?;
    }
    if !arguments.listen.ip().is_loopback() && !arguments.allow_remote {
        return Err(format!(
            "other machines can connect to {}; listen on 127.0.0.1, or add --allow-remote",
            arguments.listen
        ));
    }
    let defaults = SimulatorOptions::default();
    let vendors = if arguments.vendors.is_empty() { defaults.vendors } else { arguments.vendors.clone() };
    Ok(SimulatorOptions {
        seed: arguments.seed,
        listen: arguments.listen,
        vendors,
        events_per_vendor: arguments.events,
        span: arguments.span.0,
        rate: arguments.rate,
        start: arguments.start,
        faults: arguments.faults.clone(),
        variants,
        ..SimulatorOptions::default()
    })
}

fn serve(options: SimulatorOptions, print_pipeline: bool) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        // Install the handlers before the address is printed: whoever reads it may send a signal at once.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let simulator = Simulator::start(options).await?;
        let address = format!("listening on http://{}\n", simulator.address());
        if print_pipeline {
            print_stderr(&address);
            write_out(&simulator.pipeline_file())?;
        } else {
            write_out(&address)?;
        }
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        anyhow::Ok(())
    })?;
    // Do not wait for responses in progress: a slow one must not delay the exit.
    runtime.shutdown_background();
    Ok(())
}

fn list_faults() -> String {
    let line = |fault: &FaultName| {
        let setting = fault.default_setting();
        let strength = format!("{}:{}", setting.probability, setting.seconds);
        format!("{:<18} {strength:<8} {}\n", fault.as_str(), fault.about())
    };
    let lines: String = FaultName::ALL.iter().map(line).collect();
    format!("{:<18} {:<8} what it does (P:S = default probability and seconds)\n{lines}", "name", "P:S")
}

fn list_variants(variants: &[VariantInfo]) -> String {
    let line = |info: &VariantInfo| format!("{}={}\n    {}\n    {}\n", info.name, info.value, info.about, info.allowed);
    variants.iter().map(line).collect()
}

fn print(text: &str) -> u8 {
    // A closed pipe is not an error: the reader wants no more.
    let _ = write_out(text);
    EXIT_DONE
}

fn write_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
