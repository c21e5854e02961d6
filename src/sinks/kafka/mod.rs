//! The `kafka` sink: one record per event. `sink` draws the data flow; users read `docs/kafka.md`.

mod client;
mod config;
mod context;
mod error;
mod names;
mod position;
mod record;
mod session;
mod sink;
#[cfg(test)]
mod tests;
mod topics;

pub use config::{CreateTopic, DeliveryGuarantee, KafkaConfig, Sasl, SaslMechanism, Tls};
pub use sink::KafkaSink;
