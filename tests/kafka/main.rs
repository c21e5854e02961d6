//! The `kafka` sink with Apache Kafka: the real program is killed and restarted while the broker stops, starts, denies and
//! grants access. Afterwards a consumer that reads committed records must find each record of the simulator.
//!
//! ```text
//! records        keys, headers and values; missing topics; oversized records
//! exactly_once   random kills of the program and of the broker; two instances; expired offsets
//! state          redelivery and renaming with the position that the broker stores
//! settings       a pipeline file that changes between runs
//! errors         an unavailable broker, a wrong address
//! security       TLS, users, ACLs
//! examples       the consumers in `examples/`
//! ```
//!
//! These tests need a container engine; `.ci/run` runs them. Most share one broker; tests that stop it start their own.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod acls;
mod broker;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod exactly_once;
mod examples;
mod harness;
mod reader;
mod records;
mod security;
mod settings;
mod state;
