//! `cargo fuzz run record`.
#![no_main]

#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|input: &str| {
    checks::record(input);
});
