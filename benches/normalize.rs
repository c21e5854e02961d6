//! How many records a core normalizes and encodes, by vendor, beside only parsing the same bytes.
//!
//! ```text
//! record --serde_json--> skipped       "checked": the ceiling, nothing is kept
//!        --serde_json--> Value         "parsed": what most programs begin with
//!        --identify----> id, time      what collecting needs
//!        --normalize---> Event         what delivering needs
//!                          |--encode--> a line of native JSON, `raw` included
//! ```
//!
//! One thread, records at hand in memory; each figure is the best of several rounds, in processor time.
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
/// A round is so long that the clock of processor time, which ticks every few milliseconds, is exact enough.
const REPEATS: u32 = 60;
const ROUNDS: usize = 5;

const SIGHTING: ReadContext<'_> =
    ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_790_000_000), occurrence: 0 };

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    println!("thousands of events a second on one core, and MB/s of records");
    println!(
        "{:<12} {:>6} | {:>13} | {:>13} | {:>13} | {:>13} | {:>21}",
        "vendor", "bytes", "checked", "parsed", "identified", "normalized", "normalized, encoded"
    );
    for vendor in VendorName::ALL {
        let records = common::records(vendor, RECORDS).await?;
        let reader = vendors::registry::normalizer(vendor.as_str(), &NormalizerConfig::default())
            .context("a vendor of the table")?;
        measure(vendor, reader.as_ref(), &records);
    }
    Ok(())
}

fn measure(vendor: VendorName, reader: &dyn Normalizer, records: &[String]) {
    let bytes: usize = records.iter().map(String::len).sum();
    let each = |work: &dyn Fn(&str)| {
        let round = || (0..REPEATS).for_each(|_| records.iter().for_each(|raw| work(raw)));
        best_of(ROUNDS, round) / REPEATS
    };
    let checked = each(&|raw| drop(black_box(serde_json::from_str::<IgnoredAny>(raw))));
    let parsed = each(&|raw| drop(black_box(serde_json::from_str::<serde_json::Value>(raw))));
    let identified = each(&|raw| _ = black_box(reader.key_of(raw)));
    let normalized = each(&|raw| drop(black_box(reader.normalize(raw, &SIGHTING))));
    let line = RefCell::new(Vec::new());
    let encoded = each(&|raw| {
        let mut line = line.borrow_mut();
        line.clear();
        native::encode(&reader.normalize(raw, &SIGHTING), RawForm::Keep, &mut line);
        black_box(&*line);
    });
    let figures = [checked, parsed, identified, normalized, encoded]
        .map(|time| format!("{:>6.0} {:>6.0}", rate(records.len(), time) / 1e3, megabytes(bytes, time)));
    let ratio = parsed.as_secs_f64() / encoded.as_secs_f64();
    println!("{:<12} {:>6} | {} | {ratio:.2} x parsed", vendor.as_str(), bytes / records.len(), figures.join(" | "));
}
