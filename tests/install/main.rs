//! What is installed: the container image, the Helm chart, and a journal of the version before.
//!
//! The tests of the image need a container engine, those of the chart need Helm and Python; `.ci/run` runs them.
#![cfg(feature = "s3")]
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "../s3/bucket.rs"]
#[allow(dead_code, reason = "shared with the tests of the s3 sink")]
mod bucket;
mod chart;
#[path = "../common/mod.rs"]
mod common;
mod image;
mod upgrade;

use std::process::Command;

/// Runs a command that must succeed; returns what it printed on standard output.
fn output_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|reason| panic!("{command:?}: {reason}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    printed
}
