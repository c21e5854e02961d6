//! The `kafka` sink on a real Apache Kafka: the real program, killed and restarted, while the broker goes away and comes
//! back, refuses and allows. In the end a consumer that reads what is committed must find what the simulator knows to be
//! true.
//!
//! ```text
//! records        what a record is made of; topics that are missing; records that are too large
//! exactly_once   random kills, of the program and of the broker; two instances; offsets that expired
//! state          redelivery and renaming, which the position on the broker must not contradict
//! settings       a pipeline file that changes in mid-life
//! trouble        a broker that is away, an address that is wrong
//! security       TLS, users, rights
//! ```
//!
//! These tests need a container engine; `.ci/run` runs them. One broker serves most; those that stop it have their own.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used, unreachable_pub)]

mod acls;
mod broker;
#[path = "../common/mod.rs"]
mod common;
mod errors;
mod exactly_once;
mod examples;
mod reader;
mod records;
mod security;
mod settings;
mod stage;
mod state;
