//! The pages of the project: what they show must be so. Pipelines must be valid, events must be what the normalizer makes of
//! the records beside them, commands must be ones that the program knows, and those that only look are really run.
#![cfg(feature = "kafka")]
#![allow(clippy::unwrap_used)]

mod commands;
mod events;
mod pages;
mod pipelines;
mod shell;
