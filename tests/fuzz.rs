//! Page readers and normalizers on mutated samples: pages and records as vendors send them, cut, repeated, spliced and damaged.
//! `cargo fuzz` runs the same checks for as long as you like.
//!
//! The mutations come from a printed seed; set `AUDITFLOW_TEST_SEED` to repeat a run.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../fuzz/checks.rs"]
mod checks;
mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

/// Each of the two tests takes this long.
const LONGEST: Duration = Duration::from_secs(8);
const ENOUGH: u64 = 30_000;

/// Texts at which readers of JSON, numbers and times break.
const TOKENS: &[&str] = &[
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "\\u202e",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "null",
    "true",
    "1e999",
    "-0",
    "0.1e-400",
    "18446744073709551616",
    "\n",
    "\u{feff}",
    "\u{85}",
    "{\"id\":",
    "\"next\":",
    "T24:00:00Z",
    "-02-30T",
    "+99:99",
    "9999-12-31T23:59:60Z",
    "0000-00-00",
    "%2F",
    "../",
    "://",
    "\u{1F600}",
];

/// The envelopes of the vendors' pages.
const ENVELOPES: &[(&str, &str)] = &[
    ("akuity", r#"{"items":[*],"totalCount":3}"#),
    (
        "captivateiq",
        r#"{"object":"list","total_count":3,"next":"http://x/ciq/v1/audit-logs/?limit=100&offset=100","data":[*]}"#,
    ),
    (
        "clumio",
        r#"{"_embedded":{"items":[*]},"_links":{"_next":{"href":"/audit-trails?limit=100&start=3"}},"limit":100,"start":"2","total_count":3,"total_pages_count":9}"#,
    ),
    (
        "confluence",
        r#"{"results":[*],"start":0,"limit":100,"size":3,"_links":{"base":"https://x/wiki","next":"/rest/api/audit?start=100&limit=100"}}"#,
    ),
    ("merge", r#"{"next":"cD0yMDI2","previous":null,"results":[*]}"#),
];

fn records() -> Vec<Vec<u8>> {
    checks::VENDORS.iter().map(|vendor| vendor.normalizer().example().as_bytes().to_vec()).collect()
}

fn pages() -> Vec<Vec<u8>> {
    let page = |vendor: &std::sync::Arc<dyn auditflow::vendors::Vendor>| {
        let (_, envelope) = ENVELOPES.iter().find(|(name, _)| *name == vendor.spec().name).unwrap();
        let example = vendor.normalizer().example();
        envelope.replace('*', &[example, example, example].join(",")).into_bytes()
    };
    let fixtures = [&include_bytes!("fixtures/clumio_page.json")[..], include_bytes!("fixtures/captivateiq_page.json")];
    checks::VENDORS.iter().map(page).chain(fixtures.map(<[u8]>::to_vec)).collect()
}

/// A part of the input.
fn part(random: &mut Rng, length: usize) -> std::ops::Range<usize> {
    let from = random.usize(..=length);
    let longest = if random.u8(..8) == 0 { length } else { 40 };
    from..(from + random.usize(..=longest)).min(length)
}

fn mutate(random: &mut Rng, input: &mut Vec<u8>, samples: &[Vec<u8>]) {
    let at = part(random, input.len());
    match random.u8(..8) {
        0 => drop(input.splice(at, [])),
        1 => {
            let copy = input[at.clone()].to_vec();
            drop(input.splice(at.end..at.end, copy));
        }
        2 => {
            let other = &samples[random.usize(..samples.len())];
            let from = part(random, other.len());
            drop(input.splice(at, other[from].iter().copied()));
        }
        3 => {
            let deep = ["[", "{\"a\":", "\"", "9", "]"][random.usize(..5)].repeat(random.usize(1..600));
            drop(input.splice(at.start..at.start, deep.bytes()));
        }
        4 => input.truncate(at.start),
        5 if at.start < input.len() => input[at.start] = random.u8(..),
        _ => {
            let token = TOKENS[random.usize(..TOKENS.len())];
            let end = if random.bool() { at.start } else { at.end };
            drop(input.splice(at.start..end, token.bytes()));
        }
    }
}

/// Returns how many inputs could be read.
fn fuzz(samples: &[Vec<u8>], check: impl Fn(&[u8]) -> usize) -> u64 {
    let (mut random, begun, mut read) = (Rng::with_seed(common::seed()), Instant::now(), 0);
    for sample in samples {
        assert!(check(sample) > 0, "a sample cannot be read: {}", String::from_utf8_lossy(sample));
    }
    for _ in 0..ENOUGH {
        if begun.elapsed() > LONGEST {
            break;
        }
        let mut input = samples[random.usize(..samples.len())].clone();
        for _ in 0..random.u8(1..5) {
            mutate(&mut random, &mut input, samples);
        }
        let Ok(count) = catch_unwind(AssertUnwindSafe(|| check(&input))) else {
            panic!("fails with this input: {:?}", String::from_utf8_lossy(&input));
        };
        read += u64::from(count > 0);
    }
    read
}

#[test]
fn no_page_breaks_a_reader() {
    let read = fuzz(&pages(), checks::page);
    assert!(read > 100, "only {read} mutated pages could be read");
}

#[test]
fn no_record_breaks_a_normalizer() {
    let read = fuzz(&records(), |raw| checks::record(&String::from_utf8_lossy(raw)));
    assert!(read > 100, "only {read} mutated records could be normalized");
}
