//! `auditflow simulate`: serves the vendors' APIs on this machine until it is stopped.

use std::io::Write as _;
use std::net::SocketAddr;

use tokio::signal::unix::{SignalKind, signal};

use crate::simulator::variants::VariantInfo;
use crate::simulator::{FaultName, FaultOrder, Simulator, SimulatorOptions, Variants, VendorName};
use crate::time::Timestamp;
use crate::units::Span;

/// Serve the vendors' APIs on this machine
///
/// Prints one line with the address as soon as it listens, and serves until Ctrl-C. The data comes from the seed; what a
/// perfect collector must have is at /_sim/truth/VENDOR. See docs/simulator.md.
#[derive(clap::Args, Debug)]
pub(super) struct Arguments {
    /// Where all randomness comes from: the same seed, events, span and start give the same records
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Listen on an address that other machines can reach
    #[arg(long)]
    allow_remote: bool,
    /// Play only this vendor (may be repeated); all five if not given
    #[arg(long = "vendor", value_name = "VENDOR")]
    vendors: Vec<VendorName>,
    /// Events that each vendor has at the start
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    events: u64,
    /// How far back they reach
    #[arg(long, default_value = "7d", value_parser = Span::parse, value_name = "TIME")]
    span: Span,
    /// New events per second and vendor while running
    #[arg(long, default_value_t = 0.0, value_parser = parse_rate, value_name = "N")]
    rate: f64,
    /// The moment at which the history ends, RFC 3339; now if not given
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    start: Option<Timestamp>,
    /// What to do wrong: NAME, NAME=PROBABILITY, NAME=PROBABILITY:SECONDS, or VENDOR.NAME... (may be repeated)
    #[arg(long = "fault", value_name = "NAME[=X]", num_args = 1..)]
    faults: Vec<FaultOrder>,
    /// API variant where a vendor's documentation is silent (may be repeated)
    #[arg(long = "variant", value_name = "VENDOR.NAME=VALUE", num_args = 1..)]
    variants: Vec<String>,
    /// List the faults and end
    #[arg(long)]
    list_faults: bool,
    /// List the variants and end
    #[arg(long)]
    list_variants: bool,
    /// Print a pipeline file that points at the simulator after the address
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
            eprintln!("error: {reason}");
            return super::EXIT_USAGE;
        }
    };
    if arguments.list_variants {
        return print(&list_variants(&options.variants.list()));
    }
    match serve(options, arguments.print_pipeline) {
        Ok(()) => super::EXIT_DONE,
        Err(error) => {
            eprintln!("error: {error:#}");
            super::EXIT_FAILED
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
            "{} can be reached by other machines; listen on 127.0.0.1, or add --allow-remote",
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
        // Listened for before the address is told: who reads it may stop us at once.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let simulator = Simulator::start(options).await?;
        let mut text = format!("listening on http://{}\n", simulator.address());
        if print_pipeline {
            text.push_str(&simulator.pipeline_file());
        }
        write_out(&text)?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        anyhow::Ok(())
    })?;
    // Answers under way are not waited for: a slow one must not hold up the end.
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
    match write_out(text) {
        Ok(()) => super::EXIT_DONE,
        Err(_) => super::EXIT_FAILED,
    }
}

fn write_out(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
