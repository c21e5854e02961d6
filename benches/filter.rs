//! Nanoseconds per event of conditions, and of normalizing the same events.
//!
//! ```text
//! simulator's records --normalize--> Event --condition--> passes, or not
//!                      ^^^^^^^^^ line 1      ^^^^^^^^^ the other lines, without normalizing
//! ```
//!
//! Each number is the best of several rounds over the records of all vendors, which are in memory.
#![allow(clippy::print_stdout)]

mod common;

use std::hint::black_box;
use std::time::Duration;

use anyhow::{Context, anyhow};
use auditflow::event::Event;
use auditflow::simulator::VendorName;
use auditflow::time::Timestamp;
use auditflow::transform::condition::Condition;
use auditflow::vendors::{self, NormalizerConfig, ReadContext};
use tokio::time::Instant;

const EVENTS_PER_VENDOR: u64 = 4_000;

const ROUNDS: usize = 15;

const CONDITIONS: &[&str] = &[
    "true",
    r#"actor.type == "admin""#,
    r#"action in ["create", "update", "delete", "grant", "revoke"] && actor.type != "system""#,
    r#"has(actor.email) && !actor.email.endsWith("@acme.example")"#,
    r#"timestamp >= timestamp("2026-01-01T00:00:00Z") && outcome == "failure""#,
    r#"related.exists(r, r.type == "space" && r.name == "Finance")"#,
    r#"raw.contains("no such text")"#,
    r#"actor.name.matches(r"(?i)^svc-\d+$")"#,
];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut records = Vec::new();
    for vendor in VendorName::ALL {
        let reader = vendors::registry::normalizer(vendor.as_str(), &NormalizerConfig::default())
            .context("a registered vendor")?;
        let raws = common::records(vendor, EVENTS_PER_VENDOR).await?;
        records.extend(raws.into_iter().map(|raw| (reader.clone(), raw)));
    }
    let context = ReadContext { source: "acme", observed_at: Timestamp::from_secs(1_790_000_000), occurrence: 0 };
    let normalize = || records.iter().map(|(reader, raw)| reader.normalize(raw, &context)).collect::<Vec<Event<'_>>>();
    let events = normalize();
    let time = best_of_rounds(|| drop(black_box(normalize())));
    println!("{:>8.1} ns per event  normalizing, {} events", per_event(time, events.len()), events.len());
    for text in CONDITIONS {
        let condition = Condition::compile(text).map_err(|diagnostics| anyhow!("{text}: {diagnostics:?}"))?;
        let mut passed = 0;
        let time = best_of_rounds(|| passed = black_box(events.iter().filter(|event| condition.holds(event)).count()));
        println!("{:>8.1} ns per event  {passed:>6} pass  {text}", per_event(time, events.len()));
    }
    Ok(())
}

/// Wall-clock time: a round is too short for processor time.
fn best_of_rounds(mut work: impl FnMut()) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let begin = Instant::now();
        work();
        begin.elapsed()
    });
    rounds.min().unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a number for people")]
fn per_event(time: Duration, events: usize) -> f64 {
    time.as_nanos() as f64 / events as f64
}
