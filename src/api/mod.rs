//! Metrics and health of a running pipeline over HTTP, read only: for Prometheus, for the probes of an orchestrator, and for
//! people with a browser or curl. Off unless the pipeline file gives an address.
//!
//! ```text
//! server    the listener: few connections at once, one short request each
//! pages     /livez /readyz          from memory: a slow disk never fails them
//!           / /metrics /status.json a snapshot of the journal, some seconds old at most, read by one thread
//! ```

mod pages;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use pages::RunState;
pub(crate) use server::ApiServer;
