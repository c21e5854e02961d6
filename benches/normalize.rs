//! Throughput of normalizing and encoding records on one core, by vendor, compared with only parsing the same bytes.
//!
//! ```text
//! record --serde_json--> skipped       "checked": the upper bound, nothing is kept
//!        --serde_json--> Value         "parsed": the first step of most programs
//!        --key_of------> id, time      what collecting needs; with ids also the hash of the content
//!        --normalize---> Event         what delivering needs
//!                          |--encode--> a line of native JSON, `raw` included
//! ```
//!
//! One thread, records in memory; each number is the best of several rounds, in CPU time.
#![allow(clippy::print_stdout)]

mod common;

use std::cell::RefCell;
use std::hint::black_box;

use anyhow::Context;
use auditflow::event::native::{self, RawForm};
use auditflow::simulator::VendorName;
use auditflow::time::Timestamp;
use auditflow::vendors::{self, Normalizer, NormalizerConfig, ReadContext};
use serde::de::IgnoredAny;

use common::{best_of, megabytes, rate};

const RECORDS: u64 = 5_000;
/// Makes a round long enough for the CPU clock, which ticks every few milliseconds.
const REPEATS: u32 = 60;
const ROUNDS: usize = 5;

const CONTEXT: ReadContext<'_> =
    ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_790_000_000), occurrence: 0 };

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("thousands of events per second on one core, and MB/s of records");
    println!(
        "{:<12} {:>6} | {:>13} | {:>13} | {:>13} | {:>13} | {:>21}",
        "vendor", "bytes", "checked", "parsed", "keyed", "normalized", "normalized, encoded"
    );
    for vendor in VendorName::ALL {
        let records = common::records(vendor, RECORDS).await?;
        let normalizer = vendors::registry::normalizer(vendor.as_str(), &NormalizerConfig::default())
            .context("a registered vendor")?;
        measure(vendor, normalizer.as_ref(), &records);
    }
    Ok(())
}

fn measure(vendor: VendorName, normalizer: &dyn Normalizer, records: &[String]) {
    let bytes: usize = records.iter().map(String::len).sum();
    let each = |work: &dyn Fn(&str)| {
        let round = || (0..REPEATS).for_each(|_| records.iter().for_each(|raw| work(raw)));
        best_of(ROUNDS, round) / REPEATS
    };
    let checked = each(&|raw| drop(black_box(serde_json::from_str::<IgnoredAny>(raw))));
    let parsed = each(&|raw| drop(black_box(serde_json::from_str::<serde_json::Value>(raw))));
    let keyed = each(&|raw| _ = black_box(normalizer.key_of(raw)));
    let normalized = each(&|raw| drop(black_box(normalizer.normalize(raw, &CONTEXT))));
    let line = RefCell::new(Vec::new());
    let encoded = each(&|raw| {
        let mut line = line.borrow_mut();
        line.clear();
        native::encode(&normalizer.normalize(raw, &CONTEXT), RawForm::Keep, &mut line);
        black_box(&*line);
    });
    let columns = [checked, parsed, keyed, normalized, encoded]
        .map(|time| format!("{:>6.0} {:>6.0}", rate(records.len(), time) / 1e3, megabytes(bytes, time)));
    let ratio = parsed.as_secs_f64() / encoded.as_secs_f64();
    println!("{:<12} {:>6} | {} | {ratio:.2} x parsed", vendor.as_str(), bytes / records.len(), columns.join(" | "));
}
