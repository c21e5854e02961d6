//! The HTTP clients behind all transports of a run.
//!
//! A client holds the certificates that it trusts, a third of a megabyte, so sources share one. It also holds open connections: two
//! sources of one vendor then use the same.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{BadAddress, chain};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections to one host that are kept open while nobody uses them.
const IDLE_CONNECTIONS: usize = 16;

/// The clients of a run, each made when it is first wanted.
#[derive(Debug, Default)]
pub struct HttpClients {
    /// For this machine: never through a proxy.
    local: Mutex<Option<reqwest::Client>>,
    remote: Mutex<Option<reqwest::Client>>,
}

impl HttpClients {
    /// The client for addresses on this machine, or for all others.
    ///
    /// # Errors
    /// If TLS or the resolver cannot be set up.
    pub(super) fn get(&self, loopback: bool) -> Result<reqwest::Client, BadAddress> {
        let kept = if loopback { &self.local } else { &self.remote };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.as_ref() {
            Some(client) => Ok(client.clone()),
            None => Ok(kept.insert(build(loopback)?).clone()),
        }
    }
}

fn build(loopback: bool) -> Result<reqwest::Client, BadAddress> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("auditflow/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .gzip(true);
    if loopback {
        builder = builder.no_proxy();
    }
    builder.build().map_err(|error| BadAddress::NoClient(chain(&error)))
}
