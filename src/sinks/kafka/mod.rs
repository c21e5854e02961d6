//! The `kafka` sink: one record per event. `sink` draws the data flow; users read `docs/kafka.md`.

mod client;
mod config;
mod context;
mod error;
mod healthcheck;
mod log;
mod names;
mod options;
mod position;
mod record;
mod rejections;
mod rules;
mod session;
mod sink;
#[cfg(test)]
mod tests;
mod topics;

pub use config::{CreateTopic, DeliveryGuarantee, KafkaConfig, Sasl, SaslMechanism, Tls};
pub use sink::KafkaSink;
